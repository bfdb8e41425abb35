package ray

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"

	"github.com/raytap/raytap/decoders/chars"
)

// Ray decodes a request body with the charset that the client names in Content-Type, by Python's list of codecs:
// a job in EBCDIC or UTF-7 is a job. What hides nothing (UTF-8, ASCII and the single-byte codes above it) is common;
// anything else on a job body is worth a word.

// decodeText gives body as UTF-8, read with the codec that Python has by this name, which is without punctuation. foreign
// names it when it is one that keeps ASCII from being read as it stands. The result may alias body.
func decodeText(body []byte, name string) (out []byte, foreign string) {
	t, foreign := decoderOf(name)
	if t == nil {
		// A BOM is what Python's utf-8 keeps and its json refuses, unless the name is utf-8-sig. Read it all the same.
		return bytes.TrimPrefix(body, []byte("\ufeff")), foreign
	}
	if b, _, err := transform.Bytes(t, body); err == nil || len(b) > 0 {
		body = b
	}
	return body, foreign
}

// decoderOf gives what turns text in one of Python's codecs into UTF-8; nil where ASCII stands as it is, which is all that
// JSON and commands need.
func decoderOf(name string) (t transform.Transformer, foreign string) {
	switch name {
	case "", "utf8", "u8", "utf", "cp65001", "utf8sig", "utf8ucs2", "utf8ucs4",
		"ascii", "usascii", "646", "us", "csascii", "cp367", "ibm367", "iso646us", "ansix341968", "ansix341986", "iso646irv1991", "isoir6",
		"latin1", "latin", "l1", "iso88591", "88591", "8859", "iso8859", "cp819", "ibm819", "csisolatin1", "isoir100", "iso885911987",
		"windows1252", "cp1252", "1252", "iso885915":
		return nil, ""
	case "utf7", "u7", "unicode11utf7":
		return &stepper{next: new(utf7).next}, "utf-7"
	case "unicodeescape":
		return &stepper{next: (&escapes{all: true}).next}, "unicode-escape"
	case "rawunicodeescape":
		return &stepper{next: new(escapes).next}, "raw-unicode-escape"
	case "iso2022kr", "csiso2022kr":
		return &stepper{next: (&iso2022{shifts: true}).next}, name
	case "iso2022jp", "csiso2022jp", "iso2022jp1", "iso2022jp2", "iso2022jp3", "iso2022jp2004", "iso2022jpext":
		return &stepper{next: new(iso2022).next}, name
	case "johab", "cp1361", "ms1361":
		return &stepper{next: johab}, name
	case "shiftjis2004", "sjis2004", "shiftjisx0213", "sjisx0213":
		return &stepper{next: shiftJIS2004}, name
	}
	if codes := byteCodes(name); codes != "" {
		all := []rune(codes)
		return &stepper{next: func(b []byte, _ bool) (rune, int) { return all[b[0]], 1 }}, name
	}
	if e := codec(name); e != nil {
		return e.NewDecoder(), name
	}
	return nil, name
}

// byteCodes gives the single-byte codes in which ASCII is not as it stands: EBCDIC, and those of right-to-left scripts that
// have its punctuation twice.
func byteCodes(name string) string {
	switch name {
	case "cp037", "037", "ibm037", "csibm037", "ibm039", "ebcdiccpca", "ebcdiccpnl", "ebcdiccpus", "ebcdiccpwt":
		return cp037
	case "cp273", "273", "ibm273", "csibm273":
		return cp273
	case "cp424", "424", "ibm424", "csibm424", "ebcdiccphe":
		return cp424
	case "cp500", "500", "ibm500", "csibm500", "ebcdiccpbe", "ebcdiccpch":
		return cp500
	case "cp875":
		return cp875
	case "cp1026", "1026", "ibm1026", "csibm1026":
		return cp1026
	case "cp1140", "1140", "ibm1140":
		return cp1140
	case "cp864", "864", "ibm864", "csibm864":
		return cp864
	case "macarabic":
		return macarabic
	case "macfarsi":
		return macfarsi
	}
	return ""
}

