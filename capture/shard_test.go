package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// wire is a flow table under test, with a stream that writes down what it is given.
type wire struct {
	*Shard
	got        [2]strings.Builder
	second     [2]strings.Builder
	shaped     []string
	conns      []*Conn
	weirds     []string
	sent       [2]uint64 // sums of Progress
	at         Time
	n          uint64
	idle       bool
	unfinished bool // the client's request

	watched int    // segments that were only shown
	wake    string // what it wants though it is idle
}

type tape struct {
	w *wire
}

func (t tape) Data(d Dir, b []byte) {
	t.w.got[d].Write(b)
	t.w.idle = t.w.idle && t.w.wake == "" // woken: it wants what follows
}
func (t tape) Datagram(d Dir, b []byte) { fmt.Fprintf(&t.w.got[d], "(%s)", b) }
func (t tape) Gap(d Dir, n int64)       { fmt.Fprintf(&t.w.got[d], "[%d]", n) }
func (t tape) End(d Dir)                { t.w.got[d].WriteByte('.') }
func (t tape) Finish()                  {}
func (t tape) Unfinished(d Dir) bool    { return t.w.unfinished && d == Orig }
func (t tape) Idle() bool               { return t.w.idle }
func (t tape) Watch(_ Dir, b []byte) bool {
	t.w.watched++
	return t.w.wake != "" && strings.HasPrefix(string(b), t.w.wake)
}

// secondTape writes down the second reading of a flow.
type secondTape struct{ tape }

func (t secondTape) Data(d Dir, b []byte)  { t.w.second[d].Write(b) }
func (t secondTape) Gap(d Dir, n int64)    { fmt.Fprintf(&t.w.second[d], "[%d]", n) }
func (t secondTape) End(d Dir)             { t.w.second[d].WriteByte('.') }
func (t secondTape) Unfinished(d Dir) bool { return t.w.unfinished && d == Orig }

func newWire(max int) *wire {
	w := &wire{at: 1000e9}
	w.Shard = NewShard(FlowConfig{
		MaxFlows: max, Checksums: ChecksumsIgnore,
		Open: func(h Host, _ bool) Stream {
			if _, ok := h.(second); ok {
				return secondTape{tape{w}}
			}
			return tape{w}
		},
		Emit: func(ev any) {
			switch ev := ev.(type) {
			case *Conn:
				w.conns = append(w.conns, ev)
			case *Shaped:
				w.shaped = append(w.shaped, ev.Why)
			case *Weird:
				w.weirds = append(w.weirds, ev.Name)
			case *Progress:
				w.sent[0] += ev.Bytes[0]
				w.sent[1] += ev.Bytes[1]
			}
		},
	})
	return w
}

const client, server = "10.0.0.1:40000", "10.0.0.2:9999"

func packet(src, dst string, proto uint8, payload string) *Packet {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	hdr := 20
	if proto == ProtoUDP {
		hdr = 8
	}
	l4 := make([]byte, hdr, hdr+len(payload))
	if proto == ProtoUDP {
		binary.BigEndian.PutUint16(l4[4:], uint16(8+len(payload)))
	}
	l4 = append(l4, payload...)
	return &Packet{
		Src: s.Addr().As16(), Dst: d.Addr().As16(), SrcPort: s.Port(), DstPort: d.Port(), Proto: proto,
		Window: 1000, IPLen: 20 + len(l4), L4: l4, L4Len: len(l4), HdrLen: hdr,
	}
}

// tcp sends a segment a millisecond after the one before.
func (w *wire) tcp(src, dst, flags string, seq, ack uint32, payload string) *wire {
	p := packet(src, dst, ProtoTCP, payload)
	p.Seq, p.Ack = seq, ack
	for _, c := range flags {
		p.Flags |= map[rune]uint8{'S': FlagSYN, 'A': FlagACK, 'F': FlagFIN, 'R': FlagRST, 'P': FlagPSH}[c]
	}
	return w.send(p)
}

func (w *wire) send(p *Packet) *wire {
	w.at += 1e6
	w.n++
	p.Time, p.Ordinal = w.at, w.n
	w.Packet(p, FlowHash(p))
	return w
}

