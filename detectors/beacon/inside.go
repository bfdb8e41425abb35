package beacon

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// Heartbeats that need no connection each: within one that stays open, in datagrams, in echoes of ICMP. They are seen in
// the progress of flows, which is told at the first packet after some seconds of silence.

const (
	// maxInside bounds the places whose progress is followed; one has 24 bytes a heartbeat, 64 at most.
	maxInside = 4096
	keepBeats = 64
	minBeats  = 12
	minInside = 5 * time.Minute
	// Progress is told at most each 10 s, so that faster heartbeats look like any steady stream.
	minPause = 14 * time.Second
	// What follows within this belongs to the heartbeat; more of it between two is a conversation.
	sameTalk = 5 * time.Second
	// An order or a report; more is a transfer.
	maxInsideSize = 32 << 10
	// The share of pauses that must be within a quarter of the median: public implants vary by 10 to 20 %.
	insideShare, insideNear = 0.9, 0.25
	// ping has 56 octets (Windows 32), what carries data has more.
	maxPing = 64
)

type insideKey struct {
	src   netip.Addr
	place netip.AddrPort
	proto uint8
}

type inside struct {
	flow   string // of TCP: another one is another call, which is judged as such
	beats  []capture.Time
	last   capture.Time // of anything
	talk   int          // what came between heartbeats
	up     uint64
	down   uint64
	said   detectors.Severity
	saidAt capture.Time
}

// progress follows what goes on in flows that mostly rest.
func (d *detector) progress(p *capture.Progress) {
	f := p.Flow
	up := p.Bytes[capture.Orig]
	if up == 0 || up+p.Bytes[capture.Resp] > maxInsideSize || p.Guessed || !d.foreign(f) {
		return
	}
	switch f.Proto {
	case capture.ProtoTCP:
		if f.Resp.Port() == 22 {
			return // it has keep-alives of its own
		}
	case capture.ProtoUDP:
		switch f.Resp.Port() {
		case 53, 123, 500, 3478: // DNS, NTP, IKE, STUN
			return
		}
	case capture.ProtoICMP, capture.ProtoICMPv6:
		if up <= maxPing {
			return
		}
	}
	k := insideKey{f.Orig.Addr(), f.Resp, f.Proto}
	s := d.inside.Get(k)
	if s == nil {
		s = d.inside.Put(k)
	}
	if f.Proto == capture.ProtoTCP && s.flow != f.UID {
		*s = inside{flow: f.UID, said: s.said, saidAt: s.saidAt}
	}
	pause := p.Time.Sub(s.last)
	s.last = p.Time
	switch {
	case len(s.beats) > 0 && pause < sameTalk:
		return
	case len(s.beats) > 0 && pause < minPause:
		if s.talk++; s.talk > 1+len(s.beats)/10 {
			s.beats, s.talk, s.up, s.down = s.beats[:0], 0, 0, 0
		}
		return
	}
	if len(s.beats) == keepBeats {
		s.beats = append(s.beats[:0], s.beats[keepBeats/2:]...)
		s.up, s.down, s.talk = s.up/2, s.down/2, s.talk/2
	}
	s.beats = append(s.beats, p.Time)
	s.up, s.down = s.up+up, s.down+p.Bytes[capture.Resp]
	if n := len(s.beats); n < minBeats || n%4 != 0 || p.Time.Sub(s.beats[0]) < minInside || s.down == 0 {
		return
	}
	d.within(k, s, p)
}

// within judges a row of heartbeats to one place.
func (d *detector) within(k insideKey, s *inside, p *capture.Progress) {
	v := detectors.Low
	j := d.jobs.Get(k.src)
	if j != nil && p.Time > j.at.Time && s.beats[0].Sub(j.at.Time) <= d.cfg.AfterJob && s.beats[0] >= j.at.Time {
		v = detectors.Medium
	} else {
		j = nil
	}
	if s.said >= v && p.Time.Sub(s.saidAt) < saySame {
		return
	}
	// A name that nothing speaks against is what agents call.
	if name, _ := d.names.Load(k.place.Addr()); j == nil && name != "" && !ill(name) {
		return
	}
	gaps := make([]time.Duration, 0, len(s.beats)-1)
	for i := 1; i < len(s.beats); i++ {
		gaps = append(gaps, s.beats[i].Sub(s.beats[i-1]))
	}
	sorted := slices.Clone(gaps)
	slices.Sort(sorted)
	mid := sorted[len(sorted)/2]
	near := 0
	for _, g := range gaps {
		if m := float64(mid); float64(g) >= (1-insideNear)*m && float64(g) <= (1+insideNear)*m {
			near++
		}
	}
	if float64(near) < insideShare*float64(len(gaps)) {
		return
	}
	s.said, s.saidAt = v, p.Time
	n := uint64(len(s.beats))
	how := "within one connection"
	switch k.proto {
	case capture.ProtoTCP:
	case capture.ProtoUDP:
		how = "in datagrams"
	case capture.ProtoICMP, capture.ProtoICMPv6:
		how = "in ICMP"
	default:
		how = fmt.Sprintf("in packets of IP protocol %d", k.proto)
	}
	to := k.place.String()
	f := &detectors.Finding{
		At: p.At, Rule: rule, Severity: v, Confidence: 45, Outcome: detectors.Observed,
		Src: k.src, Dst: k.place.Addr(), Port: k.place.Port(), Flow: p.Flow,
		Msg: fmt.Sprintf("%s calls %s %s every %s: %d times in %s, with %d bytes each", k.src, to, how, span(mid), n,
			span(s.beats[n-1].Sub(s.beats[0])), s.up/n),
		Sub: fmt.Sprintf("%d of %d pauses are within a quarter of the median", near, len(gaps)),
		Evidence: []detectors.Evidence{
			{Field: "period", Value: mid.Round(time.Millisecond).String(), Packet: p.Packet},
			{Field: "calls", Value: fmt.Sprint(n), Packet: p.Packet},
		},
		Key: rule + "|" + k.src.String() + "|" + to,
	}
	if j != nil {
		f.Msg += fmt.Sprintf("; %s gave it a job before", j.by)
		f.Confidence = 75
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "job", Value: j.by.String(), Packet: j.at.Packet})
	}
	d.bus.Report(f)
}
