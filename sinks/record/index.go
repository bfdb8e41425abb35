package record

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/netip"
	"slices"
	"sort"

	"github.com/cespare/xxhash/v2"

	"github.com/raytap/raytap/capture"
)

// The index of a segment says where the packets of a flow are, by its UID, Community ID and addresses. All that is in it
// comes from the segment's directories, so that it can be made anew at any time. Every part has a checksum, so that a
// look-up, which reads three or four parts of some kilobytes, never believes a damaged one.
//
//	mark; uint32 length and CRC-32C of the head; head: chunks, interfaces, counts, where the tables are and how each of
//	their pages begins; the tables, sorted pairs of uint64 key and uint32 place of a flow; the flows.
var indexMark = [8]byte{'R', 't', 'I', 'n', 'd', 'e', 'x', '1'}

const (
	// Pairs of a page.
	pageSize = 256
	pairSize = 12
	// A head is longer only if it is none: chunks take 40 bytes, pages 12.
	maxIndexHead = 64 << 20
)

// Tables of an index.
const (
	byUID = iota
	byCommunity
	byAddr
	tables
)

var errIndex = errors.New("record: damaged index")

// uidKey is the number that the first ten digits of a UID are of; of what is no UID it is 0.
func uidKey(uid string) uint64 {
	if len(uid) < 11 {
		return 0
	}
	var n uint64
	for i := 10; i > 0; i-- {
		c := uid[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'A' && c <= 'Z':
			c -= 'A' - 10
		case c >= 'a' && c <= 'z':
			c -= 'a' - 36
		default:
			return 0
		}
		n = n*62 + uint64(c)
	}
	return n
}

func nameKey(n *capture.FlowName) uint64 {
	const ten = 839299365868340224 // 62^10
	return xxhash.Sum64(n[:]) % ten
}

func communityKey(id string) uint64 { return xxhash.Sum64String(id) }

func addrKey(a netip.Addr) uint64 {
	b := a.As16()
	return xxhash.Sum64(b[:])
}

type pair struct {
	key  uint64
	flow uint32
}

