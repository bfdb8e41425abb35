package data

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestFactsStandOnce: what the lists say is not said again in code, where it would be forgotten when a list changes. A site may
// stand in code that says something else of it, and a vulnerability may be named if the list has it.
func TestFactsStandOnce(t *testing.T) {
	elsewhere := map[string]string{
		"detectors/secrets/secrets.go": "whose credentials belong where",
		"detectors/tunnel/tunnel.go":   "where SSH on another port is a forge's",
	}
	listed := map[string]bool{}
	for _, c := range LoadCVEs() {
		listed[c.ID] = true
	}
	id := regexp.MustCompile(`CVE-\d{4}-\d+`)
	tree := os.DirFS("../..")
	files := 0
	for _, root := range []string{"decoders", "detectors", "sinks"} {
		err := fs.WalkDir(tree, root, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
				return err
			}
			b, err := fs.ReadFile(tree, file)
			if err != nil {
				return err
			}
			files++
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, file, b, 0)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					return true
				}
				if _, ok := sites()[s]; ok && elsewhere[file] == "" {
					t.Errorf("%s: %q stands in sites.csv", set.Position(lit.Pos()), s)
				}
				for _, c := range id.FindAllString(s, -1) {
					if !listed[c] {
						t.Errorf("%s: %s does not stand in cves.csv", set.Position(lit.Pos()), c)
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 100 {
		t.Errorf("only %d files", files)
	}
}
