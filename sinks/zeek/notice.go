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

// technique writes one of them as a structure.
func technique(w capture.Fields, text string) {
	id, name, _ := strings.Cut(text, " ")
	w.String("id", id, true)
	w.String("name", name, name != "")
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
	pieces   []detectors.Evidence // bounded
	evidence []string             // the same as texts
	id       string
	peer     string // who saw it; "": nobody says
	update   bool   // whoever gets it knows of the finding
}

func (n *notice) set(f *detectors.Finding, r *rule) {
	if r == nil { // of a detector that registers no rules; the name says it all the same
		r = &rule{note: "Raytap::" + strings.ReplaceAll(f.Rule, "/", "_")}
	}
	n.f, n.rule, n.pieces, n.evidence, n.id, n.update = f, r, n.pieces[:0], n.evidence[:0], f.ID(), f.Revision > 1
	for _, e := range f.Evidence[:min(len(f.Evidence), maxEvidence)] {
		if most := max(maxEvidenceText-len(e.Field)-1, 0); len(e.Value) > most {
			i := most
			for i > 0 && !utf8.RuneStart(e.Value[i]) {
				i--
			}
			e.Value = e.Value[:i] + "..."
		}
		s := e.Field + "=" + e.Value
		if e.Packet != 0 {
			s += " @" + strconv.FormatUint(e.Packet, 10)
		}
		n.pieces, n.evidence = append(n.pieces, e), append(n.evidence, s)
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
	w.Count("n", uint64(max(f.Count, 1)), true)
	w.String("peer_descr", n.peer, n.peer != "")
	w.Set("actions", "enum", logAction[:], true)
	w.Set("email_dest", "string", nil, true)
	w.Interval("suppress_for", detectors.SuppressFor, true)
	w.String("rule", f.Rule, true)
	w.String("severity", f.Severity.String(), true)
	w.Count("confidence", uint64(max(f.Confidence, 0)), true)
	w.String("outcome", string(f.Outcome), f.Outcome != "")
	capture.Objects(w, "atlas", n.rule.atlas, func(w capture.Fields, i int) { technique(w, n.rule.atlas[i]) }, true)
	capture.Objects(w, "attack", n.rule.attack, func(w capture.Fields, i int) { technique(w, n.rule.attack[i]) }, true)
	capture.Objects(w, "evidence", n.evidence, func(w capture.Fields, i int) {
		e := &n.pieces[i]
		w.String("field", e.Field, true)
		w.String("value", e.Value, true)
		w.Count("packet", e.Packet, e.Packet != 0)
	}, true)
	community := ""
	if flow != nil {
		community = flow.CommunityID()
	}
	w.String("community_id", community, community != "")
	w.String("finding_id", n.id, true)
	w.String("incident_id", f.Incident, f.Incident != "")
	w.Count("revision", uint64(max(f.Revision, 1)), true)
	w.Bool("update", n.update, true)
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
func (w *Findings) JSON(f *detectors.Finding) []byte { return w.Update(f, f.Revision > 1) }

// Update is JSON, and says whether whoever gets it knows of the finding.
func (w *Findings) Update(f *detectors.Finding, known bool) []byte {
	return w.write(f, w.rules[f.Rule], w.Peer, known)
}

// Stored is JSON of a finding that was read back from a log, with what the log says of its rule and of who saw it.
func (w *Findings) Stored(f *detectors.Finding, note string, atlas, attack []string, peer string) []byte {
	return w.write(f, &rule{note, atlas, attack}, peer, f.Revision > 1)
}

func (w *Findings) write(f *detectors.Finding, r *rule, peer string, known bool) []byte {
	w.notice.set(f, r)
	w.notice.update, w.notice.peer = known, peer
	return w.Row(&w.notice)
}

// Row gives any row as such an object. The caller owns it.
func (w *Findings) Row(r capture.Record) []byte {
	w.row.b = w.row.b[:0]
	w.row.begin()
	r.Row(&w.row)
	w.row.end()
	return append([]byte(nil), w.row.b[:len(w.row.b)-1]...)
}

// Note gives the Zeek notice type of a finding.
func (w *Findings) Note(f *detectors.Finding) string {
	w.notice.set(f, w.rules[f.Rule])
	return w.notice.rule.note
}
