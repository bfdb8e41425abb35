package command

import (
	"path"
	"strconv"
	"strings"
)

// pyShared is what pieces of Python of one text share.
type pyShared struct {
	in      value // what stands on standard input
	hasIn   bool
	printed value
	sock    *Place // a socket that was connected
	dup     bool   // the standard streams were made that socket
}

// pv is a value of Python: data, or the name of something.
type pv struct {
	value
	ref  string // a dotted name: os.system; ~ begins those of objects
	self *pv    // of a method
	list []pv
	seq  bool // list holds the elements
	num  bool
	dict map[string]pv
	fn   *pyFunc
}

// pyFunc is a function of the text.
type pyFunc struct {
	params   []string
	defaults map[string]int // tokens where they begin
	from, to int            // tokens of its body
	called   bool
	lambda   bool // its body is an expression
}

// py walks Python's tokens.
type py struct {
	w     *walk
	t     []token
	i     int
	names map[string]pv
	funcs []*pyFunc
	depth int
	calls int
	ret   pv
}

// python walks a text.
func (w *walk) python(s string) {
	if len(s) > maxText {
		w.r.Cut = true
		s = s[:maxText/2] + "\n" + s[len(s)-maxText/2:]
	}
	w.r.read += len(s)
	if !w.r.charge(parseUnits * len(s)) {
		return
	}
	w.src = s
	t, cut := pyTokens(s)
	w.r.Cut = w.r.Cut || cut
	p := &py{w: w, t: t, names: map[string]pv{}}
	p.block(len(t))
	for i := 0; i < len(p.funcs); i++ { // those that nobody called
		if f := p.funcs[i]; !f.called {
			p.invoke(f, nil, nil)
		}
	}
}

func (p *py) cur() token {
	if p.i < len(p.t) {
		return p.t[p.i]
	}
	return token{kind: 'l'}
}

func (p *py) is(s string) bool {
	t := p.cur()
	return (t.kind == 'o' || t.kind == 'n') && t.s == s
}

func (p *py) ended() bool { return p.cur().kind == 'l' || p.is(";") }

// block walks statements up to a token.
func (p *py) block(end int) {
	for p.i < end && p.w.r.charge(0) {
		at := p.i
		p.statement(end)
		if p.i == at {
			p.i++
		}
	}
}

func (p *py) statement(end int) {
	t := p.cur()
	if t.kind == 'l' || t.kind == 'o' && (t.s == ";" || t.s == ":") {
		p.i++
		return
	}
	if t.kind == 's' { // documentation
		j := p.i
		for j < len(p.t) && p.t[j].kind == 's' {
			j++
		}
		if j >= len(p.t) || p.t[j].kind == 'l' {
			p.i = j
			return
		}
	}
	if t.kind == 'n' && p.keyword(t.s) {
		return
	}
	if t.kind == 'o' && t.s == "@" {
		p.i++
	}
	if p.assignment(end) {
		return
	}
	p.exprs()
	if !p.ended() && !p.is(":") {
		p.i++
	}
}

// keyword walks the statement that a keyword begins, of compound statements the head, and reports whether it is one.
func (p *py) keyword(name string) bool {
	switch name {
	case "import":
		p.i++
		p.imports()
	case "from":
		p.i++
		p.importFrom()
	case "def":
		p.i++
		p.def()
	case "class":
		p.i++
		for !p.ended() && !p.is(":") {
			p.i++
		}
	case "for":
		p.i++
		p.loop()
	case "with":
		p.i++
		p.with()
	case "async", "await", "if", "elif", "while", "else", "try", "except", "finally", "assert", "raise", "yield", "del", "pass":
		p.i++
	case "global", "nonlocal":
		p.i++
		for !p.ended() {
			p.i++
		}
	case "return":
		p.i++
		p.returns()
	case "exec", "print":
		return p.statement2(name)
	default:
		return false
	}
	return true
}

