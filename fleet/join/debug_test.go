package join_test

import (
	"fmt"
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/fleet/observe"
)

// TestDebug prints what sensors saw: JOIN_DEBUG=capture:way:text
func TestDebug(t *testing.T) {
	s := os.Getenv("JOIN_DEBUG")
	if s == "" {
		t.Skip()
	}
	p := strings.Split(s, "|")
	dir := t.TempDir()
	var parts []string
	if p[1] == "whole" {
		b, _ := filepath.Abs(p[0])
		split(t, b, dir, way{"flows", 1, false})
		parts = []string{"sensor-0"}
	} else {
		for _, w := range ways {
			if w.name == p[1] {
				parts = split(t, p[0], dir, w)
			}
		}
	}
	rows := map[string][][]byte{}
	for _, n := range parts {
		rows[n] = observed(t, dir, n)
		for _, r := range rows[n] {
			k, err := observe.ParseRow(r)
			if err != nil {
				t.Fatal(err)
			}
			evs, err := k.Read(0)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range evs {
				f := ""
				if e.Flow != nil {
					f = e.Flow.Orig.String() + ">" + e.Flow.Resp.String() + " " + e.Flow.UID
				}
				line := n + " " + e.Time.Std().Format("15:04:05.000000") + " " + e.Kind + " " + f
				if e.End {
					line += " END"
				}
				if c, ok := e.Event.(*capture.Conn); ok {
					line += fmt.Sprint(" ", c.State, c.History, c.Pkts, c.Bytes, c.Guessed)
				}
				if x, ok := e.Event.(*http.Transaction); ok {
					line += fmt.Sprint(" ", x.Request != nil, x.Response != nil, x.Depth)
				}
				if strings.Contains(line, p[2]) {
					t.Log(line)
				}
			}
		}
	}
	v, _ := joined(t, rows, 1)
	for _, l := range v.lines() {
		t.Log(l)
	}
	for _, id := range slices.Sorted(maps.Keys(v.findings)) {
		t.Log(id, v.findings[id].Msg, v.sensors[id], v.told[id])
	}
}
