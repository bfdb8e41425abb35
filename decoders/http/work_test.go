package http

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// table is a flow table whose flows have the HTTP decoder.
type table struct {
	*capture.Shard
	got    []*Transaction
	weirds map[string]int
	at     capture.Time
	n      uint64
	wire   uint64 // bytes of payload
	room   *capture.Room
}

func newTable() *table {
	tb := &table{weirds: map[string]int{}, at: 1000e9}
	set := decoders.NewSet([]decoders.Spec{Spec(Options{KeepBody: func(*Transaction, bool) int { return 1 << 20 }})})
	tb.Shard = capture.NewShard(capture.FlowConfig{
		Checksums: capture.ChecksumsIgnore,
		Open: func(h capture.Host, mid bool) capture.Stream {
			tb.room = h.(capture.Worker).Room()
			return set.Mux(h, mid)
		},
		Emit: func(ev any) {
			switch ev := ev.(type) {
			case *Transaction:
				tb.got = append(tb.got, ev)
			case *capture.Weird:
				tb.weirds[ev.Name]++
			}
		},
	})
	return tb
}

// send sends b, behind a SYN if seq is 0, in segments of 1,400 bytes; it returns the number of the next byte.
func (tb *table) send(port uint16, seq uint32, b []byte) uint32 {
	p := capture.Packet{Proto: capture.ProtoTCP, SrcPort: port, DstPort: 80, IPLen: 40}
	p.Src, p.Dst = [16]byte{10: 0xff, 0xff, 10, 0, 0, 1}, [16]byte{10: 0xff, 0xff, 10, 0, 0, 2}
	put := func(flags uint8, data []byte) {
		tb.at += 10e3
		tb.n++
		p.Time, p.Ordinal, p.Flags, p.Seq, p.HdrLen = tb.at, tb.n, flags, seq, 20
		p.L4 = append(make([]byte, 20), data...)
		p.L4[12], p.L4[13] = 5<<4, flags
		p.L4Len = len(p.L4)
		p.IPLen = 20 + len(p.L4)
		p.Window = 65535
		tb.Packet(&p, capture.FlowHash(&p))
		seq += uint32(len(data))
		tb.wire += uint64(len(data))
	}
	if seq == 0 {
		put(capture.FlagSYN, nil)
		seq++
	}
	for len(b) > 0 {
		n := min(len(b), 1400)
		put(capture.FlagACK|capture.FlagPSH, b[:n])
		b = b[n:]
	}
	return seq
}

func post(coding string, body []byte) []byte {
	return append(fmt.Appendf(nil, "POST /api/jobs/ HTTP/1.1\r\nHost: x\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n", coding, len(body)), body...)
}

// packed is what src is in a coding; a gzip member of empty blocks, five bytes each, is written as it is.
func coded(t testing.TB, coding string, src []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w, _ = gzip.NewWriterLevel(&b, gzip.BestCompression)
	case "br":
		w = brotli.NewWriterLevel(&b, 4)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	}
	if _, err := w.Write(src); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var gzipHead = []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff")

// bombs are bodies of which every byte asks for much work.
func bombs(t testing.TB) map[string][]byte {
	empty := append(bytes.Clone(gzipHead), bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 8<<20)...)
	zeros := make([]byte, 64<<20)
	twice := coded(t, "gzip", coded(t, "gzip", zeros))
	// Fixed blocks of nothing, ten bits each: four of them are five bytes.
	fixed := append(bytes.Clone(gzipHead), bytes.Repeat([]byte{0x02, 0x08, 0x20, 0x80, 0x00}, 100_000)...)
	return map[string][]byte{
		"gzip, br":         coded(t, "br", empty),
		"gzip, zstd":       coded(t, "zstd", empty),
		"gzip, gzip":       twice,
		"gzip, gzip, gzip": coded(t, "gzip", twice),
		"gzip":             coded(t, "gzip", zeros),
		"br":               coded(t, "br", zeros),
		"zstd":             coded(t, "zstd", zeros),
		"deflate":          fixed,
	}
}

