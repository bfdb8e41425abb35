package secrets

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
)

const (
	// maxTries bounds the regular expressions that one message costs: a dump of a thousand variables needs fewer. Most
	// take under a microsecond; the longest, of web tokens, take 14, so that a hostile body gets 60 milliseconds.
	maxTries = 4096
	// maxMatches bounds what is told of one message; the rest is counted.
	maxMatches = 32
	// maxName bounds the name of a variable.
	maxName = 64
	// maxNamed bounds the candidates that wait until it is known which values have a shape of their own.
	maxNamed = 128
	// maxPrefix is how much of a key's fixed beginning is shown.
	maxPrefix = 12
)

// Match is one credential. It has nothing of the value but its public beginning and its length.
type Match struct {
	Rule     *Rule
	Dir      capture.Dir // Orig: in what the client sent
	Where    string      // body, target, or the name of a header
	Form     string      // how it was wrapped: percent, json, base64, gzip; "" if plainly
	Name     string      // of the variable that has the value, if it stands behind one
	Prefix   string      // the beginning that all keys of the kind share; "" if there is none
	Length   int         // of the value, in bytes
	Verified bool        // a checksum or an inner structure was right
	Example  bool        // a placeholder, a documentation's example, or a sequence of the alphabet
	Auth     bool        // it stood where a request authenticates itself
	Same     uint64      // equal for equal values of one rule, in this process alone
}

type scanner struct {
	rules []Rule
	words *automaton
}

func newScanner(rules []Rule) *scanner {
	s := &scanner{rules: rules}
	var words []string
	by := map[string][]int32{}
	for i := range rules {
		for _, k := range rules[i].keywords {
			if by[k] == nil {
				words = append(words, k)
			}
			by[k] = append(by[k], int32(i))
		}
	}
	lists := make([][]int32, len(words))
	for i, w := range words {
		lists[i] = by[w]
	}
	s.words = newAutomaton(words, lists)
	return s
}

// scan is the look at one message, over all its parts and forms.
type scan struct {
	*scanner
	matches []Match
	seen    []uint64 // hashes of rule and value
	more    int
	tries   int
	capped  bool
	named   []candidate
	spans   [][2]int // of matches in the text at hand
	dump    bool     // the text at hand was looked at for an environment: once, since all of it is
}

type candidate struct {
	rule       *Rule
	start, end int
}

// text looks at one text; m tells where it stood.
func (s *scan) text(b []byte, m Match) {
	s.named, s.spans, s.dump = s.named[:0], s.spans[:0], false
	s.words.find(b, func(end int, w word) bool {
		start := end - w.length
		for _, i := range w.rules {
			r := &s.rules[i]
			if !r.inner && start > 0 && b[start-1] != '_' && wordByte(b[start-1]) && !escaped(b, start-1) {
				continue
			}
			if s.tries++; s.tries > maxTries {
				s.capped = true
				return false
			}
			if s.try(b, start, r, m) {
				break
			}
		}
		return true
	})
	// A variable by its name alone counts when its value has no shape of its own.
next:
	for _, c := range s.named {
		for _, p := range s.spans {
			if c.start < p[1] && p[0] < c.end {
				continue next
			}
		}
		m.Prefix, m.Verified = "", false
		s.add(b, c.start, c.end, c.rule, m)
	}
}

// escaped says that b[i] is the letter of an escape: the n of \n.
func escaped(b []byte, i int) bool {
	return i > 0 && b[i-1] == '\\' && (b[i] == 'n' || b[i] == 't' || b[i] == 'r')
}

func (s *scan) try(b []byte, start int, r *Rule, m Match) bool {
	from := start - r.lead
	if from < 0 {
		return false
	}
	loc := r.regex.FindSubmatchIndex(b[from:min(from+r.max, len(b))])
	if loc == nil {
		return false
	}
	v0, v1 := from+loc[0], from+loc[1]
	if len(loc) > 2 && loc[2] >= 0 {
		v0, v1 = from+loc[2], from+loc[3]
	}
	if r.entropy > 0 && entropy(b[v0:v1]) < r.entropy && !example(b[v0:v1]) {
		return false
	}
	if r.check == "environment" {
		if s.dump {
			return false
		}
		s.dump = true
	}
	switch f := checks[r.check]; {
	case r.check == "named":
		if f(b, v0, v1) != refuted && len(s.named) < maxNamed {
			s.named = append(s.named, candidate{r, v0, v1})
		}
		return false
	case f != nil:
		v := f(b, v0, v1)
		if v == refuted {
			return false
		}
		m.Verified = v == proven
	}
	if v0 == start && r.Grade != Weak || v0 == start && r.check == "" {
		m.Prefix = publicPrefix(b[v0:v1], r)
	}
	s.spans = append(s.spans, [2]int{v0, v1})
	s.add(b, v0, v1, r, m)
	return true
}

