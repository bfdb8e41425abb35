package ray

import (
	"io"

	"golang.org/x/text/transform"

	"github.com/raytap/raytap/decoders/http"
)

const (
	// Of the command, as it was written, the beginning (with an escape for each letter) and the end.
	maxRawText = 6 * maxEntrypoint
	maxRawTail = 32 << 10
	// Of a runtime_env, and of any other value, the beginning.
	maxRawEnv   = 256 << 10
	maxRawOther = 4 << 10
	// Keys that Ray does not know are told as many times.
	maxForeign = 8
	// A key written with an escape for each letter.
	maxRawKey = 6 * maxKey
)

// Follow reads the body of a submission that is longer than is kept, or has a hole: what Ray takes for the entrypoint is the
// last key of that name, wherever it stands. It is nil for any other request.
func Follow(t *http.Transaction) http.Follower {
	if t == nil || t.Request == nil || t.Request.Method != "POST" {
		return nil
	}
	p, ok := locate("POST", t.Request.Target)
	if !ok || !p.known || p.route.class != Exec || p.route.service == RuntimeEnv || p.route.service.byObject() {
		return nil
	}
	f := &follower{}
	for _, name := range charsets(t.Request.Header.Get("Content-Type")) {
		if len(f.readings) == maxReadings {
			break
		}
		c := &condenser{}
		r := reading{charset: name, c: c, w: c}
		if t, foreign := decoderOf(name); t != nil {
			r.w, r.foreign = transform.NewWriter(c, t), foreign
		}
		f.readings = append(f.readings, r)
	}
	return f
}

// maxReadings bounds the charsets in which one body is read.
const maxReadings = 3

type follower struct{ readings []reading }

type reading struct {
	charset, foreign string
	c                *condenser
	w                io.Writer
}

// Write implements http.Follower.
func (f *follower) Write(b []byte) {
	for _, r := range f.readings {
		_, _ = r.w.Write(b) // only a condenser that has enough says no
	}
}

// Gap implements http.Follower.
func (f *follower) Gap() {
	for _, r := range f.readings {
		r.c.gap()
	}
}

// text gives what was read with a charset, in short, and notes in j what that does not show; nil if there is no such
// reading.
func (f *follower) text(charset string, j *jobBody) []byte {
	for _, r := range f.readings {
		if r.charset == charset {
			if w, ok := r.w.(io.Closer); ok {
				_ = w.Close()
			}
			j.charset, j.padding, j.duplicate, j.escapedKey = r.foreign, r.c.padding, r.c.twice, r.c.escapes
			return r.c.text()
		}
	}
	return nil
}

// condenser reads the JSON object of a job as it comes, in UTF-8, and keeps what readJob looks at: of each key of Ray's the
// value that came last. It holds no more than a megabyte and looks at each byte once.
type condenser struct {
	state   condState
	depth   int  // within a value
	quoted  bool // in a string within a value
	escaped bool // behind a backslash
	key     []byte
	index   int // of the key in jobKeys; -1 for any other
	raw     []byte
	tail    []byte // of a long text, a ring of twice maxRawTail
	quote   bool   // the value is a text
	long    bool   // and more than is kept
	values  [len(jobKeys)][]byte
	halves  [len(jobKeys)]bool // their ends were not kept
	order   []int
	foreign int
	// What else is told of the whole: how far in the command stands, a key that came twice, one with escapes.
	total, at      int // of the colon that was read last
	padding        int
	twice, escapes bool
	sought         int // how much of the word was found, behind a gap
}

type condState uint8

const (
	condStart condState = iota
	condKey             // before a key, a comma or the end
	condInKey
	condColon
	condValue // before a value
	condInValue
	condOver
	condSeek      // behind a gap: looking for the word
	condSeekColon // and for what follows it
	condSeekText
)

// Write implements io.Writer.
func (c *condenser) Write(b []byte) (int, error) {
	for i := 0; i < len(b); {
		switch x := b[i]; c.state {
		case condStart:
			if x == '{' {
				c.state = condKey
			} else if !blank(x) && x < 0x80 { // a BOM is not
				c.state = condOver
			}
		case condKey:
			switch {
			case x == '"':
				c.state, c.key = condInKey, c.key[:0]
			case x == '}':
				c.state = condOver
			case !blank(x) && x != ',':
				c.state = condOver
			}
		case condInKey:
			switch {
			case c.escaped:
				c.escaped = false
			case x == '\\':
				c.escaped = true
			case x == '"':
				c.state = condColon
			}
			if len(c.key) < maxRawKey {
				c.key = append(c.key, x)
			}
		case condColon:
			if x == ':' {
				c.at = c.total + i
				c.begin()
			} else if !blank(x) {
				c.state = condOver
			}
		case condValue, condInValue:
			i += c.value(b[i:])
			continue
		case condOver:
			return len(b), nil
		default:
			c.seek(x)
		}
		i++
	}
	c.total += len(b)
	return len(b), nil
}

func blank(x byte) bool { return x == ' ' || x == '\t' || x == '\n' || x == '\r' }

// begin makes ready for the value of a key.
func (c *condenser) begin() {
	r := &jsonReader{b: append([]byte{'"'}, c.key...)}
	key, t := r.str(maxKey)
	if c.index = jobKey(key); c.index >= 0 {
		c.escapes = c.escapes || t.escaped
		c.twice = c.twice || c.values[c.index] != nil
		if jobKeys[c.index] == "entrypoint" {
			c.padding = c.at
		}
	}
	c.state, c.depth, c.raw, c.tail, c.quote, c.long = condValue, 0, nil, nil, false, false
}

