// Package rayredis reads what Ray before 1.11 says to its global control store, which was a Redis.
//
// In: RESP over TCP, either protocol version, on any port. Out: *Call, a row of ray_redis.log: the first of each kind of
// command on a connection, with key, class and outcome, how it authenticated, and what the answers tell of the cluster
// (where the GCS server listens, versions, session). The password is compared with the one that Ray has in its source,
// 5241590000000000, and is never kept.
//
// A Redis is Ray's when somebody logs in with that password, uses commands of Ray's module (RAY.TABLE_ADD), or asks for
// keys that only Ray has (GcsServerAddress, RedisShards, VERSION_INFO, RemoteFunction:...). What shows none of that
// within its first commands is somebody else's and is left alone.
//
// Commands as a person types them (inline: words in a line) are read on a connection that begins with one by which a Redis is
// configured, copied or emptied.
//
// It does not see: other inline commands; values, beyond the few that are named above; scripts; which reply belongs to which command once a
// connection subscribes; Redis over TLS; the GCS of Ray 1.11 and later, which is gRPC (raygrpc).
package rayredis

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

const (
	maxArgs   = 1 << 20 // of a command, as Redis has it
	maxBulk   = 512 << 20
	keepArgs  = 3   // of a command: name, key, field
	keepBytes = 256 // of an argument or an answer
	maxLine   = 64  // "$536870912"; an error has more, and only its beginning counts
	maxDepth  = 8   // of answers in answers
	maxWait   = 64  // commands that wait for their answer

	// Drivers and raylets show what they are with their first commands; monitoring of any Redis never does.
	undecided = 64
	// Kinds of commands that a connection is logged with; a raylet has about ten.
	maxCalls = 24
)

// Class says what a command can do, in the words of ray_grpc.log.
type Class string

// Classes.
const (
	Exec  Class = "exec"  // runs code, or stores what workers load
	Write Class = "write" // changes or destroys
	State Class = "state" // reads
	Info  Class = "info"  // says that it is there, logs in
)

// Outcome says what came of a command, in the words of ray_grpc.log.
type Outcome string

// Outcomes.
const (
	Executed Outcome = "executed"
	Answered Outcome = "answered"
	NoToken  Outcome = "blocked_token" // no password, or a wrong one
	Rejected Outcome = "rejected"
	Unseen   Outcome = "unknown"
)

// Call is the first command of its kind on a connection to Ray's Redis.
type Call struct {
	capture.At // of the command
	Flow       *capture.Flow
	Command    string // upper case, bounded
	Key        string // bounded; what is no text is escaped
	Class      Class
	Outcome    Outcome
	Auth       string // what was shown before: none, default, password
	Mid        bool   // the connection began before the capture did

	GCS     netip.AddrPort // where the GCS server listens, as an answer says
	Version string         // of Ray
	Python  string
	Session string

	takeover string // see Takeover
	told     bool   // it is no row
}

// Log implements capture.Record.
func (*Call) Log() string { return "ray_redis" }

// Row implements capture.Record.
func (c *Call) Row(f capture.Fields) {
	f.Time("ts", c.Time, c.Time != 0)
	c.Flow.ID(f)
	f.String("command", c.Command, c.Command != "")
	f.String("key", c.Key, c.Key != "")
	f.Enum("class", string(c.Class), c.Class != "")
	f.Enum("outcome", string(c.Outcome), c.Outcome != "")
	f.Enum("auth", c.Auth, c.Auth != "")
	f.String("gcs_address", c.GCS.String(), c.GCS.IsValid())
	f.String("ray_version", c.Version, c.Version != "")
	f.String("session_name", c.Session, c.Session != "")
	f.Bool("mid", c.Mid, c.Class != "")
}

