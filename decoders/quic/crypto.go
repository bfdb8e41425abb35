package quic

import "slices"

// span is a piece of a stream that is there: from, to.
type span struct{ from, to int }

// crypto is the CRYPTO stream of one direction: the handshake messages, in pieces that come in any order.
type crypto struct {
	buf   []byte
	spans []span // what is there, ascending, none touching another
	next  int    // beginning of the message to read next
	over  bool   // there was more than is kept
}

// Frame types (RFC 9000 section 19) that an Initial packet may have.
const (
	framePadding = 0x00
	framePing    = 0x01
	frameAck     = 0x02
	frameAckECN  = 0x03
	frameCrypto  = 0x06
)

// frames takes the CRYPTO frames out of a packet's payload and says whether there was anything new.
func (c *crypto) frames(b []byte) (news bool) {
	num := func() (uint64, bool) {
		v, n := varint(b)
		b = b[n:]
		return v, n > 0
	}
	for len(b) > 0 {
		typ := b[0]
		b = b[1:]
		switch typ {
		case framePadding, framePing:
		case frameAck, frameAckECN:
			num() // largest
			num() // delay
			ranges, ok := num()
			if _, ok2 := num(); !ok || !ok2 || ranges > uint64(len(b)/2) {
				return news
			}
			more := 2 * ranges
			if typ == frameAckECN {
				more += 3
			}
			for range more {
				if _, ok := num(); !ok {
					return news
				}
			}
		case frameCrypto:
			from, ok1 := num()
			n, ok2 := num()
			if !ok1 || !ok2 || n > uint64(len(b)) {
				return news
			}
			data := b[:n]
			b = b[n:]
			if from > maxHello || from+n > maxHello {
				c.over = true
				continue
			}
			news = c.add(int(from), data) || news
		default:
			return news // CONNECTION_CLOSE ends it; others do not belong here
		}
	}
	return news
}

// add puts a piece in its place; what is there already stays. It says whether any of it was new.
func (c *crypto) add(from int, data []byte) bool {
	to := from + len(data)
	if len(data) == 0 {
		return false
	}
	if len(c.spans) >= maxSpans {
		c.over = true
		return false
	}
	if len(c.buf) < to {
		c.buf = append(c.buf, make([]byte, to-len(c.buf))...)
	}
	// Fill the holes between the spans that are there.
	at, news := from, false
	for _, s := range c.spans {
		if s.from >= to {
			break
		}
		if s.from > at {
			copy(c.buf[at:s.from], data[at-from:])
			news = true
		}
		at = max(at, s.to)
	}
	if at < to {
		copy(c.buf[at:to], data[at-from:])
		news = true
	}
	c.spans = append(c.spans, span{from, to})
	slices.SortFunc(c.spans, func(a, b span) int { return a.from - b.from })
	merged := c.spans[:1]
	for _, s := range c.spans[1:] {
		if last := &merged[len(merged)-1]; s.from <= last.to {
			last.to = max(last.to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	c.spans = merged
	return news
}

// message gives the next handshake message that is whole; nil if there is none yet. It is valid until the next add.
func (c *crypto) message() []byte {
	if len(c.spans) == 0 || c.spans[0].from > 0 {
		return nil
	}
	b := c.buf[c.next:c.spans[0].to]
	if len(b) < 4 {
		return nil
	}
	n := 4 + (int(b[1])<<16 | int(b[2])<<8 | int(b[3]))
	if len(b) < n {
		return nil
	}
	c.next += n
	return b[:n]
}
