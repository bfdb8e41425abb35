package capture

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/raytap/raytap/capture/nettest"
)

// newTestShunt makes the maps, or skips the test where they may not be made.
func newTestShunt(t *testing.T) *shunt {
	t.Helper()
	s, err := newShunt(func(f string, a ...any) { t.Errorf(f, a...) }, ebpf.NewMap)
	if err != nil {
		t.Skip("no BPF here: ", err)
	}
	t.Cleanup(s.close)
	return s
}

// TestShuntPrograms: the kernel takes the program for every kind of interface and filter.
func TestShuntPrograms(t *testing.T) {
	s := newTestShunt(t)
	for _, link := range []uint16{linkEthernet, linkRaw} {
		for _, xdp := range []bool{false, true} {
			for _, expr := range []string{"", "tcp", "host 10.0.0.1 and not port 22", "ip[ip[0]&0xf*4] > 3 or ip6 or vlan 3 and tcp[2]/ip[3] = 2", "less 100 or ip[2:2] - (ip[0] & 15)*4 > 5"} {
				f, err := CompileFilter(expr, link)
				if err != nil {
					if strings.Contains(expr, "vlan") && link != linkEthernet {
						continue
					}
					t.Fatal(err)
				}
				code := f.Program()
				if expr == "" || xdp {
					code = nil
				}
				p, err := s.load(link, false, xdp, code, 65535)
				if err != nil {
					t.Errorf("link %d, XDP %v, filter %q: %+v", link, xdp, expr, err)
					if v, ok := err.(*ebpf.VerifierError); ok {
						n := max(len(v.Log)-30, 0)
						t.Log(strings.Join(v.Log[n:], "\n"))
					}
					return
				}
				p.Close()
			}
		}
	}
}

// put begins to count a flow that nobody has.
func put(s *shunt, port uint16) (flowKey, uint32, bool) {
	k := flowKey{loPort: port, hiPort: 1, proto: ProtoTCP}
	slot, _, ok := s.Put(&k, &[2]shuntSide{})
	return k, slot, ok
}

// TestShuntFull: a table that is full refuses, and has room again when a flow is taken back.
func TestShuntFull(t *testing.T) {
	s := newTestShunt(t)
	var keys []flowKey
	var slots []uint32
	for i := range shuntSlots + 1 {
		k, slot, ok := put(s, uint16(i))
		if ok != (i < shuntSlots) {
			t.Fatalf("flow %d: %v", i, ok)
		}
		keys, slots = append(keys, k), append(slots, slot)
	}
	var c [2]shuntCounts
	s.Take(&keys[7], slots[7], &c)
	if _, _, ok := put(s, 7); ok {
		t.Error("a slot is used again while a program may be at it")
	}
	s.mu.Lock()
	s.rests[0].until = time.Now().Add(-1)
	s.mu.Unlock()
	if _, slot, ok := put(s, 7); !ok || slot != slots[7] {
		t.Errorf("slot %d, %v", slot, ok)
	}
}

// TestShuntGone: tables that go away are said once, and what was counted can still be read.
func TestShuntGone(t *testing.T) {
	s := newTestShunt(t)
	said := 0
	s.notice = func(string, ...any) { said++ }
	k, slot, _ := put(s, 1)
	*s.long(slot, slotSide+sidePackets) = 5
	s.flows.Close()
	for i := range 3 {
		if _, _, ok := put(s, uint16(2+i)); ok {
			t.Error("a flow is counted by a table that is gone")
		}
	}
	var c [2]shuntCounts
	s.Take(&k, slot, &c)
	if c[0].packets != 5 || said != 1 {
		t.Errorf("%d packets, said %d times", c[0].packets, said)
	}
}

