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
// work 330 to 420, up to 1,100 with a coinbase, and 230 to 320 in the dialects of GPUs (KawPow's and Ethereum's
// mining.notify), where a target of one length (mining.set_target, set_difficulty) may stand before each. They begin with
// a subscription and an authorization, of 60 to 200 octets. Miners of ETHPROXY ask for work (eth_getWork, 60 octets)
// every few seconds and are given three hashes, 240 octets.
const (
	shareMin, shareMax   = 110, 430
	answerMin, answerMax = 45, 140
	workMin, workMax     = 220, 1200
	targetMin, targetMax = 60, 200
	ticketMax            = 320
	loginMin, loginMax   = 80, 950
	pollMin, pollMax     = 60, 140
	// Shares of one session differ by the length of a nonce and of a job's number.
	alike = 16
	// This many shares that are answered, of one length, make the shape; each more is worth the same again. Who asks for
	// work must have asked more often.
	minShares = 3
	minWork   = 2
	minPolls  = 6
	// Requests before the first work: subscribe, authorize, extranonce.subscribe.
	maxSetup = 3
)

// shape is what was counted in a session's records.
type shape struct {
	login  bool
	shares int // requests of one length that were answered by one of the length of a yes
	work   int // what came without being asked for, of one length
	polls  int // requests of another length that were answered with the length of work
	other  int // records that fit nothing
}

// look reads lengths of records as stratum over TLS.
// It is whole because it is one state machine over the records, and each case counts on those before it.
func look(records []tls.Record) (s shape) {
	var shares, work, targets, polls, given []int
	asked := 0 // the request that is not answered yet
	setup := 0
	begun := false // the client spoke again: what is as short as a ticket is none
	for i := range records {
		switch r := &records[i]; {
		case r.FromClient && !s.login:
			// The client speaks first in stratum; session tickets of the server may stand before or behind.
			if r.Len < loginMin || r.Len > loginMax {
				return shape{other: len(records)}
			}
			s.login, setup = true, 1
		case r.FromClient:
			if asked != 0 {
				s.other++ // never answered
			}
			asked, begun = r.Len, true
		case !s.login, !begun && r.Len < ticketMax:
		case asked != 0:
			switch fits := r.Len >= answerMin && r.Len <= answerMax; {
			case fits && len(work)+len(polls) == 0 && setup < maxSetup:
				setup++
			case fits && asked >= shareMin && asked <= shareMax:
				shares = append(shares, asked)
			case r.Len >= workMin && r.Len <= workMax && asked >= pollMin && asked <= pollMax:
				polls, given = append(polls, asked), append(given, r.Len)
			case r.Len >= workMin && r.Len <= workMax:
				work = append(work, r.Len) // before the answer
				continue
			default:
				s.other++
			}
			asked = 0
		case r.Len >= workMin && r.Len <= workMax:
			work = append(work, r.Len)
		case r.Len >= targetMin && r.Len <= targetMax && len(work)+len(shares) > 0:
			targets = append(targets, r.Len)
		case len(shares) > 0:
			s.other++
		}
	}
	s.shares = most(shares)
	s.other += len(shares) - s.shares
	s.work = most(work)
	s.other += max(len(work)-s.work-1, 0) // the answer to the login is longer than work alone
	// A target announces work: there are no more of them.
	n := min(most(targets), s.work+1)
	s.other += len(targets) - n
	if s.polls = min(most(polls), most(given)); s.polls > 0 {
		s.other += len(polls) - s.polls
	}
	return s
}

// mines reports whether the shape is that of mining, with work unasked or with work that is asked for.
func (s *shape) mines() bool {
	return s.login && s.shares >= minShares && (s.work >= minWork || s.polls >= minPolls) && s.other <= (s.shares+s.work+s.polls)/4
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
	if !p.mines() {
		return
	}
	pulls := p.work < minWork
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
		Key: ruleTLS + "|" + s.Flow.UID,
	}
	if pulls {
		f.Evidence[0].Value = fmt.Sprintf("%d requests of one length, each answered briefly; %d of another, each answered with one length; %d others", p.shares, p.polls, p.other)
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
	case pulls: // programs that fetch tasks and report results look the same
	case s.ServerName == "" && !d.env.Home.Contains(server.Addr()):
		f.Severity, f.Confidence = detectors.Medium, 55
	}
	how := "is sent work unasked"
	if pulls {
		how = "asks for work of one length"
	}
	f.Msg = fmt.Sprintf("%s speaks over TLS with %s as miners do: it sends shares of one length that are answered briefly, and %s", client.Addr(), where, how)
	if s.ServerName == "" {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "hello", Value: "no server name, no application protocol; JA4 " + s.JA4, Packet: s.Packet})
	} else {
		f.Evidence = append(f.Evidence, detectors.Evidence{Field: "hello", Value: "server name " + detectors.Clip(s.ServerName, 80) + ", no application protocol; JA4 " + s.JA4, Packet: s.Packet})
	}
	d.bus.Report(f)
}
