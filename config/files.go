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
	}
	return nil
}
