package http2

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

const (
	// defaultTable is the size of a dynamic table until the encoder says otherwise (RFC 7541 section 4.2).
	defaultTable = 4096
	// maxTable bounds it. Encoders rarely use more than the default, nghttp2 and browsers up to 64 KiB. What a larger
	// table would have kept resolves to nothing here.
	maxTable = 64 << 10
	// entryCost is what RFC 7541 section 4.1 adds to each entry.
	entryCost = 32
	// maxFields bounds the fields taken from one block; what is behind is read for the table's sake only. Envoy takes
	// 100, Node 128, Go as many as its megabyte has room for.
	maxFields    = 1024
	keptFields   = 128         // room for fields that is kept from one block to the next
	firstDynamic = len(static) // the first index of the dynamic table
)

var errHPACK = errors.New("http2: broken header block")

// Field is one header field.
type Field struct{ Name, Value string }

// entry is a field of the dynamic table. Its name may be unknown, when it was itself taken from an unknown entry.
type entry struct {
	Field
	named bool
}

// table is the dynamic table of one direction, as far as its insertions were seen. Indices count from the newest, so
// that what was inserted before does not matter to what was inserted since.
type table struct {
	ents  []entry // oldest first; ents[:start] are gone
	start int
	size  int
	max   int
	whole bool // every insertion was seen
}

// forget drops all entries: insertions were missed, so nothing of what was known has a known index any more.
func (t *table) forget() {
	t.ents, t.start, t.size, t.whole = nil, 0, 0, false
}

// get resolves an index of the dynamic table, 0 for the newest.
func (t *table) get(i int) (entry, bool) {
	n := len(t.ents) - 1 - i
	if n < t.start {
		return entry{}, false
	}
	return t.ents[n], true
}

func (t *table) add(e entry) {
	n := len(e.Name) + len(e.Value) + entryCost
	t.size += n
	t.evict()
	if n > t.max {
		t.ents, t.start, t.size = t.ents[:0], 0, 0 // RFC 7541 section 4.4
		return
	}
	if t.start > 64 && t.start > len(t.ents)/2 {
		k := copy(t.ents, t.ents[t.start:])
		clear(t.ents[k:])
		t.ents, t.start = t.ents[:k], 0
	}
	t.ents = append(t.ents, e)
}

func (t *table) evict() {
	for t.size > t.max && t.start < len(t.ents) {
		e := &t.ents[t.start]
		t.size -= len(e.Name) + len(e.Value) + entryCost
		*e = entry{}
		t.start++
	}
}

// read decodes a header block into out, which it appends to. unknown counts the fields that refer to entries which
// were not seen. On an error the fields before it are good, and the table is forgotten.
func (t *table) read(b []byte, out []Field) (fields []Field, unknown int, more bool, err error) {
	fields = out
	take := func(e entry, ok bool) {
		switch {
		case !ok || !e.named:
			unknown++
		case len(fields)-len(out) >= maxFields:
			more = true
		default:
			fields = append(fields, e.Field)
		}
	}
	for len(b) > 0 {
		c := b[0]
		switch {
		case c&0x80 != 0: // section 6.1: indexed
			i, rest, ok := integer(b, 7)
			if !ok || i == 0 {
				return fields, unknown, more, t.broken()
			}
			b = rest
			take(t.lookup(i))
		case c&0xe0 == 0x20: // section 6.3: size update
			n, rest, ok := integer(b, 5)
			if !ok {
				return fields, unknown, more, t.broken()
			}
			b = rest
			t.max = min(n, maxTable)
			t.evict()
		default: // section 6.2: literal
			bits := uint(4)
			if c&0x40 != 0 {
				bits = 6
			}
			i, rest, ok := integer(b, bits)
			if !ok {
				return fields, unknown, more, t.broken()
			}
			e := entry{named: true}
			if i > 0 {
				var known bool
				e, known = t.lookup(i)
				e.named = known && e.named
			} else if e.Name, rest, ok = text(rest); !ok {
				return fields, unknown, more, t.broken()
			}
			if e.Value, rest, ok = text(rest); !ok {
				return fields, unknown, more, t.broken()
			}
			b = rest
			take(e, true)
			if c&0x40 != 0 {
				t.add(e)
			}
		}
	}
	return fields, unknown, more, nil
}

func (t *table) broken() error {
	t.forget()
	return errHPACK
}

// lookup resolves an index over both tables.
func (t *table) lookup(i int) (entry, bool) {
	if i < firstDynamic {
		return entry{static[i], true}, true
	}
	return t.get(i - firstDynamic)
}

// integer reads a number with a prefix of bits, section 5.1. Numbers over 2^28 are an error: there is no use for them.
func integer(b []byte, bits uint) (n int, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	limit := 1<<bits - 1
	n = int(b[0]) & limit
	b = b[1:]
	if n < limit {
		return n, b, true
	}
	for shift := uint(0); shift <= 28; shift += 7 {
		if len(b) == 0 {
			return 0, nil, false
		}
		c := b[0]
		b = b[1:]
		n += int(c&0x7f) << shift
		if n > 1<<28 {
			return 0, nil, false
		}
		if c&0x80 == 0 {
			return n, b, true
		}
	}
	return 0, nil, false
}

