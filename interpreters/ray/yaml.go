package ray

import (
	"bytes"
	gojson "encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

const (
	// YAML that is read. The manifests of KubeRay's samples have 1 to 20 KiB; what is behind is cut.
	maxYAML = 64 << 10
	// Brackets within brackets, and lists on one line: the parser takes seconds for some thousands of either. A pod
	// template written in brackets has a dozen.
	maxBrackets = 48
	maxDashes   = 16
	// Values within values, and what aliases may make of a text.
	maxYAMLDepth = 40
	maxFromYAML  = 256 << 10
)

// fromYAML gives the first document of b as JSON, for the one reader of both; nil if it cannot be read. Anchors, aliases and
// merge keys are resolved as long as the result is bounded.
func fromYAML(b []byte) []byte {
	b = firstDocument(b[:min(len(b), maxYAML)])
	if !utf8.Valid(b) || hostileYAML(b) {
		return nil
	}
	f, err := parseYAML(b)
	if err != nil {
		// The end may be missing: whole lines are whole values, most of the time.
		i := bytes.LastIndexByte(bytes.TrimRight(b, "\n"), '\n')
		if i <= 0 {
			return nil
		}
		if f, err = parseYAML(b[:i+1]); err != nil {
			return nil
		}
	}
	for _, d := range f.Docs {
		if d.Body == nil {
			continue
		}
		w := &yamlWriter{anchors: map[string]ast.Node{}}
		w.value(d.Body, 0)
		return w.out
	}
	return nil
}

// firstDocument cuts b where its second document begins, so that nobody spends time on it.
func firstDocument(b []byte) []byte {
	begun := false
	for i := 0; i < len(b); {
		n := bytes.IndexByte(b[i:], '\n') + 1
		if n == 0 {
			n = len(b) - i
		}
		line := bytes.TrimRight(b[i:i+n], " \t\r\n")
		mark := bytes.HasPrefix(line, []byte("---")) || bytes.HasPrefix(line, []byte("..."))
		if mark && begun {
			return b[:i]
		}
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && (!mark || len(line) > 3) {
			begun = true
		}
		i += n
	}
	return b
}

// parseYAML keeps what the parser makes of hostile text from being more than a text that cannot be read.
func parseYAML(b []byte) (f *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			f, err = nil, errYAML
		}
	}()
	return parser.ParseBytes(b, 0)
}

type yamlError string

func (e yamlError) Error() string { return string(e) }

const errYAML = yamlError("ray: YAML that its parser does not survive")

// hostileYAML reports whether b nests deeper than the parser has time for. Brackets in strings count, too.
func hostileYAML(b []byte) bool {
	depth, dashes := 0, 0
	for i, c := range b {
		switch c {
		case '[', '{':
			if depth++; depth > maxBrackets {
				return true
			}
		case ']', '}':
			depth = max(depth-1, 0)
		case '-', '?':
			if i+1 < len(b) && (b[i+1] == ' ' || b[i+1] == '\t') {
				if dashes++; dashes > maxDashes {
					return true
				}
			}
		case '\n':
			dashes = 0
		}
	}
	return false
}

// yamlWriter writes nodes as JSON.
type yamlWriter struct {
	out     []byte
	anchors map[string]ast.Node
	open    []string // anchors being written
}

func (w *yamlWriter) full(depth int) bool { return depth > maxYAMLDepth || len(w.out) > maxFromYAML }

func (w *yamlWriter) text(s string) {
	if len(w.out)+len(s) > maxFromYAML {
		s = ""
	}
	if q, err := gojson.Marshal(s); err == nil {
		w.out = append(w.out, q...)
	}
}

func (w *yamlWriter) value(n ast.Node, depth int) {
	if w.full(depth) {
		w.out = append(w.out, "null"...)
		return
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		w.out = append(w.out, '{')
		w.members(n.Values, depth, false)
		w.out = append(w.out, '}')
	case *ast.MappingValueNode:
		w.out = append(w.out, '{')
		w.members([]*ast.MappingValueNode{n}, depth, false)
		w.out = append(w.out, '}')
	case *ast.SequenceNode:
		w.out = append(w.out, '[')
		for i, v := range n.Values {
			if w.full(depth) {
				break
			}
			if i > 0 {
				w.out = append(w.out, ',')
			}
			w.value(v, depth+1)
		}
		w.out = append(w.out, ']')
	case *ast.StringNode:
		w.text(n.Value)
	case *ast.LiteralNode:
		if n.Value == nil {
			w.text("")
			return
		}
		w.text(n.Value.Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		w.text(n.String()) // nothing that is read is a number, but a command may look like one
	case *ast.BoolNode:
		w.out = strconv.AppendBool(w.out, n.Value)
	case *ast.AnchorNode:
		name := ""
		if n.Name != nil {
			name = n.Name.String()
		}
		w.anchors[name] = n.Value
		w.open = append(w.open, name)
		w.value(n.Value, depth+1)
		w.open = w.open[:len(w.open)-1]
	case *ast.AliasNode:
		w.alias(n, func(to ast.Node) { w.value(to, depth+1) })
	case *ast.TagNode:
		w.value(n.Value, depth+1)
	default: // null, a comment
		w.out = append(w.out, "null"...)
	}
}

// alias calls f with what n stands for, unless that is being written.
func (w *yamlWriter) alias(n *ast.AliasNode, f func(to ast.Node)) {
	name := ""
	if n.Value != nil {
		name = n.Value.String()
	}
	to := w.anchors[name]
	for _, o := range w.open {
		if o == name {
			to = nil
		}
	}
	if to == nil {
		w.out = append(w.out, "null"...)
		return
	}
	w.open = append(w.open, name)
	f(to)
	w.open = w.open[:len(w.open)-1]
}

// members writes those of a mapping. What a merge key brings in comes first: what stands beside it wins, and the last of two
// equal keys does.
func (w *yamlWriter) members(list []*ast.MappingValueNode, depth int, more bool) bool {
	for _, m := range list {
		if _, merge := m.Key.(*ast.MergeKeyNode); merge && !w.full(depth) {
			more = w.merged(m.Value, depth+1, more)
		}
	}
	for _, m := range list {
		if _, merge := m.Key.(*ast.MergeKeyNode); merge || m.Key == nil || w.full(depth) {
			continue
		}
		if more {
			w.out = append(w.out, ',')
		}
		more = true
		var key ast.Node = m.Key
		if a, ok := key.(*ast.AnchorNode); ok {
			key = a.Value
		}
		if s, ok := key.(*ast.StringNode); ok {
			w.text(s.Value)
		} else {
			w.text(key.String())
		}
		w.out = append(w.out, ':')
		w.value(m.Value, depth+1)
	}
	return more
}

func (w *yamlWriter) merged(n ast.Node, depth int, more bool) bool {
	if w.full(depth) {
		return more
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return w.members(n.Values, depth, more)
	case *ast.MappingValueNode:
		return w.members([]*ast.MappingValueNode{n}, depth, more)
	case *ast.AliasNode:
		if n.Value == nil || w.anchors[n.Value.String()] == nil {
			return more
		}
		w.alias(n, func(to ast.Node) { more = w.merged(to, depth+1, more) })
	case *ast.SequenceNode:
		for i := len(n.Values) - 1; i >= 0; i-- { // the first of them wins
			more = w.merged(n.Values[i], depth+1, more)
		}
	case *ast.AnchorNode:
		return w.merged(n.Value, depth+1, more)
	}
	return more
}
