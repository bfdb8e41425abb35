package capture

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Capture files: pcap in its variants (file_pcap.go) and pcapng (file_pcapng.go), plain or compressed with gzip or zstd,
// all recognised by their bytes. The file is read in blocks straight into the batch's own buffer and frames are slices
// of it; nothing is allocated or copied for a frame, except for the one that a block ends in the middle of.

const (
	// Bytes read at a time, at first and by goroutines that read ahead. A mapped file in place of reading was tried: its page
	// faults, and headers that nothing fetched ahead, ate what not copying saved.
	readBlock = 256 << 10
	// After that a block holds about so many frames, within bounds: enough that a read call and waking the workers are nothing
	// beside them, and so few that they, and what is made of them, are still in the second-level cache when the next stage comes to
	// them. With two workers blocks of 512 KiB take 7 % off the time of HTTP and put 10 % on that of short connections.
	blockFrames           = 600
	leastBlock, mostBlock = 96 << 10, 512 << 10
	// A caller that reads many files at once may bring buffers as small as this; they grow if a frame is longer.
	minReadBlock = 64 << 10
	// The longest frame: libpcap's MAXIMUM_SNAPLEN. A record that claims more is damage, except for the link types of
	// longFrames, of which this much is handed out.
	maxFrame = 262144
	// What libpcap and Wireshark allow for D-Bus and USB.
	maxLongFrame = 128 << 20
	// A zstd frame names the window that it needs; this is what zstd --long=27 uses. A file that asks for more is
	// refused, so that no file makes us allocate gigabytes.
	maxWindow = 128 << 20
	// Compressed files inside of compressed files. Two happens by accident, more is a bomb.
	maxCompressed = 2
	// What comes out of compression for each byte that goes in, from the first gigabyte on. gzip makes 1,032 at the very
	// most; two of them, or zstd, a million, and a file of a megabyte would keep a machine busy for a day.
	maxExpansion, freeExpansion = 2048, 1 << 30
)

// InputError says what is wrong with an input and where. Every frame before that place was delivered.
type InputError struct {
	File   string
	Offset int64 // in the uncompressed stream
	Reason string
	Cut    bool  // the input ends in the middle of something: it was cut short, or is still being written
	Err    error // what the reader or decompressor below said, or nil
}

