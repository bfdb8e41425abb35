package logs

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// Finding makes a row of notice.log the finding that it was; nil if it is none of ours. With a Revision above 1 it says more
// of one that an earlier row has, of the same ID. Ordinals of packets are those of the evidence; of repetitions the row
// knows only those before it was written. Credentials are masked.
func (r *Row) Finding() *detectors.Finding {
	rule := r.Get("rule")
	if rule == "" { // Zeek's own
		return nil
	}
	f := &detectors.Finding{
		At: capture.At{Time: r.Time("ts")}, Rule: rule, Confidence: int(min(r.Uint("confidence"), 100)), Outcome: detectors.Outcome(r.Get("outcome")),
		Msg: r.Get("msg"), Sub: r.Get("sub"), Src: r.Addr("src"), Dst: r.Addr("dst"), Port: uint16(r.Uint("p")), Count: 1,
		Name: r.Get("finding_id"), Incident: r.Get("incident_id"), File: r.Get("evidence_file"),
	}
	f.Severity, _ = detectors.ParseSeverity(r.Get("severity"))
	if n := r.Uint("n"); n > 1 && n < 1<<31 {
		f.Count = int(n)
	}
	f.Revision = int(min(r.Uint("revision"), 1<<31-1))
	f.Flow = r.Flow()
	if all := r.objects("evidence"); all != nil {
		for _, o := range all {
			f.Evidence = append(f.Evidence, o.evidence())
		}
	} else {
		for _, e := range r.List("evidence") {
			f.Evidence = append(f.Evidence, evidence(e))
		}
	}
	if len(f.Evidence) > 0 {
		f.Packet = f.Evidence[0].Packet
	}
	f.Mask() // of a log that another version wrote, or somebody else
	return f
}

// Flow gives the flow that a row is of, as far as the row knows it; nil if it is of none.
func (r *Row) Flow() *capture.Flow {
	uid := r.Get("uid")
	if uid == "" {
		return nil
	}
	return &capture.Flow{
		UID: uid, Proto: protocol(r.Get("proto")),
		Orig: netip.AddrPortFrom(r.Addr("id.orig_h"), uint16(r.Uint("id.orig_p"))),
		Resp: netip.AddrPortFrom(r.Addr("id.resp_h"), uint16(r.Uint("id.resp_p"))),
	}
}

func protocol(name string) uint8 {
	for _, p := range [...]uint8{capture.ProtoTCP, capture.ProtoUDP, capture.ProtoICMP} {
		if capture.ProtoName(p) == name {
			return p
		}
	}
	return 0
}

// evidenceText is a piece of evidence as notice.log has it.
func evidenceText(e detectors.Evidence) string {
	s := e.Field + "=" + e.Value
	if e.Packet != 0 {
		s += " @" + strconv.FormatUint(e.Packet, 10)
	}
	return s
}

// evidence takes "field=value @12" apart, and what earlier versions wrote, "field=value #12".
func evidence(s string) detectors.Evidence {
	field, value, ok := strings.Cut(s, "=")
	if !ok {
		field, value = "", s
	}
	e := detectors.Evidence{Field: field, Value: value}
	if i := max(strings.LastIndex(value, " @"), strings.LastIndex(value, " #")); i >= 0 {
		if n, err := strconv.ParseUint(value[i+2:], 10, 64); err == nil {
			e.Value, e.Packet = value[:i], n
		}
	}
	return e
}
