package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raytap/raytap/capture/nettest"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/hub"
	"github.com/raytap/raytap/sinks/logs"
)

// lookups is a capture of n lookups in the DNS, each of a flow of its own.
func lookups(n, from int, at time.Time) []byte {
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0} // little-endian, microseconds, Ethernet
	client, server := [4]byte{10, 1, 0, 1}, [4]byte{10, 1, 0, 53}
	for i := from; i < from+n; i++ {
		question := fmt.Appendf(nil, "\x07n%06d\x04test\x00\x00\x01\x00\x01", i%1000000)
		query := append([]byte{byte(i >> 8), byte(i), 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, question...)
		answer := append([]byte{byte(i >> 8), byte(i), 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, question...)
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 0, 0, 4, 192, 0, 2, 1)
		port := uint16(1024 + i%60000)
		for k, data := range [][]byte{query, answer} {
			src, dst, sport, dport := client, server, port, uint16(53)
			if k == 1 {
				src, dst, sport, dport = dst, src, dport, sport
			}
			udp := binary.BigEndian.AppendUint16(nil, sport)
			udp = binary.BigEndian.AppendUint16(udp, dport)
			udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(data)))
			udp = append(append(udp, 0, 0), data...)
			head := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
			binary.BigEndian.PutUint16(head[2:], uint16(20+len(udp)))
			head = append(append(head, src[:]...), dst[:]...)
			sum := uint32(0)
			for j := 0; j < len(head); j += 2 {
				sum += uint32(binary.BigEndian.Uint16(head[j:]))
			}
			binary.BigEndian.PutUint16(head[10:], ^uint16(sum+sum>>16))
			frame := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, append(head, udp...)...)
			b = binary.LittleEndian.AppendUint32(b, uint32(at.Unix()))
			b = binary.LittleEndian.AppendUint32(b, uint32(at.Nanosecond()/1000))
			b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
			b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
			b = append(b, frame...)
		}
	}
	return b
}

// feed drops captures into a folder until the end of the test or stop.
func feed(t *testing.T, dir string) (stop func()) {
	done, ended := make(chan bool), make(chan bool)
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
			}
			tmp := filepath.Join(dir, fmt.Sprintf(".%06d", i))
			if err := os.WriteFile(tmp, lookups(20, 20*i, time.Now()), 0o644); err != nil {
				t.Error(err)
				return
			}
			os.Rename(tmp, filepath.Join(dir, fmt.Sprintf("%06d.pcap", i)))
		}
	}()
	var once sync.Once
	stop = func() { once.Do(func() { close(done); <-ended }) }
	t.Cleanup(stop)
	return stop
}

// logged counts the rows of a sensor's folder, by log.
func logged(t *testing.T, dir string, names ...string) map[string]uint64 {
	t.Helper()
	f, err := logs.Open(logs.Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]uint64{}
	for _, name := range names {
		f.Read(name, func(*logs.Row) { all[name]++ })
	}
	return all
}

// ending is a command that runs on the side.
type ending struct {
	p    *process
	took atomic.Int64
	code atomic.Int64 // -1: it runs
}

func sideways(t *testing.T, args ...string) *ending {
	t.Helper()
	e := &ending{p: &process{cmd: raytapHub(args...), out: &bytes.Buffer{}}}
	e.code.Store(-1)
	e.p.cmd.Stdout, e.p.cmd.Stderr = e.p, e.p
	begun := time.Now()
	if err := e.p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		e.p.cmd.Wait()
		e.took.Store(int64(time.Since(begun)))
		e.code.Store(int64(e.p.cmd.ProcessState.ExitCode()))
	}()
	t.Cleanup(func() { e.p.cmd.Process.Kill() })
	return e
}

