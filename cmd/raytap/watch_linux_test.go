package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestWatchFollowsAFolder: what is there is read, then what grows and what comes; a file that is compressed later is not read
// again, and TERM ends it with the logs closed.
func TestWatchFollowsAFolder(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	if err := os.Mkdir(in, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(name string, b []byte) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(in, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	now := uint32(time.Now().Unix())
	first, second, third := attack(now-400), attack(now-200), attack(now-10)
	put("a.pcap", first)
	cmd := exec.Command(program, "watch", "in", "--seccomp=false", "--out", "logs", "--rotate-names", "begin")
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	rows := func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "logs", "current", "http.log"))
		return strings.Count(string(b), "/api/jobs/")
	}
	wait := func(n int) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); rows() < n; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d rows, want %d; %s", rows(), n, errs.String())
			}
		}
	}
	wait(1)
	put("b.pcap", second[:300]) // in the middle of a record
	time.Sleep(500 * time.Millisecond)
	put("b.pcap", second[300:])
	wait(2)
	put("a.pcap.gz", first)
	put("c.pcap", nil)
	put("d.pcap", third)
	wait(3)
	time.Sleep(time.Second)
	if n := rows(); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, errs.String())
	}
	invoke(t, dir, nil, "watch").expect(t, 2, "", "takes one folder")
	invoke(t, dir, nil, "watch", "none").expect(t, 2, "", "none is not a directory")
}
