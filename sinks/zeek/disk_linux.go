package zeek

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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

// holder says which process has the lock on f; 0: not known. See proc_locks(5).
func holder(f *os.File) int {
	var st unix.Stat_t
	b, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(b)) {
		if w := strings.Fields(line); len(w) > 5 && w[1] == "FLOCK" && w[5] == file {
			pid, _ := strconv.Atoi(w[4])
			return pid
		}
	}
	return 0
}
