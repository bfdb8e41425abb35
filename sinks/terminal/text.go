package terminal

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const (
	// Bytes of a sentence that are printed. Detectors keep theirs well below.
	maxText = 4096
	// Marks on one letter. Living scripts put up to three; piles of them paint over the lines around.
	maxMarks = 3
)

// Clean makes text harmless for a terminal: it has printable characters and single spaces between words only, and
// everything else (control characters of ASCII and C1, escapes, bidirectional overrides, tags, what has no width, bytes
// that are no text) is shown as \xHH or \u{HHHH}.
func Clean(s string) string {
	if len(s) > maxText {
		n := maxText
		for i := 1; i < utf8.UTFMax && !utf8.RuneStart(s[n]); i++ {
			n--
		}
		return escape(s[:n], false) + "..."
	}
	return escape(s, false)
}

// CleanAll is Clean for text of any length.
func CleanAll(s string) string { return escape(s, false) }

// CleanLines is Clean for text of any length that has lines and indents, such as a file.
func CleanLines(s string) string { return escape(s, true) }

// shown says whether people see a character as what it is. Beside what unicode.IsPrint leaves out there are letters and
// marks that fonts show as nothing (Hangul fillers, variation selectors), and the blank of Braille.
func shown(r rune) bool {
	return unicode.IsPrint(r) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != 0x2800
}

func escape(s string, lines bool) string {
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= 0x20 && s[i] < 0x7f
	}
	if plain {
		return s
	}
	var b strings.Builder
	marks := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		mark := unicode.Is(unicode.M, r)
		if !mark {
			marks = 0
		} else {
			marks++
		}
		switch {
		case lines && (r == '\n' || r == '\t'):
			b.WriteByte(s[i])
		case r == utf8.RuneError && n == 1, r < 0x20, r == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !shown(r), marks > maxMarks:
			fmt.Fprintf(&b, `\u{%04x}`, r)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// JSON makes JSON harmless for a terminal without a change of what it says: characters of strings that are not shown as
// what they are become \uHHHH.
func JSON(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case r == '\n' || r == '\t' || r == '\r': // between values
			out = append(out, b[i])
		case r < utf8.RuneSelf && r != 0x7f || r >= utf8.RuneSelf && shown(r):
			out = append(out, b[i:i+n]...)
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, hi, lo)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

// columns is the width of clean text on a terminal.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r < 0x300:
			n++
		case unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r):
		default:
			n++
			if k := width.LookupRune(r).Kind(); k == width.EastAsianWide || k == width.EastAsianFullwidth {
				n++
			}
		}
	}
	return n
}

// span is text in one style; the style is an escape sequence of ours or empty.
type span struct{ text, style string }

// Continuation lines begin below the time.
const hang = "          "

// line prints head, text and tail, wrapped between words, and within one that is wider than a line.
func (s *Sink) line(b *bytes.Buffer, head []span, text, tail string) {
	w := wrapper{b: b, width: s.opt.Width, color: s.opt.Color}
	if w.width < 2*len(hang) {
		w.width = 0
	}
	for _, h := range head {
		w.put(h.text, h.style)
	}
	w.words(text, "")
	w.words(tail, dim)
	b.WriteByte('\n')
}

type wrapper struct {
	b     *bytes.Buffer
	width int
	color bool
	col   int
	space bool // a space is due before the next word
}

func (w *wrapper) put(s, style string) {
	if style != "" && w.color {
		w.b.WriteString(style + s + reset)
	} else {
		w.b.WriteString(s)
	}
	w.col += columns(s)
}

func (w *wrapper) words(s, style string) {
	for _, word := range strings.Fields(s) {
		n := columns(word)
		if w.space {
			if w.width > 0 && w.col+1+n > w.width {
				w.newline()
			} else {
				w.put(" ", "")
			}
		}
		for w.width > 0 && w.col+n > w.width {
			i, c := 0, w.col
			for j, r := range word {
				rw := columns(string(r))
				if c+rw > w.width {
					break
				}
				i, c = j+utf8.RuneLen(r), c+rw
			}
			if i == 0 {
				if w.col <= len(hang) { // not even one character: give up wrapping
					break
				}
			} else {
				w.put(word[:i], style)
				word = word[i:]
				n = columns(word)
			}
			w.newline()
		}
		w.put(word, style)
		w.space = true
	}
}

func (w *wrapper) newline() {
	w.b.WriteString("\n" + hang)
	w.col = len(hang)
}