// codec finds the decoder for Python's name of a codec that the text libraries have; nil if there is none.
func codec(name string) encoding.Encoding {
	switch name {
	case "utf16", "u16": // Python takes the machine's order without a BOM: every Ray runs on little endian
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case "utf16le", "unicodelittleunmarked":
		return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case "utf16be", "unicodebigunmarked":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM)
	case "utf32", "u32", "utf32le":
		return utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)
	case "utf32be":
		return utf32.UTF32(utf32.BigEndian, utf32.UseBOM)
	case "hz", "hzgb", "hzgb2312":
		return simplifiedchinese.HZGB2312
	case "sjis", "shiftjis", "csshiftjis", "xmacjapanese", "cp932", "932", "ms932", "mskanji":
		name = "shift_jis"
	case "big5", "big5tw", "csbig5", "xmactradchinese", "big5hkscs", "hkscs", "cp950", "950", "ms950":
		name = "big5"
	case "gb18030", "gb180302000", "gbk", "cp936", "936", "ms936", "gb2312", "chinese", "csiso58gb231280", "euccn", "eucgb2312cn",
		"gb23121980", "gb231280", "isoir58", "xmacsimpchinese":
		name = "gb18030"
	case "eucjp", "ujis", "eucjis2004", "jisx0213", "eucjisx0213":
		name = "euc-jp"
	case "euckr", "korean", "ksc5601", "ksc56011987", "ksx1001", "xmackorean", "cp949", "949", "ms949", "uhc":
		name = "euc-kr"
	default:
		return nil // a single-byte code above ASCII, or no codec of Python's
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil
	}
	return e
}

// stepper is a transformer that goes character by character. next gives the one at the start of b, which is not empty, and
// the bytes that it takes; less than 0 is none, and no bytes taken means that it needs more, never at the end.
type stepper struct {
	next func(b []byte, end bool) (rune, int)
}

// Reset implements transform.Transformer; a stepper is used once.
func (*stepper) Reset() {}

// Transform implements transform.Transformer.
func (t *stepper) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		ru, n := t.next(src[nSrc:], atEOF)
		if n == 0 {
			return nDst, nSrc, transform.ErrShortSrc
		}
		if nSrc += n; ru >= 0 {
			nDst += utf8.EncodeRune(dst[nDst:], ru)
		}
	}
	return nDst, nSrc, nil
}

// iso2022 reads the codes that change their meaning with escape sequences (ECMA-35; Python's _codecs_iso2022.c). Only what
// is ASCII becomes what it is: any other character is U+FFFD.
type iso2022 struct {
	shifts  bool // SO and SI change between ASCII and double bytes
	shifted bool
	set     charset
}

type charset uint8

const (
	ascii charset = iota
	roman         // but for the backslash and the tilde
	other         // single bytes
	double
)

func (s *iso2022) next(b []byte, end bool) (rune, int) {
	const esc, so, si = 0x1b, 0x0e, 0x0f
	switch c := b[0]; {
	case c == esc:
		need := 3
		if len(b) > 2 && b[1] == '$' && strings.IndexByte("()*+", b[2]) >= 0 {
			need = 4
		}
		if len(b) < need {
			if end {
				return -1, len(b)
			}
			return 0, 0
		}
		switch b[1] {
		case '(':
			switch b[2] {
			case 'B':
				s.set = ascii
			case 'I':
				s.set = other
			default:
				s.set = roman
			}
		case '$':
			if need == 3 || b[2] == '(' {
				s.set = double
			}
		case ')', '.', '&':
		case 'N': // one character of another set
			return utf8.RuneError, need
		default:
			return esc, 1
		}
		return -1, need
	case s.shifts && (c == so || c == si):
		s.shifted = c == so
		return -1, 1
	case c == '\n':
		s.shifted = false
		return '\n', 1
	case c < ' ':
		return rune(c), 1
	case s.shifted || !s.shifts && s.set == double:
		if len(b) < 2 && !end {
			return 0, 0
		}
		return utf8.RuneError, min(2, len(b))
	case c >= utf8.RuneSelf, s.set == other:
		return utf8.RuneError, 1
	case s.set == roman:
		return yen(c), 1
	default:
		return rune(c), 1
	}
}

// yen reads what JIS X 0201 has for ASCII.
func yen(c byte) rune {
	switch c {
	case '\\':
		return '\u00a5'
	case '~':
		return '\u203e'
	}
	return rune(c)
}

// johab reads KS X 1001 annex 3: pairs of bytes of which the second may look like ASCII.
func johab(b []byte, end bool) (rune, int) {
	switch {
	case b[0] < 0x84:
		return rune(b[0]), 1
	case len(b) < 2 && !end:
		return 0, 0
	}
	return utf8.RuneError, min(2, len(b))
}

