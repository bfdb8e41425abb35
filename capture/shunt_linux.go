package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Flows whose packets the kernel counts and does not deliver: a table in the kernel, which the program looks a packet's
// flow up in, and memory that both share, with a slot for each flow in it. Adding and removing a flow is a system call;
// reading its counts is none, so that they can be read as often as the clock ticks.
//
// A slot is one for all processors, with a part for each side, and its counters are added to atomically. Counters for each
// processor would need no atomic additions, but a place for each of up to hundreds of them, which each look would have to
// sum, and they could not hold what must be one: the next sequence number, by which the order of segments is told.

const (
	// shuntSlots is how many flows are counted by the kernel at a time: elephants, of which a cluster has few. The memory is
	// 7 MiB, and 1 MiB for the table.
	shuntSlots = 16 << 10
	// A slot that was given back rests for so long, until no program can still be at it.
	slotRests = time.Second
)

type shunt struct {
	flows, slots, begins, control *ebpf.Map
	mem, ctl                      []byte
	notice                        func(format string, a ...any)
	hardware                      bool // the time of a frame is another clock's
	programs                      map[programKey]*ebpf.Program

	mu    sync.Mutex
	free  []uint32
	rests []restingSlot // slots that were given back, in that order
	n     uint32        // in the table
	off   bool          // the table cannot be written any more, and that was said
	fails atomic.Uint64
}

type restingSlot struct {
	slot  uint32
	until time.Time
}

// newShunt makes the table and the memory.
func newShunt(notice func(string, ...any), makeMap func(*ebpf.MapSpec) (*ebpf.Map, error)) (s *shunt, err error) {
	_ = rlimit.RemoveMemlock() // before Linux 5.11 maps count against it
	s = &shunt{notice: notice, programs: map[programKey]*ebpf.Program{}}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	for _, m := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&s.flows, ebpf.MapSpec{Name: "raytap_flows", Type: ebpf.Hash, KeySize: 40, ValueSize: 4, MaxEntries: shuntSlots}},
		{&s.slots, ebpf.MapSpec{Name: "raytap_slots", Type: ebpf.Array, KeySize: 4, ValueSize: slotSize, MaxEntries: shuntSlots, Flags: unix.BPF_F_MMAPABLE}},
		{&s.begins, ebpf.MapSpec{Name: "raytap_begins", Type: ebpf.Array, KeySize: 4, ValueSize: beginSize, MaxEntries: 1}},
		{&s.control, ebpf.MapSpec{Name: "raytap_control", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1, Flags: unix.BPF_F_MMAPABLE}},
	} {
		if *m.to, err = makeMap(&m.spec); err != nil {
			return s, err
		}
	}
	if s.mem, err = mapMemory(s.slots, slotSize*shuntSlots); err != nil {
		return s, err
	}
	if s.ctl, err = mapMemory(s.control, 8); err != nil {
		return s, err
	}
	s.free = make([]uint32, shuntSlots)
	for i := range s.free {
		s.free[i] = uint32(shuntSlots - 1 - i)
	}
	return s, nil
}

func mapMemory(m *ebpf.Map, size int) ([]byte, error) {
	page := unix.Getpagesize()
	return unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
}

// close gives the table up. The programs at sockets go with the sockets.
func (s *shunt) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = true
	// The memory stays mapped: flows may still be read for what they have counted. It is the process's until it ends.
	for _, m := range []*ebpf.Map{s.flows, s.slots, s.begins, s.control} {
		if m != nil {
			m.Close()
		}
	}
	for _, p := range s.programs {
		p.Close()
	}
	clear(s.programs)
}

// programKey is what the programs of interfaces differ by.
type programKey struct {
	link          uint16
	loopback, xdp bool
}

// program gives the program for an interface: the same for all of a kind, so that one that comes later needs no new one,
// which a sensor without rights could not have.
func (s *shunt) program(kind uint16, loopback, xdp bool, filter []bpf.RawInstruction, snap uint32) (*ebpf.Program, error) {
	key := programKey{kind, loopback, xdp}
	if p := s.programs[key]; p != nil {
		return p, nil
	}
	p, err := s.load(kind, loopback, xdp, filter, snap)
	if err == nil {
		s.programs[key] = p
	}
	return p, err
}

// load makes a program.
func (s *shunt) load(kind uint16, loopback, xdp bool, filter []bpf.RawInstruction, snap uint32) (*ebpf.Program, error) {
	p := shuntProgram{
		flows: s.flows, slots: s.slots, begins: s.begins, control: s.control,
		link: kind, loopback: loopback, xdp: xdp, filter: filter, snap: snap,
	}
	code, err := p.instructions()
	if err != nil {
		return nil, err
	}
	spec := ebpf.ProgramSpec{Name: "raytap_shunt", Type: ebpf.SocketFilter, License: "Apache-2.0", Instructions: code}
	if xdp {
		// Frames may be in several pieces, and on some drivers must not be.
		spec.Type, spec.Flags = ebpf.XDP, unix.BPF_F_XDP_HAS_FRAGS
		if p, err := ebpf.NewProgram(&spec); err == nil {
			return p, nil
		}
		spec.Flags = 0
	}
	return ebpf.NewProgram(&spec)
}

// attach puts the program at the driver of a mirror, where what is counted is dropped before the kernel makes a packet
// of it. The link ends with the process.
func (s *shunt) attach(index int, ethernet uint16) (link.Link, error) {
	p, err := s.program(ethernet, false, true, nil, 0)
	if err != nil {
		return nil, err
	}
	l, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: index})
	if err != nil {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: link.XDPGenericMode})
	}
	return l, err
}

// Begin implements Shunt.
func (s *shunt) Begin(b *Beginnings) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begins.Put(uint32(0), b.table())
}

