package http

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/decodertest"
)

// TestFieldsThatComeAgain: what a message says does not depend on whether its fields came before, in its own connection or
// in another, nor on what came between.
func TestFieldsThatComeAgain(t *testing.T) {
	fields := []string{
		"Host: a.example\r\nUser-Agent: x\r\n",
		"Host: a.example\r\nUser-Agent: x\r\nReferer: http://b.example/\r\n",
		"Host: b.example:8265\r\nHost: c.example\r\nVia: 1.1 p\r\nAuthorization: Basic YTpi\r\n",
		"Content-Length: 3\r\n",
		"Content-Length: 3\r\nContent-Type: text/plain; name=\"f\"\r\n",
		"Transfer-Encoding: chunked\r\n",
		"Content-Length : 3\r\n",
		"Content-Length: 3\r\nContent-Length: 4\r\n",
		"X: a\r\n b\r\n",
		"X: a\x00b\r\n",
		"X: a\rb\r\n",
		"X: a\n",
		"Connection: close\r\n",
		"",
		"X: " + strings.Repeat("y", maxBlock) + "\r\n",
	}
	body := func(f string) string {
		switch {
		case strings.HasPrefix(f, "Transfer"):
			return "3\r\nabc\r\n0\r\n\r\n"
		case strings.Contains(f, ": 4"):
			return "abcd"
		case strings.HasPrefix(f, "Content-Length"):
			return "abc"
		}
		return ""
	}
	rng := rand.New(rand.NewPCG(1, 2))
	used := all()
	for round := range 300 {
		var steps []decodertest.Step
		for range 1 + rng.IntN(6) {
			q, p := fields[rng.IntN(len(fields))], fields[rng.IntN(len(fields))]
			first := []string{"GET /a HTTP/1.1\r\n", "POST /b?c HTTP/1.0\r\n", "PUT /d HTTP/1.1\n", "GET /e\rf HTTP/1.1\r\n", "GET /g\r\n", "GET /\x00 HTTP/1.1\r\n"}[rng.IntN(6)]
			status := []string{"HTTP/1.1 200 OK\r\n", "HTTP/1.1 404 no\rne\r\n", "HTTP/1.0 200\n", "HTTP/1.1 100 Continue\r\n"}[rng.IntN(4)]
			if p == "" {
				p = "Content-Length: 0\r\n" // or the body is all that follows
			}
			steps = append(steps, decodertest.Step{Dir: capture.Orig, Data: []byte(first + q + "\r\n" + body(q))},
				decodertest.Step{Dir: capture.Resp, Data: []byte(status + p + "\r\n" + body(p))})
		}
		if got, want := inFull(decodertest.Run(t, used, steps...)), inFull(decodertest.Run(t, all(), steps...)); got != want {
			t.Fatalf("round %d: %v\n%s\nalone\n%s", round, steps, got, want)
		}
	}
}

func inFull(events []any) string {
	var b strings.Builder
	for _, ev := range events {
		j, _ := json.Marshal(ev)
		fmt.Fprintf(&b, "%T %s\n", ev, j)
		if tx, ok := ev.(*Transaction); ok {
			r := &row{}
			tx.Row(r)
			fmt.Fprintln(&b, r)
		}
	}
	return b.String()
}
