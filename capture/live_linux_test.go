package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/raytap/raytap/capture/nettest"
)

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// cable makes a pair of interfaces, both up.
func cable(t *testing.T, a, b string) {
	t.Helper()
	ip(t, "link", "add", a, "mtu", "9000", "type", "veth", "peer", "name", b, "mtu", "9000")
	ip(t, "link", "set", a, "up")
	ip(t, "link", "set", b, "up")
	running(t, a)
	running(t, b)
}

// running waits until an interface that is up carries packets: the kernel sees to that later, and drops until then.
func running(t *testing.T, name string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for {
		q, _ := unix.NewIfreq(name)
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, q); err != nil {
			t.Fatal(err)
		}
		if q.Uint16()&unix.IFF_RUNNING != 0 {
			time.Sleep(20 * time.Millisecond) // the queue is opened right behind the flag
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// sender puts frames on an interface.
type sender struct {
	t  *testing.T
	fd int
	to unix.SockaddrLinklayer
}

func newSender(t *testing.T, name string) *sender {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	q, _ := unix.NewIfreq(name)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, q); err != nil {
		t.Fatal(err)
	}
	return &sender{t, fd, unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: int(q.Uint32()), Halen: 6}}
}

func (s *sender) send(frame []byte) {
	s.t.Helper()
	if err := unix.Sendto(s.fd, frame, 0, &s.to); err != nil {
		s.t.Fatal(err)
	}
}

// numbered is a UDP frame that says its number.
func numbered(n int) []byte {
	b := make([]byte, 60)
	copy(b, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x30, 0x39, 0, 53, 0, 26})
	binary.BigEndian.PutUint32(b[42:], uint32(n))
	return b
}

func numberOf(b []byte) int { return int(binary.BigEndian.Uint32(b[42:])) }

// until reads batches until done says so, or nothing came for longer than anything here takes.
func until(t *testing.T, src LiveSource, done func(b *Batch) bool) {
	t.Helper()
	var b Batch
	defer b.Release()
	for idle := 0; idle < 300; {
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
		if done(&b) {
			return
		}
		if len(b.Frames) == 0 {
			idle++
		}
	}
	t.Fatal("nothing more comes")
}

func openLive(t *testing.T, cfg LiveConfig) (LiveSource, *[]string) {
	t.Helper()
	var said []string
	cfg.Notice = func(s string) { said = append(said, s) }
	if cfg.Ring == 0 {
		cfg.Ring = 8 << 20
	}
	src, err := OpenLive(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src, &said
}

func TestLiveFramesStayWhileTheBatchIsOut(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Block: 128 << 10, Ring: 1 << 20})
	to := newSender(t, "v0")
	// Batches are kept, as the engine keeps those on their way; what they show must not change while the kernel fills
	// the rest of the ring, and all of it comes, in order.
	const frames = 20000
	var out []*Batch
	sent, next := 0, 0
	for next < frames {
		for ; sent < frames && sent < next+200; sent++ { // a receiving CPU takes no more than 1000 at a time
			to.send(numbered(sent))
		}
		b := &Batch{}
		if len(out) == 4 {
			b, out = out[0], out[1:]
			for i := range b.Frames {
				if n := numberOf(b.Frames[i].Data); n != int(b.Frames[i].Ordinal)-1 {
					t.Fatalf("frame %d reads as %d when its batch is done", b.Frames[i].Ordinal-1, n)
				}
			}
		}
		if err := src.ReadBatch(b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames {
			f := &b.Frames[i]
			if n := numberOf(f.Data); n != next || f.WireLen != 60 || f.Link != linkEthernet || f.Ordinal != uint64(next+1) {
				t.Fatalf("frame %d: %d, ordinal %d, length %d, link %d", next, n, f.Ordinal, f.WireLen, f.Link)
			}
			if d := time.Since(f.Time.Std()); d < 0 || d > time.Hour {
				t.Fatalf("frame %d is %v old", next, d)
			}
			next++
		}
		out = append(out, b)
	}
	src.Stop()
	var b Batch
	for {
		err := src.ReadBatch(&b)
		if err == io.EOF {
			break
		}
		if err != nil || len(b.Frames) > 0 {
			t.Fatalf("%d frames too many, %v", len(b.Frames), err)
		}
	}
	if b.Live.Received != frames || b.Live.Dropped != 0 {
		t.Errorf("%+v", b.Live)
	}
	for _, b := range out {
		b.Release()
	}
}

