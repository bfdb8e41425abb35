package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A writer that buffers shows frames late; the clock stays behind by this much while nothing comes.
	pipeSlack = time.Second
	// Batches between the goroutine that reads and the engine.
	pipeBatches = 3
	// A capture that begins so much before the last frame of the one before it was stamped by another clock.
	pipeStep = time.Minute
	// A pipe that cannot be read is tried again after that.
	pipeRetry = time.Second
)

// pipe is a LiveSource over a stream of pcap or pcapng from elsewhere.
type pipe struct {
	name   string
	notice func(string)
	fifo   bool
	folder *following // nil: it is none
	free   chan *Batch
	full   chan piped
	quit   chan struct{}
	close  sync.Once
	stop   atomic.Bool
	stats  LiveStats
	down   atomic.Int64
	lost   atomic.Uint64
	again  atomic.Uint64
	next   *Batch    // held back until a step of the clock was told
	last   Time      // of the latest frame
	came   time.Time // when that was
	ends   time.Time // what comes until then is read; zero: no end in sight
	count  uint64
	mu     sync.Mutex
	file   *os.File // of the writer, or of the last one
	err    error
}

type piped struct {
	b   *Batch
	err error
}

// FollowPipe reads a capture that is being written elsewhere, for as long as it takes. name is a named pipe, which is
// opened anew whenever its writer has gone, or a folder that captures are written to one after the other (tcpdump -G), or
// anything else that can be read, "-" for standard input, whose end is the end. While no frame comes, time goes on from the last one by the clock of this machine.
func FollowPipe(name string, notice func(text string)) (LiveSource, error) {
	p := &pipe{name: name, notice: notice, free: make(chan *Batch, pipeBatches), full: make(chan piped, pipeBatches), quit: make(chan struct{})}
	if name != "-" {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
		if info.IsDir() {
			p.folder = &following{dir: name, quit: p.quit, done: map[string]read{}}
		}
		p.fifo = info.Mode()&os.ModeNamedPipe != 0
	}
	if p.notice == nil {
		p.notice = func(string) {}
	}
	p.stats.Links = 1
	for range pipeBatches {
		p.free <- &Batch{}
	}
	go p.read()
	return p, nil
}

// read goes through one writer after the other.
func (p *pipe) read() {
	defer close(p.full)
	defer p.drop()
	for first := true; ; first = false {
		err := p.writer(first)
		switch {
		case p.folder != nil:
			if err != nil && !errors.Is(err, io.EOF) {
				select {
				case <-p.quit: // it was closed under the reader's hands
				default:
					p.notice(err.Error() + "; going on with the next")
				}
			}
		case !p.fifo:
			p.pass(piped{nil, err})
			return
		case errors.Is(err, io.EOF):
			p.notice("the writer of " + p.name + " is gone; waiting for another")
		default:
			p.drop() // its writer is told, too: by SIGPIPE
			p.notice(err.Error() + "; waiting for another writer")
			select {
			case <-time.After(pipeRetry):
			case <-p.quit:
			}
		}
		select {
		case <-p.quit:
			return
		default:
		}
		if p.folder != nil {
			continue
		}
		p.down.Store(1)
		p.lost.Add(1)
	}
}

func (p *pipe) pass(x piped) bool {
	select {
	case p.full <- x:
		return true
	case <-p.quit:
		return false
	}
}

// writer reads what one writer has to say.
func (p *pipe) writer(first bool) error {
	var src Source
	var err error
	if p.folder != nil {
		f, err := p.folder.next()
		if err != nil {
			return err
		}
		defer f.Close()
		if src, err = NewFile(f.Name(), &growing{f, p.folder}); err != nil {
			return err
		}
	} else if p.name == "-" {
		src, err = NewFile("standard input", os.Stdin)
	} else {
		var f *os.File
		if f, err = p.open(); err != nil {
			return err
		}
		src, err = NewFile(p.name, f)
	}
	if err != nil {
		return err
	}
	defer src.Close()
	p.down.Store(0)
	if !first && p.folder == nil {
		p.again.Add(1)
		p.notice("there is a writer to " + p.name + " again")
	}
	for {
		var b *Batch
		select {
		case b = <-p.free:
		case <-p.quit:
			return io.EOF
		}
		err := src.ReadBatch(b)
		if !p.pass(piped{b, nil}) {
			return io.EOF
		}
		if err != nil {
			return err
		}
	}
}

// open opens what is read and, if it is a named pipe, waits for a writer. The file of the writer before stays open until
// then: a writer that comes between two files would find a reader, write, leave, and its bytes would go with the pipe's
// last file.
func (p *pipe) open() (*os.File, error) {
	flags := os.O_RDONLY
	if p.fifo {
		flags |= nonblock
	}
	f, err := os.OpenFile(p.name, flags, 0)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.file.Close()
	p.file = f
	p.mu.Unlock()
	if p.fifo {
		err = awaitWriter(f, p.quit)
	}
	return f, err
}

// ReadBatch implements Source.
func (p *pipe) ReadBatch(b *Batch) error {
	b.Frames, b.Clock = b.Frames[:0], 0
	if p.err == nil && p.stop.Load() {
		if p.ends.IsZero() {
			p.ends = time.Now().Add(liveWait)
		} else if time.Now().After(p.ends) {
			p.err = io.EOF
		}
	}
	if p.err != nil {
		return p.err
	}
	wait := time.NewTimer(liveWait)
	defer wait.Stop()
	defer func() {
		p.stats.Down, p.stats.LinkLost, p.stats.Reopened = int(p.down.Load()), p.lost.Load(), p.again.Load()
		b.Live, b.Fill, b.Waits = p.stats, 100*len(p.full)/pipeBatches, true
	}()
	if p.next != nil {
		p.hand(b, p.next)
		p.next = nil
		return nil
	}
	select {
	case x, ok := <-p.full:
		if !ok {
			x.err = io.EOF
		}
		if p.err = x.err; p.err != nil {
			return p.err
		}
		if fs := x.b.Frames; len(fs) > 0 && fs[0].Time < p.last.Add(-pipeStep) {
			p.notice("the time of " + p.name + " went back by " + p.last.Sub(fs[0].Time).Round(time.Second).String())
			p.next, p.last = x.b, 0
			return ErrClockStep
		}
		p.hand(b, x.b)
	case <-wait.C:
		if idle := time.Since(p.came) - pipeSlack; p.last != 0 && idle > 0 {
			b.Clock = p.last.Add(idle)
		}
	}
	return nil
}

// hand puts what was read into the engine's batch.
func (p *pipe) hand(b, from *Batch) {
	b.Frames, from.Frames = from.Frames, b.Frames
	b.Buf, from.Buf = from.Buf, b.Buf
	p.free <- from
	for i := range b.Frames {
		f := &b.Frames[i]
		p.count++
		f.Ordinal = p.count // on from the writer before
		p.last = max(p.last, f.Time)
		if f.WireLen > len(f.Data) {
			p.stats.Snapped++
		}
	}
	p.came = time.Now()
	p.stats.Received = p.count
}

// Stop implements LiveSource. What the writer has written, and what it writes within liveWait, is read.
func (p *pipe) Stop() { p.stop.Store(true) }

// Close implements Source. It does not wait for a writer that never came.
func (p *pipe) Close() error {
	p.close.Do(func() {
		close(p.quit)
		p.drop()
	})
	return nil
}

// drop closes the file. Closing it again, or none, does nothing.
func (p *pipe) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.file.Close()
}
