// Package config is the configuration of the program raytap: the engine's settings, and those of what stands around it. It reads
// and checks the file whose every key raytap.yaml in this folder explains.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/feeds"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/zeek"
)

// Config says how to run. Default gives the defaults; the zero value runs too, with one worker for each
// processor and the default home networks.
//
// A configuration file has the keys that the tags name, and a section for each detector that takes settings:
//
//	home: [10.0.0.0/8, 2001:db8::/32]   # what counts as inside; addresses or networks
//	workers: 4                          # 0: the processors
//	filter: "not port 22"               # tcpdump's language
//	checksums: strict                   # auto, strict (as Zeek), ignore (as Zeek's -C)
//	max_flows: 200000
//	out: raytap-logs
//	format: json                        # zeek, json
//	fail_on: high                       # info, low, medium, high, critical; none if not given
//	quiet: false
//	logs: [conn, http, dns, notice]     # which to write; all if none is named
//	log_more: true                      # also rows of what Zeek would not read: see docs/zeek.md
//	mask_logs: true                     # credentials also in the columns that are Zeek's (uri, referrer, username)
//	file_mode: 0640                     # of logs and reports; who may read them may enter their folders
//	intel: [feeds/threatfox.csv]        # files with indicators, beside those that are built in; folders, servers: feeds.Source
//	interfaces: [eth1, "veth*"]         # what a sensor captures from: names, patterns, any, default, -lo; or:
//	read_fifo: /run/raytap/pcap         # a pipe of pcap from elsewhere
//	snaplen: 65535                      # bytes kept of each frame; 0: all
//	ring: 256MiB                        # memory for each interface, in blocks of `block` (a power of two)
//	block: 1MiB
//	rings: 4                            # that share it, for a network card with several queues
//	no_promisc: true                    # take only what the interface takes anyway
//	hardware_timestamps: true           # the network card's, where it makes any
//	user: raytap                        # whom a sensor becomes once it has opened the rings
//	state: /var/lib/raytap/assets.json  # where a sensor keeps the inventory from one run to the next
//	confine: false                      # leave it the files of the whole machine, where the kernel has Landlock
//	seccomp: false                      # leave it, and replay, the system calls that neither needs
//	sensor:
//	  name: node-17                     # who says so, in each finding; none: the host's name
//	  loss: 1.0                         # percent lost in a minute that is worth a finding
//	egress:
//	  bytes: 1GB                        # plain bytes, or with kB, MB, GB, TB (powers of 1000), KiB, MiB, ... (of 1024)
//	  window: 30m                       # as Go writes durations: 90s, 1h30m
//	proxy_protocol:
//	  trust: [10.0.0.9]                 # load balancers whose word for the client is taken; none: all at home
//	campaign:
//	  quiet: 6h                         # an incident without news for so long is over
//	  follow: 1h                        # how long after a job what may be honest is taken for its consequence
//	  allow: [203.0.113.0/24]           # outside, but their jobs count as jobs from inside
//	rules:                              # see detectors.RulesConfig
//	  off: [rayapi/recon]
//	  severity: {probe: info}
//	  suppress: [{rule: jobsubmit, src: [203.0.113.0/24], until: 2027-01-31, why: a test}]
//	assets:
//	  refresh: 1h                       # rows of assets.log while the run goes on, and again after this; 0: at its end (a sensor: hourly)
//
// raytap.yaml in the repository has every key with its default and what it means.
type Config struct {
	engine.Config `yaml:",inline"`

	Out      string   `yaml:"out"`
	Format   string   `yaml:"format"`
	FailOn   string   `yaml:"fail_on"`
	Quiet    bool     `yaml:"quiet"`
	MaskLogs bool     `yaml:"mask_logs"`
	FileMode string   `yaml:"file_mode"`
	Logs     []string `yaml:"logs"`

	Intel      []feeds.Source `yaml:"intel"`
	IntelCache string         `yaml:"intel_cache"`

	// Of a sensor.
	Interfaces []string `yaml:"interfaces"`
	ReadFIFO   string   `yaml:"read_fifo"`
	SnapLen    int      `yaml:"snaplen"`
	Ring       uint64   `yaml:"ring"`
	Block      uint64   `yaml:"block"`
	Rings      int      `yaml:"rings"`
	NoPromisc  bool     `yaml:"no_promisc"`
	HardwareTS bool     `yaml:"hardware_timestamps"`
	User       string   `yaml:"user"`
	State      string   `yaml:"state"`
	Confine    bool     `yaml:"confine"`
	Seccomp    bool     `yaml:"seccomp"`

	// What is kept of the packets.
	Record   Record   `yaml:"record"`
	Evidence Evidence `yaml:"evidence"`

	// Of a sensor: where what it says goes.
	Rotate  Rotate  `yaml:"rotate"`
	Syslog  Syslog  `yaml:"syslog"`
	Webhook Webhook `yaml:"webhook"`
	Metrics Metrics `yaml:"metrics"`
}

