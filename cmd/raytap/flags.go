package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// flags is a flag set whose flags may stand before, between and behind the other arguments, as GNU programs have it.
type flags struct {
	*flag.FlagSet
	synopsis string
	hidden   map[string]bool
	ofKeys   map[string]bool // those that stand for keys of the configuration
}

func newFlags(command, synopsis string) *flags {
	f := &flags{flag.NewFlagSet(command, flag.ContinueOnError), synopsis, map[string]bool{}, map[string]bool{}}
	return f
}

// parse sorts flags from other arguments. "-" is an argument, "--" ends the flags.
func (f *flags) parse(args []string) (rest []string, err error) {
	for len(args) > 0 {
		a := args[0]
		if a == "--" {
			return append(rest, args[1:]...), nil
		}
		if len(a) < 2 || a[0] != '-' {
			rest, args = append(rest, a), args[1:]
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(a[1:], "-"), "=")
		args = args[1:]
		known := f.Lookup(name)
		switch {
		case name == "help" && value == describeAs:
			return nil, errDescribe
		case name == "h" || name == "help":
			return nil, flag.ErrHelp
		case known == nil:
			a, _, _ = strings.Cut(a, "=")
			return nil, fmt.Errorf("unknown flag %s%s", a, f.meant(name))
		case hasValue:
		case isBool(known):
			value = "true"
		case len(args) == 0:
			return nil, fmt.Errorf("flag %s needs a value", dashed(name))
		default:
			value, args = args[0], args[1:]
		}
		if err := f.Set(name, value); err != nil {
			return nil, fmt.Errorf("flag %s: %q: %w", dashed(name), value, err)
		}
	}
	return rest, nil
}

// dashed is a flag as it is written: one letter has one dash.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// meant is what an error about an unknown flag ends with: the flags that it may stand for, or nothing.
func (f *flags) meant(name string) string {
	var all []string
	f.VisitAll(func(g *flag.Flag) { all = append(all, g.Name) })
	near := nearest(name, all)
	for i := range near {
		near[i] = dashed(near[i])
	}
	return didYouMean(near)
}

// list is the function of a flag that may be repeated and takes commas.
func list(all *[]string) func(string) error {
	return func(s string) error { *all = append(*all, split(s)...); return nil }
}

// split is a list with commas. A file whose name has some is one value.
func split(s string) []string {
	if !strings.Contains(s, ",") {
		return []string{s}
	}
	if _, err := os.Lstat(s); err == nil {
		return []string{s}
	}
	var all []string
	for _, v := range strings.Split(s, ",") {
		if v = strings.TrimSpace(v); v != "" { // 10.0.0.0/8,
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return []string{s} // which its key refuses
	}
	return all
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// fail answers wrong usage, or prints the help that was asked for.
func (f *flags) fail(err error, stdout, stderr *os.File) int {
	if errors.Is(err, flag.ErrHelp) {
		f.help(stdout)
		return exitOK
	}
	if errors.Is(err, errDescribe) {
		f.describe(stdout)
		return exitOK
	}
	fmt.Fprintf(stderr, "raytap %s: %v\nsee raytap help %s\n", f.Name(), err, f.Name())
	return exitUsage
}

func (f *flags) help(w io.Writer) {
	fmt.Fprintf(w, "usage: raytap %s\n", f.synopsis)
	f.VisitAll(func(g *flag.Flag) {
		if f.hidden[g.Name] {
			return
		}
		value, says := flag.UnquoteUsage(g)
		if isBool(g) {
			value = ""
		}
		fmt.Fprintf(w, "  %-24s  %s\n", strings.TrimSpace(dashed(g.Name)+" "+value), says)
	})
}

// given calls fn for each flag that was on the command line, with its value as text and as what it is.
func (f *flags) given(fn func(name, text string, value any)) {
	f.Visit(func(g *flag.Flag) {
		var v any
		if get, ok := g.Value.(flag.Getter); ok {
			v = get.Get()
		}
		fn(g.Name, g.Value.String(), v)
	})
}