// Spec registers the decoder.
func Spec() decoders.Spec {
	return decoders.Spec{Name: "redis", Stream: probe, New: func(ctx decoders.Context) decoders.Decoder {
		d := &decoder{ctx: ctx, mid: ctx.Flow().Mid}
		d.part[capture.Orig].words = true
		return d
	}, Again: decoders.Again{First: []string{"*1", "*2", "*3", "*4", "*5", "*6", "*7", "*8", "*9"}, Once: true, Probe: probeAgain}}
}

// probeAgain wants a whole command where it is its sender's turn, or an answer to it.
func probeAgain(orig, resp []byte, turn bool) decoders.Verdict {
	v := probe(orig, resp, true)
	if v == decoders.Maybe && turn {
		switch {
		case len(resp) == 0 && command(orig) == decoders.Yes:
			return decoders.Yes
		case len(orig) == 0 && command(resp) == decoders.Yes:
			return decoders.Flipped
		}
	}
	return v
}

// probe wants a client that begins with a whole, known command, and a server that answers as Redis does.
func probe(orig, resp []byte, _ bool) decoders.Verdict {
	o, r := command(orig), command(resp)
	switch {
	case o == decoders.Yes && answers(resp):
		return decoders.Yes
	case r == decoders.Yes && answers(orig):
		return decoders.Flipped
	case o == decoders.No && (r == decoders.No || len(resp) == 0), len(orig) == 0 && r == decoders.No:
		return decoders.No
	}
	return decoders.Maybe
}

// command says whether b begins with a command: *N, $n, and a name.
func command(b []byte) decoders.Verdict {
	if len(b) == 0 {
		return decoders.Maybe
	}
	if b[0] != '*' {
		return inline(b)
	}
	n, rest, state := header(b)
	if state == more {
		return decoders.Maybe
	}
	if state == bad || n < 1 || n > maxArgs {
		return decoders.No
	}
	if len(rest) == 0 {
		return decoders.Maybe
	}
	if rest[0] != '$' {
		return decoders.No
	}
	n, rest, state = header(rest)
	if state == more {
		return decoders.Maybe
	}
	if state == bad || n < 2 || n > 24 {
		return decoders.No
	}
	if len(rest) < n {
		return decoders.Maybe
	}
	for _, c := range rest[:n] {
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' {
			return decoders.No
		}
	}
	return decoders.Yes
}

// inlines are the commands that a connection of words may begin with: no other text protocol's client has them.
var inlines = [...]string{"SLAVEOF ", "REPLICAOF ", "CONFIG SET ", "CONFIG GET ", "MODULE LOAD ", "MODULE LIST", "FLUSHALL", "FLUSHDB", "BGSAVE", "DBSIZE"}

// inline says whether b begins with a line that is such a command.
func inline(b []byte) decoders.Verdict {
	for _, w := range inlines {
		if n := min(len(b), len(w)); strings.EqualFold(string(b[:n]), w[:n]) {
			if i := bytes.IndexByte(b[:min(len(b), maxInline)], '\n'); n == len(w) && i >= 0 {
				return decoders.Yes
			}
			if len(b) >= maxInline {
				return decoders.No
			}
			return decoders.Maybe
		}
	}
	return decoders.No
}

// maxInline bounds a line of words; Redis has 64 KiB, for values that are of no interest here.
const maxInline = 4 << 10

// split takes the words of a line as Redis does (sdssplitargs), but for escapes in quotes.
func (p *part) split(line []byte) {
	for line = bytes.TrimLeft(line, " \t\r"); len(line) > 0; line = bytes.TrimLeft(line, " \t\r") {
		end, from, next := bytes.IndexAny(line, " \t\r"), 0, 0
		if q := line[0]; q == '"' || q == '\'' {
			from = 1
			if end = bytes.IndexByte(line[1:], q); end >= 0 {
				end, next = end+1, 1
			}
		}
		if end < 0 {
			end, next = len(line), 0
		}
		if p.n < keepArgs {
			p.args[p.n] = append(p.args[p.n], line[from:min(end, from+keepBytes)]...)
		}
		p.n++
		line = line[end+next:]
	}
}

