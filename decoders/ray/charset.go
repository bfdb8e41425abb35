package ray

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
	"golang.org/x/text/transform"
)

// Ray decodes a request body with the charset that the client names in Content-Type, by Python's list of codecs:
// a job in EBCDIC or UTF-7 is a job. What hides nothing (UTF-8, ASCII and the single-byte codes above it) is common;
// anything else on a job body is worth a word.

// decodeText gives body as UTF-8. foreign names the charset when it is one that keeps ASCII from being read as it
// stands. The result may alias body.
func decodeText(body []byte, contentType string) (out []byte, foreign string) {
	name := charsetOf(contentType)
	switch name {
	case "", "utf8", "u8", "utf", "cp65001", "utf8sig", "ascii", "usascii", "646",
		"latin1", "latin", "l1", "iso88591", "88591", "8859", "cp819", "windows1252", "cp1252", "1252", "iso885915":
		// A BOM is what Python's utf-8 keeps and its json refuses, unless the name is utf-8-sig. Read it all the same.
		if len(body) >= 3 && body[0] == 0xef && body[1] == 0xbb && body[2] == 0xbf {
			body = body[3:]
		}
		return body, ""
	case "utf7", "u7", "unicode11utf7":
		return decodeUTF7(body), "utf-7"
	case "unicodeescape":
		return unescape(body, true), "unicode-escape"
	case "rawunicodeescape":
		return unescape(body, false), "raw-unicode-escape"
	}
	if e := codec(name); e != nil {
		if b, err := e.NewDecoder().Bytes(body); err == nil || len(b) > 0 {
			body = b
		}
	}
	return body, name
}

// codec finds the decoder for Python's name of a codec, without its punctuation; nil if there is none here.
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
	case "cp037", "037", "ibm037", "csibm037", "ibm039", "ebcdiccpca", "ebcdiccpnl", "ebcdiccpus", "ebcdiccpwt",
		"cp1140", "1140", "ibm1140", "cp424", "424", "ibm424", "csibm424", "ebcdiccphe":
		return charmap.CodePage037
	case "cp500", "500", "ibm500", "csibm500", "ebcdiccpbe", "ebcdiccpch", "cp875":
		return ebcdic("\x4a[\x4f!\x5a]\x5f^\xbb|")
	case "cp273", "273", "ibm273", "csibm273":
		return ebcdic("\x43{\x4f!\x59~\x5f^\x63[\xb5@\xbb|\xdc}\xec\\\xfc]")
	case "cp1026", "1026", "ibm1026", "csibm1026":
		return ebcdic("\x48{\x4f!\x5f^\x68[\x8c}\x8d`\xac]\xad$\xae@\xbb|\xcc~\xdc\\\xec#\xfc\"")
	case "sjis", "shiftjis", "csshiftjis", "shiftjis2004", "shiftjisx0213", "cp932", "932", "ms932", "mskanji":
		name = "shift_jis"
	case "iso2022jp", "csiso2022jp", "iso2022jp1", "iso2022jp2", "iso2022jp3":
		name = "iso-2022-jp"
	case "big5", "big5hkscs", "cp950", "950":
		name = "big5"
	case "gb18030", "gbk", "cp936", "936", "gb2312", "euccn":
		name = "gb18030"
	case "eucjp", "ujis", "eucjis2004":
		name = "euc-jp"
	case "euckr", "cp949", "949", "uhc":
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

// ebcdic is code page 037 with some bytes changed: pairs of byte and the ASCII character that it stands for.
type ebcdic string

func (e ebcdic) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: ebcdicTransformer{string(e)}}
}

func (e ebcdic) NewEncoder() *encoding.Encoder { return charmap.CodePage037.NewEncoder() }

type ebcdicTransformer struct{ changed string }

func (ebcdicTransformer) Reset() {}