func TestLiveFullRingIsCounted(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Block: 128 << 10, Ring: 512 << 10})
	to := newSender(t, "v0")
	const frames = 20000 // three times what the ring holds
	for i := range frames {
		to.send(numbered(i))
	}
	got, last, fill := uint64(0), -1, 0
	until(t, src, func(b *Batch) bool {
		fill = max(fill, b.Fill)
		for i := range b.Frames {
			if n := numberOf(b.Frames[i].Data); n <= last {
				t.Fatalf("frame %d behind %d", n, last)
			} else {
				last = n
			}
			got++
		}
		return len(b.Frames) == 0 && b.Live.Received == frames
	})
	var b Batch
	src.ReadBatch(&b)
	if s := b.Live; s.Dropped == 0 || s.Freezes == 0 || got+s.Dropped != frames {
		t.Errorf("%d frames came, %+v", got, s)
	}
	if fill < 75 {
		t.Errorf("the ring was filled to %d%% at most", fill)
	}
}

func TestLiveTagGoesBack(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	tagged := slices.Insert(numbered(7), 12, 0x81, 0, 0x20, 42)
	double := slices.Insert(numbered(8), 12, 0x88, 0xa8, 0, 5, 0x81, 0, 0, 6)
	other := numbered(9)
	other[37] = 54 // another port
	for _, c := range []struct {
		filter string
		want   [][]byte
	}{
		{"", [][]byte{tagged, double, other, numbered(1)}},
		// In the kernel what has a tag passes; what has none is filtered.
		{"port 53", [][]byte{tagged, double, numbered(1)}},
		{"vlan and port 53", [][]byte{tagged, double}},
	} {
		src, said := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Filter: c.filter})
		to := newSender(t, "v0")
		for _, f := range [][]byte{tagged, double, other, numbered(1)} {
			to.send(f)
		}
		var got [][]byte
		idle := 0
		until(t, src, func(b *Batch) bool {
			for i := range b.Frames {
				f := &b.Frames[i]
				if f.WireLen != len(f.Data) {
					t.Errorf("%q: length %d on the wire, %d here", c.filter, f.WireLen, len(f.Data))
				}
				got = append(got, bytes.Clone(f.Data))
			}
			if len(b.Frames) == 0 {
				idle++
			}
			return len(got) >= len(c.want) && idle > 0
		})
		if !slices.EqualFunc(got, c.want, bytes.Equal) {
			t.Errorf("%q:\ngot  %x\nwant %x", c.filter, got, c.want)
		}
		if text := strings.Join(*said, "\n"); strings.Contains(text, "filter") {
			t.Errorf("%q: %s", c.filter, text)
		}
		src.Close()
	}
}

// verify marks what leaves by an interface as a network card marks what it has found right: by a program of four
// instructions behind its queue (BPF_PROG_LOAD and BPF_LINK_CREATE, include/uapi/linux/bpf.h).
func verify(t *testing.T, name string) {
	t.Helper()
	at, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	call := func(cmd uintptr, attr unsafe.Pointer, size uintptr) int {
		fd, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		if errno != 0 {
			t.Skip("this kernel takes no program for an interface: ", errno)
		}
		t.Cleanup(func() { unix.Close(int(fd)) })
		return int(fd)
	}
	code := []uint64{
		unix.BPF_CSUM_LEVEL_INC<<32 | 0x2b7, // r2 = BPF_CSUM_LEVEL_INC
		135<<32 | 0x85,                      // call bpf_csum_level
		0xffffffff<<32 | 0xb7,               // r0 = TCX_NEXT
		0x95,                                // exit
	}
	license := []byte("GPL\x00")
	load := struct {
		kind, count   uint32
		code, license *byte
		_             [3]uint64
		_             [4]uint32
		_, attach     uint32
	}{kind: unix.BPF_PROG_TYPE_SCHED_CLS, count: uint32(len(code)), code: (*byte)(unsafe.Pointer(&code[0])), license: &license[0], attach: unix.BPF_TCX_EGRESS}
	program := call(unix.BPF_PROG_LOAD, unsafe.Pointer(&load), unsafe.Sizeof(load))
	link := struct {
		program, target, attach uint32
		_                       [9]uint32
	}{program: uint32(program), target: uint32(at.Index), attach: unix.BPF_TCX_EGRESS}
	call(unix.BPF_LINK_CREATE, unsafe.Pointer(&link), unsafe.Sizeof(link))
}

