package main

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRestricted: under the filter what a run needs works, on all threads, and what it refuses fails with EPERM.
func TestRestricted(t *testing.T) {
	if os.Getenv("RAYTAP_TEST_RESTRICTED") == "" { // for good, so in a process of its own
		cmd := exec.Command(os.Args[0], "-test.run=^TestRestricted$", "-test.v")
		cmd.Env = append(os.Environ(), "RAYTAP_TEST_RESTRICTED=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		if strings.Contains(string(out), "SKIP") {
			t.Skipf("%s", out)
		}
		return
	}
	// A thread that is there before.
	before, go1 := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		<-go1
		before <- unix.Exec("/bin/true", []string{"true"}, nil)
	}()
	says, err := restrict(false)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(says, "seccomp refuses") {
		t.Skip(says)
	}
	close(go1)
	if err := <-before; !errors.Is(err, unix.EPERM) {
		t.Errorf("execve on another thread: %v", err)
	}
	for name, call := range map[string]func() error{
		"execve":   func() error { return unix.Exec("/bin/true", []string{"true"}, nil) },
		"start":    func() error { return exec.Command("/bin/true").Run() },
		"ptrace":   func() error { return unix.PtraceAttach(os.Getppid()) },
		"mount":    func() error { return unix.Mount("none", "/mnt", "tmpfs", 0, "") },
		"unshare":  func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"setns":    func() error { return unix.Setns(0, 0) },
		"memfd":    func() error { _, err := unix.MemfdCreate("x", 0); return err },
		"keyctl":   func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); return err },
		"setuid":   func() error { _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 0, 0, 0); return e },
		"bpf":      func() error { _, _, e := unix.RawSyscall(unix.SYS_BPF, 0, 0, 0); return e },
		"io_uring": func() error { _, _, e := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return e },
		"vsock":    func() error { _, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0); return err },
		"alg":      func() error { _, err := unix.Socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0); return err },
		"code": func() error {
			_, err := unix.Mmap(-1, 0, 4096, unix.PROT_EXEC|unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE)
			return err
		},
		"new user ns": func() error {
			_, _, e := unix.RawSyscall(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0)
			return e
		},
		"process read": func() error { _, _, e := unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, 1, 0, 0, 0, 0, 0); return e },
	} {
		if err := call(); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_UNIX} {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
			t.Errorf("socket %d: %v", family, err)
		} else if err == nil {
			unix.Close(fd)
		}
	}
	// New threads, memory, files.
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			runtime.LockOSThread() // a thread each, that ends with it
			_ = make([]byte, 1<<20)
		})
	}
	wg.Wait()
	runtime.GC()
	if err := os.WriteFile(t.TempDir()+"/x", []byte("x"), 0o600); err != nil {
		t.Error(err)
	}
}

// TestPolicyNames: names that the policy has no number for are left out, and enough is left.
func TestPolicyNames(t *testing.T) {
	policy, n, err := filter(false)
	if err != nil {
		t.Skip(err)
	}
	if n < 70 {
		t.Errorf("%d system calls", n)
	}
	if _, err := policy.Assemble(); err != nil {
		t.Error(err)
	}
}
