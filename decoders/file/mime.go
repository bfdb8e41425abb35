package file

import (
	"bytes"
	"slices"
	"strings"
)

// magic is a signature: literal bytes at fixed places. The strengths are those that Zeek's signatures have, because
// two of them often fit and the stronger one names the file.
type magic struct {
	strength int
	mime     string
	at       int
	is       string
	at2      int
	is2      string
}

// magics is a selection of what Zeek's signatures (base/frameworks/files/magic) know: what is seen over HTTP, in mail
// and on shares, and what is served to victims.
var magics = [...]magic{
	{110, "image/png", 0, "\x89PNG", 0, ""},
	{70, "image/gif", 0, "GIF8", 0, ""},
	{52, "image/jpeg", 0, "\xff\xd8", 0, ""},
	{70, "image/webp", 0, "RIFF", 8, "WEBP"},
	{70, "audio/x-wav", 0, "RIFF", 8, "WAVE"},
	{70, "video/x-msvideo", 0, "RIFF", 8, "AVI "},
	{70, "image/x-icon", 0, "\x00\x00\x01\x00", 0, ""},
	{70, "image/x-cursor", 0, "\x00\x00\x02\x00", 0, ""},
	{70, "image/tiff", 0, "MM\x00\x2a", 0, ""},
	{70, "image/tiff", 0, "II\x2a\x00", 0, ""},
	{50, "image/x-ms-bmp", 0, "BM", 14, "\x28\x00"},
	{70, "image/vnd.adobe.photoshop", 0, "8BPS", 0, ""},
	{51, "application/x-dosexec", 0, "MZ", 0, ""},
	{50, "application/x-object", 0, "\x7fELF\x01\x01", 16, "\x01\x00"},
	{50, "application/x-object", 0, "\x7fELF\x02\x01", 16, "\x01\x00"},
	{50, "application/x-executable", 0, "\x7fELF\x01\x01", 16, "\x02\x00"},
	{50, "application/x-executable", 0, "\x7fELF\x02\x01", 16, "\x02\x00"},
	{50, "application/x-executable", 0, "\x7fELF\x01\x02", 16, "\x00\x02"},
	{50, "application/x-executable", 0, "\x7fELF\x02\x02", 16, "\x00\x02"},
	{50, "application/x-sharedlib", 0, "\x7fELF\x01\x01", 16, "\x03\x00"},
	{50, "application/x-sharedlib", 0, "\x7fELF\x02\x01", 16, "\x03\x00"},
	{50, "application/x-coredump", 0, "\x7fELF\x02\x01", 16, "\x04\x00"},
	{100, "application/x-mach-o-executable", 0, "\xce\xfa\xed\xfe", 0, ""},
	{100, "application/x-mach-o-executable", 0, "\xcf\xfa\xed\xfe", 0, ""},
	{71, "application/x-java-applet", 0, "\xca\xfe\xba\xbe", 4, "\x00\x00\x00"},
	{10, "application/zip", 0, "PK\x03\x04", 0, ""},
	{10, "application/zip", 0, "PK\x07\x08PK\x03\x04", 0, ""},
	{50, "application/vnd.openxmlformats-officedocument", 0, "PK\x03\x04\x14\x00\x06\x00", 0, ""},
	{110, "application/vnd.oasis.opendocument.text", 0, "PK\x03\x04", 30, "mimetypeapplication/vnd.oasis.opendocument.text"},
	{100, "application/x-gzip", 0, "\x1f\x8b", 0, ""},
	{110, "application/vnd.ms-cab-compressed", 0, "MSCF\x00\x00\x00\x00", 0, ""},
	{70, "application/x-rar", 0, "Rar!", 0, ""},
	{50, "application/x-7z-compressed", 0, "7z\xbc\xaf\x27\x1c", 0, ""},
	{90, "application/x-xz", 0, "\xfd7zXZ\x00", 0, ""},
	{60, "application/x-bzip2", 0, "BZh", 0, ""},
	{71, "application/x-lzma", 0, "\x5d\x00\x00", 0, ""},
	{70, "application/x-lz4", 0, "\x04\x22\x4d\x18", 0, ""},
	{70, "application/x-rpm", 0, "\xed\xab\xee\xdb", 0, ""},
	{171, "application/x-debian-package", 0, "!<arch>\ndebian", 0, ""},
	{70, "application/x-archive", 0, "!<arch>", 0, ""},
	{100, "application/x-xar", 0, "xar!", 0, ""},
	{50, "application/x-compress", 0, "\x1f\x9d", 0, ""},
	{50, "application/x-arj", 0, "\x60\xea", 0, ""},
	{80, "application/pdf", 0, "%PDF-", 0, ""},
	{80, "application/vnd.fdf", 0, "%FDF-", 0, ""},
	{50, "application/postscript", 0, "%!", 0, ""},
	{80, "text/rtf", 0, "{\\rtf", 0, ""},
	{50, "application/msword", 0, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0, ""},
	{100, "application/vnd.ms-tnef", 0, "\x78\x9f\x3e\x22", 0, ""},
	{0, "application/vnd.apple-afpinfo", 0, "AFP", 0, ""},
	{49, "application/vnd.ms-outlook", 0, "!BDN", 10, "\x0e\x00"},
	{49, "application/vnd.ms-outlook", 0, "!BDN", 10, "\x0f\x00"},
	{49, "application/vnd.ms-outlook", 0, "!BDN", 10, "\x15\x00"},
	{49, "application/vnd.ms-outlook", 0, "!BDN", 10, "\x17\x00"},
	{60, "application/x-shockwave-flash", 0, "FWS", 0, ""},
	{60, "application/x-shockwave-flash", 0, "CWS", 0, ""},
	{60, "application/x-shockwave-flash", 0, "ZWS", 0, ""},
	{60, "video/x-flv", 0, "FLV", 0, ""},
	{70, "application/font-woff2", 0, "wOF2", 0, ""}, // spelled as Zeek does
	{70, "application/font-woff", 0, "wOFF", 0, ""},
	{80, "application/x-font-ttf", 0, "\x00\x01\x00\x00\x00", 0, ""},
	{70, "application/vnd.ms-opentype", 0, "OTTO", 0, ""},
	{50, "application/vnd.ms-fontobject", 34, "LP", 0, ""},
	{70, "video/mp4", 4, "ftypisom", 0, ""},
	{70, "video/mp4", 4, "ftypmp41", 0, ""},
	{70, "video/mp4", 4, "ftypmp42", 0, ""},
	{60, "video/mp4", 4, "ftypM4V", 0, ""},
	{60, "audio/mp4", 4, "ftypM4A", 0, ""},
	{50, "video/quicktime", 4, "ftypqt", 0, ""},
	{70, "video/quicktime", 4, "moov", 0, ""},
	{70, "video/quicktime", 4, "mdat", 0, ""},
	{60, "video/3gpp", 4, "ftyp3g", 0, ""},
	{70, "video/x-ms-asf", 0, "\x30\x26\xb2\x75", 0, ""},
	{71, "video/mpv", 0, "\x00\x00\x01\xb3", 0, ""},
	{50, "video/mpeg", 0, "\x00\x00\x01\xba", 0, ""},
	{70, "application/ogg", 0, "OggS", 0, ""},
	{70, "audio/x-flac", 0, "fLaC", 0, ""},
	{70, "audio/midi", 0, "MThd", 0, ""},
	{20, "audio/mpeg", 0, "ID3", 0, ""},
	{20, "audio/mpeg", 0, "\xff\xfb", 0, ""},
	{70, "application/vnd.tcpdump.pcap", 0, "\xa1\xb2\xc3\xd4", 0, ""},
	{70, "application/vnd.tcpdump.pcap", 0, "\xd4\xc3\xb2\xa1", 0, ""},
	{100, "application/vnd.tcpdump.pcap", 0, "\x0a\x0d\x0d\x0a", 8, "\x4d\x3c\x2b\x1a"},
	{100, "application/chrome-ext", 0, "Cr24", 0, ""},
	{100, "application/bplist", 0, "bplist", 0, ""},
	{0, "application/x-pem", 0, "-----BEGIN CERTIFICATE-----", 0, ""},
	{140, "application/x-bittorrent", 0, "d8:announce", 0, ""},
	{140, "text/x-vcard", 0, "BEGIN:VCARD", 0, ""},
	{180, "text/calendar", 0, "BEGIN:VCALENDAR", 0, ""},
	{100, "application/x-java-jnlp-file", 0, "<jnlp ", 0, ""},
	{49, "application/x-ms-shortcut", 0, "\x4c\x00\x00\x00\x01\x14\x02\x00", 0, ""},
	{50, "application/warc", 0, "WARC/", 0, ""},
	{50, "application/x-windows-minidump", 0, "MDMP", 0, ""},
	{80, "application/x-python-bytecode", 2, "\x0d\x0a", 4, "\x00\x00\x00\x00"},
}

