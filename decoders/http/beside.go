package http

import (
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Port says whether Zeek takes a flow to this port for HTTP, whatever it carries.
func Port(port uint16) bool {
	switch port {
	case 80, 81, 631, 1080, 3128, 8000, 8080, 8888:
		return true
	}
	return false
}

// Beside reads the flows to Port that begin with something else than HTTP a second time, as Zeek does: what the client
// says is worth a weird, and what the server answers to it in HTTP, a row. main reads the flow for what it is.
func Beside(host decoders.Host, main *decoders.Mux, spec *decoders.Spec) capture.Stream {
	return &beside{Mux: main, host: host, spec: spec}
}

type beside struct {
	*decoders.Mux
	host   decoders.Host
	spec   *decoders.Spec
	http   *decoders.Mux // nil: not needed, or not yet
	looked bool          // somebody has spoken
}

// Data implements capture.Stream.
func (s *beside) Data(dir capture.Dir, b []byte) {
	s.Mux.Data(dir, b)
	first := !s.looked && len(b) > 0
	s.looked = s.looked || first // a server that speaks first is none of HTTP
	if first && dir == capture.Orig && s.Mux.Decoder() != s.spec.Name && probe(b, nil, false) == decoders.No {
		spec := *s.spec
		spec.Stream = func([]byte, []byte, bool) decoders.Verdict { return decoders.Yes }
		spec.Again = decoders.Again{}
		s.http = decoders.NewMux(s.host, []decoders.Spec{spec}, false)
		s.Mux.Leave(spec.Name, true) // what is HTTP further on is found by the other
	}
	if s.http == nil {
		return
	}
	if !s.Mux.Prefaced() { // otherwise the beginning was for a proxy's sake, and is no part of what follows
		s.http.Data(dir, b)
	}
	if s.http.Idle() || s.Mux.Prefaced() {
		s.http = nil
		s.Mux.Leave(s.spec.Name, false)
	}
}

// Gap implements capture.Stream.
func (s *beside) Gap(dir capture.Dir, n int64) {
	s.Mux.Gap(dir, n)
	if s.http != nil {
		s.http.Gap(dir, n)
	}
}

// End implements capture.Stream.
func (s *beside) End(dir capture.Dir) {
	s.Mux.End(dir)
	if s.http != nil {
		s.http.End(dir)
	}
}

// Finish implements capture.Stream.
func (s *beside) Finish() {
	s.Mux.Finish()
	if s.http != nil {
		s.http.Finish()
	}
}

// Idle implements capture.Stream.
func (s *beside) Idle() bool {
	if s.http != nil {
		return s.Mux.Idle() && s.http.Idle()
	}
	return s.looked && s.Mux.Idle()
}

// Unwanted implements capture.Skipper.
func (s *beside) Unwanted(dir capture.Dir) (n int64, watch bool) {
	if s.http != nil || !s.looked {
		return 0, false
	}
	return s.Mux.Unwanted(dir)
}