// text reads a string, section 5.2. It is no longer than a header block, or 8/5 of one when Huffman coded.
func text(b []byte) (s string, rest []byte, ok bool) {
	raw, rest, ok := rawText(b)
	if !ok {
		return "", nil, false
	}
	if b[0]&0x80 == 0 {
		return string(raw), rest, true
	}
	s, err := hpack.HuffmanDecodeToString(raw)
	return s, rest, err == nil
}

func rawText(b []byte) (raw, rest []byte, ok bool) {
	n, rest, ok := integer(b, 7)
	if !ok || n > len(rest) {
		return nil, nil, false
	}
	return rest[:n], rest[n:], true
}

// looksHPACK weighs a complete header block without reading its strings, and says whose it is by the pseudo-headers
// of the static table. 0 is no header block.
func looksHPACK(b []byte) (weight int, who role) {
	var p pseudo
	first, fields := true, 0
	for len(b) > 0 {
		c := b[0]
		switch {
		case c&0x80 != 0:
			i, rest, ok := integer(b, 7)
			// More than a dynamic table of 64 KiB can hold.
			if !ok || i == 0 || i >= firstDynamic+maxTable/entryCost {
				return 0, isUnknown
			}
			b = rest
			p.seen(i)
		case c&0xe0 == 0x20:
			if _, rest, ok := integer(b, 5); ok && first {
				b = rest
				continue
			}
			return 0, isUnknown
		default:
			rest, ok := p.literal(b)
			if !ok {
				return 0, isUnknown
			}
			b = rest
		}
		first = false
		fields++
	}
	switch {
	case p.who == isClient && p.asks >= 2:
		return enough, p.who // a method and a scheme, at least: nothing else has them between such lengths
	case p.who != isUnknown:
		return headers, p.who
	case fields > 0:
		return weak, p.who
	}
	return 0, p.who
}

// pseudo is what pseudo-headers say of who sends a block.
type pseudo struct {
	who  role
	asks int // pseudo-headers of a request
}

// seen takes a field with the name of entry i of the static table.
func (p *pseudo) seen(i int) {
	if i > 0 && i <= 7 {
		p.asks++
	}
	switch {
	case i == 0 || i >= firstDynamic || p.who != isUnknown:
	case i <= 7:
		p.who = isClient
	case i <= 14:
		p.who = isServer
	}
}

// literal takes a field whose value is in the block, and returns what follows it.
func (p *pseudo) literal(b []byte) (rest []byte, ok bool) {
	bits := uint(4)
	if b[0]&0x40 != 0 {
		bits = 6
	}
	i, rest, ok := integer(b, bits)
	if !ok || i >= firstDynamic+maxTable/entryCost {
		return nil, false
	}
	if i == 0 {
		name, r, ok := rawText(rest)
		if !ok || len(name) == 0 || rest[0]&0x80 == 0 && !token(name) {
			return nil, false
		}
		switch string(name) {
		case ":path", ":method", ":authority", ":scheme":
			p.seen(1)
		case ":status":
			p.seen(8)
		}
		rest = r
	}
	value, r, ok := rawText(rest)
	if !ok || rest[0]&0x80 == 0 && !printable(value) {
		return nil, false
	}
	p.seen(i)
	return r, true
}

// token says that b can be a field's name: lower case (RFC 9113 section 8.2.1), with the pseudo-header's colon.
func token(b []byte) bool {
	for _, c := range b {
		if c <= ' ' || c >= 0x7f || c >= 'A' && c <= 'Z' {
			return false
		}
	}
	return true
}

// printable reports whether a field has no control character but the tab (RFC 9110 section 5.5). Bytes beyond ASCII are allowed.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// static is the table of RFC 7541 appendix A.
var static = [...]Field{
	{},
	{":authority", ""}, {":method", "GET"}, {":method", "POST"}, {":path", "/"}, {":path", "/index.html"},
	{":scheme", "http"}, {":scheme", "https"}, {":status", "200"}, {":status", "204"}, {":status", "206"},
	{":status", "304"}, {":status", "400"}, {":status", "404"}, {":status", "500"}, {"accept-charset", ""},
	{"accept-encoding", "gzip, deflate"}, {"accept-language", ""}, {"accept-ranges", ""}, {"accept", ""},
	{"access-control-allow-origin", ""}, {"age", ""}, {"allow", ""}, {"authorization", ""}, {"cache-control", ""},
	{"content-disposition", ""}, {"content-encoding", ""}, {"content-language", ""}, {"content-length", ""},
	{"content-location", ""}, {"content-range", ""}, {"content-type", ""}, {"cookie", ""}, {"date", ""}, {"etag", ""},
	{"expect", ""}, {"expires", ""}, {"from", ""}, {"host", ""}, {"if-match", ""}, {"if-modified-since", ""},
	{"if-none-match", ""}, {"if-range", ""}, {"if-unmodified-since", ""}, {"last-modified", ""}, {"link", ""},
	{"location", ""}, {"max-forwards", ""}, {"proxy-authenticate", ""}, {"proxy-authorization", ""}, {"range", ""},
	{"referer", ""}, {"refresh", ""}, {"retry-after", ""}, {"server", ""}, {"set-cookie", ""},
	{"strict-transport-security", ""}, {"transfer-encoding", ""}, {"user-agent", ""}, {"vary", ""}, {"via", ""},
	{"www-authenticate", ""},
}
