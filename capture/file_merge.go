package capture

import (
	"bytes"
	"errors"
	"io"
)

// Merge makes one capture of several: in order of time and, at equal times, of the arguments. The order of frames
// within a source stays as it is, even where their times run backwards. Frames are copied and numbered anew from 1.
//
// When a source fails, the others are read to their end before its error is returned. Close closes all sources.
//
// A source that says when its first frame is, with a method First() Time, is not read before that frame's turn: so a
// folder of captures need not be open all at once.
func Merge(srcs ...Source) Source {
	if len(srcs) == 1 {
		return srcs[0]
	}
	m := &merged{}
	for n, s := range srcs {
		i := &input{src: s, order: n, small: len(srcs) > fewSources}
		if late, ok := s.(interface{ First() Time }); ok {
			i.late, i.first = true, late.First()
		}
		m.in = append(m.in, i)
	}
	return m
}

const (
	// Above that many sources each gets a small buffer: a thousand hourly files take 64 MiB, not 512.
	fewSources = 16
	// Frames in a batch that have no bytes still take memory.
	maxMerged = 8192
)

type merged struct {
	in    []*input
	begun bool
	heap  []*input // those with a frame at hand, the first to come on top
	count uint64
	from  *input // of the latest frame
	twice uint64
	err   error // of all that failed
}

// Repeated counts the frames of a source that Merge made that came from two of its sources, the same to the byte and the
// nanosecond: of the same file given twice, or of captures that overlap. Of several frames at one time some are missed.
func Repeated(src Source) uint64 {
	if m, ok := src.(*merged); ok {
		return m.twice
	}
	return 0
}

type input struct {
	src   Source
	order int
	b     Batch
	at    int  // of the frame at hand in b
	small bool // it is one of many
	late  bool // not read yet: its first frame is at first
	first Time
	err   error
}

// time is that of the frame at hand.
func (i *input) time() Time {
	if i.late {
		return i.first
	}
	return i.b.Frames[i.at].Time
}

func (i *input) before(j *input) bool {
	s, t := i.time(), j.time()
	return s < t || s == t && i.order < j.order
}

// advance goes to the next frame and says whether there is one.
func (m *merged) advance(i *input) bool {
	if i.at++; i.at == 0 && i.small {
		i.b.Buf = make([]byte, minReadBlock)
	}
	for i.at >= len(i.b.Frames) {
		if i.err != nil {
			i.b = Batch{}
			return false
		}
		i.at = 0
		if i.err = i.src.ReadBatch(&i.b); i.err != nil && !errors.Is(i.err, io.EOF) {
			if m.err == nil {
				m.err = i.err
			} else {
				m.err = errors.Join(m.err, i.err)
			}
		}
	}
	return true
}

// ReadBatch implements Source.
func (m *merged) ReadBatch(b *Batch) error {
	b.Frames = b.Frames[:0]
	if cap(b.Buf) < minReadBlock {
		b.Buf = make([]byte, readBlock)
	}
	if !m.begun {
		m.begun = true
		for _, i := range m.in {
			i.at = -1
			if i.late || m.advance(i) {
				m.heap = append(m.heap, i)
			}
		}
		for n := len(m.heap)/2 - 1; n >= 0; n-- {
			m.sink(n)
		}
	}
	buf := b.Buf[:0]
	for len(m.heap) > 0 && len(b.Frames) < maxMerged {
		i := m.heap[0]
		if i.late {
			i.late = false
			m.next(i)
			continue
		}
		fr := i.b.Frames[i.at]
		if len(fr.Data) > cap(buf)-len(buf) {
			if len(b.Frames) > 0 {
				return nil
			}
			buf = make([]byte, 0, len(fr.Data)) // longer than the caller's buffer
			b.Buf = buf
		}
		at := len(buf)
		buf = append(buf, fr.Data...)
		fr.Data = buf[at:len(buf):len(buf)]
		m.count++
		fr.Ordinal = m.count
		if n := len(b.Frames); m.from != i && n > 0 {
			if p := &b.Frames[n-1]; p.Time == fr.Time && p.WireLen == fr.WireLen && bytes.Equal(p.Data, fr.Data) {
				m.twice++
			}
		}
		m.from = i
		b.Frames = append(b.Frames, fr)
		m.next(i)
	}
	switch {
	case len(b.Frames) > 0:
		return nil
	case m.err != nil:
		return m.err
	}
	return io.EOF
}

// next goes to the next frame of i, which is on top of the heap.
func (m *merged) next(i *input) {
	if !m.advance(i) {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.sink(0)
}

// sink restores the order of the heap below n.
func (m *merged) sink(n int) {
	for h := m.heap; ; {
		first := 2*n + 1
		if first >= len(h) {
			return
		}
		if r := first + 1; r < len(h) && h[r].before(h[first]) {
			first = r
		}
		if !h[first].before(h[n]) {
			return
		}
		h[n], h[first] = h[first], h[n]
		n = first
	}
}

// Close implements Source.
func (m *merged) Close() error {
	var err error
	for _, i := range m.in {
		err = errors.Join(err, i.src.Close())
	}
	return err
}