func TestLiveVerified(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Filter: "udp"})
	to := newSender(t, "v0")
	to.send(numbered(1))
	verify(t, "v0")
	to.send(numbered(2))
	n := 0
	until(t, src, func(b *Batch) bool {
		for i := range b.Frames {
			f := &b.Frames[i]
			if n++; f.Verified != (numberOf(f.Data) == 2) || f.NoChecksum {
				t.Errorf("frame %d: verified %v, without a checksum %v", numberOf(f.Data), f.Verified, f.NoChecksum)
			}
		}
		return n == 2
	})
}

func TestLiveSnapLength(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1"}, SnapLen: 50, Filter: "udp"})
	newSender(t, "v0").send(numbered(1))
	until(t, src, func(b *Batch) bool {
		if len(b.Frames) == 0 {
			return false
		}
		if f := b.Frames[0]; len(f.Data) != 50 || f.WireLen != 60 || b.Live.Snapped != 1 {
			t.Errorf("%d of %d bytes, %d cut", len(f.Data), f.WireLen, b.Live.Snapped)
		}
		return true
	})
}

// TestLiveLinks: a link that goes down and up, an interface that is removed and made again, and another MTU cost what was
// on the wire meanwhile and nothing else.
func TestLiveLinks(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	cable(t, "w0", "w1")
	src, said := openLive(t, LiveConfig{Interfaces: []string{"v1", "w1"}})
	seen := map[int]bool{}
	at := 0
	pass := func() {
		t.Helper()
		at++
		// The sender's interface may not be ready at once: what is not seen is sent again.
		until(t, src, func(b *Batch) bool {
			for i := range b.Frames {
				if n := len(b.Frames[i].Data); n == 60 || n == 3000 {
					seen[numberOf(b.Frames[i].Data)] = true
				}
			}
			if !seen[at] && len(b.Frames) == 0 {
				newSender(t, "v0").send(numbered(at))
			}
			return seen[at]
		})
	}
	down := func(n int) {
		t.Helper()
		until(t, src, func(b *Batch) bool { return b.Live.Down == n })
	}
	down(0)
	pass()
	ip(t, "link", "set", "v1", "down")
	down(1)
	ip(t, "link", "set", "v1", "up")
	down(0)
	pass()
	ip(t, "link", "del", "v1")
	down(1)
	newSender(t, "w0").send(numbered(99)) // the other goes on
	until(t, src, func(b *Batch) bool {
		for i := range b.Frames {
			seen[numberOf(b.Frames[i].Data)] = true
		}
		return seen[99]
	})
	cable(t, "v0", "v1")
	down(0)
	pass()
	ip(t, "link", "set", "v0", "mtu", "1400")
	ip(t, "link", "set", "v1", "mtu", "1400")
	pass()
	ip(t, "link", "set", "v0", "mtu", "9000")
	ip(t, "link", "set", "v1", "mtu", "9000")
	at++
	newSender(t, "v0").send(append(numbered(at), make([]byte, 2940)...))
	until(t, src, func(b *Batch) bool {
		for i := range b.Frames {
			if len(b.Frames[i].Data) == 3000 {
				return true
			}
		}
		return false
	})
	var b Batch
	src.ReadBatch(&b)
	if s := b.Live; s.LinkLost < 2 || s.Reopened != 1 || s.Links != 2 {
		t.Errorf("%+v", s)
	}
	text := strings.Join(*said, "\n")
	for _, want := range []string{"the link of v1 is down", "the link of v1 is up again", "interface v1 is gone", "interface v1 is back"} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %q in\n%s", want, text)
		}
	}
}

