package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/sinks/terminal"
)

const configSynopsis = `config check FILE... [flags]
       raytap config show [--config FILE] [flags]

check reads configuration files as a run would, and reports every mistake by file, line and key. It opens what they name
(feeds of indicators, tokens, certificates with their keys, the inventory) and checks that the configured user can write to
the directories. A warning is about something that may be right later, or that this user cannot check: an interface that
does not exist, a certificate that expires soon, a file only root can read. Flags override the files.

show prints the settings in force for a file and flags, as a configuration file that reads the same, with the origin of each
value (default, line of the file, flag) and the meaning of values that do not explain themselves. Every key of the
configuration is also a flag: --rotate-interval for rotate.interval.

Exit status: 0 fine, whatever the warnings; 1 the answer could not be printed; 2 a mistake, or wrong usage.
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
			n, ok := checkConfig(name, keys, &out, stderr)
			switch {
			case !ok:
				code = exitUsage
			case n == 1:
				fmt.Fprintf(&out, "%s: fine, with a warning\n", name)
			case n > 1:
				fmt.Fprintf(&out, "%s: fine, with %d warnings\n", name, n)
			default:
				fmt.Fprintf(&out, "%s: fine\n", name)
			}
		}
	case verb == "check":
		return f.fail(errors.New("check needs a file"), stdout, stderr)
	case verb == "show" && len(files) > 0:
		return f.fail(fmt.Errorf("%s: show takes its file with --config", files[0]), stdout, stderr)
	case verb == "show":
		cfg := config.Default()
		var lines map[string]int
		if *file != "" {
			if cfg, lines, err = config.LoadLines(*file); err != nil {
				complain(stderr, err)
				return exitUsage
			}
		}
		if err := keys.apply(&cfg); err != nil {
			complain(stderr, err)
			return exitUsage
		}
		in := cfg.InForce()
		showConfig(&out, in.Settings(), func(key string) string {
			from := "default"
			switch {
			case keys.given[key] != nil:
				from = "--" + flagOf(key)
			case lines[key] > 0:
				from = fmt.Sprintf("%s:%d", *file, lines[key])
			}
			if key == "home" && len(cfg.Home) == 0 {
				from += ", which names none: the default"
			} else if says := standsFor(&in, key); says != "" {
				from += ": " + says
			}
			return from
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

// checkConfig tells what is wrong with a configuration file under flags, and of what it warns.
func checkConfig(name string, keys *keyFlags, out *bytes.Buffer, stderr *os.File) (warnings int, ok bool) {
	cfg, lines, err := config.LoadLines(name)
	if lines == nil {
		complain(stderr, err) // it cannot be read
		return 0, false
	}
	err = errors.Join(err, keys.apply(&cfg))
	x := examiner{cfg: &cfg, configFile: name, now: time.Now(), at: func(key string, i int) (string, bool) {
		n := lines[key]
		if keys.given[key] != nil {
			return "flag --" + flagOf(key), true
		}
		if m := lines[fmt.Sprintf("%s[%d]", key, i)]; m > 0 {
			n = m
		}
		return fmt.Sprintf("%s:%d", name, max(n, 1)), n > 0
	}}
	x.run()
	if err = errors.Join(append([]error{err}, x.wrong...)...); err != nil {
		complain(stderr, err)
	}
	for _, w := range x.warnings {
		fmt.Fprintf(stderr, "raytap: warning: %s\n", terminal.CleanLines(w))
	}
	for _, n := range x.notes {
		fmt.Fprintf(out, "%s: %s\n", name, terminal.CleanLines(n))
	}
	return len(x.warnings), err == nil
}

// showConfig writes settings as a file, each with a comment.
func showConfig(b *bytes.Buffer, all []config.Setting, from func(key string) string) {
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

// standsFor says what a value stands for that is empty or 0, where it is not plain. What the machine or the command decides
// stays out of the value itself, so that what is printed means the same elsewhere.
func standsFor(c *config.Config, key string) string {
	none := func(empty bool, says string) string {
		if !empty {
			return ""
		}
		return says
	}
	switch key {
	case "workers":
		return none(c.Workers == 0, fmt.Sprintf("the processors, %d here", runtime.GOMAXPROCS(0)))
	case "filter":
		return none(c.Filter == "", "every packet")
	case "fail_on":
		return none(c.FailOn == "", "no finding")
	case "logs":
		return none(len(c.Logs) == 0, "all")
	case "intel":
		return none(len(c.Intel) == 0, "the built-in indicators alone")
	case "intel_cache":
		return none(c.IntelCache == "", c.CacheOfIntel())
	case "interfaces":
		return none(len(c.Interfaces) == 0 && c.ReadFIFO == "", "a sensor needs some, or read_fifo")
	case "snaplen":
		return none(c.SnapLen == 0, "all of a frame")
	case "user":
		return none(c.User == "", "who starts it")
	case "state":
		return none(c.State == "", "kept nowhere")
	case "proxy_protocol.trust":
		return none(len(c.ProxyProtocol.Trust) == 0, "the home networks")
	case "assets.refresh":
		return none(detectors.In[assets.Config](c.Sections).Refresh == 0, "at the end, of a sensor every "+assetsEvery.String())
	case "sensor.name":
		return none(c.Peer() == "", "of a sensor "+sensorName()+", of a replay none")
	case "rotate.interval":
		return none(c.Rotate.Interval == 0, "not by time")
	case "rotate.size":
		return none(c.Rotate.Size == 0, "not by size")
	case "rotate.keep":
		return none(c.Rotate.Keep == 0, "without bound")
	case "rotate.keep_findings":
		return none(c.Rotate.KeepFindings == 0, "without bound")
	case "rotate.keep_size":
		return none(c.Rotate.KeepSize == 0, "without bound")
	case "syslog.address":
		return none(c.Syslog.Address == "", "nowhere")
	case "syslog.ca":
		return none(c.Syslog.CA == "", "the system's")
	case "webhook.url":
		return none(c.Webhook.URL == "", "nowhere")
	case "webhook.ca":
		return none(c.Webhook.CA == "", "the system's")
	case "webhook.spool":
		return none(c.Webhook.Spool == "", spoolOf(c))
	case "metrics.listen":
		return none(c.Metrics.Listen == "", "nowhere")
	case "metrics.quiet":
		return none(c.Metrics.Quiet == 0, "for ever")
	}
	return c.Unset(key)
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
	def := config.Default()
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
func (k *keyFlags) apply(cfg *config.Config) error {
	var names []string
	for key := range k.given {
		names = append(names, key)
	}
	slices.Sort(names)
	var wrong []error
	for _, key := range names {
		if err := cfg.Set(key, k.given[key]...); err != nil {
			wrong = append(wrong, fmt.Errorf("flag --%s: %s", flagOf(key), strings.TrimPrefix(err.Error(), "raytap: "+key+": ")))
		}
	}
	return errors.Join(wrong...)
}