// byFirst lists, for each first byte, the signatures worth comparing, strongest first; floating ones are in all lists.
var byFirst = func() (t [256][]*magic) {
	for i := range magics {
		m := &magics[i]
		for c := range t {
			if m.at > 0 || m.is[0] == byte(c) {
				t[c] = append(t[c], m)
			}
		}
	}
	for c := range t {
		slices.SortStableFunc(t[c], func(a, b *magic) int { return b.strength - a.strength })
	}
	return
}()

func (m *magic) fits(b []byte) bool {
	return len(b) >= m.at+len(m.is) && string(b[m.at:m.at+len(m.is)]) == m.is &&
		(m.is2 == "" || len(b) >= m.at2+len(m.is2) && string(b[m.at2:m.at2+len(m.is2)]) == m.is2)
}

// Sniff names content by its first bytes, "" if they look like nothing known.
func Sniff(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	best, name := -100, ""
	if len(b) >= 10 && isText(b) {
		best, name = -20, "text/plain"
	}
	for _, m := range byFirst[b[0]] {
		if m.strength <= best {
			break
		}
		if m.fits(b) {
			best, name = m.strength, m.mime
			break
		}
	}
	if s, n := text(b); n != "" && s > best {
		best, name = s, n
	}
	if best < 55 && diff(b) {
		best, name = 55, "text/x-diff"
	}
	if n := office(b); n != "" && best < 80 {
		best, name = 80, n
	}
	// DER: OCSP is told by the object identifier of SHA-1 or of the basic response, 11 to 19 bytes in.
	if b[0] == 0x30 && best < 71 {
		head := b[:min(len(b), 30)]
		if i := bytes.Index(head, []byte("\x06\x05\x2b\x0e\x03\x02\x1a")); i >= 11 && i <= 19 {
			return "application/ocsp-request"
		}
		if i := bytes.Index(head, []byte("\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01")); i >= 11 && i <= 19 {
			return "application/ocsp-response"
		}
	}
	return name
}