func (t ebcdicTransformer) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		ru := charmap.CodePage037.DecodeByte(src[nSrc])
		for i := 0; i+1 < len(t.changed); i += 2 {
			if t.changed[i] == src[nSrc] {
				ru = rune(t.changed[i+1])
			}
		}
		nDst += utf8.EncodeRune(dst[nDst:], ru)
	}
	return nDst, nSrc, nil
}

// charsetOf reads the charset parameter as Python's email parser does: quoted or not, the last of several, split
// over charset*0 and charset*1 (RFC 2231 section 3). Letters are lowered and punctuation is dropped.
func charsetOf(contentType string) string {
	if len(contentType) > maxContentType {
		contentType = contentType[:maxContentType]
	}
	_, params, ok := strings.Cut(contentType, ";")
	if !ok {
		return ""
	}
	var whole string
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
			whole = v
		case k == "charset*": // RFC 2231 section 4: charset'language'value
			if i := strings.LastIndexByte(v, '\''); i >= 0 {
				v = v[i+1:]
			}
			whole = percent(v)
		case strings.HasPrefix(k, "charset*"):
			k = strings.TrimSuffix(k[len("charset*"):], "*")
			if len(k) == 1 && k[0] >= '0' && int(k[0]-'0') < len(parts) {
				parts[k[0]-'0'] = percent(v)
			}
		}
	}
	if whole == "" {
		whole = strings.Join(parts[:], "")
	}
	return plainName(whole)
}

// cutParam cuts at the next semicolon that is not quoted.
func cutParam(s string) (string, string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch s[i] {
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

// decodeUTF7 decodes RFC 2152; what is not UTF-7 is left as it is.
func decodeUTF7(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '+' {
			out = append(out, b[i])
			i++
			continue
		}
		i++
		if i < len(b) && b[i] == '-' {
			out = append(out, '+')
			i++
			continue
		}
		var acc uint32
		bits := 0
		var high rune
		for i < len(b) {
			v, ok := base64Value(b[i])
			if !ok {
				break
			}
			i++
			acc = acc<<6 | uint32(v)
			bits += 6
			if bits < 16 {
				continue
			}
			bits -= 16
			u := rune(acc >> bits & 0xffff)
			acc &= 1<<bits - 1
			switch {
			case high != 0:
				out = utf8.AppendRune(out, utf16.DecodeRune(high, u))
				high = 0
			case u >= 0xd800 && u < 0xdc00:
				high = u
			default:
				out = utf8.AppendRune(out, u)
			}
		}
		if i < len(b) && b[i] == '-' {
			i++
		}
	}
	return out
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

// unescape reads Python's unicode-escape (all) or raw-unicode-escape codec.
func unescape(b []byte, all bool) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' || i+1 >= len(b) {
			out = append(out, b[i])
			continue
		}
		c := b[i+1]
		digits := 0
		switch {
		case c == 'u':
			digits = 4
		case c == 'U':
			digits = 8
		case all && c == 'x':
			digits = 2
		}
		if digits > 0 {
			if u, ok := hexRune(b, i+2, digits); ok {
				out = utf8.AppendRune(out, u)
				i += 1 + digits
				continue
			}
		}
		if !all {
			out = append(out, b[i])
			continue
		}
		i++
		switch c {
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case '\n':
		case '\\', '\'', '"':
			out = append(out, c)
		default:
			if c < '0' || c > '7' {
				out = append(out, '\\', c)
				continue
			}
			u := rune(0)
			n := 0
			for ; n < 3 && i+n < len(b) && b[i+n] >= '0' && b[i+n] <= '7'; n++ {
				u = u<<3 | rune(b[i+n]-'0')
			}
			out = utf8.AppendRune(out, u)
			i += n - 1
		}
	}
	return out
}

func hexRune(b []byte, i, digits int) (rune, bool) {
	if i+digits > len(b) {
		return 0, false
	}
	var u uint32
	for _, c := range b[i : i+digits] {
		d, ok := unhex(c)
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
