package join_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/fleet/join"
	"github.com/raytap/raytap/fleet/observe"
)

const shadowray = "../../pcaps/shadowray.pcap.gz"

// row is a row on its way to a hub.
type row struct {
	sensor string
	body   []byte
	place  uint64
	at     time.Time
}

// stream puts the rows of sensors into one stream, in turn.
func stream(rows map[string][][]byte) (all []row) {
	names := slices.Sorted(maps.Keys(rows))
	for i := 0; ; i++ {
		more := false
		for _, n := range names {
			if i < len(rows[n]) {
				all = append(all, row{n, rows[n][i], uint64(len(all) + 1), future.Add(time.Duration(len(all)) * time.Millisecond)})
				more = true
			}
		}
		if !more {
			return all
		}
	}
}

var future = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC) // of all captures

// hub is a Joiner with what it said.
type hub struct {
	*join.Joiner
	*view
	said []string // in order
	over uint64   // what is said of rows up to here is dropped
}

func newHub(t testing.TB, change func(*join.Config)) *hub {
	h := &hub{view: newView()}
	cfg := join.Default()
	cfg.Engine = config()
	cfg.Finding = func(f *join.Finding) {
		if f.Place <= h.over {
			return
		}
		if h.findings[f.ID] == nil {
			h.said = append(h.said, f.ID)
		}
		h.findings[f.ID], h.sensors[f.ID], h.told[f.ID] = f.Finding, f.Sensors, f.Told
	}
	cfg.Incident = func(x *join.Incident) {
		if x.Place > h.over {
			h.view.Event(x.Incident)
		}
	}
	if change != nil {
		change(&cfg)
	}
	j, err := join.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Joiner = j
	return h
}

func (h *hub) add(t testing.TB, r row) {
	if err := h.Add(r.sensor, r.body, r.place, r.at); err != nil {
		t.Errorf("%s: %v", r.sensor, err)
	}
}

// parts splits a capture and has each part observed; twist may change the file of a part before.
func parts(t testing.TB, file string, w way, twist func(name string, pcap []byte)) map[string][][]byte {
	dir := t.TempDir()
	rows := map[string][][]byte{}
	for _, p := range split(t, file, dir, w) {
		if twist != nil {
			path := filepath.Join(dir, p+".pcap")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			twist(p, b)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		rows[p] = observed(t, dir, p)
	}
	return rows
}

func wants(t testing.TB) []string {
	whole := newView()
	replay(t, config(), shadowray, whole)
	return whole.lines()
}

func same(t testing.TB, want, got []string) {
	t.Helper()
	only := differ(want, got)
	if len(only[0])+len(only[1]) > 0 {
		t.Errorf("lost:  %s\nalien: %s", strings.Join(only[0], "\n       "), strings.Join(only[1], "\n       "))
	}
}

// TestTwoTapsOneFinding: what two taps saw of the same packets is one finding that names both, and what each calls it.
func TestTwoTapsOneFinding(t *testing.T) {
	h := newHub(t, nil)
	for _, r := range stream(parts(t, shadowray, way{"twice", 3, true}, nil)) {
		h.add(t, r)
	}
	h.End()
	same(t, wants(t), h.lines())
	for id, f := range h.findings {
		if f.Flow != nil && len(h.sensors[id]) != 2 {
			t.Errorf("%s was seen by %v", f.Rule, h.sensors[id])
		}
		if f.Flow != nil && !f.Many && len(h.told[id]) == 0 {
			t.Errorf("%s %s: nobody said it himself", f.Rule, id)
		}
	}
	twice := uint64(0)
	for _, s := range h.Sensors() {
		twice += s.Twice
	}
	if twice == 0 {
		t.Error("nothing was told twice")
	}
}

// shift changes the times of all packets of a capture.
func shift(pcap []byte, by time.Duration) {
	for at := 24; at+16 <= len(pcap); at += 16 + int(binary.LittleEndian.Uint32(pcap[at+8:])) {
		us := int64(binary.LittleEndian.Uint32(pcap[at:]))*1e6 + int64(binary.LittleEndian.Uint32(pcap[at+4:])) + by.Microseconds()
		binary.LittleEndian.PutUint32(pcap[at:], uint32(us/1e6))
		binary.LittleEndian.PutUint32(pcap[at+4:], uint32(us%1e6))
	}
}

// TestClocksDiffer: the clocks of two taps are never the same. What differs little is still one finding, and a clock that is known to be
// wrong by an hour is put right.
func TestClocksDiffer(t *testing.T) {
	want := wants(t)
	for _, by := range []time.Duration{20 * time.Microsecond, -3 * time.Millisecond, 300 * time.Millisecond, time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			h := newHub(t, nil)
			rows := parts(t, shadowray, way{"twice", 3, true}, func(name string, pcap []byte) {
				if name == "sensor-1" {
					shift(pcap, by)
				}
			})
			if by >= time.Hour {
				h.SetClock("sensor-1", by)
			}
			for _, r := range stream(rows) {
				h.add(t, r)
			}
			h.End()
			same(t, want, h.lines())
		})
	}
}