// office tells documents of Office Open XML by the folder that a later entry of the archive is in.
func office(b []byte) string {
	const entry, head = "PK\x03\x04", 30
	if !bytes.HasPrefix(b, []byte(entry)) || len(b) < head {
		return ""
	}
	first := b[head:]
	common := bytes.HasPrefix(first, []byte("[Content_Types].xml")) || bytes.HasPrefix(first, []byte("_rels/.rels"))
	for rest := first; ; {
		i := bytes.Index(rest, []byte(entry))
		if i < 0 || len(rest) < i+head {
			return ""
		}
		rest = rest[i+len(entry):]
		for _, f := range [...][2]string{{"word/", "wordprocessingml.document"}, {"xl/", "spreadsheetml.sheet"}, {"ppt/", "presentationml.presentation"}} {
			if bytes.HasPrefix(rest[head-len(entry):], []byte(f[0])) && (common || bytes.HasPrefix(first, []byte(f[0]))) {
				return "application/vnd.openxmlformats-officedocument." + f[1]
			}
		}
	}
}

// diff tells what diff -u writes: the lines that name two versions, and a hunk.
func diff(b []byte) bool {
	for _, mark := range [...]string{"--- ", "\n", "+++ ", "\n", "@@"} {
		i := bytes.Index(b, []byte(mark))
		if i < 0 {
			return false
		}
		b = b[i+len(mark):]
	}
	return true
}

// isText says whether ten printable characters come first, behind a byte order mark.
func isText(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for _, c := range b[:min(len(b), 10)] {
		if c < 0x20 && (c < '\t' || c > '\r') || c > 0x7e {
			return false
		}
	}
	return len(b) >= 10
}