// answers says whether b could be what a server says, perhaps from the middle of it.
func answers(b []byte) bool { return len(b) == 0 || strings.IndexByte("+-:$*_#,(!=%~>|", b[0]) >= 0 }

// Takeover is a command to any Redis by which others get to run code on its machine or write its files: it is told whether
// or not the Redis is Ray's. Fields are bounded excerpts.
type Takeover struct {
	capture.At
	Flow    *capture.Flow
	Command string // "SLAVEOF 198.51.100.77 8886", "CONFIG SET dir", "MODULE LOAD ./exp.so", "PSYNC"
	Outcome Outcome
}

// takeover says whether a command is one, and how it reads. REPLICAOF NO ONE ends what such a command began.
func takeover(name string, p *part) string {
	a, b := strings.ToUpper(string(p.args[1][:min(len(p.args[1]), 16)])), strings.ToLower(string(p.args[2][:min(len(p.args[2]), 32)]))
	switch name {
	case "SLAVEOF", "REPLICAOF":
		if a == "NO" || p.n < 3 {
			return ""
		}
		return name + " " + shown(p.args[1]) + " " + shown(p.args[2])
	case "CONFIG":
		if a == "SET" && (b == "dir" || b == "dbfilename" || b == "enable-module-command" || b == "protected-mode") {
			return "CONFIG SET " + b
		}
	case "MODULE":
		if a == "LOAD" || a == "LOADEX" {
			return "MODULE " + a + " " + shown(p.args[2])
		}
	case "SYSTEM.EXEC", "SYSTEM.REV":
		return name + " " + shown(p.args[1])
	case "PSYNC", "SYNC":
		return name
	}
	return ""
}

type state uint8

const (
	good state = iota
	more
	bad
)

// header reads "*3\r\n": the number, -1 for what is null, and what stands behind.
func header(b []byte) (n int, rest []byte, s state) {
	for i := 1; i < len(b) && i < maxLine; i++ {
		if c := b[i]; c != '\n' {
			if (c < '0' || c > '9') && c != '\r' && (c != '-' || i > 1) {
				return 0, nil, bad // at once: of bulk, little may look like a beginning
			}
			continue
		}
		line := b[1:i]
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return 0, nil, bad
		}
		line = line[:len(line)-1]
		if string(line) == "-1" {
			return -1, b[i+1:], good
		}
		if len(line) == 0 || len(line) > 10 {
			return 0, nil, bad
		}
		for _, c := range line {
			if c < '0' || c > '9' {
				return 0, nil, bad
			}
			n = n*10 + int(c-'0')
		}
		return n, b[i+1:], good
	}
	if len(b) >= maxLine {
		return 0, nil, bad
	}
	return 0, nil, more
}

var (
	errNotRESP = errors.New("rayredis: not RESP")
	errNotRay  = errors.New("rayredis: a Redis of somebody else's")
)

// part is a message that is being read in one direction.
type part struct {
	open  []int // values still missing of each array that is open
	bulk  int   // bytes still missing of a text, with its line end
	args  [keepArgs][]byte
	n     int // texts read of this message
	first byte
	line  []byte // of the first simple answer
	words bool   // lines of words are commands here
}

type decoder struct {
	ctx   decoders.Context
	part  [2]part
	wait  []*Call // commands whose answer is still to come, oldest first; nil: one that is not logged
	calls map[string]bool
	held  []*Call // before it is certain that this is Ray's
	auth  string
	seen  int
	ended [2]bool
	ray   bool
	mid   bool
	deaf  bool // answers and commands can no longer be paired
}

