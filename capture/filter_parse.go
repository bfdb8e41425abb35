package capture

import (
	"fmt"
	"strconv"
	"strings"
)

// Things that a word can be qualified by.
type (
	filterProto uint8
	filterDir   uint8
	filterKind  uint8
)

const (
	anyProto filterProto = iota
	protoLink
	protoIP
	protoIP6
	protoARP
	protoRARP
	protoOther // a protocol over Ethernet that has no addresses here
	protoTransport
)

const (
	dirEither filterDir = iota // the default, and "src or dst"
	dirSrc
	dirDst
	dirBoth // "src and dst"
)

const (
	kindNone filterKind = iota // "src 1.2.3.4"
	kindHost
	kindNet
	kindPort
	kindPortRange
	kindProto
)

// qualifiers are what is written before an address or number. They hold for the next one alone, too.
type qualifiers struct {
	set   bool
	proto filterProto
	word  string // the protocol as written
	num   uint32 // the protocol's number, for protoTransport
	dir   filterDir
	kind  filterKind
}

// protoWord is what a protocol's name stands for, alone and as a qualifier.
type protoWord struct {
	proto filterProto
	num   uint32 // IP protocol or Ethernet type
	over4 bool   // alone it is looked for in IPv4
	over6 bool   // alone it is looked for in IPv6
}

func lookupProto(s string) (protoWord, bool) {
	switch s {
	case "ether", "link", "fddi", "tr", "wlan", "ppp", "slip":
		return protoWord{proto: protoLink}, true
	case "ip":
		return protoWord{proto: protoIP, num: etherIPv4}, true
	case "ip6":
		return protoWord{proto: protoIP6, num: etherIPv6}, true
	case "arp":
		return protoWord{proto: protoARP, num: 0x806}, true
	case "rarp":
		return protoWord{proto: protoRARP, num: 0x8035}, true
	case "decnet", "atalk", "aarp", "lat", "sca", "moprc", "mopdl":
		n, _ := etherTypeOf(s)
		return protoWord{proto: protoOther, num: n}, true
	case "tcp", "udp", "sctp", "ah", "esp", "pim":
		n, _ := ipProtoOf(s)
		return protoWord{protoTransport, n, true, true}, true
	case "icmp", "igmp", "igrp", "vrrp":
		n, _ := ipProtoOf(s)
		return protoWord{protoTransport, n, true, false}, true
	case "carp":
		return protoWord{protoTransport, 112, true, false}, true
	case "icmp6":
		return protoWord{protoTransport, ProtoICMPv6, false, true}, true
	}
	return protoWord{}, false
}

// number knows the names of offsets and values of header fields.
func (t *token) number() (uint32, bool) {
	if t.kind != tokenWord || t.escaped {
		return 0, false
	}
	if s := t.text; s[0] >= '0' && s[0] <= '9' {
		hex := len(s) > 2 && (s[1] == 'x' || s[1] == 'X')
		if strings.ContainsAny(s, "_.-:") || len(s) > 1 && s[0] == '0' && !hex && (s[1] < '0' || s[1] > '9') {
			return 0, false
		}
		n, err := strconv.ParseUint(s, 0, 32)
		return uint32(n), err == nil
	}
	if !strings.HasPrefix(t.text, "tcp") && !strings.HasPrefix(t.text, "icmp") {
		return 0, false
	}
	n, ok := map[string]uint32{
		"icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1, "tcpflags": 13,
		"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32, "tcp-ece": 64, "tcp-cwr": 128,
		"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
		"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13,
		"icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,
		"icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
		"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130,
		"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133,
		"icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
		"icmp6-routerrenum": 138, "icmp6-nodeinformationquery": 139, "icmp6-nodeinformationresponse": 140,
		"icmp6-ineighbordiscoverysolicit": 141, "icmp6-ineighbordiscoveryadvert": 142,
		"icmp6-multicastlistenerreportv2": 143, "icmp6-homeagentdiscoveryrequest": 144,
		"icmp6-homeagentdiscoveryreply": 145, "icmp6-mobileprefixsolicit": 146, "icmp6-mobileprefixadvert": 147,
		"icmp6-certpathsolicit": 148, "icmp6-certpathadvert": 149, "icmp6-multicastrouteradvert": 151,
		"icmp6-multicastroutersolicit": 152, "icmp6-multicastrouterterm": 153,
	}[t.text]
	return n, ok
}

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenSign
)

type token struct {
	kind    tokenKind
	escaped bool // written with a backslash: not a keyword
	text    string
	at      int // in the source
	close   int // for an opening parenthesis: the token that closes it
}

// is says whether the token is a keyword or a sign.
func (t *token) is(words ...string) bool {
	if t.escaped || t.kind == tokenEnd {
		return false
	}
	for _, w := range words {
		if t.text == w {
			return true
		}
	}
	return false
}

