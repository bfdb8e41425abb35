package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write packaging/man and docs/reference.md anew")

// TestManPages holds packaging/man to the commands and to raytap.yaml, and writes it with -update.
func TestManPages(t *testing.T) {
	pages := manPages(t)
	const dir = "packaging/man"
	if *update {
		old, _ := filepath.Glob(filepath.Join(dir, "*.[15]"))
		for _, name := range old {
			os.Remove(name)
		}
		for name, page := range pages {
			if err := os.WriteFile(filepath.Join(dir, name), page, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	there, _ := filepath.Glob(filepath.Join(dir, "*.[15]"))
	if len(there) != len(pages) {
		t.Errorf("%d pages in %s, of %d", len(there), dir, len(pages))
	}
	for name, page := range pages {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(b, page) {
			t.Errorf("%s is not what the program says (%v); write it with: go test ./cmd/raytap -run TestManPages -update", name, err)
		}
	}
	for _, check := range [][]string{{"mandoc", "-T", "lint", "-W", "warning"}, {"groff", "-man", "-ww", "-z", "-K", "utf8"}} {
		tool, err := exec.LookPath(check[0])
		if err != nil {
			t.Logf("pages are not checked: %v", err)
			continue
		}
		for name := range pages {
			out, err := exec.Command(tool, append(check[1:], filepath.Join(dir, name))...).CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	}
}

// manPages makes raytap.1, a page for each command, and raytap.yaml.5.
func manPages(t *testing.T) map[string][]byte {
	all, err := usages()
	if err != nil {
		t.Fatal(err)
	}
	date := releaseDate(t)
	pages := map[string][]byte{}
	var main manPage
	main.begin("RAYTAP", 1, date, "raytap", "looks for attacks on Ray clusters in network traffic")
	main.section("SYNOPSIS")
	main.line(`.B raytap`)
	main.line(`.I COMMAND`)
	main.line("[flags] [arguments]")
	main.section("DESCRIPTION")
	main.text("Reads captures, or watches interfaces, and tells who did what to a Ray cluster: jobs from outside, payloads, mining, data that leaves. Writes Zeek's logs, and findings with the packets that they stand in.\n\nEach command has a page of its own, raytap-COMMAND(1), which says what raytap help COMMAND does.")
	main.section("COMMANDS")
	for _, u := range all {
		main.item("raytap-"+u.Name+"(1)", "")
		main.text(u.Says)
	}
	main.section("EXIT STATUS")
	for _, s := range [][2]string{{"0", "All went well."}, {"1", "An input could not be read, was cut short or is damaged, or the output could not be written."}, {"2", "Wrong usage or configuration."}, {"3", "A finding reached --fail-on."}, {"128+N", "Ended by signal N: 130 after an interrupt."}} {
		main.item(s[0], "")
		main.text(s[1])
	}
	main.section("ENVIRONMENT")
	for _, e := range environment {
		main.item(e[0], "")
		main.text(e[1])
	}
	main.section("FILES")
	for _, f := range [][2]string{
		{"/etc/raytap/raytap.yaml", "The configuration of the sensor that a package installs: raytap.yaml(5)."},
		{"/var/log/raytap", "Its logs: current is being written, each day has a folder."},
		{"/var/lib/raytap", "Its inventory, and what waits for a webhook."},
	} {
		main.item(f[0], "")
		main.text(f[1])
	}
	see := []string{"raytap.yaml(5)"}
	for _, u := range all {
		see = append(see, "raytap-"+u.Name+"(1)")
	}
	main.seeAlso(append(see, "pcap-filter(7)"))
	pages["raytap.1"] = main.b.Bytes()
	for _, u := range all {
		pages["raytap-"+u.Name+".1"] = commandPage(u, date)
	}
	pages["raytap.yaml.5"] = configPage(t, date)
	return pages
}

var environment = [][2]string{
	{"RAYTAP_SENSOR", "The sensor's name, where sensor.name says none."},
	{"NO_COLOR", "Set to anything: findings without colours."},
	{"TERM", "dumb: likewise."},
}

func commandPage(u usageOf, date string) []byte {
	var p manPage
	p.begin("RAYTAP-"+strings.ToUpper(u.Name), 1, date, "raytap-"+u.Name, u.Says)
	p.section("SYNOPSIS")
	for i, line := range u.Lines {
		if i > 0 {
			p.line(".br")
		}
		words := strings.SplitN(line, " ", 3)
		p.line(".B raytap " + words[1])
		if len(words) > 2 {
			p.line(roff(words[2]))
		}
	}
	p.section("DESCRIPTION")
	status := ""
	for i, par := range strings.Split(strings.TrimSpace(u.Text), "\n\n") {
		if i > 0 && !strings.HasPrefix(par, "Exit status: ") {
			p.line(".PP")
		}
		switch {
		case strings.HasPrefix(par, "Exit status: "):
			status = strings.TrimPrefix(par, "Exit status: ")
		default:
			p.text(par)
		}
	}
	var keys []string
	if len(u.Flags) > 0 {
		p.section("OPTIONS")
	}
	for _, f := range u.Flags {
		if f.Key {
			keys = append(keys, f.dashed())
			continue
		}
		p.item(f.dashed(), f.Value)
		p.text(f.Says)
	}
	if len(keys) > 0 {
		p.line(".PP")
		p.text("Every key of the configuration is a flag, too; raytap.yaml(5) explains them:")
		p.line(".PP")
		p.text(strings.Join(keys, ", "))
	}
	if status != "" {
		p.section("EXIT STATUS")
		for _, m := range regexp.MustCompile(`(\d+) (.*?)(?:; |\.?$)(?:$|\b)`).FindAllStringSubmatch(strings.ReplaceAll(status, "\n", " "), -1) {
			p.item(m[1], "")
			p.text(strings.TrimSuffix(m[2], ".") + ".")
		}
	}
	p.seeAlso([]string{"raytap(1)", "raytap.yaml(5)"})
	return p.b.Bytes()
}

// configPage is raytap.yaml, whose comments say what each key means.
func configPage(t *testing.T, date string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "..", "config", "raytap.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var p manPage
	p.begin("RAYTAP.YAML", 5, date, "raytap.yaml", "configuration of raytap")
	p.section("DESCRIPTION")
	p.text("raytap reads a configuration where --config names one. A file has the keys that differ from the defaults, which are given here. raytap config check says what is wrong with a file, raytap config show what is in force. A key is a flag, too: --rotate-interval for rotate.interval.")
	p.line(".PP")
	head, rest, _ := strings.Cut(string(b), "\n\n")
	if _, more, ok := strings.Cut(head, "\n#\n"); ok { // how sizes and durations are written
		p.text(strings.ReplaceAll(strings.TrimPrefix(more, "# "), "\n# ", "\n"))
	}
	p.section("KEYS")
	key := regexp.MustCompile(`^(\s*)([a-z_]+):\s*(.*?)(?:\s+#\s?(.*))?$`)
	says := regexp.MustCompile(`^\s*#\s?(.*)$`)
	section := ""
	var before, text []string // comments above what comes, and behind a key
	flush := func() {
		if len(text) > 0 && strings.HasPrefix(text[0], "- ") { // an example
			p.line(".nf")
			for _, line := range text {
				p.line(roff(line))
			}
			p.line(".fi")
		} else if len(text) > 0 {
			p.text(strings.Join(text, "\n"))
		}
		text = nil
	}
	lines := strings.Split(rest, "\n")
	for i, line := range lines {
		switch m, c := key.FindStringSubmatch(line), says.FindStringSubmatch(line); {
		case c != nil && line[0] == '#':
			before = append(before, c[1])
		case c != nil:
			text = append(text, strings.TrimRight(c[1], " "))
		case strings.TrimSpace(line) == "":
			flush()
			if len(before) > 0 { // of all that follows
				p.line(".PP")
				p.text(strings.Join(before, "\n"))
				before = nil
			}
		case m != nil:
			flush()
			isList := i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  - ")
			if m[1] == "" && m[3] == "" && !isList {
				section = m[2]
				p.line(".SS " + section)
				p.text(strings.Join(before, "\n"))
				before = nil
				continue
			}
			name := m[2]
			if m[1] != "" {
				name = section + "." + m[2]
			} else if section != "" {
				section = ""
				p.line(".SS Further keys")
			}
			if m[1] == "" && !isList && len(before) > 0 {
				p.line(".PP")
				p.text(strings.Join(before, "\n"))
				before = nil
			}
			p.item(name, strings.TrimSpace(m[3]))
			if isList {
				p.text(strings.Join(before, "\n"))
				before = nil
			}
			if m[4] != "" {
				text = append(text, m[4])
			}
		case strings.HasPrefix(strings.TrimSpace(line), "- "):
			flush()
			p.line(".br")
			p.text(strings.Join(strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "- ")), " "))
		default:
			t.Fatalf("raytap.yaml: a line of no known form: %s", line)
		}
	}
	flush()
	p.section("FILES")
	p.item("/usr/share/doc/raytap/raytap.yaml", "")
	p.text("All of this as a file.")
	p.seeAlso([]string{"raytap(1)", "raytap-config(1)", "raytap-sensor(1)"})
	return p.b.Bytes()
}

// releaseDate is that of the newest version in the changelog.
func releaseDate(t *testing.T) string {
	b, err := os.ReadFile(filepath.Join("..", "..", "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^## \[\d[^]]*\] - (\d{4}-\d\d-\d\d)$`).FindSubmatch(b)
	if m == nil {
		t.Fatal("no version in the changelog")
	}
	return string(m[1])
}

// manPage is a page in the macros of man(7).
type manPage struct{ b bytes.Buffer }

func (p *manPage) line(s string) {
	// What stands at the end of a section, or follows another request of its kind, spaces nothing.
	if s == ".PP" && (bytes.HasSuffix(p.b.Bytes(), []byte("\n.PP\n")) || regexp.MustCompile(`\n\.S[HS] [^\n]*\n$`).Match(p.b.Bytes())) {
		return
	}
	if !strings.HasPrefix(s, ".br") {
		p.trim(".br")
	}
	if strings.HasPrefix(s, ".S") || strings.HasPrefix(s, ".TP") {
		p.trim(".PP")
	}
	p.b.WriteString(s + "\n")
}

// trim takes a request from the end.
func (p *manPage) trim(request string) {
	if bytes.HasSuffix(p.b.Bytes(), []byte("\n"+request+"\n")) {
		p.b.Truncate(p.b.Len() - len(request) - 1)
	}
}

func (p *manPage) begin(title string, section int, date, name, says string) {
	p.line(`.\" Made by: go test ./cmd/raytap -run TestManPages -update`)
	p.line(fmt.Sprintf(`.TH %s %d %s raytap "raytap"`, title, section, date))
	p.section("NAME")
	p.line(roff(name) + ` \- ` + roff(says))
}

func (p *manPage) section(name string) { p.line(".SH " + name) }

// item begins an entry of a list.
func (p *manPage) item(name, value string) {
	p.line(".TP")
	if value == "" {
		p.line(".B " + roff(name))
		return
	}
	p.line(`.BI "` + roff(name) + ` " "` + strings.ReplaceAll(roff(value), `"`, `\(dq`) + `"`)
}

func (p *manPage) seeAlso(pages []string) {
	p.section("SEE ALSO")
	for i, page := range pages {
		name, section, _ := strings.Cut(strings.TrimSuffix(page, ")"), "(")
		end := ","
		if i == len(pages)-1 {
			end = ""
		}
		p.line(".BR " + roff(name) + " (" + section + ")" + end)
	}
}

// text writes paragraphs; lines that are indented stay lines.
func (p *manPage) text(s string) {
	kept := false
	keep := func(on bool) {
		if on != kept {
			if p.line(map[bool]string{true: ".RS 2\n.nf", false: ".fi\n.RE"}[on]); !on {
				p.line(".PP")
			}
		}
		kept = on
	}
	for _, line := range strings.Split(s, "\n") {
		switch {
		case line == "":
			if !kept {
				p.line(".PP")
			}
			continue
		case strings.HasPrefix(line, "  "):
			keep(true)
		default:
			keep(false)
			line = strings.TrimSpace(line)
		}
		p.line(roff(strings.TrimPrefix(line, "  ")))
	}
	keep(false)
}

var option = regexp.MustCompile(`(^|[ (\[|"])-(-?[A-Za-z0-9])`)

// roff is text that stands for itself.
func roff(s string) string {
	s = strings.ReplaceAll(s, `\`, `\e`)
	s = option.ReplaceAllStringFunc(s, func(m string) string { return strings.ReplaceAll(m, "-", `\-`) })
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
