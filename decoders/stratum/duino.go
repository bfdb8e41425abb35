package stratum

import (
	"bytes"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Duino-Coin's protocol (revoxhere/duino-coin, PC_Miner.py) is lines of text. The server says its version, the miner asks
// "JOB,user,difficulty,key" ("JOBXX" for another hash), is given "hash,expected,difficulty" in lines, and answers
// "nonce,hashrate,software,rig,id,wallet"; the server says GOOD, BLOCK or BAD,why. What the miner sends has no line's end, so that
// its shares are counted by the answers.

const (
	// Duino is Duino-Coin's dialect.
	Duino Dialect = "duinocoin"

	duinoHash = 40 // hexadecimal digits of a SHA-1
	maxAsk    = 160
	maxReply  = 256
)

// DuinoSpec registers the decoder of Duino-Coin's lines.
func DuinoSpec() decoders.Spec {
	return decoders.Spec{Name: "duino", Stream: probeDuino, New: func(ctx decoders.Context) decoders.Decoder { return &duino{ctx: ctx} }}
}

// probeDuino wants a request for a job and the job.
func probeDuino(orig, resp []byte, mid bool) decoders.Verdict {
	const word = "JOB"
	if mid || len(orig) > 0 && string(orig[:min(len(orig), len(word))]) != word[:min(len(orig), len(word))] {
		return decoders.No
	}
	if n := len(bytes.TrimLeft(resp[:min(len(resp), 12)], "0123456789.\r\n")); len(orig) == 0 {
		if n > 0 || len(resp) > 12 {
			return decoders.No // not a version
		}
		return decoders.Maybe
	}
	user, ok := duinoUser(orig)
	job := bytes.TrimLeft(resp[:min(len(resp), maxReply)], "\r\n")
	if i := bytes.IndexByte(job[:min(len(job), 12)], '.'); i > 0 && i < 4 {
		if job = bytes.TrimLeft(job[i+1:], "\r\n"); len(job) > 1 && !isDuinoJob(job) {
			job = bytes.TrimLeft(job[1:], "\r\n") // the last digit of the version
		}
	}
	switch {
	case !ok && len(orig) >= maxAsk, len(resp) >= maxReply && !isDuinoJob(job):
		return decoders.No
	case ok && user != "" && isDuinoJob(job):
		return decoders.Yes
	}
	return decoders.Maybe
}

// duinoUser reads the name in a request for a job.
func duinoUser(b []byte) (string, bool) {
	b = b[:min(len(b), maxAsk)]
	word, rest, ok := bytes.Cut(b, []byte(","))
	if !ok || len(word) > len("JOBXX") || !bytes.HasPrefix(word, []byte("JOB")) {
		return "", false
	}
	user, _, ok := bytes.Cut(rest, []byte(","))
	return string(user), ok && len(user) > 0
}

// isDuinoJob reports whether b begins with two hashes and a number.
func isDuinoJob(b []byte) bool {
	if len(b) < 2*duinoHash+3 || b[duinoHash] != ',' || b[2*duinoHash+1] != ',' {
		return false
	}
	for i, c := range b[:2*duinoHash+1] {
		if i != duinoHash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	c := b[2*duinoHash+2]
	return c >= '0' && c <= '9'
}

type duino struct {
	ctx   decoders.Context
	s     Session
	begun bool
	told  Outcome
	ended [2]bool
	over  bool
}

// Decode implements decoders.Decoder.
func (d *duino) Decode(dir capture.Dir, b []byte) (int, error) {
	if !d.begun {
		d.begun = true
		d.ctx.Confirm("stratum")
		d.s = Session{At: d.ctx.At(), Flow: d.ctx.Flow(), Dialect: Duino, Transport: "tcp", Client: capture.Orig, Outcome: Tried, Algos: []string{"ducos1"}}
	}
	d.s.Sides[dir], d.s.Last = true, d.ctx.At()
	if dir == capture.Orig {
		if d.s.Login == "" {
			user, ok := duinoUser(b)
			if !ok && len(b) < maxAsk {
				return 0, nil
			}
			d.s.Login = user
			d.s.Evidence = append(d.s.Evidence, Evidence{"login", "JOB," + user, d.ctx.At().Packet})
		}
		return len(b), nil
	}
	used := 0
	for {
		line, _, whole := bytes.Cut(b[used:], []byte("\n"))
		if !whole {
			if len(line) > maxReply {
				return len(b), nil
			}
			return used, nil
		}
		used += len(line) + 1
		d.line(line)
	}
}

func (d *duino) line(l []byte) {
	text := strings.TrimSpace(string(l[:min(len(l), maxReply)]))
	keep := func(field string) {
		d.s.Evidence = append(d.s.Evidence, Evidence{field, text, d.ctx.At().Packet})
	}
	switch {
	case len(text) > 2*duinoHash && isDuinoJob([]byte(text[max(0, strings.IndexByte(text, ',')-duinoHash):])):
		if d.s.Jobs++; d.s.Jobs == 1 {
			keep("job")
		}
		d.reach(Working)
	case text == "GOOD" || text == "BLOCK":
		d.s.Submits++
		if d.s.Accepted++; d.s.Accepted == 1 {
			keep("accepted")
		}
		d.reach(Accepted)
	case text == "BAD" || strings.HasPrefix(text, "BAD,"):
		d.s.Submits++
		if d.s.Rejected++; d.s.Rejected == 1 {
			keep("rejected")
			d.s.Reason = text
		}
	}
}

// reach notes how far the miner got and tells of it once it has a name.
func (d *duino) reach(o Outcome) {
	if o.rank() > d.s.Outcome.rank() {
		d.s.Outcome = o
	}
	if d.s.Login != "" && d.told != d.s.Outcome {
		update := d.told != ""
		d.told = d.s.Outcome
		d.ctx.Emit(&Start{Session: d.s.clone(), Update: update})
	}
}

// Gap implements decoders.Decoder.
func (d *duino) Gap(capture.Dir, int64) bool { return d.begun }

// End implements decoders.Decoder.
func (d *duino) End(dir capture.Dir) {
	if d.ended[dir] = true; !d.ended[0] || !d.ended[1] || !d.begun || d.over {
		return
	}
	d.over = true
	if d.told == "" {
		d.ctx.Emit(&Start{Session: d.s.clone()})
	}
	s := d.s.clone()
	d.ctx.Emit(&s)
}
