package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/raytap/raytap/detectors"
)

// Setting is one key of the configuration with its value.
type Setting struct {
	Key  string // "egress.window"
	Text string // the value, as YAML has it on one line
	List bool   // it takes several
	Bool bool   // it takes true and false
}

// Settings lists every key, in the order of the documentation.
func (c *Config) Settings() []Setting {
	var all []Setting
	eachKey(reflect.ValueOf(c).Elem(), "", func(key string, v reflect.Value) {
		all = append(all, Setting{key, text(v), v.Kind() == reflect.Slice, v.Kind() == reflect.Bool})
	})
	return all
}

// Unset returns what the value of a key stands for if it is 0 or empty, "" where that is plain or it is neither.
func (c *Config) Unset(key string) (says string) {
	eachKey(reflect.ValueOf(c).Elem(), "", func(k string, v reflect.Value) {
		if k == key && v.IsZero() {
			says = keys()[key].Unset
		}
	})
	return says
}

// InForce gives c with defaults in the place of what stands for them: no home network, a size of 0. What only a run knows,
// as the number of processors, stays as it is.
func (c *Config) InForce() Config {
	x, def := *c, Default()
	if len(x.Home) == 0 {
		x.Home = def.Home
	}
	if x.MaxFlows == 0 {
		x.MaxFlows = def.MaxFlows
	}
	if x.FileMode == "" {
		x.FileMode = def.FileMode
	}
	if x.Ring == 0 {
		x.Ring = def.Ring
	}
	if x.Block == 0 {
		x.Block = def.Block
	}
	return x
}

// eachKey calls f for every key below v.
func eachKey(v reflect.Value, prefix string, f func(key string, v reflect.Value)) {
	eachField(v, func(key string, v reflect.Value) {
		if v.Kind() == reflect.Struct {
			eachKey(v, prefix+key+".", f)
		} else {
			f(prefix+key, v)
		}
	})
}

// text writes a value so that a file with it reads as the same.
func text(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		s := x.String()
		if strings.HasSuffix(s, "m0s") {
			s = s[:len(s)-2]
		}
		if strings.HasSuffix(s, "h0m") {
			s = s[:len(s)-2]
		}
		return s
	case string:
		return yamlText(x)
	}
	switch v.Kind() {
	case reflect.Map:
		m := v.Interface().(map[string]string)
		var all []string
		for _, k := range slices.Sorted(maps.Keys(m)) {
			all = append(all, yamlText(k)+": "+yamlText(m[k]))
		}
		return "{" + strings.Join(all, ", ") + "}"
	case reflect.Struct: // an element of a list: what it has
		if x, ok := v.Interface().(interface{ Text() (string, bool) }); ok {
			if word, ok := x.Text(); ok {
				return yamlText(word)
			}
		}
		var all []string
		eachKey(v, "", func(key string, f reflect.Value) {
			if !f.IsZero() {
				all = append(all, key+": "+inner(f))
			}
		})
		return "{" + strings.Join(all, ", ") + "}"
	case reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, text(v.Index(i)))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// inner is text for what stands in braces, where a colon in a plain text makes a key of it.
func inner(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		var all []string
		for i := range v.Len() {
			all = append(all, inner(v.Index(i)))
		}
		return "[" + strings.Join(all, ", ") + "]"
	}
	if s := text(v); v.Kind() != reflect.String || !strings.Contains(s, ":") || s[0] == '"' {
		return s
	}
	return strconv.Quote(v.String())
}

// yamlText writes a string plainly if it is read back as that, also within a list, and in quotes otherwise.
func yamlText(s string) string {
	plain := s != "" && !strings.ContainsAny(s, "\",[]{}#&*!|>'%@`\\\n\t") && strings.TrimSpace(s) == s
	if plain {
		var back map[string]any
		if err := yaml.Unmarshal([]byte("k: "+s), &back); err == nil && back["k"] == s {
			return s
		}
	}
	return strconv.Quote(s)
}

// Set gives a key the values that a command line has for it, of which a key that is no list takes the last.
func (c *Config) Set(key string, values ...string) error {
	c.Sections = c.Sections.Clone() // a copy of c keeps its own
	var found reflect.Value
	eachKey(reflect.ValueOf(c).Elem(), "", func(k string, v reflect.Value) {
		if k == key {
			found = v
		}
	})
	switch {
	case !found.IsValid():
		return fmt.Errorf("raytap: unknown key %s", key)
	case len(values) == 0:
		return nil
	case found.Kind() != reflect.Slice:
		return setText(found, key, values[len(values)-1])
	}
	list := reflect.MakeSlice(found.Type(), len(values), len(values))
	for i, s := range values {
		if err := setText(list.Index(i), key, s); err != nil {
			return err
		}
	}
	found.Set(list)
	return nil
}

func setText(v reflect.Value, key, s string) error {
	var err error
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = s
	case *bool:
		if *p, err = strconv.ParseBool(s); err != nil {
			err = fmt.Errorf("%q is neither true nor false", s)
		}
	case *int:
		if *p, err = strconv.Atoi(s); err != nil {
			err = fmt.Errorf("%q is not a whole number", s)
		}
	case *uint64:
		*p, err = parseSize(s)
	case *float64:
		if *p, err = strconv.ParseFloat(s, 64); err != nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
			err = fmt.Errorf("%q is not a number", s)
		}
	case *time.Duration:
		if *p, err = time.ParseDuration(s); err != nil || *p < 0 {
			err = fmt.Errorf("%q is not a duration (90s, 10m, 1h30m)", s)
		}
	case interface{ SetText(string) error }:
		err = p.SetText(s)
	default:
		err = errors.New("can only be set in a file")
	}
	if err == nil {
		err = check(key, v.Interface())
	}
	if err != nil {
		return fmt.Errorf("raytap: %s: %w", key, err)
	}
	return nil
}

// reloadable reports whether a key takes effect while a run goes on: networks, rules, indicators, and what detectors have.
func (c *Config) reloadable(key string) bool {
	return key == "home" || key == "rules" || key == "intel" || slices.ContainsFunc(c.Sections, func(s detectors.SectionOf) bool { return s.Name == key })
}

// Changes lists the keys whose values differ in a new configuration: those that Reload brings into effect, and those
// that wait for the next start. Of intel that is what whoever sent the configuration exchanges in Indicators.
func (c *Config) Changes(next *Config) (now, later []string) {
	values := map[string]reflect.Value{}
	eachField(reflect.ValueOf(next).Elem(), func(key string, v reflect.Value) { values[key] = v })
	eachField(reflect.ValueOf(c).Elem(), func(key string, v reflect.Value) {
		switch {
		case reflect.DeepEqual(v.Interface(), values[key].Interface()):
		case c.reloadable(key):
			now = append(now, key)
		default:
			later = append(later, key)
		}
	})
	return now, later
}

// Adopt gives c with what Reload brings into effect of next.
func (c *Config) Adopt(next *Config) *Config {
	adopted := *c
	adopted.Sections = c.Sections.Clone()
	values := map[string]reflect.Value{}
	eachField(reflect.ValueOf(next).Elem(), func(key string, v reflect.Value) { values[key] = v })
	eachField(reflect.ValueOf(&adopted).Elem(), func(key string, v reflect.Value) {
		if c.reloadable(key) {
			v.Set(values[key])
		}
	})
	return &adopted
}
