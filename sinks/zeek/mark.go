package zeek

import (
	"os"
	"path/filepath"
)

// Marked reports whether dir is a folder that a sensor has had its logs in.
func Marked(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, lockFile))
	return err == nil && info.Mode().IsRegular()
}
