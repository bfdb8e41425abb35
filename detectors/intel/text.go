package intel

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
)

// roles of columns, by the names that feeds give them. The value column that comes first in values wins.
var (
	values   = []string{"indicator", "ioc_value", "ioc", "value", "url", "dst_ip", "dstip", "ip", "ip address", "domain", "hostname", "sha256_hash", "sha256", "sha1", "md5", "ja3_md5", "ja3", "ja4"}
	roleType = []string{"indicator_type", "indicator type", "ioc_type", "type"}
	roleDesc = []string{"malware_printable", "description", "meta.desc", "malware", "signature", "listingreason", "threat", "campaign", "category", "comment", "event_info", "threat_type"}
	roleConf = []string{"confidence_level", "confidence", "score"}
	roleSeen = []string{"last_seen_utc", "last_seen", "last_online", "lastseen", "date", "first_seen_utc", "first_seen", "firstseen", "dateadded", "listingdate", "added", "created"}
	roleSrc  = []string{"source", "meta.source"}
	roleEnd  = []string{"valid_until", "expires", "expiration"}
)

// sheet is which column is what; -1: none.
type sheet struct {
	value, typ, desc, conf, source, until, port, ids, status, shared int
	seen                                                             []int // the first that has a day
	kind                                                             string
	n                                                                int
}

// columns reads a header; nil if it is none.
func columns(header []string) *sheet {
	if len(header) < 2 {
		return nil
	}
	low := make([]string, len(header))
	for i, h := range header {
		low[i] = strings.ToLower(strings.Trim(strings.TrimSpace(h), `"`))
	}
	find := func(names []string) int {
		for _, n := range names {
			if i := slices.Index(low, n); i >= 0 {
				return i
			}
		}
		return -1
	}
	t := &sheet{value: find(values), typ: find(roleType), desc: find(roleDesc), conf: find(roleConf), source: find(roleSrc), until: find(roleEnd),
		port: find([]string{"dst_port", "dstport", "port"}), ids: find([]string{"to_ids"}), status: find([]string{"c2_status", "url_status"}),
		shared: find([]string{"shared"}), n: len(header)}
	if t.value < 0 {
		return nil
	}
	for _, n := range roleSeen {
		if i := slices.Index(low, n); i >= 0 {
			t.seen = append(t.seen, i)
		}
	}
	if t.typ < 0 || t.typ == t.value {
		t.typ = -1
		t.kind = map[string]string{"url": "url", "dst_ip": "ip", "dstip": "ip", "ip": "ip", "ip address": "ip", "domain": "domain", "hostname": "domain", "sha256_hash": "sha256",
			"sha256": "sha256", "sha1": "sha1", "md5": "md5", "ja3_md5": "ja3", "ja3": "ja3", "ja4": "ja4"}[low[t.value]]
		if slices.Contains(low, "listingreason") && low[t.value] == "sha1" {
			t.kind = "cert_hash" // SSLBL lists certificates
		}
	}
	return t
}

// csvFields splits a line that may be a header.
func csvFields(line string) []string {
	r := csv.NewReader(strings.NewReader(line))
	r.LazyQuotes, r.TrimLeadingSpace, r.FieldsPerRecord = true, true, -1
	f, err := r.Read()
	if err != nil {
		return nil
	}
	return f
}

// csv reads a table with a header, which may stand in a comment as abuse.ch has it.
func (l *loader) csv(br *bufio.Reader) error {
	var t *sheet
	skipped := 0
	for t == nil {
		line, err := readLine(br)
		if err != nil {
			return err
		}
		skipped++
		t = columns(csvFields(strings.TrimLeft(strings.TrimPrefix(line, "\ufeff"), "# ")))
		if t != nil && strings.Contains(line, "ioc_id") && strings.HasPrefix(line, "#") {
			l.f.Format = "csv (ThreatFox)"
		}
	}
	r := csv.NewReader(br)
	r.LazyQuotes, r.TrimLeadingSpace, r.FieldsPerRecord, r.ReuseRecord, r.Comment = true, true, -1, true, '#'
	for {
		f, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			var bad *csv.ParseError
			if !errors.As(err, &bad) {
				return err
			}
			l.f.Records++
			l.skip(&record{line: bad.StartLine + skipped}, "malformed")
			continue
		}
		line, _ := r.FieldPos(0)
		l.row(t, f, line+skipped)
	}
}