// Decode implements decoders.Decoder.
func (d *decoder) Decode(dir capture.Dir, b []byte) (used int, err error) {
	p := &d.part[dir]
	for used < len(b) {
		n, done, err := p.read(b[used:])
		if err != nil {
			return used, err
		}
		if n == 0 {
			return used, nil
		}
		used += n
		if !done {
			continue
		}
		if dir == capture.Orig {
			err = d.command(p)
		} else {
			d.answer(p)
		}
		p.reset()
		if err != nil {
			return used, err
		}
	}
	return used, nil
}

func (p *part) reset() {
	p.open, p.n, p.first, p.line = p.open[:0], 0, 0, p.line[:0]
	for i := range p.args {
		p.args[i] = p.args[i][:0]
	}
}

// read takes the next piece of a message. done says that the message is whole.
func (p *part) read(b []byte) (n int, done bool, err error) {
	if p.bulk > 0 {
		n, done = p.text(b)
		return n, done, nil
	}
	if p.first == 0 {
		p.first = b[0]
	}
	switch b[0] {
	case '$', '!', '=': // texts with a length
		k, rest, s := header(b)
		if s == more {
			return 0, false, nil
		}
		if s == bad || k > maxBulk {
			return 0, false, errNotRESP
		}
		if n = len(b) - len(rest); k < 0 {
			p.n++
			return n, p.value(), nil
		}
		p.bulk = k + 2
		return n, false, nil
	case '*', '~', '>', '%', '|': // lists of values; maps and attributes have two for each entry
		k, rest, s := header(b)
		if s == more {
			return 0, false, nil
		}
		if s == bad || k > maxArgs || len(p.open) >= maxDepth {
			return 0, false, errNotRESP
		}
		if n = len(b) - len(rest); k <= 0 {
			return n, p.value(), nil
		}
		if b[0] == '%' || b[0] == '|' {
			k *= 2
		}
		p.open = append(p.open, k)
		return n, false, nil
	case '+', '-', ':', '_', '#', ',', '(': // one line
		i, err := lineEnd(b, 4*keepBytes)
		if i < 0 {
			return 0, false, err
		}
		if len(p.open) == 0 {
			p.line = append(p.line, b[:min(i, keepBytes)]...)
		}
		return i + 1, p.value(), nil
	}
	if c := b[0]; p.words && len(p.open) == 0 && (c|0x20 >= 'a' && c|0x20 <= 'z' || c == '\r' || c == '\n' || c == ' ') {
		i, err := lineEnd(b, maxInline)
		if i < 0 {
			return 0, false, err
		}
		if p.split(b[:i]); p.n == 0 {
			p.first = 0
			return i + 1, false, nil // empty lines are passed over
		}
		p.first = '*'
		return i + 1, true, nil
	}
	return 0, false, errNotRESP
}

// text takes the next bytes of a text of known length.
func (p *part) text(b []byte) (n int, done bool) {
	n = min(p.bulk, len(b))
	if i := p.n; i < keepArgs {
		text := b[:min(n, max(p.bulk-2, 0))]
		p.args[i] = append(p.args[i], text[:min(len(text), keepBytes-len(p.args[i]))]...)
	}
	if p.bulk -= n; p.bulk > 0 {
		return n, false
	}
	p.n++
	return n, p.value()
}

// lineEnd finds the end of a line of fewer than most bytes; -1 if it is not there yet, or with an error if the line is longer.
func lineEnd(b []byte, most int) (int, error) {
	i := bytes.IndexByte(b[:min(len(b), most)], '\n')
	if i < 0 && len(b) >= most {
		return i, errNotRESP
	}
	return i, nil
}

// value notes that one value is whole, and says whether the message is.
func (p *part) value() bool {
	for len(p.open) > 0 {
		i := len(p.open) - 1
		if p.open[i]--; p.open[i] > 0 {
			return false
		}
		p.open = p.open[:i]
	}
	return true
}

