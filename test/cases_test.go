package test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
)

// ear is a sink that remembers.
type ear struct {
	findings []*detectors.Finding
	rows     map[string][]map[string]string
}

func (e *ear) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Finding:
		e.findings = append(e.findings, ev)
	case capture.Record:
		if e.rows == nil {
			e.rows = map[string][]map[string]string{}
		}
		row := columns{}
		ev.Row(row)
		e.rows[ev.Log()] = append(e.rows[ev.Log()], row)
	}
}

// listen runs a capture, with panics of ours left to fly.
func listen(t testing.TB, cfg engine.Config, files ...string) (*ear, engine.Stats) {
	t.Helper()
	var srcs []capture.Source
	for _, f := range files {
		s, err := capture.OpenFile(f)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		srcs = append(srcs, s)
	}
	e := &ear{}
	stats, err := run(context.Background(), cfg, capture.Merge(srcs...), e)
	if err != nil {
		t.Logf("%v: %v", files, err)
	}
	return e, stats
}

// expectation is one line of a case's text file; see pcaps/README.md.
type expectation struct {
	line           int
	verb           string
	rule, src, dst string
	severity       detectors.Severity
	log            string
	columns        map[string]string
}

func readCase(t *testing.T, name string) (exp []expectation) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatalf("every capture has a text file: %v", err)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for n := 1; sc.Scan(); n++ {
		w := strings.Fields(sc.Text())
		if len(w) == 0 || strings.HasPrefix(w[0], "#") {
			continue
		}
		e := expectation{line: n, verb: w[0]}
		switch {
		case (w[0] == "must" || w[0] == "quiet" || w[0] == "todo") && len(w) == 5:
			e.rule, e.src, e.dst = w[1], w[2], w[3]
			if e.severity, err = detectors.ParseSeverity(w[4]); err != nil {
				t.Fatalf("%s:%d: %v", name, n, err)
			}
		case (w[0] == "row" || w[0] == "norow") && len(w) > 2:
			e.log, e.columns = w[1], map[string]string{}
			for _, kv := range w[2:] {
				k, v, ok := strings.Cut(kv, "=")
				if !ok {
					t.Fatalf("%s:%d: %q is no column=value", name, n, kv)
				}
				e.columns[k] = v
			}
		default:
			t.Fatalf("%s:%d: not understood: %q", name, n, sc.Text())
		}
		exp = append(exp, e)
	}
	return exp
}

func matches(pattern, s string) bool { return pattern == "*" || pattern == s }

// TestCases walks pcaps/: one case is a capture and a text file with its story and what must come out.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures in pcaps/")
	}
	rules := map[string]bool{"*": true}
	for _, r := range registry.Rules() {
		rules[r.Name] = true
	}
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), ".pcap")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exp := readCase(t, "pcaps/"+name+".txt")
			cfg := engine.Default()
			cfg.Checksums = "ignore"
			heard, stats := listen(t, cfg, file)
			if stats.Flow.Overtold+stats.Flow.Overworked+stats.Bundled+stats.LooksCut > 0 {
				t.Errorf("a budget is touched: %+v", stats)
			}
			said := func() string {
				var b strings.Builder
				for _, f := range heard.findings {
					fmt.Fprintf(&b, "\n  %s %s %s > %s (%s) %s", f.Severity, f.Rule, f.Src, f.Dst, f.Outcome, f.Msg)
				}
				return b.String()
			}
			for _, e := range exp {
				where := fmt.Sprintf("pcaps/%s.txt:%d", name, e.line)
				if e.rule != "" && rules[e.rule] == (e.verb == "todo") {
					t.Errorf("%s: %s %s, but the rule is %s", where, e.verb, e.rule, map[bool]string{true: "there now: say must", false: "not registered"}[rules[e.rule]])
					continue
				}
				switch e.verb {
				case "must":
					ok := false
					for _, f := range heard.findings {
						ok = ok || matches(e.rule, f.Rule) && f.Severity >= e.severity && matches(e.src, f.Src.String()) && matches(e.dst, f.Dst.String())
					}
					if !ok {
						t.Errorf("%s: no finding %s %s > %s of %s or above; said:%s", where, e.rule, e.src, e.dst, e.severity, said())
					}
				case "quiet":
					for _, f := range heard.findings {
						if matches(e.rule, f.Rule) && f.Severity >= e.severity && matches(e.src, f.Src.String()) && matches(e.dst, f.Dst.String()) {
							t.Errorf("%s: should be quiet, but: %s %s %s > %s %s", where, f.Severity, f.Rule, f.Src, f.Dst, f.Msg)
						}
					}
				case "row", "norow":
					found := false
					for _, r := range heard.rows[e.log] {
						all := true
						for k, v := range e.columns {
							all = all && r[k] == v
						}
						found = found || all
					}
					if found != (e.verb == "row") {
						t.Errorf("%s: %s %s %v: found %v", where, e.verb, e.log, e.columns, found)
					}
				}
			}
			for _, f := range heard.findings {
				checkFinding(t, f)
			}
		})
	}
}

// checkFinding holds what every finding owes its reader.
func checkFinding(t *testing.T, f *detectors.Finding) {
	t.Helper()
	if f.Msg == "" || f.Rule == "" || f.Outcome == "" || !f.Src.IsValid() || f.Time == 0 || f.Packet == 0 {
		t.Errorf("incomplete finding: %+v", f)
	}
	if len(f.Evidence) == 0 {
		t.Errorf("%s has no evidence: %s", f.Rule, f.Msg)
	}
	for _, e := range f.Evidence {
		if e.Field == "" || e.Packet == 0 || len(e.Value) > 1024 {
			t.Errorf("%s: evidence %+v", f.Rule, e)
		}
	}
}