func (w *wire) c(flags string, seq, ack uint32, payload string) *wire {
	return w.tcp(client, server, flags, seq, ack, payload)
}

func (w *wire) s(flags string, seq, ack uint32, payload string) *wire {
	return w.tcp(server, client, flags, seq, ack, payload)
}

// open does the handshake; the client's first byte is c+1, the server's s+1.
func (w *wire) open(c, s uint32) *wire {
	return w.c("S", c, 0, "").s("SA", s, c+1, "").c("A", c+1, s+1, "")
}

func (w *wire) done() *Conn {
	w.Close(At{Time: w.at})
	if len(w.conns) == 0 {
		return &Conn{}
	}
	return w.conns[0]
}

func TestTCP(t *testing.T) {
	tests := []struct {
		name       string
		do         func(w *wire)
		orig, resp string // what the stream got: data, [gap], . at the end
		state      string
		history    string
		missed     uint64
		weirds     string
	}{
		{"whole connection", func(w *wire) {
			w.open(100, 500).c("PA", 101, 501, "hello").s("PA", 501, 106, "world").c("FA", 106, 506, "").s("FA", 506, 107, "").c("A", 107, 507, "")
		}, "hello.", "world.", "SF", "ShADdFf", 0, ""},
		{"sequence numbers wrap inside a segment", func(w *wire) {
			w.open(0xfffffffd, 0xffffffff).c("A", 0xfffffffe, 0, "abcd").s("A", 0, 2, "efgh").c("A", 2, 4, "ijkl").s("A", 4, 6, "")
		}, "abcdijkl", "efgh", "S1", "ShADda", 0, ""},
		{"reordered around the wrap", func(w *wire) {
			w.open(0xfffffff0, 0).c("A", 0xfffffff9, 1, "ijklmnop").c("A", 1, 1, "q").c("A", 0xfffffff1, 1, "abcdefgh")
		}, "abcdefghijklmnopq", "", "S1", "ShADT", 0, ""},
		{"retransmitted, same bytes", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abc").c("A", 1, 1, "abc").c("A", 4, 1, "d")
		}, "abcd", "", "S1", "ShADT", 0, ""},
		{"retransmitted, other bytes: the first copy wins and it is said", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abc").c("A", 1, 1, "xyz").c("A", 4, 1, "d")
		}, "abcd", "", "S1", "ShADT", 0, "Retransmission_inconsistency"},
		{"overlap with other boundaries", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abcd").c("A", 3, 1, "XXef")
		}, "abcdef", "", "S1", "ShAD", 0, "Retransmission_inconsistency"},
		{"overlap behind a hole: what covers another replaces it", func(w *wire) {
			w.open(0, 0).c("A", 3, 1, "cd").c("A", 2, 1, "BCDE").c("A", 1, 1, "a")
		}, "aBCDE", "", "S1", "ShADT", 0, "Retransmission_inconsistency"},
		{"what was acknowledged before is not compared", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abc").s("A", 1, 4, "").c("A", 1, 1, "xyz")
		}, "abc", "", "S1", "ShADaT", 0, ""},
		{"a gap that an ACK reveals", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abc").c("A", 9, 1, "ijk").s("A", 1, 12, "")
		}, "abc[5]ijk", "", "S1", "ShADaG", 5, ""},
		{"keep-alive of one byte before the window", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abc").s("A", 1, 4, "").c("A", 3, 1, "\x00").s("A", 1, 4, "").c("A", 4, 1, "d")
		}, "abcd", "", "S1", "ShADaT", 0, ""},
		{"data with the FIN, and before it out of order", func(w *wire) {
			w.open(0, 0).c("FA", 4, 1, "def").c("A", 1, 1, "abc").s("A", 1, 8, "")
		}, "abcdef.", "", "S2", "ShAFDTa", 0, ""},
		{"data in a RST is not part of the stream", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abc").s("RA", 1, 4, "go away")
		}, "abc", ".", "RSTR", "ShADrt", 0, ""},
		{"picked up in the middle", func(w *wire) {
			w.c("A", 7000, 9000, "abc").s("A", 9000, 7003, "xyz").c("A", 7003, 9003, "d")
		}, "abcd", "xyz", "OTH", "Dd", 0, ""},
		{"SYN behind its SYN-ACK", func(w *wire) {
			w.s("SA", 500, 101, "").c("S", 100, 0, "").c("A", 101, 501, "").c("A", 101, 501, "abc")
		}, "abc", "", "S1", "Hs^AD", 0, "connection_originator_SYN_ack"},
		{"simultaneous open", func(w *wire) {
			w.c("S", 0, 0, "").s("S", 0, 0, "").c("SA", 0, 1, "").s("SA", 0, 1, "").c("A", 1, 1, "abc")
		}, "abc", "", "S1", "SsD", 0, "simultaneous_open"},
		{"segment far beyond any window", func(w *wire) {
			w.open(0, 0).c("A", 1, 1, "abc").c("A", 1<<30, 1, "evil").c("A", 4, 1, "d")
		}, "abcd", "", "S1", "ShADT", 0, "segment_beyond_window"},
		{"refused", func(w *wire) { w.c("S", 0, 0, "").s("RA", 0, 1, "") }, "", "", "REJ", "Sr", 0, ""},
		{"no answer", func(w *wire) { w.c("S", 0, 0, "") }, "", "", "S0", "S", 0, ""},
		{"data in the SYN", func(w *wire) {
			w.c("S", 0, 0, "abc").s("SA", 0, 4, "").c("A", 4, 1, "d")
		}, "abcd", "", "S1", "SThD", 0, "SYN_with_data"},
		{"both sides reset", func(w *wire) { w.open(0, 0).c("R", 1, 0, "") }, "", "", "RSTO", "ShAR", 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWire(0)
			tt.do(w)
			c := w.done()
			if w.got[0].String() != tt.orig || w.got[1].String() != tt.resp {
				t.Errorf("stream: %q and %q, want %q and %q", w.got[0].String(), w.got[1].String(), tt.orig, tt.resp)
			}
			if c.State != tt.state || c.History != tt.history || c.Missed != tt.missed {
				t.Errorf("conn: %s %s missed %d, want %s %s %d", c.State, c.History, c.Missed, tt.state, tt.history, tt.missed)
			}
			if got := strings.Join(w.weirds, " "); got != tt.weirds {
				t.Errorf("weirds: %q, want %q", got, tt.weirds)
			}
			if len(w.conns) != 1 || w.Len() != 0 {
				t.Errorf("%d rows, %d flows left", len(w.conns), w.Len())
			}
		})
	}
}

