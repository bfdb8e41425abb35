package ray

import (
	"bufio"
	stdjson "encoding/json"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/http"
)

// evasion is one way to write a submission, with what a real aiohttp made of it: see testdata/evade.
type evasion struct {
	Name     string
	Accepted []string
	Sizes    []int
	Answer   int

	sent, answer []byte
}

func readEvasions(t *testing.T, each func(*evasion)) {
	path := os.Getenv("RAYTAP_EVASIONS")
	if path == "" {
		path = "../../testdata/evade/http.jsonl.zst"
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := bufio.NewReader(z); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		e := &evasion{}
		if err == nil {
			err = stdjson.Unmarshal(line, e)
		}
		n := 0
		for _, s := range e.Sizes {
			n += s
		}
		e.sent, e.answer = make([]byte, n), make([]byte, e.Answer)
		for _, b := range [][]byte{e.sent, e.answer} {
			if err == nil {
				_, err = io.ReadFull(r, b)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		each(e)
	}
}

// wire is the flow that a decoder reads.
type wire struct {
	flow  capture.Flow
	calls []*Call
	n     uint64
}

func (w *wire) Flow() *capture.Flow { return &w.flow }
func (w *wire) At() capture.At {
	return capture.At{Time: capture.Time(1e18 + w.n), Packet: w.n}
}
func (w *wire) Service(string) {}
func (w *wire) Refute(string)  {}
func (w *wire) Skip()          {}
func (w *wire) Flip() bool     { return false }
func (w *wire) Emit(ev any) {
	if t, ok := ev.(*http.Transaction); ok {
		if c := Interpret(t); c != nil {
			w.calls = append(w.calls, c)
		}
	}
}

// carry reads what a client sent in pieces and what the server said to it, in segments of at most n bytes.
func carry(e *evasion, n int) []*Call {
	w := &wire{flow: capture.Flow{UID: "C1", Orig: netip.MustParseAddrPort("203.0.113.5:40000"), Resp: netip.MustParseAddrPort("10.0.0.5:8265"), Proto: capture.ProtoTCP}}
	m := decoders.NewMux(w, []decoders.Spec{http.Spec(http.Options{KeepBody: KeepBody, Follow: Follow})}, false)
	say := func(dir capture.Dir, b []byte) {
		buf := make([]byte, n)
		for len(b) > 0 {
			k := copy(buf, b)
			w.n++
			m.Data(dir, buf[:k])
			for i := range buf {
				buf[i] = 0xa5
			}
			b = b[k:]
		}
	}
	sent := e.sent
	for _, k := range e.Sizes {
		say(capture.Orig, sent[:k])
		sent = sent[k:]
	}
	say(capture.Resp, e.answer)
	m.Finish()
	return w.calls
}

// TestEvasions: whatever a real server accepted is a job, and its command is that which the server took.
func TestEvasions(t *testing.T) {
	all, accepted := 0, 0
	readEvasions(t, func(e *evasion) {
		if all++; len(e.Accepted) == 0 {
			return
		}
		accepted++
		_, took, _ := strings.Cut(string(e.answer[strings.LastIndex(string(e.answer), `"ep": `):]), `"ep": `)
		var want string
		if err := stdjson.NewDecoder(strings.NewReader(took)).Decode(&want); err != nil {
			t.Fatal(e.Name, err)
		}
		for _, n := range []int{1400, 64 << 10} {
			calls := carry(e, n)
			ok, got := false, ""
			for _, c := range calls {
				if c.Job {
					got += c.Entrypoint[max(0, len(c.Entrypoint)-80):] + " (" + c.Unread + ", " + string(c.Outcome) + ") "
					ok = ok || c.Outcome == Executed && strings.HasSuffix(c.Entrypoint, afterForeign(want))
				}
			}
			if !ok {
				t.Errorf("%s (aiohttp %s), segments of %d: %d calls, %q; the server took %q", e.Name, strings.Join(e.Accepted, ", "), n, len(calls), got, want)
				break
			}
		}
	})
	t.Logf("%d of %d were accepted", accepted, all)
	if accepted < 400 && os.Getenv("RAYTAP_EVASIONS") == "" {
		t.Errorf("%d accepted variants", accepted)
	}
}

// afterForeign is the end of s behind what is not ASCII: other characters are shown as what some charsets make of them.
func afterForeign(s string) string {
	for i := len(s); i > 0; i-- {
		if s[i-1] >= 0x80 {
			return s[i:]
		}
	}
	return s
}