// TestShuntRefused: without the rights, and without memory, a source delivers all packets and says why.
func TestShuntRefused(t *testing.T) {
	for err, want := range map[error]string{unix.EPERM: "CAP_BPF", unix.ENOMEM: "no memory", unix.EINVAL: "Linux 5.8"} {
		if got := shuntRefused(fmt.Errorf("map create: %w", err)); !strings.Contains(got, want) {
			t.Errorf("%v: %s", err, got)
		}
	}
	made := 0
	_, err := newShunt(nil, func(spec *ebpf.MapSpec) (*ebpf.Map, error) {
		if made++; made == 3 {
			return nil, unix.ENOMEM
		}
		return ebpf.NewMap(spec)
	})
	if err == nil {
		t.Error("made without memory")
	}
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	// Neither root's capabilities but the one for packets: as a sensor that was given just that.
	var caps [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &caps[0]); err != nil {
		t.Fatal(err)
	}
	keep := uint32(1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_ADMIN)
	caps[0].Effective, caps[1].Effective = keep, 0
	if err := unix.Capset(&header, &caps[0]); err != nil { // of this thread, which ends with the test
		t.Fatal(err)
	}
	src, said := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Shunt: true})
	if s := src.(Shunter).Shunt(); s != nil {
		t.Skip("the kernel lets everybody load programs")
	}
	if len(*said) != 1 || !strings.Contains((*said)[0], "CAP_BPF") {
		t.Errorf("said %q", *said)
	}
	newSender(t, "v0").send(numbered(1))
	until(t, src, func(b *Batch) bool { return len(b.Frames) > 0 })
}

// TestShuntInterfaceComesBack: the program is at the sockets of an interface that was removed and made again.
func TestShuntInterfaceComesBack(t *testing.T) {
	newTestShunt(t)
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Shunt: true, Mirror: []string{"v1"}})
	ip(t, "link", "del", "v0")
	until(t, src, func(b *Batch) bool { return b.Live.LinkLost > 0 })
	cable(t, "v0", "v1")
	until(t, src, func(b *Batch) bool { return b.Live.Reopened > 0 })
	tap := src.(*live).taps[0]
	if tap.program == nil || tap.xdp == nil {
		t.Errorf("program %v, at the driver %v", tap.program, tap.xdp)
	}
	newSender(t, "v0").send(numbered(1))
	until(t, src, func(b *Batch) bool { return len(b.Frames) > 0 })
}

// TestShuntKilled: a process that is killed leaves nothing attached.
func TestShuntKilled(t *testing.T) {
	if os.Getenv("RAYTAP_SHUNT_CHILD") != "" {
		if _, err := OpenLive(LiveConfig{Interfaces: []string{"v1"}, Ring: 8 << 20, Shunt: true, Mirror: []string{"v1"}}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("ready")
		select {}
	}
	newTestShunt(t)
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	child := exec.Command(os.Args[0], "-test.run", "^TestShuntKilled$")
	child.Env = append(os.Environ(), "RAYTAP_SHUNT_CHILD=1")
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err)
	}
	attached := func() bool {
		b, _ := exec.Command("ip", "-d", "link", "show", "v1").CombinedOutput()
		return strings.Contains(string(b), "xdp")
	}
	if !attached() {
		t.Skip("no XDP here")
	}
	child.Process.Signal(syscall.SIGKILL)
	child.Wait()
	for i := 0; attached(); i++ { // the kernel frees links behind the process
		if i > 6000 {
			t.Fatal("the program is still there")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestMirrorWithAddress: an interface that has an address is no mirror, and nothing is dropped at its driver.
func TestMirrorWithAddress(t *testing.T) {
	newTestShunt(t)
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	ip(t, "addr", "add", "10.9.9.1/24", "dev", "v1")
	src, said := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Shunt: true, Mirror: []string{"v*"}})
	if src.(*live).taps[0].xdp != nil || len(*said) != 1 || !strings.Contains((*said)[0], "10.9.9.1") {
		t.Errorf("said %q", *said)
	}
}

// TestClassicInKernel: the kernel makes of a filter what the filter makes of a frame.
func TestClassicInKernel(t *testing.T) {
	newTestShunt(t)
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	const expr = "ip[2:2] - (ip[0] & 15) * 4 > 25 and udp[8:4] & 3 = 1 and udp[8:4] / 3 < 100"
	f, err := CompileFilter(expr, linkEthernet)
	if err != nil {
		t.Fatal(err)
	}
	src, said := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Shunt: true, Filter: expr})
	if len(*said) > 0 {
		t.Fatal(*said)
	}
	to := newSender(t, "v0")
	var want, got []int
	for n := range 600 {
		if b := numbered(n); f.Match(&Frame{Data: b, WireLen: len(b)}) {
			want = append(want, n)
		}
		to.send(numbered(n))
		if n%50 == 49 {
			time.Sleep(time.Millisecond)
		}
	}
	until(t, src, func(b *Batch) bool {
		for i := range b.Frames {
			got = append(got, numberOf(b.Frames[i].Data))
		}
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