// keyOf writes the key as the program makes it.
func shuntKey(k *flowKey) (b [40]byte) {
	if k.kind&1 != 0 {
		copy(b[0:], k.lo[:])
		copy(b[16:], k.hi[:])
		b[37] = 1
	} else {
		copy(b[0:], k.lo[12:])
		copy(b[16:], k.hi[12:])
	}
	binary.BigEndian.PutUint16(b[32:], k.loPort)
	binary.BigEndian.PutUint16(b[34:], k.hiPort)
	b[36] = k.proto
	return b
}

// Put implements Shunt.
func (s *shunt) Put(k *flowKey, sides *[2]shuntSide) (slot uint32, at Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return 0, 0, false
	}
	if len(s.rests) > 0 && len(s.free) == 0 {
		for now := time.Now(); len(s.rests) > 0 && s.rests[0].until.Before(now); s.rests = s.rests[1:] {
			s.free = append(s.free, s.rests[0].slot)
		}
	}
	if len(s.free) == 0 {
		return 0, 0, false
	}
	slot = s.free[len(s.free)-1]
	b := s.at(slot)
	clear(b)
	ne := binary.NativeEndian
	for i := range sides {
		x, o := &sides[i], slotSide+i*slotStride
		ne.PutUint64(b[o+sideLeft:], x.left)
		ne.PutUint32(b[o+sideNext:], x.next)
		ne.PutUint32(b[o+sideAck:], x.ack)
		ne.PutUint32(b[o+sideBits:], x.bits)
		ne.PutUint32(b[o+sideUnit:], x.unit)
		copy(b[o+sideVia:], x.via[:])
	}
	key := shuntKey(k)
	if err := s.flows.Update(key[:], slot, ebpf.UpdateNoExist); err != nil {
		s.fails.Add(1)
		if !errors.Is(err, ebpf.ErrKeyExist) && !errors.Is(err, unix.E2BIG) && !errors.Is(err, unix.ENOMEM) {
			s.off = true
			s.notice("flows can no longer be counted in the kernel (%v): all packets are delivered", err)
		}
		return 0, 0, false
	}
	s.free = s.free[:len(s.free)-1]
	s.n++
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&s.ctl[0])), s.n)
	if s.hardware {
		return slot, 0, true
	}
	return slot, Time(time.Now().UnixNano()), true
}

func (s *shunt) at(slot uint32) []byte { return s.mem[int(slot)*slotSize : int(slot+1)*slotSize] }

func (s *shunt) word(slot uint32, off int) *uint32 {
	return (*uint32)(unsafe.Pointer(&s.mem[int(slot)*slotSize+off]))
}

func (s *shunt) long(slot uint32, off int) *uint64 {
	return (*uint64)(unsafe.Pointer(&s.mem[int(slot)*slotSize+off]))
}

// Out implements Shunt.
func (s *shunt) Out(slot uint32) uint32 { return atomic.LoadUint32(s.word(slot, slotState)) }

// Read implements Shunt.
func (s *shunt) Read(slot uint32, c *[2]shuntCounts) {
	// Bytes are seen before they are acknowledged: acknowledgements that are read first are of bytes that are read then.
	for i := range c {
		o := slotSide + i*slotStride
		c[i].acks = atomic.LoadUint32(s.word(slot, o+sideAcks))
		c[i].acked = atomic.LoadUint64(s.long(slot, o+sideAcked))
		c[i].ready = atomic.LoadUint32(s.word(slot, o+sideReady)) != 0
		c[i].ack = atomic.LoadUint32(s.word(slot, o+sideAck))
	}
	var boot unix.Timespec
	wall := time.Now().UnixNano()
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &boot)
	offset := wall - boot.Nano()
	for i := range c {
		o, x := slotSide+i*slotStride, &c[i]
		x.packets = atomic.LoadUint64(s.long(slot, o+sidePackets))
		x.bytes = atomic.LoadUint64(s.long(slot, o+sideBytes))
		x.wire = atomic.LoadUint64(s.long(slot, o+sideWire))
		x.payload = atomic.LoadUint64(s.long(slot, o+sidePayload))
		x.outer = atomic.LoadUint64(s.long(slot, o+sideOuter))
		x.run = atomic.LoadUint64(s.long(slot, o+sideRun))
		x.right = atomic.LoadUint32(s.word(slot, o+sideRight))
		x.first = atomic.LoadUint32(s.word(slot, o+sideFirst))
		x.last = 0
		if t := atomic.LoadUint64(s.long(slot, o+sideLast)); t != 0 {
			x.last = Time(int64(t) + offset)
		}
	}
}

// Take implements Shunt.
func (s *shunt) Take(k *flowKey, slot uint32, c *[2]shuntCounts) {
	atomic.CompareAndSwapUint32(s.word(slot, slotState), 0, outTaken)
	key := shuntKey(k)
	s.mu.Lock()
	if !s.off {
		if err := s.flows.Delete(key[:]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			s.fails.Add(1)
			s.off = true
			s.notice("flows can no longer be counted in the kernel (%v): all packets are delivered", err)
		}
	}
	s.n--
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&s.ctl[0])), s.n)
	s.rests = append(s.rests, restingSlot{slot, time.Now().Add(slotRests)})
	s.mu.Unlock()
	s.Read(slot, c)
}

// attach puts the program at a ring's socket, instead of the filter.
func (r *ring) attach(p *ebpf.Program) error {
	return unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, p.FD())
}

// why says in words why nothing can be shunted.
func shuntRefused(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Sprintf("%v: it takes root, or CAP_BPF and CAP_NET_ADMIN", err)
	case errors.Is(err, unix.ENOMEM):
		return "no memory"
	}
	return fmt.Sprintf("%v: it takes Linux 5.8", err)
}
