// Package detectortest runs detectors in tests: it has the home networks, the flows and the bus that each of their tests needs.
package detectortest

import (
	"net/netip"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// Home gives the home networks of a configuration that says nothing of them.
func Home() *detectors.Networks {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		panic(err) // a mistake in the constant
	}
	return home
}

// Flow is a TCP connection from port 40000 of src. All have one UID: a test that needs several sets it.
func Flow(src, dst string, port uint16) *capture.Flow {
	return &capture.Flow{
		UID: "C1", Proto: capture.ProtoTCP,
		Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), port),
	}
}

// Bench is a bus with a detector on it. Events are published to it, and Found has what was found, in order.
type Bench struct {
	*detectors.Bus
	Found []*detectors.Finding
}

// New puts a detector to work. env may be nil, and Home is that of Home where env has none.
func New(spec detectors.Spec, env *detectors.Env) *Bench {
	if env == nil {
		env = &detectors.Env{}
	}
	if env.Home == nil {
		env.Home = Home()
	}
	b := &Bench{}
	b.Bus = detectors.NewBus(func(f *detectors.Finding) { b.Found = append(b.Found, f) })
	spec.New(env, b.Bus)
	return b
}
