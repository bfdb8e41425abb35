package feeds

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree makes files, each with its name as text.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		n = filepath.Join(dir, filepath.FromSlash(n))
		if err := os.MkdirAll(filepath.Dir(n), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(n, []byte("192.0.2.1"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func listed(t *testing.T, dir, name string) (groups []string, l *Listing) {
	t.Helper()
	l, err := List(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range l.Groups {
		s := g.Name + ":"
		for _, f := range g.Files {
			f, _ = filepath.Rel(dir, f)
			s += " " + filepath.ToSlash(f)
		}
		groups = append(groups, s)
	}
	return groups, l
}

const uuid1, uuid2 = "5a0c1b2e-0001-4b1c-9a44-02de0a021402.json", "5A0C1B2E-0002-4b1c-9a44-02de0a021402.json.gz"

func TestFolderIsItsFeeds(t *testing.T) {
	dir := tree(t, "b.csv", "a.txt.gz", "sub/deep/c.json", "README.md", "LICENSE", ".hidden.csv", ".git/x.csv", "old.csv~",
		"osint/manifest.json", "osint/hashes.csv", "osint/"+uuid1, "osint/"+uuid2, "osint/extra.txt")
	got, l := listed(t, dir, dir)
	want := []string{"a.txt.gz: a.txt.gz", "b.csv: b.csv", "osint/extra.txt: osint/extra.txt", "osint: osint/" + uuid2 + " osint/" + uuid1, "sub/deep/c.json: sub/deep/c.json"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if s := strings.Join(l.Left, ", "); s != "LICENSE: not named as a feed, README.md: not named as a feed, 3 hidden" || !l.Folder {
		t.Errorf("%q", s)
	}
	// What is named is read whatever its name; a folder of MISP's is one feed also by itself.
	if got, l := listed(t, dir, filepath.Join(dir, "LICENSE")); !slices.Equal(got, []string{"LICENSE: LICENSE"}) || l.Folder {
		t.Errorf("%q", got)
	}
	if got, _ := listed(t, dir, filepath.Join(dir, "osint")); len(got) != 2 || !strings.HasPrefix(got[1], "osint: ") {
		t.Errorf("%q", got)
	}
}

func TestPatterns(t *testing.T) {
	dir := tree(t, "a.csv", "b.csv", "c.md", "sub/d.txt", "we[i]rd.csv")
	if got, _ := listed(t, dir, filepath.Join(dir, "[ab].*")); !slices.Equal(got, []string{"a.csv: a.csv", "b.csv: b.csv"}) {
		t.Errorf("%q", got)
	}
	if got, _ := listed(t, dir, filepath.Join(dir, "*")); len(got) != 5 { // c.md was named by the pattern, sub is a folder
		t.Errorf("%q", got)
	}
	if got, l := listed(t, dir, filepath.Join(dir, "*.none")); len(got) != 0 || !l.Folder {
		t.Errorf("%q: feeds may come later", got)
	}
	if got, _ := listed(t, dir, filepath.Join(dir, "we[i]rd.csv")); len(got) != 1 {
		t.Errorf("%q: a file with that very name", got)
	}
	if _, err := List(filepath.Join(dir, "[")); err == nil {
		t.Error("[ is no pattern")
	}
	if _, err := List(filepath.Join(dir, "none")); err == nil || err.Error() != "no such file or directory" {
		t.Errorf("%v", err)
	}
	for name, want := range map[string]string{"a.csv": "", "sub": "sub", "s*/x*/*.csv": "", "sub/*.csv": "sub", "none/f.csv": "none"} {
		if got := Root(filepath.Join(dir, name)); got != filepath.Join(dir, want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestLinksInFolders: ConfigMaps are mounted as links to files in a hidden folder; links to folders may go in circles.
func TestLinksInFolders(t *testing.T) {
	dir := tree(t, "..2026/feed.csv", "x/y.csv")
	for to, name := range map[string]string{"..2026": "..data", "..data/feed.csv": "feed.csv", "..": "x/up", "nowhere": "gone.csv"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
	}
	got, l := listed(t, dir, dir)
	if !slices.Equal(got, []string{"feed.csv: feed.csv", "x/y.csv: x/y.csv"}) {
		t.Errorf("%q", got)
	}
	if s := fmt.Sprint(l.Left); s != "[gone.csv: leads nowhere x/up: a link to a folder 2 hidden]" {
		t.Errorf("%s", s)
	}
}

func TestFoldersAreBounded(t *testing.T) {
	var names []string
	const most = 20
	for i := range most + 3 {
		names = append(names, fmt.Sprintf("%05d.csv", i))
	}
	names = append(names, strings.Repeat("d/", maxNested+2)+"deep.csv")
	dir := tree(t, names...)
	l, err := list(dir, most)
	if err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(l.Left); len(l.Groups) != most || !strings.Contains(s, "nested deeper than 8") || !strings.Contains(s, "3 beyond the bound of 20 files") {
		t.Errorf("%d %s", len(l.Groups), s)
	}
}
