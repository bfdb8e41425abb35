package capture

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
)

// layout says where things are in a frame. vlan, mpls and pppoes move it for everything that is written behind them,
// whether joined by "and" or by "or": that is libpcap's rule, and scripts rely on it.
type layout struct {
	link     uint16
	typeAt   uint32 // where the Ethernet type (behind pppoes: the PPP protocol) is
	payload  uint32 // where the network layer begins
	labels   int    // MPLS labels before it
	typed    bool   // there is a type field: not in raw IP, null and loop
	pppoe    bool
	ethernet bool
}

func layoutOf(link uint16) (layout, bool) {
	l := layout{link: link}
	switch link {
	case linkEthernet:
		l.typed, l.ethernet, l.typeAt, l.payload = true, true, 12, 14
	case linkLinuxSLL:
		l.typed, l.typeAt, l.payload = true, 14, 16
	case linkLinuxSLL2:
		l.typed, l.typeAt, l.payload = true, 0, 20
	case linkNull, linkLoop:
		l.payload = 4
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
	default:
		return l, false
	}
	return l, true
}

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

// etherTypeOf knows the names that may follow "ether proto". Up to 1500 it is an 802.2 service access point.
func etherTypeOf(s string) (uint32, bool) {
	n, ok := map[string]uint32{
		"ip": etherIPv4, "ip6": etherIPv6, "arp": 0x806, "rarp": 0x8035, "decnet": 0x6003, "atalk": 0x809b,
		"aarp": 0x80f3, "lat": 0x6004, "sca": 0x6007, "moprc": 0x6002, "mopdl": 0x6001, "loopback": 0x9000,
		"stp": 0x42, "netbeui": 0xf0,
	}[s]
	return n, ok
}

// ipProtoOf knows the names that may follow "proto": those of /etc/protocols that anybody filters for.
func ipProtoOf(s string) (uint32, bool) {
	n, ok := map[string]uint32{
		"icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "egp": 8, "igp": 9, "igrp": 9, "udp": 17, "ipv6": 41, "rsvp": 46,
		"gre": 47, "esp": 50, "ah": 51, "icmp6": 58, "ipv6-icmp": 58, "eigrp": 88, "ospf": 89, "ipip": 94, "pim": 103,
		"vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136,
	}[s]
	return n, ok
}