// buildIndex makes the index of a segment of size bytes.
func buildIndex(size int64, places []place, all []*directory) []byte {
	type found struct{ chunk, flow int }
	flows := map[capture.FlowName][]found{}
	var names []capture.FlowName
	var counts Counts
	var links []uint16
	for i, d := range all {
		counts.Add(&d.counts)
		if len(d.links) > len(links) {
			links = d.links
		}
		for j := range d.flows {
			if len(d.flows[j].frames) == 0 {
				continue
			}
			n := d.flows[j].name
			if flows[n] == nil {
				names = append(names, n)
			}
			flows[n] = append(flows[n], found{i, j})
		}
	}
	var body []byte
	var lists [tables][]pair
	for i := range names {
		n := &names[i]
		at := uint32(len(body))
		body = append(body, 0, 0, 0, 0, 0, 0, 0, 0)
		body = appendName(body, n)
		in := flows[*n]
		body = binary.AppendUvarint(body, uint64(len(in)))
		before := 0
		for _, x := range in {
			d := all[x.chunk]
			body = binary.AppendUvarint(body, uint64(x.chunk-before))
			before = x.chunk
			frames := d.flows[x.flow].frames
			body = binary.AppendUvarint(body, uint64(len(frames)))
			var last uint32
			for _, f := range frames {
				body = binary.AppendUvarint(body, uint64(d.at[f]-last)/4)
				last = d.at[f]
			}
		}
		binary.LittleEndian.PutUint32(body[at:], crc32.Checksum(body[at+8:], castagnoli))
		binary.LittleEndian.PutUint32(body[at+4:], uint32(len(body))-at-8)
		a, b := n.Ends()
		lists[byUID] = append(lists[byUID], pair{nameKey(n), at})
		lists[byCommunity] = append(lists[byCommunity], pair{communityKey(n.Flow().CommunityID()), at})
		lists[byAddr] = append(lists[byAddr], pair{addrKey(a.Addr()), at})
		if a.Addr() != b.Addr() {
			lists[byAddr] = append(lists[byAddr], pair{addrKey(b.Addr()), at})
		}
	}
	le := binary.LittleEndian
	var head, pages []byte
	head = binary.AppendUvarint(head, uint64(size))
	head = counts.append(head)
	head = binary.AppendUvarint(head, uint64(len(links)))
	for _, l := range links {
		head = binary.AppendUvarint(head, uint64(l))
	}
	head = binary.AppendUvarint(head, uint64(len(places)))
	for i := range places {
		p := &places[i]
		head = binary.AppendUvarint(head, uint64(p.at))
		head = binary.AppendUvarint(head, uint64(p.data))
		head = le.AppendUint64(head, p.run)
		head = binary.AppendVarint(head, int64(p.first))
		head = binary.AppendVarint(head, int64(p.last))
		head = binary.AppendUvarint(head, p.from)
		head = binary.AppendUvarint(head, p.to)
		head = binary.AppendUvarint(head, uint64(p.length))
		head = binary.AppendUvarint(head, uint64(p.packed))
	}
	for _, list := range lists {
		slices.SortFunc(list, func(a, b pair) int {
			return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.flow, b.flow))
		})
		head = binary.AppendUvarint(head, uint64(len(pages)))
		head = binary.AppendUvarint(head, uint64(len(list)))
		for len(list) > 0 {
			page := list[:min(pageSize, len(list))]
			list = list[len(page):]
			at := len(pages)
			for _, p := range page {
				pages = le.AppendUint64(pages, p.key)
				pages = le.AppendUint32(pages, p.flow)
			}
			head = le.AppendUint64(head, page[0].key)
			head = le.AppendUint32(head, crc32.Checksum(pages[at:], castagnoli))
		}
	}
	head = binary.AppendUvarint(head, uint64(len(pages)))
	head = binary.AppendUvarint(head, uint64(len(body)))
	out := append([]byte(nil), indexMark[:]...)
	out = le.AppendUint32(out, uint32(len(head)))
	out = le.AppendUint32(out, crc32.Checksum(head, castagnoli))
	out = append(out, head...)
	out = append(out, pages...)
	return append(out, body...)
}

// table is where a sorted list is.
type table struct {
	at    int64
	n     int
	first []uint64 // keys of pages
	sums  []uint32
}

// index is one that is read.
type index struct {
	r       io.ReaderAt
	segment int64 // the segment's length when it was made
	counts  Counts
	links   []uint16
	places  []place
	tables  [tables]table
	body    int64
	length  int64 // of the flows
}

// openIndex reads the head of an index.
func openIndex(r io.ReaderAt) (*index, error) {
	const guess = 16 << 10
	b := make([]byte, guess)
	n, err := r.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if b = b[:n]; n < 16 || !bytes.Equal(b[:8], indexMark[:]) {
		return nil, errIndex
	}
	long, sum := int(binary.LittleEndian.Uint32(b[8:])), binary.LittleEndian.Uint32(b[12:])
	if long > maxIndexHead {
		return nil, errIndex
	}
	if 16+long > len(b) {
		more := make([]byte, 16+long-len(b))
		if m, err := r.ReadAt(more, int64(len(b))); m < len(more) {
			return nil, errors.Join(errIndex, err)
		}
		b = append(b, more...)
	}
	if b = b[16 : 16+long]; crc32.Checksum(b, castagnoli) != sum {
		return nil, errIndex
	}
	x := &index{r: r}
	h := reader{b: b}
	x.segment = int64(h.uvarint())
	x.counts = h.counts()
	for range h.count(1) {
		x.links = append(x.links, uint16(h.uvarint()))
	}
	x.places = make([]place, h.count(16))
	for i := range x.places {
		p := &x.places[i]
		p.at, p.data = int64(h.uvarint()), int64(h.uvarint())
		p.run = h.u64()
		p.first, p.last = capture.Time(h.varint()), capture.Time(h.varint())
		p.from, p.to = h.uvarint(), h.uvarint()
		p.length, p.packed = int(h.uvarint()), int(h.uvarint())
	}
	begin := int64(16 + long)
	for i := range x.tables {
		t := &x.tables[i]
		t.at, t.n = begin+int64(h.uvarint()), int(h.uvarint())
		for range (t.n + pageSize - 1) / pageSize {
			if h.bad {
				break
			}
			t.first, t.sums = append(t.first, h.u64()), append(t.sums, h.u32())
		}
	}
	x.body = begin + int64(h.uvarint())
	x.length = int64(h.uvarint())
	if h.bad {
		return nil, errIndex
	}
	return x, nil
}

