//go:build linux || darwin || freebsd || netbsd || openbsd

package zeek

import (
	"os"
	"syscall"
)

// removed says whether f has no name any more.
func removed(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
