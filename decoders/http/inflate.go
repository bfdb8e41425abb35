package http

import (
	"encoding/binary"
	"hash"
	"hash/adler32"
	"hash/crc32"
	"math/bits"
	"sync"
)

// inflater removes DEFLATE (RFC 1951) in a gzip (RFC 1952), zlib (RFC 1950) or no wrapper, told by its first bytes: a
// "deflate" body is zlib by RFC 9110 and raw from some servers, and Zeek, browsers and aiohttp take what comes.
//
// Unlike the decoders of the standard library it is pushed: bytes are written as they arrive, cut anywhere, and what
// can be decoded goes to the next stage before write returns. It holds a window and tables, nothing of the input.
//
// The window and the tables are made when there are bytes for them.
type inflater struct {
	next  stage
	payer *sink // whom to ask for work; nil: it is free
	work  int   // units that were not asked for yet
	pools *pools
	state inflateState
	acc   uint64 // bits not used yet, the next one lowest
	n     uint   // how many
	final bool   // the block is the last

	window []byte // decoded bytes; the last windowSize before pos may be referred to
	pos    int
	sent   int // window[:sent] was passed on

	stored int         // bytes left of a stored block
	lit    *huffman    // of the block at hand
	dist   *huffman    //
	codes  *[2]huffman // of its own
	// while a block's code lengths are read
	nlit, ndist, nclen, got int
	lens                    [286 + 32 + 138]uint8

	wrap    wrapper
	header  []byte // a wrapper's header in pieces
	flags   byte
	hcrc    uint32 // of the gzip header so far
	skip    int
	sum     hash.Hash32
	size    uint32
	trailer [8]byte
	ntrail  int

	members int    // that have ended
	unread  []byte // of the input, behind the end of one; borrowed during write
}

const (
	windowSize = 32 << 10
	// Windows begin small: most bodies are, and a thousand that never go on shall not take 64 KiB each.
	smallWindow = 4 << 10
	// Units of work that the two tables of a block take, which may be all that there is in it.
	blockWork = 1 << 10
)

// fixedCodes are those of RFC 1951 section 3.2.6. They are never written to again.
var fixedCodes = sync.OnceValue(func() *[2]huffman {
	var lens [288]uint8
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	var codes [2]huffman
	codes[0].build(lens[:])
	for i := range 32 { // the last two never occur
		lens[i] = 5
	}
	codes[1].build(lens[:32])
	return &codes
})

type inflateState uint8

const (
	zWrapper inflateState = iota
	zExtraLen
	zExtra
	zName
	zComment
	zHeaderSum
	zBlock
	zStored
	zStoredData
	zLengths
	zCodes
	zData
	zTrailer
	zDone
	zOver // what follows is no stream
)

type wrapper uint8

const (
	rawDeflate wrapper = iota
	zlibWrapper
	gzipWrapper
)

func (z *inflater) reset(next stage) {
	z.next, z.state, z.acc, z.n, z.final = next, zWrapper, 0, 0, false
	z.pos, z.sent, z.stored = 0, 0, 0
	z.wrap, z.header, z.flags, z.skip, z.sum, z.size, z.ntrail = rawDeflate, z.header[:0], 0, 0, nil, 0, 0
	z.hcrc = 0
	z.members, z.unread, z.work = 0, nil, 0
}

// inflateStage is an inflater that is there once there are bytes for it: what a head promises costs nothing yet.
type inflateStage struct {
	next  stage
	payer *sink
	pools *pools
	z     *inflater
}

func (i *inflateStage) write(b []byte) error {
	if i.z == nil {
		if i.z, _ = i.pools.inflate.Get().(*inflater); i.z == nil {
			i.z = &inflater{}
		}
		i.z.reset(i.next)
		i.z.pools, i.z.payer = i.pools, i.payer
	}
	return i.z.write(b)
}

func (i *inflateStage) finish() error {
	if i.z == nil {
		return i.next.finish()
	}
	return i.z.finish()
}

func (i *inflateStage) release(p *pools) {
	if i.z != nil {
		i.z.next, i.z.payer = nil, nil
		i.z.setWindow(nil)
		i.z.lit, i.z.dist = nil, nil
		p.inflate.Put(i.z)
		i.z = nil
	}
}