// returns takes the value after return.
func (p *py) returns() {
	if p.ended() {
		return
	}
	from := p.i
	p.ret = p.exprs()
	// What __reduce__ gives is called with what stands beside it when the object is loaded.
	if l := p.ret.list; p.ret.seq && len(l) > 1 && l[1].seq && runs(canonical(l[0].ref)) != "" {
		p.call(l[0], l[1].list, nil, from)
	}
}

// statement2 walks exec and print as Python 2 has them, as statements, and reports whether this is one.
func (p *py) statement2(name string) bool {
	if p.i+1 >= len(p.t) {
		return false
	}
	if next := p.t[p.i+1]; next.kind != 's' && (next.kind != 'n' || next.s == "in" || next.s == "if") {
		return false
	}
	p.i++
	v := p.exprs()
	if name == "exec" {
		p.w.run("python", v.value, "runs", p.w.src)
	} else {
		p.w.py.printed = p.w.r.join(p.w.py.printed, v.data())
	}
	return true
}

// assignment takes name = value, name += value and a, b = value.
func (p *py) assignment(end int) bool {
	eq := p.equals(end)
	if eq < 0 {
		return false
	}
	names, simple := p.assigned(eq)
	add := p.t[eq].s == "+="
	from := p.i
	p.i = eq + 1
	var v pv
	if p.isAssignmentAgain(end) {
		p.assignment(end)
		if n := p.lastName(eq + 1); n != "" {
			v = p.names[n]
		}
	} else {
		v = p.exprs()
	}
	if !simple {
		// a.b = v, a["x"] = v: kept under the name as it stands.
		if eq-from == 6 && p.t[from+2].s == "environ" && p.t[from+4].kind == 's' {
			p.w.set(p.t[from+4].s, v.data())
		}
		if p.t[from].kind == 'n' && eq-from <= 4 {
			var b strings.Builder
			for j := from; j < eq; j++ {
				b.WriteString(p.t[j].s)
			}
			p.bind(b.String(), v)
		}
		return true
	}
	for k, n := range names {
		x := v
		if len(names) > 1 {
			if v.seq && k < len(v.list) {
				x = v.list[k]
			} else {
				x = pv{value: v.blur()}
			}
		}
		if add {
			x = p.plus(p.names[n], x)
		}
		p.bind(n, x)
	}
	return true
}

// equals finds the = or += of the statement that begins here; -1 if it is no assignment.
func (p *py) equals(end int) int {
	depth := 0
	for j := p.i; j < end && j < p.i+256; j++ {
		t := p.t[j]
		if t.kind == 'l' || depth == 0 && t.kind == 'o' && t.s == ";" {
			break
		}
		if t.kind != 'o' {
			continue
		}
		switch t.s {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case "=", "+=":
			if depth == 0 {
				return j
			}
		}
	}
	return -1
}

// assigned returns the names before the = at eq. It is not simple if something else than names is assigned to.
func (p *py) assigned(eq int) (names []string, simple bool) {
	simple = true
	for j := p.i; j < eq; j++ {
		t := p.t[j]
		switch {
		case t.kind == 'n':
			names = append(names, t.s)
		case t.kind == 'o' && (t.s == "," || t.s == "(" || t.s == ")"):
		case t.kind == 'o' && t.s == ":" && len(names) == 1: // an annotation
			return names, simple
		default:
			simple = false
		}
	}
	return names, simple
}

func (p *py) isAssignmentAgain(end int) bool {
	return p.i+1 < end && p.cur().kind == 'n' && p.t[p.i+1].kind == 'o' && p.t[p.i+1].s == "="
}

func (p *py) lastName(i int) string {
	if i < len(p.t) && p.t[i].kind == 'n' {
		return p.t[i].s
	}
	return ""
}

func (p *py) bind(name string, v pv) {
	if _, ok := p.names[name]; ok || len(p.names) < 4*maxFiles {
		p.names[name] = v
	}
}

func (p *py) dotted() string {
	var b strings.Builder
	for p.cur().kind == 'n' || p.is(".") {
		if p.is("as") || p.is("import") || b.Len() > 256 {
			break
		}
		b.WriteString(p.cur().s)
		p.i++
	}
	return b.String()
}

