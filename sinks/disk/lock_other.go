//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package disk

import (
	"io/fs"
	"os"
)

// Lock does nothing where there are no such locks.
func Lock(*os.File) error { return nil }

// NoSpace reports whether err says that the disk is full, where that can be told.
func NoSpace(error) bool { return false }

// Owned refuses what belongs to another user, where that can be told.
func Owned(fs.FileInfo) error { return nil }
