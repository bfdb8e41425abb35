package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestSkipsOfCI: the list that .ci/run gives is one.
func TestSkipsOfCI(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", ".ci", "skips"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := patterns(string(b))
	if err != nil || len(all) < 5 {
		t.Errorf("%d patterns: %v", len(all), err)
	}
	for _, why := range []string{"no tshark here", "(no reason)", "", `exec: "fish": executable file not found in $PATH`} {
		for _, re := range all {
			if re.MatchString(why) {
				t.Errorf("%q may be skipped for %q, which CI is to run", re, why)
			}
		}
	}
}

// TestWorkflows: workflows call targets that there are, and are valid.
func TestWorkflows(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	names, _ := filepath.Glob(filepath.Join("..", "..", ".github", "workflows", "*.yml"))
	called := map[string]bool{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var flow struct {
			Jobs map[string]struct {
				On      string `yaml:"runs-on"`
				Minutes int    `yaml:"timeout-minutes"`
				Steps   []struct{ Uses, Run string }
			}
		}
		if err := yaml.Unmarshal(b, &flow); err != nil {
			t.Fatal(err)
		}
		for job, j := range flow.Jobs {
			if j.On == "" || j.Minutes == 0 || len(j.Steps) == 0 {
				t.Errorf("%s: %s: %+v", name, job, j)
			}
			for _, s := range j.Steps {
				if strings.HasPrefix(s.Run, ".ci/run") {
					called[".ci/run"] = true
				}
				words := strings.Fields(s.Run)
				if len(words) == 0 || words[0] != "make" {
					continue
				}
				for _, target := range words[1:] {
					if strings.Contains(target, "=") { // a variable
						break
					}
					called[target] = true
					if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
						t.Errorf("%s: %s: there is no target %s", name, job, target)
					}
				}
			}
		}
	}
	for _, want := range []string{".ci/run", "cross", "vuln", "fuzz", "packages", "package-lint", "image"} {
		if !called[want] {
			t.Errorf("no workflow calls %s", want)
		}
	}
	run, err := os.ReadFile(filepath.Join("..", "..", ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nmake check\n", "\nmake test SKIPS=", "\n  make race\n", "\nmake build\n"} {
		if !strings.Contains(string(run), want) {
			t.Errorf(".ci/run lacks %q", want)
		}
	}
}