func TestSnappedSegmentBecomesDataAndGap(t *testing.T) {
	w := newWire(0).open(0, 0)
	p := packet(client, server, ProtoTCP, "abcdefgh")
	p.Seq, p.Ack, p.Flags = 1, 1, FlagACK
	p.L4 = p.L4[:20+3]
	w.send(p).c("A", 9, 1, "ij")
	w.done()
	if got := w.got[0].String(); got != "abc[5]ij" {
		t.Errorf("got %q", got)
	}
	if w.Counters.Truncated != 5 {
		t.Errorf("truncated %d", w.Counters.Truncated)
	}
}

func TestHoleIsGivenUpAtTheBound(t *testing.T) {
	w := newWire(0)                       // no SYN: no window that it would be beyond
	w.c("A", 1, 1, "xx").s("A", 1, 3, "") // something was acknowledged: ACKs are to be seen
	seg := strings.Repeat("y", 1000)
	for i := range aheadLimit/1000 + 2 {
		w.c("A", uint32(100+1000*i), 1, seg)
	}
	w.done()
	if !strings.HasPrefix(w.got[0].String(), "xx[97]yyy") {
		t.Errorf("got %.20q", w.got[0].String())
	}
	if !slices.Contains(w.weirds, "reassembly_buffer_full") || w.Counters.Dropped != 97 {
		t.Errorf("weirds %v, dropped %d", w.weirds, w.Counters.Dropped)
	}
	if w.buffered != 0 {
		t.Errorf("%d bytes still accounted for", w.buffered)
	}
}