// TestLiveMerge: a tap has a port for each direction; their frames come out in order of time.
func TestLiveMerge(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	cable(t, "w0", "w1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1", "w1"}})
	merges(t, src, newSender(t, "v0"), newSender(t, "w0"))
}

// TestLiveMergeMany is TestLiveMerge with more rings than are compared one by one.
func TestLiveMergeMany(t *testing.T) {
	nettest.Isolate(t)
	var to []*sender
	for i := range fewRings + 4 {
		cable(t, "s"+strconv.Itoa(i), "r"+strconv.Itoa(i))
		to = append(to, newSender(t, "s"+strconv.Itoa(i)))
	}
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"r*"}})
	merges(t, src, to...)
}

// softnet is how many frames the kernel dropped before any socket, because a processor had too many to look at.
func softnet(t *testing.T) (n uint64) {
	t.Helper()
	b, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		v, err := strconv.ParseUint(strings.Fields(line)[1], 16, 64)
		if err != nil {
			t.Fatal(err)
		}
		n += v
	}
	return n
}

// merges sends frames in turn, and holds src to giving each once and nearly all in order.
func merges(t *testing.T, src LiveSource, to ...*sender) {
	t.Helper()
	const frames = 3000
	sent := make(chan struct{})
	before := softnet(t)
	go func() {
		defer close(sent)
		for i := range frames {
			to[i%len(to)].send(numbered(i))
			if i%100 == 0 {
				time.Sleep(3 * time.Millisecond) // blocks of both end at other places
			}
		}
	}()
	next, late := 0, 0
	missing := make(map[int]bool, frames)
	for n := range frames {
		missing[n] = true
	}
	defer func() {
		if t.Failed() {
			t.Logf("missing: %v; %+v; the kernel's backlog was full %d times", missing,
				src.(interface{ Interfaces() []Interface }).Interfaces(), softnet(t)-before)
		}
	}()
	until(t, src, func(b *Batch) bool {
		for i := range b.Frames {
			n := numberOf(b.Frames[i].Data)
			if !missing[n] {
				t.Fatalf("frame %d twice", n)
			}
			if delete(missing, n); n != next {
				late++
			}
			next = n + 1
		}
		select {
		case <-sent: // on a machine that is very busy not all of it comes as far as a socket
			return len(missing) == 0 || len(b.Frames) == 0 && uint64(len(missing)) <= softnet(t)-before
		default:
			return false
		}
	})
	// A machine that stands still for longer than the window may put frames out of order, never lose them.
	if late > frames/100 {
		t.Errorf("%d of %d frames out of order", late, frames)
	}
}

// TestLiveWaitsAsleep: as long as a batch is out the kernel says that there is something to read, and waiting for more takes
// no processor all the same.
func TestLiveWaitsAsleep(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1"}})
	var out Batch
	defer out.Release()
	for len(out.Frames) == 0 {
		newSender(t, "v0").send(numbered(1))
		if err := src.ReadBatch(&out); err != nil {
			t.Fatal(err)
		}
	}
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	var b Batch
	defer b.Release()
	begin, before := time.Now(), used()
	for range 5 {
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
	}
	if cpu, wall := used()-before, time.Since(begin); wall > 2*liveWait && cpu > wall/4 {
		t.Errorf("%v of the processor in %v", cpu, wall)
	}
}

func TestLiveClockGoesOn(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"v1"}})
	var first Time
	until(t, src, func(b *Batch) bool {
		if first == 0 {
			first = b.Clock
		}
		return b.Clock > first && len(b.Frames) == 0
	})
}

