package export

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/report"
	"github.com/raytap/raytap/sinks/terminal"
)

const (
	// Findings below this are no threat intelligence.
	observedFrom = detectors.Medium
	// Findings that become observed data, the rest is in findings.jsonl.
	maxObserved = 2000
	// When the objects that are the same in every bundle were made.
	epoch = "2026-01-01T00:00:00.000Z"
)

var (
	// For STIX cyber-observables (section 2.9 of the specification), and for the objects that are ours.
	observableSpace = uuid{0x00, 0xab, 0xed, 0xb4, 0xaa, 0x42, 0x46, 0x6c, 0x9c, 0x01, 0xfe, 0xd2, 0x33, 0x15, 0xa9, 0xb7}
	ourSpace        = uuid5(uuid{0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}, // RFC 4122: URLs
		"https://github.com/raytap/raytap")
)

type uuid [16]byte

// uuid5 is RFC 4122's name-based UUID.
func uuid5(space uuid, name string) uuid {
	sum := sha1.Sum(append(space[:], name...))
	u := uuid(sum[:16])
	u[6] = u[6]&0x0f | 0x50
	u[8] = u[8]&0x3f | 0x80
	return u
}

func (u uuid) String() string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// object is a STIX object; encoding/json writes the keys of a map in order.
type object map[string]any

func id(kind, name string) string { return kind + "--" + uuid5(ourSpace, kind+" "+name).String() }

// observable gives a cyber-observable the identifier that follows from the properties that identify it. Their JSON is
// canonical here as it is: keys in order, plain text and whole numbers.
func observable(kind string, identify object) object {
	b, _ := json.Marshal(identify)
	o := object{"type": kind, "spec_version": "2.1", "id": kind + "--" + uuid5(observableSpace, string(b)).String()}
	for k, v := range identify {
		o[k] = v
	}
	return o
}

// stixTime has milliseconds, which is what STIX compares.
func stixTime(t capture.Time) string { return t.Std().Format("2006-01-02T15:04:05.000Z") }

// quote writes a string of a pattern.
func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}

var patterns = map[string]string{
	report.KindIPv4: "ipv4-addr", report.KindIPv6: "ipv6-addr", report.KindDomain: "domain-name", report.KindURL: "url",
}

type bundle struct {
	seen map[string]bool
	all  []object
}

func (b *bundle) put(o object) string {
	id := o["id"].(string)
	if !b.seen[id] {
		b.seen[id] = true
		b.all = append(b.all, o)
	}
	return id
}

