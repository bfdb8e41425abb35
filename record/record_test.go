package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/capture/capturetest"
	"github.com/raytap/raytap/detectors"
)

// traffic makes frames of flows: Ethernet, IPv4, TCP, with payload that tells flow and number.
type traffic struct {
	now     capture.Time
	ordinal uint64
	dissect *capture.Dissector
	seed    capture.Seed
	judge   *Judge
	starts  map[int]capture.Time
	sent    map[int]uint64
	frames  []capture.Frame // all that were made, if keep
	keep    bool
}

func newTraffic(r *Recorder) *traffic {
	t := &traffic{now: 1700000000e9, dissect: capture.NewDissector(capture.DissectConfig{IgnoreChecksums: true}), seed: capture.NewSeed(1), judge: r.Policy().Judge(), starts: map[int]capture.Time{}, sent: map[int]uint64{}}
	r.Begin(t.seed)
	return t
}

func (t *traffic) addr(flow int) (netip.AddrPort, netip.AddrPort) {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(flow >> 16), byte(flow >> 8), byte(flow)}), 40000), netip.MustParseAddrPort("203.0.113.66:8265")
}

// frame makes the next one of a flow.
func (t *traffic) frame(flow, size int) capture.Frame {
	src, dst := t.addr(flow)
	b := make([]byte, 14+40+size)
	b[12] = 8
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], src.Addr().AsSlice())
	copy(ip[16:], dst.Addr().AsSlice())
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	binary.BigEndian.PutUint32(tcp[4:], uint32(t.sent[flow]))
	tcp[12], tcp[13] = 0x50, 0x10
	for i, x := 20, t.ordinal; i < len(tcp); i++ { // what does not compress
		x = x*6364136223846793005 + 1442695040888963407
		tcp[i] = byte(x >> 56)
	}
	copy(tcp[20:], fmt.Sprintf("flow %d at %d", flow, t.ordinal+1))
	t.now += 1000
	t.ordinal++
	if t.starts[flow] == 0 {
		t.starts[flow] = t.now
	}
	t.sent[flow] += uint64(40 + size)
	return capture.Frame{Time: t.now, Ordinal: t.ordinal, Data: b, WireLen: len(b), Link: 1}
}

// feed gives the recorder a frame of each of the flows.
func (t *traffic) feed(r *Recorder, size int, flows ...int) {
	var frames []capture.Frame
	var packets []capture.Packet
	var hashes []uint64
	var marks []Mark
	for _, flow := range flows {
		f := t.frame(flow, size)
		frames = append(frames, f)
		n := len(packets)
		packets = t.dissect.Dissect(&f, packets)
		for i := n; i < len(packets); i++ {
			hashes = append(hashes, t.seed.Hash(&packets[i]))
			marks = append(marks, t.judge.Mark(&packets[i], &capture.Facts{Start: t.starts[flow], Sent: t.sent[flow]}))
		}
	}
	if t.keep {
		t.frames = append(t.frames, frames...)
	}
	r.Batch(frames, packets, hashes, marks)
	r.Flush()
}

// flow gives the flow as events have it.
func (t *traffic) flow(flow int) *capture.Flow {
	src, dst := t.addr(flow)
	f := &capture.Flow{Start: t.starts[flow], Orig: src, Resp: dst, Proto: capture.ProtoTCP}
	n := f.Name()
	f.UID = n.UID()
	return f
}

func begin(t *testing.T, opt Options) *Recorder {
	t.Helper()
	if opt.Folder == "" {
		opt.Folder = filepath.Join(t.TempDir(), "packets")
	}
	if opt.Size == 0 {
		opt.Size = 1 << 30
	}
	if opt.segment == 0 {
		opt.segment = 4 << 20
	}
	r, err := New(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func find(t *testing.T, dir string, q Query) (all []capture.Frame, told []string) {
	t.Helper()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := f.Search(&q, nil)
	defer r.Close()
	var b capture.Batch
	for r.ReadBatch(&b) == nil {
		for _, f := range b.Frames {
			f.Data = bytes.Clone(f.Data)
			all = append(all, f)
		}
	}
	return all, r.Told
}

func finding(f *capture.Flow, at capture.At, sev detectors.Severity) *detectors.Finding {
	return &detectors.Finding{
		At: at, Rule: "jobsubmit/external", Severity: sev, Msg: "somebody ran a job", Src: f.Orig.Addr(), Dst: f.Resp.Addr(), Port: f.Resp.Port(), Flow: f,
		Evidence: []detectors.Evidence{{Field: "request", Value: "POST", Packet: at.Packet}},
	}
}

func folderSize(dir string) (n int64) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
	}
	return n
}