// text tells kinds of text that do not begin with fixed bytes.
func text(b []byte) (strength int, name string) {
	t := bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(t, []byte("#!")) {
		return script(t)
	}
	if t = bytes.TrimLeft(t, " \t\r\n"); len(t) == 0 {
		return 0, ""
	}
	switch t[0] {
	case '<':
		return markup(t)
	case '{', '[':
		return json(t)
	case '@':
		switch u := strings.ToLower(string(t[1:min(len(t), 32)])); {
		case strings.HasPrefix(strings.TrimLeft(u, " "), "echo off"):
			return 110, "text/x-msdos-batch"
		case strings.HasPrefix(u, "rem"):
			return 60, "text/x-msdos-batch"
		case strings.HasPrefix(u, "set "):
			return 70, "text/x-msdos-batch"
		}
	case '(':
		if bytes.HasPrefix(t, []byte("(function()")) && bytes.HasPrefix(bytes.TrimLeft(t[11:], " \t\n"), []byte("{")) {
			return 60, "application/javascript"
		}
	case 'd':
		if u := bytes.TrimPrefix(t, []byte("document.write")); len(u) < len(t) && bytes.HasPrefix(bytes.TrimPrefix(u, []byte("ln")), []byte("(")) {
			return 60, "application/javascript"
		}
	case 'f':
		if bytes.HasPrefix(t, []byte("for (;;);")) {
			return 60, "application/javascript"
		}
	}
	if line, _, _ := bytes.Cut(b, []byte("\n")); bytes.Contains(line, []byte("<?php")) {
		return 40, "text/x-php"
	}
	return 0, ""
}

// script reads a #! line.
func script(t []byte) (int, string) {
	line, _, _ := bytes.Cut(t, []byte("\n"))
	i := bytes.Index(line[:min(len(line), 24)], []byte("bin/"))
	if i < 3 {
		return 0, ""
	}
	name := strings.TrimSpace(strings.TrimPrefix(string(line[i+4:]), "env "))
	switch {
	case slices.ContainsFunc([]string{"sh", "bash", "tcsh", "csh", "zsh", "fash", "aesh", "ksh"}, func(s string) bool { return strings.HasPrefix(name, s) }):
		return 250, "text/x-shellscript"
	case strings.HasPrefix(name, "python"):
		return 60, "text/x-python"
	case strings.HasPrefix(name, "perl"):
		return 60, "text/x-perl"
	case strings.HasPrefix(name, "ruby"):
		return 60, "text/x-ruby"
	case strings.HasPrefix(name, "php"):
		return 60, "text/x-php"
	case strings.HasPrefix(name, "node"):
		return 60, "application/javascript"
	case strings.HasPrefix(name, "awk"), strings.HasPrefix(name, "gawk"), strings.HasPrefix(name, "nawk"):
		return 60, "text/x-awk"
	case strings.HasPrefix(name, "lua"):
		return 49, "text/x-lua"
	}
	return 0, ""
}

// skipComments skips white space and comments of one line between tags.
func skipComments(t []byte) []byte {
	for {
		t = bytes.TrimLeft(t, " \t\r\n")
		if !bytes.HasPrefix(t, []byte("<!--")) {
			return t
		}
		i := bytes.Index(t, []byte("-->"))
		if i < 0 || bytes.IndexByte(t[:i], '\n') >= 0 {
			return t
		}
		t = t[i+3:]
	}
}

// hasFold says whether t begins with the lower case prefix p in any case.
func hasFold(t []byte, p string) bool {
	return len(t) >= len(p) && strings.EqualFold(string(t[:len(p)]), p)
}

