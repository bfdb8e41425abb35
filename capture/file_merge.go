package capture

import (
	"errors"
	"io"
)

// Merge makes one capture of several: in order of time and, at equal times, of the arguments. The order of frames
// within a source stays as it is, even where their times run backwards. Frames are copied and numbered anew from 1.
//
// When a source fails, the others are read to their end before its error is returned. Close closes all sources.
func Merge(srcs ...Source) Source {
	if len(srcs) == 1 {
		return srcs[0]
	}
	m := &merged{}
	for n, s := range srcs {
		i := &input{src: s, order: n}
		if len(srcs) > fewSources {
			i.b.Buf = make([]byte, minReadBlock)
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
	err   error // of all that failed
}

type input struct {
	src   Source
	order int
	b     Batch
	at    int // of the frame at hand in b
	err   error
}

func (i *input) before(j *input) bool {
	s, t := i.b.Frames[i.at].Time, j.b.Frames[j.at].Time
	return s < t || s == t && i.order < j.order
}

// advance goes to the next frame and says whether there is one.
func (m *merged) advance(i *input) bool {
	i.at++
	for i.at >= len(i.b.Frames) {
		if i.err != nil {
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
			if m.advance(i) {
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
		b.Frames = append(b.Frames, fr)
		if !m.advance(i) {
			last := len(m.heap) - 1
			m.heap[0] = m.heap[last]
			m.heap = m.heap[:last]
		}
		m.sink(0)
	}
	switch {
	case len(b.Frames) > 0:
		return nil
	case m.err != nil:
		return m.err
	}
	return io.EOF
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
