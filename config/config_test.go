package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/egress"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "raytap.yaml")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestConfigFileOverDefaults(t *testing.T) {
	c, err := Load(configFile(t, `# a comment
home:
  - 10.0.0.0/8
  - "2001:db8::1"
workers: 3
filter: tcp
checksums: ignore
max_flows: 100000
out: /var/log/x
format: json
fail_on: high
quiet: true
egress:
  bytes: 1.5GB
  window: 1h30m
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Home = []string{"10.0.0.0/8", "2001:db8::1"}
	want.Workers, want.Filter, want.Checksums, want.MaxFlows = 3, "tcp", "ignore", 100000
	want.Out, want.Format, want.FailOn, want.Quiet = "/var/log/x", "json", "high", true
	detectors.Change(&want.Sections, func(e *egress.Config) { e.Bytes, e.Window = 1_500_000_000, 90*time.Minute })
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestConfigThatSaysNothing(t *testing.T) {
	for _, text := range []string{"", "\n\n", "# only a comment\n", "---\n", "egress:\n", "home:\n", "home: []\n", "workers: 0"} {
		c, err := Load(configFile(t, text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		want := Default()
		if strings.HasPrefix(text, "home") {
			want.Home = c.Home // empty or nil: the defaults, by home()
			if len(c.Home) > 0 {
				t.Errorf("%q: home %v", text, c.Home)
			}
		}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%q: got %+v, want %+v", text, c, want)
		}
	}
}

// TestConfigMistakes: each error names the line and the key.
func TestConfigMistakes(t *testing.T) {
	for _, c := range []struct{ trap, text, want string }{
		{"unknown key", "home: [10.0.0.0/8]\nhomes: [10.0.0.0/8]\n", `:2: homes: unknown key; did you mean home?`},
		{"unknown key of a detector", "egress:\n  bytes: 1\n  byte: 1\n", `:3: egress.byte: unknown key; did you mean bytes?`},
		{"unknown section", "workers: 1\nmining:\n  x: 1\n", `:2: mining: unknown key (known`},
		{"in one line", "{workers: 1, worker: 2}", `:1: worker: unknown key`},
		{"bad network", "home:\n  - 10.0.0.0/8\n  - 10.0.0.0/33\n", `:3: home: "10.0.0.0/33" is neither`},
		{"host name as network", "home: [localhost]\n", `:1: home: "localhost" is neither`},
		{"text instead of a list", "home: 10.0.0.0/8\n", `:1: home: must be a list`},
		{"list instead of text", "out: [a, b]\n", `:1: out: must be a single value`},
		{"list in a list", "home:\n- [10.0.0.0/8]\n", `:2: home: must be a single value`},
		{"section instead of a value", "workers:\n  n: 1\n", `:2: workers: must be a single value`},
		{"value instead of a section", "\negress: 100MB\n", `:2: egress: must have keys`},
		{"words for numbers", "workers: many\n", `:1: workers: many is not a whole number`},
		{"quoted number", "workers: \"4\"\n", `:1: workers: 4 is not a whole number`},
		{"fraction of a worker", "workers: 1.5\n", `:1: workers: 1.5 is not a whole number`},
		{"negative workers", "workers: -1\n", `:1: workers: -1 is not between`},
		{"number beyond int", "workers: 99999999999999999999\n", `:1: workers: 99999999999999999999 is not a whole number`},
		{"too few flows", "max_flows: 1\n", `:1: max_flows: 1 is neither 0 nor between`},
		{"old truth", "quiet: yes\n", `:1: quiet: yes is neither true nor false`},
		{"truth as a number", "quiet: 1\n", `:1: quiet: 1 is neither true nor false`},
		{"truth as text", "out: true\n", `:1: out: true is not text`},
		{"no value", "workers: 1\nout:\nquiet: true\n", `:2: out: has no value`},
		{"empty text", "out: ''\n", `:1: out: is empty`},
		{"severity", "fail_on: bad\n", `:1: fail_on: unknown severity "bad"`},
		{"format", "format: xml\n", `:1: format: "xml" is not a format`},
		{"filter", "workers: 1\nfilter: port and and\n", `:2: filter: `},
		{"size", "egress:\n  bytes: 12XB\n", `:2: egress.bytes: "12XB" is not a size`},
		{"negative size", "egress:\n  bytes: -5MB\n", `:2: egress.bytes: "-5MB" is not a size`},
		{"size beyond everything", "egress: {bytes: 99999999TB}\n", `:1: egress.bytes: "99999999TB" is not a size`},
		{"duration without unit", "egress:\n  window: 10\n", `:2: egress.window: "10" is not a duration`},
		{"duration in the past", "egress:\n  window: -10m\n", `:2: egress.window: "-10m" is not a duration`},
		{"bound of nothing", "egress:\n  bytes: 0\n", `:2: egress.bytes: 0 is not between 1 and 1000000000000000: it would`},
		{"incidents that never last", "campaign:\n  quiet: 10s\n", `:2: campaign.quiet: 10s is not between 1m0s and 720h0m0s: an attack`},
		{"consequence within nothing", "campaign: {follow: 10ms}\n", `:1: campaign.follow: 10ms is not between`},
		{"allowed by no address", "campaign:\n  allow: [example.com]\n", `:2: campaign.allow: "example.com" is neither`},
		{"window of nothing", "egress:\n  window: 0s\n", `:2: egress.window: 0s is not between`},
		{"everything allowed", "egress:\n  allow: [a.example, '']\n", `:2: egress.allow: an empty name`},
		{"the same key twice", "workers: 1\nworkers: 2\n", `:2:`},
		{"second document", "workers: 1\n---\nworkers: 2\n", `:3: a second document`},
		{"not YAML", "home: [10.0.0.0/8\nworkers: 2\n", `:2: ',' or ']'`},
		{"a list at the top", "- a\n", `:1: must have keys`},
		{"text at the top", "raytap\n", `:1: must have keys`},
		{"key that is no name", "? [a, b]\n: 1\n", `:2: found an invalid key`},
		{"alias", "home: &h [10.0.0.0/8]\nout: *h\n", `:1: anchors and aliases are not taken`},
	} {
		name := configFile(t, c.text)
		_, err := Load(name)
		if err == nil {
			t.Errorf("%s: accepted", c.trap)
			continue
		}
		if !strings.Contains(err.Error(), name+c.want) {
			t.Errorf("%s: %v\nwant %s", c.trap, err, c.want)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: not one line: %q", c.trap, err)
		}
	}
}

// TestConfigMistakesAtOnce: what is wrong in one place hides nothing that is wrong in another.
func TestConfigMistakesAtOnce(t *testing.T) {
	name := configFile(t, "hom: [10.0.0.0/8]\nworkers: many\nhome: [x, 10.0.0.0/8, y]\negress:\n  byte: 1\n  window: soon\nrules:\n  off: [none/such]\nout:\n")
	_, err := Load(name)
	if err == nil {
		t.Fatal("accepted")
	}
	got := strings.Split(err.Error(), "\n")
	want := []string{":1: hom: unknown key; did you mean home?", ":2: workers: many", `:3: home: "x"`, `:3: home: "y"`, ":5: egress.byte: ", ":6: egress.window: ", ":8: rules.off: ", ":9: out: has no value"}
	if len(got) != len(want) {
		t.Fatalf("%d mistakes, want %d:\n%v", len(got), len(want), err)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], "raytap: "+name+want[i]) {
			t.Errorf("%s, want %s", got[i], want[i])
		}
	}
	var many strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&many, "x%d: 1\n", i)
	}
	_, err = Load(configFile(t, many.String()))
	if n := strings.Count(err.Error(), "\n") + 1; n != maxMistakes {
		t.Errorf("%d mistakes are told", n)
	}
}

func TestConfigFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a directory was read")
	}
	if _, err := Load(configFile(t, "# "+strings.Repeat("x", maxConfigFile))); err == nil || !strings.Contains(err.Error(), "over 131072 bytes") {
		t.Errorf("large file: %v", err)
	}
}

func TestCheckNamesTheKey(t *testing.T) {
	c := Default()
	if err := c.Check(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	c.Home = []string{"10.0.0.0/8", "10.0.0.0/99"}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "home: \"10.0.0.0/99\"") {
		t.Errorf("home: %v", err)
	}
	c = Default()
	detectors.Change(&c.Sections, func(s *egress.Config) { s.Bytes = 0 })
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "egress.bytes: ") {
		t.Errorf("egress: %v", err)
	}
	c = Default()
	c.FailOn = "x"
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "fail_on") {
		t.Errorf("fail_on: %v", err)
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]uint64{
		"0": 0, "1000000": 1e6, "18446744073709551615": 1<<64 - 1, "1B": 1, "100MB": 100e6, "1.5GB": 15e8, "64MiB": 64 << 20,
		"2 kB": 2000, "1TB": 1e12, "1KiB": 1024,
	} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "MB", "-1", "1e400MB", "NaNMB", "InfMB", "1 M", "100mb", "0x10"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q was read as %d", s, got)
		}
	}
}

func FuzzConfig(f *testing.F) {
	for _, s := range []string{"home: [10.0.0.0/8]\n", "egress: {bytes: 1MB}", "a: &x [*x]", "? ? ?", "workers: !!int 3", "%YAML 1.2\n---\n- - -"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Default()
		if c.read([]byte(s), nil) == nil {
			if err := c.Check(); err != nil {
				t.Errorf("%q was accepted, but: %v", s, err)
			}
		}
	})
}

// TestConfigBombs: YAML that is made to take for ever is refused at once.
func TestConfigBombs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "c.yaml")
	bomb := "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nhome: [*b,*b]\n"
	for _, tt := range []struct{ text, want string }{
		{strings.Repeat("[", 100_000), "nested deeper"},
		{strings.Repeat("{a: ", 30_000), "nested deeper"},
		{strings.Repeat("- ", 60_000), "nested deeper"},
		{strings.Repeat("? ", 60_000), "nested deeper"},
		{"home: [[[[[[[[[1]]]]]]]]]", "nested deeper"},
		{"home:\n  - - - x", "nested deeper"},
		{"home: !!set x\nx: !!a\n!!a x", "tags"},
		{bomb, "anchors and aliases"},
		{"home: *a", "anchors and aliases"},
		{"home:\n- *a", "anchors and aliases"},
		{"home: [ *a ]", "anchors and aliases"},
		{strings.Repeat("# x\n", 40_000), "over 131072 bytes"},
	} {
		if err := os.WriteFile(name, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if _, err := Load(name); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %v, want %q", tt.text, err, tt.want)
		}
		if d := time.Since(begin); d > time.Second {
			t.Errorf("%.40q took %v", tt.text, d)
		}
	}
	const fine = "filter: \"tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420 and ip[6:2]&0x1fff = 0\"\nhome: [10.0.0.0/8, \"2001:db8::/32\"]\negress:\n  allow:\n    - example.org\n    - 10.0.0.1\n"
	if err := os.WriteFile(name, []byte(fine), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(name); err != nil {
		t.Error(err)
	}
}