// service knows names of ports, with the protocols that they are registered for, as far as anybody filters for them.
func service(s string) (port uint32, tcp, udp bool) {
	v := map[string]struct {
		port     uint32
		tcp, udp bool
	}{
		"ftp-data": {20, true, false}, "ftp": {21, true, false}, "ssh": {22, true, false}, "telnet": {23, true, false},
		"smtp": {25, true, false}, "domain": {53, true, true}, "bootps": {67, false, true}, "bootpc": {68, false, true},
		"tftp": {69, false, true}, "http": {80, true, false}, "kerberos": {88, true, true}, "pop3": {110, true, false},
		"sunrpc": {111, true, true}, "ntp": {123, false, true}, "imap2": {143, true, false}, "imap": {143, true, false},
		"snmp": {161, true, true}, "snmp-trap": {162, true, true}, "bgp": {179, true, false}, "ldap": {389, true, true},
		"https": {443, true, true}, "microsoft-ds": {445, true, true}, "syslog": {514, false, true},
		"submission": {587, true, false}, "ldaps": {636, true, true}, "imaps": {993, true, false},
		"pop3s": {995, true, false}, "socks": {1080, true, false}, "ms-sql-s": {1433, true, false},
		"mysql": {3306, true, false}, "ms-wbt-server": {3389, true, false}, "mdns": {5353, false, true},
		"sip": {5060, true, true}, "postgresql": {5432, true, false}, "redis": {6379, true, false},
		"http-alt": {8080, true, true},
	}[s]
	return v.port, v.tcp, v.udp
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
			begin := i
			letter := i < len(s) && (s[i]|0x20) >= 'a' && (s[i]|0x20) <= 'z'
			for i < len(s) && (wordByte(s[i]) || i > begin && s[i] == '-' && (brackets == 0 || letter) || s[i] == ':' && brackets == 0) {
				i++
			}
			t.kind, t.text = tokenWord, s[begin:i]
			if begin == i {
				p.fail(&t, "a backslash with no word behind it")
			}
		case c == ':' && brackets == 0:
			begin := i // ::1
			for i < len(s) && (wordByte(s[i]) || s[i] == ':') {
				i++
			}
			t.kind, t.text = tokenWord, s[begin:i]
		default:
			n := 1
			if i+1 < len(s) {
				switch s[i : i+2] {
				case "<<", ">>", "<=", ">=", "==", "!=", "&&", "||":
					n = 2
				}
			}
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
			return p.fail(t, "no VLANs behind mpls and pppoes")
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
			return p.fail(t, "no MPLS in link type %d or behind pppoes", l.link)
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
			return p.fail(t, "no PPPoE behind mpls and pppoes")
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

func (p *filterParser) value(q qualifiers) *node {
	t := p.next()
	if t.kind != tokenWord {
		return p.fail(t, "expected an address, a name or a number, not %s", p.show(t))
	}
	num, isNum := t.number()
	switch q.kind {
	case kindProto:
		return p.protoValue(q, t, num, isNum)
	case kindPort:
		from, tcp, udp := p.portValue(q, t, t.text)
		return p.ports(q, t, from, from, tcp, udp)
	case kindPortRange:
		return p.portRange(q, t)
	}
	if q.proto == protoLink {
		if q.kind == kindNet {
			return p.fail(t, "link layers have no networks")
		}
		mac, ok := parseMAC(t.text)
		if !ok {
			return p.fail(t, "%s is not an Ethernet address", p.show(t))
		}
		if !p.lay.ethernet {
			return p.fail(t, "no Ethernet addresses in link type %d", p.lay.link)
		}
		return q.dirs(func(src bool) *node {
			at := uint32(0)
			if src {
				at = 6
			}
			return both(test(opJeq, mac[1], ins(opLdW, at+2)), test(opJeq, mac[0], ins(opLdH, at)))
		})
	}
	if q.proto == protoTransport || q.proto == protoOther {
		return p.fail(t, "%s has no addresses: write \"%s and host %s\"", q.word, q.word, t.text)
	}
	if strings.Contains(t.text, ":") {
		return p.address6(q, t)
	}
	return p.address4(q, t, num, isNum)
}

func parseMAC(s string) (mac [2]uint32, ok bool) {
	var v uint64
	digits, group, groups := 0, 0, 1
	colons := strings.ContainsAny(s, ":-") || strings.Count(s, ".") == 5
	for i := 0; i <= len(s); i++ {
		if i == len(s) || strings.IndexByte(":-.", s[i]) >= 0 {
			if group == 0 || colons && group > 2 {
				return mac, false
			}
			if colons && group == 1 {
				digits++ // 0:1:2:3:4:5
			}
			if i < len(s) {
				group = 0
				groups++
			}
			continue
		}
		d := strings.IndexByte("0123456789abcdef", s[i]|0x20)
		if s[i] < '0' || d < 0 || group == 4 && groups > 1 || digits == 12 {
			return mac, false
		}
		if colons && group == 1 || !colons {
			v = v<<4 | uint64(d)
		} else {
			v = v<<8 | uint64(d)
		}
		digits++
		group++
	}
	if digits != 12 || groups != 1 && groups != 3 && groups != 6 {
		return mac, false
	}
	return [2]uint32{uint32(v >> 32), uint32(v)}, true
}

// address4 takes an IPv4 address or network: dotted with one to four parts, and a mask.
func (p *filterParser) address4(q qualifiers, t *token, num uint32, isNum bool) *node {
	addr, parts := num, 0
	if !isNum {
		var ok bool
		if addr, parts, ok = parseDotted(t.text); !ok {
			return p.fail(t, "%s is not an address (names are not looked up)", p.show(t))
		}
	} else if addr <= 255 {
		parts = 1
	}
	bits := uint(parts) * 8
	mask := ^uint32(0)
	switch {
	case p.peek().is("/", "mask"):
		sep := p.next()
		if q.kind != kindNet && q.kind != kindNone {
			return p.fail(sep, "only a net has a mask")
		}
		if parts == 0 {
			return p.fail(t, "%s is not a network", p.show(t))
		}
		addr <<= 32 - bits
		if m := p.next(); sep.text == "/" {
			n, ok := m.number()
			if !ok || n > 32 {
				return p.fail(m, "expected a prefix length up to 32, not %s", p.show(m))
			}
			mask = uint32(uint64(1<<32-1) << (32 - n))
		} else {
			v, n, ok := parseDotted(m.text)
			if !ok || m.kind != tokenWord {
				return p.fail(m, "expected a network mask, not %s", p.show(m))
			}
			mask = v << (32 - 8*uint(n))
		}
		if addr&^mask != 0 {
			return p.fail(t, "%s has bits set outside of the mask", p.show(t))
		}
	case isNum && q.kind == kindNet: // net 10 is 10.0.0.0/8
		for addr != 0 && addr>>24 == 0 {
			addr, mask = addr<<8, mask<<8
		}
	case !isNum: // 10.1 is a network of 16 bits, even for host
		addr, mask = addr<<(32-bits), mask<<(32-bits)
	}
	n := constant(false)
	type place struct {
		proto    filterProto
		ether    uint32
		src, dst uint32
	}
	for _, at := range []place{{protoIP, etherIPv4, 12, 16}, {protoARP, 0x806, 14, 24}, {protoRARP, 0x8035, 14, 24}} {
		if q.proto != anyProto && q.proto != at.proto || q.proto == anyProto && at.proto != protoIP && (p.lay.labels > 0 || p.lay.pppoe) {
			continue
		}
		n = either(n, both(p.lay.etherType(at.ether), q.dirs(func(src bool) *node {
			off := at.dst
			if src {
				off = at.src
			}
			return test(opJeq, addr, masked(mask, ins(opLdW, p.lay.payload+off))...)
		})))
	}
	if q.proto == protoIP6 {
		return p.fail(t, "%s is not an IPv6 address", p.show(t))
	}
	return n
}

func masked(mask uint32, load ...bpf.RawInstruction) []bpf.RawInstruction {
	if mask == ^uint32(0) {
		return load
	}
	return append(load, ins(opAnd, mask))
}

func parseDotted(s string) (addr uint32, parts int, ok bool) {
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.ParseUint(part, 10, 8)
		if err != nil || parts == 4 {
			return 0, 0, false
		}
		addr = addr<<8 | uint32(n)
		parts++
	}
	return addr, parts, true
}

