package webhook

import (
	"os"
	"strings"
)

// CheckHeaders says what is wrong with a file of header fields. Its errors do not show values.
func CheckHeaders(name string) error {
	_, err := readHeaders(name)
	return err
}

// IsSpool reports whether dir has spooled findings in it and nothing else.
func IsSpool(dir string) bool {
	all, err := os.ReadDir(dir)
	for _, e := range all {
		if !spooled.MatchString(strings.TrimPrefix(e.Name(), ".")) {
			return false
		}
	}
	return err == nil
}
