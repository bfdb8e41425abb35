package hub

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/raytap/raytap/fleet"
)

// places remembers which rows of a sensor's log came: the last fleet.Window of them one by one, and that all before were there.
// Sorted, the lowest first. A row before the lowest of a full window is taken for a repetition.
type places struct {
	all   []fleet.Place
	full  bool
	dirty bool // since it was kept
}

// add reports whether p is new, and notes it.
func (s *places) add(p fleet.Place) bool {
	i := len(s.all)
	if i > 0 && !s.all[i-1].Less(p) {
		var found bool
		if i, found = slices.BinarySearchFunc(s.all, p, compare); found || i == 0 && s.full {
			return false
		}
	}
	s.dirty = true
	if len(s.all) == fleet.Window {
		s.full = true
		copy(s.all, s.all[1:i])
		s.all[i-1] = p
		return true
	}
	if len(s.all) == cap(s.all) { // many logs have few rows, and those of a full window are never more
		s.all = slices.Grow(s.all, min(max(8, len(s.all)), fleet.Window-len(s.all)))
	}
	s.all = slices.Insert(s.all, i, p)
	return true
}

func compare(a, b fleet.Place) int {
	switch {
	case a.Less(b):
		return -1
	case b.Less(a):
		return 1
	}
	return 0
}

// MarshalBinary writes differences: of rows of one file these are short.
func (s *places) MarshalBinary() ([]byte, error) {
	b := []byte{1, 0}
	if s.full {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(len(s.all)))
	var last fleet.Place
	for _, p := range s.all {
		b = binary.AppendUvarint(b, p.Generation-last.Generation)
		off := p.Offset
		if p.Generation == last.Generation {
			off -= last.Offset
		}
		b = binary.AppendUvarint(b, off)
		last = p
	}
	return b, nil
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (s *places) UnmarshalBinary(b []byte) error {
	bad := errors.New("hub: the store's places are damaged")
	if len(b) < 2 || b[0] != 1 {
		return bad
	}
	s.full, b = b[1] == 1, b[2:]
	next := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			b = nil
			return 0
		}
		b = b[size:]
		return n
	}
	n := next()
	if n > fleet.Window {
		return bad
	}
	s.all = make([]fleet.Place, 0, n)
	var last fleet.Place
	for range n {
		if len(b) == 0 {
			return bad
		}
		gen := next()
		p := fleet.Place{Generation: last.Generation + gen, Offset: next()}
		if gen == 0 {
			p.Offset += last.Offset
		}
		s.all, last = append(s.all, p), p
	}
	return nil
}