// look gives the places of flows under a key.
func (x *index) look(which int, key uint64) (flows []uint32, err error) {
	t := &x.tables[which]
	for p := max(sort.Search(len(t.first), func(i int) bool { return t.first[i] >= key })-1, 0); p < len(t.first) && t.first[p] <= key; p++ {
		b := make([]byte, min(pageSize, t.n-p*pageSize)*pairSize)
		if n, err := x.r.ReadAt(b, t.at+int64(p)*pageSize*pairSize); n < len(b) {
			return nil, errors.Join(errIndex, err)
		}
		if crc32.Checksum(b, castagnoli) != t.sums[p] {
			return nil, errIndex
		}
		for ; len(b) > 0; b = b[pairSize:] {
			if binary.LittleEndian.Uint64(b) == key {
				flows = append(flows, binary.LittleEndian.Uint32(b[8:]))
			}
		}
	}
	return flows, nil
}

// where is a block: in which chunk, and where in it.
type where struct {
	chunk int
	at    uint32
}

// indexed is a flow of an index.
type indexed struct {
	name capture.FlowName
	list []byte // of its blocks, coded
}

func (x *index) flow(at uint32) (*indexed, error) {
	b := make([]byte, 512)
	n, err := x.r.ReadAt(b, x.body+int64(at))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	f, long, ok := parseIndexed(b[:n])
	if !ok && long > 0 && int64(at)+int64(long) <= x.length {
		b = make([]byte, long)
		if n, err := x.r.ReadAt(b, x.body+int64(at)); n < long {
			return nil, errors.Join(errIndex, err)
		}
		f, _, ok = parseIndexed(b)
	}
	if !ok {
		return nil, errIndex
	}
	return f, nil
}

// parseIndexed reads a flow; long is how much of b it takes, or would.
func parseIndexed(b []byte) (f *indexed, long int, ok bool) {
	if len(b) < 8 {
		return nil, 0, false
	}
	long = 8 + int(binary.LittleEndian.Uint32(b[4:]))
	if long > len(b) {
		return nil, long, false
	}
	if crc32.Checksum(b[8:long], castagnoli) != binary.LittleEndian.Uint32(b) {
		return nil, 0, false
	}
	r := reader{b: b[8:long]}
	f = &indexed{name: r.name()}
	f.list = r.b
	return f, long, !r.bad
}

// all calls fn for every flow.
func (x *index) all(fn func(*indexed)) error {
	b := make([]byte, x.length)
	if n, err := x.r.ReadAt(b, x.body); int64(n) < x.length {
		return errors.Join(errIndex, err)
	}
	for len(b) > 0 {
		f, long, ok := parseIndexed(b)
		if !ok {
			return errIndex
		}
		fn(f)
		b = b[long:]
	}
	return nil
}

// blocks lists where the flow's packets are.
func (f *indexed) blocks(places []place) (all []where, err error) {
	r := reader{b: f.list}
	chunk := 0
	for range r.count(2) {
		chunk += int(r.uvarint())
		at := uint64(0)
		for range r.count(1) {
			at += r.uvarint() * 4
			if chunk >= len(places) || at >= uint64(places[chunk].length) {
				return nil, fmt.Errorf("%w: a packet beyond its chunk", errIndex)
			}
			all = append(all, where{chunk, uint32(at)})
		}
	}
	if r.bad {
		return nil, errIndex
	}
	return all, nil
}
