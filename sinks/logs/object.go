package logs

import (
	"cmp"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// object is a structure of a row in the JSON form. In the tab-separated form it is a text.
type object map[string]any

// objects gives a column that is a list of structures; nil if it is none.
func (r *Row) objects(name string) (all []object) {
	list, _ := r.object[name].([]any)
	for _, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		all = append(all, o)
	}
	return all
}

func (o object) text(name string) string { return text(o[name]) }

func (o object) has(name string) bool { _, ok := o[name]; return ok }

func (o object) uint(name string) uint64 {
	n, _ := strconv.ParseUint(o.text(name), 10, 64)
	return n
}

func (o object) addr(name string) netip.Addr {
	a, _ := netip.ParseAddr(o.text(name))
	return a
}

func (o object) evidence() detectors.Evidence {
	return detectors.Evidence{Field: o.text("field"), Value: o.text("value"), Packet: o.uint("packet")}
}

func (o object) party() detectors.Party {
	return detectors.Party{Role: o.text("role"), Name: o.text("name"), Addr: o.addr("addr")}
}

func (o object) step() detectors.Step {
	t, _ := ParseTime(o.text("ts"))
	return detectors.Step{
		At: capture.At{Time: t, Packet: o.uint("packet")}, Who: o.addr("actor"), What: o.text("what"), UID: o.text("uid"), Finding: o.text("finding_id"),
		Count: int(min(cmp.Or(o.uint("n"), 1), 1<<31-1)),
	}
}

// String is what the tab-separated form has in its place.
func (o object) String() string {
	behind := func(s string, names ...string) string {
		for _, n := range names {
			if v := o.text(n); v != "" {
				s += " " + v
			}
		}
		return s
	}
	switch {
	case o.has("field"):
		return evidenceText(o.evidence())
	case o.has("actor"):
		s := o.step()
		return stepText(&s)
	case o.has("points"):
		return behind(o.text("what"), "points")
	case o.has("id"):
		return behind(o.text("id"), "name")
	case o.has("port"):
		port, _ := strconv.ParseUint(o.text("port"), 10, 16)
		s := netip.AddrPortFrom(o.addr("addr"), uint16(port)).String()
		switch {
		case !o.has("role"): // a proxy
			s = behind(s+o.text("prefix"), "server")
			if h := o.text("host"); h != "" {
				s += " (" + h + ")"
			}
			return s
		case o.has("last"):
			return s + "-" + o.text("last") + " " + o.text("role") + " (" + o.text("n") + ")"
		}
		return behind(s, "role")
	case o.has("role"):
		return o.party().String()
	case o.has("type"):
		return o.text("type") + "=" + o.text("n")
	case o.has("kind"):
		return behind(o.text("kind"), "n")
	case o.has("rule"):
		return behind(o.text("rule"), "n")
	}
	b, _ := json.Marshal(o) // of whoever has a form of his own; the keys are in order
	return string(b)
}

// stepText is a step with its time, as incidents.log has it.
func stepText(s *detectors.Step) string {
	return strings.TrimSpace(s.Time.Std().Format("2006-01-02T15:04:05.000000Z") + " " + s.String())
}