// Default gives the settings of a run for which nothing is said.
func Default() Config {
	return Config{
		Config:   engine.Default(),
		Out:      "raytap-logs",
		Format:   "zeek",
		FileMode: "0640",
		Record:   defaultRecord(),
		Evidence: defaultEvidence(),
		Rotate:   defaultRotate(),
		Syslog:   defaultSyslog(),
		Webhook:  defaultWebhook(),
		Metrics:  defaultMetrics(),
		Ring:     capture.DefaultRing,
		Block:    capture.DefaultBlock,
		Rings:    1,
		Confine:  true,
		Seccomp:  true,
	}
}

// Modes gives the permissions of what is made.
func (c *Config) Modes() disk.Modes {
	m, err := disk.ParseModes(c.FileMode)
	if err != nil { // it was checked
		return disk.Default()
	}
	return m
}

const (
	// A configuration is written by hand; this is ten times raytap.yaml, or some 6,000 networks. The time of the YAML parser
	// grows with the square of what one list has: this much takes it two seconds in the worst case.
	maxConfigFile = 128 << 10
	// The flow table is allocated as it fills; below this it would forget flows on any real network.
	minMaxFlows = 64
	maxMaxFlows = 1 << 26
	maxWorkers  = 4096
	// A sensor that waits for longer is late with what it says; a capture is put in order by its times before.
	maxOrderWait    = 10 * time.Second
	maxOrderPackets = 1 << 16
	// Ethernet, IPv6 and TCP with all their options.
	minSnapLen = 128
	// A block holds a frame of 64 KiB at least; the kernel counts the bytes of a ring in 32 bits.
	minRingBlock, maxRingBlock = 128 << 10, 64 << 20
	maxRing                    = 2 << 30
	// Processors that a network card interrupts.
	maxRings = 64
)

// check says what is wrong with the value of a key of the configuration or the flag of that name. For a list it is
// asked for each element. A key without an entry takes what its type takes.
func check(key string, v any) error {
	if err := checkValue(key, v); err != nil {
		return err
	}
	k := keys()[key]
	return k.Check(v)
}

// checkValue is check for what a detectors.Key does not say.
func checkValue(key string, v any) error {
	switch key {
	case "filter", "record.filter":
		// Most captures are Ethernet; what only another link type refuses is found when its frames come.
		if s := v.(string); s != "" {
			if _, err := capture.CompileFilter(s, 1); err != nil {
				return errors.New(strings.TrimPrefix(err.Error(), "capture: "))
			}
		}
	case "checksums":
		if s := v.(string); s != "auto" && s != "strict" && s != "ignore" {
			return fmt.Errorf("%q is not one of auto, strict, ignore", s)
		}
	case "interfaces":
		if err := capture.CheckInterface(v.(string)); err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "capture: "))
		}
	case "out":
		if v.(string) == "" {
			return errors.New("is empty")
		}
	case "format":
		if s := v.(string); s != "zeek" && s != "json" {
			return fmt.Errorf("%q is not a format (zeek, json)", s)
		}
	case "file_mode":
		_, err := disk.ParseModes(v.(string))
		return err
	case "logs":
		if !slices.Contains(zeek.Logs(), v.(string)) {
			return fmt.Errorf("%q is not one of the logs: %s", v, strings.Join(zeek.Logs(), ", "))
		}
	case "rules.off", "rules.suppress.rule":
		return checkRule(v.(string), key != "rules.off")
	case "rules.suppress.until":
		if s := v.(string); s != "" {
			_, err := detectors.ParseUntil(s)
			return err
		}
	case "fail_on":
		if s := v.(string); s != "" {
			if _, err := detectors.ParseSeverity(s); err != nil {
				return errors.New(strings.TrimPrefix(err.Error(), "detectors: "))
			}
		}
	default:
		return checkOutput(key, v)
	}
	return nil
}

