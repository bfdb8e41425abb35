package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// TestPace: the stages of a live run part when one goroutine takes all of a processor and the source fills up, and
// join when they would fit into one again.
func TestPace(t *testing.T) {
	type span struct {
		fill  int           // percent
		load  float64       // processors in use
		lasts time.Duration // a batch comes every millisecond
	}
	for _, c := range []struct {
		name  string
		spans []span
		want  []bool // whether the stages are apart at the end of each span
	}{
		{"idle", []span{{0, 0.01, time.Minute}}, []bool{false}},
		{"busy, and keeps up", []span{{partAt - 1, 1, time.Minute}}, []bool{false}},
		{"a burst that is read off at once", []span{{60, 1, 5 * time.Millisecond}, {0, 1, time.Second}}, []bool{false, false}},
		{"does not keep up", []span{{0, 1, time.Second}, {partAt, 1, 15 * time.Millisecond}}, []bool{false, true}},
		{"waits for a processor", []span{{90, 0.4, time.Minute}}, []bool{false}},
		{"had to wait, then does not", []span{{90, 0.4, time.Second}, {90, 1, 25 * time.Millisecond}}, []bool{false, true}},
		{"bursts that do not add up", slices.Repeat([]span{{60, 1, 9 * time.Millisecond}, {0, 1, time.Millisecond}}, 20), make([]bool, 40)},
		{"joins when it is calm", []span{{50, 1, time.Second}, {0, 0.3, 900 * time.Millisecond}, {0, 0.3, 200 * time.Millisecond}}, []bool{true, true, false}},
		{"stays apart while all of it takes a processor", []span{{50, 1, time.Second}, {0, 0.8, time.Minute}}, []bool{true, true}},
		{"stays apart while the source fills up", []span{{50, 1, time.Second}, {partAt, 0.3, time.Minute}}, []bool{true, true}},
		{"a peak starts the second again", []span{{50, 1, time.Second}, {0, 0.3, 900 * time.Millisecond}, {30, 0.3, time.Millisecond},
			{0, 0.3, 900 * time.Millisecond}}, []bool{true, true, true, true}},
		{"joins after a busy second and a calm one", []span{{50, 1, time.Second}, {0, 0.9, 1500 * time.Millisecond}, {0, 0.2, 3 * time.Second}}, []bool{true, true, false}},
		{"parts again", []span{{50, 1, time.Second}, {0, 0.1, 2 * time.Second}, {50, 1, time.Second}}, []bool{true, false, true}},
	} {
		now, spent := time.Unix(0, 0), time.Duration(0)
		p := &pace{now: func() time.Time { return now }, cpu: func() time.Duration { return spent }}
		for i, s := range c.spans {
			var got bool
			for end := now.Add(s.lasts); now.Before(end); {
				now = now.Add(time.Millisecond)
				spent += time.Duration(s.load * float64(time.Millisecond))
				got = p.apart(s.fill)
			}
			if got != c.want[i] {
				t.Errorf("%s: apart: %v after span %d", c.name, got, i+1)
			}
		}
	}
}

// said writes down what was kept: rows, and findings with all that is in them.
func (k *kept) said() (all []string) {
	for _, ev := range k.all {
		switch ev := ev.(type) {
		case *statsRow: // what was counted by its end; said in all ways
			all = append(all, fmt.Sprintf("stats %+v", ev.s))
		case *detectors.Finding:
			all = append(all, fmt.Sprintf("%s %v %v %+v", ev.Rule, ev.Src, ev.Dst, ev.Evidence))
		case capture.Record:
			c := columns{}
			ev.Row(c)
			all = append(all, fmt.Sprint(ev.Log(), c))
		}
	}
	return all
}

// TestPartingChangesNothing: whether one goroutine does it all, each stage has its own, or they part and join all the
// time, the same is said in the same order, and new settings are in force from the same packet on.
func TestPartingChangesNothing(t *testing.T) {
	for _, name := range []string{"shadowray", "attack-job-payload", "attack-scan", "egress-dns", "attack-client"} {
		frames := allFrames(t, name)
		var want []string
		for _, c := range []struct {
			name  string
			apart func(n int) bool // for batch n
		}{
			{"together", func(int) bool { return false }},
			{"apart", func(int) bool { return true }},
			{"in turn", func(n int) bool { return n%2 == 0 }},
			{"parting and joining", func(n int) bool { return n/7%3 != 1 }},
		} {
			reload := make(chan *Config, 1)
			cfg := Default()
			cfg.Workers, cfg.Reload, cfg.Fragile = 3, reload, true
			next := cfg
			next.Home = []string{"203.0.113.0/24"}
			k := &kept{}
			e, err := newEngine(cfg, &fakeLive{frames: frames, per: 7, before: func(_ *capture.Batch, at int) {
				if at/7 == len(frames)/14 {
					reload <- &next
				}
			}}, []Sink{k})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			e.apart = func(int) bool { n++; return c.apart(n) }
			if _, err := e.run(context.Background()); err != nil {
				t.Fatal(err)
			}
			got := k.said()
			if want == nil {
				want = got
			}
			if len(got) < 10 || !slices.Equal(got, want) {
				t.Errorf("%s, %s: %d things said, %d together", name, c.name, len(got), len(want))
				for i := range min(len(got), len(want)) {
					if got[i] != want[i] {
						t.Logf("got  %s\nwant %s", got[i], want[i])
						break
					}
				}
			}
		}
	}
}