// TestFindsFlows: by each of their names, in segments with an index, without, compressed, and in the one that is written.
func TestFindsFlows(t *testing.T) {
	for _, compress := range []bool{false, true} {
		r := begin(t, Options{Wait: true, Compress: compress, Policy: Policy{}})
		dir := r.opt.Folder
		tr := newTraffic(r)
		tr.keep = true
		for i := range 20000 {
			tr.feed(r, 600, i%100, 100+i)
		}
		live := func(what string, q Query, flows func(n int) bool) {
			t.Helper()
			got, told := find(t, dir, q)
			var want []capture.Frame
			for i, f := range tr.frames {
				if flows(i) {
					want = append(want, f)
				}
			}
			if len(told) > 0 {
				t.Errorf("%s: %v", what, told)
			}
			if len(got) != len(want) {
				t.Errorf("compressed %v, %s: %d packets, want %d", compress, what, len(got), len(want))
				return
			}
			for i := range got {
				if got[i].Time != want[i].Time || !bytes.Equal(got[i].Data, want[i].Data) || got[i].WireLen != want[i].WireLen {
					t.Fatalf("%s: packet %d is another", what, i)
				}
			}
		}
		even := func(n int) bool { return n%2 == 0 && n/2%100 == 7 }
		check := func() {
			t.Helper()
			f := tr.flow(7)
			live("uid", Query{UIDs: []string{f.UID}}, even)
			live("community id", Query{Communities: []string{f.CommunityID()}}, even)
			live("host", Query{Hosts: []netip.Prefix{netip.PrefixFrom(f.Orig.Addr(), 32)}}, even)
			live("pair", Query{Pairs: [][2]netip.Addr{{f.Resp.Addr(), f.Orig.Addr()}}}, even)
			live("network", Query{Hosts: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}}, func(n int) bool { return n%2 == 1 && (100+n/2)>>8 == 1 })
			live("all", Query{}, func(int) bool { return true })
			live("ordinals", Query{Run: r.run, Ordinals: map[uint64]bool{5: true, 30000: true}}, func(n int) bool { return n == 4 || n == 29999 })
			live("nothing", Query{UIDs: []string{"CAAAAAAAAAAAAAAAAA"}}, func(int) bool { return false })
			got, _ := find(t, dir, Query{Since: tr.frames[20000].Time, Until: tr.frames[20100].Time})
			if n := len(got); n < 101 || n > 20000 {
				t.Errorf("%d packets around 101", n)
			}
		}
		r.cutAt = time.Time{}
		r.Flush()
		waitFor(t, "all is written", func() bool { got, _ := find(t, dir, Query{}); return len(got) == len(tr.frames) })
		check()
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		check()
		ring, _ := list(dir)
		if len(ring) < 2 {
			t.Fatalf("%d segments", len(ring))
		}
		for i, f := range ring { // missing, damaged
			if i%2 == 0 {
				os.Remove(f.path + indexTail)
			} else {
				b, _ := os.ReadFile(f.path + indexTail)
				for j := range b {
					b[j] ^= byte(j)
				}
				os.WriteFile(f.path+indexTail, b, 0o600)
			}
		}
		check()
		// As plain captures, without any of that.
		n := 0
		for _, f := range ring {
			src, err := capture.OpenFile(f.path)
			if err != nil {
				t.Fatal(err)
			}
			var b capture.Batch
			for src.ReadBatch(&b) == nil {
				n += len(b.Frames)
			}
			src.Close()
		}
		if n != len(tr.frames) {
			t.Errorf("%d packets as captures, want %d", n, len(tr.frames))
		}
		for path, want := range map[string]os.FileMode{dir: 0o700, ring[0].path: 0o600, filepath.Join(dir, lockName): 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
				t.Errorf("%s has %v, want %v", path, info.Mode(), want)
			}
		}
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not so: %s", what)
}

