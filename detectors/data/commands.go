package data

import (
	_ "embed"
	"path"
	"strconv"
	"strings"
)

//go:embed programs.csv
var programsCSV string

//go:embed installers.csv
var installersCSV string

//go:embed credentials.csv
var credentialsCSV string

//go:embed callbacks.csv
var callbacksCSV string

// Program is what a program is for.
type Program string

// The classes of programs.csv.
const (
	Miner   Program = "miner"
	Attack  Program = "attack"
	Scanner Program = "scanner"
	Tunnels Program = "tunnel"
)

// Source is what is known of a place from which people run something.
type Source string

// The classes of installers.csv.
const (
	Vendor  Source = "vendor"
	Hostile Source = "attack"
)

type credential struct{ pattern, what string }

// Commands is what the lists say of programs and places that occur in commands, ready for look-ups.
type Commands struct {
	programs map[string]Program
	sources  map[string]Source // hosts, and hosts with the first folders of a path
	files    []credential
	urls     []credential
}

// LoadCommands reads the embedded lists.
func LoadCommands() *Commands {
	c := &Commands{programs: map[string]Program{}, sources: map[string]Source{}}
	for f := range rows(programsCSV, 3) {
		c.programs[strings.ToLower(f[0])] = Program(f[1])
	}
	for f := range rows(installersCSV, 3) {
		host, rest, _ := strings.Cut(f[0], "/")
		if rest != "" {
			host += "/" + strings.Trim(rest, "/")
		}
		c.sources[strings.ToLower(host)] = Source(f[1])
	}
	for f := range rows(credentialsCSV, 4) {
		if f[0] == "file" {
			c.files = append(c.files, credential{f[1], f[2]})
		} else {
			c.urls = append(c.urls, credential{f[1], f[2]})
		}
	}
	return c
}

// rows gives the lines of a list that are no comments, cut into n fields.
func rows(file string, n int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(file) {
			f := strings.SplitN(strings.TrimSpace(line), ",", n)
			if line[0] != '#' && len(f) == n && !yield(f) {
				return
			}
		}
	}
}

// Program tells what a program is for, by the name of its file, with or without a version and a platform behind it; ""
// if it is not listed.
func (c *Commands) Program(name string) Program {
	if len(name) > 64 {
		return ""
	}
	name = strings.ToLower(name)
	for {
		if p, ok := c.programs[name]; ok {
			return p
		}
		i := strings.LastIndexAny(name, "-_")
		if i <= 0 || !suffix(name[i+1:]) {
			return ""
		}
		name = name[:i]
	}
}

// suffix says whether a part of a program's name says for which machine or of which version it is.
func suffix(s string) bool {
	if s == "" {
		return false
	}
	switch s {
	case "linux", "linux64", "static", "x64", "x86", "x86_64", "amd64", "arm64", "aarch64", "armv7", "64", "musl", "focal", "jammy", "bin", "cuda", "avx2", "noble", "bionic":
		return true
	}
	s = strings.TrimPrefix(s, "v")
	return s != "" && strings.Trim(s, "0123456789.") == ""
}

// Source tells what is known of a place, by host and path; "" if nothing is.
func (c *Commands) Source(host, file string) Source {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	dirs := strings.Split(strings.ToLower(strings.Trim(file, "/")), "/")
	for n := min(len(dirs), 3); n > 0; n-- {
		if s, ok := c.sources[host+"/"+strings.Join(dirs[:n], "/")]; ok {
			return s
		}
	}
	for host != "" {
		if s, ok := c.sources[host]; ok {
			return s
		}
		_, host, _ = strings.Cut(host, ".")
	}
	return ""
}

// Secret tells what credentials a file holds, by its path; "" if none are known.
func (c *Commands) Secret(file string) string {
	if len(file) > 256 || strings.HasSuffix(file, ".pub") {
		return ""
	}
	if strings.HasPrefix(file, "~") || strings.HasPrefix(file, ".") {
		file = "/" + file
	}
	for _, s := range c.files {
		n := strings.Count(s.pattern, "/")
		tail := file
		for i, seen := len(file)-1, 0; i >= 0; i-- {
			if file[i] == '/' {
				if seen++; seen == n {
					tail = file[i:]
					break
				}
			}
		}
		if ok, _ := path.Match(s.pattern, tail); ok {
			return s.what
		}
	}
	return ""
}

// Metadata tells what credentials a page of a cloud's metadata service gives, by host and path; "" if none.
func (c *Commands) Metadata(host, file string) string {
	u := host + "/" + strings.TrimLeft(file, "/")
	if len(u) > 256 {
		return ""
	}
	for _, s := range c.urls {
		if globbed(s.pattern, u) {
			return s.what
		}
	}
	return ""
}

// globbed matches with * for anything, slashes too.
func globbed(pattern, s string) bool {
	p, rest, more := strings.Cut(pattern, "*")
	if s, ok := strings.CutPrefix(s, p); ok {
		for more {
			if p, rest, more = strings.Cut(rest, "*"); !more {
				return strings.HasSuffix(s, p)
			}
			i := strings.Index(s, p)
			if i < 0 {
				return false
			}
			s = s[i+len(p):]
		}
		return s == ""
	}
	return false
}

// Callback is a service that records who calls it.
type Callback struct {
	Domain string
	Grade  string // oast, bin, canary
	Length int    // of the labels that are somebody's own
}

// LoadCallbacks reads the list.
func LoadCallbacks() (all []Callback) {
	for f := range rows(callbacksCSV, 3) {
		if n, err := strconv.Atoi(f[2]); err == nil {
			all = append(all, Callback{f[0], f[1], n})
		}
	}
	return all
}
