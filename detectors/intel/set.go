package intel

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/raytap/raytap/capture"
)

// Kind is what an indicator is.
type Kind uint8

// Kinds.
const (
	IP         Kind = iota
	Network         // addresses that have a prefix in common
	IPPort          // an address with this port
	Domain          // a name and all below it
	DomainPort      // a name with this port
	URL             // host, path and query
	URLPrefix       // host and the beginning of a path
	Path            // a path on whatever host
	PathPart        // a part of a path on whatever host
	FileName        // the last element of a path
	Hash            // of a file: MD5, SHA-1, SHA-256
	Cert            // SHA-256 of a certificate
	JA3
	JA4
	Wallet
	UserAgent
	kinds
)

var kindNames = [kinds]string{"ip", "network", "ip:port", "domain", "domain:port", "url", "url prefix", "path", "path part", "file name", "file hash",
	"certificate", "ja3", "ja4", "wallet", "user agent"}

func (k Kind) String() string { return kindNames[min(k, kinds-1)] }

const (
	// MaxIndicators bounds a set: five million, and room for the copies that several feeds have of one. It is 128 MB of
	// entries. What is beyond is dropped and counted.
	MaxIndicators = 8 << 20
	// MaxPerFeed keeps one feed from crowding the others out.
	MaxPerFeed = 5 << 20
	// maxMetas bounds the different combinations of source, description and confidence. Beyond it an indicator keeps its
	// source alone.
	maxMetas = 1 << 18
	// maxParts bounds the parts of paths, each of which is looked for in every request.
	maxParts = 256
	// maxSources is how many sources of one indicator are named.
	maxSources = 8
	// fullBucket is the mean number of entries under one slot of the index: half a cache line's worth of probes.
	fullBucket = 4
	// corroborated is added to the confidence for each further source, up to certain.
	corroborated = 5
	certain      = 95
)

// entry is one indicator in 16 bytes: 64 bits of a hash of kind and value stand for it. With five million of them a
// look-up of what is no indicator finds one by chance once in 10^12 times.
type entry struct {
	hash  uint64
	meta  uint32
	seen  uint16 // day it was last seen, since 1970; 0: not known
	until uint16 // day on which it ends; 0: none
}

// meta is what many indicators have in common.
type meta struct {
	sources    [maxSources]uint16 // 0: none; otherwise an index into Set.sources
	desc       uint32
	shared     uint32 // description of whose it is; 0: nobody's
	confidence uint8
	kind       Kind
}

// Set is a set of indicators, ready for look-ups by any number of goroutines. It does not change.
type Set struct {
	most     table // all but networks
	nets     table // apart: an address is looked up in it once for each length of prefix that occurs
	metas    []meta
	texts    []string
	sources  []string
	prefixes [2][]uint8 // lengths of networks that occur: IPv4, IPv6, longest first
	parts    []part
	counts   [kinds]int
	Merged   int // indicators that several feeds, or several lines of one, have
	Dropped  int // beyond the bounds
}

type part struct {
	text  string
	entry entry
}

// Live is a set that can be exchanged while it is used.
type Live struct{ p atomic.Pointer[Set] }

// NewLive makes one that holds s.
func NewLive(s *Set) *Live {
	l := &Live{}
	l.Swap(s)
	return l
}

// Set gives the set that holds now.
func (l *Live) Set() *Set { return l.p.Load() }

// Swap puts s in place; look-ups that have begun finish with the old one.
func (l *Live) Swap(s *Set) { l.p.Store(s) }

// Hit is an indicator that was met.
type Hit struct {
	Kind       Kind
	Indicator  string
	Desc       string
	Sources    []string
	Confidence int           // 0..100, with age taken off
	Shared     string        // whose it is, if so many use it that it says nothing by itself
	Age        time.Duration // since it was last seen; 0 if not known
	Expired    bool
}

// seed is the program's own, so that nobody can make a name that is taken for another. Hashes are compared and never told, so that
// what is said is the same with any.
var seed = maphash.MakeSeed()

// salts set the hash of a value apart by its kind.
var salts = func() (s [kinds]uint64) {
	for k := range s {
		s[k] = maphash.String(seed, Kind(k).String())
	}
	return s
}()

func hashText(k Kind, v string) uint64 { return maphash.String(seed, v) ^ salts[k] }