// TestWorkIsBounded: whatever codings ask for, a flow gets what its bytes are worth and no more than half of what its
// shard has beyond; that it did not get more is said, and what follows the body is read.
func TestWorkIsBounded(t *testing.T) {
	for coding, body := range bombs(t) {
		tb := newTable()
		if strings.Contains(coding, ",") { // servers take one coding alone
			answer := append(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n", coding, len(body)), body...)
			seq := tb.send(1000, 0, answer)
			tb.send(1000, seq, []byte("HTTP/1.1 404 Next\r\nContent-Length: 0\r\n\r\n"))
		} else {
			seq := tb.send(1000, 0, post(coding, body))
			tb.send(1000, seq, []byte("GET /next HTTP/1.1\r\nHost: x\r\n\r\n"))
		}
		tb.Close(capture.At{Time: tb.at})
		if len(tb.got) != 2 || tb.got[1].Response == nil && tb.got[1].Request.Target != "/next" || tb.got[1].Response != nil && tb.got[1].Response.Status != 404 {
			t.Errorf("%s: %d transactions", coding, len(tb.got))
			continue
		}
		if limit := 16*tb.wire + 16<<10 + 8<<20 + 128<<10; tb.Counters.Work > limit {
			t.Errorf("%s: %d units of work for %d bytes", coding, tb.Counters.Work, tb.wire)
		}
		if tb.Counters.Work > 1<<20 && tb.weirds["flow_work_limit"]+tb.weirds["HTTP_expansion_limit"] == 0 {
			t.Errorf("%s: %d units of work for %d bytes, nothing said", coding, tb.Counters.Work, tb.wire)
		}
		t.Logf("%-18s %8d bytes, %9d units, %v", coding, tb.wire, tb.Counters.Work, tb.weirds)
	}
}

// TestWorkIsBoundedForAll: a thousand flows with a bomb each get what their bytes are worth and what the shard has once; a
// small body of one that comes then is read.
func TestWorkIsBoundedForAll(t *testing.T) {
	body := coded(t, "gzip", make([]byte, 4<<20))
	tb := newTable()
	for i := range 1000 {
		tb.send(uint16(1000+i), 0, post("gzip", body))
	}
	flows := uint64(1000)
	if limit := 16*tb.wire + flows*(16<<10) + 17<<20; tb.Counters.Work > limit || tb.Counters.Overworked < 900 {
		t.Errorf("%d units of work for %d bytes, %d flows denied", tb.Counters.Work, tb.wire, tb.Counters.Overworked)
	}
	job := `{"entrypoint": "python miner.py", "x": "` + strings.Repeat("a", 10_000) + `"}`
	tb.got = nil
	tb.send(5000, 0, post("gzip", coded(t, "gzip", []byte(job))))
	tb.Close(capture.At{Time: tb.at})
	for _, x := range tb.got {
		if string(x.Request.Body.Data) == job {
			return
		}
	}
	t.Error("a small body was not read")
}

// TestRoomIsBounded: bodies that never go on take nothing for what their heads promise, and no more than there is for
// what they have sent; the one that goes on is read.
func TestRoomIsBounded(t *testing.T) {
	tb := newTable()
	for i := range 20_000 {
		tb.send(uint16(1000+i), 0, []byte("POST /api/jobs/ HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n\x1f"))
	}
	if tb.Counters.Yielded == 0 && tb.room.Used() > 4<<20 {
		t.Errorf("%d bytes for heads", tb.room.Used())
	}
	body := coded(t, "gzip", bytes.Repeat([]byte("all work and no play "), 4_000))
	for i := range 2000 {
		tb.send(uint16(30000+i), 0, post("gzip", body)[:80+len(body)/2])
	}
	if n := tb.room.Used(); n > 4<<20 {
		t.Errorf("%d bytes kept", n)
	}
	if tb.Counters.Yielded == 0 || tb.weirds["HTTP_body_memory_limit"] == 0 {
		t.Error("nothing was said")
	}
	job := post("gzip", coded(t, "gzip", []byte(`{"entrypoint": "python miner.py"}`)))
	seq := tb.send(900, 0, job[:len(job)-10])
	tb.send(900, seq, job[len(job)-10:])
	tb.got = nil
	tb.Close(capture.At{Time: tb.at})
	for _, x := range tb.got {
		if string(x.Request.Body.Data) == `{"entrypoint": "python miner.py"}` {
			return
		}
	}
	t.Error("the body that went on was not read")
}