// checkRule refuses what is the name of no rule, and fits none.
func checkRule(pattern string, empty bool) error {
	if pattern == "" && empty {
		return nil
	}
	var names []string
	seen := map[string]bool{}
	for _, r := range registry.Rules() {
		if detectors.MatchRule(pattern, r.Name) {
			return nil
		}
		if d, _, _ := strings.Cut(r.Name, "/"); !seen[d] {
			seen[d] = true
			names = append(names, d)
		}
		names = append(names, r.Name)
	}
	err := fmt.Sprintf("there is no rule %q", pattern)
	if n := detectors.Nearest(pattern, names); n != "" {
		return fmt.Errorf("%s; did you mean %s?", err, n)
	}
	return errors.New(err + " (raytap rules lists them)")
}

// checkEntry is check for an entry of a map.
func checkEntry(key, name, value string) error {
	if key != "rules.severity" {
		return nil
	}
	if err := checkRule(name, false); err != nil {
		return err
	}
	if _, err := detectors.ParseSeverity(value); err != nil {
		return fmt.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "detectors: "))
	}
	return nil
}

// checkSection asks a section that knows more of itself than check does.
func checkSection(v reflect.Value) error {
	if c, ok := v.Addr().Interface().(interface{ Check() error }); ok {
		return c.Check()
	}
	return nil
}

// Check says what is wrong with the values, naming the key.
func (c *Config) Check() error {
	if err := checkAll(reflect.ValueOf(c).Elem(), ""); err != nil {
		return fmt.Errorf("raytap: %w", err)
	}
	return nil
}

func checkAll(v reflect.Value, prefix string) (err error) {
	eachField(v, func(key string, f reflect.Value) {
		if err == nil {
			err = checkField(f, prefix+key)
		}
	})
	return err
}

func checkField(f reflect.Value, key string) error {
	section := func(v reflect.Value) error {
		if err := checkAll(v, key+"."); err != nil {
			return err
		}
		if err := checkSection(v); err != nil {
			return fmt.Errorf("%s: %s", key, strings.TrimPrefix(err.Error(), key+": "))
		}
		return nil
	}
	value := func(v reflect.Value) error {
		if err := check(key, v.Interface()); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	switch f.Kind() {
	case reflect.Struct:
		return section(f)
	case reflect.Slice:
		for j := range f.Len() {
			one := value
			if f.Index(j).Kind() == reflect.Struct {
				one = section
			}
			if err := one(f.Index(j)); err != nil {
				return err
			}
		}
	case reflect.Map:
		m := f.Interface().(map[string]string)
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if err := checkEntry(key, name, m[name]); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
	default:
		return value(f)
	}
	return nil
}

// Load reads a configuration file over the defaults. Its errors name file, line and key, a line for each mistake: unknown and repeated
// keys, values of the wrong type, and values that make no sense.
func Load(name string) (Config, error) {
	c, _, err := LoadLines(name)
	return c, err
}

// LoadLines is Load; it also says on which line of the file each key stands that is in it, and each element of a
// list ("intel[0]"). Where there are mistakes it gives what could be read.
func LoadLines(name string) (c Config, lines map[string]int, err error) {
	c = Default()
	lines = map[string]int{}
	f, err := os.Open(name)
	if err != nil {
		return c, nil, fmt.Errorf("raytap: configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return c, nil, fmt.Errorf("raytap: configuration: %w", err)
	}
	if len(b) > maxConfigFile {
		return c, nil, fmt.Errorf("raytap: configuration %s: over %d bytes", name, maxConfigFile)
	}
	if err := c.read(b, lines); err != nil {
		var all mistakes
		for _, e := range all.and(err) {
			all = append(all, fmt.Errorf("raytap: %s:%w", name, e))
		}
		return c, lines, all.err()
	}
	return c, lines, nil
}

// keyError is a mistake in a configuration: "LINE: KEY: reason".
type keyError struct {
	line   int
	key    string
	reason string
}

func (e *keyError) Error() string {
	if e.key == "" {
		return fmt.Sprintf("%d: %s", e.line, e.reason)
	}
	return fmt.Sprintf("%d: %s: %s", e.line, e.key, e.reason)
}

// read takes down in lines, if it is there, where each key stands.
func (c *Config) read(b []byte, lines map[string]int) error {
	if err := shallow(b); err != nil {
		return err
	}
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		line := 1
		var y yaml.Error
		if errors.As(err, &y) {
			if t := y.GetToken(); t != nil && t.Position != nil {
				line = t.Position.Line
			}
			return &keyError{line, "", y.GetMessage()}
		}
		return &keyError{line, "", err.Error()}
	}
	var body ast.Node
	for _, d := range f.Docs {
		if d.Body == nil || d.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return &keyError{line(d.Body), "", "a second document"}
		}
		body = d.Body
	}
	if body == nil {
		return nil
	}
	return fill(reflect.ValueOf(c).Elem(), body, "", lines)
}

