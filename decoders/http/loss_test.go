package http

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// TestBodyThatBeginsWithALoss: Zeek reads no further in the direction of the loss, and goes on with the other.
func TestBodyThatBeginsWithALoss(t *testing.T) {
	post := c("POST /1 HTTP/1.1\r\nContent-Length: 4\r\n\r\n")
	gap := decodertest.Step{Dir: capture.Orig, Gap: 4}
	second := c("GET /2 HTTP/1.1\r\n\r\n")
	for name, steps := range map[string][]decodertest.Step{
		"before the answer": {post, gap, s(ok), second, s(ok)},
		"behind the answer": {post, s(ok), gap, second, s(ok)},
	} {
		var txs []*Transaction
		for _, ev := range decodertest.RunAll(t, []decoders.Spec{all()}, steps...) {
			switch ev := ev.(type) {
			case *Late:
				t.Errorf("%s: a row for what is left of a request that Zeek does not read", name)
			case *Transaction:
				txs = append(txs, ev)
			}
		}
		if len(txs) != 2 || txs[0].Request.From != 0 || txs[0].Response == nil || txs[0].Response.From != 0 ||
			txs[1].Request.From == 0 || txs[1].Response == nil || txs[1].Response.From != 0 {
			t.Errorf("%s: %s", name, decodertest.Snapshot(txs))
		}
	}
}

// TestNeverGivenUp: however much is lost or foreign, the next message that begins a segment is read.
func TestNeverGivenUp(t *testing.T) {
	junk := strings.Repeat("\x00\x01\x02", 1000)
	steps := []decodertest.Step{c("GET /1 HTTP/1.1\r\n\r\n"), s(ok), {Dir: capture.Orig, Gap: 100}}
	for range maxLost/len(junk) + 10 {
		steps = append(steps, c(junk))
	}
	steps = append(steps, c("GET /2 HTTP/1.1\r\n\r\n"), s(ok))
	txs, weirds := run(t, all(), steps...)
	if len(txs) != 2 || txs[1].Request == nil || txs[1].Request.Target != "/2" || txs[1].Response == nil || strings.Join(weirds, " ") != "HTTP_resync_failed" {
		t.Errorf("%d transactions, weirds %v", len(txs), weirds)
	}
}

// TestKeepAliveProbeFirst: a capture that began inside a connection has one byte of a probe before the first message.
func TestKeepAliveProbeFirst(t *testing.T) {
	get := "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
	for name, steps := range map[string][]decodertest.Step{
		"of the client":                {c("\x00"), c(get), s(ok)},
		"of the client, a letter":      {c("x"), c(get), s(ok)},
		"of the server":                {s("\x00"), c(get), s(ok)},
		"of both":                      {s("}"), c("\n"), c(get), s(ok)},
		"of the client, with the next": {c("\x00" + get), s(ok)},
	} {
		ctx := &midContext{}
		d := all().New(ctx)
		held := [2][]byte{}
		for _, st := range steps {
			for dir := range held {
				if dir == int(st.Dir) {
					held[dir] = append(held[dir], st.Data...)
				}
				for {
					n, err := d.Decode(capture.Dir(dir), held[dir])
					if err != nil {
						t.Fatal(name, err)
					}
					if held[dir] = held[dir][n:]; n == 0 || len(held[dir]) == 0 {
						break
					}
				}
			}
		}
		d.End(capture.Orig)
		d.End(capture.Resp)
		if len(ctx.txs) != 1 || ctx.txs[0].Request == nil || ctx.txs[0].Request.Method != "GET" || ctx.txs[0].Response == nil || !ctx.txs[0].Response.Body.Complete {
			t.Errorf("%s: %s", name, decodertest.Snapshot(ctx.txs))
		}
	}
	for _, b := range []string{"\x00", "x", "\x00" + get, "x" + get} {
		if v := probe([]byte(b), nil, true); v == decoders.No {
			t.Errorf("%q is refused", b)
		}
		if v := probe(nil, []byte(b), true); v == decoders.No {
			t.Errorf("%q of the server is refused", b)
		}
	}
}

type midContext struct {
	decoders.Context
	txs []*Transaction
}

func (*midContext) Flow() *capture.Flow  { return &capture.Flow{Mid: true} }
func (*midContext) At() capture.At       { return capture.At{} }
func (*midContext) Weird(string, string) {}
func (*midContext) Confirm(string)       {}
func (*midContext) Refute(string)        {}
func (c *midContext) Emit(ev any) {
	if t, ok := ev.(*Transaction); ok {
		c.txs = append(c.txs, t)
	}
}

// TestLongAfterConnect: more than is held for an answer that does not come.
func TestLongAfterConnect(t *testing.T) {
	connect := c("CONNECT h:443 HTTP/1.1\r\n\r\n")
	get := "GET /2 HTTP/1.1\r\n\r\n"
	refusal := "HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"
	for name, steps := range map[string][]decodertest.Step{
		"empty lines": {connect, c(strings.Repeat("\r\n", maxWait) + get), s(refusal + ok)},
		"requests":    {connect, c(strings.Repeat(get, maxWait/len(get)+2)), s(refusal + strings.Repeat(ok, maxWait/len(get)+2))},
	} {
		txs, _ := run(t, all(), steps...)
		if name == "requests" { // the first are out before their answers
			txs = txs[len(txs)-2:]
		}
		if len(txs) < 2 || txs[1].Request.Target != "/2" || txs[1].Response == nil || txs[1].Response.Status != 200 {
			t.Errorf("%s: %d transactions", name, len(txs))
		}
	}
}

// TestCutRequestLine: method and target of a line that a short snap length cuts.
func TestCutRequestLine(t *testing.T) {
	txs, _ := run(t, all(), c("POST /api/jobs/ HT"), decodertest.Step{Dir: capture.Orig, Gap: 200}, s(ok))
	if len(txs) != 1 || txs[0].Request == nil || txs[0].Request.Target != "/api/jobs/" || txs[0].Request.Body.Complete || !txs[0].Request.From.Has(capture.AfterGap) {
		t.Errorf("%s", decodertest.Snapshot(txs))
	}
}

// TestDeepPipelining: answers find the request that somebody wants to see, however many were sent before it.
func TestDeepPipelining(t *testing.T) {
	post := "POST /api/jobs/ HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
	mine := "HTTP/1.1 201 Mine\r\nContent-Length: 4\r\n\r\nmine"
	head := "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
	for name, x := range map[string][2]string{
		"GET":   {strings.Repeat("GET / HTTP/1.1\r\n\r\n", 950), strings.Repeat(ok, 950)},
		"HEAD":  {strings.Repeat("HEAD / HTTP/1.1\r\n\r\n", 333), strings.Repeat(head, 333)},
		"mixed": {strings.Repeat("HEAD / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n", maxGone/2), strings.Repeat(head+ok, maxGone/2)},
	} {
		last := "GET /last HTTP/1.1\r\n\r\n"
		txs, _ := run(t, all(), c(x[0]+post+strings.Repeat(last, 200)), s(x[1]+mine+strings.Repeat(ok, 200)))
		found := false
		for _, tx := range txs {
			if q := tx.Request; q != nil && q.Method == "POST" {
				found = tx.Response != nil && tx.Response.Status == 201 && string(tx.Response.Body.Data) == "mine"
			}
			if q := tx.Request; tx.Response != nil && (tx.Response.Status == 201) != (q != nil && q.Method == "POST") {
				t.Errorf("%s: %s", name, line(tx))
			}
		}
		if !found {
			t.Errorf("%s: the answer did not find its request", name)
		}
	}
}
