package capture

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	sizeOfBlockHead = 48
	sizeOfFrameHead = 48
)

// ring is memory that the kernel puts an interface's frames into, and where we are in it.
type ring struct {
	tap      *tap
	fd       int
	m        *mapping
	blockLen int
	next     int // block that the kernel fills next

	// The block at hand.
	cur  *lease
	data []byte
	off  int
	left int
	seen time.Time
	head Frame // the frame at hand, if have
	have bool
}

// open makes a socket with a ring and binds it to the interface. Until it is bound, behind the filter, nothing comes.
func (r *ring) open(filter []unix.SockFilter) (err error) {
	t := r.tap
	r.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return t.fail("cannot open a packet socket", err)
	}
	defer func() {
		switch {
		case err == nil:
		case r.m != nil:
			r.m.unref()
		default:
			unix.Close(r.fd)
		}
	}()
	// Has the kernel stamp each packet once, when it comes in. Otherwise each reader's copy gets a time of its own
	// (tpacket_get_timestamp), and a capture that runs beside would be a microsecond off, with other names for everything.
	// Where it is refused, so be it.
	_ = unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err = unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V3); err != nil {
		return t.fail("the kernel has no TPACKET_V3", err)
	}
	if err := r.filter(filter); err != nil {
		// Nothing passes for that: the frames are filtered where they are read, too.
		t.l.notice("the kernel rejected the filter for %s (%v): it is applied after the ring instead", t.name, err)
	}
	if t.l.cfg.Hardware {
		if err := unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_TIMESTAMP, unix.SOF_TIMESTAMPING_RAW_HARDWARE); err != nil {
			t.l.notice("the time stamps of %s cannot be had (%v): the kernel's are taken", t.name, err)
		}
	}
	if err = r.allocate(); err != nil {
		return t.fail("cannot make a ring", err)
	}
	if !t.l.cfg.NoPromisc {
		m := unix.PacketMreq{Ifindex: int32(t.index), Type: unix.PACKET_MR_PROMISC}
		if err := unix.SetsockoptPacketMreq(r.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &m); err != nil {
			t.l.notice("%s cannot be made promiscuous: %v", t.name, err)
		}
	}
	if err = unix.Bind(r.fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: t.index}); err != nil {
		return t.fail("cannot be bound to", err)
	}
	if err = t.l.watch(r.fd, unix.EPOLL_CTL_ADD); err != nil {
		return t.fail("cannot be waited for", err)
	}
	return nil
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// filter lets pass what a program says.
func (r *ring) filter(code []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	return unix.SetsockoptSockFprog(r.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
}

// nothing is the program by which no frame passes.
var nothing = []unix.SockFilter{{Code: opRet}}

// close gives the ring up. Its memory stays until the engine is done with the last block.
func (r *ring) close() {
	if r.cur != nil {
		r.cur.release()
		r.cur = nil
	}
	r.have = false
	r.tap.ask(r)
	r.tap.l.watch(r.fd, unix.EPOLL_CTL_DEL)
	r.m.unref()
}

// allocate makes the ring, a smaller one if there is no memory for it.
func (r *ring) allocate() error {
	cfg := &r.tap.l.cfg
	size := cfg.Block
	blocks := max(r.tap.size/max(cfg.Rings, 1)/size, minBlocks)
	for {
		q := unix.TpacketReq3{
			Block_size: uint32(size), Block_nr: uint32(blocks),
			Frame_size: uint32(size), Frame_nr: uint32(blocks), // V3 packs frames; the kernel checks the product
			Retire_blk_tov: uint32(blockTimeout / time.Millisecond),
		}
		err := unix.SetsockoptTpacketReq3(r.fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &q)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOMEM) || blocks/2 < minBlocks {
			return err
		}
		blocks /= 2
		r.tap.l.notice("no memory for the ring of %s: %d MiB instead", r.tap.name, blocks*size>>20)
	}
	mem, err := unix.Mmap(r.fd, 0, size*blocks, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	m := &mapping{mem: mem, blocks: make([]lease, blocks), free: func(mem []byte) {
		unix.Munmap(mem)
		unix.Close(r.fd)
	}}
	m.refs.Store(1)
	for i := range m.blocks {
		m.blocks[i].m = m
		m.blocks[i].status = (*uint32)(unsafe.Pointer(&mem[i*size+8]))
	}
	r.m, r.blockLen = m, size
	return nil
}

// ready says whether there is a block to read.
func (r *ring) ready() bool { return r.cur != nil || r.m.blocks[r.next].filled() }

// filled says whether the kernel has handed the block over.
func (k *lease) filled() bool {
	return !k.lent.Load() && atomic.LoadUint32(k.status)&unix.TP_STATUS_USER != 0
}

// take goes to the next block, if the kernel has handed it over.
func (r *ring) take(now time.Time) bool {
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
	if mac < sizeOfFrameHead+20 || mac > len(h) || kept > len(h)-mac || r.tap.loopback && h[packetType] == unix.PACKET_OUTGOING {
		return false
	}
	data := h[mac : mac+kept : mac+kept]
	if tci := binary.NativeEndian.Uint32(h[32:]); (status&unix.TP_STATUS_VLAN_VALID != 0 || tci != 0) && r.tap.link == linkEthernet && kept >= 12 {
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
		Data: data, WireLen: wire, Link: r.tap.link, NoChecksum: status&unix.TP_STATUS_CSUMNOTREADY != 0, Verified: status&unix.TP_STATUS_CSUM_VALID != 0,
	}
	return true
}
