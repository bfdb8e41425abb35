package logs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// told reads what came and gives its column a.
func told(t *testing.T, f *Follower) string {
	t.Helper()
	var all []string
	if err := f.Read(func(r *Row) { all = append(all, r.Get("a")) }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestFollowThroughRotations(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "notice.log")
	f := Follow("notice", filepath.Join(dir, "current", "notice.log"), name)
	defer f.Close()
	const header = "#separator \\x09\n#fields\ta\tb\n#types\tstring\tstring\n"
	step := func(what, want string) {
		t.Helper()
		if got := told(t, f); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	step("no file yet", "")
	appendTo(t, name, header+"1\tx\n2\tx\n3\t")
	step("the last row is not whole yet", "1 2")
	step("nothing new", "")
	appendTo(t, name, "x\n4\tx\n")
	step("the rest of the row", "3 4")

	appendTo(t, name, "5\tx\n")
	if err := os.Rename(name, filepath.Join(dir, "notice.2026-11-23-17-00-00.log")); err != nil {
		t.Fatal(err)
	}
	step("renamed, and no new file yet", "5")
	appendTo(t, filepath.Join(dir, "notice.2026-11-23-17-00-00.log"), "6\tx\n")
	appendTo(t, name, "#separator \\x09\n#fields\tb\ta\n#types\tstring\tstring\nx\t7\n")
	step("the end of the old one, then the new one with columns of its own", "6 7")

	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	step("cut off", "")
	appendTo(t, name, "x\t8\n")
	step("written to again in place", "8")

	// A sensor that turns to JSON, in another folder.
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "current"), 0o755); err != nil {
		t.Fatal(err)
	}
	appendTo(t, filepath.Join(dir, "current", "notice.log"), `{"a":"9"}`+"\n"+strings.Repeat("z", maxLine+1)+"\n"+`{"a":"10"}`+"\n{\n")
	step("another place and form", "9 10")
	if f.Damaged != 2 {
		t.Errorf("%d damaged lines", f.Damaged)
	}
}
