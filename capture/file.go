package capture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Capture files: pcap in all its variants and pcapng, plain or compressed with gzip or zstd, recognised by their bytes.
// Frames are slices of the batch's own buffer, into which the file is read in blocks; nothing is allocated for a frame.

const (
	// Bytes read at a time. Large enough that a read call is nothing beside its packets, small enough that a batch's
	// packets stay in the second-level cache on their way through the engine.
	readBlock = 256 << 10
	// The longest frame: libpcap's MAXIMUM_SNAPLEN. A record that claims more is damage.
	maxFrame = 262144
	// The longest pcapng block: a frame with ample options. Others (decryption secrets, name resolution) are skipped
	// without being held.
	maxBlock = maxFrame + 1<<20
	// A zstd frame may ask for a window of this much, the format's own recommendation for decoders times sixteen.
	maxWindow = 128 << 20
)

// InputError says what is wrong with an input and where. Frames before it were delivered.
type InputError struct {
	File   string
	Offset int64 // in the uncompressed stream
	Reason string
	Cut    bool  // the input ends in the middle of something: it was cut short, or is still being written
	Err    error // what the reader below said, or nil
}

func (e *InputError) Error() string {
	s := fmt.Sprintf("capture: %s: offset %d: %s", e.File, e.Offset, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *InputError) Unwrap() error { return e.Err }

// OpenFile opens a capture file; "-" is standard input.
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

// NewFile reads a capture from r. name is what errors call it.
func NewFile(name string, r io.Reader) (Source, error) {
	f := &file{name: name}
	magic := make([]byte, 4)
	for depth := 0; ; depth++ {
		br := bufio.NewReaderSize(r, 64<<10)
		m, err := br.Peek(4)
		if err != nil && len(m) < 4 {
			return nil, f.short(0, m, err)
		}
		copy(magic, m)
		r = br
		switch {
		case depth < 2 && magic[0] == 0x1f && magic[1] == 0x8b:
			if r, err = gzip.NewReader(br); err != nil {
				return nil, f.fail(0, "damaged gzip header", err)
			}
			continue
		case depth < 2 && bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
			d, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, f.fail(0, "damaged zstd header", err)
			}
			f.release = d.Close
			r = d
			continue
		}
		break
	}
	f.r = r
	var err error
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		f.next = (&pcapng{file: f}).next
	} else {
		f.next, err = openPcap(f, magic)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// file is a Source over a stream of records.
type file struct {
	name    string
	r       io.Reader
	next    func(b []byte, fr *Frame) (used int, got bool, err error) // see ReadBatch
	tail    []byte                                                    // read, not used: the beginning of a record
	off     int64                                                     // offset of what comes next in the stream
	skip    int64                                                     // bytes to pass over first: blocks that nobody wants
	need    int                                                       // length of the record that did not fit the block
	count   uint64
	err     error
	release func()
	close   func() error
}

func (f *file) fail(at int64, reason string, err error) error {
	return &InputError{File: f.name, Offset: at, Reason: reason, Err: err}
}

// short is the error of an input that ends, or fails, where more must come.
func (f *file) short(at int64, have []byte, err error) error {
	switch {
	case errors.Is(err, io.EOF) && at == 0 && len(have) == 0:
		return &InputError{File: f.name, Reason: "empty", Cut: true}
	case err == nil, errors.Is(err, io.EOF):
		return &InputError{File: f.name, Offset: at, Reason: fmt.Sprintf("cut short: ends in the middle of a record (%d bytes of it are there)", len(have)), Cut: true}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &InputError{File: f.name, Offset: at + int64(len(have)), Reason: "cut short: the compressed data ends early", Cut: true}
	}
	return f.fail(at+int64(len(have)), "cannot be read", err)
}

// Close implements Source.
func (f *file) Close() error {
	if f.release != nil {
		f.release()
		f.release = nil
	}
	if f.close == nil {
		return nil
	}
	c := f.close
	f.close = nil
	return c()
}

// ReadBatch implements Source. The format's next looks at the beginning of b: it returns how much it used and
// whether fr is a frame, or (0, false, nil) when the record is not all there, having set f.need.
func (f *file) ReadBatch(b *Batch) error {
	b.Frames = b.Frames[:0]
	size := max(readBlock, f.need)
	if cap(b.Buf) < size {
		b.Buf = make([]byte, size)
	}
	buf := b.Buf[:cap(b.Buf)]
	n := copy(buf, f.tail)
	f.tail = f.tail[:0]
	for len(b.Frames) == 0 && f.err == nil {
		if n < len(buf) {
			m, err := f.r.Read(buf[n:])
			n += m
			f.err = err
		}
		used := 0
		for {
			if f.skip > 0 {
				k := min(f.skip, int64(n-used))
				f.skip -= k
				f.off += k
				used += int(k)
				if f.skip > 0 {
					break
				}
			}
			var fr Frame
			k, got, err := f.next(buf[used:n], &fr)
			if err != nil {
				f.err = err
				return f.err
			}
			if k == 0 {
				break
			}
			used += k
			f.off += int64(k)
			if got {
				f.count++
				fr.Ordinal = f.count
				b.Frames = append(b.Frames, fr)
			}
		}
		if len(b.Frames) > 0 || f.need > len(buf) {
			f.tail = append(f.tail, buf[used:n]...)
			if len(b.Frames) == 0 && f.err == nil {
				return f.ReadBatch(b) // with room for the long record
			}
			break
		}
		n = copy(buf, buf[used:n])
		if f.err != nil {
			f.tail = append(f.tail, buf[:n]...)
		}
	}
	if f.err == nil || len(b.Frames) > 0 && errors.Is(f.err, io.EOF) && len(f.tail) == 0 {
		return nil
	}
	if errors.Is(f.err, io.EOF) && len(f.tail) == 0 && f.skip == 0 {
		return io.EOF
	}
	if _, ok := f.err.(*InputError); !ok {
		f.err = f.short(f.off, f.tail, f.err)
	}
	return f.err
}