func (e *InputError) Error() string {
	s := fmt.Sprintf("capture: %s: offset %d: %s", e.File, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *InputError) Unwrap() error { return e.Err }

// OpenFile opens a capture file; "-" is standard input, which Close leaves open.
func OpenFile(name string) (Source, error) {
	if name == "-" {
		return NewFile("standard input", os.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("capture: %w", err)
	}
	s, err := NewFile(name, f)
	if err != nil {
		f.Close()
		return nil, err
	}
	s.(*file).close = f.Close
	return s, nil
}

// NewFile reads a capture from r, which it does not close. name is what errors call it. Errors are *InputError.
//
// Frames are handed out as r delivers them, so that a pipe from a running capture can be followed.
func NewFile(name string, r io.Reader) (Source, error) {
	f := &file{name: name, r: r}
	if err := f.open(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// records is a file format.
type records interface {
	// scan appends the frames that b begins with to fs, numbering them from ordinal, and returns how many bytes they
	// took. The rest of b is the beginning of a record; it is to be offered again when at least need bytes of it are
	// there (0: at least one more). off is the place of b[0] in the file.
	scan(b []byte, off int64, fs []Frame, ordinal uint64) (_ []Frame, used, need int, err error)
	// pending is how many bytes must follow, beyond what scan was offered, of records that it passes over.
	pending() int64
}

// file is a Source over a stream of records.
type file struct {
	name  string
	r     io.Reader
	whole bool // r gives little at a time though there is more: read until the block is full
	block int  // how much to read next, 0: readBlock
	recs  records
	tail  []byte // read, not used: the beginning of a record
	off   int64  // offset of tail[0], or of what comes next
	count uint64
	err   error // how it ended; final

	packed  *counted     // what is compressed, nil: nothing is
	ahead   *ahead       // nil: it is read as frames are asked for
	release []func()     // decompressors
	close   func() error // the file, if we opened it
}

// open reads through compression to the file's header.
func (f *file) open() error {
	for range maxCompressed + 1 {
		magic := make([]byte, 4)
		n, err := f.full(magic)
		if err != nil {
			return f.end(magic[:n], len(magic), err)
		}
		gz := magic[0] == 0x1f && magic[1] == 0x8b
		zst := string(magic) == "\x28\xb5\x2f\xfd" || magic[0]&0xf0 == 0x50 && string(magic[1:]) == "\x2a\x4d\x18" // or a skippable frame before
		var again io.Reader = io.MultiReader(bytes.NewReader(magic), f.r)
		if f.packed == nil && (gz || zst) {
			f.packed = &counted{r: again}
			again = f.packed
		}
		packed := ""
		switch {
		case gz:
			packed = "gzip"
			f.r, err = gzip.NewReader(again)
		case zst:
			packed = "zstd"
			var d *zstd.Decoder // one, so that it starts no goroutines
			if d, err = zstd.NewReader(again, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow)); err == nil {
				f.r = d
				f.release = append(f.release, d.Close)
			}
		default:
			if f.packed == nil {
				return f.format(magic)
			}
			f.r = &expanded{r: f.r, packed: f.packed, n: int64(len(magic))}
			return f.format(magic)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return &InputError{f.name, 0, "cut short: the header of the " + packed + " data is not complete", true, nil}
		case err != nil:
			return &InputError{f.name, 0, "the header of the " + packed + " data is damaged", false, err}
		}
		f.whole = true
	}
	return f.fail(0, fmt.Sprintf("compressed more than %d times", maxCompressed))
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// errExpansion says that compressed data expands beyond any capture's.
var errExpansion = fmt.Errorf("it expands more than %d times", maxExpansion)

// expanded gives r up to where it expands beyond the bound.
type expanded struct {
	r      io.Reader
	packed *counted
	n      int64
}

func (e *expanded) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	if e.n += int64(n); e.n > freeExpansion && e.n/maxExpansion > e.packed.n {
		return n, errExpansion
	}
	return n, err
}

// format opens the file format that begins with magic.
func (f *file) format(magic []byte) error {
	if string(magic) == "\x0a\x0d\x0d\x0a" {
		f.recs, f.tail = &pcapng{name: f.name}, magic
		return nil
	}
	p, more := newPcap(f.name, magic)
	if p == nil {
		return f.fail(0, fmt.Sprintf("not a capture file: it begins with % x%s", magic, looksLike(magic)))
	}
	head := append(magic, make([]byte, more-len(magic))...)
	if n, err := f.full(head[len(magic):]); err != nil {
		return f.end(head[:len(magic)+n], len(head), err)
	}
	f.off = int64(len(head))
	f.recs = p
	return p.header(head)
}

// looksLike names what is mistaken for captures.
func looksLike(m []byte) string {
	switch {
	case string(m) == "snoo":
		return " (looks like snoop: convert it with editcap)"
	case string(m[:3]) == "BZh":
		return " (looks like bzip2: unpack it first)"
	case string(m) == "\xfd7zX":
		return " (looks like xz: unpack it first)"
	case string(m) == "\x04\x22\x4d\x18":
		return " (looks like lz4: unpack it first)"
	case string(m) == "PK\x03\x04":
		return " (looks like a zip archive: unpack it first)"
	case string(m) == "7z\xbc\xaf":
		return " (looks like a 7z archive: unpack it first)"
	case string(m) == "\x7fELF":
		return " (looks like a program)"
	case string(m) == "XCP\x00":
		return " (looks like NetXray: convert it with editcap)"
	case string(m) == "GMBU":
		return " (looks like Microsoft Network Monitor: convert it with editcap)"
	case string(m) == "RTSS":
		return " (looks like Network Monitor 1: convert it with editcap)"
	}
	for _, c := range m {
		if c != '\t' && c != '\n' && c != '\r' && (c < ' ' || c > '~') {
			return ""
		}
	}
	return " (looks like text)"
}

func (f *file) fail(at int64, reason string) error {
	return &InputError{File: f.name, Offset: at, Reason: reason}
}

// end is the error of an input that ends with rest, of which need bytes should be there, and err.
func (f *file) end(rest []byte, need int, err error) error {
	skip := int64(0)
	if f.recs != nil {
		skip = f.recs.pending()
	}
	at := f.off + int64(len(rest))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && f.whole:
		return &InputError{f.name, at, "cut short: the compressed data is not complete", true, err}
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		reason := "cannot be read"
		if errors.Is(err, errExpansion) {
			reason = "the compressed data is refused"
		} else if f.whole {
			reason = "the compressed data is damaged"
		}
		return &InputError{f.name, at, reason, false, err}
	case f.recs == nil && at == 0:
		return &InputError{f.name, 0, "empty", true, nil}
	case f.recs == nil:
		return &InputError{f.name, f.off, fmt.Sprintf("cut short: only %d bytes of the header are there", len(rest)), true, nil}
	case skip > 0:
		return &InputError{f.name, at, fmt.Sprintf("cut short: %d bytes of a record are missing", skip), true, nil}
	case len(rest) > 0 && need == 0:
		return &InputError{f.name, f.off, fmt.Sprintf("cut short: only %d bytes of a record's header are there", len(rest)), true, nil}
	case len(rest) > 0:
		return &InputError{f.name, f.off, fmt.Sprintf("cut short: only %d bytes of a record of %d are there", len(rest), need), true, nil}
	}
	return io.EOF
}

// ReadBatch implements Source.
func (f *file) ReadBatch(b *Batch) error {
	b.Frames = b.Frames[:0]
	if f.err != nil {
		return f.err
	}
	buf, n, err := f.begin(b)
	for {
		used, need := 0, 0
		var bad error
		b.Frames, used, need, bad = f.recs.scan(buf[:n], f.off, b.Frames, f.count+1)
		f.off += int64(used)
		f.count += uint64(len(b.Frames))
		if len(b.Frames) > 0 {
			f.block = min(max(used/len(b.Frames)*blockFrames, leastBlock), mostBlock)
		}
		switch {
		case bad != nil:
			f.err = bad
			return bad
		case err != nil:
			if f.err = f.end(buf[used:n], need, err); f.err == io.EOF && len(b.Frames) > 0 {
				return nil
			}
			return f.err
		case len(b.Frames) > 0:
			f.tail = append(f.tail, buf[used:n]...)
			return nil
		}
		rest := buf[used:n]
		if need > len(buf) || used == 0 && n == len(buf) {
			if buf = b.Buf; need > len(buf) || n == len(buf) {
				buf = make([]byte, max(need, len(rest)+readBlock))
				b.Buf = buf
			}
			n = copy(buf, rest)
		} else if used > 0 {
			n = copy(buf, rest)
		}
		m := 0
		m, err = f.read(buf[n:])
		n += m
	}
}

// begin puts the beginning of a record that is left over into the batch's buffer, and reads behind it.
func (f *file) begin(b *Batch) (buf []byte, n int, err error) {
	tail := f.tail
	f.tail = f.tail[:0]
	if f.ahead != nil {
		b.Buf, buf, err = f.ahead.block(tail, b.Buf)
		return buf, len(buf), err
	}
	if cap(b.Buf) < minReadBlock {
		b.Buf = make([]byte, mostBlock)
	}
	if b.Buf = b.Buf[:cap(b.Buf)]; len(tail) > len(b.Buf) {
		b.Buf = make([]byte, len(tail))
	}
	buf = b.Buf[:min(max(cmp.Or(f.block, readBlock), len(tail)), len(b.Buf))]
	n = copy(buf, tail)
	m, err := f.read(buf[n:])
	return buf, n + m, err
}

// read fills b as far as makes sense.
func (f *file) read(b []byte) (n int, err error) {
	const patience = 100 // empty reads, as in package bufio
	for empty := 0; n < len(b) && err == nil; {
		var m int
		m, err = f.r.Read(b[n:])
		n += m
		if n > 0 && !f.whole {
			return n, err
		}
		if m == 0 && err == nil {
			if empty++; empty == patience {
				return n, io.ErrNoProgress
			}
		}
	}
	return n, err
}

// full fills b, or says why not in the reader's own words: a compressed file that ends is something else than compressed
// data that ends.
func (f *file) full(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = f.read(b[n:])
		n += m
	}
	if n == len(b) {
		return n, nil
	}
	return n, err
}

// Close implements Source.
func (f *file) Close() error {
	if f.err == nil {
		f.err = fmt.Errorf("capture: %s: %w", f.name, os.ErrClosed)
	}
	for _, release := range f.release {
		release()
	}
	f.release = nil
	if f.ahead != nil {
		f.ahead.close()
		f.ahead = nil
	}
	if f.close == nil {
		return nil
	}
	c := f.close
	f.close = nil
	return c()
}