// TestSilentSensor: who is not heard of is waited for, but not for ever; what it brings then is taken.
func TestSilentSensor(t *testing.T) {
	rows := parts(t, shadowray, way{"flows", 3, false}, nil)
	late := rows["sensor-1"]
	delete(rows, "sensor-1")
	h := newHub(t, func(c *join.Config) { c.Late = 24 * time.Hour })
	if err := h.Expect("sensor-1", future); err != nil {
		t.Fatal(err)
	}
	at, place := future, uint64(0)
	for _, r := range stream(rows) {
		h.add(t, r)
		at, place = r.at, r.place
	}
	if h.Stats().Waiting == 0 || len(h.said) > 0 {
		t.Errorf("%+v, %d said: nobody waited for the silent one", h.Stats(), len(h.said))
	}
	h.Advance(at.Add(29 * time.Second))
	if len(h.said) > 0 {
		t.Error("it was not waited for")
	}
	h.Advance(at.Add(31 * time.Second))
	if h.Stats().Waiting > 0 || len(h.said) == 0 {
		t.Errorf("%+v, %d said: it is waited for as if for ever", h.Stats(), len(h.said))
	}
	for _, r := range late {
		place++
		h.add(t, row{"sensor-1", r, place, at.Add(time.Minute)})
	}
	h.End()
	counted := uint64(0)
	for _, s := range h.Sensors() {
		counted += s.Late
	}
	if counted == 0 {
		t.Error("what came late is not counted")
	}
	// The order is another, the story is the same.
	got := h.lines()
	for _, s := range wants(t) {
		if strings.HasPrefix(s, "finding") && !slices.Contains(got, s) {
			t.Errorf("lost: %s", s)
		}
	}
}

// TestStandingClock: a sensor that goes on to send but not to tell of later times holds the others for a while only.
func TestStandingClock(t *testing.T) {
	rows := parts(t, shadowray, way{"flows", 3, false}, nil)
	h := newHub(t, nil)
	at := future
	for i := range 300 {
		for _, n := range []string{"sensor-0", "sensor-1"} {
			if i < len(rows[n]) {
				h.add(t, row{n, rows[n][i], uint64(i), at})
			}
		}
		stuck := fmt.Sprintf(`{"ts":1,"run":"x","number":%d,"events":0}`, i+1)
		h.add(t, row{"stuck", []byte(stuck), uint64(i), at})
		at = at.Add(time.Second)
	}
	if h.Stats().Waiting > 0 || len(h.said) == 0 {
		t.Errorf("%+v, %d said", h.Stats(), len(h.said))
	}
}