// TestLiveClockIsSet: set back, time begins anew and frames go on; set forward, nothing is to be done.
func TestLiveClockIsSet(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, said := openLive(t, LiveConfig{Interfaces: []string{"v1"}})
	l := src.(*live)
	step := time.Duration(0)
	was := l.wall
	l.wall = func() time.Duration { return was() + step }
	for _, c := range []struct {
		step time.Duration
		err  error
		say  string
	}{
		{time.Hour, nil, "the clock was set by 1h0m0s"},
		{time.Hour - time.Second, nil, ""}, // slewing is slower
		{-time.Minute, ErrClockStep, "the clock was set by -1h0m59s"},
	} {
		step = c.step
		*said = nil
		var b Batch
		var err error
		for checked := l.checked; checked == l.checked && err == nil; {
			err = src.ReadBatch(&b)
		}
		if err != c.err {
			t.Errorf("%v: %v", c.step, err)
		}
		if text := strings.Join(*said, "\n"); c.say != "" && !strings.Contains(text, c.say) || c.say == "" && strings.Contains(text, "clock") {
			t.Errorf("%v: told %q", c.step, text)
		}
	}
	newSender(t, "v0").send(numbered(1))
	until(t, src, func(b *Batch) bool { return len(b.Frames) > 0 })
}

