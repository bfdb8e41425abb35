package test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// cable gives the test a network of its own with a cable in it, and a socket that puts frames on v0.
func cable(t *testing.T) (send func(frame []byte) error) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace takes root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip (iproute2): ", err)
	}
	runtime.LockOSThread() // and never unlocked: the thread is thrown away
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespaces here: ", err)
	}
	for _, f := range []string{"all", "default"} {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+f+"/disable_ipv6", []byte("1"), 0)
	}
	ip := func(args string) string {
		out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
		return string(out)
	}
	ip("link add v0 mtu 65535 type veth peer name v1 mtu 65535")
	for _, name := range []string{"v0", "v1"} {
		ip("link set " + name + " up")
	}
	for _, name := range []string{"v0", "v1"} {
		for !strings.Contains(ip("-o link show "+name), "state UP") {
			time.Sleep(5 * time.Millisecond)
		}
	}
	time.Sleep(20 * time.Millisecond) // the queue is opened right behind the state
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
	said  []string
}

// listenLive starts one. shunting says which flows are shunted; nil: none.
func listenLive(t *testing.T, cfg engine.Config, live capture.LiveConfig, shunting *capture.ShuntConfig) *listener {
	t.Helper()
	l := &listener{}
	live.Interfaces, live.Ring, live.Shunt = []string{"v1"}, 64<<20, shunting != nil
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

// end waits until what was sent is read, and ends the sensor.
func (l *listener) end() {
	time.Sleep(50 * time.Millisecond)
	l.src.Stop()
	l.done.Wait()
	l.src.Close()
}

// rows gives the rows of a log as text, sorted, without columns that are left out; seconds are told to a hundredth.
func (l *listener) rows(log string, without ...string) (all []string) {
	for _, r := range l.ear.rows[log] {
		var s []string
		for k, v := range r {
			if slices.Contains(without, k) {
				continue
			}
			s = append(s, k+"="+v)
		}
		slices.Sort(s)
		all = append(all, strings.Join(s, " "))
	}
	slices.Sort(all)
	return all
}

// sameConns compares two logs of connections: times within a millisecond, all else equal.
func sameConns(t *testing.T, want, got *listener) {
	t.Helper()
	type row = map[string]string
	index := func(l *listener) map[string]row {
		all := map[string]row{}
		for _, r := range l.ear.rows["conn"] {
			all[fmt.Sprint(r["uid"], r["ts"], r["history"] == "")] = r
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
			t.Errorf("no row when shunted: %v", x)
			continue
		}
		for c, v := range x {
			w := y[c]
			if v == w {
				continue
			}
			if c == "duration" {
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
	send := cable(t)
	var shunted, shunts, packets uint64
	for _, file := range files {
		frames := wireFrames(t, file)
		cfg := engine.Default()
		if slices.ContainsFunc(frames, func(f wireFrame) bool { return len(f.Data) < f.WireLen }) {
			cfg.Checksums = "ignore"
		}
		plain, shunt := listenLive(t, cfg, capture.LiveConfig{}, nil), listenLive(t, cfg, capture.LiveConfig{}, early())
		n := 0
		for _, f := range frames {
			const ethernet = 1
			if f.Link != ethernet || send(append(f.Data, make([]byte, max(f.WireLen-len(f.Data), 0))...)) != nil {
				continue
			}
			if n++; n%8 == 0 {
				time.Sleep(5 * time.Millisecond) // a block of the ring comes after 4
			}
		}
		plain.end()
		shunt.end()
		failed := t.Failed()
		sameConns(t, plain, shunt)
		sameFindings(t, plain, shunt)
		if a, b := plain.stats, shunt.stats; a.Packets != b.Packets || a.Bytes != b.Bytes || a.Flow.GapBytes != b.Flow.GapBytes || a.Flow.AckedBytes != b.Flow.AckedBytes {
			t.Errorf("%d packets, %d bytes, %d missing, %d acknowledged; when shunted %d, %d, %d, %d", a.Packets, a.Bytes, a.Flow.GapBytes, a.Flow.AckedBytes, b.Packets, b.Bytes, b.Flow.GapBytes, b.Flow.AckedBytes)
		}
		if t.Failed() && !failed {
			t.Log(file)
		}
		shunted, shunts, packets = shunted+shunt.stats.Flow.Shunted, shunts+shunt.stats.Flow.Shunts, packets+shunt.stats.Packets
	}
	t.Logf("%d of %d packets shunted, %d times", shunted, packets, shunts)
	if shunted == 0 {
		t.Error("nothing was shunted")
	}
}
