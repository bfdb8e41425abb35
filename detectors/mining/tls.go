package mining

import (
	"fmt"

	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
)

// hello looks for pools in the server names of TLS sessions.
func (d *detector) hello(s *tls.Session) {
	if s.Flow == nil || s.ServerName == "" {
		return
	}
	entry, grade := d.pools.Name(s.ServerName)
	if entry == "" {
		return
	}
	// Browsers ask for HTTP; so does whoever reads a pool's pages or its API. Miners offer no protocol.
	web := len(s.Offered) > 0
	c := call{at: s.At, flow: s.Flow, name: s.ServerName, entry: entry, grade: grade, verb: "calls mining pool", weak: web, page: web,
		outcome: detectors.Unknown, evidence: detectors.Evidence{Field: "server name", Value: detectors.Clip(s.ServerName, 255), Packet: s.Packet}}
	if web {
		c.verb = "reads the pages of mining pool"
	}
	if s.Answered {
		c.outcome = detectors.Succeeded
	}
	d.call(c)
}

// What stratum looks like inside TLS, in octets of ciphertext; the text is 16 to 40 shorter, by cipher. A share is
// 221 to 380 octets by XMRig's builders and 100 to 250 by those of Bitcoin's dialect, the answer to it 35 to 75, new
// work 330 to 420 and up to 1,100 with a coinbase.
const (
	shareMin, shareMax   = 110, 430
	answerMin, answerMax = 45, 140
	workMin, workMax     = 320, 1200
	loginMin, loginMax   = 120, 950
	// Shares of one session differ by the length of a nonce and of a job's number.
	alike = 16
	// This many shares that are answered, of one length, make the shape; each more is worth the same again.
	minShares = 3
	minWork   = 2
)

// shape is what was counted in a session's records.
type shape struct {
	login  bool
	shares int // requests of one length that were answered by one of the length of a yes
	work   int // what came without being asked for, of one length
	other  int // records that fit nothing
}

func look(records []tls.Record) (s shape) {
	var shares, work []int
	waiting := false // a request is not answered yet
	for i := range records {
		switch r := &records[i]; {
		case r.FromClient && !s.login:
			// The client speaks first in stratum; session tickets of the server may stand before or behind.
			if r.Len < loginMin || r.Len > loginMax {
				return shape{other: len(records)}
			}
			s.login = true
		case r.FromClient && r.Len >= shareMin && r.Len <= shareMax:
			waiting = true
			shares = append(shares, r.Len)
		case r.FromClient:
			s.other++
		case !s.login:
		case waiting && r.Len >= answerMin && r.Len <= answerMax:
			waiting = false
			s.shares++
		case r.Len >= workMin && r.Len <= workMax:
			work = append(work, r.Len)
		case len(shares) > 0:
			s.other++
		}
	}
	n := most(shares)
	s.other += len(shares) - n
	s.shares = min(s.shares, n)
	s.work = most(work)
	s.other += max(len(work)-s.work-1, 0) // the answer to the login is longer than work alone
	return s
}

// most counts the largest group that is alike.
func most(lens []int) (n int) {
	for _, a := range lens {
		k := 0
		for _, b := range lens {
			if a-b <= alike && b-a <= alike {
				k++
			}
		}
		n = max(n, k)
	}
	return n
}

// rhythm judges what the records of an encrypted session look like. Shape is never proof: what fits is low, and medium
// only if the client names no server either, as XMRig does not by default, or the name is a pool's.
func (d *detector) rhythm(r *tls.Rhythm) {
	s := r.Session
	if s == nil || s.Flow == nil {
		return
	}
	p := look(r.Records)
	if !p.login || p.shares < minShares || p.work < minWork || p.other > (p.shares+p.work)/4 {
		return
	}
	client, server := s.Flow.Orig, s.Flow.Resp
	if !d.env.Home.Contains(client.Addr()) && !d.env.Home.Contains(server.Addr()) {
		return
	}
	f := &detectors.Finding{
		At: r.At, Rule: ruleTLS, Severity: detectors.Low, Confidence: 40, Outcome: detectors.Observed,
		Src: client.Addr(), Dst: server.Addr(), Port: server.Port(), Flow: s.Flow,
		Sub: fmt.Sprintf("%d records in %s", len(r.Records), detectors.Span(r.Last.Time.Sub(r.Time))),
		Evidence: []detectors.Evidence{{Field: "records", Packet: r.Packet,
			Value: fmt.Sprintf("%d requests of one length, each answered briefly; %d records of another length unasked; %d others", p.shares, p.work, p.other)}},
	}
	where := server.String()
	name, pool := d.resolved.Load(server.Addr())
	if entry, _ := d.pools.Name(s.ServerName); entry != "" {
		name, pool = s.ServerName, true
	}
	switch {
	case pool:
		f.Severity, f.Confidence = detectors.Medium, 85
		where = detectors.Clip(name, 80) + " (" + where + ")"
	case s.ServerName == "" && !d.env.Home.Contains(server.Addr()):
		f.Severity, f.Confidence = detectors.Medium, 55
	}
	f.Msg = fmt.Sprintf("%s speaks over TLS with %s as miners do: it sends shares of one length that are answered briefly, and is sent work unasked", client.Addr(), where)
	if s.ServerName == "" {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "hello", Value: "no server name, no application protocol; JA4 " + s.JA4, Packet: s.Packet})
	} else {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "hello", Value: "server name " + detectors.Clip(s.ServerName, 80) + ", no application protocol; JA4 " + s.JA4, Packet: s.Packet})
	}
	d.bus.Report(f)
}
