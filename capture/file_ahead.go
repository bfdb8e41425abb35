package capture

import (
	"io"
	"os"
	"sync"
)

const (
	// readers is how many blocks are read at once: what one takes to copy a block out of the page cache is more than all else
	// that the goroutine with the frames does.
	readers = 2
	// room is before each block, for the beginning of a record in the one before it. Longer ones are copied.
	room = 64 << 10
)

// ahead reads the blocks of a file on other goroutines than that which finds the frames in them.
type ahead struct {
	blocks [readers]chan chunk // in turn
	next   int
	at     chunk       // at hand
	part   []byte      // of it, what Read has not given
	spare  chan []byte // buffers
	quit   chan struct{}
	done   sync.WaitGroup
}

type chunk struct {
	buf []byte // room, and what was read
	err error
}

// newAhead reads f from an offset on.
func newAhead(f *os.File, off int64) *ahead {
	a := &ahead{spare: make(chan []byte, 2*readers), quit: make(chan struct{})}
	for i := range a.blocks {
		in := make(chan chunk, 1)
		a.blocks[i] = in
		a.done.Go(func() {
			for off := off + int64(i)*readBlock; ; off += readers * readBlock {
				var buf []byte
				select {
				case buf = <-a.spare:
				default:
					buf = make([]byte, room+readBlock)
				}
				n, err := f.ReadAt(buf[room:], off)
				select {
				case in <- chunk{buf[:room+n], err}:
				case <-a.quit:
					return
				}
				if err != nil {
					return
				}
			}
		})
	}
	return a
}

// block gives the next block whole, behind tail, in a buffer that is the caller's from then on, and takes one that the caller needs
// no more. b is the part of buf that there is something in.
func (a *ahead) block(tail, old []byte) (buf, b []byte, err error) {
	if cap(old) == room+readBlock {
		select {
		case a.spare <- old[:cap(old)]:
		default:
		}
	}
	switch {
	case len(a.part) > 0: // of a block that Read began
		buf = append(append([]byte(nil), tail...), a.part...)
		a.part = nil
		return buf, buf, a.at.err
	case a.at.err != nil:
		buf = append([]byte(nil), tail...)
		return buf, buf, a.at.err
	}
	a.take()
	buf, err = a.at.buf, a.at.err
	from := room - len(tail)
	if from < 0 {
		buf = append(append(make([]byte, 0, len(tail)+len(buf)), tail...), buf[room:]...)
		return buf, buf, err
	}
	copy(buf[from:], tail)
	return buf, buf[from:], err
}

// Read implements io.Reader, for the rest of what does not fit into a block.
func (a *ahead) Read(b []byte) (int, error) {
	if len(a.part) == 0 && a.at.err == nil {
		a.take()
		a.part = a.at.buf[room:]
	}
	n := copy(b, a.part)
	if a.part = a.part[n:]; len(a.part) > 0 {
		return n, nil
	}
	return n, a.at.err
}

func (a *ahead) take() {
	a.at = <-a.blocks[a.next]
	a.next = (a.next + 1) % readers
}

// close ends the goroutines.
func (a *ahead) close() {
	close(a.quit)
	a.done.Wait()
}

// ReadAhead has a file that is not compressed read by goroutines of its own from here on, where there are processors for it. Source
// is any; others stay as they are.
func ReadAhead(src Source) {
	f, ok := src.(*file)
	if !ok || f.packed != nil || f.ahead != nil || f.err != nil {
		return
	}
	r, ok := f.r.(*os.File)
	if !ok {
		return
	}
	info, err := r.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	at, err := r.Seek(0, io.SeekCurrent)
	if err != nil || info.Size()-at < 2*readers*readBlock {
		return
	}
	f.ahead = newAhead(r, at)
	f.r = f.ahead
}
