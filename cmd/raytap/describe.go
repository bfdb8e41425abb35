package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// usageOf is a command as the text of its help has it, for what is made of it: man pages, completion, other programs.
type usageOf struct {
	Name  string        `json:"name"`
	Says  string        `json:"says"`
	Lines []string      `json:"usage"` // each is "raytap NAME ..."
	Text  string        `json:"text"`  // paragraphs
	Flags []flagOfUsage `json:"flags"`
}

type flagOfUsage struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"` // what stands for its value; none: it takes none
	Says  string `json:"says,omitempty"`
	Key   bool   `json:"key,omitempty"` // it is a key of the configuration, which help does not tell
}

func (f flagOfUsage) dashed() string { return dashed(f.Name) }

// describeAs asks a command for itself as JSON: raytap replay --help=json.
const describeAs = "json"

var errDescribe = errors.New("asked for the usage as JSON")

// describe writes what help tells, and the flags that are keys.
func (f *flags) describe(w *os.File) {
	head, text, _ := strings.Cut(f.synopsis, "\n\n")
	u := usageOf{Name: f.Name(), Text: strings.TrimSpace(text), Flags: []flagOfUsage{}}
	for _, line := range strings.Split(head, "\n") {
		u.Lines = append(u.Lines, "raytap "+strings.TrimPrefix(strings.TrimSpace(line), "raytap "))
	}
	f.VisitAll(func(g *flag.Flag) {
		if f.hidden[g.Name] && !f.ofKeys[g.Name] {
			return
		}
		value, says := flag.UnquoteUsage(g)
		if isBool(g) {
			value = ""
		}
		if f.hidden[g.Name] {
			says = "" // that of VALUE
		}
		u.Flags = append(u.Flags, flagOfUsage{g.Name, value, says, f.hidden[g.Name]})
	})
	json.NewEncoder(w).Encode(u)
}

// usages asks every command for its usage.
func usages() (all []usageOf, err error) {
	for _, c := range commands() {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		go func() {
			c.run([]string{"--help=" + describeAs}, w, w)
			w.Close()
		}()
		var u usageOf
		err = json.NewDecoder(r).Decode(&u)
		r.Close()
		if err != nil {
			return nil, fmt.Errorf("usage of %s: %w", c.name, err)
		}
		u.Says = c.says
		all = append(all, u)
	}
	return all, nil
}

// describeAll is raytap help --json.
func describeAll(args []string, stdout, stderr *os.File) int {
	if len(args) > 0 {
		fmt.Fprintln(stderr, "raytap: help --json takes no arguments")
		return exitUsage
	}
	all, err := usages()
	if err == nil {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		err = e.Encode(all)
	}
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	return exitOK
}
