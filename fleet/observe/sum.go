package observe

import (
	"encoding"
	"reflect"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// What two taps that see the same packets do not agree on: their clocks, their numbers for packets and flows, how a flow that goes on was
// cut into pieces. Flows are compared by who compares.
var (
	apart = map[reflect.Type]bool{
		reflect.TypeFor[capture.Time]():  true,
		reflect.TypeFor[capture.At]():    true,
		reflect.TypeFor[time.Duration](): true,
	}
	apartNames = map[string]bool{"UID": true, "Packet": true, "Same": true, "CommunityID": true}
)

// What two sensors do not agree on in a finding.
var (
	findingType  = reflect.TypeFor[detectors.Finding]()
	apartFinding = map[string]bool{"Name": true, "File": true, "Count": true, "Revision": true, "Incident": true}
)

// sum hashes what an event says.
func sum(p *plan, v reflect.Value) uint64 {
	h := hash(14695981039346656037)
	if p.kind == reflect.Pointer && !v.IsNil() {
		p, v = p.elem, v.Elem()
	}
	h.value(p, v)
	return uint64(h)
}

// hash is FNV-1a, which is enough against chance; who makes two events collide on purpose hides one of his own.
type hash uint64

func (h *hash) bytes(s string) {
	x := uint64(*h)
	for i := range len(s) {
		x = (x ^ uint64(s[i])) * 1099511628211
	}
	*h = hash((x ^ 0xff) * 1099511628211)
}

func (h *hash) uint(n uint64) {
	x := uint64(*h)
	for range 8 {
		x = (x ^ n&0xff) * 1099511628211
		n >>= 8
	}
	*h = hash(x)
}

func (h *hash) value(p *plan, v reflect.Value) {
	switch {
	case apart[p.typ]:
		return
	case p.rule:
		return
	case p.binary:
		b, _ := v.Interface().(encoding.BinaryMarshaler).MarshalBinary() // of addresses and times: no error
		h.bytes(string(b))
		return
	}
	switch p.kind {
	case reflect.Bool:
		if v.Bool() {
			h.uint(1)
		} else {
			h.uint(0)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		h.uint(uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		h.uint(v.Uint())
	case reflect.String:
		h.bytes(v.String())
	case reflect.Struct:
		for i := range p.fields {
			if f := &p.fields[i]; !apartNames[f.name] && !(p.typ == findingType && apartFinding[f.name]) {
				h.value(f.plan, v.Field(f.index))
			}
		}
	case reflect.Pointer:
		if !p.shared && !v.IsNil() {
			h.value(p.elem, v.Elem())
		}
	case reflect.Slice, reflect.Array:
		if p.wire == wireBytes {
			h.bytes(string(v.Bytes()))
			return
		}
		h.uint(uint64(v.Len()))
		for i := range v.Len() {
			h.value(p.elem, v.Index(i))
		}
	}
}
