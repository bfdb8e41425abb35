package capture

import (
	"bytes"
	"slices"
	"time"
)

const (
	// maxDatagrams is how many incomplete packets are held at once, maxFragmentBytes what their fragments may take
	// together. A busy resolver has tens; the rest is room for those who send fragments that never become anything.
	maxDatagrams     = 4096
	maxFragmentBytes = 16 << 20
	// fragmentOverhead is what a fragment costs beyond its bytes, so that many small ones cannot exceed the bound.
	fragmentOverhead = 64
	// maxFragments of one packet: 65,535 bytes at the smallest MTU there is, 68 (RFC 791), are 1,366.
	maxFragments = 1400
	// fragmentTimeout is how long after its first fragment a packet can be completed. No receiver waits longer:
	// RFC 1122 section 3.3.2 says 60 to 120 seconds, RFC 8200 section 4.5 says 60. Zeek waits five minutes.
	fragmentTimeout = 120 * time.Second
	// fragmentGivenUp is when Linux, and with it what Ray runs on, may have given up (IP_FRAG_TIME is 30 s): from then on a
	// packet is put together a second time, without what came before. Windows and IPv6 wait for 60.
	fragmentGivenUp = 29 * time.Second

	// Zeek's bounds for what a fragment is ordinarily like.
	minOrdinaryFragment = 64
	maxOrdinaryFragment = 64000
	// maxDatagram is the largest packet there can be without a jumbo option, which cannot be fragmented (RFC 2675).
	maxDatagram = 0xffff
)

// fragment is what a header says of a fragment.
type fragment struct {
	id       uint32
	off      int // of its bytes in the payload of the packet
	more     bool
	dontFrag bool
	hdr      int // length of the headers in front of its bytes; IPv6: with the fragment header
}

// fragmentKey identifies a packet in fragments. proto is part of it for IPv4 (RFC 791 section 3.2) and 0 for IPv6, where
// only the first fragment is sure to tell (RFC 8200 section 4.5).
type fragmentKey struct {
	src, dst [16]byte
	id       uint32
	proto    uint8
	v6       bool
}

// datagram is a packet that is being put together.
type datagram struct {
	first Time // when its first fragment came
	head  Packet
	hdr   int     // length of the headers of the fragment that came first; IPv6: without the fragment header
	proto uint8   // what the fragments carry, by the one with offset 0 if it came, else by the one that came first
	size  int     // length of the payload; 0: not known
	parts []piece // sorted, disjoint
	held  int     // bytes and overhead of parts
	// again is what a receiver has that has thrown the first fragments away: after its time (fragmentGivenUp), or because two
	// overlap (Linux, inet_frag_queue_insert: IPFRAG_OVERLAP kills the queue, and the fragment with it). Both are completed,
	// and the checksum of what they carry tells which is a packet.
	again *datagram
	ttl   uint8 // the highest of its fragments
	done  bool  // completed; again goes on
	clash bool  // the fragment that came last shares bytes with others and has some of its own
}

type piece struct {
	off  int
	data []byte
}

func (p *piece) end() int { return p.off + len(p.data) }

// total is what both takes have.
func (g *datagram) total() int {
	n := g.held
	if g.again != nil {
		n += g.again.held
	}
	return n
}

// defragmenter holds incomplete packets. First copies win where fragments overlap.
type defragmenter struct {
	table lru[fragmentKey, datagram]
	held  int
	// kin counts the incomplete packets of the same addresses and id, whatever their protocol (key with proto 0).
	kin map[fragmentKey]int
}

func newDefragmenter() defragmenter {
	return defragmenter{table: newLRU[fragmentKey, datagram](maxDatagrams), kin: map[fragmentKey]int{}}
}

// drop forgets a packet.
func (t *defragmenter) drop(k fragmentKey, g *datagram) {
	t.held -= g.total()
	t.table.drop(k)
	k.proto = 0
	if t.kin[k]--; t.kin[k] <= 0 {
		delete(t.kin, k)
	}
}

// fragment takes p, the packet appended last, which is one fragment, away and appends the whole packet once all of it
// is there. Names and conditions of the weirds are Zeek's.
func (d *Dissector) fragment(p *Packet, f fragment) {
	d.stats.Fragments++
	frag := *p
	d.back()
	if len(frag.L4) < frag.L4Len {
		// Cut by the capture: nothing can come of it. The first fragment still has the ports.
		d.weirdIP(&frag, "incompletely_captured_fragment", "", "IP")
		d.stats.FragmentsLost++
		if f.off == 0 {
			frag.NoChecksum = true
			*d.next() = frag
			d.transport(&d.out[len(d.out)-1])
		}
		return
	}
	t := &d.frags
	d.expireFragments()

	k := fragmentKey{src: frag.Src, dst: frag.Dst, id: f.id, v6: frag.V6}
	hdr := f.hdr
	if frag.V6 {
		hdr -= 8
	} else {
		k.proto = frag.Proto
	}
	g := d.datagramOf(k, &frag, hdr)
	if !d.accepts(g, &frag, f, hdr) {
		d.stats.FragmentsLost++
		return
	}
	before := g.total()
	again := d.other(g, &frag, hdr)
	g.ttl = max(g.ttl, frag.TTL)
	if !g.done {
		g.done = d.take(g, &frag, f)
		if g.clash && g.again == nil {
			g.again = &datagram{}
			g.again.begin(d.now, frag, hdr)
		}
	}
	over := again != nil && d.take(again, &frag, f)
	t.held += g.total() - before
	if g.done && g.again == nil || over {
		t.drop(k, g)
		return
	}
	d.boundFragments(k)
}