const (
	// How deep a configuration may be nested: its deepest values, of a list in a section, are three levels down.
	maxNesting = 8
	// Marks of nested entries on one line: "- " before an element.
	maxMarks = 1
)

// shallow refuses YAML that is nested too deep, before the parser sees it, whose time grows with the square of the depth
// and more. It counts brackets, indentation and the marks of nested entries, and is generous with what it takes for one.
// Anchors and aliases, by which a few lines become billions, have no place in a configuration either.
func shallow(b []byte) error {
	brackets, n := 0, 0
	var indents []int
	for text := range bytes.Lines(b) {
		n++
		text = bytes.TrimRight(text, "\r\n")
		if i := bytes.Index(text, []byte(" #")); i >= 0 {
			text = text[:i]
		}
		rest := bytes.TrimLeft(text, " \t")
		if len(rest) == 0 || rest[0] == '#' {
			continue
		}
		indent := len(text) - len(rest)
		for len(indents) > 0 && indents[len(indents)-1] >= indent {
			indents = indents[:len(indents)-1]
		}
		indents = append(indents, indent)
		marks := 0 // "- - x" is nested as well
		for len(rest) > 0 && marks <= maxMarks {
			word, more, _ := bytes.Cut(rest, []byte(" "))
			if len(word) > 0 {
				switch word[0] {
				case '&', '*':
					if len(word) > 1 {
						return &keyError{n, "", "anchors and aliases are not taken"}
					}
				case '!':
					return &keyError{n, "", "tags are not taken"}
				case '-', '?', ':', '|', '>':
				default:
					goto counted
				}
				if len(word) > 1 {
					goto counted
				}
				marks++
			}
			rest = more
		}
	counted:
		for i, c := range text {
			switch c {
			case '[', '{':
				brackets++
			case ']', '}':
				brackets = max(brackets-1, 0)
			case '&', '*':
				// Behind what a value begins with; in the middle of one they are text.
				before := bytes.TrimRight(text[:i], " ")
				if i+1 < len(text) && text[i+1] > ' ' && len(before) > 0 && bytes.IndexByte([]byte(":-[{,"), before[len(before)-1]) >= 0 && (len(before) < i || before[len(before)-1] != ':' && before[len(before)-1] != '-') {
					return &keyError{n, "", "anchors and aliases are not taken"}
				}
			}
			if brackets > maxNesting {
				break
			}
		}
		if marks > maxMarks || len(indents)+marks+brackets > maxNesting {
			return &keyError{n, "", "nested deeper than any key is"}
		}
	}
	return nil
}

func line(n ast.Node) int {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return t.Position.Line
	}
	return 1
}

// keyOf is the configuration's name of a field.
func keyOf(f reflect.StructField) (string, bool) {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" || !f.IsExported() {
		return "", false
	}
	if key == "" {
		key = strings.ToLower(f.Name)
	}
	return key, true
}

