package detectors

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Settings describe the section that a detector has in the configuration. They are all that says so: defaults, checks, reload and
// raytap.yaml come from here.
type Settings struct {
	Name string // of the section
	// New returns a pointer to the section with its defaults: a struct whose yaml tags are the keys. If it has a method
	// Check() error, that is asked for what keys must have in common.
	New func() any
	// Doc is the section as raytap.yaml has it: every key with its default, and what it means.
	Doc string
	// Keys say what each key takes. One that is a number must be there; another that is not takes what its type takes.
	Keys map[string]Key
}

// Section makes the Settings of a detector whose Config has the type T.
func Section[T any](name string, def func() T, doc string, keys map[string]Key) *Settings {
	return &Settings{Name: name, Doc: doc, Keys: keys, New: func() any {
		c := def()
		return &c
	}}
}

// Check returns what is wrong with a section, which is what New returns.
func (s *Settings) Check(section any) error {
	v := reflect.ValueOf(section).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		key, ok := s.Keys[name]
		if !ok {
			continue
		}
		list := []reflect.Value{v.Field(i)}
		if f := v.Field(i); f.Kind() == reflect.Slice {
			list = list[:0]
			for j := range f.Len() {
				list = append(list, f.Index(j))
			}
		}
		for _, x := range list {
			if err := key.Check(x.Interface()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if c, ok := section.(interface{ Check() error }); ok {
		return c.Check()
	}
	return nil
}

// Sections are the sections of detectors in a configuration, in the order of the registry. In reads one and Change changes one,
// so that a copy of a configuration is one of its own.
type Sections []SectionOf

// SectionOf is the section of one detector.
type SectionOf struct {
	Name  string
	Value any // a pointer, as Settings.New returns it
}

// DefaultSections returns what the detectors have when nothing is said.
func DefaultSections(specs []Spec) (all Sections) {
	for i := range specs {
		if s := specs[i].Settings; s != nil {
			all = append(all, SectionOf{s.Name, s.New()})
		}
	}
	return all
}

// In returns the section of the type T, such as campaign.Config; the zero value if there is none.
func In[T any](s Sections) (section T) {
	for i := range s {
		if x, ok := s[i].Value.(*T); ok {
			return *x
		}
	}
	return section
}

// Change lets f change the section of the type that it takes, and reports whether there is one.
func Change[T any](s *Sections, f func(section *T)) bool {
	for i := range *s {
		if x, ok := (*s)[i].Value.(*T); ok {
			own := *x
			f(&own)
			*s = slices.Clone(*s)
			(*s)[i].Value = &own
			return true
		}
	}
	return false
}

// Clone returns sections that can be changed on their own.
func (s Sections) Clone() Sections {
	all := make(Sections, len(s))
	for i := range s {
		v := reflect.New(reflect.TypeOf(s[i].Value).Elem())
		v.Elem().Set(reflect.ValueOf(s[i].Value).Elem())
		all[i] = SectionOf{s[i].Name, v.Interface()}
	}
	return all
}

// Key says what one key of the configuration takes.
type Key struct {
	// Least and Most bound a number, or each of a list of them; durations are in nanoseconds. Whatever multiplies two
	// numbers of the configuration saturates.
	Least, Most float64
	Zero        bool   // 0, too, where that means something of its own
	Power       bool   // powers of two alone
	Why         string // what is wrong with less than Least; "": nothing that is not plain
	Unset       string // what 0 or nothing stands for, where that is not plain: "not looked at"

	// Nets and Domains say that elements of a list are networks and addresses, or domains; Names that whatever does not look
	// like a network is a name of another kind.
	Nets, Domains, Names bool
	// Text, if set, returns what is wrong with a text.
	Text func(s string) error
}

// Bounds for keys that have no narrower ones.
const (
	Second = float64(time.Second)
	Minute = float64(time.Minute)
	// Month is as long as anything is of use to a detector: its tables have forgotten it.
	Month = 30 * 24 * float64(time.Hour)
	// Petabyte is more than any window or disk holds.
	Petabyte = 1e15
	// Many is the greatest count that says anything of machines, ports, connections.
	Many = 1e6
)

// Number reports whether the key bounds a number.
func (k *Key) Number() bool { return k.Most > 0 }

// Check returns what is wrong with a value of the key; for a list it is asked for each element.
func (k *Key) Check(v any) error {
	if s, ok := v.(string); ok {
		return k.place(s)
	}
	if !k.Number() {
		return nil
	}
	var n float64
	show := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	switch x := v.(type) {
	case int:
		n = float64(x)
	case uint64:
		n = float64(x)
	case float64:
		n = x
	case time.Duration:
		n = float64(x)
		show = func(n float64) string { return time.Duration(n).String() }
	default:
		return nil
	}
	if k.Zero && n == 0 {
		return nil
	}
	var says string
	switch {
	case k.Power && n >= k.Least && n <= k.Most && uint64(n)&(uint64(n)-1) != 0:
		return fmt.Errorf("%s is not a power of two", show(n))
	case n >= k.Least && n <= k.Most:
		return nil
	case k.Zero && k.Least > 0:
		says = fmt.Sprintf("%s is neither 0 nor between %s and %s", show(n), show(k.Least), show(k.Most))
	default:
		says = fmt.Sprintf("%s is not between %s and %s", show(n), show(k.Least), show(k.Most))
	}
	if n < k.Least && k.Why != "" {
		says += ": " + k.Why
	}
	return errors.New(says)
}

// place returns what is wrong with an element of a list of addresses and names.
func (k *Key) place(s string) error {
	switch {
	case k.Text != nil:
		return k.Text(s)
	case !k.Nets && !k.Domains:
		return nil
	case k.Names && strings.TrimSpace(s) == "":
		return errors.New("is empty")
	case k.Names && !strings.ContainsAny(s, "/:"):
		return nil
	case s == "" && k.Domains:
		return errors.New("an empty name would allow everything")
	case !k.Domains:
		return checkNetwork(s)
	case !k.Nets && checkNetwork(s) == nil:
		return fmt.Errorf("%q is an address, not a domain", s)
	case k.Nets && (strings.ContainsAny(s, "/:") || checkNetwork(s) == nil):
		return checkNetwork(s)
	case isDomain(s):
		return nil
	case k.Nets:
		return fmt.Errorf("%q is neither a network nor a domain", s)
	}
	return fmt.Errorf("%q is not a domain", s)
}

// checkNetwork refuses what is neither a network nor an address, and a network that reads as another one.
func checkNetwork(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil:
			return fmt.Errorf("%q is neither a network nor an address", s)
		case a.Zone() != "":
			return fmt.Errorf("%q has a zone; packets have none", s)
		}
		return nil
	}
	if m := p.Masked(); m != p {
		return fmt.Errorf("%s has bits after its first %d: write %s for the network, or %s for the one address", s, p.Bits(), m, p.Addr())
	}
	return nil
}

// isDomain reports whether s can be a domain name: labels of up to 63 letters, digits, hyphens and underscores (RFC 1035,
// RFC 2181), the last of which is no number. Letters beyond ASCII stand in a name as Punycode.
func isDomain(s string) bool {
	s = strings.Trim(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