// datagramOf returns the datagram that frag belongs to. One of an earlier time, or what is read beside it, may begin anew.
func (d *Dissector) datagramOf(k fragmentKey, frag *Packet, hdr int) *datagram {
	t := &d.frags
	g := t.table.get(k)
	if g != nil && d.now.Sub(g.first) > fragmentTimeout {
		d.stats.DatagramsExpired++
		if g.again != nil {
			t.held -= g.held
			*g = *g.again
		} else {
			t.drop(k, g)
			g = nil
		}
	}
	if g == nil {
		g = d.newDatagram(k)
		g.begin(d.now, *frag, hdr)
	} else if g.again == nil && d.now.Sub(g.first) > fragmentGivenUp {
		g.again = &datagram{}
		g.again.begin(d.now, *frag, hdr)
	}
	return g
}

// accepts reports whether a receiver puts frag into g, and tells its weirds. It cuts frag where the receiver does.
func (d *Dissector) accepts(g *datagram, frag *Packet, f fragment, hdr int) bool {
	if (frag.V6 && frag.Proto != g.proto) || hdr != g.hdr {
		d.weirdIP(frag, "fragment_protocol_inconsistency", "", "")
	}
	if f.dontFrag {
		d.weirdIP(frag, "fragment_with_DF", "", "")
	}
	end := f.off + frag.L4Len
	if f.more && frag.IPLen < minOrdinaryFragment {
		d.weirdIP(frag, "excessively_small_fragment", "", "")
	}
	if end > maxOrdinaryFragment {
		d.weirdIP(frag, "excessively_large_fragment", "", "")
		if g.hdr+end > maxDatagram {
			return false // the ping of death: no receiver puts this together
		}
	}
	if f.more && frag.L4Len%8 != 0 {
		// Linux cuts it (ip_frag_queue), and drops it in IPv6 (ip6_frag_queue).
		frag.L4Len &^= 7
		if frag.L4 = frag.L4[:frag.L4Len]; frag.V6 || frag.L4Len == 0 {
			return false
		}
	}
	return true
}

// other returns the second reading of g if frag belongs to it too. It begins one where fragments have different hops left:
// one of them may not arrive, which is the one with fewer.
func (d *Dissector) other(g *datagram, frag *Packet, hdr int) *datagram {
	if g.again == nil && frag.TTL != g.ttl {
		g.again = &datagram{}
		if frag.TTL > g.ttl {
			g.again.begin(d.now, *frag, hdr)
		} else {
			g.again.begin(g.first, g.head, g.hdr)
			g.again.proto, g.again.ttl = g.proto, g.ttl
			g.again.size, g.again.held, g.again.parts = g.size, g.held, slices.Clone(g.parts)
		}
	}
	again := g.again
	if again == nil || frag.TTL < again.ttl {
		return nil
	}
	again.ttl = frag.TTL
	return again
}

// begin sets g up for its first fragment.
func (g *datagram) begin(now Time, frag Packet, hdr int) {
	g.first, g.head, g.hdr, g.proto, g.ttl = now, frag, hdr, frag.Proto, frag.TTL
	g.head.L4 = nil
}

// take adds a fragment to g, appends the packet if that completes it, and reports whether g is over.
func (d *Dissector) take(g *datagram, frag *Packet, f fragment) (over bool) {
	end := f.off + frag.L4Len
	if f.off == 0 && (len(g.parts) == 0 || g.parts[0].off > 0) {
		g.proto = frag.Proto // a second copy is dropped, and what it says
	}
	if !f.more && g.size == 0 {
		g.size = end
	} else if g.size > 0 && (end > g.size || !f.more && end != g.size) {
		d.weirdIP(frag, "fragment_size_inconsistency", "", "")
		g.size = max(g.size, end)
	}
	if frag.L4Len == 0 {
		return false
	}
	if !d.insertFragment(g, frag, f.off) {
		d.stats.FragmentsLost++
		return true
	}
	n := d.completed(g)
	if n == 0 {
		return false
	}
	*d.next() = g.assemble(n, frag)
	d.stats.Reassembled++
	d.afterFragment(&d.out[len(d.out)-1])
	return true
}