func TestIdleStreamHoldsNothing(t *testing.T) {
	w := newWire(0).open(0, 0).c("A", 1, 1, "x")
	w.idle = true
	w.c("A", 2, 1, "y").c("A", 1000, 1, "zzz").s("A", 1, 1003, "")
	if w.buffered != 0 {
		t.Errorf("%d bytes held", w.buffered)
	}
	if c := w.done(); c.Missed != 997 {
		t.Errorf("missed %d: gaps are counted whether anybody reads or not", c.Missed)
	}
}

func TestTimeouts(t *testing.T) {
	tests := []struct {
		name  string
		first func(w *wire)
		quiet time.Duration
		flows int
	}{
		{"SYN unanswered for five seconds", func(w *wire) { w.c("S", 0, 0, "") }, 6 * time.Second, 2},
		{"SYN repeated within five seconds", func(w *wire) { w.c("S", 0, 0, "") }, 3 * time.Second, 1},
		{"established for four minutes", func(w *wire) { w.open(0, 0) }, 4 * time.Minute, 1},
		{"established for six minutes", func(w *wire) { w.open(0, 0) }, 6 * time.Minute, 2},
		{"UDP for fifty seconds", func(w *wire) { w.send(packet(client, server, ProtoUDP, "a")) }, 50 * time.Second, 1},
		{"UDP for a minute", func(w *wire) { w.send(packet(client, server, ProtoUDP, "a")) }, time.Minute, 2},
	}
	for _, tt := range tests {
		for _, ticks := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, " ticks ", ticks), func(t *testing.T) {
				w := newWire(0)
				tt.first(w)
				until := w.at.Add(tt.quiet)
				if ticks {
					for ; w.at+1e9 < until; w.at += 1e9 {
						w.Advance(At{Time: w.at})
					}
				}
				w.at = until
				if strings.HasPrefix(tt.name, "UDP") {
					w.send(packet(server, client, ProtoUDP, "b"))
				} else {
					w.c("S", 0, 0, "")
				}
				w.done()
				if len(w.conns) != tt.flows {
					t.Errorf("%d flows, want %d", len(w.conns), tt.flows)
				}
			})
		}
	}
}

// sum sets the checksum that a packet should have, or the one that is left to a network card.
func sumPacket(p *Packet, offloaded bool) *Packet {
	for p.L4[16], p.L4[17] = 0, 0; !p.ChecksumOK(); { // 65,536 tries at most, and no second implementation
		if p.L4[17]++; p.L4[17] == 0 {
			p.L4[16]++
		}
	}
	if offloaded {
		for p.L4[16], p.L4[17] = 1, 0; !p.Offloaded() || p.ChecksumOK(); {
			if p.L4[17]++; p.L4[17] == 0 {
				p.L4[16]++
			}
		}
	}
	return p
}

