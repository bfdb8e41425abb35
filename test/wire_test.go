package test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
)

// memory is a capture in memory, as a file would be.
type memory struct{ frames []capture.Frame }

func (m *memory) ReadBatch(b *capture.Batch) error {
	b.Frames = b.Frames[:0]
	if len(m.frames) == 0 {
		return io.EOF
	}
	n := min(256, len(m.frames))
	b.Frames, m.frames = append(b.Frames, m.frames[:n]...), m.frames[n:]
	return nil
}

func (m *memory) Close() error { return nil }

// wireFrame is a frame with the flow that it belongs to. Frames without one stay where they are.
type wireFrame struct {
	capture.Frame
	flow uint64
	resp bool // not of the side that opened the flow
}

// wireFrames reads a capture into memory and tells the sides of its flows apart.
func wireFrames(t *testing.T, file string) (all []wireFrame) {
	t.Helper()
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	d := capture.NewDissector(capture.DissectConfig{Weird: func(capture.Weird) {}})
	type side struct {
		addr [16]byte
		port uint16
	}
	first := map[uint64]side{}
	var b capture.Batch
	var ps []capture.Packet
	for {
		err := src.ReadBatch(&b)
		for _, f := range b.Frames {
			f.Data = slices.Clone(f.Data)
			x := wireFrame{Frame: f}
			if ps = d.Dissect(&f, ps[:0]); len(ps) > 0 {
				if p := &ps[len(ps)-1]; p.Proto == capture.ProtoTCP || p.Proto == capture.ProtoUDP {
					from := side{p.Src, p.SrcPort}
					x.flow = capture.FlowHash(p)
					_, known := first[x.flow]
					opens := p.Proto == capture.ProtoTCP && p.Flags&(capture.FlagSYN|capture.FlagACK) == capture.FlagSYN
					if !known || opens {
						first[x.flow] = from
					}
					x.resp = first[x.flow] != from
				}
			}
			all = append(all, x)
		}
		if err != nil { // a capture that was cut off is one all the same
			return all
		}
	}
}

// inOrder gives frames in the order of their times, numbered anew.
func inOrder(all []wireFrame) []capture.Frame {
	slices.SortStableFunc(all, func(a, b wireFrame) int { return int(a.Time.Sub(b.Time)) })
	frames := make([]capture.Frame, len(all))
	for i := range all {
		frames[i] = all[i].Frame
		frames[i].Ordinal = uint64(i + 1)
	}
	return frames
}

// tagged is an Ethernet frame of IPv4 as a switch mirrors it a second time behind a router: with another TTL and a VLAN tag.
func tagged(f capture.Frame) capture.Frame {
	if f.Link != 1 || len(f.Data) < 14 {
		return f
	}
	b := slices.Concat(f.Data[:12], []byte{0x81, 0, 0, 100}, f.Data[12:])
	if ip := b[18:]; len(ip) >= 20 && f.Data[12] == 8 && f.Data[13] == 0 && len(ip) >= int(ip[0]&15)*4 {
		ip[8]--
		ip[10], ip[11] = 0, 0
		sum := uint32(0)
		for i := 0; i < int(ip[0]&15)*4; i += 2 {
			sum += uint32(binary.BigEndian.Uint16(ip[i:]))
		}
		sum = sum&0xffff + sum>>16
		binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	}
	f.Data, f.WireLen = b, f.WireLen+4
	return f
}

// twists are what mirror ports and taps do to the frames of a network.
var twists = []struct {
	name string
	any  bool // depends on the seed
	do   func(all []wireFrame, rng *rand.Rand) []wireFrame
}{
	{"twice with another TTL and a tag", false, func(all []wireFrame, _ *rand.Rand) (out []wireFrame) {
		for _, f := range all {
			g := f
			g.Frame = tagged(f.Frame)
			g.Time = g.Time.Add(30 * time.Microsecond)
			out = append(out, f, g)
		}
		return out
	}},
	{"twice", false, func(all []wireFrame, _ *rand.Rand) (out []wireFrame) {
		for _, f := range all {
			g := f
			g.Time = g.Time.Add(5 * time.Microsecond)
			out = append(out, f, g)
		}
		return out
	}},
	{"originators late", false, func(all []wireFrame, _ *rand.Rand) []wireFrame { return late(all, false) }},
	{"responders late", false, func(all []wireFrame, _ *rand.Rand) []wireFrame { return late(all, true) }},
	{"several queues", true, func(all []wireFrame, rng *rand.Rand) []wireFrame {
		for i := range all {
			all[i].Time = all[i].Time.Add(time.Duration(rng.IntN(300)) * time.Microsecond)
		}
		return all
	}},
	{"one in a hundred lost", true, func(all []wireFrame, rng *rand.Rand) []wireFrame {
		return slices.DeleteFunc(all, func(wireFrame) bool { return rng.IntN(100) == 0 })
	}},
}

