package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Capture from interfaces by AF_PACKET with a TPACKET_V3 ring (Documentation/networking/packet_mmap.rst): the kernel
// fills blocks of memory that it shares with us, we read frames where they lie and give a block back once the engine is
// done with the batches that point into it. Nothing is copied, and a frame costs no system call.
//
// There is one ring for each interface and one goroutine that reads them all: dissecting is what that goroutine is busy
// with, not reading, and packets are dealt to the workers by flow behind it. Fanning out over several rings would bring
// no more, and lose the order between them.

const (
	sizeOfBlockHead = 48
	sizeOfFrameHead = 48
	// An interface's frames of one batch, so that the events of a batch stay in the cache; what is left comes next.
	maxLiveFrames = 1024
	// A socket that wakes us without frames has its link looked at, so often at the most.
	quietCheck = 10 * time.Millisecond
	// Blocks that a batch may hold on to.
	maxLiveBlocks = 8
)

// live is a LiveSource over rings.
type live struct {
	cfg     LiveConfig
	rings   []*ring
	ctl     int // a socket to ask about interfaces by
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

	mu   sync.Mutex // over told
	told []Interface
}

// ring is one interface.
type ring struct {
	l        *live
	name     string
	fd       int // -1: closed, the interface is gone
	m        *mapping
	blockLen int
	next     int // block that the kernel fills next
	index    int
	link     uint16
	loopback bool // every frame is seen twice there
	up       bool

	// The block at hand.
	cur  *lease
	data []byte
	off  int
	left int
	seen time.Time
	head Frame // the frame at hand, if have
	have bool
}

