package test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// around is what a test puts around frames, between 192.0.2.1 and .2 or 2001:db8::1 and ::2.
type around struct {
	name   string
	v6     bool
	tag    int    // VLAN of the outer frame; 0: none
	proto  byte   // of the outer packet
	port   uint16 // of UDP, to which frames go
	fabric bool   // frames go both ways, from a port for each flow; otherwise from one machine to one
	header []byte // of the tunnel
	cut    int    // bytes of the frame that are left out: its Ethernet header
}

// arounds are tunnels that mirrors add, and those of fabrics.
var arounds = []around{
	{name: "vxlan", proto: 17, port: 4789, header: []byte("\x08\x00\x00\x00\x00\x01\x07\x00")},
	{name: "vxlan with a policy in a fabric", proto: 17, port: 4789, tag: 7, fabric: true, header: []byte("\x88\x08\x00\x01\x00\x01\x07\x00")},
	{name: "vxlan of a cluster", proto: 17, port: 8472, fabric: true, header: []byte("\x08\x00\x00\x00\x00\x00\x01\x00")},
	{name: "vxlan over IPv6", v6: true, proto: 17, port: 4789, fabric: true, header: []byte("\x08\x00\x00\x00\x00\x01\x07\x00")},
	{name: "vxlan on a port of its own", proto: 17, port: 7799, header: []byte("\x08\x00\x00\x00\x00\x01\x07\x00")},
	{name: "geneve", proto: 17, port: 6081, header: []byte("\x03\x00\x65\x58\x00\x00\x01\x00\x01\x02\x80\x02\x00\x00\x00\x00\x00\x00\x00\x01")},
	{name: "geneve of packets", v6: true, tag: 9, proto: 17, port: 6081, fabric: true, header: []byte("\x00\x00\x08\x00\x00\x00\x01\x00"), cut: 14},
	{name: "erspan I", proto: 47, header: []byte("\x00\x00\x88\xbe")},
	{name: "erspan II", proto: 47, tag: 3, header: []byte("\x10\x00\x88\xbe\x00\x00\x00\x01\x10\x00\x00\x00\x00\x00\x00\x00")},
	{name: "erspan III", v6: true, proto: 47, header: []byte("\x10\x00\x22\xeb\x00\x00\x00\x01\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
	{name: "erspan III with a subheader", proto: 47, header: []byte("\x10\x00\x22\xeb\x00\x00\x00\x01\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")},
	{name: "erspan III of packets", proto: 47, header: []byte("\x30\x00\x22\xeb\x00\x00\x00\x05\x00\x00\x00\x01\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00"), cut: 14},
	{name: "nvgre", proto: 47, fabric: true, header: []byte("\x20\x00\x65\x58\x00\x01\x07\x00")},
}

// wrap puts the tunnel around a frame. What is no IP of the version that it carries without Ethernet is left out.
func (a *around) wrap(frame []byte) []byte {
	at, typ := 14, binary.BigEndian.Uint16(frame[12:])
	if typ == 0x8100 {
		at, typ = 18, binary.BigEndian.Uint16(frame[16:])
	}
	turned, from := false, uint16(0)
	ip := frame[at:]
	switch {
	case typ == 0x0800 && len(ip) >= 24:
		turned = bytes.Compare(ip[12:16], ip[16:20]) > 0
		for _, b := range ip[12:24] {
			from += uint16(b)
		}
	case typ == 0x86dd && len(ip) >= 44:
		turned = bytes.Compare(ip[8:24], ip[24:40]) > 0
		for _, b := range ip[8:44] {
			from += uint16(b)
		}
	}
	if a.cut > 0 {
		if a.cut = at; typ != 0x0800 {
			return nil
		}
	}
	if !a.fabric {
		turned, from = false, 0
	}
	be := binary.BigEndian
	l4 := slices.Clone(a.header)
	if a.proto == 17 {
		l4 = be.AppendUint16(be.AppendUint16(nil, 50000+from), a.port)
		l4 = be.AppendUint16(l4, uint16(8+len(a.header)+len(frame)-a.cut))
		l4 = append(append(l4, 0, 0), a.header...)
	}
	l4 = append(l4, frame[a.cut:]...)
	b := []byte{2, 0, 0, 0, 0, 3, 2, 0, 0, 0, 0, 4}
	if a.tag != 0 {
		b = append(b, 0x81, 0, byte(a.tag>>8), byte(a.tag))
	}
	src, dst := byte(1), byte(2)
	if turned {
		src, dst = dst, src
	}
	if a.v6 {
		b = be.AppendUint16(append(b, 0x86, 0xdd, 0x60, 0, 0, 0), uint16(len(l4)))
		b = append(b, a.proto, 64)
		for _, x := range []byte{src, dst} {
			b = append(b, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, x)
		}
		return append(b, l4...)
	}
	b = append(b, 8, 0)
	h := be.AppendUint16([]byte{0x45, 0}, uint16(20+len(l4)))
	h = append(h, 0, 0, 0, 0, 64, a.proto, 0, 0, 192, 0, 2, src, 192, 0, 2, dst)
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(be.Uint16(h[i:]))
	}
	be.PutUint16(h[10:], ^uint16(sum>>16+sum&0xffff))
	return append(append(b, h...), l4...)
}

// sameTunnels compares two logs of tunnels: what was found. In which order flows end, all at once at the end of a run, is
// another in each sensor, and so is which tunnel is closed then and which is found after its flow has ended.
func sameTunnels(t *testing.T, want, got *listener) {
	t.Helper()
	list := func(l *listener) (all []string) {
		for _, r := range l.ear.rows["tunnel"] {
			if r["action"] != "Tunnel::DISCOVER" {
				continue
			}
			all = append(all, fmt.Sprint(r["uid"], " ", r["id.orig_h"], ":", r["id.orig_p"], " ", r["id.resp_h"], ":", r["id.resp_p"], " ", r["tunnel_type"]))
		}
		slices.Sort(all)
		return slices.Compact(all) // one that is found after its flow has ended is found again
	}
	if a, b := list(want), list(got); !slices.Equal(a, b) {
		t.Errorf("tunnels\n%s\nwhen shunted\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
	}
}

// TestShuntInTunnels: connections in tunnels are shunted, what they say and what their tunnels' flows say is what it is
// without, and what is behind is found.
func TestShuntInTunnels(t *testing.T) {
	shunting := &capture.ShuntConfig{After: capture.ShuntAfter, Least: capture.ShuntLeast, Tail: capture.ShuntTail}
	for i, a := range arounds {
		// What the kernel makes of each kind is tested without a wire: see TestProgramSeesWhatTheDissectorSees.
		if os.Getenv("RAYTAP_SHUNT_TUNNELS") == "" && i != 1 && i != 8 && (testing.Short() || i != 3 && i != 5 && i != 10) {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			send := cable(t)
			plain, shunt := listenLive(t, engine.Default(), capture.LiveConfig{}, nil), listenLive(t, engine.Default(), capture.LiveConfig{}, shunting)
			d := &dialog{t: t, send: func(frame []byte) error { return send(a.wrap(frame)) }, port: uint16(41000 + i)}
			d.wait = func() {
				for d.n > int(plain.seen.Load())+200 {
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Millisecond)
			}
			const n = 30000000
			d.open([2]uint32{0xfffffff0, 1})
			d.say(0, "\x85\x01\x02\x03hello")
			d.bulk(1, 2<<20)
			for range 4 { // the tunnels are asked
				shunt.has(d.n)
				d.bulk(1, n/16)
			}
			shunt.has(d.n)
			d.bulk(1, n-n/16*4)
			d.job()
			d.close()
			plain.end()
			shunt.end()
			f := &shunt.stats.Flow
			t.Logf("%d of %d packets shunted, %d times", f.Shunted, shunt.stats.Packets, f.Shunts)
			if f.Shunted < n/61440/4 {
				tooFew(t, "%d of %d packets were shunted", f.Shunted, shunt.stats.Packets)
			}
			if !shunt.foundJob() {
				t.Error("the job was not found")
			}
			sameConns(t, plain, shunt, false)
			sameFindings(t, plain, shunt)
			sameTunnels(t, plain, shunt)
			sameCounts(t, plain, shunt)
		})
	}
}

// sameCounts compares what two sensors count of the wire.
func sameCounts(t *testing.T, plain, shunt *listener) {
	t.Helper()
	if a, b := plain.stats, shunt.stats; a.Packets != b.Packets || a.Bytes != b.Bytes || a.Flow.GapBytes != b.Flow.GapBytes || a.Flow.AckedBytes != b.Flow.AckedBytes || a.Flow.Flows != b.Flow.Flows {
		t.Errorf("%d packets, %d bytes, %d missing, %d acknowledged, %d flows; when shunted %d, %d, %d, %d, %d", a.Packets, a.Bytes, a.Flow.GapBytes, a.Flow.AckedBytes, a.Flow.Flows, b.Packets, b.Bytes, b.Flow.GapBytes, b.Flow.AckedBytes, b.Flow.Flows)
	}
}

// TestShuntedCasesInTunnels: labelled captures in tunnels tell the same when flows are shunted as early as may be.
func TestShuntedCasesInTunnels(t *testing.T) {
	names := []string{ // by arounds; few captures have anything that is shunted
		"attack-cves", "attack-job-kubernetes", "attack-redis", "attack-shell-websocket", "benign-ray-client", "benign-tls-on", "benign-tls-on",
		"loss-body-second-job", "benign-tls-on", "mining-tls", "shadowray", "wire-ack-before-body", "wire-h2c-upgrade",
	}
	var shunted, shunts, packets atomic.Uint64
	t.Run("all", func(t *testing.T) {
		for i, name := range names {
			if testing.Short() && i%8 > 0 {
				continue
			}
			a := arounds[i%len(arounds)]
			t.Run(name+" in "+a.name, func(t *testing.T) {
				t.Parallel()
				plain, shunt := shuntedCase(t, filepath.Join("pcaps", name+".pcap.gz"), a.wrap)
				sameConns(t, plain, shunt, false)
				sameFindings(t, plain, shunt)
				sameTunnels(t, plain, shunt)
				sameCounts(t, plain, shunt)
				t.Logf("%d of %d packets shunted, %d times", shunt.stats.Flow.Shunted, shunt.stats.Packets, shunt.stats.Flow.Shunts)
				shunted.Add(shunt.stats.Flow.Shunted)
				shunts.Add(shunt.stats.Flow.Shunts)
				packets.Add(shunt.stats.Packets)
			})
		}
	})
	if t.Failed() || packets.Load() == 0 {
		return
	}
	t.Logf("%d of %d packets shunted, %d times", shunted.Load(), packets.Load(), shunts.Load())
	if shunted.Load() == 0 {
		tooFew(t, "nothing was shunted")
	}
}