// eachField calls f for every key of a section, those of an embedded struct and the sections of detectors among them.
func eachField(v reflect.Value, f func(key string, v reflect.Value)) {
	for i := range v.NumField() {
		if v.Type().Field(i).Anonymous {
			eachField(v.Field(i), f)
		} else if list, ok := v.Field(i).Interface().(detectors.Sections); ok {
			for _, s := range list {
				f(s.Name, reflect.ValueOf(s.Value).Elem())
			}
		} else if key, ok := keyOf(v.Type().Field(i)); ok {
			f(key, v.Field(i))
		}
	}
}

// fill sets v from a node; key is the path that leads to it. It goes over the syntax tree itself, because the
// decoder of the library turns numbers into strings and words into numbers without a word.
func fill(v reflect.Value, n ast.Node, key string, lines map[string]int) error {
	bad := func(format string, a ...any) error { return &keyError{line(n), key, fmt.Sprintf(format, a...)} }
	switch v.Kind() {
	case reflect.Struct:
		if word, ok := v.Addr().Interface().(interface{ SetText(string) error }); ok && n.Type() != ast.BoolType && n.Type() != ast.NullType {
			if text, _, single := scalar(n); single {
				if err := word.SetText(text); err != nil {
					return bad("%v", err)
				}
				return nil
			}
		}
		return fillStruct(v, n, key, lines)
	case reflect.Slice:
		return fillList(v, n, key, lines)
	case reflect.Map:
		return fillMap(v, n, key)
	}
	text, quoted, ok := scalar(n)
	if !ok {
		return bad("must be a single value")
	}
	if says := fillValue(v, n, text, quoted); says != "" {
		return bad("%s", says)
	}
	if err := check(key, v.Interface()); err != nil {
		return bad("%v", err)
	}
	return nil
}

// fillList sets the slice v.
func fillList(v reflect.Value, n ast.Node, key string, lines map[string]int) error {
	if n.Type() == ast.NullType {
		v.SetZero()
		return nil
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return &keyError{line(n), key, "must be a list"}
	}
	list := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	var wrong mistakes
	for i, e := range seq.Values {
		if err := fill(list.Index(i), e, key, nil); err != nil {
			wrong = wrong.and(err)
		}
		if lines != nil {
			lines[fmt.Sprintf("%s[%d]", key, i)] = line(e)
		}
	}
	v.Set(list)
	return wrong.err()
}

// fillValue sets v from the text of a scalar node. It returns what is wrong with that, "" if nothing is.
func fillValue(v reflect.Value, n ast.Node, text string, quoted bool) string {
	switch p := v.Addr().Interface().(type) {
	case *string:
		if n.Type() == ast.BoolType || n.Type() == ast.NullType {
			return text + " is not text; put it in quotes if it is meant"
		}
		*p = text
	case *bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return text + " is neither true nor false"
		}
		*p = b.Value
	case *int:
		i, err := strconv.Atoi(text)
		if err != nil || quoted {
			return text + " is not a whole number"
		}
		*p = i
	case *uint64:
		u, err := parseSize(text)
		if err != nil {
			return err.Error()
		}
		*p = u
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || quoted || math.IsNaN(f) || math.IsInf(f, 0) {
			return text + " is not a number"
		}
		*p = f
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return fmt.Sprintf("%q is not a duration (90s, 10m, 1h30m)", text)
		}
		*p = d
	default:
		return "cannot be set in a file"
	}
	return ""
}

// fillMap sets a map of texts.
func fillMap(v reflect.Value, n ast.Node, key string) error {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode:
	default:
		return &keyError{line(n), key, "must have keys with values"}
	}
	m := map[string]string{}
	for _, p := range pairs {
		name, _, ok := scalar(p.Key)
		value, _, single := scalar(p.Value)
		switch {
		case !ok:
			return &keyError{line(p.Key), key, "a key must be a name"}
		case m[name] != "":
			return &keyError{line(p.Key), key + "." + name, "stands here for the second time"}
		case !single:
			return &keyError{line(p.Key), key + "." + name, "must be a single value"}
		}
		if err := checkEntry(key, name, value); err != nil {
			return &keyError{line(p.Key), key, err.Error()}
		}
		m[name] = value
	}
	v.SetZero()
	if len(m) > 0 {
		v.Set(reflect.ValueOf(m))
	}
	return nil
}

