//go:build unix

package record

import (
	"errors"
	"os"
	"syscall"
)

// lock takes f for this process for as long as it is open; the system lets go of it if the process dies.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// removed says whether f has no name any more.
func removed(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return true
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}

// noDirect says whether a write failed since it went past the cache.
func noDirect(err error) bool { return errors.Is(err, syscall.EINVAL) }

// noSpace says whether a write failed for want of room.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