// shiftJIS2004 has the backslash and the tilde in two bytes alone.
func shiftJIS2004(b []byte, end bool) (rune, int) {
	c := b[0]
	switch {
	case c < 0x80:
		return yen(c), 1
	case c == 0x80 || c >= 0xa0 && c < 0xe0 || c > 0xfc:
		return utf8.RuneError, 1
	case len(b) < 2:
		if end {
			return utf8.RuneError, 1
		}
		return 0, 0
	case c == 0x81 && b[1] == 0x5f:
		return '\\', 2
	case c == 0x81 && b[1] == 0xb0:
		return '~', 2
	}
	return utf8.RuneError, 2
}

// charsets lists what a Content-Type may say of the charset: first what Python's email parser makes of it, which is the
// last of several parameters, or one that is split over charset*0 and charset*1 (RFC 2231 section 3), then what other
// releases of it may. Letters are lowered and punctuation is dropped.
func charsets(contentType string) []string {
	if len(contentType) > maxContentType {
		contentType = contentType[:maxContentType]
	}
	_, params, ok := strings.Cut(contentType, ";")
	if !ok {
		return asItStands
	}
	var last, first string
	var parts [4]string
	for params != "" {
		var p string
		p, params = cutParam(params)
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			continue
		}
		k = strings.ToLower(strings.TrimSpace(k))
		v = strings.Trim(strings.TrimSpace(v), `"'`)
		switch {
		case k == "charset":
			last = v
		case k == "charset*": // RFC 2231 section 4: charset'language'value
			if i := strings.LastIndexByte(v, '\''); i >= 0 {
				v = v[i+1:]
			}
			last = chars.Unpercent(v)
		case strings.HasPrefix(k, "charset*"):
			k = strings.TrimSuffix(k[len("charset*"):], "*")
			if len(k) == 1 && k[0] >= '0' && int(k[0]-'0') < len(parts) {
				if i := strings.LastIndexByte(v, '\''); i >= 0 && k == "0" {
					v = v[i+1:]
				}
				parts[k[0]-'0'] = chars.Unpercent(v)
			}
			continue
		default:
			continue
		}
		if first == "" {
			first = last
		}
	}
	var names []string
	word := last
	if i := strings.IndexAny(word, " (\t"); i > 0 {
		word = word[:i] // from 3.14 on, without a comment
	}
	for _, n := range [...]string{strings.Join(parts[:], ""), last, first, word} {
		if n = plainName(n); n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	names = append(names, "")
	return names
}

// asItStands is the list without a charset.
var asItStands = []string{""}

// cutParam cuts at the next semicolon that is not quoted.
func cutParam(s string) (string, string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if i+1 < len(s) && s[i+1] == '"' {
				i++
			}
		case '"':
			quoted = !quoted
		case ';':
			if !quoted {
				return s[:i], s[i+1:]
			}
		}
	}
	return s, ""
}

