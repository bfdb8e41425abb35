//go:build !unix

package disk

import "io/fs"

// Elsewhere links take rights that nobody has.
const noFollow, noWait, NoFollow = 0, 0, 0

func links(fs.FileInfo) uint64 { return 1 }

// Inode is for systems that number files.
func Inode(fs.FileInfo) uint64 { return 0 }
