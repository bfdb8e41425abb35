package decoders

import "github.com/raytap/raytap/capture"

// Skipper is a Decoder that knows which of the bytes to come it only counts.
type Skipper interface {
	Decoder
	// Unwanted says how many of the next bytes of dir are only counted, capture.Unending for all that come. It is asked when
	// nothing is held of either direction. What it rests on must not change by bytes of the other direction that are
	// unwanted, too.
	Unwanted(dir capture.Dir) int64
	// Passed says that n of them have passed, fewer than Unwanted said.
	Passed(dir capture.Dir, n int64)
}

// Unwanted implements capture.Skipper. Of a stream that is looked at where segments begin, all bytes are unwanted but
// those of segments that may be a beginning.
func (m *Mux) Unwanted(dir capture.Dir) (n int64, watch bool) {
	if m.swapped {
		dir = dir.Peer()
	}
	switch {
	case m.Idle() && (m.only == 0 || m.looked() == 0):
		return capture.Unending, false
	case m.Idle() && m.begun():
		return capture.Unending, true
	case m.state == decoding && len(m.held[0])+len(m.held[1]) == 0:
		s, ok := m.dec.(Skipper)
		switch {
		case !ok:
		case !m.doubted():
			return s.Unwanted(dir), false
		case m.late() == nil && m.begun():
			return s.Unwanted(dir), true
		}
	}
	return 0, false
}

// begun reports whether later beginnings are only those that Beginnings has: those within lines are not looked for any more.
func (m *Mux) begun() bool {
	return m.seen >= lineLimit || m.refused >= lineTries || m.looked()&m.set.lines == 0
}

// Passed implements capture.Skipper.
func (m *Mux) Passed(n, run [2]uint64) {
	if m.swapped {
		n[0], n[1], run[0], run[1] = n[1], n[0], run[1], run[0]
	}
	if m.state == decoding {
		if s, ok := m.dec.(Skipper); ok {
			for d := range n {
				if n[d] > 0 {
					s.Passed(capture.Dir(d), int64(n[d]))
				}
			}
		}
		if !m.doubted() {
			return
		}
	}
	if sum := n[0] + n[1]; m.seen < oneSided {
		m.seen += uint32(min(sum, oneSided))
	}
	for d := range n {
		if ran := uint64(m.ran[d]) + n[d]; n[d^1] == 0 {
			m.ran[d] = uint32(min(ran, oneSided))
		} else {
			m.ran[d] = uint32(min(run[d], oneSided))
		}
	}
}

// Beginnings are those that the Again of any spec may say Yes to, by four bytes: a probe that says No to what there is
// says No to what follows it.
func (s *Set) Beginnings(to *capture.Beginnings) {
	for i := range s.specs {
		a := &s.specs[i].Again
		may := func(b []byte) bool { return a.Probe(b, nil, true) != No || a.Probe(nil, b, true) != No }
		for _, p := range a.First {
			var third, fourth [256]bool
			b := []byte{p[0], p[1], 0, 0}
			for c := range third {
				if b[2] = byte(c); !may(b[:3]) {
					continue
				}
				third[c] = true
				for d := range fourth {
					if b[3] = byte(d); !fourth[d] {
						fourth[d] = may(b)
					}
				}
			}
			to.Add(p[0], p[1], func(c byte) bool { return third[c] }, func(c byte) bool { return fourth[c] })
		}
	}
}
