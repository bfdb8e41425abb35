package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"unsafe"

	"github.com/raytap/raytap/capture"
)

// A segment is a pcapng file. Its packets come in chunks of about chunkSize, and before each stands a block of a type
// that pcapng leaves to local use, which readers pass over: what is in the chunk, by flow, and what was left out. So a
// segment can be searched, and its index made anew, without taking its packets apart; a damaged chunk costs itself.
//
//	SHB IDB... (directory packets...)...
//
// Directory: uint32 block type and length (pcapng); 8 bytes mark; uint32 CRC-32C of what follows; then, of fixed length,
// little-endian: run uint64, first and last time int64, length of the packets' blocks uint32, of what they are compressed
// to uint32 (0: they are not); and, as varints: counts, interfaces, frames, flows.
//
// In a compressed segment the directory is in a skippable frame of zstd (RFC 8878, section 3.1.2), and the chunk in a
// frame of its own behind it.
const (
	// Large enough that writing costs nothing beside its packets, small enough that a second of a quiet sensor is not much.
	chunkSize = 1 << 20
	// A type of the local use (draft-ietf-opsawg-pcapng, section 4.8: the highest bit).
	directoryBlock = 0x80527470
	skippable      = 0x184d2a57 // zstd
	// What stands in a directory before its counts.
	directoryHead = 8 + 4 + 8 + 8 + 8 + 4 + 4
	// No directory is longer: the flows of a chunk of the smallest packets, with room to spare.
	maxDirectory = 4 << 20
	// A chunk longer than that is not ours: its last frame is the longest that there is.
	maxChunk = 130 << 20
)

