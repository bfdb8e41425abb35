// Package disk makes the files that raytap writes, and opens those that somebody else may have had his hands on.
//
// In: names. Out: files of their own. A file is never made or opened through a link that stands in its place, and never
// where a pipe, a device or a file with a second name stands, so that whoever may write to the folder cannot have another
// file written to, read or waited for. Links on the way to the folder are the user's and are followed.
//
// It does not see who else holds a file open, and does not defend a folder against its owner: he may put another folder
// in its place at any time.
package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// Modes are the permissions of what is made. The process's umask may take some away.
type Modes struct{ File, Dir fs.FileMode }

// Default lets the owner write and the group read.
func Default() Modes { return Modes{0o640, 0o750} }

// Private is for what may hold secrets.
func Private() Modes { return Modes{0o600, 0o700} }

// ParseModes reads the permissions of files as chmod takes them, 0640; who may read a file may enter its folder. The
// owner must be able to read and write, and others than owner and group cannot write.
func ParseModes(s string) (Modes, error) {
	n, err := strconv.ParseUint(s, 8, 32)
	mode := fs.FileMode(n)
	switch {
	case s == "":
		return Default(), nil
	case err != nil || mode&^0o777 != 0:
		return Modes{}, fmt.Errorf("%q is not a file mode (0640, 0600, 0644)", s)
	case mode&0o600 != 0o600:
		return Modes{}, fmt.Errorf("%s: the owner could not read and write", s)
	case mode&0o111 != 0:
		return Modes{}, fmt.Errorf("%s: logs are no programs", s)
	case mode&0o002 != 0:
		return Modes{}, fmt.Errorf("%s: everybody could write", s)
	}
	return Modes{mode, mode | mode&0o444>>2}, nil
}

// or gives the default for the zero value.
func (m Modes) or() Modes {
	if m == (Modes{}) {
		return Default()
	}
	return m
}

// Folder makes a folder and those above it that are missing.
func (m Modes) Folder(dir string) error { return os.MkdirAll(dir, m.or().Dir) }

// Within makes a folder of ours in one that is there. A link in its place is an error.
func (m Modes) Within(parent, name string) error {
	if err := m.Folder(parent); err != nil {
		return err
	}
	path := filepath.Join(parent, name)
	err := os.Mkdir(path, m.or().Dir)
	if err == nil {
		return nil
	}
	if info, e := os.Lstat(path); e == nil && info.IsDir() {
		return nil
	} else if e == nil {
		return &Foreign{path, kind(info) + ", not a folder"}
	}
	return err
}

// Create makes a file that is not there yet.
func (m Modes) Create(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|noFollow, m.or().File)
}

// CreateDirect is Create for a file that is written to in pages of 4 KiB past the system's cache, where that can be.
func (m Modes) CreateDirect(name string) (*os.File, error) {
	if direct != 0 {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|noFollow|direct, m.or().File)
		if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		os.Remove(name) // some file systems make the file before they refuse to open it
	}
	return m.Create(name)
}

// Renew is Create, for a file that only we know the name of and that an earlier run may have left.
func (m Modes) Renew(name string) (*os.File, error) {
	if info, err := os.Lstat(name); err == nil && !info.IsDir() {
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	return m.Create(name)
}

// Foreign is something that stands where a file of ours should be.
type Foreign struct{ Name, What string }

func (e *Foreign) Error() string { return e.Name + " is " + e.What }

// Open opens a file of ours to go on with it, with flag as for os.OpenFile; with os.O_CREATE it is made if need be. Its
// error is *Foreign if something else stands there.
func (m Modes) Open(name string, flag int) (*os.File, error) {
	f, err := os.OpenFile(name, flag|noFollow|noWait, m.or().File)
	if err != nil {
		if info, e := os.Lstat(name); e == nil && !info.Mode().IsRegular() {
			return nil, &Foreign{name, kind(info)}
		}
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = &Foreign{name, kind(info)}
	case links(info) > 1:
		err = &Foreign{name, "a file with another name, too"}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Read opens a file for reading, in a folder that somebody else may write to: it is in that folder, or a link in it leads
// to it within the folder, and it is a plain file.
func Read(name string) (*os.File, error) {
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(filepath.Base(name), os.O_RDONLY|noWait, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &Foreign{name, kind(info)}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func kind(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		return "a link"
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "no plain file"
}

// Replace makes a file of what write says, in place of one that may be there. It stands there when it is whole: it is
// written beside its place first. A link in its place is refused, since another file would be meant; a device or pipe is
// written to as it is.
func (m Modes) Replace(name string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write %s: %w", name, err)
		}
	}()
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case info.Mode()&(fs.ModeDevice|fs.ModeNamedPipe) != 0:
		f, err := os.OpenFile(name, os.O_WRONLY|noFollow, 0)
		if err != nil {
			return err
		}
		return fill(f, write)
	case !info.Mode().IsRegular():
		return fmt.Errorf("it is %s", kind(info))
	}
	f, err := m.beside(name)
	if err != nil {
		return err
	}
	tmp := f.Name()
	if err = fill(f, write); err == nil {
		// What came there meanwhile is replaced, not followed.
		err = os.Rename(tmp, name)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// beside makes a file with a name that nobody can know before.
func (m Modes) beside(name string) (*os.File, error) {
	for {
		f, err := m.Create(filepath.Join(filepath.Dir(name), fmt.Sprintf(".%s-%016x", filepath.Base(name), rand.Uint64())))
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
}

func fill(f *os.File, write func(io.Writer) error) error {
	w := bufio.NewWriter(f)
	return errors.Join(write(w), w.Flush(), f.Close())
}