func fillStruct(v reflect.Value, n ast.Node, key string, lines map[string]int) error {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	case *ast.NullNode:
		return nil
	default:
		return &keyError{line(n), key, "must have keys with values"}
	}
	fields := map[string]reflect.Value{}
	var known []string
	eachField(v, func(k string, f reflect.Value) {
		fields[k] = f
		known = append(known, k)
	})
	seen := map[string]bool{}
	var wrong mistakes
	for _, p := range pairs {
		if err := fillKey(p, key, fields, known, seen, lines); err != nil {
			wrong = wrong.and(err)
		}
	}
	if key != "" {
		if err := checkSection(v); err != nil {
			says := strings.TrimPrefix(err.Error(), key+": ")
			// A value that is out of bounds already need not be said to be wrong beside others, too.
			if of, _, _ := strings.Cut(says, ":"); wrong == nil || !wrong.names(key+"."+of) && slices.Contains(known, of) {
				wrong = wrong.and(&keyError{line(n), key, says})
			}
		}
	}
	return wrong.err()
}

// mistakes are several in one configuration.
type mistakes []error

// maxMistakes bounds what is told of one file: somebody mends some, and asks again.
const maxMistakes = 50

func (m mistakes) and(err error) mistakes {
	if more, ok := err.(mistakes); ok {
		m = append(m, more...)
	} else {
		m = append(m, err)
	}
	return m[:min(len(m), maxMistakes)]
}

// names reports whether one of them is about a key.
func (m mistakes) names(key string) bool {
	return slices.ContainsFunc(m, func(err error) bool {
		k, ok := err.(*keyError)
		return ok && k.key == key
	})
}

func (m mistakes) err() error {
	switch len(m) {
	case 0:
		return nil
	case 1:
		return m[0]
	}
	return m
}

// Unwrap gives them one by one.
func (m mistakes) Unwrap() []error { return m }

// Error has a line for each.
func (m mistakes) Error() string { return errors.Join(m...).Error() }

// fillKey sets the field that a key names.
func fillKey(p *ast.MappingValueNode, key string, fields map[string]reflect.Value, known []string, seen map[string]bool, lines map[string]int) error {
	name, _, ok := scalar(p.Key)
	if !ok {
		return &keyError{line(p.Key), key, "a key must be a name"}
	}
	path := name
	if key != "" {
		path = key + "." + name
	}
	field, ok := fields[name]
	if !ok {
		reason := "unknown key"
		if n := detectors.Nearest(name, known); n != "" {
			reason += "; did you mean " + n + "?"
		}
		return &keyError{line(p.Key), path, reason + " (known: " + strings.Join(known, ", ") + ")"}
	}
	if seen[name] {
		return &keyError{line(p.Key), path, "stands here for the second time"}
	}
	seen[name] = true
	if p.Value == nil || p.Value.Type() == ast.NullType && field.Kind() != reflect.Struct && field.Kind() != reflect.Slice {
		return &keyError{line(p.Key), path, "has no value"}
	}
	if err := fill(field, p.Value, path, lines); err != nil {
		return err
	}
	if lines != nil && field.Kind() != reflect.Struct {
		lines[path] = line(p.Key)
	}
	return nil
}

// scalar gives the text of a single value and whether it was quoted.
func scalar(n ast.Node) (text string, quoted, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType, true
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), true, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, false, true
	}
	return "", false, false
}

// parseSize reads a number of bytes or of anything else.
func parseSize(s string) (uint64, error) {
	units := [...]struct {
		name string
		n    float64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	}
	bad := fmt.Errorf("%q is not a size (1000000, 100MB, 1.5GB, 64MiB)", s)
	if n, err := strconv.ParseUint(s, 10, 64); err == nil {
		return n, nil
	}
	for _, u := range units {
		num, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(strings.TrimSpace(num), 64)
		if err != nil || math.IsNaN(f) || f < 0 || f*u.n >= 1<<63 {
			return 0, bad
		}
		return uint64(math.Round(f * u.n)), nil
	}
	return 0, bad
}