// TestFastClock: a sensor whose clock is half an hour ahead, which nobody has noticed yet, does not make the others late.
func TestFastClock(t *testing.T) {
	rows := parts(t, shadowray, way{"flows", 3, false}, nil)
	whole := newView()
	replay(t, config(), shadowray, whole)
	h := newHub(t, nil)
	ticks := map[string]int{}
	var base time.Time
	for _, f := range whole.findings {
		if base.IsZero() || f.Time.Std().Before(base) {
			base = f.Time.Std()
		}
	}
	// Five minutes in which all sensors tell that they see nothing, and one of them half an hour too early.
	at := base.Add(-10 * time.Minute)
	for ; at.Before(base.Add(-time.Minute)); at = at.Add(5 * time.Second) {
		for name, fast := range map[string]time.Duration{"sensor-0": 0, "sensor-1": 0, "sensor-2": 0, "fast": 30 * time.Minute} {
			ticks[name]++
			body := fmt.Sprintf(`{"ts":%d,"run":"0","number":%d,"events":0}`, at.Add(fast).Unix(), ticks[name])
			h.add(t, row{name, []byte(body), 1, at.Add(time.Second)})
		}
	}
	for _, s := range h.Sensors() {
		if s.Behind {
			t.Errorf("%s is not waited for", s.Name)
		}
	}
	for _, r := range stream(rows) {
		r.at = base.Add(time.Minute)
		h.add(t, r)
	}
	h.End()
	same(t, whole.lines(), h.lines())
}

// TestRowsOutOfOrder: a batch that is published again comes behind what was published after it, and some rows come twice.
func TestRowsOutOfOrder(t *testing.T) {
	rows := parts(t, shadowray, way{"hosts", 0, false}, nil)
	all := stream(rows)
	h := newHub(t, nil)
	for i := 0; i < len(all); i += 12 {
		batch := slices.Clone(all[i:min(i+12, len(all))])
		at := batch[0].at
		slices.Reverse(batch)
		for _, r := range batch {
			r.at = at
			h.add(t, r)
		}
		if err := h.Add(batch[0].sensor, batch[0].body, batch[0].place, at); !errors.Is(err, join.ErrOrder) {
			t.Errorf("a row that came before: %v", err)
		}
	}
	h.End()
	for _, s := range h.Sensors() {
		if s.Missing > 0 && len(rows[s.Name]) > 12 {
			t.Errorf("%s: %d missing", s.Name, s.Missing)
		}
	}
	same(t, wants(t), h.lines())
}

// TestRestart: a hub that is killed anywhere, and fed again from where Resume said, says nothing twice and loses nothing.
func TestRestart(t *testing.T) {
	want := wants(t)
	all := stream(parts(t, shadowray, way{"flows", 3, false}, nil))
	for cut := 1; cut < len(all); cut += max(len(all)/9, 1) {
		change := func(c *join.Config) {
			if cut%2 == 0 { // the incident alone says how far back
				c.Memory = time.Second
			}
		}
		one := newHub(t, change)
		for _, r := range all[:cut] {
			one.add(t, r)
		}
		two := newHub(t, change)
		two.over = all[cut-1].place
		for _, r := range all {
			if r.place >= one.Resume() {
				two.add(t, r)
			}
		}
		two.End()
		for id := range one.findings {
			if two.findings[id] == nil {
				two.findings[id] = one.findings[id]
			} else if slices.Contains(two.said, id) && one.findings[id].Revision <= 1 && two.findings[id].Revision <= 1 && fmt.Sprint(one.sensors[id]) == fmt.Sprint(two.sensors[id]) {
				t.Errorf("cut at %d: %s was said twice", cut, id)
			}
		}
		for id := range one.incidents {
			if two.incidents[id] == nil {
				two.incidents[id] = one.incidents[id]
			}
		}
		same(t, want, two.lines())
	}
}

// TestWorkers: a sensor writes the same with any number of workers.
func TestWorkers(t *testing.T) {
	var said [2]string
	for i, n := range []int{1, 4} {
		cfg := config()
		cfg.Workers = n
		cfg.Observer = observe.New("1", observe.Config{})
		replay(t, cfg, shadowray, sinkFunc(func(ev any) {
			if p, ok := ev.(*observe.Pack); ok {
				said[i] += fmt.Sprintf("%+v\n", *p)
			}
		}))
	}
	if said[0] != said[1] || said[0] == "" {
		t.Error("the number of workers shows")
	}
}

type sinkFunc func(any)

func (f sinkFunc) Event(ev any) { f(ev) }

