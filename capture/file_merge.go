package capture

import (
	"errors"
	"io"
)

// Merge makes one capture of several, in order of time and, at equal times, of the arguments. Frames are numbered
// anew. When one of them ends with an error, the others are read to their end first.
func Merge(srcs ...Source) Source {
	if len(srcs) == 1 {
		return srcs[0]
	}
	m := &merged{}
	for _, s := range srcs {
		m.in = append(m.in, &input{src: s})
	}
	return m
}

type merged struct {
	in    []*input
	count uint64
	err   error
}

type input struct {
	src  Source
	b    Batch
	at   int
	done bool
}

// head makes sure that there is a frame to look at, or that the input is done.
func (m *merged) head(i *input) {
	for !i.done && i.at == len(i.b.Frames) {
		i.at = 0
		if err := i.src.ReadBatch(&i.b); err != nil {
			i.done = len(i.b.Frames) == 0
			if !errors.Is(err, io.EOF) {
				m.err = errors.Join(m.err, err)
				i.src = ended{}
			}
		}
	}
}

// ended is what is left of an input after its error.
type ended struct{}

func (ended) ReadBatch(b *Batch) error { b.Frames = b.Frames[:0]; return io.EOF }
func (ended) Close() error             { return nil }

// ReadBatch implements Source.
func (m *merged) ReadBatch(b *Batch) error {
	b.Frames = b.Frames[:0]
	if cap(b.Buf) < readBlock {
		b.Buf = make([]byte, readBlock)
	}
	buf := b.Buf[:0]
	for {
		var first *input
		for _, i := range m.in {
			if m.head(i); !i.done && (first == nil || i.b.Frames[i.at].Time < first.b.Frames[first.at].Time) {
				first = i
			}
		}
		if first == nil {
			break
		}
		fr := first.b.Frames[first.at]
		if len(buf)+len(fr.Data) > cap(buf) {
			if len(b.Frames) > 0 {
				return nil
			}
			b.Buf = make([]byte, len(fr.Data))
			buf = b.Buf[:0]
		}
		first.at++
		at := len(buf)
		buf = append(buf, fr.Data...)
		fr.Data = buf[at:len(buf):len(buf)]
		m.count++
		fr.Ordinal = m.count
		b.Frames = append(b.Frames, fr)
	}
	if len(b.Frames) > 0 {
		return nil
	}
	if m.err != nil {
		return m.err
	}
	return io.EOF
}

// Close implements Source.
func (m *merged) Close() error {
	var err error
	for _, i := range m.in {
		err = errors.Join(err, i.src.Close())
	}
	return err
}