func TestLiveSaysWhatIsWrong(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	for _, c := range []struct {
		cfg  LiveConfig
		want string
	}{
		{LiveConfig{}, "no interface"},
		{LiveConfig{Interfaces: []string{"nope0"}}, "interface nope0: cannot be found: no such device"},
		{LiveConfig{Interfaces: []string{"v1"}, Filter: "port"}, "filter"},
		{LiveConfig{Interfaces: []string{"v1"}, Filter: "gateway 10.0.0.1"}, "filter"},
		{LiveConfig{Interfaces: []string{"v1"}, Block: 1000}, "power of two"},
	} {
		src, err := OpenLive(c.cfg)
		if err == nil {
			src.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
	if _, up := linkOf(unix.ARPHRD_INFINIBAND); up {
		t.Error("InfiniBand is taken for something")
	}
}

// TestKernelFilterAgainstTcpdump compares the verdicts of our programs with those of tcpdump -ddd, on frames of many
// kinds. Cut frames are left out: what an expression says of a byte that is missing depends on the order in which its
// program looks, and libpcap's optimiser has an order of its own.
func TestKernelFilterAgainstTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("no tcpdump: ", err)
	}
	frames := filterFrames()
	for _, name := range []string{"shadowray", "attack-scan", "egress-dns", "benign-ray-client"} {
		src, err := OpenFile("../pcaps/" + name + ".pcap.gz")
		if err != nil {
			t.Fatal(err)
		}
		var b Batch
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames[:min(len(b.Frames), 1000)] {
			frames = append(frames, bytes.Clone(b.Frames[i].Data))
		}
		src.Close()
	}
	for _, c := range filterGolden {
		out, err := exec.Command("tcpdump", "-ddd", "-y", "EN10MB", c.expr).Output()
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		theirs := machine(t, string(out))
		prog, err := kernelFilter(c.expr, linkEthernet, 1000)
		if err != nil {
			t.Fatal(err)
		}
		// Behind the test for a tag beside the frame, which only the kernel knows.
		var ours []bpf.RawInstruction
		for _, i := range prog[3:] {
			ours = append(ours, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
		}
		vm := assembled(t, ours)
		for i, f := range frames {
			a, err1 := vm.Run(f)
			b, err2 := theirs.Run(f)
			if err1 != nil || err2 != nil || (a != 0) != (b != 0) || a != 0 && a != 1000 {
				t.Errorf("%s: frame %d (%d bytes): %d (%v), tcpdump %d (%v)", c.expr, i, len(f), a, err1, b, err2)
				break
			}
		}
	}
}

// machine reads a program as tcpdump -ddd prints it.
func machine(t *testing.T, text string) *bpf.VM {
	t.Helper()
	var code []bpf.RawInstruction
	for _, line := range strings.Split(strings.TrimSpace(text), "\n")[1:] {
		var n [4]uint64
		for i, s := range strings.Fields(line) {
			n[i], _ = strconv.ParseUint(s, 10, 32)
		}
		code = append(code, bpf.RawInstruction{Op: uint16(n[0]), Jt: uint8(n[1]), Jf: uint8(n[2]), K: uint32(n[3])})
	}
	return assembled(t, code)
}

func assembled(t *testing.T, code []bpf.RawInstruction) *bpf.VM {
	t.Helper()
	all, ok := bpf.Disassemble(code)
	if !ok {
		t.Fatal("an instruction that is not known")
	}
	vm, err := bpf.NewVM(all)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// TestJoinedCaptures: a header in the middle is one, not a frame of the year 2055.
func TestJoinedCaptures(t *testing.T) {
	w := pcapWriter{magic: 0xa1b2c3d4, link: linkEthernet}
	w.frames = []Frame{{Time: 1700000000e9, Data: numbered(1), WireLen: 60}}
	one := w.bytes()
	src, err := NewFile("joined", bytes.NewReader(slices.Concat(one, one, one)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var b Batch
	for err == nil {
		err = src.ReadBatch(&b)
		for _, f := range b.Frames {
			if n++; f.Time != 1700000000e9 || len(f.Data) != 60 {
				t.Errorf("frame %d: %v, %d bytes", n, f.Time, len(f.Data))
			}
		}
	}
	if n != 3 || err != io.EOF {
		t.Errorf("%d frames, %v", n, err)
	}
}

// TestPipeOutlivesItsWriters: each writer of a named pipe brings a header of its own; a damaged one costs itself.
func TestPipeOutlivesItsWriters(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip("no named pipes: ", err)
	}
	told := make(chan string, 100)
	src, err := FollowPipe(name, func(s string) { told <- s })
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	write := func(b []byte) {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		f.Write(b)
		f.Close()
	}
	capture := func(n int, at Time) []byte {
		w := pcapWriter{magic: 0xa1b2c3d4, link: linkEthernet}
		w.frames = []Frame{{Time: at, Data: numbered(n), WireLen: 60}}
		return w.bytes()
	}
	go func() {
		write(capture(1, 1700000000e9))
		<-told
		write([]byte("this is no capture at all, whoever wrote it"))
		<-told
		write(capture(2, 1700000001e9))
	}()
	next := 1
	until(t, src, func(b *Batch) bool {
		for i := range b.Frames {
			if n := numberOf(b.Frames[i].Data); n != next || b.Frames[i].Ordinal != uint64(next) {
				t.Fatalf("frame %d, ordinal %d, want %d", n, b.Frames[i].Ordinal, next)
			}
			next++
		}
		return next == 3
	})
	// Another machine, whose clock is behind, and perhaps before the last writer is known to be gone: that is told
	// before its frames come.
	go write(capture(3, 1600000000e9))
	var b Batch
	for err == nil {
		err = src.ReadBatch(&b)
	}
	if err != ErrClockStep {
		t.Fatal(err)
	}
	err = nil
	until(t, src, func(b *Batch) bool { return len(b.Frames) > 0 })
	// Nothing comes, and still it gets later.
	until(t, src, func(b *Batch) bool { return b.Clock > 1600000000e9 })
	src.Stop()
	for err == nil {
		err = src.ReadBatch(&b)
	}
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if b.Live.Received != 3 || b.Live.Reopened == 0 || b.Live.LinkLost < 2 {
		t.Errorf("%+v", b.Live)
	}
}

// TestPipeLosesNoWriter: writers that come and go between two looks at the pipe are read, too.
func TestPipeLosesNoWriter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip("no named pipes: ", err)
	}
	src, err := FollowPipe(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	const writers = 2000
	go func() {
		for n := range writers {
			w := pcapWriter{magic: 0xa1b2c3d4, link: linkEthernet}
			w.frames = []Frame{{Time: 1700000000e9, Data: numbered(n), WireLen: 60}}
			if err := os.WriteFile(name, w.bytes(), 0); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var b Batch
	for next, since := 0, time.Now(); next < writers; {
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Frames {
			if n := numberOf(b.Frames[i].Data); n != next {
				t.Fatalf("frame %d, want %d", n, next)
			}
			next, since = next+1, time.Now()
		}
		if time.Since(since) > time.Minute {
			t.Fatalf("nothing more comes after frame %d", next)
		}
	}
}

// spoken is a numbered frame of one of many flows, either way.
func spoken(n, flow int, back bool) []byte {
	b := numbered(n)
	b[28], b[29] = 10, byte(flow)
	binary.BigEndian.PutUint16(b[34:], uint16(2000+flow))
	if back {
		src, port := [4]byte(b[26:30]), [2]byte(b[34:36])
		copy(b[26:30], b[30:34])
		copy(b[30:34], src[:])
		copy(b[34:36], b[36:38])
		copy(b[36:38], port[:])
	}
	return b
}

// TestLiveSeveralRings: the kernel deals flows to the rings of an interface, both directions to the same, and what comes
// out is in order, whenever the interface came up.
func TestLiveSeveralRings(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	ip(t, "link", "set", "v1", "down")
	src, said := openLive(t, LiveConfig{Interfaces: []string{"v1"}, Filter: "udp", Rings: 4})
	l := src.(*live)
	up := func() {
		t.Helper()
		ip(t, "link", "set", "v0", "up")
		ip(t, "link", "set", "v1", "up")
		running(t, "v1")
		until(t, src, func(b *Batch) bool { return b.Live.Down == 0 && len(l.rings) == 4 })
	}
	check := func() {
		t.Helper()
		to := newSender(t, "v0")
		const flows, frames = 50, 4000
		where := map[int]*mapping{}
		rings := map[*mapping]bool{}
		sent, next := 0, 0
		until(t, src, func(b *Batch) bool {
			for i := range b.Frames {
				f := &b.Frames[i]
				n := numberOf(f.Data)
				if n != next {
					t.Fatalf("frame %d, want %d", n, next)
				}
				next++
				for _, k := range b.held {
					at := uintptr(unsafe.Pointer(&f.Data[0])) - uintptr(unsafe.Pointer(&k.m.mem[0]))
					if at >= uintptr(len(k.m.mem)) {
						continue
					}
					if m := where[n%flows]; m != nil && m != k.m {
						t.Fatalf("flow %d is in two rings", n%flows)
					}
					where[n%flows], rings[k.m] = k.m, true
				}
			}
			for ; sent < frames && sent < next+200; sent++ {
				to.send(spoken(sent, sent%flows, sent/flows%2 == 1))
			}
			return next == frames
		})
		if len(rings) != 4 || len(where) != flows {
			t.Errorf("%d flows in %d rings", len(where), len(rings))
		}
		if got := l.Interfaces(); len(got) != 1 || !got[0].Up {
			t.Errorf("%+v", got)
		}
	}
	if len(l.rings) != 1 {
		t.Fatalf("%d rings while the link is down", len(l.rings))
	}
	up()
	check()
	ip(t, "link", "del", "v0")
	until(t, src, func(b *Batch) bool { return b.Live.Down == 1 && len(l.rings) == 0 })
	cable(t, "v0", "v1")
	up()
	check()
	if b := new(Batch); src.ReadBatch(b) != nil || b.Live.Received != 8000 || b.Live.Dropped != 0 {
		t.Errorf("%+v", b.Live)
	}
	if s := strings.Join(*said, "; "); strings.Contains(s, "rings") {
		t.Error(s)
	}
}

// TestLiveFewerRings: where no more can be had the first ring serves, and the rest is tried again with the next link.
func TestLiveFewerRings(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	src, said := openLive(t, LiveConfig{Interfaces: []string{"v1"}})
	l := src.(*live)
	l.cfg.Rings = 2
	self := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&self, &caps[0]); err != nil {
		t.Fatal(err)
	}
	without := caps
	without[0].Effective &^= 1 << unix.CAP_NET_RAW
	if err := unix.Capset(&self, &without[0]); err != nil {
		t.Fatal(err)
	}
	l.taps[0].fan()
	if s := strings.Join(*said, "; "); !strings.HasPrefix(s, "v1 has 1 of 2 rings: interface v1: cannot open") || len(l.rings) != 1 {
		t.Errorf("%d rings, said: %s", len(l.rings), s)
	}
	if err := unix.Capset(&self, &caps[0]); err != nil {
		t.Fatal(err)
	}
	ip(t, "link", "set", "v1", "down")
	until(t, src, func(b *Batch) bool { return b.Live.Down == 1 })
	ip(t, "link", "set", "v1", "up")
	until(t, src, func(b *Batch) bool { return b.Live.Down == 0 })
	if len(l.rings) != 2 {
		t.Errorf("%d rings when the link is up again", len(l.rings))
	}
}