var directoryMark = [8]byte{'R', 't', 'C', 'h', 'u', 'n', 'k', '1'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Count is a number of frames and their bytes on the wire.
type Count struct{ Frames, Bytes uint64 }

func (c *Count) add(bytes int) { c.Frames++; c.Bytes += uint64(max(bytes, 0)) }

// Counts says what became of all that was seen: kept, or left out by cause.
type Counts struct {
	Seen Count
	By   [causes]Count
}

// Add sums.
func (c *Counts) Add(o *Counts) {
	c.Seen.Frames += o.Seen.Frames
	c.Seen.Bytes += o.Seen.Bytes
	for i := range c.By {
		c.By[i].Frames += o.By[i].Frames
		c.By[i].Bytes += o.By[i].Bytes
	}
}

// chunk collects frames on their way to the disk.
type chunk struct {
	buf         []byte   // their blocks
	at          []uint32 // where each begins in buf
	ordinals    []uint64
	refs        []ref    // frames of flows, in order of frames
	ids         []uint64 // flows: what stands for them in their run
	names       []capture.FlowName
	first, last capture.Time
	run         uint64
	links       []uint16 // interfaces that its frames may have
	counts      Counts
	orders      []order
}

type ref struct{ flow, frame uint32 }

func (c *chunk) reset() {
	c.buf, c.at, c.ordinals, c.refs, c.ids, c.names = c.buf[:0], c.at[:0], c.ordinals[:0], c.refs[:0], c.ids[:0], c.names[:0]
	if cap(c.buf) > 2*chunkSize { // of a giant frame
		c.buf = nil
	}
	clear(c.orders)
	c.orders = c.orders[:0]
	c.counts, c.first, c.last = Counts{}, 0, 0
}

func (c *chunk) empty() bool { return len(c.at) == 0 && len(c.orders) == 0 }

// add appends the first n bytes of a frame of interface link.
func (c *chunk) add(link uint32, f *capture.Frame, n int) {
	if len(c.at) == 0 {
		c.first, c.last = f.Time, f.Time
	}
	c.first, c.last = min(c.first, f.Time), max(c.last, f.Time)
	c.at = append(c.at, uint32(len(c.buf)))
	c.ordinals = append(c.ordinals, f.Ordinal)
	c.buf = capture.AppendPacket(c.buf, link, f, n, "")
}

// belongs says that the frame that was added last is of flow number i.
func (c *chunk) belongs(i uint32) { c.refs = append(c.refs, ref{i, uint32(len(c.at) - 1)}) }

// full says whether the chunk is to be written.
func (c *chunk) full() bool { return len(c.buf) >= chunkSize || len(c.names) >= maxFlows }

// slots finds the flows of the chunk at hand: a table of its own, since a map took four times as long.
type slots struct {
	list  [1 << 14]slot
	epoch uint16 // slots of another are empty
}

type slot struct {
	tag   uint32 // of id
	flow  uint16
	epoch uint16
}

// begin empties the table.
func (t *slots) begin() {
	if t.epoch++; t.epoch == 0 {
		clear(t.list[:])
		t.epoch = 1
	}
}

// maxFlows of a chunk leave the table loose enough; a frame may have some more.
const maxFlows = 1<<14*3/4 - 64

// find gives the number of the flow that id stands for; with fresh it is not among ids yet, and is to be the next.
func (t *slots) find(id uint64, ids []uint64) (flow uint32, fresh bool) {
	tag := uint32(id >> 32)
	for i := uint32(id); ; i++ {
		s := &t.list[i%uint32(len(t.list))]
		if s.epoch != t.epoch {
			*s = slot{tag, uint16(len(ids)), t.epoch}
			return uint32(len(ids)), true
		}
		if s.tag == tag && ids[s.flow] == id {
			return uint32(s.flow), false
		}
	}
}

// framesOf lists the frames of flows, in order.
func (c *chunk) framesOf(flows map[uint32]bool) (all []uint32) {
	for _, r := range c.refs {
		if flows[r.flow] && (len(all) == 0 || all[len(all)-1] != r.frame) {
			all = append(all, r.frame)
		}
	}
	return all
}

// block is the block of frame i.
func (c *chunk) block(i uint32) []byte {
	end := len(c.buf)
	if int(i)+1 < len(c.at) {
		end = int(c.at[i+1])
	}
	return c.buf[c.at[i]:end]
}

// directory appends the chunk's directory without the block around it. packed is how long the compressed chunk is, or 0.
func (c *chunk) directory(b []byte, packed int, x *scratch) []byte {
	begin := len(b)
	le := binary.LittleEndian
	b = append(b, directoryMark[:]...)
	b = append(b, 0, 0, 0, 0) // checksum, when it is known
	b = le.AppendUint64(b, c.run)
	b = le.AppendUint64(b, uint64(c.first))
	b = le.AppendUint64(b, uint64(c.last))
	b = le.AppendUint32(b, uint32(len(c.buf)))
	b = le.AppendUint32(b, uint32(packed))
	b = c.counts.append(b)
	b = binary.AppendUvarint(b, uint64(len(c.links)))
	for _, l := range c.links {
		b = binary.AppendUvarint(b, uint64(l))
	}
	b = binary.AppendUvarint(b, uint64(len(c.at)))
	var before uint64
	for i, at := range c.at {
		end := len(c.buf)
		if i+1 < len(c.at) {
			end = int(c.at[i+1])
		}
		b = binary.AppendUvarint(b, uint64(end-int(at))/4)
		b = binary.AppendVarint(b, int64(c.ordinals[i]-before))
		before = c.ordinals[i]
	}
	// By flow: counted first, so that each finds its place.
	places, frames, next := x.of(len(c.names)+1, len(c.refs))
	for _, r := range c.refs {
		places[r.flow+1]++
	}
	for i := range c.names {
		places[i+1] += places[i]
	}
	copy(next, places)
	for _, r := range c.refs {
		frames[next[r.flow]] = r.frame
		next[r.flow]++
	}
	b = binary.AppendUvarint(b, uint64(len(c.names)))
	for i := range c.names {
		b = appendName(b, &c.names[i])
		mine := frames[places[i]:places[i+1]]
		b = binary.AppendUvarint(b, uint64(len(mine)))
		var before uint32
		for _, f := range mine {
			b = binary.AppendUvarint(b, uint64(f-before))
			before = f
		}
	}
	le.PutUint32(b[begin+8:], crcOf(b[begin+12:]))
	return b
}

// scratch is memory that directories are made in.
type scratch struct{ places, next, frames []uint32 }

func (x *scratch) of(flows, refs int) (places, frames, next []uint32) {
	x.places, x.next, x.frames = slices.Grow(x.places[:0], flows)[:flows], slices.Grow(x.next[:0], flows)[:flows], slices.Grow(x.frames[:0], refs)[:refs]
	clear(x.places)
	return x.places, x.frames, x.next
}

// Files are written in pages, past the system's cache where that can be. What is left of the last is a block that readers
// pass over, or in a compressed segment a frame.
const (
	page     = 4096
	padBlock = 0x80527471
)

// pad fills b up to the end of its page.
func pad(b []byte, compressed bool) []byte {
	least := 12
	if compressed {
		least = 8
	}
	n := (page - len(b)%page) % page
	if n == 0 {
		return b
	}
	if n < least {
		n += page
	}
	le := binary.LittleEndian
	if compressed {
		b = le.AppendUint32(b, skippable)
		b = le.AppendUint32(b, uint32(n-8))
		return append(b, make([]byte, n-8)...)
	}
	b = le.AppendUint32(b, padBlock)
	b = le.AppendUint32(b, uint32(n))
	b = append(b, make([]byte, n-12)...)
	return le.AppendUint32(b, uint32(n))
}

// paged makes room for n bytes that begins at a page of memory, which writing past the cache takes.
func paged(n int) []byte {
	b := make([]byte, n+page)
	at := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % page)
	return b[at : at : at+n]
}

