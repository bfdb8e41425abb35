package shell

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/shell"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
)

const (
	// Places that machines poll, which are remembered.
	maxPolled = 8192
	// A place was asked so often before an answer went there: somebody waits for commands.
	minPolls = 3
	// An answer to a poll that may be a command.
	maxPolledAnswer = 4 << 10
	// As much of what is sent is searched for a command's answer.
	maxSearched = 4 << 10
)

// place is where a machine asks for commands, and where it sends their answers.
type place struct {
	src, dst netip.Addr
	port     uint16
}

// poll follows commands over HTTP: a machine asks for them again and again, and posts what they print.
func (d *detector) poll(t *http.Transaction) {
	q := t.Request
	if q == nil || t.Flow == nil {
		return
	}
	src, dst := t.Flow.Orig.Addr(), t.Flow.Resp.Addr()
	if !d.env.Home.Contains(src) || d.env.Home.Contains(dst) {
		return
	}
	k := place{src, dst, t.Flow.Resp.Port()}
	if q.Method == "GET" {
		if t.Response != nil && t.Response.Body.Len <= maxPolledAnswer {
			*d.polls.Put(k)++
		}
		return
	}
	b := q.Body.Data[:min(len(q.Body.Data), maxSearched)]
	if len(b) == 0 || d.allow.Contains(dst) {
		return
	}
	line, cmd := answer(b)
	if cmd == "" {
		return
	}
	f := &detectors.Finding{
		At: q.At, Rule: rule, Severity: detectors.Medium, Confidence: 75, Outcome: detectors.Succeeded,
		Src: src, Dst: dst, Port: k.port, Flow: t.Flow,
		Evidence: []detectors.Evidence{
			{Field: "answer", Value: detectors.Clip(line, 160), Packet: q.Packet},
			{Field: "request", Value: q.Method + " " + detectors.Clip(q.Target, 160), Packet: q.Packet},
		},
		Msg: fmt.Sprintf("%s posted the answer of %s to %s", src, cmd, t.Flow.Resp),
	}
	if n := d.polls.Peek(k); n != nil && *n >= minPolls {
		f.Severity, f.Confidence = detectors.High, 92
		f.Msg += fmt.Sprintf(", which it had asked %d times before: commands over HTTP", *n)
	}
	d.bus.Report(f)
}

// answer looks for a command's answer in a body as it is, in percent encoding's stead as a form has it, and in base64.
func answer(b []byte) (line, cmd string) {
	if bytes.Contains(b, []byte("id=")) || bytes.Contains(b, []byte("root:")) || bytes.Contains(b, []byte("Linux")) || bytes.Contains(b, []byte("uid%3D")) {
		if line, cmd = shell.Answer(b); cmd != "" {
			return line, cmd
		}
		plain := strings.NewReplacer("%3D", "=", "%3d", "=", "%28", "(", "%29", ")", "+", " ", "%20", " ", "%0A", "\n", "%0a", "\n", "%3A", ":", "%2F", "/", "&", "\n").Replace(string(b))
		return shell.Answer([]byte(plain))
	}
	// What is base64 begins so: "uid=", "root:", "Linux ".
	i := bytes.IndexByte(b, '=')
	for _, from := range [...]int{0, i + 1} {
		v := bytes.TrimLeft(b[from:], "\" ")
		if bytes.HasPrefix(v, []byte("dWlkP")) || bytes.HasPrefix(v, []byte("cm9vdD")) || bytes.HasPrefix(v, []byte("TGludXgg")) {
			n := 0
			for n < len(v) && (v[n]|0x20 >= 'a' && v[n]|0x20 <= 'z' || v[n] >= '0' && v[n] <= '9' || v[n] == '+' || v[n] == '/') {
				n++
			}
			out := make([]byte, base64.RawStdEncoding.DecodedLen(n))
			m, _ := base64.RawStdEncoding.Decode(out, v[:n/4*4])
			if line, cmd = shell.Answer(out[:m]); cmd != "" {
				return line, cmd
			}
		}
	}
	return "", ""
}

const (
	// Exchanges that a keyboard at the other end had.
	minTyped = 3
	// A command is short: its record has what TLS adds, 17 to 40 octets.
	maxTypedRecord = 200
	// The answer follows at once, and a person thinks before the next command.
	answersWithin = capture.Time(800e6)
	thinks        = capture.Time(400e6)
	// What comes in the first moment is the handshake's: tickets.
	settled = capture.Time(300e6)
)

// keyboard finds, in a TLS session to a bare address without a name, a rhythm in which the other side types and the
// machine answers.
func (d *detector) keyboard(r *tls.Rhythm) {
	s := r.Session
	if s == nil || s.Flow == nil || s.ServerName != "" || r.Again {
		return
	}
	src, dst := s.Flow.Orig.Addr(), s.Flow.Resp.Addr()
	if !d.env.Home.Contains(src) || d.env.Home.Contains(dst) || d.allow.Contains(dst) || d.named.Peek(dst) != nil {
		return
	}
	typed, spoke := 0, false
	var last, asked capture.Time
	for i, rec := range r.Records {
		at := capture.Time(rec.After)
		pause := at - last
		switch {
		case rec.FromClient && at-asked > answersWithin && asked > 0 && pause > thinks:
			return // the machine speaks by itself: it is a client of something
		case rec.FromClient:
			spoke = true
		case at < settled && i < 4: // tickets
		case rec.Len > maxTypedRecord:
			return
		default:
			if (spoke || asked == 0) && pause >= thinks {
				typed++
			}
			asked, spoke = at, false
		}
		last = at
	}
	if typed < minTyped {
		return
	}
	d.bus.Report(&detectors.Finding{
		At: r.At, Rule: ruleEncrypted, Severity: detectors.Low, Confidence: 50, Outcome: detectors.Observed,
		Src: src, Dst: dst, Port: s.Flow.Resp.Port(), Flow: s.Flow,
		Evidence: []detectors.Evidence{{Field: "exchanges", Value: fmt.Sprint(typed), Packet: r.Packet}},
		Msg:      fmt.Sprintf("%s called %s by TLS without a name and answers to what is typed there, %d times", src, s.Flow.Resp, typed),
	})
}