func (i *inflateStage) held() int {
	if i.z == nil {
		return 0
	}
	return i.z.held()
}

// held is how many bytes it holds on to.
func (z *inflater) held() int {
	const bare, codes = 1 << 10, 6 << 10
	n := bare + len(z.window)
	if z.codes != nil {
		n += codes
	}
	return n
}

// setWindow exchanges the window.
func (z *inflater) setWindow(w []byte) {
	switch len(z.window) {
	case smallWindow:
		z.pools.small.Put((*[smallWindow]byte)(z.window))
	case 2 * windowSize:
		z.pools.window.Put((*[2 * windowSize]byte)(z.window))
	}
	z.window = w
}

// open makes sure that there is a window.
func (z *inflater) open() {
	if z.window == nil {
		w, _ := z.pools.small.Get().(*[smallWindow]byte)
		if w == nil {
			w = new([smallWindow]byte)
		}
		z.window = w[:]
	}
}

// own gives the tables of a block that has its own.
func (z *inflater) own() *[2]huffman {
	if z.codes == nil {
		z.codes = new([2]huffman)
	}
	return z.codes
}

// later says that the first of several streams has ended.
func (i *inflateStage) later() bool { return i.z != nil && i.z.members > 0 }

func (z *inflater) finish() error {
	if z.state == zWrapper && len(z.header) > 0 && z.members == 0 {
		// One or two bytes and no more: raw, if anything.
		b := append([]byte(nil), z.header...)
		z.state, z.header = zBlock, z.header[:0]
		if err := z.decode(b); err != nil {
			return err
		}
	}
	return z.next.finish()
}

// write goes on behind the end of a stream with the next: aiohttp takes as many as there are, of any wrapper, where what is
// behind the end is one. Older releases, and most others, look at the first alone.
func (z *inflater) write(b []byte) error {
	var carry [16]byte
	n := 0 // bytes of carry, which come before b
	for {
		in := b
		if n > 0 {
			in = carry[:n]
		}
		if err := z.some(in); err != nil {
			if z.members == 0 {
				return err
			}
			if err == errExpansion || err == errWork {
				return err
			}
			z.state = zOver
			return nil
		}
		if z.state != zDone {
			if n == 0 {
				return nil
			}
			n = 0
			if len(b) == 0 {
				return nil
			}
			continue
		}
		// What was read ahead is in the accumulator, whole bytes.
		var ahead [8]byte
		k := 0
		for ; z.n >= 8; k++ {
			ahead[k] = byte(z.take(8))
		}
		if n > 0 {
			n = k + copy(carry[k:], z.unread)
		} else {
			n, b = k, z.unread
		}
		copy(carry[:], ahead[:k])
		if n == 0 && len(b) == 0 {
			return nil
		}
		z.again()
	}
}

// again makes ready for another stream.
func (z *inflater) again() {
	z.members++
	z.acc, z.n, z.final = 0, 0, false
	z.pos, z.sent, z.stored = 0, 0, 0
	z.header, z.flags, z.skip, z.sum, z.size, z.ntrail, z.hcrc = z.header[:0], 0, 0, nil, 0, 0, 0
	if z.state = zWrapper; z.wrap == rawDeflate {
		z.state = zBlock
	}
}

// some takes bytes of one stream; behind its end, in zDone, the rest is in acc and unread.
func (z *inflater) some(b []byte) error {
	z.unread = nil
	for len(b) > 0 && z.state < zBlock {
		was := z.state
		n, err := z.unwrap(b)
		if err != nil {
			return err
		}
		if was != zHeaderSum {
			z.hcrc = crc32.Update(z.hcrc, crc32.IEEETable, b[:n])
		}
		b = b[n:]
	}
	if len(b) == 0 {
		return nil
	}
	return z.decode(b)
}

