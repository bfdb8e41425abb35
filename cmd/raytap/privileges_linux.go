package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// monotonic is the clock that systemd compares reloads by, in microseconds.
func monotonic() string {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return strconv.FormatInt(t.Nano()/1000, 10)
}

// dropPrivileges becomes another user, if one is given, and gives up every capability but the one that opens packet
// sockets, and without another user the one that writes to folders of others; on all threads and for good. folders are
// made while that is still possible, and belong to the user.
func dropPrivileges(name string, folders []ownFolder) error {
	fail := func(what string, err error) error { return fmt.Errorf("raytap: cannot %s: %w", what, err) }
	keep := uint64(1) << unix.CAP_NET_RAW
	uid, gid := -1, -1
	if name == "" {
		keep |= 1 << unix.CAP_DAC_OVERRIDE
	} else {
		var err error
		if uid, gid, err = lookup(name); err != nil {
			return err
		}
		for _, d := range folders {
			if _, err := os.Stat(d.name); !errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err := d.modes.Folder(d.name); err != nil {
				return fail("make the folder of "+d.of, err)
			}
			if err := os.Chown(d.name, uid, gid); err != nil {
				return fail("hand over the folder of "+d.of, err)
			}
		}
	}
	prctl := func(op, arg uintptr) error {
		if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, op, arg, 0, 0, 0, 0); e != 0 {
			return e
		}
		return nil
	}
	if err := prctl(unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		if errors.Is(err, syscall.ENOTSUP) {
			return errors.New("raytap: privileges cannot be given up in a build with cgo: build with CGO_ENABLED=0")
		}
		return fail("forbid new privileges", err)
	}
	have := [2]unix.CapUserData{}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&head, &have[0]); err != nil {
		return fail("read capabilities", err)
	}
	permitted := uint64(have[1].Permitted)<<32 | uint64(have[0].Permitted)
	if permitted&(1<<unix.CAP_SETPCAP) != 0 {
		for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
			if keep&(1<<c) == 0 {
				if err := prctl(unix.PR_CAPBSET_DROP, c); err != nil && !errors.Is(err, unix.EINVAL) {
					return fail("bound capabilities", err)
				}
			}
		}
	}
	if name != "" {
		if err := prctl(unix.PR_SET_KEEPCAPS, 1); err != nil {
			return fail("keep a capability", err)
		}
		if err := syscall.Setgroups(nil); err != nil {
			return fail("leave groups", err)
		}
		if err := syscall.Setgid(gid); err != nil {
			return fail("change group", err)
		}
		if err := syscall.Setuid(uid); err != nil {
			return fail("change user", err)
		}
	}
	return capset(permitted & keep)
}

// capset makes a set of capabilities all that any thread has.
func capset(caps uint64) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(caps), Permitted: uint32(caps)},
		{Effective: uint32(caps >> 32), Permitted: uint32(caps >> 32)},
	}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&data[0])), 0)
	if e != 0 {
		return fmt.Errorf("raytap: cannot give up capabilities: %w", e)
	}
	return nil
}

// lookup finds a user by name, or takes UID:GID.
func lookup(name string) (uid, gid int, err error) {
	if u, g, ok := strings.Cut(name, ":"); ok {
		uid, err1 := strconv.Atoi(u)
		gid, err2 := strconv.Atoi(g)
		if err1 != nil || err2 != nil || uid < 0 || gid < 0 {
			return 0, 0, fmt.Errorf("raytap: %q is not UID:GID", name)
		}
		return uid, gid, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, fmt.Errorf("raytap: there is no user %q", name)
	}
	uid, err = strconv.Atoi(u.Uid)
	if err == nil {
		gid, err = strconv.Atoi(u.Gid)
	}
	return uid, gid, err
}
