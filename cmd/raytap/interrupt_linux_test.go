package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInterruptWhileAPipeIsSilent: the end comes at once, with what was read, whether the writer of a pipe is silent, has
// not even written a header, or never came; of standard input and of several captures, too.
func TestInterruptWhileAPipeIsSilent(t *testing.T) {
	for _, c := range []struct {
		name, writes string // "none": there is no writer
		args         []string
	}{
		{"silent", string(attack(1700000000)), []string{"pipe"}},
		{"no header", "", []string{"pipe"}},
		{"no writer", "none", []string{"pipe"}},
		{"standard input", string(attack(1700000000)), []string{"-"}},
		{"beside a file", string(attack(1700000100)), []string{"a.pcap", "pipe"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := folder(t, map[string]string{"a.pcap": string(attack(1700000000))})
			name := filepath.Join(dir, "pipe")
			if err := syscall.Mkfifo(name, 0o600); err != nil {
				t.Skip("no named pipes: ", err)
			}
			cmd := exec.Command(program, append([]string{"replay"}, c.args...)...)
			cmd.Dir = dir
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			var w *os.File
			if c.writes != "none" {
				var err error
				if w, err = os.OpenFile(name, os.O_RDWR, 0); err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				if _, err := w.WriteString(c.writes); err != nil {
					t.Fatal(err)
				}
			}
			if c.args[0] == "-" {
				r, err := os.OpenFile(name, os.O_RDONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				cmd.Stdin = r
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			// Its logs are there when it reads. Where it never comes to that, a moment must do.
			for i := 0; i < 100; i++ {
				time.Sleep(20 * time.Millisecond)
				if _, err := os.Stat(filepath.Join(dir, "raytap-logs")); err == nil {
					break
				} else if len(c.writes) <= 4 && i > 25 {
					break
				}
			}
			time.Sleep(200 * time.Millisecond)
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				cmd.Process.Kill()
				t.Fatalf("still there; %s", errs.String())
			}
			if code := cmd.ProcessState.ExitCode(); code != 130 || !strings.Contains(errs.String(), "interrupted") {
				t.Errorf("exit status %d, stdout %q, stderr %q", code, out.String(), errs.String())
			}
			if len(c.writes) > 4 && len(c.args) == 1 {
				if s := read(t, dir, "raytap-logs", "notice.log"); !strings.Contains(s, "External_Job") && !strings.Contains(s, "203.0.113.66") {
					t.Errorf("notice.log: %s", s)
				}
			}
		})
	}
}