// directoryBlockOf puts a directory into its block.
func directoryBlockOf(b, directory []byte) []byte {
	for len(directory)%4 != 0 {
		directory = append(directory, 0)
	}
	n := uint32(len(directory) + 12)
	b = binary.LittleEndian.AppendUint32(b, directoryBlock)
	b = binary.LittleEndian.AppendUint32(b, n)
	b = append(b, directory...)
	return binary.LittleEndian.AppendUint32(b, n)
}

func (c *Counts) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(causes))
	for _, n := range append([]Count{c.Seen}, c.By[:]...) {
		b = binary.AppendUvarint(b, n.Frames)
		b = binary.AppendUvarint(b, n.Bytes)
	}
	return b
}

// appendName writes IPv4 short.
func appendName(b []byte, n *capture.FlowName) []byte {
	if n[37]&1 != 0 {
		b = append(b, n[37])
		b = append(b, n[:37]...)
		return append(b, n[40:]...)
	}
	b = append(b, n[37])
	b = append(b, n[12:16]...)
	b = append(b, n[28:37]...)
	return append(b, n[40:]...)
}

var errDirectory = errors.New("record: damaged directory")

// reader takes numbers from a buffer; behind its end all are 0 and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.bad = true
		r.b = nil
		return make([]byte, min(max(n, 0), 64))
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count is a uvarint of things that take at least size bytes each: no more than there is room for.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) name() (n capture.FlowName) {
	kind := r.take(1)[0]
	if kind&1 != 0 {
		copy(n[:37], r.take(37))
		n[37] = kind
		copy(n[40:], r.take(8))
		return n
	}
	n[10], n[11], n[26], n[27] = 0xff, 0xff, 0xff, 0xff
	copy(n[12:16], r.take(4))
	copy(n[28:37], r.take(9))
	n[37] = kind
	copy(n[40:], r.take(8))
	return n
}

