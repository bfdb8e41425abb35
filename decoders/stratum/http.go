package stratum

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

// maxBatch bounds the calls of one JSON-RPC batch that are looked at.
const maxBatch = 8

// keepCall is how much of a posted JSON-RPC call, and of its answer, says whether it is a miner's.
const keepCall = 8 << 10

// KeepBody returns how much of a body FromHTTP needs: of what is posted, and of what looks like the answer.
func KeepBody(t *http.Transaction, resp bool) int {
	if r := t.Request; r != nil && r.Method == "POST" {
		if b := bytes.TrimLeft(r.Body.Data, " \t\r\n"); !resp || len(b) > 0 && (b[0] == '{' || b[0] == '[') {
			return keepCall
		}
	}
	return 0
}

// FromHTTP reads a transaction as a miner's call to a pool or node: getwork, getblocktemplate, eth_getWork, Monero's
// get_block_template, and whatever stratum dialect is posted. It returns nil for anything else, also for a call that
// was answered by something that is no such server (404, a web page). The result stands for this one transaction.
func FromHTTP(t *http.Transaction) *Session {
	if t == nil || t.Request != nil && !mayMine(t) {
		return nil
	}
	s := &Session{At: t.At, Last: t.At, Flow: t.Flow, Transport: "http", Client: capture.Orig, Outcome: Tried}
	found := false
	var asks bool // the call was for work, not with a share
	if r := t.Request; r != nil {
		s.Sides[capture.Orig] = true
		found, asks = s.request(r)
	}
	r := t.Response
	if r == nil {
		if !found {
			return nil
		}
		return s
	}
	s.Sides[capture.Resp] = true
	if r.Done.Packet != 0 {
		s.Last = r.Done
	}
	if p := r.Header.Get("X-Stratum"); p != "" {
		found = true
		s.Pool = strings.TrimPrefix(cut(p), "stratum+tcp://")
		s.Dialect = refine(s.Dialect, GetWork)
	}
	if !found && t.Request != nil {
		return nil
	}
	switch m, ok := firstCall(r.Body.Data); {
	case ok:
		found = s.response(&m, r, found, asks) || found
	case r.Status == 401 || r.Status == 403:
		s.Outcome = Refused
	case r.Body.Data == nil && r.Status/100 == 2:
	default:
		return nil
	}
	if !found {
		return nil
	}
	return s
}

// mayMine looks for what FromHTTP starts from. It is nothing for nearly all traffic, which then costs no Session: a
// fifth of the bytes that HTTP had allocated.
func mayMine(t *http.Transaction) bool {
	b := t.Request.Body.Data
	if i := skipNoise(b, 0); i < len(b) && b[i] == '{' {
		return true
	}
	return t.Request.Header.Has("X-Mining-Extensions") || t.Request.Header.Has("X-Mining-Hashrate") ||
		t.Response != nil && t.Response.Header.Has("X-Stratum")
}

// request reads the call; asks says that it wants work.
func (s *Session) request(r *http.Request) (found, asks bool) {
	if r.Header.Has("X-Mining-Extensions") || r.Header.Has("X-Mining-Hashrate") {
		found, asks, s.Dialect = true, true, GetWork
	}
	calls := 0
	for b := r.Body.Data; calls < maxBatch; calls++ {
		m, n, ok := nextCall(b)
		if !ok {
			break
		}
		b = b[n:]
		d, submit := s.call(&m)
		if d == "" {
			continue
		}
		found = true
		s.Dialect = refine(s.Dialect, d)
		field := "request"
		if submit {
			s.Submits++
			field = "share"
		} else {
			asks = true
		}
		if len(s.Evidence) == 0 {
			s.Evidence = append(s.Evidence, Evidence{Field: field, Line: excerpt(&m), Packet: packet(r.Done, r.At)})
		}
	}
	if !found {
		return false, false
	}
	s.miner(r)
	return found, asks
}

// call reads one call of mining, and the login in it. The dialect is empty if it is none.
func (s *Session) call(m *message) (d Dialect, submit bool) {
	var buf [maxName]byte
	method := string(name(m.b, m.method, &buf))
	list := elementsOf(m.b, m.params)
	any := list.next()
	switch method {
	case "getwork":
		return GetWork, any && isHex(m.b, list.val, 200, maxLine)
	case "getblocktemplate", "get_block_template", "getminerdata", "get_miner_data":
		if w, ok := m.member(m.params, "wallet_address"); ok && w.kind == text {
			s.login(string(w.raw(m.b)))
		}
		return GetBlockTemplate, false
	case "submitblock", "submit_block":
		if any && isHex(m.b, list.val, 160, len(m.b)) {
			return GetBlockTemplate, true
		}
		return "", false
	}
	v := m.view()
	if !v.sure || v.from != client {
		return "", false
	}
	if v.act == actLogin {
		x := decoder{}
		x.login(m)
		s.Agent, s.Worker, s.Algos = x.s.Agent, x.s.Worker, x.s.Algos
		s.Password = x.s.Password
		s.login(x.s.Login)
	}
	return v.dialect, v.act == actSubmit
}

