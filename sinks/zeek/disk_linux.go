package zeek

import (
	"errors"
	"os"
	"syscall"
)

// fallocKeepSize is FALLOC_FL_KEEP_SIZE of linux/falloc.h: blocks are taken, the file stays as long as it is.
const fallocKeepSize = 1

// preallocate takes n bytes of the disk for what will be written to f from its end on.
func preallocate(f *os.File, end, n int64) error {
	for {
		err := syscall.Fallocate(int(f.Fd()), fallocKeepSize, end, n)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
