package capture

import "golang.org/x/net/bpf"

// value of an arithmetic expression: a constant, or code that leaves it in A.
type number struct {
	code  []bpf.RawInstruction
	k     uint32
	fixed bool
	words uint32 // of scratch memory that the code uses
	guard *node  // what must hold before bytes are read
}

// startsArithmetic says whether a comparison begins here, rather than a primitive or a value.
func (p *filterParser) startsArithmetic(q qualifiers) bool {
	t := p.peek()
	n := p.ahead(1)
	operator := n.is("+", "-", "*", "%", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=", "=", "==", "!=")
	switch {
	case t.is("("):
		n = &p.toks[min(t.close+1, len(p.toks)-1)]
		return n.is("+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>", "<", ">", "<=", ">=", "=", "==", "!=")
	case t.is("-", "len", "length"):
		return true
	case t.kind != tokenWord || t.escaped:
		return false
	}
	if _, ok := lookupProto(t.text); ok || t.text == "radio" {
		return n.is("[")
	}
	_, ok := t.number()
	return ok && (operator || n.is("/") && !q.set)
}

func (p *filterParser) relation() *node {
	l := p.sum(0)
	t := p.next()
	jump, negate := uint16(0), false
	switch {
	case t.is("=", "=="):
		jump = opJeq
	case t.is("!="):
		jump, negate = opJeq, true
	case t.is(">"):
		jump = opJgt
	case t.is("<="):
		jump, negate = opJgt, true
	case t.is(">="):
		jump = opJge
	case t.is("<"):
		jump, negate = opJge, true
	default:
		return p.fail(t, "expected a comparison, not %s", p.show(t))
	}
	r := p.sum(0)
	if l.fixed && r.fixed {
		yes := jump == opJeq && l.k == r.k || jump == opJgt && l.k > r.k || jump == opJge && l.k >= r.k
		return constant(yes != negate)
	}
	v := p.pair(t, l, r)
	n := test(jump, r.k, v.code...)
	if !r.fixed {
		n.jump |= opX
		n.k = 0
	}
	if negate {
		n = not(n)
	}
	if v.guard != nil {
		n = both(v.guard, n)
	}
	return n
}

// binds says how tightly an operator binds; 0 is no operator.
func binds(t *token) int {
	switch {
	case t.is("|"):
		return 1
	case t.is("&"):
		return 2
	case t.is("<<", ">>"):
		return 3
	case t.is("+", "-"):
		return 4
	case t.is("*", "/"):
		return 5
	case t.is("%", "^"):
		return 6
	}
	return 0
}

// sum reads an arithmetic expression of operators that bind tighter than least.
func (p *filterParser) sum(least int) number {
	defer p.deeper()()
	v := p.factor()
	single := true
	for {
		t := p.peek()
		b := binds(t)
		if b <= least {
			return v
		}
		// In libpcap's grammar % and ^ have no rank, so that 10 % 4 * 3 is 10 % 12. Rather than guess, ask.
		if b == 6 && (!single || least > 0 || binds(p.operatorAfter()) > 0) {
			p.fail(t, "write parentheses around this: %s has no rank among the operators", t.text)
		}
		single = false
		p.next()
		v = p.operate(t, v, p.sum(b))
	}
}

// operatorAfter looks beyond the operand that follows the operator at hand.
func (p *filterParser) operatorAfter() *token {
	i := p.at + 1
	for i < len(p.toks)-1 && p.toks[i].is("-") {
		i++
	}
	if p.toks[i].is("(") {
		return &p.toks[min(p.toks[i].close+1, len(p.toks)-1)]
	}
	if i++; i < len(p.toks) && p.toks[i].is("[") {
		for open := 0; i < len(p.toks)-1; i++ {
			if p.toks[i].is("[") {
				open++
			} else if p.toks[i].is("]") {
				if open--; open == 0 {
					i++
					break
				}
			}
		}
	}
	return &p.toks[min(i, len(p.toks)-1)]
}

func (p *filterParser) operate(t *token, l, r number) number {
	op := map[string]uint16{"|": opOr, "&": opAnd, "<<": opLsh, ">>": opRsh, "+": opAdd, "-": opSub, "*": opMul, "/": opDiv, "%": opMod, "^": opXor}[t.text]
	if r.fixed && r.k == 0 && (op == opDiv || op == opMod) {
		p.fail(t, "division by zero")
		return number{fixed: true}
	}
	if r.fixed && r.k > 31 && (op == opLsh || op == opRsh) {
		p.fail(t, "shifted by more than 31 bits")
	}
	if l.fixed && r.fixed {
		v, _ := calculate(op, l.k, r.k)
		return number{k: v, fixed: true}
	}
	v := p.pair(t, l, r)
	if r.fixed {
		v.code = append(v.code, ins(op, r.k))
	} else {
		v.code = append(v.code, ins(op|opX, 0))
	}
	return v
}

// pair makes code that leaves l in A, and r in X unless it is fixed.
func (p *filterParser) pair(t *token, l, r number) number {
	if l.fixed {
		l.code = []bpf.RawInstruction{ins(opLdImm, l.k)}
	}
	v := number{code: l.code[:len(l.code):len(l.code)], words: l.words, guard: l.guard}
	if r.fixed {
		return v
	}
	slot := r.words // beyond those that r uses
	if slot >= maxFilterWords {
		p.fail(t, "too much nested: put the longer operand first")
		return v
	}
	v.words = max(l.words, slot+1)
	v.code = append(v.code, ins(opSt, slot))
	v.code = append(v.code, r.code...)
	v.code = append(v.code, ins(opTax, 0), ins(opLdMem, slot))
	if len(v.code) > maxFilterCode {
		p.fail(t, "the program has more than the %d instructions allowed", maxFilterCode)
	}
	switch {
	case v.guard == nil:
		v.guard = r.guard
	case r.guard != nil:
		v.guard = both(v.guard, r.guard)
	}
	return v
}

func (p *filterParser) factor() number {
	defer p.deeper()()
	t := p.next()
	switch {
	case t.is("-"):
		return p.operate(&token{kind: tokenSign, text: "-", at: t.at}, number{fixed: true}, p.factor())
	case t.is("("):
		v := p.sum(0)
		p.expect(")")
		return v
	case t.is("len", "length"):
		return number{code: []bpf.RawInstruction{ins(opLdLen, 0)}}
	}
	if n, ok := t.number(); ok {
		return number{k: n, fixed: true}
	}
	w, ok := lookupProto(t.text)
	if t.kind != tokenWord || t.escaped || !ok {
		p.fail(t, "expected a number or bytes such as tcp[13], not %s", p.show(t))
		return number{fixed: true}
	}
	return p.bytes(t, w)
}

// bytes reads the index and size of bytes of a layer.
func (p *filterParser) bytes(t *token, w protoWord) number {
	p.expect("[")
	idx := p.sum(0)
	size, abs, ind := uint32(1), uint16(opLdB), uint16(opLdIndB)
	if p.accept(":") {
		at := p.peek()
		switch size = p.need("a size"); size {
		case 1:
		case 2:
			abs, ind = opLdH, opLdIndH
		case 4:
			abs, ind = opLdW, opLdIndW
		default:
			p.fail(at, "a size of %d: only 1, 2 and 4 can be", size)
		}
	}
	p.expect("]")
	l := &p.lay
	base, over4 := l.payload, false
	var guard *node
	switch {
	case w.proto == protoLink:
		base = 0
	case w.proto != protoTransport:
		guard = l.etherType(w.num)
	case w.num == ProtoICMPv6:
		base += 40
		guard = both(l.etherType(etherIPv6), test(opJeq, ProtoICMPv6, ins(opLdB, l.payload+6)))
	default:
		over4 = true
		guard = both(l.ipProto(w.num, true, false), l.firstFragment())
	}
	v := number{words: idx.words, guard: guard}
	if idx.guard != nil && guard != nil {
		v.guard = both(guard, idx.guard)
	} else if guard == nil {
		v.guard = idx.guard
	}
	if idx.fixed {
		base += idx.k // wraps: ip[-2:2] is the Ethernet type
		if base > 1<<16 {
			p.fail(t, "byte %d of %s is beyond any packet", int32(idx.k), t.text)
		}
		if over4 {
			v.code = []bpf.RawInstruction{ins(opLdxMsh, l.payload), ins(ind, base)}
		} else {
			v.code = []bpf.RawInstruction{ins(abs, base)}
		}
		return v
	}
	v.code = append(v.code, idx.code...)
	if over4 {
		v.code = append(v.code, ins(opLdxMsh, l.payload), ins(opAdd|opX, 0))
	}
	v.code = append(v.code, ins(opTax, 0), ins(ind, base))
	return v
}
