package registry

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
)

// TestRouterForgetsNothing: a call or a banner is told whatever came before it, also on the same path with the same fields
// and the same length; and what is none stays none.
func TestRouterForgetsNothing(t *testing.T) {
	pages := []string{
		"<html><title>Welcome to nginx!</title></html>    ",
		"<html><title>Ray Dashboard</title></html>        ",
		"<html><title>MLflow</title></html>               ",
		`{"version": "4", "ray_version": "2.9.0", "a": 11}`,
		`{"version": "4", "foo_version": "2.9.0", "a": 11}`,
		"",
	}
	paths := []string{"/", "/api/version", "/api/jobs/", "/object/1", "/object/1?q=/api/version", "/x/api/version", "/index.html"}
	fields := []string{"Content-Type: text/html\r\nServer: nginx\r\n", "Content-Type: application/json\r\nServer: Python/3.11 aiohttp/3.9.5\r\n", "Server: llama.cpp\r\n"}
	rng := rand.New(rand.NewPCG(3, 4))
	spec := http.Spec(http.Options{KeepBody: func(*http.Transaction, bool) int { return 8 << 10 }, Files: file.NewCache(file.Options{HashLimit: HashLimit})})
	used := newRouter()
	calls, memory := 0, 0
	for range 400 {
		var steps []decodertest.Step
		for range 1 + rng.IntN(5) {
			page := pages[rng.IntN(len(pages))]
			status := []string{"200 OK", "200 OK", "404 Not Found", "401 Unauthorized"}[rng.IntN(4)]
			steps = append(steps,
				decodertest.C(fmt.Sprintf("%s %s HTTP/1.1\r\nHost: a.example\r\nUser-Agent: curl/8\r\n\r\n", []string{"GET", "GET", "HEAD"}[rng.IntN(2)], paths[rng.IntN(len(paths))])),
				decodertest.S(fmt.Sprintf("HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", status, fields[rng.IntN(len(fields))], len(page), page)))
		}
		for _, ev := range decodertest.Run(t, spec, steps...) {
			tx, ok := ev.(*http.Transaction)
			if !ok {
				continue
			}
			tx.Flow = &capture.Flow{UID: "C1", Orig: tx.Flow.Orig, Resp: netip.AddrPortFrom(tx.Flow.Resp.Addr(), 80)}
			if _, at := used.answerOf(tx, pathOf(tx.Request)); at != nil {
				memory++
			}
			got, want := asText(used.interpret(tx)), asText(newRouter().interpret(tx))
			if got != want {
				t.Fatalf("%s %q: %s, alone %s", tx.Request.Target, tx.Response.Body.Data, got, want)
			}
			if want != "<nil> null" {
				calls++
			}
		}
	}
	if calls < 50 || memory < 50 {
		t.Errorf("%d calls and banners, %d answers that are remembered", calls, memory)
	}
}

func asText(ev any) string {
	b, _ := json.Marshal(ev)
	return fmt.Sprintf("%T %s", ev, b)
}
