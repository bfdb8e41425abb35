package capture

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// readings sends segments over an open connection (numbers: the client's first byte is 1), and gives what each stream of it
// was told of the client.
func readings(send func(w *wire)) []string {
	w := newWire(16)
	w.unfinished = true
	var streams []*strings.Builder
	w.cfg.Wait = DefaultWait
	w.cfg.Open = func(Host, bool) Stream {
		b := &strings.Builder{}
		streams = append(streams, b)
		return reader{tape{w}, b}
	}
	w.open(0, 0).send(segment(FlagACK, 1, 64, ""))
	send(w)
	w.done()
	var got []string
	for _, b := range streams {
		got = append(got, b.String())
	}
	return got
}

// reader writes down what the client sends.
type reader struct {
	tape
	b *strings.Builder
}

func (r reader) Data(d Dir, b []byte) {
	if d == Orig {
		r.b.Write(b)
	}
}
func (r reader) Gap(d Dir, n int64) {
	if d == Orig {
		fmt.Fprintf(r.b, "[%d]", n)
	}
}
func (r reader) End(d Dir) {
	if d == Orig {
		r.b.WriteByte('.')
	}
}

// Idle: of what begins as TLS nobody makes anything.
func (r reader) Idle() bool { return strings.HasPrefix(r.b.String(), "\x16") }

func segment(flags uint8, seq uint32, ttl uint8, data string, opts ...byte) *Packet {
	p := packet(client, server, ProtoTCP, string(opts)+data)
	p.Flags, p.Seq, p.Ack, p.TTL, p.HdrLen = flags, seq, 1, ttl, 20+len(opts)
	return p
}

func stamp(v byte) []byte { return []byte{1, 1, 8, 10, 0, 0, 0, v, 0, 0, 0, 0} }

