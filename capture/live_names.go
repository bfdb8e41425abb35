package capture

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Words of LiveConfig.Interfaces that are no names.
const (
	anyInterface     = "any"
	defaultInterface = "default"
)

// maxInterfaceName is IFNAMSIZ of linux/if.h without the zero at its end.
const maxInterfaceName = 15

// selection is LiveConfig.Interfaces taken apart.
type selection struct {
	names    []string // those that must be there
	patterns []string
	except   []string // patterns
	any, def bool
}

// IsPattern reports whether an element of LiveConfig.Interfaces stands for whatever fits it, and not for one interface
// that must be there.
func IsPattern(s string) bool {
	return s == anyInterface || s == defaultInterface || strings.HasPrefix(s, "-") || strings.ContainsAny(s, "*?[")
}

// CheckInterface says what is wrong with an element of LiveConfig.Interfaces.
func CheckInterface(s string) error {
	name := strings.TrimPrefix(s, "-")
	_, err := path.Match(name, "")
	switch {
	case name == "":
		return errors.New("capture: an interface without a name")
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' }) || name == "." || name == "..":
		return fmt.Errorf("capture: %q is not the name of an interface", s)
	case err != nil:
		return fmt.Errorf("capture: %q is not a pattern (veth*, eth[0-3], cali?)", s)
	case !IsPattern(s) && len(name) > maxInterfaceName:
		return fmt.Errorf("capture: %q is longer than %d letters, the most that the kernel takes", s, maxInterfaceName)
	}
	return nil
}

// selectInterfaces takes a list apart.
func selectInterfaces(list []string) (s selection, err error) {
	for _, e := range list {
		if err := CheckInterface(e); err != nil {
			return s, err
		}
		switch {
		case e == anyInterface:
			s.any = true
		case e == defaultInterface:
			s.def = true
		case e[0] == '-':
			s.except = append(s.except, e[1:])
		case IsPattern(e):
			s.patterns = append(s.patterns, e)
		case !slices.Contains(s.names, e):
			s.names = append(s.names, e)
		}
	}
	if len(s.names) == 0 && !s.open() {
		return s, errors.New("capture: no interface is given")
	}
	return s, nil
}

// open reports whether what fits is not known beforehand.
func (s *selection) open() bool { return s.any || s.def || len(s.patterns) > 0 }

// fits reports whether an interface is one of those that are not named; def says whether a default route goes over it.
func (s *selection) fits(name string, def bool) bool {
	is := func(p string) bool { ok, _ := path.Match(p, name); return ok }
	return (s.any || s.def && def || slices.ContainsFunc(s.patterns, is)) && !slices.ContainsFunc(s.except, is) && !slices.Contains(s.names, name)
}
