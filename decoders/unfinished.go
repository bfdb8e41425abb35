package decoders

import "github.com/raytap/raytap/capture"

// Unfinished implements capture.Unfinisher, with what the decoder in charge knows of itself and what is held.
func (m *Mux) Unfinished(dir capture.Dir) bool {
	if m.swapped {
		dir = dir.Peer()
	}
	if m.state == idle {
		return false
	}
	if u, ok := m.dec.(capture.Unfinisher); ok && u.Unfinished(dir) {
		return true
	}
	return len(m.held[dir]) > 0
}
