package capture

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
)

// A filter expression in tcpdump's language (pcap-filter(7)) becomes a classic BPF program, as libpcap would make it but
// without libpcap: filter_parse.go reads the expression, this file makes the program and runs it.
//
// What is there: host, net, port and portrange with src and dst; proto; the protocol names; ether addresses; broadcast
// and multicast; less, greater and len; arithmetic on bytes of the packet; vlan, mpls, pppoed and pppoes, which move
// the places where everything behind them is looked for; inbound and outbound for Linux cooked frames. A name or a
// number alone continues the qualifiers before it: "port 80 or 443".
//
// What is not there is an error, never a filter that lets everything pass: host and network names (nobody is asked),
// gateway, protochain, geneve, 802.11, ATM and IS-IS.
//
// As in libpcap a packet that is too short for a byte that the expression looks at does not match, whatever the
// expression says about that byte; ports are not looked for behind IPv6 extension headers; and tcp[], udp[] and their
// like look into IPv4 only. Unlike in libpcap, vlan and mpls work for Linux cooked frames, ip[...] on the right of an
// operator does imply ip, % and ^ want parentheses, and null frames may have any system's number for IPv6.

const (
	// What Linux takes for a socket (BPF_MAXINSNS).
	maxFilterCode = 4096
	// An expression that long is a list that somebody generated, and its program is about to be too long anyway.
	maxFilterText = 64 << 10
	// Parentheses, negations and brackets inside each other. The parser recurses.
	maxFilterDepth = 256
	// Scratch memory of the BPF machine: nested arithmetic needs a word for each level.
	maxFilterWords = 16
)

// FilterError says what is wrong with a filter expression and where.
type FilterError struct {
	Expr   string
	Column int // of the character where it goes wrong, from 1
	Reason string
}

func (e *FilterError) Error() string {
	return fmt.Sprintf("capture: filter %q: column %d: %s", e.Expr, e.Column, e.Reason)
}

// Filter is a compiled filter expression. It is immutable and may be used by many goroutines.
type Filter struct {
	code []bpf.RawInstruction
}

// CompileFilter compiles a filter expression for frames of a link type. The empty expression matches every frame. The
// error is a *FilterError.
func CompileFilter(expr string, link uint16) (*Filter, error) {
	if len(expr) > maxFilterText {
		return nil, &FilterError{expr[:32] + "...", maxFilterText + 1, fmt.Sprintf("longer than %d bytes", maxFilterText)}
	}
	p := filterParser{src: expr}
	if err := p.parse(link); err != nil {
		return nil, err
	}
	code := assemble(p.root)
	if len(code) > maxFilterCode {
		return nil, &FilterError{expr, 1, fmt.Sprintf("the program has %d instructions, more than the %d allowed", len(code), maxFilterCode)}
	}
	return &Filter{code}, nil
}

// Program gives the filter as classic BPF, for a socket. It returns the number of bytes to keep: 0, or more than any
// frame has.
func (f *Filter) Program() []bpf.RawInstruction { return slices.Clone(f.code) }

// Match says whether a frame, which must be of the link type that the filter was compiled for, passes.
func (f *Filter) Match(fr *Frame) bool {
	return runBPF(f.code, fr.Data, uint32(min(max(fr.WireLen, 0), 1<<32-1)))
}

// Instruction codes of classic BPF (linux/bpf_common.h).
const (
	opLdImm  = 0x00
	opLdW    = 0x20
	opLdH    = 0x28
	opLdB    = 0x30
	opLdIndW = 0x40
	opLdIndH = 0x48
	opLdIndB = 0x50
	opLdMem  = 0x60
	opLdLen  = 0x80
	opLdxMsh = 0xb1
	opSt     = 0x02
	opAdd    = 0x04
	opSub    = 0x14
	opMul    = 0x24
	opDiv    = 0x34
	opOr     = 0x44
	opAnd    = 0x54
	opLsh    = 0x64
	opRsh    = 0x74
	opMod    = 0x94
	opXor    = 0xa4
	opX      = 0x08 // the other operand is X, not K
	opJa     = 0x05
	opJeq    = 0x15
	opJgt    = 0x25
	opJge    = 0x35
	opJset   = 0x45
	opRet    = 0x06
	opTax    = 0x07
)

// keepAll is what a match returns: more than any frame has.
const keepAll = maxFrame