// unwrap reads a wrapper's header, RFC 1952 section 2.3 and RFC 1950 section 2.2.
func (z *inflater) unwrap(b []byte) (int, error) {
	switch z.state {
	case zWrapper:
		z.header = append(z.header, b[0])
		h := z.header
		switch {
		case len(h) == 1:
		case len(h) == 2 && h[0] == 0x1f && h[1] == 0x8b:
			z.wrap = gzipWrapper
		case len(h) == 2 && h[0]&0x0f == 8 && h[0]>>4 <= 7 && binary.BigEndian.Uint16(h)%31 == 0 && h[1]&0x20 == 0:
			z.wrap, z.sum, z.state = zlibWrapper, adler32.New(), zBlock
		case len(h) == 2 && z.members > 0:
			return 1, errCoding
		case len(h) == 2:
			first := [2]byte{h[0], h[1]}
			z.state = zBlock
			return 1, z.decode(first[:])
		case len(h) == 10:
			if h[2] != 8 || h[3]&0xe0 != 0 {
				return 1, errCoding
			}
			z.flags, z.sum = h[3], crc32.NewIEEE()
			z.state = zExtraLen
			z.header = z.header[:0]
			z.afterHeader()
		}
	case zExtraLen:
		if z.header = append(z.header, b[0]); len(z.header) == 2 {
			z.skip = int(binary.LittleEndian.Uint16(z.header))
			z.header = z.header[:0]
			z.state = zExtra
			z.afterHeader()
		}
	case zHeaderSum:
		if z.header = append(z.header, b[0]); len(z.header) == 2 {
			if binary.LittleEndian.Uint16(z.header) != uint16(z.hcrc) {
				return 1, errCoding
			}
			z.state = zBlock
		}
	case zExtra:
		n := min(z.skip, len(b))
		z.skip -= n
		if z.skip == 0 {
			z.state++
			z.afterHeader()
		}
		return n, nil
	case zName, zComment:
		for i, c := range b {
			if c == 0 {
				z.state++
				z.afterHeader()
				return i + 1, nil
			}
		}
		return len(b), nil
	}
	return 1, nil
}

// afterHeader skips the optional parts of a gzip header that its flags do not announce.
func (z *inflater) afterHeader() {
	const fhcrc, fextra, fname, fcomment = 2, 4, 8, 16
	if z.state == zExtraLen && z.flags&fextra == 0 || z.state == zExtra && z.skip == 0 {
		z.state = zName
	}
	if z.state == zName && z.flags&fname == 0 {
		z.state = zComment
	}
	if z.state == zComment && z.flags&fcomment == 0 {
		z.state = zHeaderSum
	}
	if z.state == zHeaderSum && z.flags&fhcrc == 0 {
		z.state = zBlock
	}
}

// fill moves bytes into the accumulator.
func (z *inflater) fill(b []byte) []byte {
	for z.n <= 56 && len(b) > 0 {
		z.acc |= uint64(b[0]) << z.n
		z.n += 8
		b = b[1:]
	}
	return b
}

func (z *inflater) take(n uint) uint32 {
	v := uint32(z.acc & (1<<n - 1))
	z.acc >>= n
	z.n -= n
	return v
}

// codeOrder is the order in which the lengths of the code length code are sent, RFC 1951 section 3.2.7.
var codeOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// decode takes deflated bytes. Every step either has all the bits it needs or takes none, and then says that it needs
// more.
func (z *inflater) decode(b []byte) error {
	z.work += len(b)
	b = z.fill(b)
	for {
		var more bool
		var err error
		switch z.state {
		case zBlock:
			b, more, err = z.block(b)
		case zStored:
			b, more, err = z.storedLength(b)
		case zStoredData:
			b, more, err = z.storedData(b)
		case zLengths:
			b, more, err = z.codeLengths(b)
		case zCodes:
			b, more, err = z.blockCodes(b)
		case zData:
			b, more, err = z.data(b)
		case zTrailer:
			b, more, err = z.readTrailer(b)
		case zDone:
			z.unread = b
			more = true
		default: // what follows the end is not looked at
			more = true
		}
		if err != nil {
			return err
		}
		if more {
			return z.flush()
		}
	}
}

