//go:build unix

package capture

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const nonblock = unix.O_NONBLOCK

// awaitWriter waits until a named pipe opened with nonblock has bytes to read, or a writer came and left without any; EOF
// says that quit was closed. A read cannot wait for that: without a writer it is at its end (pipe(7)).
func awaitWriter(f *os.File, quit <-chan struct{}) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	for {
		var n int
		var failed error
		err := conn.Control(func(fd uintptr) {
			n, failed = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(liveWait/time.Millisecond))
		})
		switch {
		case err != nil:
			return err
		case failed != nil && failed != unix.EINTR:
			return failed
		case n > 0:
			return nil
		}
		select {
		case <-quit:
			return io.EOF
		default:
		}
	}
}
