package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// Bounds of a function: what is beyond them is cut where it bends, or says why it must be whole.
const (
	maxComplexity = 30
	maxLines      = 100
	maxWhole      = 25 // functions that say so
	wholeBecause  = "It is whole because "
)

// TestFunctionsAreShort holds that no function is longer than maxLines lines, from func to its brace, or of a greater
// cyclomatic complexity than maxComplexity, unless a line of its doc comment begins with "It is whole because" and gives the
// reason. A function that says so and has become short must no longer say it.
func TestFunctionsAreShort(t *testing.T) {
	whole := 0
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := e.Name(); e.IsDir() && (name == "testdata" || name == "bin" || len(name) > 1 && strings.HasPrefix(name, ".")) {
			return filepath.SkipDir
		}
		if e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
			n := complexity(fn)
			at := set.Position(fn.Name.Pos())
			switch reason, says := whyWhole(fn); {
			case says && n <= maxComplexity && lines <= maxLines:
				t.Errorf("%s: %s says why it must be whole, but has only %d lines and a complexity of %d", at, fn.Name, lines, n)
			case says && len(reason) < 10:
				t.Errorf("%s: %s gives no reason why it must be whole", at, fn.Name)
			case says:
				whole++
			case n > maxComplexity || lines > maxLines:
				t.Errorf("%s: %s has %d lines and a complexity of %d; cut it where it bends, or say %q in its doc comment", at, fn.Name, lines, n, wholeBecause+"...")
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if whole == 0 || whole > maxWhole {
		t.Errorf("%d functions say that they must be whole; at most %d may", whole, maxWhole)
	}
}

// whyWhole returns the reason that a doc comment gives for a function that is long.
func whyWhole(fn *ast.FuncDecl) (reason string, says bool) {
	for line := range strings.Lines(fn.Doc.Text()) {
		if r, ok := strings.CutPrefix(line, wholeBecause); ok {
			return strings.TrimSpace(r), true
		}
	}
	return "", false
}

// complexity counts as gocyclo does: 1, and 1 for each if, for, case, && and ||, those of closures included. Cases without
// a condition, which are default, count nothing.
func complexity(fn *ast.FuncDecl) int {
	n := 1
	ast.Inspect(fn, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if x.List != nil {
				n++
			}
		case *ast.CommClause:
			if x.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

// TestComplexity checks the count by hand.
func TestComplexity(t *testing.T) {
	for src, want := range map[string]int{
		`func f() {}`:                                               1,
		`func f() { if a && b || c { } }`:                           4,
		`func f() { for { } }`:                                      2,
		`func f() { for range 3 { g() } }`:                          2,
		`func f() { _ = func() { if a { } } }`:                      2,
		`func f() { switch a { case 1, 2: case 3: default: } }`:     3,
		`func f() { select { case <-c: default: } }`:                2,
		"// f is long.\n//\n// It is whole because x.\nfunc f() {}": 1,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\n"+src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		fn := file.Decls[0].(*ast.FuncDecl)
		if got := complexity(fn); got != want {
			t.Errorf("%s: %d, want %d", src, got, want)
		}
		if _, says := whyWhole(fn); says != strings.Contains(src, wholeBecause) {
			t.Errorf("%s: says why it is whole: %v", src, says)
		}
	}
}