func (r *reader) counts() (c Counts) {
	n := r.count(2)
	for i := range n + 1 {
		x := Count{r.uvarint(), r.uvarint()}
		switch {
		case i == 0:
			c.Seen = x
		case i-1 < len(c.By):
			c.By[i-1] = x
		}
	}
	return c
}

// directory is one that was read.
type directory struct {
	run         uint64
	first, last capture.Time
	length      int // of the packets' blocks
	packed      int // of what they are compressed to, 0: they are not
	counts      Counts
	links       []uint16
	at          []uint32 // where each frame's block begins
	ordinals    []uint64
	flows       []flowFrames
}

// flowFrames are the frames of a flow in a chunk.
type flowFrames struct {
	name   capture.FlowName
	frames []uint32
}

// parseHead reads what is of fixed length.
func parseHead(b []byte) (d directory, ok bool) {
	if len(b) < directoryHead || !bytes.Equal(b[:8], directoryMark[:]) {
		return d, false
	}
	r := reader{b: b[12:]}
	d.run = r.u64()
	d.first, d.last = capture.Time(r.u64()), capture.Time(r.u64())
	d.length, d.packed = int(r.u32()), int(r.u32())
	return d, d.length <= maxChunk && d.packed <= maxChunk
}

// wholeDirectory says whether the checksum of a directory is right, behind which may be up to three bytes of padding.
func wholeDirectory(b []byte) bool {
	for pad := 0; pad < 4 && len(b)-pad >= directoryHead; pad++ {
		if crcOf(b[12:len(b)-pad]) == binary.LittleEndian.Uint32(b[8:]) {
			return true
		}
	}
	return false
}

// skip passes over n varints.
func (r *reader) skip(n int) {
	i := 0
	for ; n > 0 && i < len(r.b); i++ {
		if r.b[i] < 0x80 {
			n--
		}
	}
	if r.bad = r.bad || n > 0; r.bad {
		r.b = nil
		return
	}
	r.b = r.b[i:]
}

// anyFlow says whether a directory, which is whole, has a flow for which fn is true. It is a tenth of reading it.
func anyFlow(b []byte, fn func(*capture.FlowName) bool) bool {
	r := reader{b: b[directoryHead:]}
	r.counts()
	r.skip(r.count(1))
	r.skip(2 * r.count(2))
	for range r.count(24) {
		n := r.name()
		if r.bad {
			return false
		}
		if fn(&n) {
			return true
		}
		r.skip(r.count(1))
	}
	return false
}

// parseDirectory reads a directory, behind which may be up to three bytes of padding.
func parseDirectory(b []byte) (*directory, error) {
	d, ok := parseHead(b)
	if !ok {
		return nil, errDirectory
	}
	if !wholeDirectory(b) {
		return nil, errDirectory
	}
	r := reader{b: b[directoryHead:]}
	d.counts = r.counts()
	for range r.count(1) {
		d.links = append(d.links, uint16(r.uvarint()))
	}
	n := r.count(2)
	d.at, d.ordinals = make([]uint32, n), make([]uint64, n)
	at, ordinal := uint64(0), uint64(0)
	for i := range n {
		d.at[i] = uint32(at)
		at += r.uvarint() * 4
		ordinal += uint64(r.varint())
		d.ordinals[i] = ordinal
		if at > uint64(d.length) {
			return nil, errDirectory
		}
	}
	d.flows = make([]flowFrames, r.count(24))
	var room []uint32 // most flows have a few frames
	for i := range d.flows {
		f := &d.flows[i]
		f.name = r.name()
		k := r.count(1)
		if len(room) < k {
			room = make([]uint32, max(k, 4096))
		}
		f.frames, room = room[:k:k], room[k:]
		frame := uint64(0)
		for j := range f.frames {
			if frame += r.uvarint(); frame >= uint64(n) {
				return nil, errDirectory
			}
			f.frames[j] = uint32(frame)
		}
	}
	if r.bad {
		return nil, errDirectory
	}
	return &d, nil
}

func crcOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
