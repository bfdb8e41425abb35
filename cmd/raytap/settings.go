package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/raytap/raytap"
)

const configSynopsis = `config check FILE...
       raytap config show [--config FILE] [flags]

check reads configuration files as a run would, and says what is wrong with them by file, line and key.

show prints what is in force with a file and flags, as a file that reads the same, with where each value comes from: the
default, a line of the file, a flag. Each key of the configuration is a flag: --rotate-interval for rotate.interval.

Exit status: 0 fine; 2 a mistake.
`

func configure(args []string, stdout, stderr *os.File) int {
	f := newFlags("config", configSynopsis)
	file := f.String("config", "", "read settings from `FILE` (YAML)")
	keys := f.keys(func(string) bool { return true })
	rest, err := f.parse(args)
	if err == nil && len(rest) == 0 {
		err = errors.New("check or show?")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	var out bytes.Buffer
	code := exitOK
	switch verb, files := rest[0], rest[1:]; {
	case verb == "check" && len(files) > 0:
		for _, name := range files {
			if _, err := raytap.LoadConfig(name); err != nil {
				complain(stderr, err)
				code = exitUsage
				continue
			}
			fmt.Fprintf(&out, "%s: fine\n", name)
		}
	case verb == "check":
		return f.fail(errors.New("check needs a file"), stdout, stderr)
	case verb == "show" && len(files) > 0:
		return f.fail(fmt.Errorf("%s: show takes its file with --config", files[0]), stdout, stderr)
	case verb == "show":
		cfg := raytap.DefaultConfig()
		var lines map[string]int
		if *file != "" {
			if cfg, lines, err = raytap.LoadConfigLines(*file); err != nil {
				complain(stderr, err)
				return exitUsage
			}
		}
		if err := keys.apply(&cfg); err != nil {
			complain(stderr, err)
			return exitUsage
		}
		showConfig(&out, cfg.Settings(), func(key string) string {
			switch {
			case keys.given[key] != nil:
				return "--" + flagOf(key)
			case lines[key] > 0:
				return fmt.Sprintf("%s:%d", *file, lines[key])
			}
			return "default"
		})
	default:
		return f.fail(fmt.Errorf("unknown verb %s (check, show)", verb), stdout, stderr)
	}
	if _, err := stdout.Write(out.Bytes()); err != nil {
		complain(stderr, err)
		return exitInput
	}
	return code
}

// showConfig writes settings as a file, each with a comment.
func showConfig(b *bytes.Buffer, all []raytap.Setting, from func(key string) string) {
	section := ""
	for _, s := range all {
		key := s.Key
		if head, rest, ok := strings.Cut(key, "."); ok {
			if head != section {
				fmt.Fprintf(b, "%s:\n", head)
				section = head
			}
			key = "  " + rest
		}
		fmt.Fprintf(b, "%-40s # %s\n", key+": "+s.Text, from(s.Key))
	}
}

// flagOf is the flag of a key.
func flagOf(key string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(key) }

// keyFlags are flags that stand for keys of the configuration.
type keyFlags struct {
	given map[string][]string // what was on the command line, by key
}

// keys defines a flag for each key that is wanted. They stand in no help text: raytap.yaml explains them.
func (f *flags) keys(want func(key string) bool) *keyFlags {
	k := &keyFlags{given: map[string][]string{}}
	def := raytap.DefaultConfig()
	for _, s := range def.Settings() {
		name := flagOf(s.Key)
		if !want(s.Key) || f.Lookup(name) != nil {
			continue
		}
		take := func(text string) error {
			values := []string{text}
			if s.List {
				values = split(text)
			}
			k.given[s.Key] = append(k.given[s.Key], values...)
			return nil
		}
		if s.Bool {
			f.BoolFunc(name, "", take)
		} else {
			f.Func(name, "`VALUE`", take)
		}
		f.hidden[name], f.ofKeys[name] = true, true
	}
	return k
}

// show has the help text tell of a flag of a key.
func (f *flags) show(name, says string) {
	f.Lookup(name).Usage = says
	delete(f.hidden, name)
}

// apply puts what was given over the configuration.
func (k *keyFlags) apply(cfg *raytap.Config) error {
	var names []string
	for key := range k.given {
		names = append(names, key)
	}
	slices.Sort(names)
	for _, key := range names {
		if err := cfg.Set(key, k.given[key]...); err != nil {
			return fmt.Errorf("flag --%s: %s", flagOf(key), strings.TrimPrefix(err.Error(), "raytap: "+key+": "))
		}
	}
	return nil
}
