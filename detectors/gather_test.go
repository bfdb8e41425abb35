package detectors

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

// TestManyFindings: of a flood of findings, each of which says something else, all commands are told in few lines, and what
// is of another kind, or of somebody else, stands alone.
func TestManyFindings(t *testing.T) {
	var said []*Finding
	s := NewSuppressor(func(f *Finding) { said = append(said, f) })
	b := NewBus(s.Report)
	b.Gather(s.Fold)
	published := 0
	On(b, func(*Finding) { published++ })
	one, two, head := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("10.0.0.1")
	report := func(second, i int, src netip.Addr, sev Severity) {
		cmd := fmt.Sprintf("run %d from %s", i, src)
		b.Report(&Finding{
			At: capture.At{Time: capture.Time(second) * 1e9, Packet: uint64(i)}, Rule: "a/b", Severity: sev, Src: src, Dst: head,
			Msg: "somebody ran " + cmd, Key: cmd, Evidence: []Evidence{{"request", "POST /", 1}, {"entrypoint", cmd, uint64(i)}},
		})
	}
	const many = 20000
	for i := range many {
		report(1, i, one, High)
	}
	if most := tellCommon/2 + many/bundleSize + 2; len(said) > most || published != len(said) {
		t.Errorf("%d findings said, %d published, want %d at most", len(said), published, most)
	}
	n := len(said)
	report(1, 1, two, High)
	report(1, 1, one, Critical)
	if len(said) != n+2 {
		t.Errorf("%d lines for somebody else and for something worse", len(said)-n)
	}
	for i := range 5000 { // once more, in no time: nothing is new
		report(1, i, one, High)
	}
	if len(said) != n+2 {
		t.Errorf("%d lines for what was said before", len(said)-n-2)
	}
	b.End(capture.At{Time: 2e9})
	told := map[string]bool{}
	for _, f := range said {
		for _, e := range f.Evidence {
			if e.Field == "entrypoint" {
				told[e.Value] = true
			}
		}
		if len(f.Evidence) > bundleSize+1 {
			t.Fatalf("%d pieces of evidence in one line", len(f.Evidence))
		}
	}
	for i := range many {
		if cmd := fmt.Sprintf("run %d from %s", i, one); !told[cmd] {
			t.Fatalf("%q was not told", cmd)
		}
	}
	if b.Bundled() == 0 || !strings.Contains(said[len(said)-1].Msg, "more like it") {
		t.Errorf("%d bundled; %s", b.Bundled(), said[len(said)-1].Msg)
	}
	// Time gives lines back.
	n = len(said)
	for i := range 100 {
		report(3600+i, many+i, one, High)
	}
	if len(said) != n+100 {
		t.Errorf("%d lines an hour later", len(said)-n)
	}
}

// A few are said as they come.
func TestFewFindingsStandAlone(t *testing.T) {
	n := 0
	b := NewBus(func(*Finding) { n++ })
	b.Gather(func(*Finding) bool { return false })
	for i := range 1000 {
		b.Report(&Finding{Rule: "a/b", Key: fmt.Sprint(i)})
	}
	if n != 1000 || b.Bundled() != 0 {
		t.Errorf("%d said, %d in bundles", n, b.Bundled())
	}
}

// What shares a line is not written, but for the first of the line, and what differs in it is told all the same.
func TestDraftsAreWrittenWhereTheyStandAlone(t *testing.T) {
	var said []*Finding
	s := NewSuppressor(func(f *Finding) { said = append(said, f) })
	b := NewBus(s.Report)
	b.Gather(s.Fold)
	written := 0
	const many = 20000
	for i := range many {
		cmd := fmt.Sprintf("run %d", i)
		b.Draft(Draft{
			Finding: &Finding{At: capture.At{Time: 1e9}, Rule: "a/b", Src: netip.MustParseAddr("192.0.2.1"), Key: cmd},
			Write:   func(f *Finding) { f.Msg = cmd; written++ },
			Tells:   func() Evidence { return Evidence{Field: "entrypoint", Value: cmd} },
		})
	}
	b.End(capture.At{Time: 2e9})
	if most := tellCommon/2 + many/bundleSize + 2; written != len(said) || written > most {
		t.Errorf("%d written, %d said, want %d at most", written, len(said), most)
	}
	n := 0
	for _, f := range said {
		if f.Msg == "" {
			t.Fatalf("not written: %+v", f)
		}
		n += 1 + len(f.Evidence)
	}
	if n != many {
		t.Errorf("%d of %d are told", n, many)
	}
}
