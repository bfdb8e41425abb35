package http

import (
	"bytes"
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	// Field blocks that one worker remembers, each of at most maxBlock bytes.
	blockSlots = 1 << 10
	maxBlock   = 2 << 10
)

// block is what the fields of a head say, from behind the first line to the empty one. A client sends the same fields with
// one request after the other, and so do servers of like answers; what came before is compared and not read again
// (BenchmarkExchange).
type block struct {
	text    string // as sent; "": not to be compared with
	header  Header
	framing framing
	facts   facts
	id      uint64 // 0: of this one message
}

var lastBlock atomic.Uint64

// FieldsID stands for the contents of Header, as long as the program runs: requests with the same number have the same
// fields. 0 stands for none.
func (r *Request) FieldsID() uint64 { return r.block.number() }

// FieldsID is that of a request.
func (r *Response) FieldsID() uint64 { return r.block.number() }

func (k *block) number() uint64 {
	if k == nil {
		return 0
	}
	return k.id
}

// blocks remembers those that came more than once, whatever flow they came in.
type blocks struct {
	seed  maphash.Seed
	seen  [blockSlots]uint64 // by hash: what came once
	known [blockSlots]*block
}

func newBlocks() *blocks { return &blocks{seed: maphash.MakeSeed()} }

// repeats gives the length of the head at the start of b if its fields are those of the message before, else 0. That block
// ends in the first empty line that it has, so the head ends there too.
func (h *half) repeats(b []byte) int {
	if h.block == nil {
		return 0
	}
	i := bytes.IndexByte(b, '\n') + 1
	n := i + len(h.block.text)
	if len(b) < n || n > maxHead || i < 2 || b[i-2] != '\r' || string(b[i:n]) != h.block.text {
		return 0
	}
	if line := b[:i-2]; bytes.IndexByte(line, '\r') >= 0 || bytes.IndexByte(line, 0) >= 0 {
		return 0
	}
	return n
}

// block reads the fields of the head b: rest is b behind its first line. same is what they are known to be.
func (d *decoder) block(h *half, b, rest []byte, same *block) *block {
	if same != nil {
		return same
	}
	h.block = nil
	// A block is remembered if its like is the same wherever it comes: whole, and nothing odd about it or before it.
	whole := len(rest) <= maxBlock && len(rest) < len(b) && bytes.HasSuffix(rest, []byte("\r\n\r\n")) &&
		!d.split && bytes.IndexByte(b[:len(b)-len(rest)], 0) < 0
	var sum uint64
	all := d.pools.blocks
	if whole {
		sum = maphash.Bytes(all.seed, rest)
		if k := all.known[sum%blockSlots]; k != nil && string(rest) == k.text {
			h.block = k
			return k
		}
	}
	d.odd = false
	k := &block{}
	text := string(rest)
	k.header = d.fields(text, b, &k.framing)
	k.facts = k.header.facts()
	if whole && !d.odd {
		if at := &all.seen[sum%blockSlots]; *at != sum {
			*at = sum
		} else {
			k.text, k.id = text, lastBlock.Add(1)
			all.known[sum%blockSlots] = k
			h.block = k
		}
	}
	return k
}

// facts are the values that are asked for of every message: of several fields of one name the last, as Zeek has it,
// but for the authority.
type facts struct {
	host, referer, agent, origin value
	user                         value // of Basic authentication
	file                         value // name of the body
	proxied                      []string
	authority                    string // HostOf the first Host field
}

type value struct {
	s   string
	set bool
}

// facts reads them in one pass.
func (h Header) facts() (f facts) {
	for i := range h {
		x := &h[i]
		switch len(x.Name) {
		case len("Host"):
			if strings.EqualFold(x.Name, "Host") {
				if !f.host.set {
					f.authority = HostOf(x.Value)
				}
				f.host = value{x.Value, true}
			}
		case len("Origin"):
			if strings.EqualFold(x.Name, "Origin") {
				f.origin = value{x.Value, true}
			}
		case len("Referer"):
			if strings.EqualFold(x.Name, "Referer") {
				f.referer = value{x.Value, true}
			}
		case len("User-Agent"):
			if strings.EqualFold(x.Name, "User-Agent") {
				f.agent = value{x.Value, true}
			}
		}
	}
	f.user.s, f.user.set = basicUser(h)
	f.proxied = proxies(h)
	f.file.s, f.file.set = fileName(h)
	return f
}

// reason gives a reason phrase without allocating for those that occur.
func reason(b []byte) string {
	for _, s := range [...]string{"OK", "Not Found", "Found", "Not Modified", "No Content", "Moved Permanently", "Partial Content"} {
		if string(b) == s {
			return s
		}
	}
	return string(b)
}