// late delays one side of all flows by 2 ms, as a tap does whose ports are buffered each for itself.
func late(all []wireFrame, resp bool) []wireFrame {
	for i := range all {
		if all[i].flow != 0 && all[i].resp == resp {
			all[i].Time = all[i].Time.Add(2 * time.Millisecond)
		}
	}
	return all
}

// permuted lets the packets of each flow change places at random within spans of time.
func permuted(all []wireFrame, span time.Duration, rng *rand.Rand) []wireFrame {
	type place struct {
		flow uint64
		span int64
	}
	places := map[place][]int{}
	var order []place
	for i, f := range all {
		if f.flow == 0 {
			continue
		}
		p := place{f.flow, int64(f.Time) / int64(span)}
		if places[p] == nil {
			order = append(order, p)
		}
		places[p] = append(places[p], i)
	}
	for _, p := range order {
		at := places[p]
		rng.Shuffle(len(at), func(i, j int) {
			a, b := &all[at[i]], &all[at[j]]
			*a, *b = *b, *a
			a.Time, b.Time = b.Time, a.Time
		})
	}
	return all
}

// wireCases calls f for every labelled capture, here and beside the project.
func wireCases(t *testing.T, f func(t *testing.T, file string, all []wireFrame, exp []expectation)) {
	files, err := filepath.Glob("pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures in pcaps/")
	}
	for _, file := range files {
		base, _, _ := strings.Cut(file, ".pcap")
		t.Run(filepath.Base(base), func(t *testing.T) {
			t.Parallel()
			all := wireFrames(t, file)
			if testing.Short() && len(all) > 4000 {
				t.Skip("a large one")
			}
			f(t, file, all, readCase(t, base+".txt"))
		})
	}
}

// seeded is a generator of its own for each file.
func seeded(file string, seed int) *rand.Rand {
	h := fnv.New64a()
	io.WriteString(h, filepath.Base(file))
	return rand.New(rand.NewPCG(h.Sum64(), uint64(seed)))
}

// findingsOf runs frames as they are read by default.
func findingsOf(t *testing.T, frames []capture.Frame) ([]*detectors.Finding, engine.Stats) {
	t.Helper()
	e := &ear{}
	stats, err := run(context.Background(), engine.Default(), &memory{frames}, e)
	if err != nil {
		t.Fatal(err)
	}
	return e.findings, stats
}

// lossTakes are draws in which what a finding is made of is among the packets that are lost, without another copy: the one packet
// that has the job, a block of the compressed headers, the beginning of a connection that is read by its beginning.
var lossTakes = map[string]bool{
	"egress-http.pcap.gz 0 one in a hundred lost":          true, // the request line and the head of the upload
	"attack-job-h2.pcap.gz 0 one in a hundred lost":        true, // a block of headers: what HPACK holds behind it is not known
	"attack-client.pcap.gz 0 one in a hundred lost":        true, // the headers of the call that opens Ray Client's stream
	"attack-gcs-ray1.10.0.pcap.gz 4 one in a hundred lost": true, // the head of the job: its answer proves one, two severities lower
	"benign-quoted.pcap.gz 3 one in a hundred lost":        true, // EHLO: nothing says that what is quoted is in a mail
}

// TestWireTwists: what is labelled is found in what mirror ports and taps make of it, one severity lower at most where an
// outcome may be out of sight, and what is quiet stays quiet.
func TestWireTwists(t *testing.T) {
	seeds := 5
	if testing.Short() {
		seeds = 1
	}
	wireCases(t, func(t *testing.T, file string, all []wireFrame, exp []expectation) {
		for _, tw := range twists {
			n := 1
			if tw.any {
				n = seeds
			}
			for seed := range n {
				findings, _ := findingsOf(t, inOrder(tw.do(slices.Clone(all), seeded(file, seed))))
				for _, e := range exp {
					if lossTakes[fmt.Sprintf("%s %d %s", filepath.Base(file), seed, tw.name)] {
						continue
					}
					found := false
					for _, f := range findings {
						s := f.Severity
						if e.verb == "must" {
							s++
						}
						found = found || matches(e.rule, f.Rule) && s >= e.severity && matches(e.src, f.Src.String()) && matches(e.dst, f.Dst.String())
					}
					if e.verb == "must" && !found || e.verb == "quiet" && found {
						t.Errorf("%s, seed %d: line %d: %s %s %s > %s %s", tw.name, seed, e.line, e.verb, e.rule, e.src, e.dst, e.severity)
					}
				}
			}
		}
	})
}

