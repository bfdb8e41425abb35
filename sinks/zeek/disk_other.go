//go:build !linux

package zeek

import (
	"errors"
	"os"
)

func preallocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

// holder is for systems that say who holds a lock.
func holder(*os.File) int { return 0 }
