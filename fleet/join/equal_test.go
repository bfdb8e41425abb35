package join_test

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/join"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// view is what is known of a capture: findings and incidents as they stood last.
type view struct {
	findings  map[string]*detectors.Finding // by id
	incidents map[string]*detectors.Incident
	sensors   map[string][]string // of a finding
	told      map[string][]join.Told
}

func newView() *view {
	return &view{map[string]*detectors.Finding{}, map[string]*detectors.Incident{}, map[string][]string{}, map[string][]join.Told{}}
}

// Event implements engine.Sink.
func (v *view) Event(ev any) {
	switch x := ev.(type) {
	case *detectors.Finding:
		v.findings[x.ID()] = x
	case *detectors.Update:
		v.findings[x.ID()] = x.Finding
	case *detectors.Incident:
		v.incidents[x.ID] = x
		if x.State == detectors.Merged {
			delete(v.incidents, x.ID)
		}
	}
}

// lines tells of what a view has, without what may differ: ids, times and numbers of packets.
func (v *view) lines() []string {
	var all []string
	for _, f := range v.findings {
		if f.Many && f.Flow != nil { // which of many flows it is told by hangs on the order in which they end
			all = append(all, fmt.Sprintf("finding %s %s (%s) %s", f.Rule, f.Src, f.Same(), f.Severity))
			continue
		}
		all = append(all, fmt.Sprintf("finding %s %s -> %s:%d %s %s %d %d %s", f.Rule, f.Src, f.Dst, f.Port, f.Severity, f.Outcome, f.Confidence, f.Count, f.Msg))
	}
	addrs := func(a []netip.Addr) []netip.Addr {
		a = slices.Clone(a)
		slices.SortFunc(a, netip.Addr.Compare)
		return a
	}
	for _, x := range v.incidents {
		all = append(all, fmt.Sprintf("incident %v on %v %s chain=%v score=%d findings=%d", addrs(x.Attackers), addrs(x.Victims), x.Severity, x.Chain, x.Score, x.Findings))
		all = append(all, fmt.Sprintf("story of %v: %v %v %v", addrs(x.Victims), x.Others, x.Tactics, x.Techniques))
		for i := range x.Steps {
			all = append(all, fmt.Sprintf("step of %v: %s", addrs(x.Victims), x.Steps[i].String()))
		}
	}
	slices.Sort(all)
	return all
}

func config() engine.Config {
	cfg := engine.Default()
	cfg.Workers = 1
	return cfg
}

func replay(t testing.TB, cfg engine.Config, file string, sinks ...engine.Sink) {
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	_, _ = engine.Run(context.Background(), cfg, src, sinks...) // captures that are cut are none the worse
}

// observed replays what a sensor sees, and returns the rows of its log of observations.
func observed(t testing.TB, dir, name string) [][]byte {
	cfg := config()
	cfg.Observer = observe.New("1", observe.Config{})
	logs := filepath.Join(dir, name)
	sink, err := zeek.New(logs, zeek.Options{Format: zeek.JSON, Rules: registry.Rules(), Logs: []string{observe.Log}})
	if err != nil {
		t.Fatal(err)
	}
	replay(t, cfg, filepath.Join(dir, name+".pcap"), sink)
	if err := sink.Close(0); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(logs, "observations.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows [][]byte
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<21)
	for sc.Scan() {
		rows = append(rows, slices.Clone(sc.Bytes()))
	}
	return rows
}

// joined shows the rows of sensors to a joiner, in an order that is shuffled between them.
func joined(t testing.TB, rows map[string][][]byte, seed uint64) (*view, *join.Joiner) {
	v := newView()
	cfg := join.Default()
	cfg.Engine = config()
	cfg.Finding = func(f *join.Finding) {
		v.findings[f.ID], v.sensors[f.ID], v.told[f.ID] = f.Finding, f.Sensors, f.Told
	}
	cfg.Incident = func(x *join.Incident) { v.Event(x.Incident) }
	cfg.Local = func(sensor string, f *detectors.Finding) {
		if os.Getenv("JOIN_LOCAL") != "" {
			t.Logf("local %s: %s %s -> %s %s", sensor, f.Rule, f.Src, f.Dst, f.Severity)
		}
	}
	j, err := join.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) // packets are from before
	names := slices.Sorted(maps.Keys(rows))
	for _, n := range names {
		_ = j.Expect(n, now)
	}
	r := rand.New(rand.NewPCG(seed, 0))
	at := map[string]int{}
	for place := uint64(1); len(names) > 0; place++ {
		i := r.IntN(len(names))
		n := names[i]
		if at[n] == len(rows[n]) {
			names = slices.Delete(names, i, i+1)
			continue
		}
		if err := j.Add(n, rows[n][at[n]], place, now); err != nil {
			t.Errorf("%s: %v", n, err)
		}
		at[n]++
	}
	j.End()
	if s := j.Stats(); s.Panics > 0 || s.Waiting > 0 {
		t.Errorf("%+v", s)
	}
	return v, j
}

// differ lists what only one of two views has.
func differ(a, b []string) (only [2][]string) {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, s := range slices.Sorted(maps.Keys(count)) {
		for n := count[s]; n > 0; n-- {
			only[0] = append(only[0], s)
		}
		for n := count[s]; n < 0; n++ {
			only[1] = append(only[1], s)
		}
	}
	return only
}

// TestEquivalence: what is joined of several sensors is what one sensor finds that sees it all. JOIN_CAPTURES has patterns of captures
// to take, or is "all", for all that are labelled; otherwise it is every third of these, and all of whole stories.
func TestEquivalence(t *testing.T) {
	patterns := []string{"../../pcaps/*.pcap.gz"}
	all, some := false, os.Getenv("JOIN_CAPTURES")
	if all = some != ""; all && some != "all" {
		patterns = strings.Fields(some)
	}
	var files []string
	for _, p := range patterns {
		more, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	equal, taken := map[string]int{}, map[string]int{}
	every := 3
	if testing.Short() {
		every = 12
	}
	for i, file := range files {
		if !all && i%every > 0 && !strings.Contains(file, "shadowray") && !strings.Contains(file, "wire-switch") {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".pcap.gz")
		whole := newView()
		replay(t, config(), file, whole)
		want := whole.lines()
		for _, w := range ways {
			t.Run(name+"/"+w.name, func(t *testing.T) {
				dir := t.TempDir()
				parts := split(t, file, dir, w)
				if len(parts) == 0 {
					t.Skip("not in the classic form")
				}
				rows := map[string][][]byte{}
				for _, p := range parts {
					rows[p] = observed(t, dir, p)
				}
				taken[w.name]++
				got, _ := joined(t, rows, uint64(len(want)))
				only := differ(want, got.lines())
				for _, s := range only[0] {
					t.Errorf("lost:  %s", s)
				}
				for _, s := range only[1] {
					t.Errorf("alien: %s", s)
				}
				if len(only[0])+len(only[1]) == 0 {
					equal[w.name]++
				}
			})
		}
	}
	for _, w := range ways {
		t.Logf("%s: %d of %d equal", w.name, equal[w.name], taken[w.name])
	}
}
