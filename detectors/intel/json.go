package intel

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/raytap/raytap/detectors"
)

const (
	// maxNest bounds how deep objects lie in one another; MISP has six.
	maxNest = 32
	// maxKeys bounds the values of an object that are kept.
	maxKeys = 64
	// maxBare is how deep an object may lie that is taken for its keys alone: deeper ones are references and the like.
	maxBare = 2
	// maxPattern bounds a STIX pattern; those of a hundred terms have 8 KiB.
	maxPattern = 64 << 10
)

var errNest = errors.New("intel: objects nested too deep")

// json reads STIX 2.1 bundles and TAXII envelopes, MISP events, ThreatFox's export and lists of objects, one object at
// a time, so that a file of gigabytes needs the memory of one.
func (l *loader) json(br *bufio.Reader) error {
	w := &walker{l: l, d: json.NewDecoder(br)}
	w.d.UseNumber()
	for {
		t, err := w.d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.value(t, "", nil, 0); err != nil {
			return err
		}
	}
}

type walker struct {
	l     *loader
	d     *json.Decoder
	n     int
	event string // of MISP, what its attributes are about
}

// object is the single values of an object.
type object map[string]string

// value takes what begins with token t; key is the name that it has in its object.
func (w *walker) value(t json.Token, key string, in object, depth int) error {
	if depth > maxNest {
		return errNest
	}
	switch v := t.(type) {
	case json.Delim:
		if v == '[' {
			for w.d.More() {
				t, err := w.d.Token()
				if err != nil {
					return err
				}
				if s, ok := t.(string); ok && in == nil {
					w.n++
					w.l.add(record{line: w.n, value: s, confidence: -1}) // a list of bare values
					continue
				}
				if err := w.value(t, key, in, depth+1); err != nil {
					return err
				}
			}
			_, err := w.d.Token()
			return err
		}
		o := object{}
		for w.d.More() {
			k, err := w.d.Token()
			if err != nil {
				return err
			}
			name, _ := k.(string)
			t, err := w.d.Token()
			if err != nil {
				return err
			}
			if err := w.value(t, name, o, depth+1); err != nil {
				return err
			}
		}
		if _, err := w.d.Token(); err != nil {
			return err
		}
		w.object(o, depth)
		return nil
	case string:
		w.keep(in, key, v)
	case json.Number:
		w.keep(in, key, v.String())
	case bool:
		w.keep(in, key, strconv.FormatBool(v))
	}
	return nil
}

func (w *walker) keep(o object, key, v string) {
	if o == nil || len(v) > maxPattern {
		return
	}
	if old, ok := o[key]; ok {
		if len(old)+len(v) < maxDesc { // elements of a list
			o[key] = old + ", " + v
		}
		return
	}
	if len(o) < maxKeys {
		o[key] = v
	}
	if key == "info" {
		w.event = v
	}
}

func first(o object, keys ...string) string {
	for _, k := range keys {
		if v := o[k]; v != "" {
			return v
		}
	}
	return ""
}

// object takes a whole object, whose parts were taken before.
func (w *walker) object(o object, depth int) {
	r := record{confidence: -1}
	if n, err := strconv.ParseFloat(first(o, "confidence_level", "confidence"), 64); err == nil && n >= 0 && n <= 100 {
		r.confidence = int(n)
	}
	for _, k := range [...]string{"last_seen_utc", "last_seen", "modified", "timestamp", "first_seen_utc", "first_seen", "valid_from", "created"} {
		if r.seen = parseDay(o[k]); r.seen != 0 {
			break
		}
	}
	r.until = parseDay(o["valid_until"])
	switch {
	case o["type"] == "indicator" && o["pattern"] != "":
		w.l.f.Format = "stix 2.1"
		w.n++
		w.stix(o, r)
		return
	case o["spec_version"] != "" || o["type"] == "bundle":
		return
	case o["ioc_type"] != "" && first(o, "ioc_value", "ioc") != "":
		w.l.f.Format = "json (ThreatFox)"
		r.value, r.typ, r.desc = first(o, "ioc_value", "ioc"), o["ioc_type"], first(o, "malware_printable", "malware", "threat_type")
	case o["value"] != "" && o["type"] != "" && (o["to_ids"] != "" || o["category"] != ""):
		w.l.f.Format = "misp"
		r.value, r.typ, r.desc = o["value"], o["type"], first(object{"a": w.event, "b": o["comment"]}, "a", "b")
		if v := o["to_ids"]; v == "false" || v == "0" {
			w.n++
			w.l.f.Records++
			r.line = w.n
			w.l.skip(&r, "not meant for detection (to_ids)")
			return
		}
	case depth <= maxBare && w.l.f.Format == formatJSON && first(o, "indicator", "ioc", "value", "url", "domain", "ip", "sha256") != "":
		r.value, r.typ, r.desc = first(o, "indicator", "ioc", "value", "url", "domain", "ip", "sha256"), "", first(o, "description", "malware", "threat")
		if t := strings.ToLower(first(o, "indicator_type", "type")); types[t] != nil {
			r.typ = t
		}
	default:
		return
	}
	w.n++
	r.line = w.n
	w.l.add(r)
}

// stix takes an indicator's pattern apart.
func (w *walker) stix(o object, r record) {
	r.line, r.value = w.n, o["pattern"]
	r.desc = first(o, "name", "description", "indicator_types")
	skip := func(why string) {
		w.l.f.Records++
		w.l.skip(&r, why)
	}
	switch {
	case o["revoked"] == "true":
		skip("revoked")
		return
	case o["pattern_type"] != "" && o["pattern_type"] != "stix":
		skip("a pattern in another language (" + detectors.Clip(o["pattern_type"], 20) + ")")
		return
	case strings.Contains(o["indicator_types"], "benign"):
		skip("benign")
		return
	}
	terms, err := parsePattern(o["pattern"])
	if err != nil {
		skip(err.Error())
		return
	}
	for _, t := range terms {
		x := r
		x.typ, x.value = t.typ, t.value
		w.l.add(x)
	}
}