func TestChecksums(t *testing.T) {
	seg := func(seq uint32, flags uint8, data string) *Packet {
		p := packet(client, server, ProtoTCP, data)
		p.Seq, p.Ack, p.Flags = seq, 1, flags
		return p
	}
	wrong := func(p *Packet) *Packet {
		sumPacket(p, false)
		p.L4[16] ^= 0x55
		return p
	}
	tests := []struct {
		name           string
		do             func(w *wire)
		got, weirds    string
		bad, offloaded uint64
	}{
		{"right", func(w *wire) { w.send(sumPacket(seg(1, FlagACK, "abc"), false)) }, "abc", "", 0, 0},
		{"wrong", func(w *wire) {
			w.send(sumPacket(seg(1, FlagACK, "abc"), false)).send(wrong(seg(4, FlagACK, "evil"))).send(sumPacket(seg(4, FlagACK, "d"), false))
		}, "abcd", "bad_TCP_checksum", 1, 0},
		{"all of a side offloaded", func(w *wire) {
			w.send(sumPacket(seg(1, FlagACK, "abc"), true)).send(sumPacket(seg(4, FlagACK, "d"), true))
		}, "abcd", "checksums_offloaded bad_TCP_checksum bad_TCP_checksum", 0, 2},
		{"an insertion dressed as offloading, after right ones", func(w *wire) {
			w.send(sumPacket(seg(1, FlagACK, "abc"), false)).send(sumPacket(seg(4, FlagACK, "evil"), true)).send(sumPacket(seg(4, FlagACK, "d"), false))
		}, "abcevil", "checksums_offloaded bad_TCP_checksum", 0, 1},
		{"wrong, but not as a card's work left undone", func(w *wire) { w.send(wrong(seg(1, FlagACK, "abc"))) }, "", "bad_TCP_checksum", 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWire(0)
			w.cfg.Checksums = ChecksumsStrict
			tt.do(w)
			w.done()
			if got := w.got[0].String(); got != tt.got || strings.Join(w.weirds, " ") != tt.weirds {
				t.Errorf("got %q, weirds %q", got, w.weirds)
			}
			if w.Counters.BadChecksum != tt.bad || w.Counters.Offloaded != tt.offloaded {
				t.Errorf("%d bad, %d offloaded", w.Counters.BadChecksum, w.Counters.Offloaded)
			}
		})
	}
}

// TestRowsDoNotBelieve: what is believed though its checksum is wrong goes to the stream; the row says what Zeek says.
func TestRowsDoNotBelieve(t *testing.T) {
	w := newWire(0)
	w.cfg.Checksums = ChecksumsStrict
	seg := func(seq uint32, flags uint8, payload string) *Packet {
		p := packet(client, server, ProtoTCP, payload)
		p.Seq, p.Flags = seq, flags
		return p
	}
	w.send(sumPacket(seg(1, FlagACK, "abc"), true)).send(sumPacket(seg(4, FlagACK, "d"), true))
	c := w.done()
	if got := w.got[0].String(); got != "abcd" || c.History != "C" || c.Pkts != [2]uint64{} || c.Bytes != [2]uint64{} || len(w.conns) != 1 {
		t.Errorf("the stream got %q, the row has %+v", got, c)
	}
}

func TestTimeNeverRunsBackwards(t *testing.T) {
	w := newWire(0)
	w.send(packet(client, server, ProtoUDP, "a"))
	w.at -= 500e9
	w.send(packet(client, server, ProtoUDP, "b"))
	w.at += 501e9
	w.send(packet(client, server, ProtoUDP, "c"))
	w.done()
	if len(w.conns) != 1 {
		t.Errorf("%d flows", len(w.conns))
	}
}

// TestRowsBehindTheClockAreCutAndStreamsGoOn: the second half of a file was captured long before the first. Zeek ends a
// connection at each of its packets there; what is read must not end with them.
func TestRowsBehindTheClockAreCutAndStreamsGoOn(t *testing.T) {
	w := newWire(0)
	w.send(packet("10.0.0.8:1", "10.0.0.9:2", ProtoUDP, "now"))
	w.at -= 500e9
	w.open(100, 500)
	w.c("A", 101, 501, "GET").s("A", 501, 104, "20").c("A", 104, 503, " /").s("A", 503, 106, "0 OK")
	w.c("A", 106, 507, "").s("A", 507, 106, "!")
	w.s("A", 509, 106, "lost one") // nobody saw 508
	w.done()
	if c, s := w.got[0].String(), w.got[1].String(); c != "(now)GET /" || s != "200 OK![1]lost one" {
		t.Errorf("the client sent %q, the server %q", c, s)
	}
	if len(w.conns) < 9 {
		t.Errorf("%d rows", len(w.conns))
	}
	uids := map[string]bool{}
	var sent uint64
	for _, c := range w.conns {
		if uids[c.Flow.UID] {
			t.Errorf("a second row of %s", c.Flow.UID)
		}
		uids[c.Flow.UID] = true
		sent += c.Bytes[0] + c.Bytes[1]
	}
	if sent != 3+5+15 || w.Len() != 0 {
		t.Errorf("%d bytes in all rows, %d flows left", sent, w.Len())
	}
}

