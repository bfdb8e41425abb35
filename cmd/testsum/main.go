// Command testsum reads what `go test -json` writes and prints what `go test` would: packages, and the output of tests that
// failed. Behind that stands what was skipped, by reason, since a test that never runs looks like one that passes.
//
//	go test -json ./... | testsum [-allow FILE]
//
// With -allow it fails if a test was skipped for a reason that no line of FILE matches, a regular expression each; what
// follows " # ", and empty lines, are for people.
//
// Exit status: 0 all passed; 1 a test failed, or was skipped that must not be; 2 wrong usage, or no result came.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

func main() {
	allow := flag.String("allow", "", "fail on skips whose reason matches no line of `FILE`")
	flag.Parse()
	var allowed []*regexp.Regexp
	if *allow != "" {
		b, err := os.ReadFile(*allow)
		if err == nil {
			allowed, err = patterns(string(b))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(2)
		}
	}
	os.Exit(sum(os.Stdin, os.Stdout, *allow != "", allowed))
}

func patterns(text string) (all []*regexp.Regexp, err error) {
	for _, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, " # ")
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		re, err := regexp.Compile(line)
		if err != nil {
			return nil, err
		}
		all = append(all, re)
	}
	return all, nil
}

// event is what test2json writes (go doc test2json).
type event struct {
	Action, Package, Test, ImportPath, Output string
}

// reason finds why a test was skipped in what it printed: the text behind file and line.
var reason = regexp.MustCompile(`(?m)^\s+\S+\.go:\d+: (.*)$`)

// sum reads events and prints results; strict has skips fail that are not allowed.
func sum(r io.Reader, w io.Writer, strict bool, allowed []*regexp.Regexp) int {
	output := map[string]*strings.Builder{} // of tests that run, and of packages, by name
	of := func(e event) *strings.Builder {
		key := e.Package + "\x00" + e.Test
		if output[key] == nil {
			output[key] = &strings.Builder{}
		}
		return output[key]
	}
	skipped := map[string][]string{}
	passed, failed, packages, unclear := 0, 0, 0, 0
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && len(line) == 0 {
			break
		}
		var e event
		if json.Unmarshal(line, &e) != nil { // go itself, about the command line
			w.Write(line)
			unclear++
			continue
		}
		switch e.Action {
		case "build-output":
			io.WriteString(w, e.Output)
			continue
		case "output":
			of(e).WriteString(e.Output)
			continue
		case "pass", "fail", "skip":
		default:
			continue
		}
		said := of(e).String()
		delete(output, e.Package+"\x00"+e.Test)
		switch {
		case e.Test == "":
			packages++
			if e.Action == "fail" {
				failed++
				io.WriteString(w, said)
			} else {
				io.WriteString(w, lastLine(said))
			}
		case e.Action == "pass":
			passed++
		case e.Action == "fail":
			failed++
			io.WriteString(w, said)
		default:
			why := "(no reason)"
			if all := reason.FindAllStringSubmatch(said, -1); all != nil {
				why = all[len(all)-1][1]
			}
			skipped[why] = append(skipped[why], strings.TrimPrefix(e.Package, "github.com/raytap/raytap/")+"."+e.Test)
		}
	}
	n, bad := 0, 0
	reasons := make([]string, 0, len(skipped))
	for why, tests := range skipped {
		n += len(tests)
		reasons = append(reasons, why)
	}
	slices.SortFunc(reasons, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(skipped[b]), len(skipped[a])), cmp.Compare(a, b))
	})
	fmt.Fprintf(w, "%d tests passed, %d skipped\n", passed, n)
	for _, why := range reasons {
		mark := "  "
		if strict && !slices.ContainsFunc(allowed, func(re *regexp.Regexp) bool { return re.MatchString(why) }) {
			bad += len(skipped[why])
			mark = "! "
		}
		tests := skipped[why]
		slices.Sort(tests)
		more := ""
		if len(tests) > 3 {
			tests, more = tests[:3], fmt.Sprintf(" and %d more", len(tests)-3)
		}
		fmt.Fprintf(w, "%s%3d  %s: %s%s\n", mark, len(skipped[why]), why, strings.Join(tests, ", "), more)
	}
	switch {
	case packages == 0:
		fmt.Fprintln(w, "no package was tested")
		return 2
	case failed > 0:
		fmt.Fprintln(w, "FAIL")
		return 1
	case bad > 0:
		fmt.Fprintf(w, "FAIL: tests were skipped that must run: %d\n", bad)
		return 1
	case unclear > 0:
		return 2
	}
	return 0
}

// lastLine is what go test says of a package, which tests with output of their own may have put before.
func lastLine(s string) string {
	s = strings.TrimSuffix(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:] + "\n"
}
