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
	var entry string
	var grade data.Grade
	if !d.names.Has(t.NameID) {
		if entry, grade = d.pools.Name(name); entry == "" {
			d.names.Add(t.NameID)
		}
	}
	alias := ""
	for i := 0; entry == "" && i < len(t.Answers); i++ {
		// A name of the attacker's own that is only another name for a pool.
		a := &t.Answers[i]
		if alias = a.Name; a.Type == typeCNAME {
			alias = a.Data
		}
		if alias == name {
			continue // answers mostly repeat it
		}
		entry, grade = d.pools.Name(alias)
	}
	if entry == "" {
		return
	}
	var first netip.Addr
	t.Addresses(func(a netip.Addr, _ time.Duration) bool {
		if !first.IsValid() {
			first = a
		}
		if !a.IsUnspecified() && !a.IsLoopback() {
			d.resolved.Store(a, name)
		}
		return true
	})
	sev, confidence, outcome, end := detectors.Medium, 80, detectors.Succeeded, ""
	switch out := t.Outcome(); {
	case out == dns.Unanswered:
		outcome, confidence, end = detectors.Unknown, 70, ", no answer seen"
	case out == dns.Sinkholed:
		sev, outcome, end = detectors.Low, detectors.Attempted, ", blocked with "+first.String()
	case out == dns.NXDomain || t.RCode == rcodeAbsent:
		sev, outcome, end = detectors.Low, detectors.Attempted, ", blocked or gone: NXDOMAIN"
	case out == dns.Failed || out == dns.Empty:
		if t.Type != typeA {
			return // AAAA and HTTPS are asked for beside A, whose answer counts
		}
		sev, outcome, end = detectors.Low, detectors.Attempted, ", without an answer"
		if t.RCode != 0 {
			end = ", refused or failed: " + rcode(t.RCode)
		}
	case first.IsValid():
		end = ", which is " + first.String()
	}
	if alias != "" {
		end = ", another name for " + detectors.Clip(alias, 120) + end
	}
	if grade != data.Pool && sev > detectors.Low {
		sev, confidence = detectors.Low, 40
	}
	if _, relays := d.resolvers.Load(src); relays && sev > detectors.Low {
		sev, confidence = detectors.Low, 40
		end += "; it answers DNS itself and may ask for others"
	}
	if !d.env.Home.Contains(src) {
		sev, confidence = detectors.Low, min(confidence, 40)
	}
	if sev > detectors.Low && first.IsValid() && alias == "" && pages(name) {
		sev, confidence = detectors.Low, 40
		end += "; so its pages are called, too"
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
		At: at, Rule: rulePool, Severity: sev, Confidence: confidence, Outcome: outcome,
		Msg: fmt.Sprintf("%s looks up mining pool %s%s", src, detectors.Clip(name, 120), end),
		Sub: "listed as " + entry + " (" + string(grade) + ")",
		Src: src, Dst: t.Flow.Resp.Addr(), Port: t.Flow.Resp.Port(), Flow: t.Flow,
		Evidence: []detectors.Evidence{{Field: "query", Value: detectors.Clip(name, 255), Packet: t.Packet}},
		Key:      rulePool + "|" + src.String() + "|" + entry,
	}
	if sev <= detectors.Low || !first.IsValid() {
		d.bus.Report(f)
		return
	}
	if len(d.wait) >= maxHeld {
		d.bus.Report(d.wait[0].finding)
		d.wait = slices.Delete(d.wait, 0, 1)
	}
	d.wait = append(d.wait, held{f, entry})
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
