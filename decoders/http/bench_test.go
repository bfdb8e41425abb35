package http

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// quiet is a flow that forgets what is emitted.
type quiet struct {
	flow capture.Flow
	n    int
}

func (q *quiet) Flow() *capture.Flow { return &q.flow }
func (q *quiet) At() capture.At      { return capture.At{Time: 1, Packet: 1} }
func (q *quiet) Emit(any)            { q.n++ }
func (q *quiet) Service(string)      {}
func (q *quiet) Refute(string)       {}
func (q *quiet) Skip()               {}
func (q *quiet) Flip() bool          { return false }

var (
	getRequest  = []byte("GET /api/version HTTP/1.1\r\nHost: ray.example:8265\r\nUser-Agent: python-requests/2.31.0\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n")
	getResponse = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 1024\r\nDate: Tue, 01 Jan 2030 00:00:00 GMT\r\nServer: Python/3.10 aiohttp/3.8.4\r\n\r\n" +
		`{"version": "4", "ray_version": "2.9.0", "pad": "` + strings.Repeat("x", 1024-51) + `"}`)
)

func newFlow(opt Options) (*quiet, *decoders.Mux) {
	q := &quiet{}
	return q, decoders.NewMux(q, []decoders.Spec{Spec(opt)}, false)
}

func TestExchangeAllocations(t *testing.T) {
	q, m := newFlow(Options{})
	n := testing.AllocsPerRun(1000, func() {
		m.Data(capture.Orig, getRequest)
		m.Data(capture.Resp, getResponse)
	})
	// The exchange, its two heads, the two lists of fields, the file that the answer holds and its name.
	if n > 7 {
		t.Errorf("%v allocations for a request with its answer, want 7", n)
	}
	if q.n < 1000 {
		t.Errorf("%d transactions", q.n)
	}
}

// BenchmarkExchange shows what remembering fields brings: those of the message before, and some that never came.
func BenchmarkExchange(b *testing.B) {
	for _, fresh := range []bool{false, true} {
		b.Run(map[bool]string{false: "again", true: "new"}[fresh], func(b *testing.B) {
			_, m := newFlow(Options{})
			request := bytes.Replace(getRequest, []byte("\r\n\r\n"), []byte("\r\nX-Request-Id: 00000000\r\n\r\n"), 1)
			response := bytes.Replace(getResponse, []byte("\r\n"), []byte("\r\nX-Request-Id: 00000000\r\n"), 1)
			b.ReportAllocs()
			b.SetBytes(int64(len(request) + len(response)))
			for i := 0; b.Loop(); i++ {
				if fresh {
					for _, head := range [][]byte{request, response} {
						at := bytes.Index(head, []byte("X-Request-Id: ")) + len("X-Request-Id: ")
						copy(head[at:], fmt.Sprintf("%08d", i))
					}
				}
				m.Data(capture.Orig, request)
				m.Data(capture.Resp, response)
			}
		})
	}
}

func BenchmarkSkippedBody(b *testing.B) {
	_, m := newFlow(Options{})
	m.Data(capture.Orig, getRequest)
	m.Data(capture.Resp, []byte("HTTP/1.1 200 OK\r\nContent-Length: 4000000000000000\r\n\r\n"))
	seg := make([]byte, 1460)
	b.ReportAllocs()
	b.SetBytes(int64(len(seg)))
	for b.Loop() {
		m.Data(capture.Resp, seg)
	}
}

func BenchmarkGzipBody(b *testing.B) {
	body := packed(b, "gzip", strings.Repeat(`{"node": "a1b2c3", "state": "ALIVE", "cpu": 0.5}, `, 1000))
	resp := []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, 1<<20))
	_, m := newFlow(Options{})
	b.ReportAllocs()
	b.SetBytes(50 * 1000)
	for b.Loop() {
		m.Data(capture.Orig, getRequest)
		m.Data(capture.Resp, resp)
	}
}
