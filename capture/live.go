package capture

import (
	"errors"
	"sync/atomic"
	"time"
)

// LiveSource is a Source that goes on until it is told to stop. ReadBatch returns within liveWait even if there is no
// frame, with an empty batch then, so that whoever reads can do what is due by time.
type LiveSource interface {
	Source
	// Stop lets ReadBatch hand out what was captured so far, and then end with io.EOF. Any goroutine may call it.
	Stop()
}

// LiveConfig says what OpenLive captures. Zero values mean the defaults.
type LiveConfig struct {
	// Interfaces has at least one; several are merged in order of time. One that is named must be there; besides names
	// there may be patterns ("veth*", "eth[0-3]", as of path.Match), "any", which is every interface that is up, loopback
	// included, and "default", which is what the default routes of IPv4 and IPv6 go over, even when they change. What is
	// chosen so may come and go while the capture runs, is bounded by 256 at a time, and shares memory: two have a whole
	// Ring each, and each doubling of their number takes one more. "-lo" or "-docker*" leaves some out of it.
	Interfaces []string
	Filter     string // a filter expression for the kernel, see OpenLive
	SnapLen    int    // bytes of each frame that are kept
	Block      int    // bytes of a block of the ring, a power of two and a page at least
	Ring       int    // bytes of the ring of each interface
	// Rings of each interface that share those bytes, and that the kernel deals the flows to; 0 is 1. Several are for a
	// network card with several queues, whose processors would wait for each other at one. Frames of one wait for those
	// of the others, up to 15 ms where little comes.
	Rings     int
	NoPromisc bool // take only what the interface takes anyway
	Hardware  bool // the network card's time stamps, where it makes any
	// Shunt prepares for flows that the kernel counts and does not deliver: see Shunt. Where the kernel or the rights do not
	// suffice, Notice is told, and all is delivered.
	Shunt bool
	// Mirror names the interfaces, by patterns as of path.Match, that are a mirror and nothing else: with Shunt, what is
	// counted is dropped there before the kernel makes a packet of it (XDP), and so nobody else on the machine sees it.
	Mirror []string
	// Notice is told, in words, when a link goes or comes back and when something was asked for that cannot be had.
	// It is called on the goroutine that opens or reads. nil: nobody is told.
	Notice func(text string)
}

const (
	// DefaultBlock is the size of a ring's blocks. A frame must fit into one, or is cut: with offload, frames have 64 KiB. A
	// block is handed over when it is full, so a small one brings a finding sooner: at 150,000 packets in a second 99 in
	// 100 were within 3 ms of their packet, with 1 MiB within 10. (One in which the largest frames that there are fit,
	// BIG TCP's of 512 KiB, is for who has those.)
	DefaultBlock = 256 << 10
	// DefaultRing holds half a second of a full gigabit: a stop of the collector or of the machine's scheduler costs
	// nothing.
	DefaultRing = 64 << 20
	// A ring of fewer blocks has none to fill while the others are read.
	minBlocks = 4
	maxRing   = 4 << 30
	// A block that is not full is handed over after so long: it bounds how late a lone packet is seen. At 2,000 to 60,000
	// packets in a second 99 in 100 findings were within 5 ms of their packet, with 10 ms within 15 and 7.5, for the same
	// time of the processor. Each block takes a place in the ring, however little it holds: with 4 ms DefaultRing holds a
	// second at the least, and less would lose more in a burst.
	blockTimeout = 4 * time.Millisecond
	// ReadBatch returns after that at the latest.
	liveWait = 100 * time.Millisecond
	// Frames of one interface wait that long for earlier ones of another. A block is late by up to twice blockTimeout,
	// or twice the kernel's tick, mostly 4 ms, where that is longer; after it frames go on in whatever order there is.
	reorderWindow = 15 * time.Millisecond
	// How often links are looked at, and the clock.
	linkCheck = time.Second
	// A clock that is set back by more than that is another clock. Corrections by slewing are far smaller.
	clockStep = 2 * time.Second
)

// ErrClockStep says that the time of frames went back, since somebody set a clock. Packet time never runs backwards, so
// what measures by it must begin anew; the source itself goes on with the next ReadBatch.
var ErrClockStep = errors.New("capture: the clock was set back")

// LiveStats is what a live source counted since it was opened.
type LiveStats struct {
	Received uint64 // frames that the kernel had for us, lost ones included
	Dropped  uint64 // of those, lost because the ring was full
	Freezes  uint64 // times that the ring was full
	Snapped  uint64 // frames of which only a part was kept
	LinkLost uint64 // times that a link, an interface or the writer of a pipe went away
	Reopened uint64 // times that one was opened anew
	Down     int    // links that are down now
	Links    int    // links in all
	// Unwatched is how many interfaces fitted a pattern and were not captured from, beyond the bound.
	Unwatched uint64
}

// Interface is what one interface of a live source delivered since it was opened.
type Interface struct {
	Name     string
	Received uint64 // frames that the kernel had for us, lost ones included
	Dropped  uint64 // of those, lost because the ring was full
	Freezes  uint64 // times that the ring was full
	Up       bool
}

// mapping is a ring's memory. It lives until the last block is given back, even if the ring was closed before.
type mapping struct {
	mem    []byte
	blocks []lease
	refs   atomic.Int64 // blocks that are lent, and one for the ring
	free   func(mem []byte)
}

func (m *mapping) unref() {
	if m.refs.Add(-1) == 0 {
		m.free(m.mem)
	}
}

// lease is a block of a ring: the kernel's, or lent to the source and to the batches whose frames are in it.
type lease struct {
	m      *mapping
	status *uint32 // in the ring's memory
	refs   atomic.Int64
	lent   atomic.Bool // cleared behind status, so that nobody takes a block that is just being given back
}

func (k *lease) release() {
	if k.refs.Add(-1) > 0 {
		return
	}
	const toKernel = 0 // TP_STATUS_KERNEL
	atomic.StoreUint32(k.status, toKernel)
	k.lent.Store(false)
	k.m.unref()
}
