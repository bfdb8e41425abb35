package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Capture from interfaces by AF_PACKET with a TPACKET_V3 ring (Documentation/networking/packet_mmap.rst): the kernel
// fills blocks of memory that it shares with us, we read frames where they lie and give a block back once the engine is
// done with the batches that point into it. Nothing is copied, and a frame costs no system call.
//
// One goroutine reads all rings, in order of time, and packets are dealt to the workers by flow behind it: dissecting is
// what it is busy with, not reading. So one ring for each interface is enough for us. It may not be for the kernel: where
// a network card has several queues, as many processors put frames into the ring and wait for each other. For that an
// interface can have several (LiveConfig.Rings).

const (
	// Frames of a batch: what is left comes next. What is known of so many stays in the cache from one stage to the next;
	// with 8,192 bulk took an eighth more CPU time.
	maxLiveFrames = 1024
	// A socket that wakes us without frames has its link looked at, so often at the most.
	quietCheck = 10 * time.Millisecond
	// With more rings than these only those are compared that have frames, frame by frame.
	fewRings = 8
	// Blocks that a batch may hold on to.
	maxLiveBlocks = 8
)

// live is a LiveSource over rings.
type live struct {
	cfg     LiveConfig
	taps    []*tap
	rings   []*ring // of all of them
	ctl     int     // a socket to ask about interfaces by
	stop    atomic.Bool
	stopped time.Time
	checked time.Time // when the links were looked at
	asked   time.Time // when the kernel's counts were
	stats   LiveStats
	count   uint64
	events  *os.File // an epoll descriptor over the rings
	wake    syscall.RawConn
	wall    func() time.Duration // the clock that frames are stamped by, less one that nobody sets
	offset  time.Duration        // what it was

	shunt  *shunt  // nil: nothing is shunted
	choice *choice // nil: all interfaces are named
	active []*ring // room for fill

	mu sync.Mutex // over taps and what they told
}

// OpenLive captures from interfaces. It needs the right to do so (CAP_NET_RAW), then and whenever an interface comes back
// that was removed. The kernel applies the filter to what has no VLAN tag, and lets what has one pass: a tag stands
// beside the frame there, and is put where it was only when we read it. So the filter must be applied to the frames
// again, as the engine does.
func OpenLive(cfg LiveConfig) (LiveSource, error) {
	sel, err := selectInterfaces(cfg.Interfaces)
	if err != nil {
		return nil, err
	}
	if cfg.Block == 0 {
		cfg.Block = DefaultBlock
	}
	if cfg.Ring == 0 {
		cfg.Ring = DefaultRing
	}
	if cfg.SnapLen <= 0 || cfg.SnapLen > maxJumbo {
		cfg.SnapLen = maxJumbo
	}
	if cfg.Block < unix.Getpagesize() || cfg.Block&(cfg.Block-1) != 0 || cfg.Ring > maxRing {
		return nil, fmt.Errorf("capture: a ring of %d bytes in blocks of %d: blocks are a power of two from %d on, rings up to %d", cfg.Ring, cfg.Block, unix.Getpagesize(), maxRing)
	}
	cfg.Ring = max(cfg.Ring, minBlocks*cfg.Block)
	ctl, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	l := &live{cfg: cfg, ctl: ctl, checked: time.Now()}
	if err := l.listen(); err != nil {
		unix.Close(ctl)
		return nil, fmt.Errorf("capture: %w", err)
	}
	begin := time.Now()
	l.wall = func() time.Duration { return time.Duration(time.Now().UnixNano()) - time.Since(begin) }
	l.offset = l.wall()
	if cfg.Shunt {
		if l.shunt, err = newShunt(l.notice, ebpf.NewMap); err != nil {
			l.notice("flows cannot be counted in the kernel (%s): all packets are delivered", shuntRefused(err))
		} else {
			l.shunt.hardware = cfg.Hardware
		}
	}
	for _, name := range sel.names {
		t := &tap{l: l, name: name, size: cfg.Ring, told: Interface{Name: name}}
		l.taps = append(l.taps, t)
		if err := t.open(); err != nil {
			l.Close()
			return nil, err
		}
	}
	if sel.open() {
		if l.choice, err = newChoice(l, sel); err == nil {
			err = l.choice.look(true)
		}
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("capture: interfaces: %w", err)
		}
	}
	l.links()
	for _, t := range l.taps {
		if !t.up {
			l.notice("the link of %s is down", t.name)
		}
	}
	return l, nil
}