// runBPF runs a program made by assemble. It is bpf.VM with the length on the wire beside the captured bytes, and five
// times as fast. All jumps go forward, so it ends.
func runBPF(code []bpf.RawInstruction, b []byte, wire uint32) bool {
	var a, x uint32
	var mem [maxFilterWords]uint32
	for i := 0; i < len(code); i++ {
		c := &code[i]
		k := c.K
		switch c.Op {
		case opLdImm:
			a = k
		case opLdLen:
			a = wire
		case opLdMem:
			a = mem[k%maxFilterWords]
		case opSt:
			mem[k%maxFilterWords] = a
		case opTax:
			x = a
		case opLdW, opLdIndW:
			n := uint64(k)
			if c.Op == opLdIndW {
				n += uint64(x)
			}
			if n+4 > uint64(len(b)) {
				return false
			}
			a = uint32(b[n])<<24 | uint32(b[n+1])<<16 | uint32(b[n+2])<<8 | uint32(b[n+3])
		case opLdH, opLdIndH:
			n := uint64(k)
			if c.Op == opLdIndH {
				n += uint64(x)
			}
			if n+2 > uint64(len(b)) {
				return false
			}
			a = uint32(b[n])<<8 | uint32(b[n+1])
		case opLdB, opLdIndB:
			n := uint64(k)
			if c.Op == opLdIndB {
				n += uint64(x)
			}
			if n >= uint64(len(b)) {
				return false
			}
			a = uint32(b[n])
		case opLdxMsh:
			if uint64(k) >= uint64(len(b)) {
				return false
			}
			x = uint32(b[k]&0xf) * 4
		case opJa:
			i += int(k)
		case opJeq:
			i += pick(a == k, c)
		case opJgt:
			i += pick(a > k, c)
		case opJge:
			i += pick(a >= k, c)
		case opJset:
			i += pick(a&k != 0, c)
		case opJeq | opX:
			i += pick(a == x, c)
		case opJgt | opX:
			i += pick(a > x, c)
		case opJge | opX:
			i += pick(a >= x, c)
		case opRet:
			return k != 0
		default:
			if c.Op&opX != 0 {
				k = x
			}
			var ok bool
			if a, ok = calculate(c.Op&^opX, a, k); !ok {
				return false
			}
		}
	}
	return false
}

func pick(cond bool, c *bpf.RawInstruction) int {
	if cond {
		return int(c.Jt)
	}
	return int(c.Jf)
}

// calculate is the machine's arithmetic; it is not ok to divide by zero.
func calculate(op uint16, a, b uint32) (v uint32, ok bool) {
	switch op {
	case opAdd:
		return a + b, true
	case opSub:
		return a - b, true
	case opMul:
		return a * b, true
	case opOr:
		return a | b, true
	case opAnd:
		return a & b, true
	case opXor:
		return a ^ b, true
	case opLsh:
		return a << b, true // nothing is left after 32
	case opRsh:
		return a >> b, true
	case opDiv:
		if b != 0 {
			return a / b, true
		}
	case opMod:
		if b != 0 {
			return a % b, true
		}
	}
	return 0, false
}

// node is a boolean expression: a test, or others combined.
type node struct {
	kind nodeKind
	l, r *node
	load []bpf.RawInstruction // leaves in A, and for opX in X, what is tested
	jump uint16
	k    uint32
}

type nodeKind uint8

const (
	nodeTest nodeKind = iota
	nodeTrue
	nodeFalse
	nodeNot
	nodeAnd
	nodeOr
)

func ins(op uint16, k uint32) bpf.RawInstruction { return bpf.RawInstruction{Op: op, K: k} }

func constant(v bool) *node {
	if v {
		return &node{kind: nodeTrue}
	}
	return &node{kind: nodeFalse}
}

func test(jump uint16, k uint32, load ...bpf.RawInstruction) *node {
	return &node{jump: jump, k: k, load: load}
}

func not(n *node) *node {
	switch n.kind {
	case nodeTrue:
		return constant(false)
	case nodeFalse:
		return constant(true)
	case nodeNot:
		return n.l
	}
	return &node{kind: nodeNot, l: n}
}

func both(l, r *node) *node {
	if l.kind == nodeFalse || r.kind == nodeTrue {
		return l
	}
	if l.kind == nodeTrue {
		return r
	}
	return &node{kind: nodeAnd, l: l, r: r}
}

func either(l, r *node) *node {
	if l.kind == nodeTrue || r.kind == nodeFalse {
		return l
	}
	if l.kind == nodeFalse {
		return r
	}
	return &node{kind: nodeOr, l: l, r: r}
}

// assembler writes a program from its end to its beginning: as all jumps go forward, the place that one leads to is
// always known. Places are counted from the end.
type assembler struct{ out []bpf.RawInstruction }

func assemble(root *node) []bpf.RawInstruction {
	a := &assembler{}
	no := a.put(ins(opRet, 0))
	yes := a.put(ins(opRet, keepAll))
	start := a.emit(root, yes, no)
	if start != len(a.out)-1 { // the whole expression is a constant
		a.put(ins(opRet, a.out[start].K))
	}
	slices.Reverse(a.out)
	return a.out
}

func (a *assembler) put(i bpf.RawInstruction) int {
	a.out = append(a.out, i)
	return len(a.out) - 1
}

// emit writes n so that it goes on at yes or at no, and returns where it begins.
func (a *assembler) emit(n *node, yes, no int) int {
	if len(a.out) > maxFilterCode {
		return yes // too long already
	}
	switch n.kind {
	case nodeTrue:
		return yes
	case nodeFalse:
		return no
	case nodeNot:
		return a.emit(n.l, no, yes)
	case nodeAnd:
		return a.emit(n.l, a.emit(n.r, yes, no), no)
	case nodeOr:
		return a.emit(n.l, yes, a.emit(n.r, yes, no))
	}
	yes = a.near(yes)
	no = a.near(no)
	at := len(a.out) - 1
	a.put(bpf.RawInstruction{Op: n.jump, Jt: uint8(at - yes), Jf: uint8(at - no), K: n.k})
	for i := len(n.load) - 1; i >= 0; i-- {
		a.put(n.load[i])
	}
	return len(a.out) - 1
}

// near makes sure that a jump, which has eight bits, reaches a place.
func (a *assembler) near(place int) int {
	const reach = 250 // of 255: the other branch may put an instruction in between
	if n := len(a.out) - 1 - place; n > reach {
		return a.put(ins(opJa, uint32(n)))
	}
	return place
}