// TestRing: the oldest goes first, the budget holds at every moment, evidence stays, and memory does not grow.
func TestRing(t *testing.T) {
	const size = 24 << 20
	r := begin(t, Options{Wait: true, Size: size, Policy: Policy{}, Evidence: Evidence{On: true, Severity: detectors.Low, Size: 1 << 20, Bound: 256 << 10}})
	tr := newTraffic(r)
	tr.feed(r, 1000, 1)
	f := tr.flow(1)
	file := r.Finding(finding(f, capture.At{Time: tr.now, Packet: tr.ordinal}, detectors.High))
	for i := range 200000 {
		tr.feed(r, 1000, 2+i%500)
		if i%5000 == 0 {
			if n := folderSize(r.opt.Folder); n > size+int64(r.opt.segment) {
				t.Fatalf("the folder has %d bytes, %d are its budget", n, size)
			}
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, told := find(t, r.opt.Folder, Query{})
	if len(told) > 0 || len(got) < 15000 || len(got) > 25000 {
		t.Errorf("%d packets are left, %v", len(got), told)
	}
	if last := got[len(got)-1]; last.Time != tr.now {
		t.Errorf("the last is of %d, want %d", last.Time, tr.now)
	}
	for i := range got[1:] {
		if got[i+1].Time-got[i].Time != 1000 {
			t.Fatalf("a hole behind packet %d", i)
		}
	}
	if all := capturetest.Frames(t, file); len(all) != 1 {
		t.Errorf("the evidence has %d packets", len(all))
	}
	c := r.Counts()
	if c.Seen.Frames != 200001 || c.By[Kept].Frames != 200001 {
		t.Errorf("%+v", c)
	}
	if r.made > r.opt.chunks {
		t.Errorf("%d chunks were made", r.made)
	}
}

// TestPolicy: what is kept beyond the cutoff, and under which cause the rest counts.
func TestPolicy(t *testing.T) {
	excluded, _ := detectors.ParseNetworks([]string{"10.0.0.9"})
	r := begin(t, Options{Wait: true, Policy: Policy{Cutoff: 5000, Exclude: excluded, Filter: "not host 10.0.0.8"}})
	tr := newTraffic(r)
	for range 10 {
		tr.feed(r, 960, 1, 8, 9)
	}
	c := r.Counts()
	for cause, want := range map[Cause]uint64{Kept: 5, Cutoff: 5 + 5, Filtered: 5, Excluded: 10} {
		if got := c.By[cause].Frames; got != want {
			t.Errorf("%v has %d frames, want %d", cause, got, want)
		}
	}
	// A finding wants the rest, whatever the cutoff.
	f := tr.flow(1)
	r.Finding(finding(f, capture.At{Time: tr.now, Packet: tr.ordinal}, detectors.High))
	if r.opt.Evidence.On {
		t.Error("nobody asked for evidence")
	}
	p := Policy{Cutoff: 1000, Encrypted: 100, Whole: []string{"dns", Ray}, WholeCutoff: 5000}
	j := p.Judge()
	list := func(s ...string) *[]string { return &s }
	pk := &capture.Packet{Proto: capture.ProtoTCP}
	fin := &capture.Packet{Proto: capture.ProtoTCP, Flags: capture.FlagFIN}
	for i, c := range []struct {
		p    *capture.Packet
		f    capture.Facts
		keep keep
		why  Cause
	}{
		{pk, capture.Facts{Sent: 100, Services: list("ssl")}, whole, Kept},
		{pk, capture.Facts{Sent: 101, Services: list("ssl")}, headers, Encrypted},
		{pk, capture.Facts{Sent: 101}, whole, Kept},
		{pk, capture.Facts{Sent: 1001, Services: list("ssl")}, nothing, Cutoff},
		{fin, capture.Facts{Sent: 1001, Services: list("ssl")}, headers, Cutoff},
		{pk, capture.Facts{Sent: 1001, Services: list("http")}, nothing, Cutoff},
		{pk, capture.Facts{Sent: 1001, Services: list("dns")}, whole, Kept},
		{pk, capture.Facts{Sent: 1001, Dear: true}, whole, Kept},
		{pk, capture.Facts{Sent: 1001, Whole: true}, whole, Kept},
		{pk, capture.Facts{Sent: 5001, Dear: true}, nothing, Cutoff},
	} {
		if m := j.Mark(c.p, &c.f); m.keep != c.keep || m.cause != c.why {
			t.Errorf("%d: %+v, want %v %v", i, m, c.keep, c.why)
		}
	}
}

// TestHeaders: of a frame whose payload is not kept the headers are, to the byte.
func TestHeaders(t *testing.T) {
	r := begin(t, Options{Wait: true, Policy: Policy{Headers: true}})
	tr := newTraffic(r)
	tr.feed(r, 500, 1)
	r.Close()
	got, _ := find(t, r.opt.Folder, Query{})
	if len(got) != 1 || len(got[0].Data) != 54 || got[0].WireLen != 554 {
		t.Errorf("%+v", got)
	}
}

// TestEvidenceGoesOn: from before the finding to the end of the flow, with comments, past the cutoff; and up to its bound.
func TestEvidenceGoesOn(t *testing.T) {
	r := begin(t, Options{Wait: true, Policy: Policy{Cutoff: 20000}, Evidence: Evidence{On: true, Severity: detectors.High, Size: 10 << 20, Bound: 200 << 10}})
	tr := newTraffic(r)
	for range 10 {
		tr.feed(r, 960, 1, 2, 3)
	}
	f := tr.flow(1)
	if name := r.Finding(finding(f, capture.At{Time: tr.now, Packet: tr.ordinal - 2}, detectors.Medium)); name != "" {
		t.Errorf("%s for one that is not severe enough", name)
	}
	file := r.Finding(finding(f, capture.At{Time: tr.now, Packet: tr.ordinal - 2}, detectors.High))
	long := r.Finding(finding(tr.flow(3), capture.At{Time: tr.now, Packet: tr.ordinal}, detectors.High))
	for range 40 { // 50,000 bytes: beyond the cutoff
		tr.feed(r, 960, 1, 2, 3)
	}
	r.cut()
	waitFor(t, "the file is there", func() bool {
		b, _ := os.ReadFile(file)
		return bytes.Contains(b, []byte("CUT OFF, or still being written"))
	})
	r.Conn(&capture.Conn{Flow: f})
	for range 400 {
		tr.feed(r, 960, 2, 3)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := capturetest.Frames(t, file); len(got) != 50 {
		t.Errorf("%d packets, want 50", len(got))
	}
	b, _ := os.ReadFile(file)
	for _, want := range []string{"complete: to the end of the flow", "raytap jobsubmit/external (high): somebody ran a job", "request = POST"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%q is not in the file", want)
		}
	}
	b, _ = os.ReadFile(long)
	if n := len(capturetest.Frames(t, long)); n < 190 || n > 205 || !bytes.Contains(b, []byte("CUT OFF at the bound")) {
		t.Errorf("%d packets", n)
	}
	if kept, _ := find(t, r.opt.Folder, Query{UIDs: []string{tr.flow(2).UID}}); len(kept) != 20 {
		t.Errorf("%d packets of another flow are kept, want 20", len(kept))
	}
	var journal []string
	readJournal(r.opt.Folder, func(e *Entry) { journal = append(journal, e.ID+e.File) })
	if len(journal) != 3 || !strings.HasSuffix(journal[1], ".pcapng") {
		t.Errorf("%q", journal)
	}
}

// TestEvidenceTellsOfHoles: of a flow that goes on while the disk stands.
func TestEvidenceTellsOfHoles(t *testing.T) {
	gate := make(chan struct{})
	r := begin(t, Options{Policy: Policy{}, chunks: 2, Evidence: Evidence{On: true, Severity: detectors.High, Size: 1 << 30, Bound: 64 << 20}, create: func(name string) (output, error) {
		f, err := os.Create(name)
		return &stuck{File: f, gate: gate}, err
	}})
	tr := newTraffic(r)
	tr.feed(r, 960, 1, 2)
	file := r.Finding(finding(tr.flow(1), capture.At{Time: tr.now, Packet: tr.ordinal}, detectors.High))
	for range 5000 {
		tr.feed(r, 960, 1)
	}
	close(gate)
	waitFor(t, "there is room again", func() bool { return len(r.free) > 0 })
	for range 1000 {
		tr.feed(r, 960, 1)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(b, []byte("INCOMPLETE: the disk did not keep up")) || r.Counts().By[QueueFull].Frames == 0 {
		t.Errorf("%v, %+v", err, r.Counts())
	}
}

// TestIncident: all flows of its steps are in one file, in order of time.
func TestIncident(t *testing.T) {
	r := begin(t, Options{Wait: true, Policy: Policy{}, Evidence: Evidence{On: true, Severity: detectors.High, Size: 10 << 20, Bound: 1 << 20}})
	tr := newTraffic(r)
	for range 10 {
		tr.feed(r, 960, 1, 2, 3)
	}
	r.Finding(finding(tr.flow(1), capture.At{Time: tr.now, Packet: 1}, detectors.High))
	x := &detectors.Incident{ID: "I12345678901234567", Severity: detectors.Critical, Summary: "a story", Steps: []detectors.Step{
		{At: capture.At{Packet: 1}, UID: tr.flow(1).UID, What: "ran a job"}, {At: capture.At{Packet: 5}, UID: tr.flow(2).UID, What: "mined"},
	}}
	r.Incident(x)
	r.Close()
	got := capturetest.Frames(t, r.opt.Evidence.name(x.ID))
	if len(got) != 20 || !slices.IsSortedFunc(got, func(a, b capture.Frame) int { return int(a.Time - b.Time) }) {
		t.Errorf("%d packets", len(got))
	}
}

// TestKilled: wherever a segment ends, it is readable up to its last whole packet, with its index or without, and the next
// run goes on with another.
func TestKilled(t *testing.T) {
	r := begin(t, Options{Wait: true, Policy: Policy{}})
	tr := newTraffic(r)
	tr.keep = true
	for i := range 3000 {
		tr.feed(r, 900, i%50)
	}
	r.Close()
	ring, _ := list(r.opt.Folder)
	whole, err := os.ReadFile(ring[0].path)
	if err != nil || len(ring) != 1 {
		t.Fatal(err, len(ring))
	}
	for i := range 20 {
		dir := t.TempDir()
		n := len(whole) * (i + 1) / 21
		os.WriteFile(filepath.Join(dir, filepath.Base(ring[0].path)), whole[:n], 0o600)
		check := func(what string) {
			t.Helper()
			got, told := find(t, dir, Query{})
			mine, _ := find(t, dir, Query{UIDs: []string{tr.flow(7).UID}})
			if len(told) > 0 || len(got) > len(tr.frames) || len(got) < n/1100-20 || len(mine) != (len(got)+50-8)/50 {
				t.Errorf("%s, %d of %d bytes: %d packets, %d of a flow, %v", what, n, len(whole), len(got), len(mine), told)
			}
			for j := range got {
				if !bytes.Equal(got[j].Data, tr.frames[j].Data) {
					t.Fatalf("packet %d is another", j)
				}
			}
		}
		check("without an index")
		next := begin(t, Options{Wait: true, Folder: dir, Policy: Policy{}})
		next.Close()
		if _, err := os.Stat(filepath.Join(dir, filepath.Base(ring[0].path)) + indexTail); err != nil {
			t.Errorf("the next run made no index: %v", err)
		}
		check("with its index")
	}
}

// TestDamage: what is damaged costs itself, and is told.
func TestDamage(t *testing.T) {
	for _, indexed := range []bool{true, false} {
		r := begin(t, Options{Wait: true, Policy: Policy{}})
		tr := newTraffic(r)
		for i := range 6000 {
			tr.feed(r, 500, i%50)
		}
		r.Close()
		ring, _ := list(r.opt.Folder)
		b, _ := os.ReadFile(ring[0].path)
		// A packet in the middle of the first chunk, and the directory of the second.
		first := bytes.Index(b, directoryMark[:])
		second := first + 8 + bytes.Index(b[first+8:], directoryMark[:])
		middle := first + (second-first)/2
		for i := range 2000 {
			b[middle+i] = 0xee
		}
		b[second+100] ^= 1
		os.WriteFile(ring[0].path, b, 0o600)
		if !indexed {
			os.Remove(ring[0].path + indexTail)
		}
		got, told := find(t, r.opt.Folder, Query{UIDs: []string{tr.flow(7).UID}})
		if len(told) == 0 {
			t.Error("nothing was told")
		}
		// The second chunk of some has no directory any more; every other packet is there, but for those that were overwritten.
		if len(got) < 60 || len(got) > 119 {
			t.Errorf("indexed %v: %d packets of 120; %v", indexed, len(got), told)
		}
	}
}

// ticking is a clock that goes on with every look at it, and that a test may set.
type ticking struct{ at, step atomic.Int64 }

func newTicking(step time.Duration) *ticking {
	c := &ticking{}
	c.at.Store(time.Now().UnixNano())
	c.step.Store(int64(step))
	return c
}

func (c *ticking) now() time.Time { return time.Unix(0, c.at.Add(c.step.Load())) }

// notes is what was said, by any goroutine.
type notes struct {
	mu  sync.Mutex
	all []string
}

func (n *notes) say(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, s)
}

func (n *notes) said() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.all)
}

