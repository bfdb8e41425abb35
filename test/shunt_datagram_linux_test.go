package test

import (
	"slices"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// answer makes of a frame with IPv4 and UDP one that goes back.
func answer(frame []byte) []byte {
	b := slices.Clone(frame)
	copy(b[26:30], frame[30:34])
	copy(b[30:34], frame[26:30])
	copy(b[34:36], frame[36:38])
	copy(b[36:38], frame[34:36])
	return b
}

// TestShuntDatagrams: flows of UDP that nobody reads are shunted, and what is in a tunnel in the middle of one is found.
func TestShuntDatagrams(t *testing.T) {
	shunting := &capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	send := cable(t)
	plain, shunt := listenLive(t, engine.Default(), capture.LiveConfig{}, nil), listenLive(t, engine.Default(), capture.LiveConfig{}, shunting)
	n := 0
	put := func(b []byte) error {
		if n++; n%64 == 0 {
			for n > int(plain.seen.Load())+500 {
				time.Sleep(time.Millisecond)
			}
		}
		return send(b)
	}
	junk := make([]byte, 1<<16)
	for i := range junk {
		junk[i] = byte(i*7 + i>>8*13)
	}
	// WireGuard between two nodes, which speak in turn and one of them alone, and an unknown flow that becomes a tunnel.
	wireguard := around{proto: 17, port: 51820, header: []byte("\x04\x00\x00\x00\x01\x02\x03\x04")}
	unknown := around{proto: 17, port: 7799, header: []byte("\x93\x01\x02\x03\x04")}
	bulk := func(a *around, packets, size int, both bool) {
		for i := range packets {
			b := a.wrap(junk[i%256 : i%256+size])
			if both && i%5 == 0 {
				b = answer(b)
			}
			if err := put(b); err != nil {
				t.Fatal(err)
			}
		}
	}
	rest := func() { shunt.has(n) }
	for range 4 {
		bulk(&wireguard, 1000, 1400, false)
		rest()
	}
	for range 5 {
		bulk(&wireguard, 1000, 1400, true)
		rest()
	}
	bulk(&unknown, 100, 30000, true)
	rest()
	bulk(&unknown, 600, 30000, true)
	rest()
	tunnel := around{proto: 17, port: 7799, header: []byte("\x08\x00\x00\x00\x00\x01\x07\x00")}
	d := &dialog{t: t, send: func(frame []byte) error { return put(tunnel.wrap(frame)) }, port: 43100, wait: func() {}}
	d.open([2]uint32{1, 1})
	d.job()
	rest()
	bulk(&unknown, 600, 30000, true)
	d.close()
	plain.end()
	shunt.end()
	f := &shunt.stats.Flow
	t.Logf("%d of %d packets shunted, %d times", f.Shunted, shunt.stats.Packets, f.Shunts)
	if f.Shunted < 5000 {
		tooFew(t, "%d of %d packets were shunted", f.Shunted, shunt.stats.Packets)
	}
	if !shunt.foundJob() {
		t.Error("the job was not found")
	}
	sameConns(t, plain, shunt, false)
	sameFindings(t, plain, shunt)
	sameTunnels(t, plain, shunt)
	sameCounts(t, plain, shunt)
}
