// Package logindex finds the parts of a log that may have a value, without reading the log.
//
// In: the text of a log, tab-separated or JSON lines, in blocks of whole lines. Out: a file alongside it with a Bloom filter
// of the values of each block, the times of its rows, and where the block begins, also in the compressed file; and from
// that file, for a value, the blocks that may have it.
//
// An index says "may" of about one block in a hundred that does not have the value, and never "not" of one that has it. It
// knows values that fill a cell (addresses, also by network, UIDs, Community IDs, names, hashes), not parts of them and not
// numbers. It does not see rows that are damaged.
package logindex

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
)

const (
	// BlockSize is from how many bytes on a block is full. It ends with the line.
	BlockSize = 1 << 20
	// bits of the filter for a token, in buckets of a cache line.
	perToken    = 12
	bucketBytes = 64
	bucketBits  = 8 * bucketBytes
	probes      = 6

	magic     = "raytapX1"
	entrySize = 48
	tailSize  = 40
	// A block has one row at least, and a file at most so many.
	maxBlocks = 1 << 20
	// A longer line has no tokens.
	maxLine = 4 << 20
)

// Path returns the path of the index of a log, compressed or not.
func Path(log string) string {
	base := filepath.Base(log)
	for _, ext := range [...]string{".gz", ".zst"} {
		base = strings.TrimSuffix(base, ext)
	}
	return filepath.Join(filepath.Dir(log), "."+base+".idx")
}

// Block is a part of a log.
type Block struct {
	Raw, Packed int64 // where it begins in the text, and in the file
	First, Last capture.Time
	Rows        uint32
	filter      int64
	buckets     uint32
}

// Builder writes an index. It holds the tokens of one block.
type Builder struct {
	out    *bufio.Writer
	at     int64
	blocks []Block
	tokens tokens
	raw    int64
	sep    byte
	ts     int // columns of the text form; -1: there is none
	dur    int
	err    error
}

// NewBuilder makes one that writes to w.
func NewBuilder(w io.Writer) *Builder {
	b := &Builder{out: bufio.NewWriterSize(w, 32<<10), sep: '\t', ts: -1, dur: -1, tokens: tokens{nets: map[netip.Prefix]bool{}}}
	b.write([]byte(magic))
	return b
}

func (b *Builder) write(p []byte) {
	if b.err == nil {
		var n int
		n, b.err = b.out.Write(p)
		b.at += int64(n)
	}
}

// Block takes the next block, of whole lines, which begins at the byte packed of the file.
func (b *Builder) Block(text []byte, packed int64) {
	k := Block{Raw: b.raw, Packed: packed, First: math.MaxInt64, Last: math.MinInt64, filter: b.at}
	b.raw += int64(len(text))
	b.tokens.reset()
	for len(text) > 0 {
		line, rest, _ := bytes.Cut(text, []byte{'\n'})
		text = rest
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if len(line) == 0 || len(line) > maxLine {
			continue
		}
		from, to, ok := capture.Time(0), capture.Time(0), false
		switch line[0] {
		case '#':
			b.header(line)
			continue
		case '{':
			b.tokens.object(line)
			from, to, ok = objectTime(line)
		default:
			from, to, ok = b.row(line)
		}
		k.Rows++
		if !ok { // it may be of any time
			from, to = math.MinInt64, math.MaxInt64
		}
		k.First, k.Last = min(k.First, from), max(k.Last, to)
	}
	slices.Sort(b.tokens.all)
	all := slices.Compact(b.tokens.all)
	k.buckets = uint32((len(all)*perToken + bucketBits - 1) / bucketBits)
	filter := make([]byte, int(k.buckets)*bucketBytes)
	for _, t := range all {
		bucket, bits := place(t, k.buckets)
		for _, i := range bits {
			filter[int(bucket)*bucketBytes+int(i>>3)] |= 1 << (i & 7)
		}
	}
	b.write(filter)
	if b.blocks = append(b.blocks, k); len(b.blocks) > maxBlocks && b.err == nil {
		b.err = errors.New("logindex: too many blocks")
	}
}

