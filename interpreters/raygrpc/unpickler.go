package raygrpc

import (
	"strconv"
	"strings"
)

// unpickler follows the opcodes of one pickle (CPython's Lib/pickletools.py names and numbers them). It keeps what
// names and calls need and none of the objects.
type unpickler struct {
	p     *Pickle
	b     []byte // what is not read yet
	depth int    // of pickles inside bytes of pickles
	stack []item
	memo  map[uint64]item
	next  uint64 // of MEMOIZE
}

// walk reads b and notes in p what it names. The end of b without a STOP makes p broken.
func (p *Pickle) walk(b []byte, depth int) {
	u := unpickler{p: p, b: b, depth: depth}
	for len(u.b) > 0 {
		if p.ops++; p.ops > maxOps {
			break
		}
		op := u.b[0]
		u.b = u.b[1:]
		if op == '.' {
			return
		}
		if !u.step(op) {
			break
		}
	}
	p.Broken = true
}

// step carries out one opcode and reports whether it was whole and known.
func (u *unpickler) step(op byte) bool {
	switch op {
	case 0x80, 0x95, 'Q', 0x98:
		return u.framing(op)
	case 'I', 'F', 'L', 'P', 'K', 'M', 'J', 'G', 0x8a, 0x8b, 0x82, 0x83, 0x84:
		return u.number(op)
	case 'N', 0x88, 0x89, '}', ']', 0x8f, 0x97: // None, True, False, empty containers, NEXT_BUFFER
		u.push(item{})
	case 'S', 'V', 'X', 'T', 'U', 0x8c, 0x8d:
		return u.text(op)
	case 'B', 'C', 0x8e, 0x96:
		return u.bytes(op)
	case 'c', 'i', 0x93:
		return u.global(op)
	case 'R', 0x81, 0x92, 'o':
		u.call(op)
	case 'p', 'g', 'q', 'h', 'r', 'j', 0x94:
		return u.memory(op)
	default:
		return u.container(op)
	}
	return true
}

// framing reads PROTO, FRAME and the opcodes that change nothing here.
func (u *unpickler) framing(op byte) bool {
	switch op {
	case 0x80: // PROTO
		if len(u.b) > 0 && u.depth == 0 && u.p.Proto < 0 {
			u.p.Proto = int(u.b[0])
		}
		return u.skip(1)
	case 0x95: // FRAME
		return u.skip(8)
	}
	return true // BINPERSID, READONLY_BUFFER
}

// number reads numbers, ids in the oldest format and codes of extensions, of all of which only the place on the stack
// counts.
func (u *unpickler) number(op byte) bool {
	ok := true
	switch op {
	case 'K', 0x82: // BININT1, EXT1
		ok = u.skip(1)
	case 'M', 0x83: // BININT2, EXT2
		ok = u.skip(2)
	case 'J', 0x84: // BININT, EXT4
		ok = u.skip(4)
	case 'G': // BINFLOAT
		ok = u.skip(8)
	case 0x8a: // LONG1
		_, ok = u.sized(1)
	case 0x8b: // LONG4
		_, ok = u.sized(4)
	default: // INT, FLOAT, LONG, PERSID
		_, ok = u.line()
	}
	u.push(item{})
	return ok
}

// text reads a string. Of one that is cut what is there is kept.
func (u *unpickler) text(op byte) bool {
	var d []byte
	ok := true
	switch op {
	case 'S', 'V': // STRING, UNICODE
		s, whole := u.line()
		if !whole {
			return false
		}
		if op == 'S' {
			s = strings.Trim(s, `'"`)
		}
		d = []byte(s)
	case 'X', 'T': // BINUNICODE, BINSTRING
		d, ok = u.sized(4)
	case 'U', 0x8c: // SHORT_BINSTRING, SHORT_BINUNICODE
		d, ok = u.sized(1)
	case 0x8d: // BINUNICODE8
		d, ok = u.sized(8)
	}
	s := string(d[:min(len(d), maxText)])
	if len(u.p.Strings) < maxStrings && s != "" {
		u.p.Strings = append(u.p.Strings, s)
	}
	u.push(item{kind: text, s: s})
	return ok
}

// bytes reads bytes, and walks them if they are a pickle themselves.
func (u *unpickler) bytes(op byte) bool {
	n := 8 // BINBYTES8, BYTEARRAY8
	switch op {
	case 'B': // BINBYTES
		n = 4
	case 'C': // SHORT_BINBYTES
		n = 1
	}
	d, whole := u.sized(n)
	if u.depth < maxNested && len(d) > 8 && isPickle(d) {
		u.p.walk(d, u.depth+1)
	}
	u.push(item{})
	return whole
}

// global reads a name of a module.
func (u *unpickler) global(op byte) bool {
	if op == 0x93 { // STACK_GLOBAL
		n, m := u.pop(), u.pop()
		if n.kind != text || m.kind != text {
			m.s = "?"
		}
		u.push(u.p.global(m.s, n.s))
		return true
	}
	m, ok := u.line()
	n, ok2 := u.line()
	if !ok || !ok2 {
		return false
	}
	g := u.p.global(m, n)
	if op == 'i' { // INST calls it
		u.p.call(g, u.toMark())
		g = item{}
	}
	u.push(g)
	return true
}

