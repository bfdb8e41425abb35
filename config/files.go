package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/detectors"
)

const (
	minMaxFile   = 4 << 10
	maxMaxFile   = 1 << 40
	minMaxMemory = 1 << 20
	maxMaxMemory = 64 << 30
)

// checkFiles is check for the keys of the section files.
func checkFiles(key string, v any) error {
	between := func(least, most uint64) error {
		if n := v.(uint64); n < least || n > most {
			return fmt.Errorf("%d is not between %d and %d", n, least, most)
		}
		return nil
	}
	switch key {
	case "files.extract":
		if s := v.(string); file.ParseClass(s) == 0 {
			err := fmt.Sprintf("%q is not one of %s", s, strings.Join(file.ClassNames(), ", "))
			if n := detectors.Nearest(s, file.ClassNames()); n != "" {
				err += "; did you mean " + n + "?"
			}
			return errors.New(err)
		}
	case "files.rules":
		return checkRule(v.(string), false)
	case "files.max_file":
		return between(minMaxFile, maxMaxFile)
	case "files.max_memory":
		return between(minMaxMemory, maxMaxMemory)
	}
	return nil
}
