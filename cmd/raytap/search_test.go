package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSearch finds rows of a replay in both forms, and says what is wrong with a question.
func TestSearch(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.pcap"), attack(1763917200), 0o644); err != nil {
		t.Fatal(err)
	}
	outs := map[string]string{}
	for _, format := range []string{"zeek", "json"} {
		if r := invoke(t, dir, nil, "replay", "--quiet", "--format", format, "--out", format, "x.pcap"); r.code != 0 {
			t.Fatal(r.stderr)
		}
		r := invoke(t, dir, nil, "search", "--host", "203.0.113.66", "--log", "conn,http,ray", format)
		if r.code != 0 || r.stderr != "" || strings.Count(r.stdout, "\n") < 2 || !strings.Contains(r.stdout, `{"_path":"conn",`) {
			t.Errorf("%s: %+v", format, r)
		}
		outs[format] = r.stdout
	}
	if outs["zeek"] != outs["json"] {
		t.Errorf("the forms differ:\n%s\n%s", outs["zeek"], outs["json"])
	}
	r := invoke(t, dir, nil, "search", "--host", "203.0.113.0/24", "--log", "conn", "--columns", "_path,id.orig_h,none", "--sort", "zeek")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "conn\t203.0.113.66\t-\n") {
		t.Errorf("%+v", r)
	}
	invoke(t, dir, nil, "search", "--from", "2025-01-01", "-n", "1", "zeek").expect(t, 0, "{", "cut at 1 rows: there may be more")
	invoke(t, dir, nil, "search", "--host", "192.0.2.1", "zeek").expect(t, 1, "", "")
	invoke(t, dir, nil, "search", "zeek").expect(t, 2, "", "nothing to look for")
	invoke(t, dir, nil, "search", "--host", "x", "zeek").expect(t, 2, "", "neither an address nor a network")
	invoke(t, dir, nil, "search", "--field", "x", "zeek").expect(t, 2, "", "is not NAME=VALUE")
	invoke(t, dir, nil, "search", "--host", "192.0.2.1").expect(t, 2, "", "takes folders of logs")
	invoke(t, dir, nil, "search", "--host", "192.0.2.1", "gone").expect(t, 1, "", "gone")
}