// block reads the three bits that begin a block, or ends the stream behind the last.
func (z *inflater) block(b []byte) (rest []byte, more bool, err error) {
	if z.final {
		z.take(z.n & 7)
		if z.wrap == rawDeflate {
			z.state = zDone
		} else {
			z.state = zTrailer
		}
		return b, false, nil
	}
	if z.n < 3 {
		return b, true, nil
	}
	z.final = z.take(1) == 1
	switch z.take(2) {
	case 0:
		z.take(z.n & 7)
		z.state = zStored
	case 1:
		z.open()
		codes := fixedCodes()
		z.lit, z.dist, z.state = &codes[0], &codes[1], zData
	case 2:
		z.state, z.nclen = zLengths, 0
	default:
		return b, false, z.broken()
	}
	return b, false, nil
}

// storedLength reads the length of a stored block, RFC 1951 section 3.2.4.
func (z *inflater) storedLength(b []byte) (rest []byte, more bool, err error) {
	if b = z.fill(b); z.n < 32 {
		return b, true, nil
	}
	n := z.take(16)
	if n != ^z.take(16)&0xffff {
		return b, false, z.broken()
	}
	z.stored, z.state = int(n), zStoredData
	if n > 0 {
		z.open()
	}
	return b, false, nil
}

// storedData copies a stored block, first what was read ahead of it.
func (z *inflater) storedData(b []byte) (rest []byte, more bool, err error) {
	for z.stored > 0 && z.n >= 8 {
		z.put(byte(z.take(8)))
		z.stored--
		if err := z.room(); err != nil {
			return b, false, err
		}
	}
	if z.n == 0 {
		z.acc = 0 // bits read ahead are bytes of b, which is taken directly now
	}
	for z.stored > 0 && len(b) > 0 {
		n := copy(z.window[z.pos:], b[:min(z.stored, len(b))])
		z.pos += n
		z.stored -= n
		b = b[n:]
		if err := z.room(); err != nil {
			return b, false, err
		}
	}
	if z.stored > 0 {
		return b, true, nil
	}
	z.state = zBlock
	b = z.fill(b)
	return b, false, nil
}

// codeLengths reads the code by which the lengths of the two others are sent, RFC 1951 section 3.2.7.
func (z *inflater) codeLengths(b []byte) (rest []byte, more bool, err error) {
	if b = z.fill(b); z.nclen == 0 {
		if z.n < 14 {
			return b, true, nil
		}
		z.nlit, z.ndist, z.nclen, z.got = int(z.take(5))+257, int(z.take(5))+1, int(z.take(4))+4, 0
		if z.nlit > 286 || z.ndist > 30 {
			return b, false, z.broken()
		}
		clear(z.lens[:19])
	}
	for z.got < z.nclen {
		if b = z.fill(b); z.n < 3 {
			return b, true, nil
		}
		z.lens[codeOrder[z.got]] = uint8(z.take(3))
		z.got++
	}
	if z.lit = &z.own()[0]; !z.lit.build(z.lens[:19]) {
		return b, false, z.broken()
	}
	z.got, z.state = 0, zCodes
	return b, false, nil
}

// blockCodes reads the lengths of a block's two codes, and makes their tables.
func (z *inflater) blockCodes(b []byte) (rest []byte, more bool, err error) {
	for z.got < z.nlit+z.ndist {
		b = z.fill(b)
		e := z.lit.look(z.acc)
		l := uint(e & 15)
		if l == 0 && z.n >= 15 {
			return b, false, z.broken()
		}
		sym := e >> 4
		extra, base := uint(0), 0
		switch {
		case sym == 16:
			extra, base = 2, 3
		case sym == 17:
			extra, base = 3, 3
		case sym == 18:
			extra, base = 7, 11
		}
		if l == 0 || z.n < l+extra {
			return b, true, nil
		}
		z.take(l)
		if sym < 16 {
			z.lens[z.got] = uint8(sym)
			z.got++
			continue
		}
		v := uint8(0)
		if sym == 16 {
			if z.got == 0 {
				return b, false, z.broken()
			}
			v = z.lens[z.got-1]
		}
		for range base + int(z.take(extra)) {
			z.lens[z.got] = v // lens has room for a longest run beyond its last
			z.got++
		}
	}
	if z.got != z.nlit+z.ndist || z.lens[256] == 0 {
		return b, false, z.broken()
	}
	z.dist = &z.codes[1]
	if !z.lit.build(z.lens[:z.nlit]) || !z.dist.build(z.lens[z.nlit:z.nlit+z.ndist]) {
		return b, false, z.broken()
	}
	if z.work += blockWork; z.work >= blockWork<<4 {
		if err := z.pay(); err != nil {
			return b, false, err
		}
	}
	z.open()
	z.state = zData
	return b, false, nil
}