// value takes bytes of a value and gives how many.
func (c *condenser) value(b []byte) int {
	i := 0
	if c.state == condValue {
		for i < len(b) && blank(b[i]) {
			i++
		}
		if i == len(b) {
			return i
		}
		c.state, c.quote = condInValue, b[i] == '"'
	}
	from := i
	for ; i < len(b); i++ {
		x := b[i]
		if c.quoted {
			switch {
			case c.escaped:
				c.escaped = false
			case x == '\\':
				c.escaped = true
			case x == '"':
				c.quoted = false
				if c.depth == 0 {
					c.keep(b[from : i+1])
					c.end()
					return i + 1
				}
			}
			continue
		}
		switch x {
		case '"':
			c.quoted = true
		case '{', '[':
			c.depth++
		case '}', ']':
			if c.depth == 0 { // the end of the object
				c.keep(b[from:i])
				c.end()
				return i
			}
			if c.depth--; c.depth == 0 {
				c.keep(b[from : i+1])
				c.end()
				return i + 1
			}
		case ',':
			if c.depth == 0 {
				c.keep(b[from:i])
				c.end()
				return i
			}
		}
	}
	c.keep(b[from:])
	return len(b)
}

// keep keeps bytes of the value of a key that is Ray's.
func (c *condenser) keep(b []byte) {
	if c.index < 0 {
		return
	}
	room, ends := maxRawOther, false
	switch {
	case c.quote && jobKeys[c.index] == "entrypoint":
		room, ends = maxRawText, true
	case jobKeys[c.index] == "runtime_env":
		room = maxRawEnv
	}
	n := min(len(b), room-len(c.raw))
	c.raw = append(c.raw, b[:n]...)
	if b = b[n:]; len(b) == 0 {
		return
	}
	if c.long = true; !ends {
		return
	}
	if len(b) > maxRawTail {
		c.tail, b = c.tail[:0], b[len(b)-maxRawTail:]
	}
	if len(c.tail)+len(b) > 2*maxRawTail {
		c.tail = c.tail[:copy(c.tail, c.tail[len(c.tail)-maxRawTail:])]
	}
	c.tail = append(c.tail, b...)
}

// end takes a value that is whole, or all there is of it.
func (c *condenser) end() {
	c.state, c.quoted, c.escaped = condKey, false, false
	if c.index < 0 {
		c.foreign++
		return
	}
	switch {
	case len(c.raw) == 0:
		c.raw = []byte("null") // Python would have refused all of it
	case c.long && c.quote && len(c.tail) == 0:
		c.raw = append(c.raw, " \u2026\""...)
	case c.long && c.quote:
		c.raw = append(append(c.raw, " \u2026 "...), c.tail[max(0, len(c.tail)-maxRawTail):]...)
	}
	if c.values[c.index] == nil {
		c.order = append(c.order, c.index)
	}
	c.values[c.index], c.halves[c.index], c.raw, c.tail = c.raw, c.long && !c.quote, nil, nil
}

// gap says that bytes are missing. Where in the object what follows stands is unknown: what looks like the key is taken for
// it.
func (c *condenser) gap() {
	if c.state == condInValue && c.index >= 0 && len(c.raw) > 0 {
		if c.quote {
			c.raw = append(c.raw, " \u2026\""...)
		} else {
			c.long = true
		}
		c.end()
	}
	c.state, c.sought, c.quoted, c.escaped = condSeek, 0, false, false
}

const soughtWord = `"entrypoint"`

func (c *condenser) seek(x byte) {
	switch c.state {
	case condSeek:
		switch {
		case x == soughtWord[c.sought]:
			if c.sought++; c.sought == len(soughtWord) {
				c.state, c.sought = condSeekColon, 0
			}
		case x == soughtWord[0]:
			c.sought = 1
		default:
			c.sought = 0
		}
	case condSeekColon:
		switch {
		case x == ':':
			c.state = condSeekText
		case !blank(x):
			c.state = condSeek
		}
	case condSeekText:
		if blank(x) {
			return
		}
		c.state = condSeek
		if x == '"' {
			c.key = append(c.key[:0], soughtWord[1:]...)
			c.begin()
			c.value([]byte{'"'})
		}
	}
}

// text gives the object in short. What has no end comes last, as if the object were cut there.
func (c *condenser) text() []byte {
	last, raw := -1, []byte(nil)
	if c.state == condInValue && c.index >= 0 && len(c.raw) > 0 {
		if last, raw = c.index, c.raw; c.long && c.quote {
			raw = append(append(raw, " \u2026 "...), c.tail[max(0, len(c.tail)-maxRawTail):]...)
		}
	}
	if c.state == condStart || c.state == condOver && len(c.order) == 0 && c.foreign == 0 {
		return nil
	}
	out := []byte{'{'}
	for range min(c.foreign, maxForeign) {
		out = append(out, `"?":0,`...)
	}
	member := func(i int) { out = append(append(append(out, '"'), jobKeys[i]...), `":`...) }
	for _, i := range c.order {
		v := c.values[i]
		switch {
		case i == last:
			continue
		case c.halves[i] && last < 0:
			last, raw = i, v
			continue
		case c.halves[i]:
			v = []byte("null")
		}
		member(i)
		out = append(append(out, v...), ',')
	}
	if last >= 0 {
		member(last)
		return append(out, raw...)
	}
	return append(out, '}')
}
