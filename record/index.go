package record

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/raytap/raytap/capture"
)

// The index of a segment says where its chunks are, and whether it may have packets of a flow, by UID, Community ID and
// addresses: a Bloom filter, of which a look-up reads 64 bytes for each name. Where it may, the directories of the chunks
// say the rest. So a flow is found in a thousand segments with two short reads of each, and the index costs a flow some
// tens of nanoseconds and six bytes. (Sorted tables were tried: they took half as long again as all that a sensor does
// with short connections.)
//
//	mark; uint32 length and CRC-32C of the head; head: size of the segment, counts, interfaces, chunks, blocks; the blocks.
//
// All that is in it comes from the directories, so that it can be made anew at any time. Each part has a checksum; a block
// that is damaged says of every flow that it may be there.
var indexMark = [8]byte{'R', 't', 'I', 'n', 'd', 'e', 'x', '2'}

const (
	// A block of the filter: a line of a processor's cache, of which the last four bytes are a checksum.
	blockSize = 64
	blockBits = (blockSize - 4) * 8
	// With 12 bits and six probes for a key, one flow in a hundred is looked for in vain (Putze, Sanders and Singler,
	// Cache-, Hash- and Space-Efficient Bloom Filters, 2009).
	bitsPerKey = 12
	probes     = 6
	// A head is longer only if it is none: a chunk takes 40 bytes.
	maxIndexHead = 16 << 20
)

var errIndex = errors.New("record: damaged index")

// Keys of the filter.

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

// parseCommunity reads a Community ID; what is none gives zeros.
func parseCommunity(id string) (sum [20]byte) {
	if b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(id, "1:")); err == nil && len(b) == len(sum) {
		copy(sum[:], b)
	}
	return sum
}

func communityKey(sum [20]byte) uint64 { return binary.LittleEndian.Uint64(sum[:]) }

func addrKey(a netip.Addr) uint64 {
	b := a.As16()
	return xxhash.Sum64(b[:])
}

// appendKeys appends the keys of a flow.
func appendKeys(keys []uint64, n *capture.FlowName) []uint64 {
	return append(keys, nameKey(n), communityKey(n.Community()), xxhash.Sum64(n[0:16]), xxhash.Sum64(n[16:32]))
}

// spread makes evenly spread bits of a key: some are sums already, others are below 62^10.
func spread(key uint64) uint64 {
	key ^= key >> 31
	key *= 0x9e3779b97f4a7c15
	return key ^ key>>29
}

// blockOf is the block of a spread key.
func blockOf(h uint64, blocks int) int { return int((h >> 32) * uint64(blocks) >> 32) }

// fits says whether a block may have the key; with set it has it from then on.
func fits(block []byte, h uint64, set bool) bool {
	a, b := uint32(h), uint32(h>>17)|1
	for range probes {
		bit := a % blockBits
		a += b
		if set {
			block[bit/8] |= 1 << (bit % 8)
		} else if block[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}

// buildIndex makes the index of a segment of size bytes.
func buildIndex(size int64, places []place, keys []uint64, counts Counts, links []uint16) []byte {
	blocks := (len(keys)*bitsPerKey + blockBits - 1) / blockBits
	le := binary.LittleEndian
	head := binary.AppendUvarint(nil, uint64(size))
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
	head = binary.AppendUvarint(head, uint64(blocks))
	out := make([]byte, 0, 16+len(head)+blocks*blockSize)
	out = append(out, indexMark[:]...)
	out = le.AppendUint32(out, uint32(len(head)))
	out = le.AppendUint32(out, crcOf(head))
	out = append(out, head...)
	at := len(out)
	out = out[:at+blocks*blockSize]
	filter := out[at:]
	for _, k := range keys {
		h := spread(k)
		i := blockOf(h, blocks) * blockSize
		fits(filter[i:i+blockSize-4], h, true)
	}
	for ; len(filter) > 0; filter = filter[blockSize:] {
		le.PutUint32(filter[blockSize-4:], crcOf(filter[:blockSize-4]))
	}
	return out
}

// index is one that is read.
type index struct {
	r       io.ReaderAt
	segment int64 // the segment's length when it was made
	counts  Counts
	links   []uint16
	places  []place
	filter  int64 // where its blocks are
	blocks  int
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
	if b = b[16 : 16+long]; crcOf(b) != sum {
		return nil, errIndex
	}
	x := &index{r: r, filter: int64(16 + long)}
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
		if p.length < 0 || p.length > maxChunk || p.packed < 0 || p.packed > maxChunk {
			return nil, errIndex
		}
	}
	x.blocks = int(h.uvarint())
	if h.bad || x.blocks < 0 {
		return nil, errIndex
	}
	return x, nil
}

// may says whether the segment may have a flow with the key.
func (x *index) may(key uint64) bool {
	if x.blocks == 0 {
		return false
	}
	h := spread(key)
	var b [blockSize]byte
	if _, err := x.r.ReadAt(b[:], x.filter+int64(blockOf(h, x.blocks))*blockSize); err != nil {
		return true
	}
	if crcOf(b[:blockSize-4]) != binary.LittleEndian.Uint32(b[blockSize-4:]) {
		return true
	}
	return fits(b[:blockSize-4], h, false)
}
