package raytap

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
)

// columns is a row as text, for expectations: only what is set.
type columns map[string]string

func (c columns) put(name, v string, set bool) {
	if set {
		c[name] = v
	}
}

func (c columns) Time(n string, v capture.Time, set bool) {
	c.put(n, fmt.Sprintf("%.6f", v.Seconds()), set)
}
func (c columns) Interval(n string, v time.Duration, set bool) {
	c.put(n, fmt.Sprintf("%.6f", v.Seconds()), set)
}
func (c columns) String(n, v string, set bool)       { c.put(n, v, set) }
func (c columns) Enum(n, v string, set bool)         { c.put(n, v, set) }
func (c columns) Count(n string, v uint64, set bool) { c.put(n, fmt.Sprint(v), set) }
func (c columns) Bool(n string, v, set bool) {
	c.put(n, map[bool]string{true: "T", false: "F"}[v], set)
}
func (c columns) Addr(n string, v netip.Addr, set bool)    { c.put(n, v.String(), set) }
func (c columns) Port(n string, v uint16, set bool)        { c.put(n, fmt.Sprint(v), set) }
func (c columns) Double(n string, v float64, set bool)     { c.put(n, fmt.Sprint(v), set) }
func (c columns) Set(n, _ string, v []string, set bool)    { c.put(n, strings.Join(v, ","), set) }
func (c columns) Vector(n, _ string, v []string, set bool) { c.put(n, strings.Join(v, ","), set) }

func (c columns) Intervals(n string, v []time.Duration, set bool) {
	var s []string
	for _, d := range v {
		s = append(s, fmt.Sprintf("%.6f", d.Seconds()))
	}
	c.put(n, strings.Join(s, ","), set)
}
