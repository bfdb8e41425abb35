package zeekview

import (
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
)

// Streams open flows where Zeek goes by the port: a datagram to a port of DNS is DNS whatever it holds, and what begins with
// something else on a port of HTTP is read as HTTP too. They belong to one worker.
type Streams struct {
	http       decoders.Spec
	set, names *decoders.Set
	more       bool
}

// NewStreams makes Streams over what decodes; http is the one that reads HTTP.
func NewStreams(specs []decoders.Spec, http decoders.Spec, opt Options) *Streams {
	// What is no DNS on a port of DNS is worth a row of dns.log and a weird.
	s := &Streams{http: http, set: decoders.NewSet(specs), names: decoders.NewSet(append(slices.Clip(specs), dns.Forced())), more: opt.More}
	if !opt.More {
		admits := func(service string) bool { return admits(nil, true, service) }
		s.set.Admits, s.names.Admits = admits, admits
	}
	return s
}

// Admits returns what reports whether a flow may have the name of a service: see capture.FlowConfig. Nil: any.
func (s *Streams) Admits() func(h capture.Host, mid bool, service string) bool {
	if s.more {
		return nil
	}
	return admits
}

// Open returns the mux of a flow, and a stream that reads the flow twice and feeds the mux, where Zeek does that; otherwise nil.
func (s *Streams) Open(h capture.Host, mid bool) (*decoders.Mux, capture.Stream) {
	_, port := h.Ports()
	list := s.set
	if dnsPort(0, port) || dnsPort(capture.ProtoUDP, port) {
		list = s.names
	}
	mux := list.Mux(h, mid)
	if httpPort(port) && !mid {
		return mux, &twice{Mux: mux, host: h, spec: &s.http}
	}
	return mux, nil
}

// dnsPort reports whether Zeek takes a flow to this port for DNS.
func dnsPort(proto uint8, port uint16) bool {
	return dns.ServicePort(proto, port)
}

// httpPort reports whether Zeek takes a flow to this port for HTTP, whatever it carries.
func httpPort(port uint16) bool {
	switch port {
	case 80, 81, 631, 1080, 3128, 8000, 8080, 8888:
		return true
	}
	return false
}

// twice reads a flow to a port of HTTP that begins with something else a second time, as Zeek does: what the client says is worth
// a weird, and what the server answers to it in HTTP, a row. The Mux reads the flow for what it is.
type twice struct {
	*decoders.Mux
	host   capture.Host
	spec   *decoders.Spec
	http   *decoders.Mux // nil: not needed, or not yet
	looked bool          // somebody has spoken
}

// Data implements capture.Stream.
func (s *twice) Data(dir capture.Dir, b []byte) {
	s.Mux.Data(dir, b)
	first := !s.looked && len(b) > 0
	s.looked = s.looked || first // a server that speaks first is none of HTTP
	if first && dir == capture.Orig && s.Mux.Decoder() != s.spec.Name && s.spec.Stream(b, nil, false) == decoders.No {
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
func (s *twice) Gap(dir capture.Dir, n int64) {
	s.Mux.Gap(dir, n)
	if s.http != nil {
		s.http.Gap(dir, n)
	}
}

// End implements capture.Stream.
func (s *twice) End(dir capture.Dir) {
	s.Mux.End(dir)
	if s.http != nil {
		s.http.End(dir)
	}
}

// Finish implements capture.Stream.
func (s *twice) Finish() {
	s.Mux.Finish()
	if s.http != nil {
		s.http.Finish()
	}
}

// Idle implements capture.Stream.
func (s *twice) Idle() bool {
	if s.http != nil {
		return s.Mux.Idle() && s.http.Idle()
	}
	return s.looked && s.Mux.Idle()
}