func (p *py) imports() {
	for !p.ended() {
		at := p.i
		m := p.dotted()
		if p.is("as") {
			p.i++
			p.bind(p.cur().s, pv{ref: m})
			p.i++
		} else if m != "" {
			first, _, _ := strings.Cut(m, ".")
			p.bind(first, pv{ref: first})
		}
		if p.is(",") || p.i == at {
			p.i++
		}
	}
}

func (p *py) importFrom() {
	m := p.dotted()
	if p.is("import") {
		p.i++
	}
	for !p.ended() {
		t := p.cur()
		p.i++
		if t.kind != 'n' {
			if t.s == "*" && m != "" {
				for _, n := range [...]string{"system", "popen", "run", "Popen", "call", "check_output", "socket", "urlopen", "b64decode", "spawn"} {
					p.bind(n, pv{ref: m + "." + n})
				}
			}
			continue
		}
		name := t.s
		if p.is("as") {
			p.i++
			t = p.cur()
			p.i++
		}
		p.bind(t.s, pv{ref: m + "." + name})
	}
}

// def reads a function's head and steps over its body.
func (p *py) def() {
	name := p.cur().s
	indent := p.cur().indent
	p.i++
	f := &pyFunc{}
	depth := 0
	for p.i < len(p.t) && p.cur().kind != 'l' {
		t := p.cur()
		if t.kind == 'o' {
			switch t.s {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			}
			if depth == 0 && t.s == ":" {
				break
			}
		}
		if t.kind == 'n' && depth == 1 && p.i > 0 && (p.t[p.i-1].s == "(" || p.t[p.i-1].s == ",") && len(f.params) < 64 {
			f.params = append(f.params, t.s)
		}
		if t.kind == 'o' && t.s == "=" && depth == 1 && len(f.params) > 0 {
			if f.defaults == nil {
				f.defaults = map[string]int{}
			}
			f.defaults[f.params[len(f.params)-1]] = p.i + 1
		}
		p.i++
	}
	p.i++
	f.from = p.i
	if p.i < len(p.t) && p.cur().kind != 'l' { // on the same line
		for p.i < len(p.t) && p.cur().kind != 'l' {
			p.i++
		}
	} else {
		for p.i < len(p.t) && (p.cur().kind == 'l' || p.cur().indent > indent) {
			p.i++
		}
	}
	f.to = p.i
	if len(p.funcs) < maxFiles {
		p.funcs = append(p.funcs, f)
		p.bind(name, pv{fn: f})
	}
}

// invoke walks a function's body.
func (p *py) invoke(f *pyFunc, args []pv, kw map[string]pv) pv {
	f.called = true
	if p.calls >= 6 {
		return pv{value: unknown}
	}
	p.calls++
	back, ret := p.i, p.ret
	p.ret = pv{}
	params := f.params
	if len(params) > 0 && (params[0] == "self" || params[0] == "cls") {
		params = params[1:]
	}
	for k, n := range params {
		v := pv{value: value{s: hole, from: fromEnv}}
		if at, ok := f.defaults[n]; ok && k >= len(args) {
			p.i = at
			v = p.expr()
		}
		if k < len(args) {
			v = args[k]
		}
		if x, ok := kw[n]; ok {
			v = x
		}
		p.bind(n, v)
	}
	p.i = f.from
	if f.lambda {
		p.ret = p.expr()
	} else {
		p.block(f.to)
	}
	out := p.ret
	p.i, p.ret = back, ret
	p.calls--
	return out
}

func (p *py) targets() (names []string) {
	for !p.ended() && !p.is("in") && !p.is(":") {
		if p.cur().kind == 'n' {
			names = append(names, p.cur().s)
		}
		p.i++
	}
	return names
}

func (p *py) loop() {
	names := p.targets()
	if p.is("in") {
		p.i++
	}
	v := p.exprs()
	p.each(names, v, 0)
}