type filterParser struct {
	src   string
	toks  []token // the last is tokenEnd
	at    int
	depth int
	lay   layout
	root  *node
	err   error
}

// fail notes the first error and goes to the end of the expression, where nothing is left to be read: the parser winds
// up by itself. What it returns stands for what could not be read.
func (p *filterParser) fail(t *token, format string, a ...any) *node {
	if p.err == nil {
		p.err = &FilterError{p.src, t.at + 1, fmt.Sprintf(format, a...)}
	}
	p.at = max(len(p.toks)-1, 0)
	return constant(false)
}

func (p *filterParser) parse(link uint16) error {
	var ok bool
	if p.lay, ok = layoutOf(link); !ok {
		p.fail(&token{}, "cannot be compiled for link type %d (Ethernet, raw IP, null and loop, Linux cooked can)", link)
		return p.err
	}
	p.lex()
	if p.err != nil {
		return p.err
	}
	if p.peek().kind == tokenEnd {
		p.root = constant(true)
		return nil
	}
	p.root, _ = p.expr(qualifiers{})
	if t := p.peek(); t.kind != tokenEnd {
		p.fail(t, "%s is too much: expected and, or, or the end", p.show(t))
	}
	return p.err
}

// lex cuts the source into tokens. A colon and a minus belong to words (addresses, ranges, names) but not, as they stand
// between numbers, inside brackets.
func (p *filterParser) lex() {
	var open []int
	brackets := 0
	s := p.src
	for i := 0; i < len(s) && p.err == nil; {
		c := s[i]
		t := token{at: i}
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case c == '\\' || wordByte(c):
			if c == '\\' {
				t.escaped = true
				i++
			}
			n := wordLen(s[i:], brackets > 0)
			t.kind, t.text = tokenWord, s[i:i+n]
			i += n
			if n == 0 {
				p.fail(&t, "a backslash with no word after it")
			}
		case c == ':' && brackets == 0:
			begin := i // ::1
			for i < len(s) && (wordByte(s[i]) || s[i] == ':') {
				i++
			}
			t.kind, t.text = tokenWord, s[begin:i]
		default:
			n := signLen(s[i:])
			t.kind, t.text = tokenSign, s[i:i+n]
			i += n
			switch t.text {
			case "(":
				open = append(open, len(p.toks))
			case ")":
				if len(open) == 0 {
					p.fail(&t, "a closing parenthesis too many")
					return
				}
				p.toks[open[len(open)-1]].close = len(p.toks)
				open = open[:len(open)-1]
			case "[":
				brackets++
			case "]":
				brackets--
			case ":", "/", "&", "|", "^", "+", "-", "*", "%", "<", ">", "=", "!", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||":
			default:
				p.fail(&t, "character %q has no meaning here", c)
			}
			if brackets < 0 {
				p.fail(&t, "a closing bracket too many")
			}
		}
		p.toks = append(p.toks, t)
	}
	if len(open) > 0 {
		p.fail(&p.toks[open[len(open)-1]], "this parenthesis is not closed")
	}
	p.toks = append(p.toks, token{at: len(s)})
}

// wordLen returns the length of the word that s begins with.
func wordLen(s string, inBrackets bool) int {
	letter := len(s) > 0 && (s[0]|0x20) >= 'a' && (s[0]|0x20) <= 'z'
	n := 0
	for n < len(s) && (wordByte(s[n]) || n > 0 && s[n] == '-' && (!inBrackets || letter) || s[n] == ':' && !inBrackets) {
		n++
	}
	return n
}

// signLen returns the length of the sign that s begins with.
func signLen(s string) int {
	if len(s) > 1 {
		switch s[:2] {
		case "<<", ">>", "<=", ">=", "==", "!=", "&&", "||":
			return 2
		}
	}
	return 1
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '_'
}

func (p *filterParser) peek() *token { return &p.toks[p.at] }

// ahead is the token n places on.
func (p *filterParser) ahead(n int) *token { return &p.toks[min(p.at+n, len(p.toks)-1)] }