// hashAddr covers addresses, networks (bits) and addresses with ports.
func hashAddr(k Kind, a netip.Addr, extra uint16) uint64 {
	var b [19]byte
	x := a.As16()
	copy(b[:], x[:])
	binary.BigEndian.PutUint16(b[16:], extra)
	if a.Is4() {
		b[18] = 4
	}
	return maphash.Bytes(seed, b[:]) ^ salts[k]
}

// table is a set of entries for look-ups by hash.
type table struct {
	entries []entry  // by hash
	index   []uint32 // by the upper bits of a hash: where its entries begin
	shift   uint
	filter  []uint64 // a bit for each hash by its lower bits: nearly all look-ups end here, with one read from memory
}

// filterBits is how many bits of the filter an entry has at least; one look-up in eight of what is not there passes.
const filterBits = 8

// makeTable sorts entries and indexes them; merge makes one of two with the same hash.
func makeTable(entries []entry, merge func(x, y entry) entry) table {
	slices.SortFunc(entries, func(x, y entry) int {
		return cmp.Or(cmp.Compare(x.hash, y.hash), cmp.Compare(x.meta, y.meta), cmp.Compare(x.seen, y.seen), cmp.Compare(x.until, y.until))
	})
	n := 0
	for _, e := range entries {
		if n > 0 && entries[n-1].hash == e.hash {
			entries[n-1] = merge(entries[n-1], e)
			continue
		}
		entries[n] = e
		n++
	}
	t := table{entries: entries[:n], shift: 63}
	if n == 0 {
		return t
	}
	buckets := 2
	for buckets*fullBucket < n {
		buckets, t.shift = buckets*2, t.shift-1
	}
	t.index = make([]uint32, buckets+1)
	at := 0
	for i := range t.index {
		for at < n && t.entries[at].hash>>t.shift < uint64(i) {
			at++
		}
		t.index[i] = uint32(at)
	}
	words := 1
	for words*64 < n*filterBits {
		words *= 2
	}
	t.filter = make([]uint64, words)
	for _, e := range t.entries {
		t.filter[e.hash>>6&uint64(words-1)] |= 1 << (e.hash & 63)
	}
	return t
}

// find gives the entry of a hash.
func (t *table) find(h uint64) (entry, bool) {
	if len(t.filter) == 0 || t.filter[h>>6&uint64(len(t.filter)-1)]>>(h&63)&1 == 0 {
		return entry{}, false
	}
	i := h >> t.shift
	for _, e := range t.entries[t.index[i]:t.index[i+1]] {
		if e.hash >= h {
			return e, e.hash == h
		}
	}
	return entry{}, false
}

func (t *table) memory() int {
	return cap(t.entries)*int(unsafe.Sizeof(entry{})) + 4*len(t.index) + 8*len(t.filter)
}

const dayNanos = 24 * int64(time.Hour)

func day(t capture.Time) int { return int(int64(t) / dayNanos) }

// halfLife is how long it takes an indicator of a kind to be worth half, in days: addresses are given to others, names
// are dropped and bought, while a digest or a wallet stays what it is.
var halfLife = [kinds]float64{IP: 180, Network: 365, IPPort: 365, Domain: 540, DomainPort: 540, URL: 365, URLPrefix: 540, Path: 540, PathPart: 540, FileName: 540}

// leastLeft is what age leaves of the confidence: who looks for a campaign of last year wants to hear of it.
const leastLeft = 0.4

func (s *Set) hit(k Kind, v string, e entry, now capture.Time) Hit {
	m := &s.metas[e.meta]
	h := Hit{Kind: k, Indicator: v, Desc: s.texts[m.desc], Confidence: int(m.confidence), Shared: s.texts[m.shared]}
	for _, i := range m.sources {
		if i != 0 {
			h.Sources = append(h.Sources, s.sources[i])
		}
	}
	today := day(now)
	h.Expired = e.until != 0 && today > int(e.until)
	if e.seen != 0 && today > int(e.seen) {
		age := float64(today - int(e.seen))
		h.Age = time.Duration(today-int(e.seen)) * 24 * time.Hour
		if l := halfLife[k]; l > 0 {
			h.Confidence = int(float64(h.Confidence) * max(exp2(-age/l), leastLeft))
		}
	}
	return h
}

// Text looks up a value of a kind as it is.
func (s *Set) Text(k Kind, v string, now capture.Time) (Hit, bool) {
	if v == "" || s == nil || s.counts[k] == 0 {
		return Hit{}, false
	}
	if e, ok := s.most.find(hashText(k, v)); ok {
		return s.hit(k, v, e, now), true
	}
	return Hit{}, false
}