// TestSameStreamSameWords: two hubs that read the same stream say the same, in the same order.
func TestSameStreamSameWords(t *testing.T) {
	all := stream(parts(t, shadowray, way{"twice", 3, true}, nil))
	var said [2]string
	for i := range said {
		h := newHub(t, func(c *join.Config) {
			c.Finding = func(f *join.Finding) {
				said[i] += fmt.Sprintln(f.ID, f.Sensors, f.Told, f.Update, f.Place, string(f.Body))
			}
			c.Incident = func(x *join.Incident) { said[i] += fmt.Sprintln(x.Sensors, x.Place, string(x.Body)) }
			c.Asset = func(a *join.Asset) { said[i] += fmt.Sprintln(a.Place, string(a.Body)) }
			c.Local = func(s string, f *detectors.Finding) { said[i] += fmt.Sprintln(s, f.ID()) }
		})
		for _, r := range all {
			h.add(t, r)
		}
		h.End()
	}
	if said[0] != said[1] || said[0] == "" {
		t.Error("two hubs differ")
	}
}

// TestOneAfterTheOther: what sensors captured long ago may be published one folder after the other, in any order, by sensors that nobody
// expects.
func TestOneAfterTheOther(t *testing.T) {
	rows := parts(t, shadowray, way{"flows", 3, false}, nil)
	for _, order := range [][]string{{"sensor-0", "sensor-1", "sensor-2"}, {"sensor-2", "sensor-0", "sensor-1"}, {"sensor-1", "sensor-2", "sensor-0"}} {
		h := newHub(t, nil)
		now, place := future, uint64(0)
		for _, n := range order {
			for _, b := range rows[n] {
				place++
				h.add(t, row{n, b, place, now})
				now = now.Add(time.Millisecond)
			}
			for range 10 {
				now = now.Add(time.Second)
				h.Advance(now)
			}
		}
		for range 60 {
			now = now.Add(time.Second)
			h.Advance(now)
		}
		for _, s := range h.Sensors() {
			if s.Late+s.TooLate > 0 {
				t.Errorf("%v: %+v", order, s)
			}
		}
		if n := h.Stats().Waiting; n > 0 {
			t.Errorf("%v: %d events wait", order, n)
		}
		same(t, wants(t), h.lines())
	}
}

// TestHostileSensor: who sends anything disturbs nobody else.
func TestHostileSensor(t *testing.T) {
	rows := parts(t, shadowray, way{"flows", 3, false}, nil)
	h := newHub(t, nil)
	refused := 0
	for i, r := range stream(rows) {
		h.add(t, r)
		b := slices.Clone(r.body)
		for k := range 40 {
			b[(i*131+k*977)%len(b)] ^= byte(1 << (k % 7))
		}
		if h.Add("mallory", b, r.place, r.at) != nil {
			refused++
		}
	}
	h.End()
	if refused == 0 {
		t.Error("nothing was refused")
	}
	same(t, wants(t), h.lines())
}

// TestFutureIsRefused: a sensor whose clock runs far ahead does not take the others' time with it.
func TestFutureIsRefused(t *testing.T) {
	rows := parts(t, shadowray, way{"flows", 3, false}, nil)
	ahead := parts(t, shadowray, way{"flows", 3, false}, func(_ string, pcap []byte) { shift(pcap, 48*time.Hour) })
	h := newHub(t, nil)
	f, err := os.Open(shadowray)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	whole := newView()
	replay(t, config(), shadowray, whole)
	var last time.Time
	for _, x := range whole.findings {
		if x.Time.Std().After(last) {
			last = x.Time.Std()
		}
	}
	for _, r := range stream(rows) {
		r.at = last.Add(time.Minute)
		h.add(t, r)
	}
	for i, r := range ahead["sensor-0"] {
		_ = h.Add("ahead", r, uint64(1000+i), last.Add(time.Minute))
	}
	h.End()
	same(t, whole.lines(), h.lines())
	for _, s := range h.Sensors() {
		if s.Name == "ahead" && s.Future == 0 {
			t.Error("the future is not counted")
		}
	}
}

// TestResume: what is long past need not be read again.
func TestResume(t *testing.T) {
	h := newHub(t, nil)
	last := uint64(0)
	for _, r := range stream(parts(t, "../../pcaps/benign-heartbeats.pcap.gz", way{"hosts", 0, false}, nil)) {
		h.add(t, r)
		last = r.place
	}
	h.Advance(future.Add(time.Minute)) // nothing older follows
	if at := h.Resume(); at == 0 || at > last {
		t.Errorf("from %d of %d", at, last)
	}
}