// saidSet is the set of what findings say.
func saidSet(findings []*detectors.Finding) []string {
	set := map[string]bool{}
	for _, f := range findings {
		set[fmt.Sprintf("%s %s > %s %s", f.Rule, f.Src, f.Dst, f.Severity)] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// TestWireOrder: packets of a flow that change places within the time that packets wait change no finding, as long as there is
// room for those that wait.
func TestWireOrder(t *testing.T) {
	seeds := 5
	if testing.Short() {
		seeds = 1
	}
	wireCases(t, func(t *testing.T, file string, all []wireFrame, _ []expectation) {
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "attack-scan"):
			t.Skip("which of many hosts and ports is the one that makes a scan of it hangs on the order of connections, which nothing tells")
		case strings.HasPrefix(name, "tunnel-wireguard"), strings.HasPrefix(name, "attack-shell-udp"):
			t.Skip("datagrams have no order of their own")
		}
		findings, _ := findingsOf(t, inOrder(slices.Clone(all)))
		want := saidSet(findings)
		for _, span := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond} {
			for seed := range seeds {
				findings, stats := findingsOf(t, inOrder(permuted(slices.Clone(all), span, seeded(file, seed))))
				if stats.Flow.WaitFull+stats.Flow.WaitPackets > 0 {
					continue // more waits than there is room for: 50 ms of a flow of 10 Gbit/s. What that costs is counted
				}
				if got := saidSet(findings); !slices.Equal(got, want) {
					var lost, more []string
					for _, s := range want {
						if !slices.Contains(got, s) {
							lost = append(lost, s)
						}
					}
					for _, s := range got {
						if !slices.Contains(want, s) {
							more = append(more, s)
						}
					}
					t.Errorf("within %v, seed %d: lost %q, instead %q; %+v", span, seed, lost, more, stats.Flow)
				}
			}
		}
	})
}

// TestWireUndisturbed: where nothing is missing and all is in its place, nothing waits but what comes of a connection in the
// first moment after its beginning was missed. So no finding comes later for what is done about other wires.
func TestWireUndisturbed(t *testing.T) {
	wireCases(t, func(t *testing.T, file string, all []wireFrame, _ []expectation) {
		switch name := filepath.Base(file); {
		case strings.HasPrefix(name, "loss-"), strings.HasPrefix(name, "wire-"), strings.HasPrefix(name, "later-"):
			t.Skip("something is missing, or not in its place")
		}
		frames := inOrder(slices.Clone(all))
		_, stats := findingsOf(t, frames)
		wait := engine.Default().Order.Wait
		begun := map[uint64]capture.Time{} // of flows whose SYN was not seen: when waiting for it is over
		bound := uint64(0)
		d := capture.NewDissector(capture.DissectConfig{Weird: func(capture.Weird) {}})
		var ps []capture.Packet
		for i := range frames {
			ps = d.Dissect(&frames[i], ps[:0])
			for j := range ps {
				p := &ps[j]
				if p.Proto != capture.ProtoTCP {
					continue
				}
				h := capture.FlowHash(p)
				until, known := begun[h]
				switch {
				case p.Flags&(capture.FlagSYN|capture.FlagACK) == capture.FlagSYN:
					begun[h] = 0
				case !known:
					begun[h] = p.Time.Add(wait)
					bound++
				case p.Time < until:
					bound++
				}
			}
		}
		if w := &stats.Flow; w.Waited > bound {
			t.Errorf("%d packets waited, %d of them in the first %v of connections without a beginning; %d in vain", w.Waited, bound, wait, w.WaitTime)
		}
	})
}

// TestWireOffload: what a network card was to fill in is right by default: rows are those of a run that looks at no
// checksum, and the run says how many packets there were.
func TestWireOffload(t *testing.T) {
	files, err := filepath.Glob("pcaps/wire-offload-*.pcap.gz")
	if err != nil || len(files) < 4 {
		t.Fatal(err, files)
	}
	for _, file := range files {
		cfg := engine.Default()
		auto, stats := listen(t, cfg, file)
		cfg.Checksums = "ignore"
		ignored, _ := listen(t, cfg, file)
		for _, log := range []string{"conn", "http", "dns", "files", "ray", "weird", "notice"} {
			if a, b := fmt.Sprint(auto.rows[log]), fmt.Sprint(ignored.rows[log]); a != b {
				t.Errorf("%s: %s.log has\n%s\nand with no checksum looked at\n%s", file, log, a, b)
			}
		}
		if len(auto.rows["http"]) == 0 || stats.Flow.Offloaded == 0 || stats.Flow.BadChecksum != 0 {
			t.Errorf("%s: %d rows of http, %d offloaded, %d bad", file, len(auto.rows["http"]), stats.Flow.Offloaded, stats.Flow.BadChecksum)
		}
		for _, l := range stats.Losses() {
			if l.N > 0 {
				t.Errorf("%s: offloading is no loss: %+v", file, l)
			}
		}
		cfg.Checksums = "strict"
		strict, _ := listen(t, cfg, file)
		if got, want := fmt.Sprint(len(strict.findings)), fmt.Sprint(len(auto.findings)); got != want {
			t.Errorf("%s: %s findings, with checksums as Zeek's %s", file, want, got)
		}
	}
}