// Addr looks up an address with its port, by itself, and in the networks, the narrowest first.
func (s *Set) Addr(a netip.AddrPort, now capture.Time) (Hit, bool) {
	ip := a.Addr().Unmap().WithZone("")
	if s == nil || !ip.IsValid() {
		return Hit{}, false
	}
	if s.counts[IPPort] > 0 {
		if e, ok := s.most.find(hashAddr(IPPort, ip, a.Port())); ok {
			return s.hit(IPPort, netip.AddrPortFrom(ip, a.Port()).String(), e, now), true
		}
	}
	if s.counts[IP] > 0 {
		if e, ok := s.most.find(hashAddr(IP, ip, 0)); ok {
			return s.hit(IP, ip.String(), e, now), true
		}
	}
	v6 := 0
	if !ip.Is4() {
		v6 = 1
	}
	for _, bits := range s.prefixes[v6] {
		p, _ := ip.Prefix(int(bits))
		if e, ok := s.nets.find(hashAddr(Network, p.Addr(), uint16(bits))); ok {
			return s.hit(Network, p.String(), e, now), true
		}
	}
	return Hit{}, false
}

// maxLabels is how many labels of a name, from its end, are tried: a name that is listed has at most six.
const maxLabels = 10

// Name looks up a host name, with its port if that is not 0, and the names above it, the longest first.
func (s *Set) Name(name string, port uint16, now capture.Time) (Hit, bool) {
	if s == nil || s.counts[Domain]+s.counts[DomainPort] == 0 {
		return Hit{}, false
	}
	name = strings.TrimSuffix(name, ".")
	if len(name) == 0 || len(name) > 253 {
		return Hit{}, false
	}
	name = strings.ToLower(name)
	if port != 0 && s.counts[DomainPort] > 0 {
		v := joinPort(name, port)
		if e, ok := s.most.find(hashText(DomainPort, v)); ok {
			return s.hit(DomainPort, v, e, now), true
		}
	}
	for n := strings.Count(name, "."); ; n-- {
		if n < maxLabels {
			if e, ok := s.most.find(hashText(Domain, name)); ok {
				return s.hit(Domain, name, e, now), true
			}
		}
		i := strings.IndexByte(name, '.')
		if i < 0 {
			return Hit{}, false
		}
		name = name[i+1:]
	}
}

// maxDepth is how many beginnings of a path are tried.
const maxDepth = 6