func (p *filterParser) address6(q qualifiers, t *token) *node {
	a, err := netip.ParseAddr(t.text)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return p.fail(t, "%s is not an address", p.show(t))
	}
	if q.proto != anyProto && q.proto != protoIP6 {
		return p.fail(t, "%s has no IPv6 addresses", q.word)
	}
	bits := 128
	if p.accept("/") {
		m := p.next()
		n, ok := m.number()
		if !ok || n > 128 {
			return p.fail(m, "expected a prefix length up to 128, not %s", p.show(m))
		}
		if q.kind != kindNet && n != 128 {
			return p.fail(m, "only a net has a mask")
		}
		bits = int(n)
		if netip.PrefixFrom(a, bits).Masked().Addr() != a {
			return p.fail(t, "%s has bits set outside of the mask", p.show(t))
		}
	}
	b := a.As16()
	return both(p.lay.etherType(etherIPv6), q.dirs(func(src bool) *node {
		off := p.lay.payload + 24
		if src {
			off = p.lay.payload + 8
		}
		n := constant(true)
		for i := range uint32(4) {
			left := min(max(bits-32*int(i), 0), 32)
			if left == 0 && i > 0 {
				break
			}
			word := uint32(b[4*i])<<24 | uint32(b[4*i+1])<<16 | uint32(b[4*i+2])<<8 | uint32(b[4*i+3])
			n = both(n, test(opJeq, word, masked(uint32(uint64(1<<32-1)<<(32-left)), ins(opLdW, off+4*i))...))
		}
		return n
	}))
}

