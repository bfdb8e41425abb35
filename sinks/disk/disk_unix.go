//go:build unix

package disk

import (
	"io/fs"
	"syscall"
)

const (
	noFollow = syscall.O_NOFOLLOW
	// NoFollow is the flag of opening a file by which a link in its place is an error.
	NoFollow = noFollow
	noWait   = syscall.O_NONBLOCK // a pipe would wait for its other end; plain files do not know it
)

// links is how many names a file has.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

// Inode is the number of a file on its file system; 0: there is none.
func Inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}