// each binds loop variables to an element.
func (p *py) each(names []string, v pv, k int) {
	x := pv{value: v.blur(), ref: ""}
	if v.seq && k < len(v.list) {
		x = v.list[k]
	} else if !v.seq && v.known() && v.ref == "" && k < len(v.s) && len(names) == 1 {
		x = pv{value: v.value.with(v.s[k : k+1])}
	}
	for i, n := range names {
		if len(names) > 1 && x.seq && i < len(x.list) {
			p.bind(n, x.list[i])
		} else {
			p.bind(n, x)
		}
	}
}

func (p *py) with() {
	for !p.ended() && !p.is(":") {
		at := p.i
		v := p.expr()
		if p.is("as") {
			p.i++
			if p.cur().kind == 'n' {
				p.bind(p.cur().s, v)
			}
			p.i++
		}
		if p.is(",") || p.i == at {
			p.i++
		}
	}
}

// exprs reads expressions with commas: several are a sequence.
func (p *py) exprs() pv {
	v := p.expr()
	if !p.is(",") {
		return v
	}
	out := pv{seq: true, list: []pv{v}}
	for p.is(",") {
		p.i++
		if p.ended() || p.is("=") || p.is(":") || p.is(")") {
			break
		}
		at := p.i
		x := p.expr()
		if len(out.list) < maxFiles {
			out.list = append(out.list, x)
		}
		if p.i == at {
			break
		}
	}
	return flat(out)
}

// flat gives a sequence the origins of its elements.
func flat(v pv) pv {
	for _, x := range v.list {
		v.from |= x.from &^ fromText
		if v.at == nil {
			v.at = x.at
		}
		if v.what == "" {
			v.what = x.what
		}
	}
	if v.s == "" {
		v.s = hole
	}
	return v
}

// expr reads one expression; operators only join what they have on either side.
func (p *py) expr() pv {
	if p.depth >= maxDepth || !p.w.r.charge(0) {
		p.w.r.Cut = true
		p.i++
		return pv{value: unknown}
	}
	p.depth++
	defer func() { p.depth-- }()
	v := p.unary()
	for {
		t := p.cur()
		if t.kind != 'o' && t.kind != 'n' {
			return v
		}
		switch t.s {
		case "+":
			p.i++
			v = p.plus(v, p.unary())
		case "%":
			p.i++
			r := p.unary()
			if !v.num {
				v = p.format(v, r)
			} else {
				v = arith(v, r, "%")
			}
		case "*", "-", "^", "//", "/", "&", "|", "<<", ">>", "**", "@":
			p.i++
			r := p.unary()
			switch {
			case v.num && r.num:
				v = arith(v, r, t.s)
			case t.s == "*" && r.num:
				n, _ := number(r.s)
				if n > 0 && n*len(v.s) <= maxValue && !v.seq {
					p.w.r.charge(n * len(v.s))
					v = pv{value: v.value.with(strings.Repeat(v.s, n))}
				}
			default:
				v = either(v, r)
				if t.s == "^" {
					v.value = v.blur()
					v.from |= fromDecode | fromOpaque
				}
			}
		case "and": // the second, where the first is something
			p.i++
			v = either(p.unary(), v)
		case "==", "!=", "<", ">", "<=", ">=", "or", "in", "is", "not", "if", "else":
			p.i++
			v = either(v, p.unary())
		case ":=":
			name := ""
			if p.i > 0 && p.t[p.i-1].kind == 'n' {
				name = p.t[p.i-1].s
			}
			p.i++
			v = p.expr()
			if name != "" {
				p.bind(name, v)
			}
		default:
			return v
		}
	}
}

func arith(a, b pv, op string) pv {
	x, ok := number(a.s)
	y, ok2 := number(b.s)
	if !ok || !ok2 {
		return pv{value: unknown}
	}
	switch op {
	case "+":
		x += y
	case "-":
		x -= y
	case "*":
		x *= y
	case "^":
		x ^= y
	case "&":
		x &= y
	case "|":
		x |= y
	case "//", "/":
		if y == 0 {
			return pv{value: unknown}
		}
		x /= y
	case "%":
		if y == 0 {
			return pv{value: unknown}
		}
		x %= y
	case "<<":
		if y < 0 || y > 32 {
			return pv{value: unknown}
		}
		x <<= y
	case ">>":
		if y < 0 || y > 63 {
			return pv{value: unknown}
		}
		x >>= y
	default:
		return pv{value: unknown}
	}
	return pv{value: text(strconv.Itoa(x)), num: true}
}