func (l *loader) row(t *sheet, f []string, line int) {
	get := func(i int) string {
		if i < 0 || i >= len(f) || f[i] == "-" {
			return ""
		}
		return strings.TrimSpace(f[i])
	}
	r := record{line: line, value: get(t.value), typ: t.kind, desc: get(t.desc), source: get(t.source), confidence: -1, until: parseDay(get(t.until))}
	if t.typ >= 0 {
		r.typ = get(t.typ)
	}
	if n, err := strconv.ParseFloat(get(t.conf), 64); err == nil && n >= 0 && n <= 100 {
		r.confidence = int(n)
	}
	for _, i := range t.seen {
		if r.seen = parseDay(get(i)); r.seen != 0 {
			break
		}
	}
	if p := get(t.port); p != "" && r.value != "" && !strings.Contains(r.value, "://") {
		if _, err := strconv.ParseUint(p, 10, 16); err == nil && t.kind == "ip" {
			r.value = netipJoin(r.value, p)
		}
	}
	switch {
	case t.ids >= 0 && (get(t.ids) == "0" || strings.EqualFold(get(t.ids), "false")):
		l.f.Records++
		l.skip(&r, "not meant for detection (to_ids)")
		return
	case t.status >= 0 && strings.EqualFold(get(t.status), "offline"):
		if t.kind == "url" {
			r.confidence = offline // the page is gone, who fetches it is still infected
			break
		}
		l.f.Records++
		l.skip(&r, "offline")
		return
	case get(t.shared) != "":
		r.shared = "it"
	}
	l.add(r)
}

// offline is the confidence of a URL that its feed found gone.
const offline = 40

// zeek reads Zeek's intelligence files: a #fields line, then values between tabs.
func (l *loader) zeek(br *bufio.Reader) error {
	var t *sheet
	for n := 1; ; n++ {
		line, err := readLine(br)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if rest, ok := strings.CutPrefix(line, "#fields\t"); ok {
			t = columns(strings.Split(rest, "\t"))
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if t == nil {
			l.f.Records++
			l.skip(&record{line: n, value: line}, "no #fields line with an indicator before it")
			continue
		}
		l.row(t, strings.Split(line, "\t"), n)
	}
}

// list reads one indicator a line: plain lists, hosts files, Maltrail's trails, reputation lists of Suricata
// (ADDRESS,CATEGORY,SCORE), lists for blockers of advertisements (||NAME^).
func (l *loader) list(br *bufio.Reader) error {
	for n := 1; ; n++ {
		line, err := readLine(br)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" || line[0] == '#' || line[0] == ';' || line[0] == '!' || line[0] == '[' && strings.HasSuffix(line, "]") && !strings.ContainsAny(line, ".:") ||
			strings.HasPrefix(line, "//") {
			continue
		}
		for _, c := range [...]string{" #", "\t#", " ;", "\t;"} {
			if i := strings.Index(line, c); i > 0 {
				line = strings.TrimSpace(line[:i])
			}
		}
		r := record{line: n, value: line, confidence: -1}
		if w := strings.Fields(line); len(w) == 2 && (w[0] == "0.0.0.0" || w[0] == "127.0.0.1" || w[0] == "::" || w[0] == "::1") {
			r.value = w[1]
			if !strings.Contains(w[1], ".") || w[1] == "0.0.0.0" {
				continue // localhost and broadcasthost, which such files begin with
			}
		} else if len(w) > 1 {
			r.value = w[0]
		}
		if strings.HasPrefix(r.value, "||") {
			r.value = strings.TrimSuffix(strings.TrimPrefix(r.value, "||"), "^")
		}
		if f := strings.Split(r.value, ","); len(f) == 3 {
			if score, err := strconv.Atoi(f[2]); err == nil && score >= 0 && score <= 127 {
				r.value, r.confidence = f[0], score*100/127
			}
		} else if len(f) > 1 && !strings.Contains(r.value, "://") {
			r.value = f[0]
		}
		l.add(r)
	}
}

var errLine = errors.New("intel: a line over 1 MiB")

// readLine gives the next line without its end; io.EOF behind the last.
func readLine(br *bufio.Reader) (string, error) {
	var long []byte
	for {
		b, err := br.ReadSlice('\n')
		if err == bufio.ErrBufferFull {
			if long = append(long, b...); len(long) > maxLine {
				return "", errLine
			}
			continue
		}
		if err == io.EOF && len(b)+len(long) > 0 {
			err = nil
		}
		if long != nil {
			b = append(long, b...)
		}
		return strings.TrimRight(string(b), "\r\n"), err
	}
}
