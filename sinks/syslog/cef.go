package syslog

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/terminal"
)

// The Common Event Format (ArcSight, version 25 of 2017, CEF:0): a head of seven fields, and pairs of keys and values of its
// dictionary, as the text of a message:
//
//	CEF:0|raytap|raytap|1.0|jobsubmit/external|203.0.113.66 ran a job on ...|10|rt=1763916157010 src=203.0.113.66 ...
//
// Addresses of IPv6 are in c6a2 and c6a3, since src and dst are of IPv4 there.

// cefSeverities gives CEF's, 0 to 10: 0-3 is low, 4-6 medium, 7-8 high, 9-10 very high.
var cefSeverities = [...]int{detectors.Info: 1, detectors.Low: 3, detectors.Medium: 5, detectors.High: 8, detectors.Critical: 10}

// Lengths that the dictionary gives, and one for the name, in bytes.
const (
	maxCEFName = 512
	maxCEFMsg  = 1023
	maxCEFCS   = 4000
)

// cefHead writes what may stand in the head, cefValue what may in a value. Lines' ends are no more there: terminal.Clean
// has shown them as escapes.
var (
	cefHead  = strings.NewReplacer(`\`, `\\`, `|`, `\|`)
	cefValue = strings.NewReplacer(`\`, `\\`, `=`, `\=`)
)

// cut shortens a text to n bytes, at the end of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cef formats a finding, or with known, what is new of one that was sent before. note is its type of Zeek.
func (s *Sink) cef(f *detectors.Finding, note string, known bool) string {
	var b strings.Builder
	head := func(v string, n int) {
		b.WriteString(cefHead.Replace(cut(terminal.Clean(v), n)))
		b.WriteByte('|')
	}
	version := s.opt.Version
	if version == "" {
		version = "0"
	}
	b.WriteString("CEF:0|raytap|raytap|")
	head(version, 31)
	head(f.Rule, maxCEFCS)
	name := f.Msg
	if name == "" {
		name = f.Rule
	}
	head(name, maxCEFName)
	b.WriteString(strconv.Itoa(cefSeverities[min(int(f.Severity), len(cefSeverities)-1)]))
	b.WriteByte('|')
	first := true
	pair := func(key, value string, n int) {
		if value == "" {
			return
		}
		if !first {
			b.WriteByte(' ')
		}
		first = false
		b.WriteString(key)
		b.WriteByte('=')
		b.WriteString(cefValue.Replace(cut(terminal.Clean(value), n)))
	}
	labelled := func(key, label, value string, n int) {
		if value != "" {
			pair(key, value, n)
			pair(key+"Label", label, 1023)
		}
	}
	address := func(a netip.Addr, v4, v6, label string) {
		switch a = a.Unmap().WithZone(""); {
		case a.Is4():
			pair(v4, a.String(), 15)
		case a.Is6():
			labelled(v6, label, a.String(), 45)
		}
	}
	pair("rt", strconv.FormatInt(f.Time.Std().UnixMilli(), 10), 20)
	pair("deviceExternalId", s.opt.Host, 255)
	pair("dvchost", s.opt.Host, 100)
	pair("externalId", f.ID(), 40)
	pair("cat", note, 1023)
	address(f.Src, "src", "c6a2", "Source IPv6 Address")
	address(f.Dst, "dst", "c6a3", "Destination IPv6 Address")
	if f.Flow != nil {
		if p := f.Flow.Orig; p.Addr() == f.Src && p.Port() != 0 {
			pair("spt", strconv.Itoa(int(p.Port())), 5)
		} else if p := f.Flow.Resp; p.Addr() == f.Src && p.Port() != 0 {
			pair("spt", strconv.Itoa(int(p.Port())), 5)
		}
	}
	if f.Port != 0 {
		pair("dpt", strconv.Itoa(int(f.Port)), 5)
	}
	if f.Flow != nil {
		pair("proto", strings.ToUpper(capture.ProtoName(f.Flow.Proto)), 31)
	}
	act := "alert" // raytap watches and blocks nothing
	if known {
		act = "update" // of the one with the same externalId
	}
	pair("act", act, 63)
	pair("outcome", string(f.Outcome), 63)
	pair("cnt", strconv.Itoa(max(f.Count, 1)), 10)
	pair("cn1", strconv.Itoa(f.Confidence), 10)
	pair("cn1Label", "confidence", 1023)
	labelled("cs1", "rule", f.Rule, maxCEFCS)
	labelled("cs2", "incident_id", f.Incident, maxCEFCS)
	if f.Flow != nil {
		labelled("cs3", "uid", f.Flow.UID, maxCEFCS)
		labelled("cs4", "community_id", f.Flow.CommunityID(), maxCEFCS)
	}
	var evidence []string
	for _, e := range f.Evidence {
		evidence = append(evidence, e.Field+"="+e.Value)
	}
	labelled("cs6", "sensors", s.sensors(f), maxCEFCS)
	labelled("cs5", "evidence", strings.Join(evidence, "; "), maxCEFCS)
	pair("msg", f.Msg, maxCEFMsg)
	return b.String()
}