func TestFullTableTakesTheNewAndDropsTheLeastRecent(t *testing.T) {
	const room = 100
	w := newWire(room)
	peer := func(i int) string { return fmt.Sprintf("10.1.%d.%d:1000", i/250, i%250) }
	for i := range 3 * room {
		w.send(packet(peer(i), server, ProtoUDP, "x"))
		w.send(packet(peer(0), server, ProtoUDP, "y")) // always the most recently seen
		w.at += 1e9
		w.Advance(At{Time: w.at})
		if w.Len() > room {
			t.Fatalf("%d flows in a table for %d", w.Len(), room)
		}
	}
	for _, c := range w.conns {
		if c.Flow.Orig.String() == peer(0) {
			t.Fatal("the busiest flow was dropped")
		}
	}
	w.done()
	if len(w.conns) != 3*room {
		t.Errorf("%d rows for %d flows", len(w.conns), 3*room)
	}
}

func TestSYNFloodPushesOutSYNs(t *testing.T) {
	const room = 64
	w := newWire(room).open(0, 0)
	for i := range 10 * room {
		w.tcp(fmt.Sprintf("192.0.2.%d:%d", i%250, 1000+i), server, "S", uint32(i), 0, "")
	}
	w.c("A", 1, 1, "still here")
	if got := w.got[0].String(); got != "still here" || w.Counters.Evicted == 0 {
		t.Errorf("got %q, evicted %d", got, w.Counters.Evicted)
	}
}

func TestProgressAddsUp(t *testing.T) {
	w := newWire(0).open(0, 0)
	const seg = 1000
	for i := range uint32(500) {
		w.c("A", 1+seg*i, 1, strings.Repeat("u", seg))
		w.c("A", 1+seg*i, 1, strings.Repeat("u", seg)) // a retransmission leaves only once
		w.s("A", 1, 1+seg*(i+1), "")
	}
	if w.sent[0] == 0 {
		t.Error("nothing was said while the flow lived")
	}
	c := w.done()
	if w.sent[0] != 500*seg || w.sent[1] != 0 || c.Bytes[0] != 500*seg {
		t.Errorf("progress %v, conn %v", w.sent, c.Bytes)
	}
}

func TestTableSurvivesChurn(t *testing.T) {
	w := newWire(1000)
	live := map[int]bool{}
	for i := range 20000 {
		n := (i * 7919) % 3000
		w.send(packet(fmt.Sprintf("10.2.%d.%d:53", n/250, n%250), server, ProtoUDP, "x"))
		live[n] = true
		if i%10 == 0 {
			w.at += 1e9
			w.Advance(At{Time: w.at})
		}
	}
	for _, r := range w.table {
		if r.idx == 0 {
			continue
		}
		f := w.flow(r.idx - 1)
		if w.find(&f.key, f.hash) != f {
			t.Fatal("a flow of the table is not found")
		}
	}
	rows := len(w.conns) + w.Len()
	w.done()
	if len(w.conns) != rows || uint64(rows) != w.Counters.Flows {
		t.Errorf("%d rows of %d flows (%d began)", len(w.conns), rows, w.Counters.Flows)
	}
}

