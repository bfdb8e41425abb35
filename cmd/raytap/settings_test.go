package main

import (
	"os"
	"path/filepath"
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
	r.expect(t, exitUsage, "good.yaml: fine\n", "bad.yaml:3: rotate.interval: is shorter than 1m0s\n")
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
		"workers: 0":                          "default",
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
