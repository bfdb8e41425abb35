package data

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLicenses: every file that is built into the program stands in the list of licences.
func TestLicenses(t *testing.T) {
	list, err := os.ReadFile("LICENSES.md")
	if err != nil {
		t.Fatal(err)
	}
	embed := regexp.MustCompile(`(?m)^//go:embed (.+)$`)
	root, n := filepath.Join("..", ".."), 0
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range embed.FindAllStringSubmatch(string(b), -1) {
			for _, name := range strings.Fields(m[1]) {
				if name == "settings.yaml" {
					continue // a document of the project's own
				}
				n++
				dir, err := filepath.Rel(root, filepath.Dir(path))
				if err != nil {
					return err
				}
				if name = filepath.ToSlash(filepath.Join(dir, name)); !strings.Contains(string(list), "`"+name+"`") {
					t.Errorf("%s is built in, and LICENSES.md does not tell under which licence", name)
				}
			}
		}
		return nil
	})
	if err != nil || n < 10 {
		t.Errorf("%d files are built in: %v", n, err)
	}
}