// markup tells HTML and the kinds of XML.
func markup(t []byte) (int, string) {
	t = skipComments(t)
	xml := bytes.HasPrefix(t, []byte("<?xml "))
	line, _, _ := bytes.Cut(t, []byte("\n"))
	if xml {
		if i := bytes.LastIndex(line, []byte("?>")); i >= 0 {
			t = skipComments(t[i+2:])
		}
	}
	if len(t) > 1 && t[0] == '<' {
		switch u := t[1:]; {
		case hasFold(u, "!doctype ") && hasFold(bytes.TrimLeft(u[9:], " "), "html"), hasFold(u, "html"),
			hasFold(u, "meta ") && hasFold(bytes.TrimLeft(u[5:], " "), "http-equiv"):
			return 100, "text/html"
		case hasFold(u, "feed") && bytes.Contains(u, []byte("http://www.w3.org/2005/Atom")):
			return 100, "text/atom"
		case hasFold(u, "rss"):
			tag, _, _ := bytes.Cut(u, []byte(">"))
			if bytes.Contains(tag, []byte("xmlns:atom")) {
				return 100, "text/atom"
			}
			return 90, "text/rss"
		case hasFold(u, "script"):
			v := bytes.TrimLeft(u[6:], " \t")
			for _, a := range []string{"type=", "language="} {
				if len(v) < len(u)-6 && hasFold(v, a) {
					w := bytes.TrimLeft(v[len(a):min(len(v), len(a)+40)], `"'`)
					if hasFold(w, "javascript") || hasFold(w, "text/javascript") {
						return 60, "application/javascript"
					}
				}
			}
			if w := bytes.TrimLeft(bytes.TrimPrefix(v, []byte(">")), " \t\r\n"); len(w) < len(v) &&
				(bytes.HasPrefix(w, []byte("var ")) || bytes.HasPrefix(w, []byte("function "))) {
				return 60, "application/javascript"
			}
		case hasFold(u, "soap:envelope"), hasFold(u, "soap-env:envelope"):
			return 49, "application/soap+xml"
		case hasFold(u, "methodresponse>"):
			return 49, "application/xml-rpc"
		case hasFold(u, "cross-domain-policy"),
			hasFold(u, "!doctype ") && hasFold(bytes.TrimLeft(u[9:], " "), "cross-domain-policy"):
			return 49, "text/x-cross-domain-policy"
		case hasFold(u, "head"), hasFold(u, "title"), hasFold(u, "body"):
			return 20, "text/html"
		}
	}
	if bytes.Contains(line, []byte("<?php")) {
		return 40, "text/x-php"
	}
	if xml {
		switch {
		case bytes.Contains(line, []byte("<svg")):
			return 38, "image/svg+xml"
		case bytes.Contains(line, []byte("<urlset")):
			return 37, "application/xml-sitemap"
		}
		return 10, "application/xml"
	}
	return 0, ""
}

// json tells JSON by its first key or element, and .ini files, which begin alike.
func json(t []byte) (int, string) {
	const name = "text/json"
	rest := bytes.TrimLeft(t[1:], " \t\r\n")
	if t[0] == '{' {
		if len(rest) == 1 && rest[0] == '}' {
			return 0, name
		}
		return jsonObject(rest, name)
	}
	if line, _, ok := bytes.Cut(t, []byte("\n")); ok {
		line = bytes.TrimRight(line, "\r \t\x00")
		if len(line) > 2 && line[len(line)-1] == ']' && bytes.IndexByte(line, '\r') < 0 {
			return 20, "text/ini"
		}
	}
	switch {
	case len(rest) == 0:
		return 0, ""
	case rest[0] == '{' || rest[0] == '[':
		return 1, name
	case len(rest) == 1 && rest[0] == ']':
		return 0, name
	}
	n := 0
	switch {
	case rest[0] == '"':
		n = keyLen(rest)
	case bytes.HasPrefix(rest, []byte("true")):
		n = 4
	case bytes.HasPrefix(rest, []byte("false")):
		n = 5
	default:
		for n < len(rest) && (digit(rest[n]) || n > 0 && rest[n] == '.') {
			n++
		}
	}
	if v := bytes.TrimLeft(rest[n:], " \t\r\n"); n > 0 && len(v) > 0 && v[0] == ',' {
		return 1, name
	}
	return 0, ""
}

// jsonObject tells an object, rest of which follows the brace, by its first key and the beginning of that one's value.
func jsonObject(rest []byte, name string) (int, string) {
	n := keyLen(rest)
	v := bytes.TrimLeft(rest[n:], " \t\r\n")
	if n == 0 || len(v) == 0 || v[0] != ':' {
		return 0, ""
	}
	if v = bytes.TrimLeft(v[1:], " \t\r\n"); len(v) > 0 && (strings.IndexByte(`"[{`, v[0]) >= 0 || digit(v[0]) ||
		bytes.HasPrefix(v, []byte("true")) || bytes.HasPrefix(v, []byte("false"))) {
		return 1, name
	}
	return 0, ""
}

// keyLen gives the length of a quoted string that is not empty, or of a bare word.
func keyLen(t []byte) int {
	if len(t) == 0 {
		return 0
	}
	if t[0] == '"' {
		i := bytes.IndexByte(t[1:], '"')
		if i < 1 {
			return 0
		}
		return i + 2
	}
	n := 0
	for n < len(t) && (t[n] >= 'a' && t[n] <= 'z' || t[n] >= 'A' && t[n] <= 'Z' || n > 0 && (digit(t[n]) || t[n] == '_' || t[n] == '\\')) {
		n++
	}
	return n
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