// listen makes what poll waits at.
func (l *live) listen() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return err
	}
	l.events = os.NewFile(uintptr(fd), "rings")
	l.wake, err = l.events.SyscallConn()
	return err
}

func (l *live) notice(format string, a ...any) {
	if l.cfg.Notice != nil {
		l.cfg.Notice(fmt.Sprintf(format, a...))
	}
}

// watch adds a ring's descriptor to those that poll waits for, or takes it off.
func (l *live) watch(fd, op int) (err error) {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLERR, Fd: int32(fd)}
	if cerr := l.wake.Control(func(events uintptr) { err = unix.EpollCtl(int(events), op, fd, &e) }); cerr != nil {
		return cerr
	}
	return err
}

// Interfaces tells what each interface delivered, a second ago at most. Any goroutine may call it.
func (l *live) Interfaces() []Interface {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Interface, len(l.taps))
	for i, t := range l.taps {
		all[i] = t.told
	}
	return all
}

// check looks after the links.
func (l *live) check(now time.Time) {
	l.checked = now
	for _, t := range l.taps {
		t.check()
	}
	if c := l.choice; c != nil && l.stopped.IsZero() {
		if c.listen(); c.stale && now.Sub(c.looked) >= lookEvery {
			c.looked = now
			c.lookAgain()
		}
	}
	l.links()
}

// links notes which links are up.
func (l *live) links() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Links, l.stats.Down = len(l.taps), 0
	for _, t := range l.taps {
		t.told.Up = t.up
		if !t.up {
			l.stats.Down++
		}
	}
}

// ReadBatch implements Source.
func (l *live) ReadBatch(b *Batch) error {
	b.Release()
	b.Frames, b.Clock = b.Frames[:0], 0
	begin := time.Now()
	for now := begin; ; now = time.Now() {
		if now.Sub(l.checked) >= linkCheck {
			l.check(now)
			offset := l.wall()
			step := offset - l.offset
			if l.offset = offset; step.Abs() >= clockStep {
				l.notice("the clock was set by %v", step.Round(time.Second/10))
			}
			if step <= -clockStep {
				return ErrClockStep
			}
		}
		if now.Sub(l.asked) >= liveWait {
			l.asked = now
			for _, r := range l.rings {
				r.tap.ask(r)
			}
			if c := l.choice; c != nil {
				if c.listen(); c.stale {
					l.check(now)
				}
			}
		}
		if l.stop.Load() && l.stopped.IsZero() {
			l.stopped = now
			l.quiet()
		}
		held := l.fill(b, now)
		if len(b.Frames) > 0 {
			break
		}
		switch {
		case held: // for frames of another interface
		case !l.stopped.IsZero() && now.Sub(l.stopped) >= reorderWindow:
			for _, r := range l.rings {
				r.tap.ask(r)
			}
			b.Live = l.stats
			return io.EOF
		case now.Sub(begin) >= liveWait:
			b.Clock = Time(now.Add(-reorderWindow).UnixNano())
		}
		if b.Clock != 0 {
			break
		}
		l.poll(held)
	}
	b.Live, b.Fill = l.stats, l.full()
	return nil
}

// quiet lets no frame into the rings any more, so that they can be read to their end.
func (l *live) quiet() {
	for _, r := range l.rings {
		r.filter(nothing)
	}
}

