//go:build unix

package disk

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestParseModes(t *testing.T) {
	for s, want := range map[string]Modes{"": {0o640, 0o750}, "0640": {0o640, 0o750}, "600": {0o600, 0o700}, "0644": {0o644, 0o755}, "0660": {0o660, 0o770}} {
		if got, err := ParseModes(s); err != nil || got != want {
			t.Errorf("%q is %o %o, %v", s, got.File, got.Dir, err)
		}
	}
	for _, s := range []string{"0666", "0440", "0755", "x", "01640", "-1", "0999"} {
		if m, err := ParseModes(s); err == nil {
			t.Errorf("%q is %v", s, m)
		}
	}
}

func says(text string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
}

func mode(t *testing.T, name string) os.FileMode {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// TestReplace: whole or not at all, never through a link.
func TestReplace(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	dir := t.TempDir()
	name, victim := filepath.Join(dir, "r.html"), filepath.Join(dir, "victim")
	for _, text := range []string{"one", "two"} {
		if err := Default().Replace(name, says(text)); err != nil {
			t.Fatal(err)
		}
		if b, _ := os.ReadFile(name); string(b) != text || mode(t, name) != 0o640 {
			t.Errorf("%q, %v", b, mode(t, name))
		}
	}
	broken := errors.New("broken")
	if err := Default().Replace(name, func(w io.Writer) error { io.WriteString(w, "three"); return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if b, _ := os.ReadFile(name); string(b) != "two" {
		t.Errorf("%q is left", b)
	}
	os.WriteFile(victim, []byte("mine"), 0o600)
	os.Remove(name)
	os.Symlink(victim, name)
	if err := Default().Replace(name, says("x")); err == nil || !strings.Contains(err.Error(), "it is a link") {
		t.Error(err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "mine" {
		t.Errorf("the victim has %q", b)
	}
	os.Remove(name)
	os.Link(victim, name) // its other name stays what it was
	if err := Private().Replace(name, says("x")); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "mine" || mode(t, name) != 0o600 {
		t.Errorf("the victim has %q, %v", b, mode(t, name))
	}
	if err := Default().Replace("/dev/null", says("x")); err != nil || mode(t, "/dev/null")&os.ModeDevice == 0 {
		t.Error(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 {
		t.Errorf("%v is left over", entries)
	}
}

// TestOpenAndRead: links, pipes and files with a second name are not opened, and nothing waits for a pipe's other end.
func TestOpenAndRead(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	os.WriteFile(filepath.Join(other, "out"), []byte("x"), 0o600)
	os.WriteFile(at("plain"), []byte("x"), 0o600)
	os.WriteFile(at("first"), []byte("x"), 0o600)
	os.Link(at("first"), at("second"))
	os.Symlink("plain", at("inside"))
	os.Symlink(filepath.Join(other, "out"), at("outside"))
	os.Mkdir(at("folder"), 0o700)
	syscall.Mkfifo(at("pipe"), 0o600)
	for name, want := range map[string][2]bool{
		"plain": {true, true}, "second": {false, true}, "inside": {false, true}, "outside": {false, false}, "folder": {false, false}, "pipe": {false, false},
	} {
		f, err := Default().Open(at(name), os.O_CREATE|os.O_RDWR)
		if (err == nil) != want[0] {
			t.Errorf("open %s: %v", name, err)
		}
		var foreign *Foreign
		if err == nil {
			f.Close()
		} else if !errors.As(err, &foreign) {
			t.Errorf("open %s: %v", name, err)
		}
		if f, err = Read(at(name)); (err == nil) != want[1] {
			t.Errorf("read %s: %v", name, err)
		}
		if err == nil {
			f.Close()
		}
	}
	if _, err := Read(at("none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Default().Create(at("outside")); err == nil {
		t.Error("made through a link")
	}
	if err := Default().Within(dir, "outside"); err == nil {
		t.Error("a link is no directory")
	}
	if err := Default().Within(dir, "new"); err != nil || mode(t, at("new")).Perm() != 0o750 {
		t.Error(err, mode(t, at("new")))
	}
	if f, err := Private().Renew(at("outside")); err != nil {
		t.Error(err)
	} else {
		f.Close()
	}
	if b, _ := os.ReadFile(filepath.Join(other, "out")); string(b) != "x" {
		t.Errorf("changed: %q", b)
	}
}