// Vectors of https://github.com/corelight/community-id-spec.
func TestCommunityID(t *testing.T) {
	tests := []struct {
		src, dst string
		proto    uint8
		oneWay   bool
		want     string
	}{
		{"128.232.110.120:34855", "66.35.250.204:80", ProtoTCP, false, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"66.35.250.204:80", "128.232.110.120:34855", ProtoTCP, false, "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"192.168.1.52:54585", "8.8.8.8:53", ProtoUDP, false, "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"192.168.0.89:8", "192.168.0.1:0", ProtoICMP, false, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
	}
	for _, tt := range tests {
		w := newWire(0)
		p := packet(tt.src, tt.dst, tt.proto, "")
		p.Flags = FlagSYN
		p.OneWay = tt.oneWay
		w.send(p)
		if got := w.done().CommunityID; got != tt.want {
			t.Errorf("%s > %s: %s, want %s", tt.src, tt.dst, got, tt.want)
		}
	}
}

func TestUIDComesFromTheTraffic(t *testing.T) {
	uid := func(src, dst string, at Time) string {
		w := newWire(0)
		w.at = at
		w.send(packet(src, dst, ProtoUDP, ""))
		return w.done().Flow.UID
	}
	a := uid(client, server, 5e9)
	if len(a) != 18 || a[0] != 'C' || a != uid(client, server, 5e9) {
		t.Errorf("%q is no stable UID", a)
	}
	if a == uid(client, server, 6e9) || a == uid("10.0.0.1:40001", server, 5e9) {
		t.Error("different flows, same UID")
	}
	p := packet(server, client, ProtoUDP, "")
	if got := flowUID(p, 5e9+1e6); got != a {
		t.Errorf("the tunnel table would call it %s, the flow table %s", got, a)
	}
}

func TestEstablishedTrafficDoesNotAllocate(t *testing.T) {
	w := newWire(0)
	w.idle = true
	w.open(0, 0).c("A", 1, 1, "x")
	p := packet(client, server, ProtoTCP, strings.Repeat("x", 1400))
	p.Flags, p.Ack = FlagACK, 1
	q := packet(server, client, ProtoTCP, "")
	q.Flags, q.Seq = FlagACK, 1
	seq := uint32(2)
	hp, hq := FlowHash(p), FlowHash(q)
	got := testing.AllocsPerRun(2000, func() {
		w.at += 1000
		p.Time, p.Seq = w.at, seq
		w.Packet(p, hp)
		seq += 1400
		q.Time, q.Ack = w.at, seq
		w.Packet(q, hq)
	})
	// One Progress event in 47 segments.
	if got > 0.1 {
		t.Errorf("%v allocations for two packets of an established connection", got)
	}
}

func BenchmarkEstablished(b *testing.B) {
	w := newWire(0)
	w.idle = true
	w.open(0, 0).c("A", 1, 1, "x")
	p := packet(client, server, ProtoTCP, strings.Repeat("x", 1400))
	p.Flags, p.Ack = FlagACK, 1
	seq, h := uint32(2), FlowHash(p)
	for b.Loop() {
		w.at += 1000
		p.Time, p.Seq = w.at, seq
		w.Packet(p, h)
		seq += 1400
	}
}

// TestClockIsThatOfAllPackets: a packet of another flow, in another shard, has moved the clock on. What is read out of an
// older one is told with the clock's time, as Zeek tells it, and the row of conn.log with the packets' own.
func TestClockIsThatOfAllPackets(t *testing.T) {
	w := newWire(0)
	var host Host
	w.cfg.Open = func(h Host, _ bool) Stream { host = h; return tape{w} }
	p := packet(client, server, ProtoUDP, "x")
	p.Clock = w.at + 5e8
	w.send(p)
	if at := host.At().Time; at != p.Clock {
		t.Errorf("told at %d, the clock is %d", at, p.Clock)
	}
	if start := host.Flow().Start; start != p.Time {
		t.Errorf("began at %d, the packet says %d", start, p.Time)
	}
}

// resting is a tape that is at rest behind some datagrams.
type resting struct {
	tape
	last *string // datagram
}

func (r resting) Datagram(d Dir, b []byte) { *r.last = string(b); r.tape.Datagram(d, b) }
func (r resting) Rest() bool               { return *r.last == "done" }

// TestStreamAtRest: the first is given up without an end, what comes next opens another, which stays, and the flow is one
// all the same.
func TestStreamAtRest(t *testing.T) {
	w := newWire(0)
	var opened int
	var last string
	var id *Flow
	w.cfg.Open = func(h Host, _ bool) Stream {
		opened++
		if id = h.Flow(); h.Flip() {
			t.Error("the roles were exchanged behind an event")
		}
		return resting{tape{w}, &last}
	}
	for i, c := range []struct {
		payload string
		opened  int
	}{{"a", 1}, {"done", 1}, {"b", 2}, {"c", 2}, {"done", 2}, {"done", 2}, {"d", 2}} {
		p := packet(client, server, ProtoUDP, c.payload)
		if i%2 == 1 {
			p = packet(server, client, ProtoUDP, c.payload)
		}
		w.send(p)
		if opened != c.opened {
			t.Errorf("behind datagram %d, %d streams were opened, want %d", i, opened, c.opened)
		}
		if kept := w.flow(0).id != nil; kept != (i != 1) {
			t.Errorf("behind datagram %d, the identity is kept: %v", i, kept)
		}
	}
	if c := w.done(); c.Pkts != [2]uint64{4, 3} || c.State != "SF" || len(w.conns) != 1 {
		t.Errorf("%d rows, %+v", len(w.conns), c)
	}
	if c := w.conns[0]; !reflect.DeepEqual(c.Flow, id) {
		t.Errorf("events carried %+v, the row has %+v", id, c.Flow)
	}
	if got := w.got[Orig].String() + w.got[Resp].String(); got != "(a)(b)(done)(d)(done)(c)(done)" {
		t.Errorf("streams got %s", got)
	}
}

// TestSlabsFill: a slab leaves less than a flow of its 32 KiB unused, and a flow is whole lines of the cache.
func TestSlabsFill(t *testing.T) {
	const size = 32 << 10
	f, c := unsafe.Sizeof(flow{}), unsafe.Sizeof(tcpConn{})
	if n := f * slabSize; n > size || size-n >= f || f%64 != 0 {
		t.Errorf("a flow has %d bytes", f)
	}
	if n := c * tcpSlab; n > size || size-n >= c {
		t.Errorf("a TCP part has %d bytes", c)
	}
}

// TestWatch: an idle stream is shown what comes, in order; what it wants, it gets, and what follows that, also when it
// came before what stands in front of it. Nothing of what it does not want is held.
func TestWatch(t *testing.T) {
	for _, tt := range []struct {
		name    string
		do      func(w *wire)
		want    string
		watched int
	}{
		{"nothing that it wants", func(w *wire) { w.c("A", 101, 501, "aaaa").c("A", 105, 501, "bbbb").s("A", 501, 109, "cc") }, "", 3},
		{"a beginning", func(w *wire) { w.c("A", 101, 501, "aaaa").c("A", 105, 501, "GET ").c("A", 109, 501, "/") }, "GET /", 2},
		{"a beginning that is sent again", func(w *wire) {
			w.c("A", 101, 501, "aaaa").c("A", 105, 501, "GET ").c("A", 105, 501, "GET ").c("A", 109, 501, "/")
		}, "GET /", 2},
		{"behind a hole that is filled", func(w *wire) {
			w.c("A", 105, 501, "GET ").c("A", 109, 501, "/x").c("A", 101, 501, "aaaa").c("A", 111, 501, "y")
		}, "GET /xy", 3},
		{"behind a hole that stays", func(w *wire) { w.c("A", 105, 501, "GET ").c("A", 109, 501, "/x").s("A", 501, 111, "") }, "GET /x", 2},
		{"not wanted, behind a hole", func(w *wire) {
			w.c("A", 105, 501, "bbbb")
			if w.buffered != 0 {
				t.Errorf("%d bytes are held for nobody", w.buffered)
			}
			w.c("A", 101, 501, "aaaa").c("A", 109, 501, "GET /")
		}, "GET /", 3},
	} {
		w := newWire(10)
		w.idle, w.wake = true, "GET"
		w.open(100, 500).c("A", 101, 501, "")
		w.s("PA", 501, 101, "") // nothing yet: the stream opens with the first byte
		w.idle = false
		w.wake = ""
		w.s("A", 501, 101, "!").c("A", 101, 502, "")
		w.idle, w.wake = true, "GET"
		w.got[Resp].Reset()
		tt.do(w)
		if got := w.got[Orig].String(); got != tt.want || w.watched != tt.watched {
			t.Errorf("%s: got %q, was shown %d segments", tt.name, got, w.watched)
		}
	}
}
