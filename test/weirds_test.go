package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/raytap/raytap/engine/zeekview"
	"github.com/raytap/raytap/sinks/zeek"
)

var weirdName = regexp.MustCompile(`^[A-Za-z0-9]+(_[A-Za-z0-9%]+)+$`)

// weirdsInCode finds the names of weirds in the source: what is written as the Name of a capture.Weird, or comes there by
// the parameters of functions, variables of the same function, constants and fields. It goes by names alone: two functions
// of one name in a package are one.
func weirdsInCode(t *testing.T) map[string]string {
	t.Helper()
	packages := map[string][]*ast.File{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		if top, _, _ := strings.Cut(dir, "/"); d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") ||
			top != "." && top != "engine" && top != "capture" && top != "decoders" || path == "weird_names.go" {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		packages[dir] = append(packages[dir], f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, files := range packages {
		// Where a name goes: an argument of a function, a variable of one, a field or a constant of the package.
		type place struct {
			name string
			arg  int // -1: the thing itself
		}
		named := func(e ast.Expr) string {
			switch e := e.(type) {
			case *ast.Ident:
				return e.Name
			case *ast.SelectorExpr:
				return e.Sel.Name
			}
			return ""
		}
		sinks := map[place]bool{{"Weird", 0}: true}
		for before := -1; len(sinks) != before; {
			before = len(sinks)
			for _, f := range files {
				for _, d := range f.Decls {
					var params []string
					in := ""
					if fn, ok := d.(*ast.FuncDecl); ok {
						in = fn.Name.Name
						for _, p := range fn.Type.Params.List {
							for _, n := range p.Names {
								params = append(params, n.Name)
							}
						}
					}
					var take func(e ast.Expr)
					take = func(e ast.Expr) {
						switch e := e.(type) {
						case *ast.BasicLit:
							if s, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING && weirdName.MatchString(s) {
								found[s] = fset.Position(e.Pos()).Filename
							}
						case *ast.Ident:
							if i := slices.Index(params, e.Name); i >= 0 {
								sinks[place{in, i}] = true
							} else {
								sinks[place{e.Name, -1}] = true
							}
						case *ast.SelectorExpr:
							sinks[place{e.Sel.Name, -1}] = true
						case *ast.CallExpr:
							sinks[place{named(e.Fun), -1}] = true // what it returns
						case *ast.IndexExpr:
							take(e.X)
						case *ast.CompositeLit:
							for _, x := range e.Elts {
								take(x)
							}
						}
					}
					ast.Inspect(d, func(n ast.Node) bool {
						switch n := n.(type) {
						case *ast.CallExpr:
							for i, a := range n.Args {
								if sinks[place{named(n.Fun), i}] {
									take(a)
								}
							}
						case *ast.CompositeLit:
							weird := named(n.Type) == "Weird"
							for _, x := range n.Elts {
								if kv, ok := x.(*ast.KeyValueExpr); ok && (weird && named(kv.Key) == "Name" || named(kv.Key) == "weird") {
									take(kv.Value)
								}
							}
						case *ast.AssignStmt:
							for i, l := range n.Lhs {
								if name := named(l); name != "" && name != "_" && sinks[place{name, -1}] && len(n.Rhs) == len(n.Lhs) {
									take(n.Rhs[i])
								} else if len(n.Rhs) == 1 && name != "" && sinks[place{name, -1}] {
									take(n.Rhs[0])
								}
							}
						case *ast.ValueSpec:
							for i, l := range n.Names {
								if sinks[place{l.Name, -1}] && i < len(n.Values) {
									take(n.Values[i])
								}
							}
						case *ast.ReturnStmt:
							if sinks[place{in, -1}] {
								for _, r := range n.Results {
									take(r)
								}
							}
						}
						return true
					})
				}
			}
		}
	}
	return found
}

// TestEveryWeirdIsExplained: the list has what the code names and nothing else.
func TestEveryWeirdIsExplained(t *testing.T) {
	code := weirdsInCode(t)
	for _, o := range zeekview.Oddities() {
		if code[o.Name] == "" {
			t.Errorf("%s: not in the code, or twice in the list", o.Name)
		}
		delete(code, o.Name)
		if !strings.HasSuffix(o.Says, ".") || !strings.HasSuffix(o.Then, ".") {
			t.Errorf("%s: not told of", o.Name)
		}
	}
	for n, file := range code {
		t.Errorf("%s: %s is not in the list", file, n)
	}
}

// TestWeirdsOfCaptures: the labelled captures name nothing that is not in the list, and the source that stands there.
func TestWeirdsOfCaptures(t *testing.T) {
	known := map[string]zeekview.Oddity{}
	for _, o := range zeekview.Oddities() {
		known[o.Name] = o
	}
	files, err := filepath.Glob("pcaps/*.pcap.gz")
	if err != nil || len(files) < 50 {
		t.Fatal(files, err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(logsOf(t, file, zeek.JSON), "weird.log"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(b) {
			var row struct{ Name, Source string }
			if err := json.Unmarshal(line, &row); err != nil {
				t.Fatal(err)
			}
			seen[row.Name] = true
			o, ok := known[row.Name]
			if !ok || o.From != row.Source && strings.ToUpper(o.From) == o.From {
				t.Errorf("%s: %s of %q, told of as of %q", file, row.Name, row.Source, o.From)
			}
		}
	}
	if len(seen) < 9 {
		t.Errorf("only %d names seen", len(seen))
	}
}

// TestWeirdsDocument holds docs/weirds.md in step with the list.
func TestWeirdsDocument(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Weirds

The names in ` + "`weird.log`" + `: anomalies in the traffic, and limits that were reached. Generated from the code
(` + "`go test -run TestWeirdsDocument -update ./test`" + `). Names that Zeek also uses have the same meaning as in Zeek. In the second column,
` + "`link`, `tunnel` and `decoder`" + ` stand for the actual protocol, and ` + "`transport`" + ` for IP, TCP, UDP or ICMP. For HTTP over HTTP/2
the source is HTTP2. An empty source is also empty in Zeek.

| name | source | anomaly | what raytap does |
|---|---|---|---|
`)
	for _, o := range zeekview.Oddities() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", o.Name, o.From, cell(o.Says), cell(o.Then))
	}
	document(t, "docs/weirds.md", b.Bytes())
}
