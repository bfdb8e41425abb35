package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/raytap/raytap/capture"
)

// openUntil is openFiles until ctx is done: the open of a pipe waits for its writer, and the header for the first bytes.
// What is being opened then is left to the end of the process.
func openUntil(ctx context.Context, names []string, fail func(error), say func(string)) ([]capture.Source, error) {
	type opened struct {
		srcs []capture.Source
		errs []error
		says []string
	}
	ready := make(chan opened, 1)
	go func() {
		var o opened
		o.srcs = openFiles(names, func(err error) { o.errs = append(o.errs, err) }, func(s string) { o.says = append(o.says, s) })
		ready <- o
	}()
	select {
	case o := <-ready:
		for _, err := range o.errs {
			fail(err)
		}
		for _, text := range o.says {
			say(text)
		}
		return o.srcs, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// untilDone gives src, the captures of these names, whose reads end when ctx is done, also while a pipe among them is
// silent. Regular files are never silent and go unwrapped.
func untilDone(ctx context.Context, names []string, src capture.Source) capture.Source {
	for _, name := range names {
		if info, err := os.Stat(name); name == "-" || err == nil && !info.Mode().IsRegular() && !info.IsDir() {
			return &abandoned{Source: src, ctx: ctx}
		}
	}
	return src
}

// abandoned is a Source of which a read that does not return is left behind when ctx is done.
type abandoned struct {
	capture.Source
	ctx  context.Context
	left bool // a read is still under way
}

// ReadBatch implements capture.Source.
func (a *abandoned) ReadBatch(b *capture.Batch) error {
	if a.left {
		return a.ctx.Err()
	}
	own := *b // the engine's goes back to it at once if the read does not return
	read := make(chan error, 1)
	go func() { read <- a.Source.ReadBatch(&own) }()
	select {
	case err := <-read:
		*b = own
		return err
	case <-a.ctx.Done():
		a.left = true
		*b = capture.Batch{}
		return a.ctx.Err()
	}
}

// Close implements capture.Source. A source that is still being read cannot be closed; the end of the process does it.
func (a *abandoned) Close() error {
	if a.left {
		return nil
	}
	return a.Source.Close()
}

// interruption is what a signal does to a run: the first one cancels ctx.
type interruption struct {
	ctx    context.Context
	cancel context.CancelFunc
	signal os.Signal     // of done: the one that came; nil if none did
	done   chan struct{} // closed when ctx is
}

func onInterrupt() *interruption {
	i := &interruption{done: make(chan struct{})}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer close(i.done)
		select {
		case i.signal = <-signals:
			signal.Stop(signals) // a second one kills
			i.cancel()
		case <-i.ctx.Done():
		}
	}()
	return i
}

// caught ends the wait for a signal, and reports whether one came.
func (i *interruption) caught() bool {
	i.cancel()
	<-i.done
	return i.signal != nil
}

// end says that the run was interrupted, and returns its exit status.
func (i *interruption) end(stderr io.Writer) int {
	<-i.done
	fmt.Fprintln(stderr, "raytap: interrupted; everything read so far has been written")
	if s, ok := i.signal.(syscall.Signal); ok {
		return exitSignal + int(s)
	}
	return exitSignal
}