// readTrailer checks what stands behind the last block: the sum, and in gzip the size.
func (z *inflater) readTrailer(b []byte) (rest []byte, more bool, err error) {
	b = z.fill(b)
	want := 4
	if z.wrap == gzipWrapper {
		want = 8
	}
	for z.ntrail < want && z.n >= 8 {
		z.trailer[z.ntrail] = byte(z.take(8))
		z.ntrail++
		b = z.fill(b)
	}
	if err := z.flush(); err != nil || z.ntrail < want {
		return b, z.ntrail < want, err
	}
	sum := z.sum.Sum32()
	switch {
	case z.wrap == zlibWrapper && binary.BigEndian.Uint32(z.trailer[:]) != sum,
		z.wrap == gzipWrapper && (binary.LittleEndian.Uint32(z.trailer[:]) != sum || binary.LittleEndian.Uint32(z.trailer[4:]) != z.size):
		return b, false, errCoding
	}
	z.state = zDone
	return b, false, nil
}

// data decodes symbols of a block until its end; more says that it needs more bits.
// It is whole because it runs once a symbol: a call for each half of a match costs more than the copy.
func (z *inflater) data(b []byte) (rest []byte, more bool, err error) {
	for {
		if len(b) >= 8 && z.n <= 56 {
			z.acc |= binary.LittleEndian.Uint64(b) << z.n
			k := (63 - z.n) >> 3
			z.n += k * 8
			b = b[k:]
		} else {
			b = z.fill(b)
		}
		acc, n := z.acc, z.n
		e := z.lit.look(acc)
		l := uint(e & 15)
		if l == 0 {
			if n >= 15 {
				return b, false, z.broken()
			}
			return b, true, nil
		}
		if n < l {
			return b, true, nil
		}
		acc, n = acc>>l, n-l
		sym := e >> 4
		if sym < 256 {
			z.acc, z.n = acc, n
			z.window[z.pos] = byte(sym)
			if z.pos++; z.pos == len(z.window) {
				if err := z.room(); err != nil {
					return b, false, err
				}
			}
			continue
		}
		if sym == 256 {
			z.acc, z.n = acc, n
			z.state = zBlock
			return b, false, nil
		}
		if sym > 285 {
			return b, false, z.broken()
		}
		// Length 3 to 258 and distance 1 to 32768, RFC 1951 section 3.2.5.
		s := uint(sym) - 257
		length := int(s) + 3
		switch {
		case s == 28:
			length = 258
		case s >= 8:
			x := (s - 4) >> 2
			if n < x {
				return b, true, nil
			}
			length = int((4+s&3)<<x) + 3 + int(acc&(1<<x-1))
			acc, n = acc>>x, n-x
		}
		e = z.dist.look(acc)
		if l = uint(e & 15); l == 0 {
			if n >= 15 {
				return b, false, z.broken()
			}
			return b, true, nil
		}
		if n < l {
			return b, true, nil
		}
		acc, n = acc>>l, n-l
		s = uint(e >> 4)
		if s > 29 {
			return b, false, z.broken()
		}
		distance := int(s) + 1
		if s >= 4 {
			x := s>>1 - 1
			if n < x {
				return b, true, nil
			}
			distance = int((2+s&1)<<x) + 1 + int(acc&(1<<x-1))
			acc, n = acc>>x, n-x
		}
		z.acc, z.n = acc, n
		if distance > z.pos {
			return b, false, z.broken()
		}
		if z.pos+length > len(z.window) {
			if err := z.room(); err != nil {
				return b, false, err
			}
		}
		if distance >= length {
			copy(z.window[z.pos:z.pos+length], z.window[z.pos-distance:])
			z.pos += length
		} else {
			for range length {
				z.window[z.pos] = z.window[z.pos-distance]
				z.pos++
			}
		}
		if z.pos == len(z.window) {
			if err := z.room(); err != nil {
				return b, false, err
			}
		}
	}
}

