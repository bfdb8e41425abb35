package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"good.yaml": "workers: 2\nrotate:\n  interval: 10m\n", "bad.yaml": "workers: 2\nrotate:\n  interval: 1s\n", "worse.yaml": "rotated: 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	invoke(t, dir, nil, "config", "check", "good.yaml").expect(t, exitOK, "good.yaml: fine\n", "")
	r := invoke(t, dir, nil, "config", "check", "bad.yaml", "good.yaml", "worse.yaml")
	r.expect(t, exitUsage, "good.yaml: fine\n", "bad.yaml:3: rotate.interval: 1s is neither 0 nor between 1m0s and 720h0m0s: there would be too many files\n")
	r.expect(t, exitUsage, "good.yaml: fine\n", "worse.yaml:1: rotated: unknown key")
	invoke(t, dir, nil, "config", "check", "none.yaml").expect(t, exitUsage, "", "none.yaml")
	invoke(t, dir, nil, "config", "check").expect(t, exitUsage, "", "check needs a file")
	invoke(t, dir, nil, "config").expect(t, exitUsage, "", "check or show?")
	invoke(t, dir, nil, "config", "verify").expect(t, exitUsage, "", "unknown verb verify")
	invoke(t, dir, nil, "config", "--help").expect(t, exitOK, "usage: raytap config check", "")
}

// TestConfigShow: each value names its origin, and what is printed reads as the same.
func TestConfigShow(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte("home: [10.0.0.0/8]\nfilter: \"not port 22\"\nrotate:\n  interval: 10m\n  keep: 24h\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"config", "show", "--config", "r.yaml", "--rotate-keep=48h", "--home", "192.0.2.0/24", "--home", "2001:db8::/32", "--quiet", "--egress-allow", "a.b", "--syslog-address", "udp://[::1]:514"}
	r := invoke(t, dir, nil, args...)
	got := map[string]string{}
	for l := range strings.Lines(r.stdout) {
		value, from, _ := strings.Cut(l, " # ")
		got[strings.TrimSpace(value)] = strings.TrimSpace(from)
	}
	for value, from := range map[string]string{
		"home: [192.0.2.0/24, 2001:db8::/32]": "--home",
		`filter: not port 22`:                 "r.yaml:2",
		"interval: 10m":                       "r.yaml:4",
		"keep: 48h":                           "--rotate-keep",
		"quiet: true":                         "--quiet",
		"allow: [a.b]":                        "--egress-allow",
		`address: "udp://[::1]:514"`:          "--syslog-address",
		"workers: 0":                          fmt.Sprintf("default: the processors, %d here", runtime.GOMAXPROCS(0)),
		"compress: gzip":                      "default",
	} {
		if got[value] != from {
			t.Errorf("%s comes from %q, want %q\n%s", value, got[value], from, r.stdout)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "back.yaml"), []byte(r.stdout), 0o644); err != nil {
		t.Fatal(err)
	}
	strip := func(s string) (all string) {
		for l := range strings.Lines(s) {
			value, _, _ := strings.Cut(l, " # ")
			all += strings.TrimRight(value, " \n") + "\n"
		}
		return all
	}
	back := invoke(t, dir, nil, "config", "show", "--config", "back.yaml")
	if strip(back.stdout) != strip(r.stdout) || r.stdout == "" {
		t.Errorf("printed\n%s\nread back as\n%s%s", r.stdout, back.stdout, back.stderr)
	}
	invoke(t, dir, nil, "config", "show", "--rotate-keep", "soon").expect(t, exitUsage, "", `flag --rotate-keep: "soon" is not a duration`)
	invoke(t, dir, nil, "config", "show", "--rotate-kept", "1h").expect(t, exitUsage, "", "unknown flag --rotate-kept")
	invoke(t, dir, nil, "config", "show", "r.yaml").expect(t, exitUsage, "", "takes its file with --config")
}

// TestConfigShowInForce: what stands for a default is printed as that, and what is printed, given back as a file, is printed
// the same and makes the same run.
func TestConfigShowInForce(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{
		"none.yaml": "home: []\nmax_flows: 0\nring: 0\nblock: 0\nfile_mode: \"\"\n", "null.yaml": "home:\n",
		"some.yaml": "home: [10.20.0.0/16]\nlogs: [notice, conn]\negress: {day: 0, allow: [a.example]}\nrules: {off: [probe], severity: {jobsubmit: medium}, suppress: [{rule: rayapi, src: [192.0.2.0/24], why: \"a: b, c\"}]}\n",
	}
	if err := os.WriteFile(filepath.Join(dir, "a.pcap"), attack(1700000000), 0o644); err != nil {
		t.Fatal(err)
	}
	strip := func(s string) (all string) {
		for l := range strings.Lines(s) {
			value, _, _ := strings.Cut(l, " # ")
			all += strings.TrimRight(value, " \n") + "\n"
		}
		return all
	}
	run := func(configFile string) map[string]string {
		t.Helper()
		args := []string{"replay", "--out", "logs-" + configFile, "a.pcap"}
		if configFile != "" {
			args = append(args, "--config", configFile)
		}
		if r := invoke(t, dir, nil, args...); r.code != exitOK {
			t.Fatalf("%s: %d: %s", configFile, r.code, r.stderr)
		}
		all := map[string]string{}
		names, _ := filepath.Glob(filepath.Join(dir, "logs-"+configFile, "*.log"))
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(name)] = string(b)
		}
		return all
	}
	bare := invoke(t, dir, nil, "config", "show")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		shown := invoke(t, dir, nil, "config", "show", "--config", name)
		if name != "some.yaml" && strip(shown.stdout) != strip(bare.stdout) {
			t.Errorf("%s is shown as\n%s\nnot as the defaults\n%s", name, shown.stdout, bare.stdout)
		}
		if name == "null.yaml" && !strings.Contains(shown.stdout, "# null.yaml:1, which names none: the default") {
			t.Errorf("%s does not say where home comes from:\n%s", name, shown.stdout)
		}
		if err := os.WriteFile(filepath.Join(dir, "back-"+name), []byte(shown.stdout), 0o644); err != nil {
			t.Fatal(err)
		}
		again := invoke(t, dir, nil, "config", "show", "--config", "back-"+name)
		if strip(again.stdout) != strip(shown.stdout) || again.stdout == "" {
			t.Errorf("%s: given back it is\n%s%s\nnot\n%s", name, again.stdout, again.stderr, shown.stdout)
		}
		got, want := run("back-"+name), run(name)
		if len(want) < 2 || len(got) != len(want) {
			t.Errorf("%s: %d logs and %d", name, len(got), len(want))
		}
		for log, text := range want {
			if got[log] != text {
				t.Errorf("%s: given back it writes another %s:\n%s\n%s", name, log, got[log], text)
			}
		}
	}
	if !strings.Contains(bare.stdout, "home: [10.0.0.0/8, ") || strings.Contains(bare.stdout, "home: []") {
		t.Errorf("the home networks are not shown:\n%s", bare.stdout)
	}
}
