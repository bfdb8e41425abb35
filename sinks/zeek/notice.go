package zeek

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

const (
	// Pieces of evidence in a row. Detectors give a handful; the row stays readable if one gives more.
	maxEvidence = 16
	// Bytes of one piece of evidence. Detectors keep to a kilobyte themselves.
	maxEvidenceText = 1100
)

// rule is what the row of a finding says of its rule.
type rule struct {
	note          string
	atlas, attack []string // "AML.T0049 Exploit Public-Facing Application"
}

func rules(all []detectors.Rule) map[string]*rule {
	m := make(map[string]*rule, len(all))
	for _, r := range all {
		m[r.Name] = &rule{"Raytap::" + r.Note, techniques(r.ATLAS), techniques(r.ATTACK)}
	}
	return m
}

func techniques(ids []string) []string {
	var all []string
	for _, id := range ids {
		if name, _, ok := data.Technique(id); ok {
			id += " " + name
		}
		all = append(all, id)
	}
	return all
}

// notice is a finding as a row of notice.log: Zeek's columns, then ours.
type notice struct {
	f        *detectors.Finding
	rule     *rule
	evidence []string
	id       string
	peer     string // who saw it; "": nobody says
}

func (n *notice) set(f *detectors.Finding, r *rule) {
	if r == nil { // of a detector that registers no rules; the name says it all the same
		r = &rule{note: "Raytap::" + strings.ReplaceAll(f.Rule, "/", "_")}
	}
	n.f, n.rule, n.evidence, n.id = f, r, n.evidence[:0], f.ID()
	for _, e := range f.Evidence[:min(len(f.Evidence), maxEvidence)] {
		s := e.Field + "=" + e.Value
		if len(s) > maxEvidenceText {
			i := maxEvidenceText
			for i > 0 && !utf8.RuneStart(s[i]) {
				i--
			}
			s = s[:i] + "..."
		}
		if e.Packet != 0 {
			s += " #" + strconv.FormatUint(e.Packet, 10)
		}
		n.evidence = append(n.evidence, s)
	}
}

// Log implements capture.Record.
func (n *notice) Log() string { return "notice" }

// Row implements capture.Record.
func (n *notice) Row(w capture.Fields) {
	f, flow := n.f, n.f.Flow
	w.Time("ts", f.Time, true)
	flow.ID(w)
	w.String("fuid", "", false)
	w.String("file_mime_type", "", false)
	w.String("file_desc", "", false)
	if flow != nil {
		w.Enum("proto", capture.ProtoName(flow.Proto), true)
	} else {
		w.Enum("proto", "", false)
	}
	w.Enum("note", n.rule.note, true)
	w.String("msg", f.Msg, true)
	w.String("sub", f.Sub, f.Sub != "")
	w.Addr("src", f.Src, f.Src.IsValid())
	w.Addr("dst", f.Dst, f.Dst.IsValid())
	w.Port("p", f.Port, f.Port != 0)
	w.Count("n", uint64(max(f.Count, 0)), f.Count > 1)
	w.String("peer_descr", n.peer, n.peer != "")
	w.Set("actions", "enum", logAction[:], true)
	w.Set("email_dest", "string", nil, true)
	w.Interval("suppress_for", detectors.SuppressFor, true)
	w.String("rule", f.Rule, true)
	w.String("severity", f.Severity.String(), true)
	w.Count("confidence", uint64(max(f.Confidence, 0)), true)
	w.String("outcome", string(f.Outcome), f.Outcome != "")
	w.Vector("atlas", "string", n.rule.atlas, true)
	w.Vector("attack", "string", n.rule.attack, true)
	w.Vector("evidence", "string", n.evidence, true)
	community := ""
	if flow != nil {
		community = flow.CommunityID()
	}
	w.String("community_id", community, community != "")
	w.String("finding_id", n.id, true)
	w.String("incident_id", f.Incident, f.Incident != "")
	w.String("evidence_file", f.File, f.File != "")
}

var logAction = [...]string{"Notice::ACTION_LOG"}

// Findings writes single findings as JSON, for whoever passes them on: the objects are the rows of notice.log in its
// JSON form, by the same code, with what is no text for people (control characters, what reverses or hides text) shown as
// escapes: nobody knows what shows them. It belongs to one goroutine.
type Findings struct {
	Peer   string // the sensor's name, for peer_descr; may be empty
	rules  map[string]*rule
	notice notice
	row    jsonRow
}

// NewFindings takes the rules for the same as Options does.
func NewFindings(all []detectors.Rule) *Findings {
	w := &Findings{rules: rules(all)}
	w.row.clean = true
	return w
}

// JSON gives the object, without a line's end. The caller owns it.
func (w *Findings) JSON(f *detectors.Finding) []byte {
	w.notice.set(f, w.rules[f.Rule])
	w.notice.peer = w.Peer
	w.row.b = w.row.b[:0]
	w.row.begin()
	w.notice.Row(&w.row)
	w.row.end()
	return append([]byte(nil), w.row.b[:len(w.row.b)-1]...)
}

// Note gives the Zeek notice type of a finding.
func (w *Findings) Note(f *detectors.Finding) string {
	w.notice.set(f, w.rules[f.Rule])
	return w.notice.rule.note
}