// TestCut has a router between a sensor and its hub drop everything without a word, for seconds or minutes, and then carry it again: the
// sensor goes on writing, and afterwards the hub has every row once, soon. A search that is cut, and one that finds the sensor gone, end
// with a word; the hub says that the sensor is silent.
func TestCut(t *testing.T) {
	if testing.Short() {
		t.Skip("has processes of its own, and no goroutines")
	}
	away := 5 * time.Second
	if long {
		away = 3 * time.Minute
	}
	r := nettest.Routed(t)
	dir := t.TempDir()
	program := filepath.Join(dir, "raytap")
	if out, err := exec.Command("go", "build", "-o", program, "../raytap").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const port = "4222"
	data, in, out := filepath.Join(dir, "hub"), filepath.Join(dir, "in"), filepath.Join(dir, "logs")
	day := filepath.Join(out, time.Now().UTC().AddDate(0, 0, -1).Format("2006-01-02"))
	for _, d := range []string{in, day} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// What a search is busy with for a while.
	var old bytes.Buffer
	for i := range 300000 {
		fmt.Fprintf(&old, `{"ts":%d.%06d,"uid":"C%017d","id.orig_h":"10.1.0.1","id.orig_p":1024,"id.resp_h":"10.1.0.2","id.resp_p":80,"method":"GET","host":"shop.example","uri":"/%d"}`+"\n", time.Now().Add(-24*time.Hour).Unix(), i, i, i)
	}
	if err := os.WriteFile(filepath.Join(day, "http.00:00:00-23:59:59.log"), old.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	url := "tls://" + net.JoinHostPort(r.B, port)
	mustRun(t, "enroll", "node-1", "--data", data, "--url", url, "-o", filepath.Join(dir, "node-1.creds"))
	var p *process
	r.InB(func() {
		p = begin(t, "--data", data, "--listen", "0.0.0.0:"+port, "--url", url, "--stream-size", "500MB", "--silent", "1m")
	})
	p.ready(t)
	conf := "sensor: {name: node-1}\npublish: {creds: node-1.creds, logs: [dns, conn]}\nanswer: {rows: 0, cpu: 10, time: 10m}\n"
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	stop := feed(t, in)
	s := &process{cmd: exec.Command(program, "watch", "in", "--config", "r.yaml", "--out", "logs", "--quiet"), out: &bytes.Buffer{}}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, s, s
	r.InA(func() {
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the sensor: %.5000s", s.text())
		}
	})
	there := func() map[string]uint64 {
		_, refused, all := rows(t, data)
		if refused > 0 {
			t.Fatalf("rows were refused: %+v", all)
		}
		for i := range all {
			if all[i].Name == "node-1" {
				return all[i].Logs
			}
		}
		return nil
	}
	until(t, "rows", func() bool { return there()["dns"] > 60 })

	var cut *ending
	r.InB(func() {
		cut = sideways(t, "search", "--data", data, "--log", "http", "--host", "10.1.0.1", "--sensor", "node-1")
	})
	until(t, "a search that is under way", func() bool { return strings.Contains(cut.p.text(), "shop.example") || cut.code.Load() >= 0 })
	r.Cut()
	begun := time.Now()
	time.Sleep(time.Second) // what is on its way
	before, written := there(), logged(t, out, "dns")["dns"]
	if cut.code.Load() >= 0 {
		t.Errorf("the search was over before the cut: %.2000s", cut.p.text())
	}
	var late *ending
	r.InB(func() {
		late = sideways(t, "search", "--data", data, "--log", "http", "--host", "10.1.0.1", "--sensor", "node-1")
	})
	until(t, "the end of a search of a sensor that is cut off", func() bool { return late.code.Load() >= 0 })
	if !strings.Contains(late.p.text(), "node-1: it does not answer") || late.code.Load() == 0 || time.Duration(late.took.Load()) > time.Minute {
		t.Errorf("%v: %.2000s", time.Duration(late.took.Load()), late.p.text())
	}
	if long {
		until(t, "sensor/silent", func() bool { return open(t, data, hub.RuleSilent) })
		t.Logf("silent after %s", time.Since(begun).Round(time.Second))
	}
	time.Sleep(time.Until(begun.Add(away)))
	if now := there(); now["dns"] != before["dns"] {
		t.Fatalf("it was not cut off: %v, and then %v", before, now)
	}
	if n := logged(t, out, "dns")["dns"]; n < written+uint64(50*away.Seconds())/2 {
		t.Errorf("the sensor wrote %d rows before, and %d by the end of the cut", written, n)
	}
	if long {
		until(t, "the end of the search that was cut", func() bool { return cut.code.Load() >= 0 })
		if !strings.Contains(cut.p.text(), "node-1: it went silent after") || cut.code.Load() == 0 {
			t.Errorf("the search that was cut: %.500s ... %s", cut.p.text(), cut.p.text()[max(0, len(cut.p.text())-500):])
		}
		t.Logf("the search that was cut ended after %s", time.Duration(cut.took.Load()).Round(time.Second))
	}

	r.Mend()
	mended := time.Now()
	until(t, "rows after the cut", func() bool { return there()["dns"] > before["dns"] })
	first := time.Since(mended)
	behind := logged(t, out, "dns")["dns"]
	until(t, "what was written meanwhile", func() bool { return there()["dns"] >= behind })
	t.Logf("cut for %s: rows come again after %s, and all of the cut are there after %s", mended.Sub(begun).Round(time.Second), first.Round(10*time.Millisecond), time.Since(mended).Round(10*time.Millisecond))
	// Reconnecting takes 5 seconds of waiting and 5 of a try that was under way; a connection that lived on, the pings of both ends.
	if most := time.Duration(fleet.MaxPings+1)*fleet.PingEvery + 15*time.Second; first > most {
		t.Errorf("rows came again after %s only", first)
	}
	if long {
		until(t, "the sensor to be heard again", func() bool { return !open(t, data, hub.RuleSilent) })
	}
	stop()
	time.Sleep(time.Second)
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	want := logged(t, out, "dns", "conn", "notice", "incidents", "assets", "stats", "observations")
	sum := func(all map[string]uint64) (n uint64) {
		for log, k := range all {
			if log != fleet.LogStatus {
				n += k
			}
		}
		return n
	}
	until(t, fmt.Sprint(want), func() bool { return sum(there()) >= sum(want) })
	got := there()
	for log, n := range want {
		if got[log] != n {
			t.Errorf("%s.log has %d rows, the hub has %d", log, n, got[log])
		}
	}
	if want["dns"] < 300 {
		t.Errorf("%v", want)
	}
}

// open reports whether a finding of a rule about node-1 is open.
func open(t *testing.T, dir, rule string) bool {
	t.Helper()
	return strings.Contains(mustRun(t, "findings", "--data", dir, "--rule", rule, "--state", "open"), "node-1")
}