// miner takes what headers and target tell of the miner that the calls do not.
func (s *Session) miner(r *http.Request) {
	if s.Agent == "" {
		s.Agent = cut(r.Header.Get("User-Agent"))
	}
	s.Pool = cut(r.Header.Get("Host"))
	if w := r.Header.Get("X-Worker"); w != "" && s.Worker == "" {
		s.Worker = cut(w)
	}
	if s.Login == "" {
		if u, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Basic "); ok && len(u) <= 1024 {
			if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(u)); err == nil {
				user, _, pass := strings.Cut(string(raw), ":")
				s.Password = pass
				s.login(clean([]byte(user)))
			}
		}
	}
	if s.Login == "" || s.Address.Coin == "" {
		// ethminer and its like put the wallet into the target: /?miner=30@0x...@rig, /0x.../rig
		if i := strings.Index(r.Target, "0x"); i >= 0 && len(r.Target) >= i+42 {
			if a := Wallet(r.Target[i : i+42]); a.Coin != "" {
				s.login(strings.Clone(r.Target[i : i+42]))
			}
		}
	}
}

func (s *Session) login(l string) {
	if l != "" {
		s.Login = cut(l)
		s.Address = Wallet(s.Login)
	}
}

// response reads the answer and says whether it alone shows mining.
func (s *Session) response(m *message, r *http.Response, found, asks bool) bool {
	b := m.b
	work := false
	switch m.result.kind {
	case object:
		has := map[string]bool{}
		var buf [maxName]byte
		for it := membersOf(b, m.result); it.next() && len(has) < 64; {
			has[string(name(b, it.key, &buf))] = true
		}
		switch {
		case has["data"] && has["target"]: // getwork
			work = true
		case has["previousblockhash"] && has["bits"], has["blocktemplate_blob"]:
			work = true
			s.Dialect = refine(s.Dialect, GetBlockTemplate)
		}
	case array:
		v := m.view()
		work = v.act == actJob
		s.Dialect = refine(s.Dialect, v.dialect)
	case absent: // a template that is longer than what is kept of a body
		work = found && asks && r.Body.Truncated && bytes.Contains(b, []byte(`"previousblockhash"`))
	}
	if work {
		s.Jobs++
		s.Outcome = Working
		s.Dialect = refine(s.Dialect, GetWork)
		s.Evidence = append(s.Evidence, Evidence{Field: "job", Line: excerpt(m), Packet: packet(r.Done, r.At)})
		return true
	}
	if !found {
		return false
	}
	refused := m.err.some() && m.err.kind != no || m.result.kind == no
	var d decoder
	switch {
	case refused:
		s.Reason = d.reason(m)
		s.Outcome = Refused
		if s.Submits > 0 {
			s.Rejected = s.Submits
			s.Outcome = Working
		}
	case s.Submits > 0 && !asks:
		s.Accepted = s.Submits // true, or null for a block that was taken
		s.Outcome = Accepted
	case m.result.kind == yes:
		s.Outcome = Working
	}
	return false
}

// firstCall reads the first object of a body.
func firstCall(b []byte) (message, bool) {
	m, _, ok := nextCall(b)
	return m, ok
}

// nextCall reads an object and returns how many bytes that took.
func nextCall(b []byte) (m message, n int, ok bool) {
	i := skipNoise(b, 0)
	if i == len(b) || b[i] != '{' {
		return m, 0, false
	}
	var f framer
	used, state := f.scan(b[i:])
	lenient := false
	if state == partial { // block templates are long, and bodies are kept only up to a bound
		used, lenient = len(b)-i, true
	}
	if state == broken || !parse(bytes.TrimSpace(b[i:i+used]), &m, lenient) || !m.rpc {
		return m, 0, false
	}
	return m, i + used, true
}

func packet(done, begun capture.At) uint64 {
	if done.Packet != 0 {
		return done.Packet
	}
	return begun.Packet
}

func cut(s string) string { return clean([]byte(s[:min(len(s), maxText)])) }
