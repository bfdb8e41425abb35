//go:build unix

package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// What somebody may do with a file, as the last bits of its mode have it.
const (
	mayEnter = 1
	mayWrite = 2
	mayRead  = 4
)

// person is a user with one group: that is what a sensor becomes.
type person struct{ uid, gid uint32 }

// may says by modes and owners whether p may do something with a file, and enter the folders that lead to it. Access
// lists are not looked at.
func (p *person) may(name string, what uint32) error {
	at, err := filepath.Abs(name)
	if err == nil {
		at, err = filepath.EvalSymlinks(at)
	}
	if err != nil || p.uid == 0 {
		return err
	}
	for {
		info, err := os.Stat(at)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return nil
		}
		shift := 0
		switch {
		case st.Uid == p.uid:
			shift = 6
		case st.Gid == p.gid:
			shift = 3
		}
		if uint32(info.Mode().Perm())>>shift&what != what {
			return &fs.PathError{Op: "access", Path: at, Err: fs.ErrPermission}
		}
		up := filepath.Dir(at)
		if up == at {
			return nil
		}
		at, what = up, mayEnter
	}
}

// self says whether this process may do something with a file.
func self(name string, what uint32) error { return unix.Access(name, what) }

// ownedBy reports whether a file is a user's.
func ownedBy(info fs.FileInfo, uid uint32) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Uid == uid
}

// findPerson finds a user by name, or takes UID:GID.
func findPerson(name string) (*person, error) {
	uid, gid, err := lookup(name)
	if err != nil {
		return nil, err
	}
	return &person{uint32(uid), uint32(gid)}, nil
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
