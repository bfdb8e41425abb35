package http

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// follows notes what it is shown.
type follows struct{ got bytes.Buffer }

func (f *follows) Write(b []byte) { f.got.Write(b) }
func (f *follows) Gap()           { f.got.WriteString("<gap>") }

// following keeps ten bytes of a request and follows the rest.
func following() decoders.Spec {
	return Spec(Options{
		KeepBody: func(_ *Transaction, resp bool) int {
			if resp {
				return 0
			}
			return 10
		},
		Follow: func(*Transaction) Follower { return &follows{} },
	})
}

// TestBodyBeyondWhatIsKept: whoever follows a request sees all of it, from its beginning, and where a part is missing.
func TestBodyBeyondWhatIsKept(t *testing.T) {
	long := strings.Repeat("0123456789", 9)
	packed := packed(t, "gzip", long)
	gap := decodertest.Step{Dir: capture.Orig, Gap: 5}
	for _, tt := range []struct {
		name  string
		steps []decodertest.Step
		want  string // "-": nobody is asked
	}{
		{"short", []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789")}, "-"},
		{"long", []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + long)}, long},
		{"chunked", []decodertest.Step{c("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(long, 7))}, long},
		{"packed", []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: " + decimal(len(packed)) + "\r\n\r\n" + packed)}, long},
		{"hole", []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Length: 15\r\n\r\nabcde"), gap, c("fghij")}, "abcde<gap>fghij"},
		{"hole first", []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n"), gap, c("fghij")}, "<gap>fghij"},
		{"hole in a chunk", []decodertest.Step{c("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\na\r\nab"), gap, c("cde\r\n1\r\nf\r\n0\r\n\r\n")}, "ab<gap>cdef"},
		{"same again", []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + long + "POST / HTTP/1.1\r\nContent-Length: 90\r\n\r\n" + long)}, long},
	} {
		txs, _ := run(t, following(), append(tt.steps, s(ok+ok))...)
		for _, tx := range txs {
			if tx.Request == nil {
				continue
			}
			f, has := tx.Request.Beyond.(*follows)
			if got := "-"; !has && tt.want != got || has && f.got.String() != tt.want {
				t.Errorf("%s: %v %+v", tt.name, has, f)
			}
		}
		if len(txs) == 0 {
			t.Errorf("%s: no transaction", tt.name)
		}
	}
}

// TestCodingsOfRequests: a request is read as aiohttp reads it.
func TestCodingsOfRequests(t *testing.T) {
	text := strings.Repeat(`{"a": "bcdefgh"}`, 500)
	half := len(text) / 2
	noise := make([]byte, 3<<20)
	rand.New(rand.NewSource(1)).Read(noise)
	z, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	wide := string(z.EncodeAll(bytes.Repeat([]byte("0"), 9<<20), nil))
	for _, tt := range []struct{ name, field, body, want string }{
		{"members", "gzip", packed(t, "gzip", text[:half]) + packed(t, "gzip", text[half:]), text},
		{"empty members", "gzip", strings.Repeat(packed(t, "gzip", ""), 99) + packed(t, "gzip", text), text},
		{"members of one byte", "gzip", packed(t, "gzip", "a") + packed(t, "gzip", "b") + packed(t, "gzip", "c"), "abc"},
		{"members of zlib", "deflate", packed(t, "deflate", text[:half]) + packed(t, "deflate", text[half:]), text},
		{"members without a wrapper", "deflate", packed(t, "raw", text[:half]) + packed(t, "raw", text[half:]), text},
		{"something behind the end", "gzip", packed(t, "gzip", text) + "something", text},
		{"half a member behind the end", "gzip", packed(t, "gzip", text) + packed(t, "gzip", text)[:14], text},
		{"the last field", "foo\r\nContent-Encoding: gzip", packed(t, "gzip", text), text},
		{"the last field is empty", "gzip\r\nContent-Encoding:", text, text},
		{"a coding that is none of its", "x-gzip", text, text},
		{"a list", "gzip, gzip", text, text},
		{"not what it says", "gzip", text, text},
		{"not what it says, and readable all the same", "deflate", text, text},
		{"brotli longer than is held", "br", packed(t, "br", string(noise)+text), string(noise) + text},
		{"zstd that is its own window", "zstd", wide, strings.Repeat("0", 9<<20)[:4<<20]},
		{"zstd longer than answers may be", "zstd", packed(t, "zstd", string(noise)+text), string(noise) + text},
	} {
		steps := []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Encoding: " + tt.field + "\r\nContent-Length: " + decimal(len(tt.body)) + "\r\n\r\n" + tt.body), s(ok)}
		spec := Spec(Options{KeepBody: func(*Transaction, bool) int { return 4 << 20 }})
		txs, _ := run(t, spec, steps...)
		if len(txs) != 1 || string(txs[0].Request.Body.Data) != tt.want {
			t.Errorf("%s: %d transactions, %d bytes, want %d", tt.name, len(txs), len(txs[0].Request.Body.Data), len(tt.want))
			continue
		}
		if len(tt.body) < 1<<16 {
			decodertest.CutAndPoison(t, spec, steps...)
		}
	}
}

// TestLongHeads: servers bound the lines of a head, not their number, and blanks and zeros not at all.
func TestLongHeads(t *testing.T) {
	pad := strings.Repeat("A: "+strings.Repeat("b", 8000)+"\r\n", 40)
	blanks := strings.Repeat(" ", 3*maxHead)
	zeros := strings.Repeat("0", 3*maxHead)
	for name, sent := range map[string]string{
		"length first":     "POST / HTTP/1.1\r\nContent-Length: 2\r\n" + pad + "\r\nhi",
		"length last":      "POST / HTTP/1.1\r\nHost: h\r\n" + pad + "Content-Length: 2\r\n\r\nhi",
		"chunked":          "POST / HTTP/1.1\r\nHost: h\r\n" + pad + "Transfer-Encoding: chunked\r\n" + pad + "\r\n2\r\nhi\r\n0\r\n\r\n",
		"folded":           "POST / HTTP/1.1\r\nHost: h\r\n" + pad + "Content-Length:\r\n 2\r\n" + pad + "\r\nhi",
		"blanks":           "POST" + blanks + "/" + blanks + "HTTP/1.1\r\nContent-Length:" + blanks + "2\r\n\r\nhi",
		"zeros":            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + zeros + "2\r\nhi\r\n" + zeros + "\r\n\r\n",
		"extension":        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a=" + strings.Repeat("b", 3*maxHead) + "\r\nhi\r\n0;" + pad[:8000] + "\r\n\r\n",
		"trailer":          "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" + pad + "\r\n",
		"many fields":      "POST / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 9999) + "Content-Length: 2\r\n\r\nhi",
		"one long field":   "POST / HTTP/1.1\r\nA: " + strings.Repeat("b", 3*maxHead) + "\r\nContent-Length: 2\r\n\r\nhi",
		"a method unknown": "FROBNICATE /" + strings.Repeat("b", 8000) + " HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
		"empty lines":      strings.Repeat("\r\n", 3*maxHead) + "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
	} {
		steps := []decodertest.Step{c(sent + "GET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)}
		txs, weirds := run(t, all(), steps...)
		if len(txs) != 2 || string(txs[0].Request.Body.Data) != "hi" || txs[1].Request.Target != "/2" || txs[0].Response == nil || txs[1].Response == nil {
			t.Errorf("%s: %d transactions, weirds %v", name, len(txs), weirds)
		}
		decodertest.CutAndPoison(t, all(), steps...)
	}
}

// TestVersionsThatServersTake: llhttp reads HTTP/2.0 and RTSP/ in the first line as it reads HTTP/1.1.
func TestVersionsThatServersTake(t *testing.T) {
	for _, v := range []string{"HTTP/2.0", "RTSP/1.0", "HTTP/0.9"} {
		answer := "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"
		txs, _ := run(t, all(), c("POST / "+v+"\r\nContent-Length: 2\r\n\r\nhi"), s(answer))
		if len(txs) != 1 || string(txs[0].Request.Body.Data) != "hi" || txs[0].Response == nil || string(txs[0].Response.Body.Data) != "ok" ||
			txs[0].Request.From.Has(apart) != (v[0] == 'R') || txs[0].Response.From.Has(apart) != (v[0] == 'R') {
			t.Errorf("%s: %s", v, decodertest.Snapshot(txs))
		}
	}
	for _, line := range []string{"PRI * HTTP/2.0\r\n", "DESCRIBE rtsp://h/a RTSP/1.0\r\n", "OPTIONS * RTSP/1.0\r\n", "SETUP /a RTSP/1.0\r\n"} {
		if requestAt([]byte(line)) == certain {
			t.Errorf("%q is a request", line)
		}
	}
}
