package mining

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	typeA       = 1
	typeCNAME   = 5
	rcodeAbsent = 3 // NXDOMAIN
)

// lookup judges a question for a name.
func (d *detector) lookup(t *dns.Transaction) {
	if t.Flow == nil || t.NetBIOS {
		return
	}
	src := t.Flow.Orig.Addr()
	if t.Answered && !t.Multicast {
		d.resolvers.Store(t.Flow.Resp.Addr(), struct{}{})
	}
	name := t.Query
	entry, grade, alias := d.listed(t)
	if entry == "" {
		return
	}
	first := d.resolve(t)
	j, ok := judgeAnswer(t, first)
	if !ok {
		return
	}
	if alias != "" {
		j.end = ", another name for " + detectors.Clip(alias, 120) + j.end
	}
	if grade != data.Pool && j.severity > detectors.Low {
		j.severity, j.confidence = detectors.Low, 40
	}
	if _, relays := d.resolvers.Load(src); relays && j.severity > detectors.Low {
		j.severity, j.confidence = detectors.Low, 40
		j.end += "; it answers DNS itself and may ask for others"
	}
	if !d.env.Home.Contains(src) {
		j.severity, j.confidence = detectors.Low, min(j.confidence, 40)
	}
	if j.severity > detectors.Low && first.IsValid() && alias == "" && pages(name) {
		j.severity, j.confidence = detectors.Low, 40
		j.end += "; so its pages are called, too"
		t.Addresses(func(a netip.Addr, _ time.Duration) bool {
			d.asked.Store([2]netip.Addr{src, a}, page{name, entry})
			return true
		})
	}
	at := t.At
	if t.Reply.Packet != 0 {
		at = t.Reply
	}
	f := &detectors.Finding{
		At: at, Rule: rulePool, Severity: j.severity, Confidence: j.confidence, Outcome: j.outcome,
		Msg: fmt.Sprintf("%s looks up mining pool %s%s", src, detectors.Clip(name, 120), j.end),
		Sub: "listed as " + entry + " (" + string(grade) + ")",
		Src: src, Dst: t.Flow.Resp.Addr(), Port: t.Flow.Resp.Port(), Flow: t.Flow,
		Evidence: []detectors.Evidence{{Field: "query", Value: detectors.Clip(name, 255), Packet: t.Packet}},
		Key:      rulePool + "|" + src.String() + "|" + entry,
	}
	if j.severity <= detectors.Low || !first.IsValid() {
		d.bus.Report(f)
		return
	}
	if len(d.wait) >= maxHeld {
		d.bus.Report(d.wait[0].finding)
		d.wait = slices.Delete(d.wait, 0, 1)
	}
	d.wait = append(d.wait, held{f, entry})
}

// listed returns the pool that the name, or another name in the answer, is listed as; alias is that other name.
func (d *detector) listed(t *dns.Transaction) (entry string, grade data.Grade, alias string) {
	if !d.names.Has(t.NameID) {
		if entry, grade = d.pools.Name(t.Query); entry == "" {
			d.names.Add(t.NameID)
		}
	}
	for i := 0; entry == "" && i < len(t.Answers); i++ {
		// A name of the attacker's own that is only another name for a pool.
		a := &t.Answers[i]
		if alias = a.Name; a.Type == typeCNAME {
			alias = a.Data
		}
		if alias == t.Query {
			continue // answers mostly repeat it
		}
		entry, grade = d.pools.Name(alias)
	}
	return entry, grade, alias
}

// resolve notes the addresses of a pool, and returns the first.
func (d *detector) resolve(t *dns.Transaction) (first netip.Addr) {
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		if !first.IsValid() {
			first = a
		}
		if !a.IsUnspecified() && !a.IsLoopback() {
			d.resolved.Store(a, t.Query)
		}
		return true
	})
	return first
}

// judgement is how bad a lookup is by what was answered.
type judgement struct {
	severity   detectors.Severity
	confidence int
	outcome    detectors.Outcome
	end        string // of the sentence
}

// judgeAnswer weighs the answer to a question for a pool; false if another question's counts.
func judgeAnswer(t *dns.Transaction, first netip.Addr) (judgement, bool) {
	j := judgement{detectors.Medium, 80, detectors.Succeeded, ""}
	switch out := t.Outcome(); {
	case out == dns.Unanswered:
		j.outcome, j.confidence, j.end = detectors.Unknown, 70, ", no answer seen"
	case out == dns.Sinkholed:
		j.severity, j.outcome, j.end = detectors.Low, detectors.Attempted, ", blocked with "+first.String()
	case out == dns.NXDomain || t.RCode == rcodeAbsent:
		j.severity, j.outcome, j.end = detectors.Low, detectors.Attempted, ", blocked or gone: NXDOMAIN"
	case out == dns.Failed || out == dns.Empty:
		if t.Type != typeA {
			return j, false // AAAA and HTTPS are asked for beside A, whose answer counts
		}
		j.severity, j.outcome, j.end = detectors.Low, detectors.Attempted, ", without an answer"
		if t.RCode != 0 {
			j.end = ", refused or failed: " + rcode(t.RCode)
		}
	case first.IsValid():
		j.end = ", which is " + first.String()
	}
	return j, true
}

// page is what a machine looked up that may be a pool's pages.
type page struct{ name, entry string }

// held is a finding of a look-up, until it is clear what the name was wanted for.
type held struct {
	finding *detectors.Finding
	entry   string
}

// pages says whether a name is one that a pool's web pages have: the domain itself, and what is usual before it. Miners
// are given it by few pools, and then call other ports.
func pages(name string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return false
	}
	switch strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(name, domain), "."), "0123456789") {
	case "", "www", "m", "api", "blog", "docs", "doc", "help", "support", "forum", "status", "static", "assets", "cdn", "stats":
		return true
	}
	return false
}

// read takes back what was held of a client's look-ups of a pool whose pages it reads.
func (d *detector) read(client netip.Addr, entry string) {
	d.wait = slices.DeleteFunc(d.wait, func(h held) bool { return h.finding.Src == client && h.entry == entry })
}

// tick says what nobody explained.
func (d *detector) tick(at capture.At) {
	n := 0
	for n < len(d.wait) && at.Time.Sub(d.wait[n].finding.Time) > holdFor {
		d.bus.Report(d.wait[n].finding)
		n++
	}
	d.wait = slices.Delete(d.wait, 0, n)
}

func (d *detector) end(capture.At) {
	for _, h := range d.wait {
		d.bus.Report(h.finding)
	}
	d.wait = nil
}

func rcode(c uint16) string {
	switch c {
	case 2:
		return "SERVFAIL"
	case 5:
		return "REFUSED"
	}
	return "code " + strconv.Itoa(int(c))
}