// dirs joins the tests of source and destination as the direction says.
func (q *qualifiers) dirs(f func(src bool) *node) *node {
	switch q.dir {
	case dirSrc:
		return f(true)
	case dirDst:
		return f(false)
	case dirBoth:
		return both(f(true), f(false))
	}
	return either(f(true), f(false))
}

func (p *filterParser) protoValue(q qualifiers, t *token, num uint32, isNum bool) *node {
	if !isNum {
		var ok bool
		if q.proto == protoLink {
			num, ok = etherTypeOf(t.text)
		} else {
			num, ok = ipProtoOf(t.text)
		}
		if !ok {
			return p.fail(t, "protocol %s is not known: write its number", p.show(t))
		}
	}
	switch {
	case q.proto == protoLink && num > 0xffff || q.proto != protoLink && num > 0xff:
		return p.fail(t, "there is no protocol %d", num)
	case q.proto == protoLink:
		return p.lay.etherType(num)
	case q.proto == anyProto:
		return p.lay.ipProto(num, true, true)
	case q.proto == protoIP:
		return p.lay.ipProto(num, true, false)
	case q.proto == protoIP6:
		return p.lay.ipProto(num, false, true)
	}
	return p.fail(t, "%s proto has no meaning: only ether, ip and ip6 have it", q.word)
}

// portValue reads the number or name of a port.
func (p *filterParser) portValue(q qualifiers, t *token, s string) (port uint32, tcp, udp bool) {
	if n, ok := (&token{kind: tokenWord, text: s}).number(); ok && s[0] >= '0' && s[0] <= '9' {
		if n > 65535 {
			p.fail(t, "port %d is more than 65535", n)
		}
		return n, true, true
	}
	port, tcp, udp = service(s)
	switch {
	case port == 0:
		p.fail(t, "port %q is not known: write its number", s)
	case q.num == ProtoTCP && !tcp, q.num == ProtoUDP && !udp:
		p.fail(t, "port %q is not of %s", s, q.word)
	}
	return port, tcp, udp
}

func (p *filterParser) portRange(q qualifiers, t *token) *node {
	for i := range t.text { // names have a minus, too
		if t.text[i] == '-' && i > 0 && i < len(t.text)-1 {
			lo, hi := t.text[:i], t.text[i+1:]
			_, isNum := (&token{kind: tokenWord, text: lo}).number()
			if known, _, _ := service(lo); isNum || known > 0 {
				from, tcp, udp := p.portValue(q, t, lo)
				to, tcp2, udp2 := p.portValue(q, t, hi)
				if tcp != tcp2 || udp != udp2 {
					tcp, udp = true, true
				}
				return p.ports(q, t, min(from, to), max(from, to), tcp, udp)
			}
		}
	}
	from, tcp, udp := p.portValue(q, t, t.text)
	return p.ports(q, t, from, from, tcp, udp)
}

// ports tests the ports of TCP, UDP and SCTP over IPv4, where a fragment other than the first has none, and IPv6.
func (p *filterParser) ports(q qualifiers, t *token, from, to uint32, tcp, udp bool) *node {
	l := &p.lay
	protos := []uint32{q.num}
	switch {
	case q.proto == anyProto:
		protos = protos[:0]
		if tcp {
			protos = append(protos, ProtoTCP)
		}
		if udp {
			protos = append(protos, ProtoUDP)
		}
		if tcp && udp {
			protos = append(protos, ProtoSCTP)
		}
	case q.proto != protoTransport || q.num != ProtoTCP && q.num != ProtoUDP && q.num != ProtoSCTP:
		return p.fail(t, "%s has no ports", q.word)
	}
	in := func(load ...bpf.RawInstruction) *node {
		if from == to {
			return test(opJeq, from, load...)
		}
		return both(test(opJge, from, load...), not(test(opJgt, to, load...)))
	}
	four, six := constant(false), constant(false)
	for _, proto := range protos {
		four = either(four, test(opJeq, proto, ins(opLdB, l.payload+9)))
		six = either(six, test(opJeq, proto, ins(opLdB, l.payload+6)))
	}
	four = both(four, both(l.firstFragment(), q.dirs(func(src bool) *node {
		at := l.payload + 2
		if src {
			at = l.payload
		}
		return in(ins(opLdxMsh, l.payload), ins(opLdIndH, at))
	})))
	six = both(six, q.dirs(func(src bool) *node {
		at := l.payload + 42
		if src {
			at = l.payload + 40
		}
		return in(ins(opLdH, at))
	}))
	return either(both(l.etherType(etherIPv4), four), both(l.etherType(etherIPv6), six))
}

