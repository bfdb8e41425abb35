package test

import (
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// TestShuntWithFilter: what a filter passes is delivered or counted, and nothing else is.
func TestShuntWithFilter(t *testing.T) {
	shunting := &capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	for i, c := range []struct {
		filter string
		ports  []uint16 // of flows that it passes
		least  uint64   // packets that are shunted
	}{
		{"tcp port 9265", []uint16{9265}, 100},
		{"port 9265 or (vlan and port 9266)", []uint16{9265, 9266}, 100}, // a tag stands beside the frame: it is delivered
		{"dst port 9265", []uint16{9265}, 0},
		{"host 10.20.0.10 and not (tcp port 9266 or tcp port 9267)", []uint16{9265}, 100},
		{"tcp port 9265 and (ip[2:2] - ((ip[0] & 15) << 2) - ((tcp[12] & 240) >> 2) > 0 or tcp[13] & 7 != 0)", []uint16{9265}, 0},
	} {
		t.Run(c.filter, func(t *testing.T) {
			t.Parallel()
			send := cable(t)
			cfg := engine.Default()
			cfg.Filter = c.filter
			live := capture.LiveConfig{Filter: c.filter}
			plain, shunt := listenLive(t, cfg, live, nil), listenLive(t, cfg, live, shunting)
			var all []*dialog
			for j, tag := range []int{0, 7, 0} {
				d := &dialog{t: t, send: send, port: uint16(42000 + 10*i + j), sport: uint16(9265 + j), tag: tag, wait: func() { time.Sleep(2 * time.Millisecond) }}
				d.client, d.server = [4]byte{203, 0, 113, 66}, [4]byte{10, 20, 0, 10}
				d.open([2]uint32{1, 1})
				d.say(0, "\x85\x01\x02\x03hello")
				all = append(all, d)
			}
			for i := range 8 {
				for _, d := range all {
					d.bulk(0, 2<<20)
				}
				if i == 2 {
					time.Sleep(300 * time.Millisecond) // the sensors have read it
				}
			}
			for _, d := range all {
				d.job()
				d.close()
			}
			plain.end()
			shunt.end()
			f := &shunt.stats.Flow
			t.Logf("%d of %d packets shunted, %d times", f.Shunted, shunt.stats.Packets, f.Shunts)
			if f.Shunted < c.least {
				tooFew(t, "%d of %d packets were shunted", f.Shunted, shunt.stats.Packets)
			}
			if n := len(shunt.ear.rows["conn"]); n != len(c.ports) {
				t.Errorf("%d connections, want %d", n, len(c.ports))
			}
			if c.least > 0 && !shunt.foundJob() {
				t.Error("no job was found")
			}
			if a, b := plain.stats.Filtered, shunt.stats.Filtered; a != b {
				t.Errorf("%d packets filtered, %d when shunted", a, b)
			}
			sameConns(t, plain, shunt, false)
			sameFindings(t, plain, shunt)
			sameCounts(t, plain, shunt)
		})
	}
}
