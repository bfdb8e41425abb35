package test

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// listed is a line of the manifest of public captures.
type listed struct {
	repository, blob, sum string
	size                  int
	name                  string
}

func readManifest(t *testing.T) (all []listed) {
	t.Helper()
	b, err := os.ReadFile("testdata/corpus/manifest.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 5 {
			t.Fatal(line)
		}
		size, err := strconv.Atoi(f[3])
		if err != nil {
			t.Fatal(line)
		}
		all = append(all, listed{f[0], f[1], f[2], size, f[4]})
	}
	return all
}

func (l listed) matches(b []byte) bool {
	return len(b) == l.size && fmt.Sprintf("%x", sha256.Sum256(b)) == l.sum && fmt.Sprintf("%x", sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(b)), b...))) == l.blob
}

// TestManifest: the manifest is of the captures that docs/zeek.md is about, all of them and no others.
func TestManifest(t *testing.T) {
	all := readManifest(t)
	if len(all) != 1369 {
		t.Fatalf("%d captures", len(all))
	}
	byName := map[string]listed{}
	for _, l := range all {
		if byName[l.name].name != "" || !strings.HasPrefix(l.repository, "https://github.com/") || filepath.Base(l.name) != l.name {
			t.Errorf("%+v", l)
		}
		byName[l.name] = l
	}
	root := filepath.Join(publicCaptures(t), "dev")
	there, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range there {
		b, err := os.ReadFile(filepath.Join(root, e.Name()))
		if err != nil || !byName[e.Name()].matches(b) {
			t.Errorf("%s is not as the manifest says: %v", e.Name(), err)
		}
	}
	if len(there) != len(all) {
		t.Errorf("%d captures of %d are there", len(there), len(all))
	}
}

// TestFetchCorpus gets files out of a repository that has moved them or has them no more, and tells of what is missing.
func TestFetchCorpus(t *testing.T) {
	for _, tool := range []string{"git", "python3"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "source")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", source, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	files := map[string]string{"one.pcap": "one", "two.pcap": "two", "three.pcap": "three"}
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	git("init", "-q")
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git("add", "one.pcap", "two.pcap")
	git("commit", "-q", "-m", "both")
	git("mv", "two.pcap", "elsewhere.pcap")
	git("rm", "-q", "one.pcap")
	git("commit", "-q", "-m", "moved")
	git("config", "uploadpack.allowFilter", "true")
	git("config", "uploadpack.allowAnySHA1InWant", "true") // as GitHub has it
	var manifest strings.Builder
	for name, text := range files {
		fmt.Fprintf(&manifest, "file://%s\t%x\t%x\t%d\t%s\n", source, sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(text), text)), sha256.Sum256([]byte(text)), len(text), name)
	}
	list, out := filepath.Join(dir, "manifest.tsv"), filepath.Join(dir, "out")
	if err := os.WriteFile(list, []byte(manifest.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, says := range []string{"0 captures were there, 2 came, 1 are missing", "2 captures were there, 0 came, 1 are missing"} {
		b, err := exec.Command("python3", "testdata/corpus/fetch.py", "--manifest", list, out).CombinedOutput()
		if err == nil || !strings.Contains(string(b), says) || !strings.Contains(string(b), "three.pcap: ") {
			t.Fatalf("%v\n%s", err, b)
		}
	}
	for _, name := range []string{"one.pcap", "two.pcap"} {
		if b, err := os.ReadFile(filepath.Join(out, "dev", name)); err != nil || string(b) != files[name] {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
}