// stuck is a disk that stands while somebody holds it, or has no room.
type stuck struct {
	*os.File
	gate chan struct{}
	full func() error
}

func (s *stuck) WriteAt(b []byte, at int64) (int, error) {
	if s.gate != nil {
		<-s.gate
	}
	if s.full != nil {
		if err := s.full(); err != nil {
			n, _ := s.File.WriteAt(b[:len(b)/2], at)
			return n, err
		}
	}
	return s.File.WriteAt(b, at)
}

// TestDiskStands: the packets do not wait, what found no room is counted, and when the disk is back it goes on.
func TestDiskStands(t *testing.T) {
	gate := make(chan struct{})
	r := begin(t, Options{Policy: Policy{}, chunks: 4, create: func(name string) (output, error) {
		f, err := os.Create(name)
		return &stuck{File: f, gate: gate}, err
	}})
	tr := newTraffic(r)
	slowest := time.Duration(0)
	for i := range 20000 {
		at := time.Now()
		tr.feed(r, 1000, i%50)
		slowest = max(slowest, time.Since(at))
	}
	c := r.Counts()
	if slowest > time.Second {
		t.Errorf("a packet waited for %v", slowest)
	}
	if c.By[QueueFull].Frames < 10000 || c.By[QueueFull].Frames+c.By[Kept].Frames != 20000 {
		t.Errorf("%+v", c)
	}
	close(gate)
	waitFor(t, "there is room again", func() bool { return len(r.free) > 0 })
	for i := range 1000 {
		tr.feed(r, 1000, i%50)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, told := find(t, r.opt.Folder, Query{})
	if n := r.Counts().By[Kept].Frames; uint64(len(got)) != n || n < 1000 || len(told) > 0 {
		t.Errorf("%d packets are there, %d were counted, %v", len(got), n, told)
	}
}

// TestDiskFull: the oldest segments make room; where there is none left, what is lost is counted and said once, and it
// works again when there is room. No half chunk is left.
func TestDiskFull(t *testing.T) {
	var full atomic.Bool
	dir := filepath.Join(t.TempDir(), "packets")
	room := int64(12 << 20)
	var heard notes
	clock := newTicking(time.Millisecond)
	r := begin(t, Options{Folder: dir, Wait: true, Policy: Policy{}, Say: heard.say, clock: clock.now,
		create: func(name string) (output, error) {
			f, err := os.Create(name)
			return &stuck{File: f, full: func() error {
				if full.Load() || folderSize(dir) > room {
					return &os.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
				}
				return nil
			}}, err
		}})
	tr := newTraffic(r)
	for i := range 40000 {
		tr.feed(r, 1000, i%50)
	}
	r.cut()
	waitFor(t, "it is written", func() bool { return len(r.free) == r.made })
	if c := r.Counts(); c.By[DiskError].Frames > 0 || len(heard.said()) > 0 || folderSize(dir) > room+5<<20 {
		t.Errorf("%+v, %d bytes, %q", c, folderSize(dir), heard.said())
	}
	full.Store(true)
	for i := range 5000 {
		tr.feed(r, 1000, i%50)
	}
	r.cut()
	waitFor(t, "it is given up", func() bool { return len(r.free) == r.made })
	if c := r.Counts(); c.By[DiskError].Frames < 4000 || len(heard.said()) != 1 || r.Failing() == nil {
		t.Errorf("%+v, %q", c, heard.said())
	}
	full.Store(false) // and packets go on to come, with less than a second between chunks
	for i := range 8000 {
		tr.feed(r, 1000, i%50)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	got, told := find(t, dir, Query{})
	said := heard.said()
	if len(told) > 0 || len(got) < 5000 || len(said) != 2 || got[len(got)-1].Time != tr.now {
		t.Errorf("%d packets, %q, %q", len(got), told, said)
	}
}

// TestFolderRemoved: it is made anew.
func TestFolderRemoved(t *testing.T) {
	clock := newTicking(10 * time.Millisecond)
	r := begin(t, Options{Wait: true, Policy: Policy{}, clock: clock.now})
	tr := newTraffic(r)
	for i := range 3000 {
		tr.feed(r, 1000, i%50)
	}
	r.cut()
	waitFor(t, "it is written", func() bool { return len(r.free) == r.made })
	if err := os.RemoveAll(r.opt.Folder); err != nil {
		t.Fatal(err)
	}
	clock.at.Add(int64(time.Minute))
	for i := range 3000 {
		tr.feed(r, 1000, i%50)
	}
	r.Close()
	if got, told := find(t, r.opt.Folder, Query{}); len(got) < 2000 || len(told) > 0 {
		t.Errorf("%d packets, %v", len(got), told)
	}
}

// TestLock: two recorders in one folder would delete each other's segments.
func TestLock(t *testing.T) {
	r := begin(t, Options{})
	if _, err := New(Options{Folder: r.opt.Folder, Size: 1 << 30}); err == nil || !strings.Contains(err.Error(), "another raytap") {
		t.Error(err)
	}
	r.Close()
	next := begin(t, Options{Folder: r.opt.Folder})
	next.Close()
}

// TestClockSteps: a clock that was set forward makes nothing old, and back nothing young; packets of both times are found.
func TestClockSteps(t *testing.T) {
	var s stepWatch
	at := time.Unix(1800000000, 0)
	s.see(at, 0)
	s.see(at.Add(time.Hour), time.Hour)
	if s.stepped() {
		t.Error("it was not set")
	}
	for _, step := range []time.Duration{1e4 * time.Hour, -1e4 * time.Hour} {
		at = at.Add(step)
		s.see(at.Add(time.Hour+time.Second), time.Hour+time.Second)
		if !s.stepped() {
			t.Error("it was set")
		}
		s.see(at.Add(3*time.Hour), 3*time.Hour)
		if s.stepped() {
			t.Error("that is long ago")
		}
		s.see(at.Add(time.Hour), time.Hour) // as before the next
		s = stepWatch{last: at.Add(time.Hour).Round(0), before: time.Hour}
	}
	r := begin(t, Options{Wait: true, Policy: Policy{}, segment: 1 << 20})
	tr := newTraffic(r)
	for i := range 2000 {
		tr.feed(r, 900, i%50)
	}
	tr.now -= 3600e9 * 24 * 365
	tr.starts, tr.sent = map[int]capture.Time{}, map[int]uint64{}
	r.Begin(tr.seed)
	for i := range 2000 {
		tr.feed(r, 900, i%50)
	}
	r.Close()
	if got, _ := find(t, r.opt.Folder, Query{}); len(got) != 4000 {
		t.Errorf("%d packets", len(got))
	}
	if got, _ := find(t, r.opt.Folder, Query{Until: tr.now}); len(got) < 2000 || len(got) > 3200 {
		t.Errorf("%d packets of the earlier time", len(got))
	}
}

// TestAge: what is older than asked for goes, by when it was written.
func TestAge(t *testing.T) {
	r := begin(t, Options{Wait: true, Keep: time.Hour, Policy: Policy{}, segment: 1 << 20})
	tr := newTraffic(r)
	for i := range 5000 {
		tr.feed(r, 900, i%50)
	}
	r.Close()
	ring, _ := list(r.opt.Folder)
	for _, f := range ring[:2] {
		old := time.Now().Add(-2 * time.Hour)
		os.Chtimes(f.path, old, old)
	}
	next := begin(t, Options{Wait: true, Keep: time.Hour, Folder: r.opt.Folder, Policy: Policy{}})
	tr = newTraffic(next)
	tr.feed(next, 900, 1)
	next.Close()
	left, _ := list(r.opt.Folder)
	if len(left) != len(ring)-2+1 || left[0].path != ring[2].path {
		t.Errorf("%d segments of %d", len(left), len(ring))
	}
}

func FuzzDirectory(f *testing.F) {
	c := &chunk{links: []uint16{1}}
	c.add(0, &capture.Frame{Time: 5, Ordinal: 7, Data: []byte{1, 2, 3}, WireLen: 3}, 3)
	c.ids, c.names = []uint64{1}, []capture.FlowName{{}}
	c.belongs(0)
	f.Add(c.directory(nil, 0, &scratch{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 12 { // past the checksum
			binary.LittleEndian.PutUint32(b[8:], crcOf(b[12:]))
		}
		d, err := parseDirectory(b)
		if err != nil {
			if !errors.Is(err, errDirectory) {
				t.Error(err)
			}
			return
		}
		d.cut(d.length/2, false)
	})
}