// command takes a whole command.
func (d *decoder) command(p *part) error {
	if p.first != '*' || p.n == 0 {
		return errNotRESP
	}
	d.seen++
	name := strings.ToUpper(string(p.args[0][:min(len(p.args[0]), 32)]))
	key := p.args[1]
	c := &Call{At: d.ctx.At(), Command: shown([]byte(name)), Outcome: Unseen, Class: classOf(name, key, p.args[2]), Mid: d.mid}
	ray := strings.HasPrefix(name, "RAY.") || rayKey(key)
	switch name {
	case "AUTH":
		word := string(key)
		if p.n > 2 { // AUTH user password
			word = string(p.args[2])
		}
		if d.auth = "password"; word == defaultPassword {
			d.auth, ray = "default", true
		}
	case "HELLO":
	case "CONFIG":
		c.Key = shown([]byte(strings.ToUpper(string(key)) + " " + string(p.args[2])))
	case "SUBSCRIBE", "PSUBSCRIBE", "MONITOR":
		d.deaf = true
		c.Key = shown(key)
	default:
		c.Key = shown(key)
	}
	if c.Auth = d.auth; c.Auth == "" && !d.mid {
		c.Auth = "none"
	}
	c.takeover = takeover(name, p)
	kind := name + " " + kindOf(key)
	told := d.calls[kind]
	if told && c.takeover != "" && !d.calls[c.takeover] && len(d.calls) < maxCalls {
		c.told = true // there is a row of its kind
		d.calls[c.takeover] = true
	} else if told || len(d.calls) >= maxCalls {
		c = nil
	} else {
		if d.calls == nil {
			d.calls = map[string]bool{}
		}
		d.calls[kind] = true
		if c.takeover != "" {
			d.calls[c.takeover] = true
		}
	}
	if ray && !d.ray {
		d.ray = true
		d.ctx.Confirm("redis")
	}
	if !d.ray && d.seen > undecided {
		return errNotRay
	}
	switch {
	case c != nil && strings.HasSuffix(c.takeover, "SYNC"): // the answer is the whole of the other's data
		d.say(c)
	case d.deaf || len(d.wait) >= maxWait:
		d.deaf = true
		d.flush()
		d.say(c)
	default:
		d.wait = append(d.wait, c)
	}
	return nil
}

// answer takes a whole answer to the oldest command that waits.
func (d *decoder) answer(p *part) {
	if len(d.wait) == 0 {
		return
	}
	c := d.wait[0]
	d.wait = d.wait[1:]
	if c == nil {
		return
	}
	switch {
	case p.first == '-':
		c.Outcome = Rejected
		if e := string(p.line); strings.HasPrefix(e, "-NOAUTH") || strings.HasPrefix(e, "-WRONGPASS") || strings.HasPrefix(e, "-ERR invalid password") {
			c.Outcome = NoToken
		}
	case c.Class == Exec || c.Class == Write:
		c.Outcome = Executed
	default:
		c.Outcome = Answered
	}
	if p.first == '$' && p.n == 1 {
		text := p.args[0]
		switch c.Key {
		case "GcsServerAddress":
			c.GCS, _ = netip.ParseAddrPort(string(text))
		case "session_name", "session_dir":
			if i := strings.LastIndex(string(text), "session_"); i >= 0 {
				c.Session = shown(text[i:min(len(text), i+64)])
			}
		case "VERSION_INFO":
			var v []string
			if json.Unmarshal(text, &v) == nil && len(v) > 1 {
				c.Version, c.Python = shown([]byte(v[0])), shown([]byte(v[1]))
			}
		}
	}
	d.say(c)
}

// say emits a call, or holds it until it is certain that this is Ray's.
func (d *decoder) say(c *Call) {
	if c != nil {
		if !c.told {
			d.held = append(d.held, c)
		}
		if c.takeover != "" {
			d.ctx.Emit(&Takeover{At: c.At, Flow: d.ctx.Flow(), Command: c.takeover, Outcome: c.Outcome})
		}
	}
	if !d.ray {
		return
	}
	for _, c := range d.held {
		c.Flow = d.ctx.Flow()
		d.ctx.Emit(c)
	}
	d.held = d.held[:0]
}