// STIX writes a bundle.
func STIX(r *report.Report, w io.Writer) error {
	b := &bundle{seen: map[string]bool{}}
	author := id("identity", "raytap")
	b.put(object{"type": "identity", "spec_version": "2.1", "id": author, "created": epoch, "modified": epoch,
		"name": "raytap", "identity_class": "system", "description": "Network traffic inspection for Ray clusters."})
	domain := func(kind, id, created string) object {
		return object{"type": kind, "spec_version": "2.1", "id": id, "created": created, "modified": created, "created_by_ref": author}
	}
	technique := func(t report.Technique) string {
		o := domain("attack-pattern", id("attack-pattern", t.ID), epoch)
		o["name"] = t.Name
		if t.Name == "" {
			o["name"] = t.ID
		}
		ref := object{"source_name": "mitre-attack", "external_id": t.ID, "url": "https://attack.mitre.org/techniques/" + strings.ReplaceAll(t.ID, ".", "/")}
		if strings.HasPrefix(t.ID, "AML.") {
			ref = object{"source_name": "mitre-atlas", "external_id": t.ID, "url": "https://atlas.mitre.org/techniques/" + t.ID}
		}
		o["external_references"] = []object{ref}
		return b.put(o)
	}

	observed := map[string]string{} // by finding
	var refs []string
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.ID == "" || f.Severity < observedFrom || len(observed) >= maxObserved || !f.Src.IsValid() || !f.Dst.IsValid() {
			continue
		}
		observed[f.ID] = b.observe(domain, f)
		refs = append(refs, observed[f.ID])
		for _, t := range slices.Concat(f.ATTACK, f.ATLAS) {
			if a := technique(t); !slices.Contains(refs, a) {
				refs = append(refs, a)
			}
		}
	}
	for _, i := range r.Indicators() {
		path, ok := patterns[i.Kind]
		if !ok {
			continue
		}
		pattern := "[" + path + ":value = " + quote(i.Value) + "]"
		o := domain("indicator", id("indicator", pattern+" "+stixTime(i.First)), stixTime(i.First))
		o["name"] = i.Defang()
		o["description"] = "Named by findings of raytap, at most " + i.Severity.String() + "."
		if i.Role != "" {
			o["description"] = "Role in the traffic: " + i.Role + "."
		}
		o["pattern"], o["pattern_type"], o["pattern_version"] = pattern, "stix", "2.1"
		o["valid_from"] = stixTime(i.First)
		o["indicator_types"] = []string{"malicious-activity"}
		o["confidence"] = i.Confidence
		self := b.put(o)
		refs = append(refs, self)
		relate := func(how, to string) {
			rel := domain("relationship", id("relationship", self+" "+how+" "+to), stixTime(i.First))
			rel["relationship_type"], rel["source_ref"], rel["target_ref"] = how, self, to
			b.put(rel)
		}
		for _, t := range i.Techniques {
			relate("indicates", technique(t))
		}
		for _, f := range i.Findings {
			if to, ok := observed[f]; ok {
				relate("based-on", to)
			}
		}
	}
	if len(refs) > 0 {
		headline, text := r.Verdict()
		o := domain("report", id("report", strings.Join(refs, " ")), stixTime(r.Last))
		o["name"], o["description"], o["published"] = headline, text, stixTime(r.Last)
		o["report_types"], o["object_refs"] = []string{"observed-data", "indicator"}, refs
		b.put(o)
	}
	var ids []string
	for _, o := range b.all {
		ids = append(ids, o["id"].(string))
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(object{"type": "bundle", "id": id("bundle", strings.Join(ids, " ")), "objects": b.all}); err != nil {
		return err
	}
	_, err := w.Write(terminal.JSON(text.Bytes()))
	return err
}

// observe makes observed data of a finding: two addresses and the traffic between them.
func (b *bundle) observe(domain func(kind, id, created string) object, f *report.Finding) string {
	addr := func(a string, v4 bool) string {
		kind := "ipv6-addr"
		if v4 {
			kind = "ipv4-addr"
		}
		return b.put(observable(kind, object{"value": a}))
	}
	src, dst := f.Src.Unmap(), f.Dst.Unmap()
	from, to := addr(src.String(), src.Is4()), addr(dst.String(), dst.Is4())
	ip := "ipv6"
	if dst.Is4() {
		ip = "ipv4"
	}
	traffic := object{"src_ref": from, "dst_ref": to, "protocols": []string{ip}, "start": stixTime(f.Time)}
	if f.Proto != "" {
		traffic["protocols"] = []string{ip, f.Proto}
	}
	if f.Port != 0 {
		traffic["dst_port"] = f.Port
	}
	if f.SrcPort != 0 {
		traffic["src_port"] = f.SrcPort
	}
	o := domain("observed-data", id("observed-data", f.ID), stixTime(f.Time))
	o["first_observed"], o["last_observed"] = stixTime(f.Time), stixTime(f.Time)
	o["number_observed"] = min(f.Count, 999999999) // the specification's bound
	o["object_refs"] = []string{from, to, b.put(observable("network-traffic", traffic))}
	o["labels"] = []string{strings.NewReplacer("/", "-", "_", "-").Replace(f.Rule)}
	return b.put(o)
}