// either is one of two.
func either(a, b pv) pv {
	if a.s == "" && a.ref == "" && !a.seq && a.fn == nil || a.s == "None" {
		a, b = b, a
	}
	a.from |= b.from & (fromNet | fromSecret | fromRecon | fromSocket | fromDecode)
	if a.at == nil {
		a.at = b.at
	}
	if a.what == "" {
		a.what = b.what
	}
	return a
}

func (p *py) plus(a, b pv) pv {
	switch {
	case a.num && b.num:
		return arith(a, b, "+")
	case a.seq && b.seq:
		if len(a.list)+len(b.list) <= maxTokens && p.w.r.charge(len(a.list)) {
			return flat(pv{seq: true, list: append(append([]pv(nil), a.list...), b.list...)})
		}
		return a
	}
	p.w.r.charge(len(a.s) + len(b.s))
	return pv{value: a.data().plus(b.data())}
}

// data is what a value is as text.
func (v pv) data() value {
	if v.ref != "" && v.s == "" {
		return value{s: hole, from: v.from | fromEnv, at: v.at, what: v.what}
	}
	return v.value
}

// format fills a text's places.
func (p *py) format(f, args pv) pv {
	list := args.list
	if !args.seq {
		list = []pv{args}
	}
	out := value{}
	s := f.s
	for k := 0; ; k++ {
		i := strings.IndexByte(s, '%')
		if i < 0 || i+1 >= len(s) || k > 256 {
			break
		}
		out = p.w.r.join(out, f.value.with(s[:i]))
		s = s[i+1:]
		j := 0
		for j < len(s)-1 && strings.IndexByte("-+ #0123456789.", s[j]) >= 0 {
			j++
		}
		if s[0] == '%' {
			out = p.w.r.join(out, text("%"))
		} else if k < len(list) {
			out = p.w.r.join(out, list[k].data())
		} else {
			out = p.w.r.join(out, unknown)
		}
		s = s[min(j+1, len(s)):]
	}
	return pv{value: out.plus(f.value.with(s))}
}

func (p *py) unary() pv {
	for n := 0; ; n++ {
		t := p.cur()
		if n > 64 {
			return pv{value: unknown}
		}
		if t.kind == 'o' && (t.s == "-" || t.s == "+" || t.s == "~" || t.s == "*" || t.s == "**") || t.kind == 'n' && (t.s == "not" || t.s == "await" || t.s == "yield" || t.s == "from") {
			p.i++
			if t.s == "-" {
				if v := p.primary(); v.num {
					return pv{value: text("-" + v.s), num: true}
				} else {
					return v
				}
			}
			continue
		}
		if t.kind == 'n' && t.s == "lambda" {
			p.i++
			f := &pyFunc{lambda: true, called: true}
			for !p.ended() && !p.is(":") {
				if p.cur().kind == 'n' && len(f.params) < 64 {
					f.params = append(f.params, p.cur().s)
					p.bind(p.cur().s, pv{value: value{s: hole, from: fromEnv}})
				}
				p.i++
			}
			if p.is(":") {
				p.i++
			}
			f.from = p.i
			v := p.expr()
			f.to = p.i
			v.fn = f
			return v
		}
		return p.primary()
	}
}

func (p *py) primary() pv {
	t := p.cur()
	var v pv
	switch t.kind {
	case 's':
		for p.cur().kind == 's' {
			s := p.cur()
			p.i++
			if s.form {
				v.value = p.w.r.join(v.value, p.fstring(s.s))
			} else {
				v.value = p.w.r.join(v.value, text(s.s))
			}
		}
		v.from |= fromText
	case 'd':
		p.i++
		v = pv{value: text(t.s), num: true}
	case 'n':
		switch t.s {
		case "if", "else", "for", "in", "and", "or", "is", "as", "import", "def", "class", "return", "while":
			return pv{}
		}
		p.i++
		if x, ok := p.names[t.s]; ok {
			v = x
		} else {
			v = pv{ref: t.s}
		}
	case 'o':
		switch t.s {
		case "(":
			p.i++
			v = p.bracket(")")
		case "[":
			p.i++
			v = p.bracket("]")
			v.seq = true
			if v.list == nil && v.s == "" {
				v.list = []pv{}
			}
		case "{":
			p.i++
			v = p.braces()
		case ")", "]", "}", ",", ":", "=", ";":
			return pv{}
		default:
			p.i++
			return pv{value: unknown}
		}
	default:
		return pv{}
	}
	return p.trailers(v)
}