// call calls what is on the stack. Only REDUCE is followed to what it returns: the others make objects.
func (u *unpickler) call(op byte) {
	switch op {
	case 'R': // REDUCE
		args, f := u.pop(), u.pop()
		u.push(u.p.call(f, args.args))
		return
	case 'o': // OBJ
		if args := u.toMark(); len(args) > 0 {
			u.p.call(args[0], args[1:])
		}
	default: // NEWOBJ, NEWOBJ_EX
		if op == 0x92 {
			u.pop()
		}
		args, f := u.pop(), u.pop()
		u.p.call(f, args.args)
	}
	u.push(item{})
}

// memory writes the top of the stack into the memo, or gets it from there.
func (u *unpickler) memory(op byte) bool {
	var n uint64
	size := 0
	switch op {
	case 0x94: // MEMOIZE
		u.put(u.next)
		u.next++
		return true
	case 'p', 'g': // PUT, GET
		s, ok := u.line()
		v, err := strconv.ParseUint(s, 10, 32)
		if !ok || err != nil {
			return false
		}
		n = v
	case 'q', 'h': // BINPUT, BINGET
		size = 1
	case 'r', 'j': // LONG_BINPUT, LONG_BINGET
		size = 4
	}
	if len(u.b) < size {
		return false
	}
	for i := size - 1; i >= 0; i-- {
		n = n<<8 | uint64(u.b[i])
	}
	u.b = u.b[size:]
	if op == 'p' || op == 'q' || op == 'r' {
		u.put(n)
	} else {
		u.push(u.memo[n])
	}
	return true
}

// container moves what is on the stack and builds tuples and other containers of it. It knows the last opcodes there
// are, and reports false for any other.
func (u *unpickler) container(op byte) bool {
	switch op {
	case '(': // MARK
		u.push(item{kind: mark})
	case '0', 'b', 'a': // POP, BUILD, APPEND
		u.pop()
	case 's': // SETITEM
		u.pop()
		u.pop()
	case '1', 'e', 'u', 0x90: // POP_MARK, APPENDS, SETITEMS, ADDITEMS
		u.toMark()
	case '2': // DUP
		if n := len(u.stack); n > 0 {
			u.push(u.stack[n-1])
		}
	case 'd', 'l', 0x91: // DICT, LIST, FROZENSET
		u.toMark()
		u.push(item{})
	case ')': // EMPTY_TUPLE
		u.push(item{kind: tuple})
	case 't': // TUPLE
		u.push(item{kind: tuple, args: keep(u.toMark())})
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		n := min(int(op-0x84), len(u.stack))
		args := keep(u.stack[len(u.stack)-n:])
		u.stack = u.stack[:len(u.stack)-n]
		u.push(item{kind: tuple, args: args})
	default:
		return false
	}
	return true
}

// push lays i on the stack, or makes the pickle broken where the stack is full.
func (u *unpickler) push(i item) {
	if len(u.stack) < maxStack {
		u.stack = append(u.stack, i)
	} else {
		u.p.Broken = true
	}
}

// pop takes the top of the stack, which is nothing where the stack is empty.
func (u *unpickler) pop() (i item) {
	if n := len(u.stack); n > 0 {
		i = u.stack[n-1]
		u.stack = u.stack[:n-1]
	}
	return i
}

// toMark takes all above the last mark, and the mark. What it returns holds until the next push. Without a mark the
// stack is emptied.
func (u *unpickler) toMark() []item {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if u.stack[i].kind == mark {
			args := u.stack[i+1:]
			u.stack = u.stack[:i]
			return args
		}
	}
	u.stack = u.stack[:0]
	return nil
}

// put notes the top of the stack under n.
func (u *unpickler) put(n uint64) {
	if u.memo == nil {
		u.memo = map[uint64]item{}
	}
	if len(u.stack) > 0 && len(u.memo) < maxMemo {
		u.memo[n] = u.stack[len(u.stack)-1]
	}
}

// line reads up to a line feed and past it.
func (u *unpickler) line() (string, bool) {
	i := strings.IndexByte(string(u.b[:min(len(u.b), maxText)]), '\n')
	if i < 0 {
		return "", false
	}
	s := string(u.b[:i])
	u.b = u.b[i+1:]
	return s, true
}

// sized reads a little-endian length of n bytes and what it counts, and reports whether all of that is there.
func (u *unpickler) sized(n int) ([]byte, bool) {
	if len(u.b) < n {
		return nil, false
	}
	var size uint64
	for i := n - 1; i >= 0; i-- {
		size = size<<8 | uint64(u.b[i])
	}
	u.b = u.b[n:]
	whole := size <= uint64(len(u.b))
	if !whole {
		size = uint64(len(u.b))
	}
	data := u.b[:size]
	u.b = u.b[size:]
	return data, whole
}

// skip passes n bytes, and reports whether they are there.
func (u *unpickler) skip(n int) bool {
	if n > len(u.b) {
		return false
	}
	u.b = u.b[n:]
	return true
}