// alone is a protocol's name with nothing behind it.
func (p *filterParser) alone(q qualifiers, t *token) *node {
	w, _ := lookupProto(t.text)
	switch w.proto {
	case protoLink:
		return p.fail(t, "%q needs host, src, dst, proto, broadcast, multicast or [ behind it", t.text)
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

// etherType tests for what the frame carries, by Ethernet type, however the link layer says it.
func (l *layout) etherType(t uint32) *node {
	version := func(b ...bpf.RawInstruction) *node {
		switch t {
		case etherIPv4:
			return test(opJeq, 0x40, append(b, ins(opAnd, 0xf0))...)
		case etherIPv6:
			return test(opJeq, 0x60, append(b, ins(opAnd, 0xf0))...)
		}
		return constant(false)
	}
	switch {
	case l.labels > 0: // behind the last label, and the first four bits say what it is
		return both(test(opJset, 1, ins(opLdB, l.payload-2)), version(ins(opLdB, l.payload)))
	case l.pppoe:
		switch t {
		case etherIPv4:
			t = 0x21
		case etherIPv6:
			t = 0x57
		}
		return test(opJeq, t, ins(opLdH, l.typeAt))
	case l.link == linkIPv4:
		return constant(t == etherIPv4)
	case l.link == linkIPv6:
		return constant(t == etherIPv6)
	case l.link == linkNull || l.link == linkLoop:
		// An address family in the byte order of whoever wrote the file, which a frame does not tell, and IPv6 has
		// another number on every system: Linux, NetBSD and OpenBSD, FreeBSD, macOS.
		var families []uint32
		switch t {
		case etherIPv4:
			families = []uint32{2}
		case etherIPv6:
			families = []uint32{10, 24, 28, 30}
		}
		n := constant(false)
		for _, f := range families {
			n = either(n, either(test(opJeq, f<<24, ins(opLdW, 0)), test(opJeq, f, ins(opLdW, 0))))
		}
		return n
	case !l.typed:
		return version(ins(opLdB, 0))
	case t > maxLLCLength:
		return test(opJeq, t, ins(opLdH, l.typeAt))
	case l.ethernet:
		return both(not(test(opJgt, maxLLCLength, ins(opLdH, l.typeAt))), test(opJeq, t, ins(opLdB, l.payload)))
	}
	const cooked8022 = 4
	return both(test(opJeq, cooked8022, ins(opLdH, l.typeAt)), test(opJeq, t, ins(opLdB, l.payload)))
}

// ipProto tests for a protocol over IP; in IPv6 as the next header, or behind a fragment header.
func (l *layout) ipProto(proto uint32, over4, over6 bool) *node {
	n := constant(false)
	if over4 {
		n = both(l.etherType(etherIPv4), test(opJeq, proto, ins(opLdB, l.payload+9)))
	}
	if over6 {
		const fragment = 44
		next := ins(opLdB, l.payload+6)
		n = either(n, both(l.etherType(etherIPv6), either(test(opJeq, proto, next),
			both(test(opJeq, fragment, next), test(opJeq, proto, ins(opLdB, l.payload+40))))))
	}
	return n
}

func (l *layout) firstFragment() *node {
	return not(test(opJset, 0x1fff, ins(opLdH, l.payload+6)))
}

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
