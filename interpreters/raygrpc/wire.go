package raygrpc

// wire reads the fields of a protobuf message one after the other. It never looks behind its bytes: a field that
// promises more than there is gives what is there and ends the walk.
type wire struct {
	b   []byte
	bad bool // malformed
	cut bool // the last field is not all there
}

// field is one field; of varint and fixed kinds num is set, of length-delimited ones data.
type field struct {
	id   int
	kind int // wire type
	num  uint64
	data []byte
}

// Wire types. Groups (3 and 4) are malformed here: no message of Ray has any.
const (
	varint  = 0
	fixed64 = 1
	lenDel  = 2
	fixed32 = 5
)

func (w *wire) next() (f field, ok bool) {
	if len(w.b) == 0 || w.bad {
		return f, false
	}
	tag, ok := w.varint()
	if !ok || tag>>3 == 0 || tag>>3 > 1<<29-1 {
		w.bad = true
		return f, false
	}
	f.id, f.kind = int(tag>>3), int(tag&7)
	switch f.kind {
	case varint:
		if f.num, ok = w.varint(); !ok {
			w.bad = true
			return f, false
		}
	case fixed64, fixed32:
		n := 8
		if f.kind == fixed32 {
			n = 4
		}
		if len(w.b) < n {
			w.bad = true
			return f, false
		}
		for i := n - 1; i >= 0; i-- {
			f.num = f.num<<8 | uint64(w.b[i])
		}
		w.b = w.b[n:]
	case lenDel:
		n, ok := w.varint()
		if !ok {
			w.bad = true
			return f, false
		}
		if n > uint64(len(w.b)) {
			w.cut = true
			n = uint64(len(w.b))
		}
		f.data, w.b = w.b[:n:n], w.b[n:]
	default:
		w.bad = true
		return f, false
	}
	return f, true
}

func (w *wire) varint() (n uint64, ok bool) {
	for i := 0; i < len(w.b) && i < 10; i++ {
		c := w.b[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			w.b = w.b[i+1:]
			return n, true
		}
	}
	return 0, false
}

// at gives the field at the end of a path of field numbers, the last one where a number repeats, as protobuf reads
// what is not a list.
func at(b []byte, path ...int) (f field, ok bool) {
	for i, id := range path {
		w := wire{b: b}
		ok = false
		for {
			x, more := w.next()
			if !more {
				break
			}
			if x.id == id && (x.kind == lenDel || i == len(path)-1) {
				f, ok = x, true
			}
		}
		if !ok {
			return field{}, false
		}
		b = f.data
	}
	return f, ok
}

// bytesAt gives the bytes of a field, borrowed; nil if there are none.
func bytesAt(b []byte, path ...int) []byte {
	if f, ok := at(b, path...); ok && f.kind == lenDel {
		return f.data
	}
	return nil
}

// numAt gives a number, 0 (which is what an absent one means) if there is none.
func numAt(b []byte, path ...int) uint64 {
	if f, ok := at(b, path...); ok && f.kind != lenDel {
		return f.num
	}
	return 0
}

// has says whether a field is there.
func has(b []byte, path ...int) bool {
	_, ok := at(b, path...)
	return ok
}

// all calls f for the bytes of each field with a number, at most limit times.
func all(b []byte, id, limit int, f func([]byte)) {
	w := wire{b: b}
	for {
		x, ok := w.next()
		if !ok {
			return
		}
		if x.id == id && x.kind == lenDel {
			if limit--; limit < 0 {
				return
			}
			f(x.data)
		}
	}
}

// shape says that b is one well-formed message, perhaps cut, and which of its fields (up to 63) it has by kind.
type shape struct {
	num, data uint64 // sets of field numbers
	fields    int
}

func shapeOf(b []byte, cut bool) (s shape, ok bool) {
	w := wire{b: b}
	for {
		f, more := w.next()
		if !more {
			return s, !w.bad && (!w.cut || cut) || w.bad && cut && s.fields > 1
		}
		if f.id > 63 {
			return s, false
		}
		if f.kind == lenDel {
			s.data |= 1 << f.id
		} else {
			s.num |= 1 << f.id
		}
		s.fields++
	}
}

// only says that the message has no fields but those of the sets.
func (s shape) only(num, data uint64) bool { return s.num&^num == 0 && s.data&^data == 0 }

// bits makes a set of field numbers.
func bits(ids ...int) (s uint64) {
	for _, i := range ids {
		s |= 1 << i
	}
	return s
}