// publicPrefix is what of a value is its keyword, and so no secret.
func publicPrefix(v []byte, r *Rule) string {
	for _, k := range r.keywords {
		if len(v) > 2*len(k) && bytes.EqualFold(v[:len(k)], []byte(k)) && r.lead == 0 {
			return string(v[:min(len(k), maxPrefix)])
		}
	}
	return ""
}

// seed is the program's own, so that nobody can make a value that is taken for another. Hashes are compared and never told, so that
// what is said is the same with any.
var seed = maphash.MakeSeed()

func (s *scan) add(b []byte, v0, v1 int, r *Rule, m Match) {
	v := b[v0:v1]
	key := maphash.Bytes(seed, v) ^ maphash.String(seed, r.ID)
	if r.check == "environment" {
		key = maphash.String(seed, r.ID) // its value is no value: once a message
	}
	if slices.Contains(s.seen, key) {
		return
	}
	m.Rule, m.Length, m.Name, m.Same = r, len(v), nameBefore(b, v0), key
	m.Example = example(v) && !m.Verified || published(v)
	if strings.HasPrefix(strings.ToLower(m.Name), "x-amz-") {
		return // a presigned URL: it has the id of the key and no key
	}
	if len(s.matches) >= maxMatches {
		s.more++
		return
	}
	s.seen = append(s.seen, key)
	s.matches = append(s.matches, m)
}

// nameBefore gives the name to which the value at v0 is assigned.
func nameBefore(b []byte, v0 int) string {
	i := v0
	for i > 0 && v0-i < 8 && (b[i-1] == '"' || b[i-1] == '\'' || b[i-1] == ' ' || b[i-1] == '\\') {
		i--
	}
	if i == 0 || b[i-1] != '=' && b[i-1] != ':' {
		return ""
	}
	i--
	for i > 0 && v0-i < 16 && (b[i-1] == '"' || b[i-1] == '\'' || b[i-1] == ' ' || b[i-1] == '\\') {
		i--
	}
	end := i
	for i > 0 && end-i < maxName && (wordByte(b[i-1]) || b[i-1] == '-' || b[i-1] == '.') && !escaped(b, i-1) {
		i--
	}
	return string(b[i:end])
}

// entropy is Shannon's, in bits a byte.
func entropy(v []byte) float64 {
	var count [256]uint16
	for _, c := range v {
		count[c]++
	}
	h, n := 0.0, float64(len(v))
	for _, k := range count {
		if k > 0 {
			p := float64(k) / n
			h -= p * math.Log2(p)
		}
	}
	return h
}

// words that stand in values which somebody made up.
var madeUp = [...]string{"example", "placeholder", "changeme", "change_me", "change-me", "redacted", "dummy", "sample", "xxxx", "****", "your_", "your-",
	"yourkey", "not-a-real", "notareal", "insert", "123456789", "deadbeef"}

const (
	// A run of the alphabet this long is a finger on a keyboard: by chance one key in 10^9 has it.
	maxRun = 8
	// Random text of the length of a key has more different bytes.
	fewBytes = 5
)

// example says that a value was made up by a person.
func example(v []byte) bool {
	if len(v) > 512 {
		return false
	}
	low := bytes.ToLower(v)
	for _, w := range madeUp {
		if bytes.Contains(low, []byte(w)) {
			return true
		}
	}
	run, distinct := 1, 0
	var have [256]bool
	for i, c := range low {
		if !have[c] {
			have[c] = true
			distinct++
		}
		if i > 0 && c == low[i-1]+1 {
			if run++; run >= maxRun {
				return true
			}
		} else {
			run = 1
		}
	}
	return distinct < fewBytes && len(v) > 2*fewBytes
}
