// Package evasion finds who shapes TCP segments so that two readers of a connection read different things.
//
// A sensor and the receiver's kernel must agree on what was sent. Whoever wants to be read by one of them alone sends what
// only one of them takes: a second copy of bytes with other contents, a segment that dies on its way, a reset with a wrong
// number, a signature that the connection does not use (Ptacek and Newsham 1998; RFC 5961; tools as fragroute, INTANG,
// SymTCP, Geneva). Package capture judges segments as Linux does, reads both copies where the wire cannot tell which counted,
// and says where they differ.
//
// In: *capture.Shaped, and *http.Transaction, *ray.Call for what the connection was. Out: findings of evasion/tcp. Src is who
// sent the segments.
//
//	high    the connection carries a call to Ray
//	medium  bytes of a request differ in two copies, or what the receiver drops differs from what it takes
//	low     urgent data within HTTP, where it has no use
//
// It is quiet where the copies tell of a fault and not of an intent: a keep-alive's byte, bytes that were blanked, one bit
// that flipped, a middle box that changed an address in the payload, and connections that nobody reads. It does not see
// segments that only one reader sees because of where the tap stands, if no other copy came.
package evasion

import (
	"bytes"
	"fmt"
	"math/bits"
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/ray"
)

const rule = "evasion/tcp"

const (
	// maxFlows bounds the flows that are remembered until something is read in them.
	maxFlows = 4096
	// Two copies that differ in no more bits than this are one that was damaged.
	damagedBits = 8
	// Fewer bytes than these are no message of somebody's.
	minDiffer = 3
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "evasion",
		Rules: []detectors.Rule{{
			Name: rule, Note: "TCP_Evasion", Severity: detectors.Medium,
			Says:   "A connection has TCP segments that a sensor and the receiver can read differently.",
			ATLAS:  []string{"AML.T0049"},
			ATTACK: []string{"T1562", "T1027"},
			Needs:  "Both versions of the data at the tap, in a connection that carries HTTP or Ray.",
			FalsePositives: "Middleboxes that change data when they retransmit it (some load balancers and WAN optimizers); " +
				"taps on both sides of a middlebox that translates contents; merged captures of two connections with the " +
				"same addresses and sequence numbers.",
			Story: detectors.Story{Does: "was found in connection with %", Techniques: []string{}},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{bus: bus, flows: detectors.Table[string, shaping]{Limit: maxFlows}}
			detectors.On(bus, d.shaped)
			detectors.On(bus, d.request)
			detectors.On(bus, d.call)
			bus.OnTick(time.Second, d.tick)
			bus.OnEnd(d.tick)
		},
	}
}

// shaping is what is known of a flow with odd segments.
type shaping struct {
	odd  []*capture.Shaped
	told detectors.Severity
	flow *capture.Flow // HTTP was read in it, and it is not told yet
}

type detector struct {
	bus   *detectors.Bus
	flows detectors.Table[string, shaping]
	wait  []string // flows that are told when it is clear that no call to Ray is in them
}

// shaped takes odd segments.
func (d *detector) shaped(s *capture.Shaped) {
	if s.Why != capture.UrgentData && !meant(s) {
		return
	}
	f := d.flows.Get(s.Flow.UID)
	if f == nil {
		f = d.flows.Put(s.Flow.UID)
	}
	if slices.ContainsFunc(f.odd, func(o *capture.Shaped) bool { return o.Why == s.Why }) {
		return
	}
	f.odd = append(f.odd, s)
	if f.told > detectors.Info {
		d.tell(f, s.Flow, f.told)
	}
}

// meant reports whether two copies differ as somebody's messages do.
func meant(s *capture.Shaped) bool {
	a, b := s.First, s.Second
	if len(a) < minDiffer || blank(a) || blank(b) {
		return false
	}
	differ, flipped := 0, 0
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			differ++
			flipped += bits.OnesCount8(a[i] ^ b[i])
		}
	}
	return differ >= minDiffer && flipped > damagedBits
}

// blank reports whether b is nothing but zeros, ones or spaces.
func blank(b []byte) bool {
	switch b[0] {
	case 0, 0xff, ' ':
		return len(bytes.Trim(b, string(b[:1]))) == 0
	}
	return false
}

func (d *detector) request(t *http.Transaction) {
	if d.flows.Len() == 0 || t.Request == nil {
		return
	}
	if f := d.flows.Get(t.Flow.UID); f != nil {
		if f.flow == nil {
			f.flow = t.Flow
			d.wait = append(d.wait, t.Flow.UID)
		}
	}
}

// tick tells of the flows in which HTTP was read.
func (d *detector) tick(capture.At) {
	for _, uid := range d.wait {
		if f := d.flows.Get(uid); f != nil {
			d.tell(f, f.flow, detectors.Medium)
		}
	}
	d.wait = d.wait[:0]
}

func (d *detector) call(c *ray.Call) {
	if f := d.flows.Get(c.Flow.UID); f != nil {
		d.tell(f, c.Flow, detectors.High)
	}
}

// tell says what is known of a flow, once for each severity.
func (d *detector) tell(f *shaping, flow *capture.Flow, at detectors.Severity) {
	urgent := true
	for _, s := range f.odd {
		urgent = urgent && s.Why == capture.UrgentData
	}
	if urgent && at < detectors.High {
		at = detectors.Low
	}
	if at <= f.told || len(f.odd) == 0 {
		return
	}
	f.told = at
	s := f.odd[0]
	src, dst := flow.Src(s.Dir), flow.Dst(s.Dir)
	what := "two copies of the same bytes that differ"
	switch s.Why {
	case capture.CopiesDiffer:
	case capture.UrgentData:
		what = "urgent data within a request"
	default:
		what = "bytes that the receiver drops, and others in their place: " + s.Why
	}
	for i := range f.odd {
		if f.odd[i] != s && i < 4 {
			what += ", " + f.odd[i].Why
		}
	}
	found := &detectors.Finding{
		At: s.At, Flow: flow, Rule: rule, Severity: at, Src: src.Addr(), Dst: dst.Addr(), Port: dst.Port(), Outcome: detectors.Observed, Confidence: 80, Key: flow.UID,
		Msg: fmt.Sprintf("%s sent %s %s: two readers of the connection read different things", src.Addr(), dst, what),
	}
	for _, s := range f.odd {
		found.Evidence = append(found.Evidence, detectors.Evidence{Field: "segments", Value: s.Why, Packet: s.Packet})
		if len(s.First) > 0 {
			found.Evidence = append(found.Evidence,
				detectors.Evidence{Field: "first copy", Value: detectors.Clip(string(s.First), 64), Packet: s.Packet},
				detectors.Evidence{Field: "second copy", Value: detectors.Clip(string(s.Second), 64), Packet: s.Packet})
		}
		if s.TTL[1] < s.TTL[0] {
			found.Evidence = append(found.Evidence, detectors.Evidence{Field: "ttl", Value: fmt.Sprintf("%d, where the sender has %d elsewhere", s.TTL[1], s.TTL[0]), Packet: s.Packet})
		}
	}
	d.bus.Report(found)
}
