package engine

import (
	"bufio"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/raytap/raytap/capture"
)

// TestPipeShedsNothing: what finds no room in a pipe waits at its writer, so nothing is left out for it, however fast the
// writer is.
func TestPipeShedsNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip("no named pipes: ", err)
	}
	src, err := capture.FollowPipe(name, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	frames := allFrames(t, "benign-lookalikes")
	const times = 200
	go func() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		buffered := bufio.NewWriterSize(f, 1<<16)
		w, err := capture.NewPcapngWriter(buffered, "", "")
		if err != nil {
			t.Error(err)
			return
		}
		for i := range times {
			for _, x := range frames {
				x.Time += capture.Time(i) * 1000e9
				if err := w.Write(&x, ""); err != nil {
					t.Error(err)
				}
			}
		}
		if err := buffered.Flush(); err != nil {
			t.Error(err)
		}
		src.Stop()
	}()
	_, stats := runLive(t, Default(), src)
	if stats.Packets != uint64(times*len(frames)) {
		t.Errorf("%d packets of %d", stats.Packets, times*len(frames))
	}
	if stats.ShedBodies+stats.Flow.ShedBytes+stats.Flow.ShedNew != 0 {
		t.Errorf("%d bodies, %d bytes, %d packets are shed", stats.ShedBodies, stats.Flow.ShedBytes, stats.Flow.ShedNew)
	}
}