// trailers reads what follows: attributes, calls, subscripts.
func (p *py) trailers(v pv) pv {
	for n := 0; n < 256; n++ {
		t := p.cur()
		if t.kind != 'o' {
			return v
		}
		switch t.s {
		case ".":
			p.i++
			name := p.cur().s
			if p.cur().kind == 'n' {
				p.i++
			}
			v = p.attr(v, name)
		case "(":
			from := p.i
			p.i++
			args, kw := p.args()
			v = p.call(v, args, kw, from)
		case "[":
			p.i++
			v = p.subscript(v)
		default:
			return v
		}
	}
	return v
}

func (p *py) attr(v pv, name string) pv {
	if v.ref != "" && !strings.HasPrefix(v.ref, "~.") {
		if x, ok := p.names[v.ref+"."+name]; ok && !strings.HasPrefix(v.ref, "~") {
			return x
		}
		if len(v.ref) > 512 {
			return v
		}
		out := v
		out.ref = v.ref + "." + name
		return out
	}
	if x, ok := p.names[name]; ok && x.fn != nil && !x.fn.lambda && v.fn == nil { // a method of a class of the text
		return x
	}
	if v.fn != nil { // f.remote, f.options(...).remote
		return v
	}
	if v.dict != nil {
		if x, ok := v.dict[name]; ok {
			return x
		}
	}
	self := v
	if v.self != nil {
		self = *v.self // p.stdout.read: the same data
	}
	out := pv{value: v.value, ref: "~." + name, self: &self, seq: v.seq, list: v.list}
	return out
}

func (p *py) skipTo(close string) {
	depth := 0
	for p.i < len(p.t) {
		t := p.cur()
		if t.kind == 'o' {
			switch t.s {
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				if depth == 0 {
					p.i++
					return
				}
				depth--
			}
		}
		p.i++
	}
}

// bracket reads what stands in brackets up to the one that closes them.
func (p *py) bracket(close string) pv {
	start := p.i
	var list []pv
	comma := false
	for p.i < len(p.t) && !p.is(close) {
		at := p.i
		v := p.expr()
		if p.is("for") || p.is("async") {
			return p.comprehension(start, close)
		}
		if p.i == at {
			if p.is(")") || p.is("]") || p.is("}") {
				break
			}
			if !p.is(",") {
				p.i++
				continue
			}
		} else if len(list) < maxTokens {
			list = append(list, v)
		}
		if p.is(",") {
			comma = true
			p.i++
		}
	}
	p.i++
	if !comma && len(list) == 1 && close == ")" {
		return list[0]
	}
	if len(list) == 0 {
		return pv{}
	}
	return flat(pv{seq: true, list: list})
}

// comprehension reads "expr for x in seq if cond" up to the bracket. expr is read again for the elements.
func (p *py) comprehension(elt int, close string) pv {
	var names []string
	var src pv
	for p.is("for") || p.is("async") || p.is("if") {
		if p.is("async") {
			p.i++
		}
		if p.is("if") {
			p.i++
			p.expr()
			continue
		}
		p.i++
		n := p.targets()
		if p.is("in") {
			p.i++
		}
		v := p.expr()
		p.each(n, v, 0)
		if names == nil {
			names, src = n, v
		}
	}
	after := p.i
	count := 1
	if src.seq && len(src.list) > 1 {
		count = len(src.list)
	} else if !src.seq && src.known() && src.ref == "" && len(src.s) > 1 {
		count = len(src.s)
	}
	var out []pv
	for k := range min(count, 4096) {
		if !p.w.r.charge(8) {
			break
		}
		p.each(names, src, k)
		p.i = elt
		out = append(out, p.expr())
	}
	p.i = after
	if !p.is(close) {
		p.skipTo(close)
	} else {
		p.i++
	}
	return flat(pv{seq: true, list: out})
}

