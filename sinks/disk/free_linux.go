package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// Free says how many bytes of the disk that f is on are left to its user, if that is known.
func Free(f *os.File) (uint64, bool) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}