func (b *Builder) header(line []byte) {
	if s, ok := bytes.CutPrefix(line, []byte("#separator ")); ok {
		if s = AppendUnescaped(nil, s); len(s) == 1 {
			b.sep = s[0]
		}
		return
	}
	if rest, ok := bytes.CutPrefix(line, append([]byte("#fields"), b.sep)); ok {
		b.ts, b.dur = -1, -1
		for i, name := range bytes.Split(rest, []byte{b.sep}) {
			switch string(name) {
			case "ts":
				b.ts = i
			case "duration":
				b.dur = i
			}
		}
	}
}

// row takes a row of the text form. It returns the time that it is of.
func (b *Builder) row(line []byte) (from, to capture.Time, ok bool) {
	var length capture.Time
	for i := 0; ; i++ {
		cell, rest, more := bytes.Cut(line, []byte{b.sep})
		switch i {
		case b.ts:
			from, ok = parseTime(cell)
		case b.dur:
			length, _ = parseTime(cell)
		default:
			b.tokens.cell(cell)
		}
		if !more {
			return from, from + max(length, 0), ok
		}
		line = rest
	}
}

// objectTime returns the time of a row in the JSON form.
func objectTime(line []byte) (from, to capture.Time, ok bool) {
	number := func(key string) []byte {
		_, rest, found := bytes.Cut(line, []byte(key))
		if !found {
			return nil
		}
		rest = bytes.TrimLeft(rest, " ")
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.' || rest[n] == '-') {
			n++
		}
		return rest[:n]
	}
	if from, ok = parseTime(number(`"ts":`)); !ok {
		return 0, 0, false
	}
	length, _ := parseTime(number(`"duration":`))
	return from, from + max(length, 0), true
}

// parseTime reads seconds with a fraction.
func parseTime(b []byte) (capture.Time, bool) {
	whole, frac, _ := bytes.Cut(b, []byte{'.'})
	sec, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil || sec < 0 || sec > 1<<32 {
		return 0, false
	}
	ns, scale := int64(0), int64(1e8)
	for _, c := range frac {
		if c < '0' || c > '9' {
			return 0, false
		}
		ns += int64(c-'0') * scale
		scale /= 10
	}
	return capture.Time(sec*1e9 + ns), true
}

// place returns where a token is in a filter.
func place(t uint64, buckets uint32) (bucket uint32, bits [probes]uint32) {
	bucket = uint32((t >> 32) * uint64(buckets) >> 32)
	h := uint32(t)
	step := uint32(t*0x9e3779b97f4a7c15>>32) | 1
	for i := range bits {
		bits[i] = h >> 23 // nine bits of it
		h = h*0x9e3779b1 + step
	}
	return bucket, bits
}

// Close writes what is left: the log has so many bytes, compressed or not.
func (b *Builder) Close(size int64) error {
	table := make([]byte, 0, len(b.blocks)*entrySize)
	for i := range b.blocks {
		k := &b.blocks[i]
		table = binary.LittleEndian.AppendUint64(table, uint64(k.Raw))
		table = binary.LittleEndian.AppendUint64(table, uint64(k.Packed))
		table = binary.LittleEndian.AppendUint64(table, uint64(k.filter))
		table = binary.LittleEndian.AppendUint32(table, k.buckets)
		table = binary.LittleEndian.AppendUint32(table, k.Rows)
		table = binary.LittleEndian.AppendUint64(table, uint64(k.First))
		table = binary.LittleEndian.AppendUint64(table, uint64(k.Last))
	}
	at := b.at
	b.write(table)
	tail := binary.LittleEndian.AppendUint64(nil, uint64(at))
	tail = binary.LittleEndian.AppendUint64(tail, uint64(b.raw))
	tail = binary.LittleEndian.AppendUint64(tail, uint64(size))
	tail = binary.LittleEndian.AppendUint32(tail, uint32(len(b.blocks)))
	sum := crc32.ChecksumIEEE(append(table, tail...))
	tail = binary.LittleEndian.AppendUint32(tail, sum)
	b.write(append(tail, magic...))
	if b.err == nil {
		b.err = b.out.Flush()
	}
	return b.err
}

