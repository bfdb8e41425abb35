package main

import (
	"encoding/binary"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// record captures from v1 as tcpdump does by default, with the kernel's time stamps in microseconds, until what it
// returns is called; that gives the capture.
func recordBeside(t *testing.T) (stop func() []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	if err != nil {
		t.Fatal(err)
	}
	i, err := net.InterfaceByName("v1")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: i.Index}); err != nil {
		t.Fatal(err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000})
	quit, done := make(chan struct{}), make(chan []byte)
	go func() {
		b := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
		b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
		frame, control := make([]byte, 64<<10), make([]byte, 256)
		for {
			n, cn, _, _, err := unix.Recvmsg(fd, frame, control, 0)
			if err != nil {
				select {
				case <-quit:
					unix.Close(fd)
					done <- b
					return
				default:
					continue
				}
			}
			messages, _ := unix.ParseSocketControlMessage(control[:cn])
			for _, m := range messages {
				if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMP {
					sec, us := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
					for _, v := range []uint32{uint32(sec), uint32(us), uint32(n), uint32(n)} {
						b = binary.LittleEndian.AppendUint32(b, v)
					}
					b = append(b, frame[:n]...)
				}
			}
		}
	}()
	return func() []byte {
		close(quit)
		return <-done
	}
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// TestSensorBesideACapture: a sensor has nanoseconds, and whoever captures beside it has not; what the sensor found is in
// the capture under the same names, and its packets can be taken out.
func TestSensorBesideACapture(t *testing.T) {
	isolated(t)
	names := []string{"shadowray", "attack-scan", "attack-job-payload", "attack-client", "mining-btc"}
	if testing.Short() {
		names = names[:1]
	}
	for _, name := range names {
		f, err := os.Open("../../pcaps/" + name + ".pcap.gz")
		if err != nil {
			t.Fatal(err)
		}
		all, _ := frames(t, name, f)
		f.Close()
		dir := t.TempDir()
		stop := recordBeside(t)
		s := start(t, dir, nil, "-i", "v1")
		out := newWire(t)
		for i, b := range all {
			if out.send(b); i%10 == 9 {
				time.Sleep(time.Millisecond)
			}
		}
		printed := ""
		if name == "shadowray" { // while it runs, the id is on the screen, and takes the packets out
			line := s.wait(s.out, "[jobsubmit/external, R")
			_, id, _ := strings.Cut(line, "[jobsubmit/external, ")
			printed, _, _ = strings.Cut(id, ",")
		}
		time.Sleep(300 * time.Millisecond)
		s.stop()
		file := filepath.Join(dir, "beside.pcap")
		if err := os.WriteFile(file, stop(), 0o600); err != nil {
			t.Fatal(err)
		}
		invoke(t, dir, nil, "replay", "--quiet", "--format", "json", "--out", "again", file)
		// Flows that the end of a run ends come in an order that the key of the flow table decides, and a sensor's is random. How
		// often a scan is told of again depends on that order, and whether it was said as low before it was medium.
		column := func(rows []string, name string) (all []string) {
			for _, row := range rows {
				var x map[string]any
				if err := json.Unmarshal([]byte(row), &x); err != nil {
					t.Fatal(err)
				}
				if x["rule"] == "scan/hosts" && x["severity"] == "low" {
					continue
				}
				if v, _ := x[name].(string); v != "" {
					all = append(all, v)
				}
			}
			slices.Sort(all)
			return all
		}
		for log, key := range map[string]string{"notice": "finding_id", "conn": "uid", "incidents": "incident_id", "files": "fuid"} {
			live, later := column(archived(t, dir, log), key), column(rows(t, filepath.Join(dir, "again", log+".log")), key)
			if log == "incidents" || log == "notice" { // a row each time that there is news
				live, later = slices.Compact(live), slices.Compact(later)
			}
			if !slices.Equal(live, later) || log == "notice" && len(live) == 0 {
				t.Errorf("%s: %s: the sensor has\n  %q\nthe capture beside it\n  %q", name, log, live, later)
				t.Logf("rows of the sensor\n%s\nof the capture\n%s", strings.Join(archived(t, dir, log), "\n"), strings.Join(rows(t, filepath.Join(dir, "again", log+".log")), "\n"))
				t.Logf("the sensor said\n%s", s.said())
			}
		}
		for _, id := range slices.Compact(column(archived(t, dir, "notice"), "finding_id")) {
			invoke(t, dir, nil, "extract", "-o", "x.pcapng", "--finding", id, file).expect(t, 0, " packets", "")
			invoke(t, dir, nil, "extract", "-o", "x.pcapng", "--logs", "logs", "--finding", id, file).expect(t, 0, " packets", "")
		}
		if name == "shadowray" {
			invoke(t, dir, nil, "extract", "-o", "x.pcapng", "--finding", printed, file).expect(t, 0, "x.pcapng: 10 packets", "")
			invoke(t, dir, nil, "replay", "--quiet", "--format", "json", "--out", "x", "x.pcapng").expect(t, 0, "", "")
			if ids := column(rows(t, filepath.Join(dir, "x", "notice.log")), "finding_id"); !slices.Contains(ids, printed) {
				t.Errorf("what was extracted has %q, not %s", ids, printed)
			}
		}
	}
}