func plainName(s string) string {
	var b strings.Builder
	for i := 0; i < len(s) && b.Len() < 32; i++ {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if alnum(c) {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// utf7 reads RFC 2152; what is not UTF-7 is left as it is.
type utf7 struct {
	in   bool // base64
	acc  uint32
	bits int
	high rune
}

func (u *utf7) next(b []byte, end bool) (rune, int) {
	c := b[0]
	if !u.in {
		if c != '+' {
			return rune(c), 1
		}
		if len(b) == 1 && !end {
			return 0, 0
		}
		if len(b) > 1 && b[1] == '-' {
			return '+', 2
		}
		*u = utf7{in: true}
		return -1, 1
	}
	v, ok := base64Value(c)
	if !ok {
		if u.in = false; c == '-' {
			return -1, 1
		}
		return rune(c), 1
	}
	u.acc = u.acc<<6 | uint32(v)
	if u.bits += 6; u.bits < 16 {
		return -1, 1
	}
	u.bits -= 16
	unit := rune(u.acc >> u.bits & 0xffff)
	u.acc &= 1<<u.bits - 1
	switch {
	case u.high != 0:
		ru := utf16.DecodeRune(u.high, unit)
		u.high = 0
		return ru, 1
	case unit >= 0xd800 && unit < 0xdc00:
		u.high = unit
		return -1, 1
	}
	return unit, 1
}

func base64Value(c byte) (byte, bool) {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A', true
	case c >= 'a' && c <= 'z':
		return c - 'a' + 26, true
	case c >= '0' && c <= '9':
		return c - '0' + 52, true
	case c == '+':
		return 62, true
	case c == '/':
		return 63, true
	}
	return 0, false
}

// escapes reads Python's unicode-escape (all) or raw-unicode-escape codec.
type escapes struct {
	all     bool
	literal bool // the next backslash stands for itself
}

func (e *escapes) next(b []byte, end bool) (rune, int) {
	const longest = len(`\N{}`) + maxCharName
	if b[0] != '\\' {
		return rune(b[0]), 1
	}
	if len(b) < longest && !end {
		return 0, 0
	}
	if e.literal || len(b) == 1 {
		e.literal = false
		return '\\', 1
	}
	c := b[1]
	digits := 0
	switch {
	case c == 'u':
		digits = 4
	case c == 'U':
		digits = 8
	case e.all && c == 'x':
		digits = 2
	}
	if digits > 0 {
		if u, ok := hexRune(b, 2, digits); ok {
			return u, 2 + digits
		}
		return '\\', 1
	}
	if !e.all {
		e.literal = c == '\\'
		return '\\', 1
	}
	switch c {
	case '\n':
		return -1, 2
	case 'N':
		if name, _, ok := bytes.Cut(b[2:min(len(b), longest)], []byte("}")); ok && len(name) > 1 && name[0] == '{' {
			return charNamed(string(name[1:])), 3 + len(name)
		}
	}
	if i := strings.IndexByte(`abfnrtv\'"`, c); i >= 0 {
		return rune("\a\b\f\n\r\t\v\\'\""[i]), 2
	}
	if c < '0' || c > '7' {
		return '\\', 1
	}
	u, n := rune(0), 1
	for ; n < 4 && n < len(b) && b[n] >= '0' && b[n] <= '7'; n++ {
		u = u<<3 | rune(b[n]-'0')
	}
	return u, n
}

// maxCharName is the length of the longest name in charNamed.
const maxCharName = len("LATIN CAPITAL LETTER A")

// charNames are the Unicode names of what is in ASCII besides letters, in its order from the space on.
const charNames = "SPACE,EXCLAMATION MARK,QUOTATION MARK,NUMBER SIGN,DOLLAR SIGN,PERCENT SIGN,AMPERSAND,APOSTROPHE,LEFT PARENTHESIS," +
	"RIGHT PARENTHESIS,ASTERISK,PLUS SIGN,COMMA,HYPHEN-MINUS,FULL STOP,SOLIDUS,DIGIT ZERO,DIGIT ONE,DIGIT TWO,DIGIT THREE,DIGIT FOUR," +
	"DIGIT FIVE,DIGIT SIX,DIGIT SEVEN,DIGIT EIGHT,DIGIT NINE,COLON,SEMICOLON,LESS-THAN SIGN,EQUALS SIGN,GREATER-THAN SIGN," +
	"QUESTION MARK,COMMERCIAL AT,LEFT SQUARE BRACKET,REVERSE SOLIDUS,RIGHT SQUARE BRACKET,CIRCUMFLEX ACCENT,LOW LINE,GRAVE ACCENT," +
	"LEFT CURLY BRACKET,VERTICAL LINE,RIGHT CURLY BRACKET,TILDE"

// charNamed gives the character of ASCII with a Unicode name, U+FFFD for any other.
func charNamed(name string) rune {
	name = strings.ToUpper(name)
	for prefix, shift := range map[string]rune{"LATIN SMALL LETTER ": 'a' - 'A', "LATIN CAPITAL LETTER ": 0} {
		if l, ok := strings.CutPrefix(name, prefix); ok && len(l) == 1 && l[0] >= 'A' && l[0] <= 'Z' {
			return rune(l[0]) + shift
		}
	}
	i := 0
	for n := range strings.SplitSeq(charNames, ",") {
		if n == name {
			const c = " !\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`{|}~"
			return rune(c[i])
		}
		i++
	}
	return utf8.RuneError
}

func hexRune(b []byte, i, digits int) (rune, bool) {
	if i+digits > len(b) {
		return 0, false
	}
	var u uint32
	for _, c := range b[i : i+digits] {
		d, ok := chars.Hex(c)
		if !ok {
			return 0, false
		}
		u = u<<4 | uint32(d)
	}
	if u > utf8.MaxRune {
		return 0, false
	}
	return rune(u), true
}