// fill puts frames into the batch, in order of time, and says whether there are more that have to wait.
func (l *live) fill(b *Batch, now time.Time) (held bool) {
	until := Time(now.Add(-reorderWindow).UnixNano())
	if !l.stopped.IsZero() {
		until = 1<<63 - 1
	}
	rings, busy := l.rings, true
	if len(rings) > fewRings {
		rings, busy = l.filledRings(now)
	}
	for len(b.Frames) < maxLiveFrames {
		var best *ring
		all := busy
		for _, r := range rings {
			if !r.frame(now) {
				all = false
			} else if best == nil || r.head.Time < best.head.Time {
				best = r
			}
		}
		if best == nil {
			return false
		}
		// A ring that shows nothing has nothing that is older than the window.
		if len(l.rings) > 1 && !all && best.head.Time > until && now.Sub(best.seen) < reorderWindow {
			return true
		}
		if !b.holds(best.cur) {
			if len(b.held) >= maxLiveBlocks {
				return true
			}
			best.cur.refs.Add(1)
			b.held = append(b.held, best.cur)
		}
		l.count++
		f := best.head
		f.Ordinal = l.count
		if f.WireLen > len(f.Data) {
			l.stats.Snapped++
		}
		b.Frames = append(b.Frames, f)
		best.have = false
	}
	return true
}

// filledRings gives the rings that have frames, and whether all have. What comes into the others is no earlier than what
// waits for them anyway.
func (l *live) filledRings(now time.Time) (rings []*ring, all bool) {
	rings = l.active[:0]
	for _, r := range l.rings {
		if r.frame(now) {
			rings = append(rings, r)
		}
	}
	l.active = rings
	return rings, len(rings) == len(l.rings)
}

func (b *Batch) holds(k *lease) bool {
	for i := len(b.held) - 1; i >= 0; i-- {
		if b.held[i] == k {
			return true
		}
	}
	return false
}

// full is how much of the fullest ring waits, in percent.
func (l *live) full() int {
	worst := 0
	for _, r := range l.rings {
		n, blocks := int(r.m.refs.Load())-1, len(r.m.blocks)
		for i := 0; n < blocks && r.m.blocks[(r.next+i)%blocks].filled(); i++ {
			n++
		}
		worst = max(worst, 100*n/blocks)
	}
	return worst
}

// poll waits for a block.
//
// It waits where the runtime itself waits for all descriptors, and not in a system call of its own: while a goroutine sits
// in one, the runtime's monitor wakes every 20 microseconds to see whether it comes back, which took nine tenths of the
// time of a sensor at 20,000 packets in a second. The sockets are behind an epoll descriptor, because the kernel calls a
// socket readable as long as the block before the one that is awaited is not given back (packet_poll in
// net/packet/af_packet.c); the runtime asks for changes only, and filled says what there is.
func (l *live) poll(soon bool) {
	wait := liveWait
	if soon || !l.stopped.IsZero() || l.stop.Load() {
		wait = blockTimeout
	}
	tries := 0
	l.events.SetReadDeadline(time.Now().Add(wait))
	l.wake.Read(func(uintptr) bool {
		tries++
		return tries > 1 || l.filled(soon)
	})
	if now := time.Now(); tries > 1 && !l.filled(soon) && now.Sub(l.checked) >= quietCheck {
		l.check(now) // of a socket without frames there is something else to tell: its link
	}
}

// filled says whether a block came that is to be read now.
func (l *live) filled(soon bool) bool {
	for _, r := range l.rings {
		if !(soon && r.have) && r.m.blocks[r.next].filled() {
			return true
		}
	}
	return false
}

// Shunt implements Shunter.
func (l *live) Shunt() Shunt {
	if l.shunt == nil {
		return nil
	}
	return l.shunt
}

// Stop implements LiveSource.
func (l *live) Stop() { l.stop.Store(true) }

// Close implements Source.
func (l *live) Close() error {
	for _, t := range l.taps {
		t.close()
	}
	if l.choice != nil {
		unix.Close(l.choice.fd)
	}
	if l.shunt != nil {
		l.shunt.close()
	}
	return errors.Join(l.events.Close(), unix.Close(l.ctl))
}
