package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/logs"
)

var screenFindings = regexp.MustCompile(`; (\d+) findings? \(`)

// TestOneNumber: how many findings there are is the same on the screen, in the incident, in the report, in stats.log and in
// notice.log.
func TestOneNumber(t *testing.T) {
	for _, c := range []struct {
		name string
		all  bool // they are all part of one incident
	}{{"shadowray", true}, {"attack-job-payload", true}, {"attack-secrets", false}, {"attack-client", false}, {"attack-scan", false}, {"attack-worm", false}, {"mining-xmrig", false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			capture, err := filepath.Abs("../../pcaps/" + c.name + ".pcap.gz")
			if err != nil {
				t.Fatal(err)
			}
			r := invoke(t, dir, nil, "replay", "--out", "logs", "--report", "r.html", capture)
			r.expect(t, exitOK, "finding", "")
			m := screenFindings.FindStringSubmatch(r.stdout)
			if m == nil {
				t.Fatalf("no totals in %s", r.stdout)
			}
			want, _ := strconv.Atoi(m[1])
			shown := 0
			for line := range strings.Lines(r.stdout) {
				for _, s := range [...]string{"critical", "high", "medium", "low", "info"} {
					if strings.HasPrefix(line, s+" ") && !strings.Contains(line, "  INCIDENT  ") {
						shown++
					}
				}
			}
			if shown != want {
				t.Errorf("%d findings on the screen, which counts %d", shown, want)
			}

			names, times, stats, incidents := map[string]bool{}, map[string]int{}, -1, 0
			folder, err := logs.Open(logs.Options{}, filepath.Join(dir, "logs"))
			if err != nil {
				t.Fatal(err)
			}
			defer folder.Close()
			folder.Read("notice", func(r *logs.Row) {
				f := r.Finding()
				if n, ok := times[f.ID()]; ok != (f.Revision > 1) || ok != r.Bool("update") || f.Count < n {
					t.Errorf("revision %d of %s, seen %d times, behind %d: update %s", f.Revision, f.ID(), f.Count, n, r.Get("update"))
				}
				times[f.ID()] = f.Count
				if f.Rule != detectors.ChainRule {
					names[f.ID()] = true
				}
			})
			for _, m := range regexp.MustCompile(`, (R\w+),.*?(?:, (\d+) times)?\]\n`).FindAllStringSubmatch(r.stdout, -1) {
				if n, _ := strconv.Atoi(m[2]); max(n, 1) != times[m[1]] {
					t.Errorf("%s: %q times on the screen, and in notice.log %d", m[1], m[2], times[m[1]])
				}
			}
			folder.Read("stats", func(r *logs.Row) { stats = int(r.Uint("findings")) })
			folder.Read("incidents", func(r *logs.Row) {
				x := r.Incident()
				if x.State != detectors.Closed {
					return // there is more of it
				}
				incidents++
				if len(x.FindingIDs) != x.Findings {
					t.Errorf("the incident has %d findings, and names %d", x.Findings, len(x.FindingIDs))
				}
				for _, id := range x.FindingIDs {
					if !names[id] {
						t.Errorf("the incident names %s, which notice.log does not have", id)
					}
				}
				if x.Findings > want || c.all && x.Findings != want {
					t.Errorf("%d findings in the incident, %d in all", x.Findings, want)
				}
			})
			if c.all && incidents == 0 {
				t.Error("no incident")
			}
			if len(names) != want || stats != want {
				t.Errorf("%d on the screen, %d in notice.log, %d in stats.log", want, len(names), stats)
			}
			html, err := os.ReadFile(filepath.Join(dir, "r.html"))
			if err != nil {
				t.Fatal(err)
			}
			figure := regexp.MustCompile(`<dl class="figures">.*<dt>findings</dt><dd>([\d,]+)</dd></div></dl>`).FindSubmatch(html)
			if figure == nil {
				t.Fatal("no number of findings in the report")
			}
			if n := string(figure[1]); n != m[1] {
				t.Errorf("%s in the report, %s on the screen", n, m[1])
			}
		})
	}
}

// TestReadmeBegins: the first command of the README prints what the guide shows, and the parts of it that the README shows.
func TestReadmeBegins(t *testing.T) {
	// shown is the output that a document shows of the command, without line breaks.
	shown := func(name string) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, block, ok := strings.Cut(string(b), "\n    $ go run ./cmd/raytap replay pcaps/shadowray.pcap.gz\n")
		if !ok {
			t.Fatalf("%s does not show the command", name)
		}
		var words []string
		for line := range strings.Lines(block) {
			if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "    ") || strings.HasPrefix(line, "    $ ") {
				break
			}
			words = append(words, strings.Fields(line)...)
		}
		return strings.Join(words, " ")
	}
	capture, err := filepath.Abs("../../pcaps/shadowray.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	r := invoke(t, t.TempDir(), nil, "replay", capture)
	said := regexp.MustCompile(`; [\d,]+ packets/s`).ReplaceAllString(r.stdout, "")
	said = strings.Join(strings.Fields(said), " ")
	if told := shown("../../docs/guide.md"); told != said {
		t.Errorf("the guide shows\n%s\nand it is\n%s", told, said)
	}
	rest := said
	for _, part := range strings.Split(shown("../../README.md"), "[...]") {
		_, after, ok := strings.Cut(rest, strings.TrimSpace(part))
		if len(part) < 100 || !ok {
			t.Errorf("the README shows\n%s\nand the output has no more than\n%s", part, rest)
		}
		rest = after
	}
}
