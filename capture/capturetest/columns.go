// Package capturetest helps tests that look at rows and frames.
package capturetest

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
)

// Columns is a row as text, for expectations: only what is set. It is a capture.Fields. It is a capture.Fields.
type Columns map[string]string

func (c Columns) put(name, v string, set bool) {
	if set {
		c[name] = v
	}
}

func (c Columns) Time(n string, v capture.Time, set bool) {
	c.put(n, fmt.Sprintf("%.6f", v.Seconds()), set)
}
func (c Columns) Interval(n string, v time.Duration, set bool) {
	c.put(n, fmt.Sprintf("%.6f", v.Seconds()), set)
}
func (c Columns) String(n, v string, set bool)       { c.put(n, v, set) }
func (c Columns) Enum(n, v string, set bool)         { c.put(n, v, set) }
func (c Columns) Count(n string, v uint64, set bool) { c.put(n, fmt.Sprint(v), set) }
func (c Columns) Bool(n string, v, set bool) {
	c.put(n, map[bool]string{true: "T", false: "F"}[v], set)
}
func (c Columns) Addr(n string, v netip.Addr, set bool)    { c.put(n, v.String(), set) }
func (c Columns) Port(n string, v uint16, set bool)        { c.put(n, fmt.Sprint(v), set) }
func (c Columns) Double(n string, v float64, set bool)     { c.put(n, fmt.Sprint(v), set) }
func (c Columns) Set(n, _ string, v []string, set bool)    { c.put(n, strings.Join(v, ","), set) }
func (c Columns) Vector(n, _ string, v []string, set bool) { c.put(n, strings.Join(v, ","), set) }

func (c Columns) Intervals(n string, v []time.Duration, set bool) {
	var s []string
	for _, d := range v {
		s = append(s, fmt.Sprintf("%.6f", d.Seconds()))
	}
	c.put(n, strings.Join(s, ","), set)
}