func (p *filterParser) next() *token {
	t := &p.toks[p.at]
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

func (p *filterParser) accept(words ...string) bool {
	if p.peek().is(words...) {
		p.at++
		return true
	}
	return false
}

func (p *filterParser) expect(sign string) {
	if t := p.peek(); !p.accept(sign) {
		p.fail(t, "expected %s, not %s", sign, p.show(t))
	}
}

func (p *filterParser) show(t *token) string {
	if t.kind == tokenEnd {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// deeper counts a level of recursion until the function that it returns is called.
func (p *filterParser) deeper() func() {
	if p.depth++; p.depth > maxFilterDepth {
		p.fail(p.peek(), "nested more than %d levels", maxFilterDepth) // at the end now, so no deeper than this
	}
	return func() { p.depth-- }
}

// expr reads terms joined by and and or, which bind alike, to the left. q are the qualifiers before it; those that it
// ends with come back.
func (p *filterParser) expr(q qualifiers) (*node, qualifiers) {
	n, q := p.term(q)
	for {
		switch {
		case p.accept("and", "&&"):
			var r *node
			r, q = p.term(q)
			n = both(n, r)
		case p.accept("or", "||"):
			var r *node
			r, q = p.term(q)
			n = either(n, r)
		default:
			return n, q
		}
	}
}

func (p *filterParser) term(q qualifiers) (*node, qualifiers) {
	defer p.deeper()()
	t := p.peek()
	if p.startsArithmetic(q) {
		return p.relation(), qualifiers{}
	}
	switch {
	case p.accept("not", "!"):
		n, q := p.term(q)
		return not(n), q
	case p.accept("("):
		n, q := p.expr(q)
		p.expect(")")
		return n, q
	case t.kind != tokenWord:
		return p.fail(t, "expected an expression, not %s", p.show(t)), q
	}
	if !t.escaped {
		if n := p.special(); n != nil {
			return n, qualifiers{}
		}
		if w, ok := lookupProto(t.text); ok {
			p.next()
			return p.qualified(qualifiers{proto: w.proto, num: w.num, word: t.text}, t)
		}
		switch t.text {
		case "src", "dst", "host", "net", "port", "portrange", "proto", "protochain", "gateway":
			return p.qualified(qualifiers{}, t)
		case "geneve", "ifname", "ifindex", "byte", "type", "subtype", "dir", "radio", "iso", "clnp", "esis", "isis",
			"stp", "ipx", "netbeui", "vpi", "vci", "lane", "llc", "mask", "addr1", "addr2", "addr3", "addr4", "ra", "ta":
			return p.fail(t, "%q is not supported", t.text), q
		}
	}
	if !q.set {
		return p.fail(t, "%s needs a word such as host, net or port before it", p.show(t)), q
	}
	return p.value(q), q
}

// special reads what follows no pattern: vlan and its like, broadcast, lengths.
func (p *filterParser) special() *node {
	t := p.peek()
	l := &p.lay
	switch {
	case p.accept("broadcast"):
		return p.broadcast(qualifiers{}, t)
	case p.accept("multicast"):
		return p.multicast(qualifiers{}, t)
	case p.accept("less"):
		return not(test(opJgt, p.need("a length"), ins(opLdLen, 0)))
	case p.accept("greater"):
		return test(opJge, p.need("a length"), ins(opLdLen, 0))
	case p.accept("inbound"), p.accept("outbound"):
		// The packet type is 4 for what the machine itself sent.
		var n *node
		switch l.link {
		case linkLinuxSLL:
			n = test(opJeq, 4, ins(opLdH, 0))
		case linkLinuxSLL2:
			n = test(opJeq, 4, ins(opLdB, 10))
		default:
			return p.fail(t, "%s: frames of link type %d do not say their direction", t.text, l.link)
		}
		if t.text == "inbound" {
			return not(n)
		}
		return n
	case p.accept("vlan"):
		if !l.typed {
			return p.fail(t, "no VLANs in link type %d", l.link)
		}
		if l.labels > 0 || l.pppoe {
			return p.fail(t, "no VLANs after mpls and pppoes")
		}
		n := either(either(l.etherType(etherVLAN), l.etherType(etherQinQ)), l.etherType(etherQinQOld))
		if id, ok := p.optional(); ok {
			if id > 0xfff {
				return p.fail(t, "VLAN %d is more than 4095", id)
			}
			n = both(n, test(opJeq, id, ins(opLdH, l.payload), ins(opAnd, 0xfff)))
		}
		l.typeAt, l.payload = l.payload+2, l.payload+4
		return n
	case p.accept("mpls"):
		var n *node
		switch {
		case l.labels > 0: // one more if the one before is not the last
			n = not(test(opJset, 1, ins(opLdB, l.payload-2)))
		case l.typed && !l.pppoe:
			n = l.etherType(etherMPLS)
		default:
			return p.fail(t, "no MPLS in link type %d or after pppoes", l.link)
		}
		if label, ok := p.optional(); ok {
			if label > 0xfffff {
				return p.fail(t, "label %d is more than 1048575", label)
			}
			n = both(n, test(opJeq, label<<12, ins(opLdW, l.payload), ins(opAnd, 0xfffff000)))
		}
		l.labels++
		l.payload += 4
		return n
	case p.accept("pppoed"), p.accept("pppoes"):
		if l.labels > 0 || l.pppoe {
			return p.fail(t, "no PPPoE after mpls and pppoes")
		}
		if t.text == "pppoed" {
			return l.etherType(0x8863)
		}
		n := l.etherType(etherPPPoE)
		if session, ok := p.optional(); ok {
			if session > 0xffff {
				return p.fail(t, "session %d is more than 65535", session)
			}
			n = both(n, test(opJeq, session, ins(opLdH, l.payload+2)))
		}
		l.pppoe = true
		l.typeAt, l.payload = l.payload+6, l.payload+8
		return n
	}
	return nil
}

func (p *filterParser) need(what string) uint32 {
	t := p.next()
	n, ok := t.number()
	if !ok {
		p.fail(t, "expected %s, not %s", what, p.show(t))
	}
	return n
}

// optional reads a number that may follow.
func (p *filterParser) optional() (uint32, bool) {
	n, ok := p.peek().number()
	if ok {
		p.next()
	}
	return n, ok
}

// qualified reads what follows a protocol's name, if there is one: direction, kind and value, or nothing at all.
func (p *filterParser) qualified(q qualifiers, first *token) (*node, qualifiers) {
	named := q.word != ""
	t := p.peek()
	switch {
	case named && p.accept("broadcast"):
		return p.broadcast(q, t), qualifiers{}
	case named && p.accept("multicast"):
		return p.multicast(q, t), qualifiers{}
	}
	directed := true
	if t.is("src", "dst") {
		other := map[string]string{"src": "dst", "dst": "src"}[t.text]
		p.next()
		switch {
		case p.peek().is("or", "||") && p.ahead(1).is(other):
			p.at += 2
		case p.peek().is("and", "&&") && p.ahead(1).is(other):
			p.at += 2
			q.dir = dirBoth
		case t.text == "src":
			q.dir = dirSrc
		default:
			q.dir = dirDst
		}
	} else {
		directed = false
	}
	k := p.peek()
	switch {
	case p.accept("host"):
		q.kind = kindHost
	case p.accept("net"):
		q.kind = kindNet
	case p.accept("port"):
		q.kind = kindPort
	case p.accept("portrange"):
		q.kind = kindPortRange
	case p.accept("proto"):
		if directed {
			return p.fail(k, "proto has no direction"), q
		}
		q.kind = kindProto
	case k.is("protochain", "gateway"):
		return p.fail(k, "%s is not supported", k.text), q
	case !directed: // the name alone
		return p.alone(q, first), qualifiers{}
	}
	q.set = true
	if k := p.peek(); k.kind == tokenEnd || k.is("and", "or", "&&", "||", ")") {
		return p.fail(k, "something is missing here"), q
	}
	return p.values(q), q
}

// values reads the value behind qualifiers: one, a negated one, or several in parentheses.
func (p *filterParser) values(q qualifiers) *node {
	defer p.deeper()()
	switch {
	case p.accept("not", "!"):
		return not(p.values(q))
	case p.accept("("):
		n, _ := p.expr(q)
		p.expect(")")
		return n
	}
	return p.value(q)
}

// alone is a protocol's name with nothing behind it.
func (p *filterParser) alone(q qualifiers, t *token) *node {
	w, _ := lookupProto(t.text)
	switch w.proto {
	case protoLink:
		return p.fail(t, "%q needs host, src, dst, proto, broadcast, multicast or [ after it", t.text)
	case protoTransport:
		return p.lay.ipProto(w.num, w.over4, w.over6)
	}
	return p.lay.etherType(w.num)
}

func (p *filterParser) broadcast(q qualifiers, t *token) *node {
	l := &p.lay
	switch q.proto {
	case anyProto, protoLink:
		if l.ethernet {
			return both(test(opJeq, ^uint32(0), ins(opLdW, 2)), test(opJeq, 0xffff, ins(opLdH, 0)))
		}
		return p.fail(t, "no broadcasts in link type %d", l.link)
	case protoIP:
		// The networks' masks are not in a capture. What is left, as for tcpdump -r, are the two that need none.
		load := ins(opLdW, l.payload+16)
		return both(l.etherType(etherIPv4), either(test(opJeq, 0, load), test(opJeq, ^uint32(0), load)))
	}
	return p.fail(t, "%s has no broadcasts", q.word)
}

func (p *filterParser) multicast(q qualifiers, t *token) *node {
	l := &p.lay
	switch q.proto {
	case anyProto, protoLink:
		if l.ethernet {
			return test(opJset, 1, ins(opLdB, 0))
		}
		return p.fail(t, "no multicasts in link type %d", l.link)
	case protoIP:
		return both(l.etherType(etherIPv4), test(opJge, 224, ins(opLdB, l.payload+16)))
	case protoIP6:
		return both(l.etherType(etherIPv6), test(opJeq, 255, ins(opLdB, l.payload+24)))
	}
	return p.fail(t, "%s has no multicasts", q.word)
}