// URL looks up a request: host and port as they were addressed, and the target.
func (s *Set) URL(host string, port uint16, target string, now capture.Time) (Hit, bool) {
	if s == nil {
		return Hit{}, false
	}
	path, _, hasQuery := strings.Cut(target, "?")
	path, _, _ = strings.Cut(path, "#")
	if len(path) > maxValue || len(path) == 0 {
		return Hit{}, false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if s.counts[URL] > 0 {
		base := host
		if port != 0 && port != 80 && port != 443 {
			base = joinPort(host, port)
		}
		for _, v := range [2]string{target, path} {
			if h, ok := s.Text(URL, base+v, now); ok {
				return h, true
			}
			if !hasQuery {
				break
			}
		}
	}
	if s.counts[URLPrefix] > 0 {
		v := host + path
		for i, depth := len(host)+1, 0; i <= len(v) && depth < maxDepth; i++ {
			if i == len(v) || v[i] == '/' {
				depth++
				if h, ok := s.Text(URLPrefix, v[:i], now); ok {
					return h, true
				}
			}
		}
	}
	if s.counts[Path]+s.counts[FileName]+s.counts[PathPart] == 0 {
		return Hit{}, false
	}
	low := strings.ToLower(path)
	if h, ok := s.Text(Path, low, now); ok {
		return h, true
	}
	if h, ok := s.Text(FileName, low[strings.LastIndexByte(low, '/')+1:], now); ok {
		return h, true
	}
	for i := range s.parts {
		if p := &s.parts[i]; strings.Contains(low, p.text) {
			return s.hit(PathPart, p.text, p.entry, now), true
		}
	}
	return Hit{}, false
}

// Len is the number of indicators, Count of a kind.
func (s *Set) Len() int { return len(s.most.entries) + len(s.nets.entries) + len(s.parts) }

// Count is the number of indicators of a kind.
func (s *Set) Count(k Kind) int { return s.counts[k] }

// Memory is what the set takes, in bytes.
func (s *Set) Memory() int {
	n := s.most.memory() + s.nets.memory() + len(s.metas)*int(unsafe.Sizeof(meta{}))
	for _, t := range [2][]string{s.texts, s.sources} {
		for _, v := range t {
			n += len(v) + 16
		}
	}
	return n
}

// Builder collects indicators. Its zero value is not ready: NewBuilder.
type Builder struct {
	set     Set
	blocks  [][]entry // of blockLen, so that growing copies nothing
	nets    []entry
	n       int
	texts   map[string]uint32
	metas   map[meta]uint32
	lengths [2]map[uint8]bool // of networks: IPv4, IPv6
	shared  sharing
}

// NewBuilder makes an empty one.
func NewBuilder() *Builder {
	b := &Builder{texts: map[string]uint32{"": 0}, metas: map[meta]uint32{}, lengths: [2]map[uint8]bool{{}, {}}, shared: loadShared()}
	b.set.texts, b.set.sources = []string{""}, []string{""}
	return b
}

func (b *Builder) text(s string) uint32 {
	if i, ok := b.texts[s]; ok {
		return i
	}
	if len(b.set.texts) >= maxMetas {
		return 0
	}
	s = strings.Clone(s)
	i := uint32(len(b.set.texts))
	b.set.texts = append(b.set.texts, s)
	b.texts[s] = i
	return i
}

func (b *Builder) meta(m meta) uint32 {
	if i, ok := b.metas[m]; ok {
		return i
	}
	if len(b.set.metas) >= maxMetas {
		m = meta{sources: m.sources, shared: m.shared, confidence: m.confidence &^ 15, kind: m.kind}
		if i, ok := b.metas[m]; ok {
			return i
		}
	}
	i := uint32(len(b.set.metas))
	b.set.metas = append(b.set.metas, m)
	b.metas[m] = i
	return i
}

const blockLen = 1 << 16

func (b *Builder) add(k Kind, e entry) bool {
	if b.n >= MaxIndicators {
		b.set.Dropped++
		return false
	}
	b.n++
	if k == Network {
		b.nets = append(b.nets, e)
		return true
	}
	if n := len(b.blocks); n == 0 || len(b.blocks[n-1]) == blockLen {
		b.blocks = append(b.blocks, make([]entry, 0, min(blockLen, 64<<(2*min(n, 8)))))
	}
	last := &b.blocks[len(b.blocks)-1]
	*last = append(*last, e)
	return true
}

// Build sorts, merges what occurs more than once, and gives the set. The builder is empty afterwards.
func (b *Builder) Build() *Set {
	entries := make([]entry, 0, b.n-len(b.nets))
	for i, block := range b.blocks {
		entries = append(entries, block...)
		b.blocks[i] = nil
	}
	most, nets := makeTable(entries, b.merge), makeTable(b.nets, b.merge)
	s := b.set
	s.most, s.nets = most, nets
	for _, t := range [2]table{most, nets} {
		for _, e := range t.entries {
			s.counts[s.metas[e.meta].kind]++
		}
	}
	s.counts[PathPart] = len(s.parts)
	for v6, set := range b.lengths {
		for bits := range set {
			s.prefixes[v6] = append(s.prefixes[v6], bits)
		}
		slices.SortFunc(s.prefixes[v6], func(x, y uint8) int { return cmp.Compare(y, x) })
	}
	*b = *NewBuilder()
	return &s
}

// merge makes one of two entries of the same indicator: the later day, every source, the higher confidence and some
// more for each source.
func (b *Builder) merge(x, y entry) entry {
	b.set.Merged++
	if x.until != 0 && (y.until == 0 || y.until > x.until) {
		x.until = y.until
	}
	x.seen = max(x.seen, y.seen)
	if x.meta == y.meta {
		return x
	}
	m, o := b.set.metas[x.meta], b.set.metas[y.meta]
	best, further := max(m.confidence, o.confidence), uint8(0)
	for _, src := range o.sources {
		if i := slices.Index(m.sources[:], 0); src != 0 && i >= 0 && !slices.Contains(m.sources[:], src) {
			m.sources[i] = src
			further += corroborated
		}
	}
	m.confidence = max(best, min(best+further, certain))
	if m.desc == 0 {
		m.desc = o.desc
	}
	if m.shared == 0 {
		m.shared = o.shared
	}
	x.meta = b.meta(m)
	return x
}