// Gap implements decoders.Decoder. Where values are lost the next command cannot be found.
func (d *decoder) Gap(dir capture.Dir, n int64) bool {
	p := &d.part[dir]
	if int64(p.bulk) > n+2 { // inside one value
		p.bulk -= int(n)
		return true
	}
	d.flush()
	return false
}

// End implements decoders.Decoder. A client that has said everything may still be answered.
func (d *decoder) End(dir capture.Dir) {
	if d.ended[dir] = true; dir == capture.Resp || d.ended[capture.Resp] {
		d.flush()
	}
}

// flush says what waits for an answer without it.
func (d *decoder) flush() {
	for _, c := range d.wait {
		d.say(c)
	}
	d.wait = nil
}

// defaultPassword is in Ray's source: ray_constants.REDIS_DEFAULT_PASSWORD.
const defaultPassword = "5241590000000000"

// rayKey says that a key is one that only Ray has.
func rayKey(key []byte) bool {
	switch string(key) {
	case "GcsServerAddress", "RedisShards", "NumRedisShards", "VERSION_INFO", "UseRaylet", "RedirectOutput", "INCLUDE_JAVA", "RAY_LOG_CHANNEL":
		return true
	}
	return codeKey(key)
}

// codeKey says that workers load what stands under a key.
func codeKey(key []byte) bool {
	for _, p := range [...]string{"RemoteFunction:", "ActorClass:", "FunctionsToRun:"} {
		if strings.HasPrefix(string(key[:min(len(key), 32)]), p) {
			return true
		}
	}
	return false
}

// kindOf shortens a key to what keys of its kind have in common: raylets use thousands.
func kindOf(key []byte) string {
	s := string(key[:min(len(key), 32)])
	if i := strings.IndexAny(s, ":_@0123456789\x00"); i > 0 {
		s = s[:i]
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return "binary"
		}
	}
	return s
}

func classOf(name string, key, field []byte) Class {
	switch name {
	case "EVAL", "EVALSHA", "SCRIPT", "FCALL", "FUNCTION", "MODULE", "SLAVEOF", "REPLICAOF", "DEBUG", "MIGRATE":
		return Exec
	case "CONFIG":
		switch strings.ToUpper(string(key)) {
		case "GET", "RESETSTAT", "HELP":
			return State
		case "SET":
			switch strings.ToLower(string(field)) {
			case "dir", "dbfilename", "logfile", "appendfilename", "appenddirname", "unixsocket":
				return Exec // which file it writes
			}
		}
		return Write // drivers set notify-keyspace-events themselves
	case "PING", "AUTH", "HELLO", "SELECT", "CLIENT", "COMMAND", "INFO", "ECHO", "TIME", "ROLE", "QUIT":
		return Info
	case "GET", "MGET", "HGET", "HMGET", "HGETALL", "HKEYS", "HLEN", "HEXISTS", "HSCAN", "EXISTS", "KEYS", "SCAN", "TYPE", "TTL", "STRLEN",
		"LRANGE", "LLEN", "LINDEX", "SMEMBERS", "SCARD", "SISMEMBER", "ZRANGE", "DBSIZE", "SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE",
		"PUNSUBSCRIBE", "MONITOR", "RAY.TABLE_LOOKUP":
		return State
	}
	if codeKey(key) {
		return Exec
	}
	return Write
}

// shown gives the beginning of b as text.
func shown(b []byte) string {
	b = b[:min(len(b), 128)]
	var s strings.Builder
	for _, c := range b {
		if c < 0x20 || c >= 0x7f || c == '\\' {
			const hex = "0123456789abcdef"
			s.WriteString(`\x`)
			s.WriteByte(hex[c>>4])
			s.WriteByte(hex[c&15])
		} else {
			s.WriteByte(c)
		}
	}
	return s.String()
}
