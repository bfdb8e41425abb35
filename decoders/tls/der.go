package tls

// A reader of DER that takes what OpenSSL takes: lengths that are longer than they need be, and values whose contents
// nobody asked for. Indefinite lengths, which no certificate has, it refuses.

// Tags (X.690 section 8.1.2).
const (
	tagBool     = 0x01
	tagInt      = 0x02
	tagBits     = 0x03
	tagOctets   = 0x04
	tagOID      = 0x06
	tagUTF8     = 0x0C
	tagIA5      = 0x16
	tagUTCTime  = 0x17
	tagGenTime  = 0x18
	tagSequence = 0x30
	tagSet      = 0x31
)

// element is one value: its tag, its contents, and all of it. Both are borrowed.
type element struct {
	tag  byte
	body []byte
	all  []byte
}

// next takes an element off the front of b. Not ok says that there is none that is whole.
func next(b []byte) (e element, rest []byte, ok bool) {
	if len(b) < 2 || b[0]&0x1F == 0x1F {
		return e, nil, false
	}
	n, head := int(b[1]), 2
	if n >= 0x80 {
		octets := n & 0x7F
		// Four octets of length are 4 GiB; what is behind is checked against what there is.
		if octets == 0 || octets > 4 || len(b) < 2+octets {
			return e, nil, false
		}
		var long uint64
		for _, c := range b[2 : 2+octets] {
			long = long<<8 | uint64(c)
		}
		if long > uint64(len(b)) {
			return e, nil, false
		}
		n, head = int(long), 2+octets
	}
	if n > len(b)-head {
		return e, nil, false
	}
	return element{b[0], b[head : head+n : head+n], b[: head+n : head+n]}, b[head+n:], true
}

// want takes an element of a tag off the front of *b.
func want(b *[]byte, tag byte) ([]byte, bool) {
	e, rest, ok := next(*b)
	if !ok || e.tag != tag {
		return nil, false
	}
	*b = rest
	return e.body, true
}

// optional takes an element of a tag off the front of *b, if that is what is there.
func optional(b *[]byte, tag byte) ([]byte, bool) {
	if len(*b) == 0 || (*b)[0] != tag {
		return nil, false
	}
	return want(b, tag)
}

// smallInt reads a non-negative INTEGER of at most four octets.
func smallInt(b []byte) (int, bool) {
	if len(b) == 0 || len(b) > 4 || b[0] >= 0x80 {
		return 0, false
	}
	n := 0
	for _, c := range b {
		n = n<<8 | int(c)
	}
	return n, true
}
