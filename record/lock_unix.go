//go:build unix

package record

import (
	"errors"
	"os"
	"syscall"
)

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