func TestReadings(t *testing.T) {
	const data = FlagACK | FlagPSH
	urgent := func(seq uint32, ttl uint8, to byte, b string) *Packet {
		p := segment(data|FlagURG, seq, ttl, b)
		p.L4[19] = to
		return p
	}
	for _, c := range []struct {
		name string
		send func(w *wire)
		want []string // some stream has to have read it
		not  string
	}{
		{"of three copies the one in the middle", func(w *wire) {
			w.send(segment(data, 1, 64, "aaaa")).send(segment(data, 1, 64, "good")).send(segment(data, 1, 64, "bbbb")).s("A", 1, 5, "")
		}, []string{"aaaa", "good", "bbbb"}, ""},
		{"hops tell a copy that died from one that was late", func(w *wire) {
			w.send(segment(data, 1, 1, "aaaa")).send(segment(data, 1, 64, "good"))
			w.send(segment(data, 5, 64, "good")).send(segment(data, 5, 64, "bbbb")).s("A", 1, 9, "")
		}, []string{"goodgood"}, ""},
		{"right copies with fewer hops from one to the next", func(w *wire) {
			for i := range uint32(3) {
				w.send(segment(data, 1+4*i, 1, "aaaa")).send(segment(data, 1+4*i, uint8(64-i), "good"))
			}
			w.s("A", 1, 13, "")
		}, []string{"goodgoodgood"}, ""},
		{"a copy behind a hole that another one covers", func(w *wire) {
			w.send(segment(data, 3, 64, "o")).send(segment(data, 2, 1, "zzz")).send(segment(data, 2, 64, "o")).send(segment(data, 4, 64, "d"))
			w.send(segment(data, 1, 64, "g")).s("A", 1, 5, "")
		}, []string{"good"}, ""},
		{"a copy behind a hole of which another one has a part", func(w *wire) {
			w.send(segment(data, 3, 64, "od")).send(segment(data, 2, 1, "zz")).send(segment(data, 1, 64, "go")).s("A", 1, 5, "")
		}, []string{"good"}, ""},
		{"copies behind holes that one in order covers", func(w *wire) {
			w.send(segment(data, 2, 64, "o")).send(segment(data, 4, 64, "d")).send(segment(data, 1, 1, "zzzz"))
			w.send(segment(data, 1, 64, "g")).send(segment(data, 3, 64, "o")).s("A", 1, 5, "")
		}, []string{"good", "zzzz"}, ""},
		{"a first copy of which nobody makes anything", func(w *wire) {
			w.send(segment(data, 1, 1, "\x16")).send(segment(data, 1, 1, "\x16zz")).send(segment(data, 1, 1, "\x16zzzz"))
			w.send(segment(data, 1, 64, "go")).send(segment(data, 3, 64, "od")).s("A", 1, 5, "").send(segment(data, 5, 64, "more")).s("A", 1, 9, "")
		}, []string{"goodmore"}, ""},
		{"the same, and the good one from its end", func(w *wire) {
			w.send(segment(data, 1, 64, "\x16z")).send(segment(data, 3, 64, "zz")).send(segment(data, 3, 64, "od"))
			w.send(segment(data, 1, 64, "go")).send(segment(data, 7, 64, "re")).send(segment(data, 5, 64, "mo")).s("A", 1, 9, "")
		}, []string{"goodmore"}, ""},
		{"of two urgent pointers the further one", func(w *wire) {
			w.send(urgent(3, 64, 1, "cd")).send(urgent(5, 64, 2, "eZf")).send(segment(data, 1, 64, "ab")).s("A", 1, 8, "")
		}, []string{"abcdef"}, ""},
		{"an urgent pointer without data", func(w *wire) {
			w.send(urgent(1, 64, 3, "")).send(segment(data, 1, 64, "abZcd")).s("A", 1, 6, "")
		}, []string{"abcd"}, ""},
		{"a FIN of the past", func(w *wire) {
			w.send(segment(data, 1, 64, "abcd")).send(segment(data|FlagFIN, 3, 64, "c")).send(segment(data, 5, 64, "efgh")).s("A", 1, 9, "")
		}, []string{"abcdefgh"}, "."},
		{"a FIN within a request that nobody acknowledges", func(w *wire) {
			w.send(segment(data, 1, 64, "abcd")).s("A", 1, 5, "").send(segment(FlagACK|FlagFIN, 5, 1, ""))
			w.send(segment(data, 5, 64, "efgh")).s("A", 1, 9, "")
		}, []string{"abcdefgh"}, "."},
		{"a SYN before any data", func(w *wire) {
			w.send(segment(FlagSYN, 7000, 64, "")).send(segment(data, 1, 64, "abcd")).s("A", 1, 5, "")
		}, []string{"abcd"}, ""},
		{"a reset that did not arrive", func(w *wire) {
			w.send(segment(data, 1, 64, "abcd")).s("A", 1, 5, "").send(segment(FlagACK|FlagRST, 5, 1, ""))
			w.at += 10e9
			w.send(segment(data, 5, 64, "efgh")).s("A", 1, 9, "")
		}, []string{"abcd", "abcdefgh"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := readings(c.send)
			for _, want := range c.want {
				if !slices.ContainsFunc(got, func(s string) bool { return strings.TrimSuffix(s, ".") == want }) {
					t.Errorf("read %q, none %q", got, want)
				}
			}
			if c.not != "" && strings.Contains(strings.Join(got, " "), c.not) {
				t.Errorf("read %q", got)
			}
		})
	}
}

// TestStampsAsLinuxHasThem: a time stamp may be older by one, and only what begins where was acknowledged tells of the time.
func TestStampsAsLinuxHasThem(t *testing.T) {
	for _, c := range []struct {
		name   string
		stamps [3]byte
		want   doubt
	}{
		{"older by one", [3]byte{9, 9, 8}, noDoubt},
		{"older by two", [3]byte{9, 9, 7}, doubtStamp},
		{"newer behind what was acknowledged", [3]byte{9, 90, 9}, noDoubt},
		{"none yet", [3]byte{0, 0, 255}, noDoubt},
	} {
		w := newWire(16)
		w.send(segment(FlagSYN, 0, 64, "", stamp(c.stamps[0])...))
		sa := packet(server, client, ProtoTCP, string(stamp(1)))
		sa.Flags, sa.Ack, sa.HdrLen = FlagSYN|FlagACK, 1, 32
		w.send(sa).send(segment(FlagACK|FlagPSH, 1, 64, "ab", stamp(c.stamps[0])...)).send(segment(FlagACK|FlagPSH, 3, 64, "cd", stamp(c.stamps[1])...))
		p := segment(FlagACK|FlagPSH, 5, 64, "ef", stamp(c.stamps[2])...)
		k, side := orient(p)
		if got := w.find(&k, FlowHash(p)).judge(side, p); got != c.want {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
