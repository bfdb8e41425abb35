package evasion

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
)

// wire drives a flow table, whose odd segments go to the detector.
type wire struct {
	t     *testing.T
	shard *capture.Shard
	bus   *detectors.Bus
	found []*detectors.Finding
	flow  *capture.Flow
	at    capture.Time
	n     uint64
	odd   int
}

type ear struct{}

func (ear) Data(capture.Dir, []byte)        {}
func (ear) Datagram(capture.Dir, []byte)    {}
func (ear) Gap(capture.Dir, int64)          {}
func (ear) End(capture.Dir)                 {}
func (ear) Finish()                         {}
func (ear) Idle() bool                      { return false }
func (ear) Watch(capture.Dir, []byte) bool  { return false }
func (ear) Unfinished(dir capture.Dir) bool { return dir == capture.Orig }

func newWire(t *testing.T) *wire {
	w := &wire{t: t, at: 1000e9}
	w.bus = detectors.NewBus(func(f *detectors.Finding) { w.found = append(w.found, f) })
	Spec().New(&detectors.Env{}, w.bus)
	w.shard = capture.NewShard(capture.FlowConfig{
		MaxFlows: 100, Checksums: capture.ChecksumsIgnore,
		Open: func(h capture.Host, _ bool) capture.Stream {
			if w.flow == nil {
				w.flow = h.Flow()
			}
			return ear{}
		},
		Emit: func(ev any) {
			if s, ok := ev.(*capture.Shaped); ok {
				w.odd++
				w.bus.Publish(s)
			}
		},
	})
	return w
}

const (
	syn, ack, urg = capture.FlagSYN, capture.FlagACK, capture.FlagURG
)

// send sends a segment of the client, or of the server.
func (w *wire) send(server bool, flags uint8, seq, acked uint32, urgent uint16, payload string) {
	src, dst := netip.MustParseAddr("203.0.113.5").As16(), netip.MustParseAddr("10.0.0.5").As16()
	p := &capture.Packet{Src: src, Dst: dst, SrcPort: 40000, DstPort: 8265, Proto: capture.ProtoTCP, Window: 60000, TTL: 64, HdrLen: 20}
	if server {
		p.Src, p.Dst, p.SrcPort, p.DstPort = dst, src, 8265, 40000
	}
	l4 := append(make([]byte, 20), payload...)
	l4[18], l4[19] = byte(urgent>>8), byte(urgent)
	p.L4, p.L4Len, p.IPLen = l4, len(l4), 20+len(l4)
	p.Flags, p.Seq, p.Ack = flags, seq, acked
	w.at += 1e6
	w.n++
	p.Time, p.Ordinal = w.at, w.n
	w.shard.Packet(p, capture.FlowHash(p))
}

func (w *wire) open() {
	w.send(false, syn, 0, 0, 0, "")
	w.send(true, syn|ack, 0, 1, 0, "")
	w.send(false, ack, 1, 1, 0, "")
}

func (w *wire) client(seq uint32, payload string) { w.send(false, ack, seq, 1, 0, payload) }

// read says that HTTP, or a call to Ray, was read in the connection.
func (w *wire) read(call bool) {
	tx := &http.Transaction{At: capture.At{Time: w.at, Packet: w.n}, Flow: w.flow, Request: &http.Request{Method: "POST", Target: "/api/jobs/"}}
	w.bus.Publish(tx)
	if call {
		w.bus.Publish(&ray.Call{At: tx.At, Flow: w.flow, Tx: tx})
	}
	w.bus.End(capture.At{Time: w.at})
}

const job = `{"entrypoint":"python train.py --lr 0.1"}`

func TestTwoReadings(t *testing.T) {
	for _, tt := range []struct {
		trap string
		send func(w *wire)
		http bool
		ray  bool
		want detectors.Severity // Info: silent
	}{
		{"two copies of a command, the first behind a hole", func(w *wire) {
			w.client(1+4, job[4:])
			w.client(1+4, strings.Replace(job, "train.py --lr 0.1", "-c 'bad things' ", 1)[4:])
			w.client(1, job[:4])
		}, true, true, detectors.High},
		{"the same in a request that is not Ray's", func(w *wire) {
			w.client(1, job)
			w.client(1, strings.Replace(job, "train.py --lr 0.1", "-c 'bad things' ", 1))
		}, true, false, detectors.Medium},
		{"the same where nobody reads HTTP", func(w *wire) {
			w.client(1, job)
			w.client(1, strings.Replace(job, "train.py --lr 0.1", "-c 'bad things' ", 1))
		}, false, false, detectors.Info},
		{"urgent data within a request", func(w *wire) {
			w.client(1, job[:10])
			w.send(false, ack|urg, 11, 1, 1, job[10:])
		}, true, false, detectors.Low},

		{"retransmitted as it was", func(w *wire) {
			w.client(1, job)
			w.client(1, job)
		}, true, true, detectors.Info},
		{"retransmitted in other cuts, as after GRO", func(w *wire) {
			w.client(1, job[:10])
			w.client(11, job[10:20])
			w.client(1, job)
			w.client(5, job[4:15])
		}, true, true, detectors.Info},
		{"a keep-alive of Windows: one byte of zero before the next", func(w *wire) {
			w.client(1, job)
			w.send(true, ack, 1, uint32(1+len(job)), 0, "")
			for range 3 {
				w.client(uint32(len(job)), "\x00")
			}
		}, true, true, detectors.Info},
		{"a middle box that flips a bit", func(w *wire) {
			w.client(1, job)
			w.client(1, strings.Replace(job, "train", "tsain", 1))
		}, true, true, detectors.Info},
		{"a middle box that blanks what it sends again", func(w *wire) {
			w.client(1, job)
			w.client(1, strings.Repeat("\x00", len(job)))
		}, true, true, detectors.Info},
		{"a gateway that writes a shorter number where it sends again", func(w *wire) {
			w.client(1, "PORT 192,168,1,20,4,1\r\n")
			w.client(1, "PORT 192,168,1,21,4,1\r\n")
		}, true, false, detectors.Info},
		{"urgent data of telnet and rlogin", func(w *wire) {
			w.client(1, "login")
			w.send(false, ack|urg, 6, 1, 1, "\xff")
			w.send(false, ack|urg, 7, 1, 2, "\xf2\x03")
		}, false, false, detectors.Info},
	} {
		w := newWire(t)
		w.open()
		tt.send(w)
		if tt.http {
			w.read(tt.ray)
		} else {
			w.bus.End(capture.At{Time: w.at})
		}
		got := detectors.Info
		for _, f := range w.found {
			got = max(got, f.Severity)
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s (%d odd segments)", tt.trap, got, tt.want, w.odd)
		}
	}
}

// What differs as somebody's messages do is told from what a fault does.
func TestMeant(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"train.py", "attack.sh", true},
		{"a", "b", false},
		{"10.1.2.3", "10.1.2.7", false},
		{"\x00\x00\x00\x00\x00", "hello", false},
		{"hello", "\xff\xff\xff\xff\xff", false},
		{"", "hello", false},
	} {
		if meant(&capture.Shaped{First: []byte(tt.a), Second: []byte(tt.b)}) != tt.want {
			t.Errorf("%q and %q: %v", tt.a, tt.b, !tt.want)
		}
	}
}