// newDatagram makes room for k and adds it.
func (d *Dissector) newDatagram(k fragmentKey) *datagram {
	t := &d.frags
	if t.table.full() {
		d.evictDatagram()
	}
	kin := k
	kin.proto = 0
	if t.kin[kin]++; t.kin[kin] > 1 && !k.v6 {
		// Two protocols share an id. RFC 791 takes them for two packets, and so do receivers; Zeek, which puts them into
		// one, says the same of it.
		d.weirdIP(&Packet{Src: k.src, Dst: k.dst}, "fragment_protocol_inconsistency", "", "")
	}
	return t.table.put(k)
}

// evictDatagram forgets the packet whose last fragment is the oldest. It is told of once for every maxDatagrams.
func (d *Dissector) evictDatagram() {
	k, g, ok := d.frags.table.oldest()
	if !ok {
		return
	}
	if d.stats.DatagramsEvicted%maxDatagrams == 0 {
		d.weirdIP(&g.head, "fragment_table_full", "", "IP")
	}
	d.stats.DatagramsEvicted++
	d.frags.drop(k, g)
}

// boundFragments brings the held bytes under their bound, k last.
func (d *Dissector) boundFragments(keep fragmentKey) {
	t := &d.frags
	for t.held > maxFragmentBytes {
		if k, _, ok := t.table.oldest(); !ok || k == keep {
			return
		}
		d.evictDatagram()
	}
}

// expireFragments forgets what is too old, as far as it stands at the old end of the table.
func (d *Dissector) expireFragments() {
	for {
		k, g, ok := d.frags.table.oldest()
		if !ok || d.now.Sub(g.first) <= fragmentTimeout || g.again != nil && d.now.Sub(g.again.first) <= fragmentTimeout {
			return
		}
		d.stats.DatagramsExpired++
		d.frags.drop(k, g)
	}
}

// insertFragment copies what is new of a fragment into g, and says whether g is still worth keeping.
func (d *Dissector) insertFragment(g *datagram, frag *Packet, off int) bool {
	b := frag.L4
	overlap, differ, fresh := false, false, false // fresh: it has bytes that no other had
	i, found := slices.BinarySearchFunc(g.parts, off, func(p piece, off int) int { return p.off - off })
	if !found && i > 0 && g.parts[i-1].end() > off {
		i--
	}
	for len(b) > 0 {
		n := len(b)
		if i < len(g.parts) {
			q := &g.parts[i]
			if q.off <= off {
				n = min(n, q.end()-off)
				overlap = true
				at := off - q.off
				differ = differ || !bytes.Equal(q.data[at:at+n], b[:n])
				off, b = off+n, b[n:]
				i++
				continue
			}
			n = min(n, q.off-off)
		}
		if len(g.parts) >= maxFragments {
			d.weirdIP(frag, "exceeded_fragments_per_packet", "", "IP")
			return false
		}
		fresh = true
		g.parts = slices.Insert(g.parts, i, piece{off, bytes.Clone(b[:n])})
		g.held += n + fragmentOverhead
		off, b = off+n, b[n:]
		i++
	}
	g.clash = overlap && fresh
	switch {
	case differ:
		d.weirdIP(&g.head, "fragment_inconsistency", "", "")
	case overlap:
		d.weirdIP(&g.head, "fragment_overlap", "", "")
	}
	return true
}

// completed gives the length of the payload if all of it is there, else 0.
func (d *Dissector) completed(g *datagram) int {
	if g.size == 0 || g.parts[0].off > 0 {
		return 0
	}
	end, i := 0, 0
	for i < len(g.parts) && g.parts[i].off == end {
		end = g.parts[i].end()
		i++
	}
	if end < g.size {
		return 0
	}
	if i < len(g.parts) || end > g.size {
		// There is more than the last fragment allowed for.
		d.weirdIP(&g.head, "fragment_size_inconsistency", "", "")
	}
	return end
}

// assemble makes the packet out of the first n bytes of payload. It has the time and the tunnel of the fragment that
// completed it, and the length that it had before it was cut up: one header and the payload.
func (g *datagram) assemble(n int, last *Packet) Packet {
	b := make([]byte, 0, n)
	for _, q := range g.parts {
		if q.off >= n {
			break
		}
		b = append(b, q.data...)
	}
	p := g.head
	p.Time, p.Clock, p.Ordinal, p.Tunnel = last.Time, last.Clock, last.Ordinal, last.Tunnel
	p.Proto = g.proto
	p.IPLen, p.L4, p.L4Len = g.hdr+n, b, n
	return p
}

// afterFragment goes on behind the fragment header of p, the packet appended last.
func (d *Dissector) afterFragment(p *Packet) {
	if p.V6 && isExtension(p.Proto) {
		x := extensions{next: p.Proto}
		for isExtension(x.next) {
			n := d.extensions(p, &x, p.L4)
			if n == 0 {
				break
			}
			p.L4, p.L4Len = p.L4[n:], p.L4Len-n
			if x.frag && (x.off != 0 || x.more) {
				// A fragment of a fragment: RFC 8200 section 4.5 puts nothing together twice.
				d.dropIP(p, "nested_fragment", "IP")
				d.back()
				return
			}
		}
		p.Proto, p.NoChecksum = x.next, p.NoChecksum || x.noChecksum
	}
	d.transport(p)
}