// braces reads a dictionary or a set.
func (p *py) braces() pv {
	v := pv{dict: map[string]pv{}}
	all := value{}
	for p.i < len(p.t) && !p.is("}") {
		at := p.i
		k := p.expr()
		all = p.w.r.join(all, k.data().plus(text(" ")))
		if p.is(":") {
			p.i++
			x := p.expr()
			all = p.w.r.join(all, x.data().plus(text(" ")))
			for _, e := range x.list {
				all = p.w.r.join(all, e.data().plus(text(" ")))
			}
			if k.known() && len(v.dict) < 64 {
				v.dict[k.s] = x
			}
		}
		if p.is("for") {
			p.skipTo("}")
			v.value = all
			return v
		}
		if p.is(",") || p.i == at {
			p.i++
		}
	}
	p.i++
	v.value = all
	return v
}

func (p *py) args() (args []pv, kw map[string]pv) {
	start := p.i
	for p.i < len(p.t) && !p.is(")") {
		at := p.i
		if p.cur().kind == 'n' && p.i+1 < len(p.t) && p.t[p.i+1].kind == 'o' && p.t[p.i+1].s == "=" {
			name := p.cur().s
			p.i += 2
			v := p.expr()
			if kw == nil {
				kw = map[string]pv{}
			}
			if len(kw) < 64 {
				kw[name] = v
			}
		} else {
			v := p.expr()
			if p.is("for") || p.is("async") {
				return []pv{p.comprehension(start, ")")}, kw
			}
			if p.i != at && len(args) < 256 {
				args = append(args, v)
			}
		}
		if p.is(",") {
			p.i++
		} else if p.i == at {
			if p.is("]") || p.is("}") {
				break
			}
			p.i++
		}
	}
	p.i++
	return args, kw
}

// subscript gives v[...], of which the bracket is read.
func (p *py) subscript(v pv) pv {
	parts, colons := p.subscripts()
	key := pv{}
	if len(parts) > 0 {
		key = parts[0]
	}
	if colons > 0 {
		return slice(v, parts, colons)
	}
	if v.dict != nil {
		if x, ok := v.dict[key.s]; ok {
			return x
		}
	}
	if v.ref != "" && !strings.HasPrefix(v.ref, "~") && key.known() && key.s != "" {
		if x, ok := p.named(v.ref, key.s); ok {
			return x
		}
	}
	if n, ok := number(key.s); ok && key.num {
		if v.seq {
			if n < 0 {
				n += len(v.list)
			}
			if n >= 0 && n < len(v.list) {
				return v.list[n]
			}
		} else if v.known() && v.ref == "" {
			if n < 0 {
				n += len(v.s)
			}
			if n >= 0 && n < len(v.s) {
				return pv{value: v.value.with(v.s[n : n+1])}
			}
		}
	}
	return pv{value: v.blur()}
}

// subscripts reads what stands in brackets, and how many colons there are in it. Before a colon without a number
// there is an empty part.
func (p *py) subscripts() (parts []pv, colons int) {
	had := false
	for p.i < len(p.t) && !p.is("]") {
		at := p.i
		if p.is(":") {
			colons++
			if !had {
				parts = append(parts, pv{})
			}
			had = false
			p.i++
			continue
		}
		x := p.expr()
		if p.i == at {
			p.i++
			continue
		}
		parts, had = append(parts, x), true
		if len(parts) > 8 {
			p.skipTo("]")
			p.i--
			break
		}
	}
	p.i++
	return parts, colons
}

