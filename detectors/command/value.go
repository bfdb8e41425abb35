package command

import "strings"

// origin is where a value comes from, as far as that matters.
type origin uint16

const (
	fromText   origin = 1 << iota // a literal of the text that is judged
	fromNet                       // fetched: at says where
	fromSocket                    // read from a connection
	fromDecode                    // went through a decoder
	fromOpaque                    // of what went through a decoder nothing can be read
	fromSecret                    // credentials
	fromRecon                     // what a machine is: its name, users, addresses, environment
	fromFile                      // a file of which nothing is known
	fromEnv                       // a variable that is not set here
	fromPacked                    // out of an archive
)

// hole stands in a text for what is not known.
const hole = "\x00"

// value is what a word, a variable, a file or a pipe holds.
type value struct {
	s    string // text, with holes
	from origin
	at   *Place // with fromNet: where from; with fromSocket where to
	file *value // the word is the name of something that is read: <(...)
	what string // what credentials
}

var unknown = value{s: hole}

func text(s string) value { return value{s: s, from: fromText} }

// whole says that the text is all known.
func (v value) known() bool { return !strings.Contains(v.s, hole) }

// plain is the text without what is not known.
func (v value) plain() string { return strings.ReplaceAll(v.s, hole, "") }

// plus appends.
func (v value) plus(o value) value {
	out := value{s: clipValue(v.s + o.s), from: v.from | o.from, at: v.at, what: v.what, file: v.file}
	if out.at == nil {
		out.at = o.at
	}
	if out.what == "" {
		out.what = o.what
	}
	if out.file == nil {
		out.file = o.file
	}
	return out
}

// with is another text of the same origin.
func (v value) with(s string) value {
	v.s = clipValue(s)
	return v
}

// blur is a value of the same origin whose text is not known.
func (v value) blur() value {
	if v.s != "" {
		v.s = hole
	}
	return v
}

func clipValue(s string) string {
	if len(s) > maxValue {
		return s[:maxValue]
	}
	return s
}