// OpenLive captures from interfaces. It needs the right to do so (CAP_NET_RAW), then and whenever an interface comes back
// that was removed. The kernel applies the filter to what has no VLAN tag, and lets what has one pass: a tag stands
// beside the frame there, and is put where it was only when we read it. So the filter must be applied to the frames
// again, as the engine does.
func OpenLive(cfg LiveConfig) (LiveSource, error) {
	if len(cfg.Interfaces) == 0 {
		return nil, errors.New("capture: no interface is given")
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
	for _, name := range cfg.Interfaces {
		r := &ring{l: l, name: name, fd: -1}
		if err := r.open(); err != nil {
			l.Close()
			return nil, err
		}
		l.rings = append(l.rings, r)
		l.told = append(l.told, Interface{Name: name, Up: r.up})
	}
	l.stats.Links = len(l.rings)
	for _, r := range l.rings {
		if !r.up {
			l.stats.Down++
			l.notice("the link of %s is down", r.name)
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

// query asks about an interface by its name.
func (l *live) query(name string, what uint) (*unix.Ifreq, error) {
	q, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	return q, unix.IoctlIfreq(l.ctl, what, q)
}

// state gives the interface's index and whether its link is up.
func (l *live) state(name string) (index int, up bool, err error) {
	q, err := l.query(name, unix.SIOCGIFINDEX)
	if err != nil {
		return 0, false, err
	}
	index = int(q.Uint32())
	if q, err = l.query(name, unix.SIOCGIFFLAGS); err != nil {
		return 0, false, err
	}
	const up1 = unix.IFF_UP | unix.IFF_RUNNING
	return index, q.Uint16()&up1 == up1, nil
}

// linkOf is the link type of what a raw packet socket gives for a hardware type.
func linkOf(hw uint16) (uint16, bool) {
	switch hw {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return linkEthernet, true
	case unix.ARPHRD_NONE, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_RAWIP:
		return linkRaw, true
	case unix.ARPHRD_IEEE80211_RADIOTAP:
		return linkRadiotap, true
	}
	return 0, false
}

// open makes the socket and its ring. Until it is bound, behind the filter, nothing comes.
func (r *ring) open() (err error) {
	fail := func(what string, err error) error {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("capture: interface %s: %s: %w (it takes root or CAP_NET_RAW)", r.name, what, err)
		}
		return fmt.Errorf("capture: interface %s: %s: %w", r.name, what, err)
	}
	if r.index, r.up, err = r.l.state(r.name); err != nil {
		return fail("cannot be found", err)
	}
	q, err := r.l.query(r.name, unix.SIOCGIFHWADDR)
	if err != nil {
		return fail("cannot be asked", err)
	}
	hw := q.Uint16()
	var ok bool
	if r.link, ok = linkOf(hw); !ok {
		return fmt.Errorf("capture: interface %s: hardware type %d is not known", r.name, hw)
	}
	r.loopback = hw == unix.ARPHRD_LOOPBACK
	code, err := kernelFilter(r.l.cfg.Filter, r.link, r.l.cfg.SnapLen)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail("cannot open a packet socket", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return fail("the kernel has no TPACKET_V3", err)
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		// Nothing passes for that: the frames are filtered where they are read, too.
		r.l.notice("the kernel does not take the filter for %s (%v): it is applied behind the ring alone", r.name, err)
	}
	if r.l.cfg.Hardware {
		r.hardware(fd)
	}
	if err = r.allocate(fd); err != nil {
		return fail("cannot make a ring", err)
	}
	if !r.l.cfg.NoPromisc {
		m := unix.PacketMreq{Ifindex: int32(r.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			r.l.notice("%s cannot be made promiscuous: %v", r.name, err)
		}
	}
	if err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: r.index}); err != nil {
		r.m.unref()
		r.m = nil
		return fail("cannot be bound to", err)
	}
	if err = r.l.watch(fd, unix.EPOLL_CTL_ADD); err != nil {
		r.m.unref()
		r.m = nil
		return fail("cannot be waited for", err)
	}
	r.fd, r.next = fd, 0
	return nil
}

// watch adds a ring's descriptor to those that poll waits for, or takes it off.
func (l *live) watch(fd, op int) (err error) {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLERR, Fd: int32(fd)}
	if cerr := l.wake.Control(func(events uintptr) { err = unix.EpollCtl(int(events), op, fd, &e) }); cerr != nil {
		return cerr
	}
	return err
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// hardware asks for the time stamps of the network card.
func (r *ring) hardware(fd int) {
	const allPackets = 1 // HWTSTAMP_FILTER_ALL
	cfg := unix.HwTstampConfig{Rx_filter: allPackets}
	if err := unix.IoctlSetHwTstamp(r.l.ctl, r.name, &cfg); err != nil {
		r.l.notice("%s makes no time stamps of its own (%v): the kernel's are taken", r.name, err)
		return
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_RAW_HARDWARE); err != nil {
		r.l.notice("the time stamps of %s cannot be had (%v): the kernel's are taken", r.name, err)
	}
}

// allocate makes the ring, a smaller one if there is no memory for it.
func (r *ring) allocate(fd int) error {
	size := r.l.cfg.Block
	blocks := r.l.cfg.Ring / size
	for {
		q := unix.TpacketReq3{
			Block_size: uint32(size), Block_nr: uint32(blocks),
			Frame_size: uint32(size), Frame_nr: uint32(blocks), // V3 packs frames; the kernel checks the product
			Retire_blk_tov: uint32(blockTimeout / time.Millisecond),
		}
		err := unix.SetsockoptTpacketReq3(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &q)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOMEM) || blocks/2 < minBlocks {
			return err
		}
		blocks /= 2
		r.l.notice("no memory for the ring of %s: %d MiB instead", r.name, blocks*size>>20)
	}
	mem, err := unix.Mmap(fd, 0, size*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	m := &mapping{mem: mem, blocks: make([]lease, blocks), free: func(mem []byte) {
		unix.Munmap(mem)
		unix.Close(fd)
	}}
	m.refs.Store(1)
	for i := range m.blocks {
		m.blocks[i].m = m
		m.blocks[i].status = (*uint32)(unsafe.Pointer(&mem[i*size+8]))
	}
	r.m, r.blockLen = m, size
	return nil
}

// kernelFilter is the program for the socket: what has a VLAN tag beside it passes, see OpenLive.
func kernelFilter(expr string, link uint16, snap int) ([]unix.SockFilter, error) {
	f, err := CompileFilter(expr, link)
	if err != nil {
		return nil, err
	}
	var code []unix.SockFilter
	if expr != "" && link == linkEthernet {
		const vlanTagPresent = 0xfffff000 + 48 // SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT, linux/filter.h
		code = append(code,
			unix.SockFilter{Code: opLdB, K: vlanTagPresent},
			unix.SockFilter{Code: opJeq, Jt: 1, K: 0},
			unix.SockFilter{Code: opRet, K: uint32(snap)})
	}
	for _, i := range f.Program() {
		if i.Op == opRet && i.K != 0 {
			i.K = uint32(snap)
		}
		code = append(code, unix.SockFilter{Code: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	return code, nil
}

// close gives the ring up. Its memory stays until the engine is done with the last block.
func (r *ring) close() {
	if r.cur != nil {
		r.cur.release()
		r.cur = nil
	}
	r.have = false
	if r.fd >= 0 {
		r.l.ask(r)
		r.l.watch(r.fd, unix.EPOLL_CTL_DEL)
		r.fd = -1
		r.m.unref()
		r.m = nil
	}
}

// ask takes over the kernel's counts, which begin anew with that.
func (l *live) ask(r *ring) {
	if s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		l.stats.Received += uint64(s.Packets)
		l.stats.Dropped += uint64(s.Drops)
		l.stats.Freezes += uint64(s.Freeze_q_cnt)
		r.tell(s)
	}
}

// tell notes what an interface delivered since it was asked last, and whether its link is up.
func (r *ring) tell(s *unix.TpacketStatsV3) {
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	for i, o := range r.l.rings {
		if o == r {
			t := &r.l.told[i]
			t.Received += uint64(s.Packets)
			t.Dropped += uint64(s.Drops)
			t.Freezes += uint64(s.Freeze_q_cnt)
			t.Up = r.up
		}
	}
}

// Interfaces tells what each interface delivered, a second ago at most. Any goroutine may call it.
func (l *live) Interfaces() []Interface {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.told)
}

// check looks after the links.
func (l *live) check(now time.Time) {
	l.checked = now
	down := 0
	for _, r := range l.rings {
		r.check()
		r.tell(&unix.TpacketStatsV3{})
		if !r.up {
			down++
		}
	}
	l.stats.Down = down
}

func (r *ring) check() {
	l := r.l
	if r.fd < 0 {
		if _, _, err := l.state(r.name); err != nil {
			return
		}
		if err := r.open(); err != nil {
			r.fd = -1
			if !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) {
				l.notice("%s", strings.TrimPrefix(err.Error(), "capture: "))
			}
			return
		}
		l.stats.Reopened++
		if r.up {
			l.notice("interface %s is back", r.name)
		} else {
			l.notice("interface %s is back, its link is down", r.name)
		}
		return
	}
	unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR) // takes the note that the link went down
	index, up, err := l.state(r.name)
	if err != nil || index != r.index {
		if r.ready() {
			return // first read what it still has
		}
		l.stats.LinkLost++
		l.notice("interface %s is gone; waiting for it", r.name)
		r.up = false
		r.close()
		if err == nil {
			r.check() // there is another of that name already
		}
		return
	}
	if up == r.up {
		return
	}
	if r.up = up; up {
		l.notice("the link of %s is up again", r.name)
	} else {
		l.stats.LinkLost++
		l.notice("the link of %s is down", r.name)
	}
}

// ready says whether there is a block to read.
func (r *ring) ready() bool {
	return r.cur != nil || r.fd >= 0 && r.m.blocks[r.next].filled()
}

// filled says whether the kernel has handed the block over.
func (k *lease) filled() bool {
	return !k.lent.Load() && atomic.LoadUint32(k.status)&unix.TP_STATUS_USER != 0
}

// take goes to the next block, if the kernel has handed it over.
func (r *ring) take(now time.Time) bool {
	if r.fd < 0 {
		return false
	}
	k := &r.m.blocks[r.next]
	if !k.filled() {
		return false
	}
	r.m.refs.Add(1)
	k.refs.Store(1)
	k.lent.Store(true)
	r.data = r.m.mem[r.next*r.blockLen : (r.next+1)*r.blockLen]
	r.cur, r.seen = k, now
	r.left = int(binary.NativeEndian.Uint32(r.data[12:]))
	r.off = int(binary.NativeEndian.Uint32(r.data[16:]))
	r.next = (r.next + 1) % len(r.m.blocks)
	return true
}

// frame makes sure that a frame is at hand, if there is one.
func (r *ring) frame(now time.Time) bool {
	for !r.have {
		if r.cur == nil && !r.take(now) {
			return false
		}
		if r.left == 0 || r.off < sizeOfBlockHead || r.off > len(r.data)-sizeOfFrameHead {
			r.cur.release()
			r.cur = nil
			continue
		}
		r.left--
		r.have = r.parse()
	}
	return true
}

// parse reads the frame at r.off.
func (r *ring) parse() bool {
	h := r.data[r.off:]
	size := int(binary.NativeEndian.Uint32(h))
	kept, wire := int(binary.NativeEndian.Uint32(h[12:])), int(binary.NativeEndian.Uint32(h[16:]))
	status, mac := binary.NativeEndian.Uint32(h[20:]), int(binary.NativeEndian.Uint16(h[24:]))
	r.off += size
	if size == 0 {
		r.left = 0
	}
	const packetType = sizeOfFrameHead + 10 // in the sockaddr_ll behind the header
	if mac < sizeOfFrameHead+20 || mac > len(h) || kept > len(h)-mac || r.loopback && h[packetType] == unix.PACKET_OUTGOING {
		return false
	}
	data := h[mac : mac+kept : mac+kept]
	if tci := binary.NativeEndian.Uint32(h[32:]); (status&unix.TP_STATUS_VLAN_VALID != 0 || tci != 0) && r.link == linkEthernet && kept >= 12 {
		// The tag goes back where it was. There is room for it: the sockaddr_ll before the frame has been read.
		proto := uint16(0x8100)
		if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
			proto = binary.NativeEndian.Uint16(h[36:])
		}
		data = h[mac-4 : mac+kept : mac+kept]
		copy(data, data[4:16])
		binary.BigEndian.PutUint16(data[12:], proto)
		binary.BigEndian.PutUint16(data[14:], uint16(tci))
		wire += 4
	}
	r.head = Frame{
		Time: Time(binary.NativeEndian.Uint32(h[4:]))*1e9 + Time(binary.NativeEndian.Uint32(h[8:])),
		Data: data, WireLen: wire, Link: r.link, NoChecksum: status&unix.TP_STATUS_CSUMNOTREADY != 0,
	}
	return true
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
				if r.fd >= 0 {
					l.ask(r)
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
				if r.fd >= 0 {
					l.ask(r)
				}
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
	none := unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: opRet}}
	for _, r := range l.rings {
		if r.fd >= 0 {
			unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &none)
		}
	}
}

// fill puts frames into the batch, in order of time, and says whether there are more that have to wait.
func (l *live) fill(b *Batch, now time.Time) (held bool) {
	until := Time(now.Add(-reorderWindow).UnixNano())
	if !l.stopped.IsZero() {
		until = 1<<63 - 1
	}
	for len(b.Frames) < maxLiveFrames {
		var best *ring
		all := true
		for _, r := range l.rings {
			if !r.frame(now) {
				all = false
			} else if best == nil || r.head.Time < best.head.Time {
				best = r
			}
		}
		if best == nil {
			return false
		}
		// An interface that shows nothing has nothing that is older than the window.
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
		if r.fd < 0 {
			continue
		}
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
		if r.fd >= 0 && !(soon && r.have) && r.m.blocks[r.next].filled() {
			return true
		}
	}
	return false
}

// Stop implements LiveSource.
func (l *live) Stop() { l.stop.Store(true) }

// Close implements Source.
func (l *live) Close() error {
	for _, r := range l.rings {
		r.close()
	}
	l.rings = nil
	return errors.Join(l.events.Close(), unix.Close(l.ctl))
}