// slice gives v[a:b] and v[a:b:step]. A step undoes an encoding: it reverses, or takes every second letter.
func slice(v pv, parts []pv, colons int) pv {
	if v.seq || !v.known() {
		return pv{value: v.value, seq: v.seq, list: v.list}
	}
	if colons == 2 {
		return stepped(v, parts)
	}
	key := pv{}
	if len(parts) > 0 {
		key = parts[0]
	}
	a, b := 0, len(v.s)
	if n, ok := number(key.s); ok && key.num {
		a = n
	}
	if len(parts) > 1 && parts[1].num {
		b, _ = number(parts[1].s)
	}
	if a < 0 {
		a += len(v.s)
	}
	if b < 0 {
		b += len(v.s)
	}
	a, b = max(0, min(a, len(v.s))), max(0, min(b, len(v.s)))
	return pv{value: v.value.with(v.s[a:max(a, b)])}
}

// stepped gives v[a:b:step].
func stepped(v pv, parts []pv) pv {
	if len(parts) == 3 && parts[2].s == "-1" && parts[0].s == "" {
		s, _ := reversed(v.s)
		out := pv{value: v.value.with(s)}
		if len(s) > 3 {
			out.from |= fromDecode
		}
		return out
	}
	step := 1
	if len(parts) > 2 {
		step, _ = number(parts[2].s)
	}
	if step > 1 {
		b := []byte{}
		for i := 0; i < len(v.s); i += step {
			b = append(b, v.s[i])
		}
		out := pv{value: v.value.with(string(b))}
		out.from |= fromDecode
		return out
	}
	return pv{value: v.value}
}

// named gives what a name of a table of names stands for: a module, a variable of the environment, a builtin.
func (p *py) named(ref, key string) (pv, bool) {
	base := strings.TrimSuffix(ref, ".__dict__")
	switch {
	case base == "sys.modules":
		return pv{ref: key}, true
	case base == "os.environ" || base == "os.environb":
		if w := p.w.vars[key]; w != nil {
			return pv{value: *w}, true
		}
		return pv{value: value{s: hole, from: fromEnv}}, true
	case base != ref || base == "__builtins__" || base == "builtins":
		return pv{ref: base + "." + key}, true
	}
	if x, ok := p.names[ref+"["+key+"]"]; ok {
		return x, true
	}
	return pv{}, false
}

// fstring fills an f-string.
func (p *py) fstring(s string) (out value) {
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			return out.plus(text(s))
		}
		out = p.w.r.join(out, text(s[:i]))
		c := s[i]
		s = s[i+1:]
		if s != "" && s[0] == c {
			out = p.w.r.join(out, text(string(c)))
			s = s[1:]
			continue
		}
		if c == '}' {
			continue
		}
		depth, j := 1, 0
		for ; j < len(s); j++ {
			if s[j] == '{' || s[j] == '(' || s[j] == '[' {
				depth++
			} else if s[j] == '}' || s[j] == ')' || s[j] == ']' {
				if depth--; depth == 0 {
					break
				}
			}
		}
		expr := s[:min(j, len(s))]
		s = s[min(j+1, len(s)):]
		if p.depth >= maxDepth/2 || !p.w.r.charge(len(expr)) {
			p.w.r.Cut = true
			return out.plus(unknown)
		}
		t, _ := pyTokens(expr)
		sub := &py{w: p.w, t: t, names: p.names, depth: p.depth + 8, calls: p.calls}
		out = p.w.r.join(out, sub.expr().data())
	}
	return out
}

// source is the text of a call, about.
func (p *py) source(from int) string {
	var b strings.Builder
	for j := max(from-6, 0); j < p.i && j < len(p.t) && b.Len() < 2*maxShown; j++ {
		t := p.t[j]
		switch {
		case t.kind == 'l':
			b.WriteString("; ")
		case t.kind == 's':
			b.WriteString("'" + t.s[:min(len(t.s), maxShown)] + "'")
		default:
			if j > 0 && t.kind == 'n' && p.t[j-1].kind == 'n' {
				b.WriteByte(' ')
			}
			b.WriteString(t.s)
		}
	}
	return b.String()
}

// str gives the text of an argument.
func str(args []pv, i int) string {
	if i < len(args) {
		return args[i].s
	}
	return ""
}

func base(s string) string { return path.Base(s) }