func (z *inflater) put(c byte) {
	z.window[z.pos] = c
	z.pos++
}

// room makes room for at least one more match in the window.
func (z *inflater) room() error {
	if z.pos+258 <= len(z.window) {
		return nil
	}
	if err := z.flush(); err != nil {
		return err
	}
	if len(z.window) < 2*windowSize {
		w, _ := z.pools.window.Get().(*[2 * windowSize]byte)
		if w == nil {
			w = new([2 * windowSize]byte)
		}
		copy(w[:], z.window[:z.pos])
		z.setWindow(w[:])
		return nil
	}
	copy(z.window[:windowSize], z.window[z.pos-windowSize:z.pos])
	z.pos, z.sent = windowSize, windowSize
	return nil
}

// flush passes on what was decoded.
func (z *inflater) flush() error {
	out := z.window[z.sent:z.pos]
	z.work += len(out)
	if err := z.pay(); err != nil {
		return err
	}
	if len(out) == 0 {
		return nil
	}
	z.sent = z.pos
	if z.sum != nil {
		_, _ = z.sum.Write(out)
		z.size += uint32(len(out))
	}
	return z.next.write(out)
}

// pay asks for the work that was done.
func (z *inflater) pay() error {
	n := z.work
	if z.work = 0; n == 0 || z.payer == nil {
		return nil
	}
	return z.payer.spend(n)
}

// broken passes on what there was before the mistake.
func (z *inflater) broken() error {
	if err := z.flush(); err != nil {
		return err
	}
	return errCoding
}

// huffman decodes one prefix code. Entries are symbol<<4 | length; length 0 says that no code begins so.
type huffman struct {
	fast [1 << fastBits]uint16
	// Codes longer than fastBits, by length: canonical codes of one length are consecutive numbers.
	first, count, index [16]uint16
	syms                [288]uint16
	longest             uint
}

const fastBits = 10

// build makes the tables from code lengths. It refuses codes that are over-full, and those that leave something
// unused unless they are a single code, as zlib does.
func (h *huffman) build(lens []uint8) bool {
	clear(h.fast[:])
	clear(h.count[:])
	h.longest = 0
	for _, l := range lens {
		h.count[l]++
		h.longest = max(h.longest, uint(l))
	}
	h.count[0] = 0
	code, index, left := 0, 0, 1
	var next [16]int
	var at [16]int
	total := 0
	for l := 1; l < 16; l++ {
		code = (code + int(h.count[l-1])) << 1
		next[l], at[l] = code, index
		h.first[l], h.index[l] = uint16(code), uint16(index)
		index += int(h.count[l])
		left = left<<1 - int(h.count[l])
		if left < 0 {
			return false
		}
		total += int(h.count[l])
	}
	if left > 0 && (total > 1 || h.longest > 1) {
		return false
	}
	for sym, l := range lens {
		if l == 0 {
			continue
		}
		c := next[l]
		next[l]++
		h.syms[at[l]] = uint16(sym)
		at[l]++
		if l <= fastBits {
			r := int(bits.Reverse16(uint16(c))) >> (16 - l)
			for ; r < 1<<fastBits; r += 1 << l {
				h.fast[r] = uint16(sym)<<4 | uint16(l)
			}
		}
	}
	return true
}

// look gives the entry for the code in the lowest bits of acc.
func (h *huffman) look(acc uint64) uint16 {
	if e := h.fast[acc&(1<<fastBits-1)]; e != 0 {
		return e
	}
	c := uint(bits.Reverse16(uint16(acc))) // the code's first bit highest
	for l := uint(fastBits + 1); l <= h.longest; l++ {
		if v := c >> (16 - l); v-uint(h.first[l]) < uint(h.count[l]) && v >= uint(h.first[l]) {
			return h.syms[uint(h.index[l])+v-uint(h.first[l])]<<4 | uint16(l)
		}
	}
	return 0
}
