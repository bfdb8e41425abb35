package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completionCase is what is typed, the last word to be completed, and some of what a shell is to offer.
type completionCase struct {
	words       []string
	want, never []string
}

func completionCases(t *testing.T) []completionCase {
	iface := "lo"
	if all, err := net.Interfaces(); err == nil && len(all) > 0 {
		iface = all[0].Name
	}
	if _, err := os.Stat("/sys/class/net/" + iface); err != nil {
		iface = ""
	}
	return []completionCase{
		{[]string{"re"}, []string{"replay", "report"}, []string{"rules", "sensor"}},
		{[]string{""}, []string{"help", "version", "completion"}, nil},
		{[]string{"replay", "--ho"}, []string{"--home"}, []string{"--out"}},
		{[]string{"tail", "--severity", "h"}, []string{"high"}, []string{"low"}},
		{[]string{"replay", "--fail-on", ""}, []string{"info", "critical"}, nil},
		{[]string{"rules", "jobsubmit/e"}, []string{"jobsubmit/external", "jobsubmit/evasive"}, []string{"jobsubmit/dropper"}},
		{[]string{"rules", "--explain", "mining/s"}, []string{"mining/stratum"}, nil},
		{[]string{"replay", "--logs", "ht"}, []string{"http"}, []string{"conn"}},
		{[]string{"sensor", "--rotate-co"}, []string{"--rotate-compress"}, nil},
		{[]string{"sensor", "-i", ""}, []string{iface}, []string{"capture.pcap"}},
		{[]string{"replay", "--checksums", "s"}, []string{"strict"}, nil},
		{[]string{"config", "ch"}, []string{"check"}, []string{"show"}},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}, nil},
		{[]string{"help", "ex"}, []string{"extract"}, nil},
	}
}

// shell gives a folder with a capture, a folder and the script of a shell, if that is there.
func shell(t *testing.T, name string) (tool, dir, script string) {
	t.Helper()
	tool, err := exec.LookPath(name)
	if err != nil {
		t.Skip(err)
	}
	dir = t.TempDir()
	script = filepath.Join(t.TempDir(), "_raytap")
	r := invoke(t, dir, nil, "completion", name)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	for path, text := range map[string]string{script: r.stdout, filepath.Join(dir, "capture.pcap"): "", filepath.Join(dir, "a name.pcap"): ""} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	return tool, dir, script
}

func (c completionCase) check(t *testing.T, got []string) {
	t.Helper()
	for _, w := range c.want {
		if w != "" && !slices.Contains(got, w) {
			t.Errorf("%q: %q is not offered, but %q", c.words, w, got)
		}
	}
	for _, w := range c.never {
		if slices.Contains(got, w) {
			t.Errorf("%q: %q is offered", c.words, w)
		}
	}
}

func inShell(t *testing.T, dir, tool string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CACHE_HOME="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", tool, err, out)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func TestBashCompletes(t *testing.T) {
	bash, dir, script := shell(t, "bash")
	if got := inShell(t, dir, bash, "-uc", `. "$0"; complete -p raytap`, script); got[0] != "complete -F _raytap raytap" {
		t.Error(got)
	}
	const ask = `. "$0"; COMP_WORDS=(raytap "$@"); COMP_CWORD=$#; _raytap; printf '%s\n' "${COMPREPLY[@]}"`
	for _, c := range append(completionCases(t),
		completionCase{[]string{"replay", "--logs", "=", "con"}, []string{"conn"}, nil}, // as bash splits it
		completionCase{[]string{"replay", "--fail-on", "="}, []string{"high"}, nil},
		completionCase{[]string{"replay", "--logs", "conn,ht"}, []string{"conn,http"}, nil},
		completionCase{[]string{"replay", ""}, []string{"capture.pcap", "a name.pcap", "folder"}, nil},
		completionCase{[]string{"report", ""}, []string{"folder"}, []string{"capture.pcap"}},
		completionCase{[]string{"replay", "--config", "c"}, []string{"capture.pcap"}, []string{"folder"}},
		completionCase{[]string{"extract", "--logs", "f"}, []string{"folder"}, nil},
	) {
		c.check(t, inShell(t, dir, bash, append([]string{"--norc", "-c", ask, script}, c.words...)...))
	}
}

// TestZshCompletes asks the function with the words as zsh's editor gives them, and with what offers them printing it.
func TestZshCompletes(t *testing.T) {
	zsh, dir, script := shell(t, "zsh")
	const ask = `compdef() { :; }; compset() { :; }
compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -rl -- "$@"; }
_files() { if [[ $1 == -/ ]]; then print -rl -- *(/); else print -rl -- *; fi; }
_describe() { print -rl -- ${list%%:*}; }
. "$0"; words=(raytap "$@"); CURRENT=$#words; _raytap`
	for _, c := range append(completionCases(t),
		completionCase{[]string{"replay", "--fail-on="}, []string{"high"}, nil},
		completionCase{[]string{"replay", ""}, []string{"capture.pcap", "folder"}, nil},
		completionCase{[]string{"report", ""}, []string{"folder"}, []string{"capture.pcap"}},
	) {
		got := inShell(t, dir, zsh, append([]string{"-fc", ask, script}, c.words...)...)
		last := c.words[len(c.words)-1]
		if !strings.HasSuffix(last, "=") { // compadd itself looks for what begins so
			got = slices.DeleteFunc(got, func(w string) bool { return !strings.HasPrefix(w, last) })
		}
		c.check(t, got)
	}
}

func TestFishCompletes(t *testing.T) {
	fish, dir, script := shell(t, "fish")
	for _, c := range append(completionCases(t),
		completionCase{[]string{"replay", "--fail-on="}, []string{"--fail-on=high"}, nil},
		completionCase{[]string{"replay", "--logs", "conn,ht"}, []string{"conn,http"}, nil},
		completionCase{[]string{"replay", "c"}, []string{"capture.pcap"}, nil},
		completionCase{[]string{"report", "f"}, []string{"folder/"}, nil},
	) {
		got := inShell(t, dir, fish, "-c", `source $argv[1]; complete -C "raytap $argv[2]"`, script, strings.Join(c.words, " "))
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], "\t")
		}
		c.check(t, got)
	}
}

func TestCompletionUsage(t *testing.T) {
	dir := t.TempDir()
	invoke(t, dir, nil, "completion").expect(t, 2, "", "bash, zsh or fish")
	invoke(t, dir, nil, "completion", "tcsh").expect(t, 2, "", "tcsh is not one of the shells")
	r := invoke(t, dir, nil, "help", "--json")
	var all []usageOf
	if err := json.Unmarshal([]byte(r.stdout), &all); err != nil || r.code != 0 || len(all) != len(commands()) {
		t.Fatalf("%v: %+v", err, r)
	}
	for _, u := range all { // what help tells and what is made of it are one
		text := invoke(t, dir, nil, "help", u.Name).stdout
		for _, f := range u.Flags {
			if !f.Key && !strings.Contains(text, "\n  "+strings.TrimSpace(f.dashed()+" "+f.Value)) {
				t.Errorf("help %s does not tell of %s %s", u.Name, f.dashed(), f.Value)
			}
		}
	}
}