// Index is an index that is open for reading.
type Index struct {
	Blocks []Block
	r      io.ReaderAt
	end    int64 // of the log's file
	raw    int64
}

var errNone = errors.New("logindex: it is none, or of another file")

// Open opens the index in r of a log whose file has size bytes. That it is of another file is an error.
func Open(r io.ReaderAt, indexSize, size int64) (*Index, error) {
	if indexSize < int64(len(magic)+tailSize) {
		return nil, errNone
	}
	var tail [tailSize]byte
	if _, err := r.ReadAt(tail[:], indexSize-tailSize); err != nil {
		return nil, err
	}
	at, raw := int64(binary.LittleEndian.Uint64(tail[:])), int64(binary.LittleEndian.Uint64(tail[8:]))
	n := int64(binary.LittleEndian.Uint32(tail[24:]))
	if string(tail[32:]) != magic || binary.LittleEndian.Uint64(tail[16:]) != uint64(size) || n > maxBlocks || at < 0 || at+n*entrySize != indexSize-tailSize {
		return nil, errNone
	}
	table := make([]byte, n*entrySize)
	if _, err := r.ReadAt(table, at); err != nil {
		return nil, err
	}
	if crc32.Update(crc32.ChecksumIEEE(table), crc32.IEEETable, tail[:28]) != binary.LittleEndian.Uint32(tail[28:]) {
		return nil, errNone
	}
	x := &Index{r: r, end: size, raw: raw, Blocks: make([]Block, n)}
	for i := range x.Blocks {
		e := table[i*entrySize:]
		k := &x.Blocks[i]
		*k = Block{
			Raw: int64(binary.LittleEndian.Uint64(e)), Packed: int64(binary.LittleEndian.Uint64(e[8:])), filter: int64(binary.LittleEndian.Uint64(e[16:])),
			buckets: binary.LittleEndian.Uint32(e[24:]), Rows: binary.LittleEndian.Uint32(e[28:]),
			First: capture.Time(binary.LittleEndian.Uint64(e[32:])), Last: capture.Time(binary.LittleEndian.Uint64(e[40:])),
		}
		var before Block
		if i > 0 {
			before = x.Blocks[i-1]
		}
		if k.Raw < before.Raw || k.Raw > raw || k.Packed < before.Packed || k.Packed > size || k.filter < 0 || k.filter > at {
			return nil, errNone
		}
	}
	return x, nil
}

// Span returns where block i is in the file, and how long its text is.
func (x *Index) Span(i int) (from, to, text int64) {
	k := &x.Blocks[i]
	to, text = x.end, x.raw
	if i+1 < len(x.Blocks) {
		to, text = x.Blocks[i+1].Packed, x.Blocks[i+1].Raw
	}
	return k.Packed, to, text - k.Raw
}

// May reports whether block i may have a value with one of these tokens. What cannot be read may.
func (x *Index) May(i int, tokens []uint64) bool {
	k := &x.Blocks[i]
	if k.buckets == 0 {
		return false
	}
	for _, t := range tokens {
		bucket, bits := place(t, k.buckets)
		var b [bucketBytes]byte
		if _, err := x.r.ReadAt(b[:], k.filter+int64(bucket)*bucketBytes); err != nil {
			return true
		}
		has := true
		for _, i := range bits {
			has = has && b[i>>3]&(1<<(i&7)) != 0
		}
		if has {
			return true
		}
	}
	return false
}
