package http

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
)

var (
	c = decodertest.C
	s = decodertest.S
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// all keeps 64 KiB of every body.
func all() decoders.Spec {
	return Spec(Options{KeepBody: func(*Transaction, bool) int { return 64 << 10 }})
}

// run gives the transactions and the names of the weirds.
func run(t testing.TB, spec decoders.Spec, steps ...decodertest.Step) (txs []*Transaction, weirds []string) {
	t.Helper()
	for _, ev := range decodertest.Run(t, spec, steps...) {
		switch ev := ev.(type) {
		case *Transaction:
			txs = append(txs, ev)
		case *capture.Weird:
			weirds = append(weirds, ev.Name)
		}
	}
	return txs, weirds
}

// line sums up a transaction: method target request-body status response-body.
func line(t *Transaction) string {
	var b strings.Builder
	if q := t.Request; q != nil {
		b.WriteString(q.Method + " " + q.Target + " [" + string(q.Body.Data) + "]")
		if q.Body.Conflict {
			b.WriteString(" conflict")
		}
		if !q.Body.Complete {
			b.WriteString(" cut")
		}
	} else {
		b.WriteString("-")
	}
	b.WriteString(" -> ")
	if p := t.Response; p != nil {
		b.WriteString(string(rune('0'+p.Status/100%10)) + string(rune('0'+p.Status/10%10)) + string(rune('0'+p.Status%10)))
		b.WriteString(" [" + string(p.Body.Data) + "]")
		if p.Body.Conflict {
			b.WriteString(" conflict")
		}
		if !p.Body.Complete {
			b.WriteString(" cut")
		}
	} else {
		b.WriteString("-")
	}
	return b.String()
}

func packed(t testing.TB, coding, text string) string {
	t.Helper()
	var b bytes.Buffer
	var w interface {
		Write([]byte) (int, error)
		Close() error
	}
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw":
		w, _ = flate.NewWriter(&b, 6)
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestExchanges(t *testing.T) {
	post := func(fields, body string) decodertest.Step {
		return c("POST /api/jobs/ HTTP/1.1\r\nHost: h\r\n" + fields + "\r\n" + body)
	}
	const one = "POST /api/jobs/ [abcd]"
	tests := []struct {
		name   string
		steps  []decodertest.Step
		want   string // lines of transactions
		weirds string
	}{
		{"Get", []decodertest.Step{c("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), s(ok)}, "GET / [] -> 200 [ok]", ""},
		{"EmptyLinesBeforeRequest", []decodertest.Step{c("\r\n\r\nGET / HTTP/1.1\r\n\r\n"), s(ok)}, "GET / [] -> 200 [ok]", ""},
		{"Pipelined", []decodertest.Step{c("GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)},
			"GET /1 [] -> 200 [ok]\nGET /2 [] -> 200 [ok]", ""},
		{"ContentLength", []decodertest.Step{post("Content-Length: 4\r\n", "abcd"), s(ok)}, one + " -> 200 [ok]", ""},
		{"Chunked", []decodertest.Step{post("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n2;x=\"y\"\r\ncd\r\n0\r\nT: 1\r\n\r\n"), s(ok)}, one + " -> 200 [ok]", ""},
		{"ChunkedInAnyCase", []decodertest.Step{post("tRANSFER-eNCODING: \t Chunked \r\n", "4 \r\nabcd\r\n000\r\n\r\n"), s(ok)}, one + " -> 200 [ok]", ""},
		{"ChunkedWithBareLF", []decodertest.Step{post("Transfer-Encoding: chunked\r\n", "4\nabcd\n0\n\n"), s(ok)}, one + " conflict -> 200 [ok]", "HTTP_chunk_line_without_CR"},
		{"HeadWithBareLF", []decodertest.Step{c("POST /api/jobs/ HTTP/1.1\nContent-Length: 4\n\nabcd"), s(ok)}, one + " -> 200 [ok]", ""},
		{"LengthAndChunked", []decodertest.Step{post("Content-Length: 99\r\nTransfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n"), s(ok)},
			one + " conflict -> 200 [ok]", "HTTP_content_length_and_chunked"},
		{"TwoLengthsThatDiffer", []decodertest.Step{post("Content-Length: 9\r\nContent-Length: 4\r\n", "abcd"), s(ok)},
			one + " conflict -> 200 [ok]", "HTTP_content_length_conflict"},
		{"TwoEqualLengths", []decodertest.Step{post("Content-Length: 4\r\nContent-Length: 4\r\n", "abcd"), s(ok)}, one + " -> 200 [ok]", ""},
		{"LengthWithSign", []decodertest.Step{post("Content-Length: +4\r\n", "abcd"), s(ok)}, one + " conflict -> 200 [ok]", "HTTP_bad_content_length"},
		{"LengthList", []decodertest.Step{post("Content-Length: 4, 4\r\n", "abcd"), s(ok)}, one + " conflict -> 200 [ok]", "HTTP_bad_content_length"},
		{"NegativeLength", []decodertest.Step{post("Content-Length: -4\r\n", ""), s(ok)}, "POST /api/jobs/ [] conflict -> 200 [ok]", "HTTP_bad_content_length"},
		{"LengthOverflow", []decodertest.Step{post("Content-Length: 99999999999999999999999\r\n", "abcd"), s(ok)},
			one + " conflict cut -> 200 [ok]", "HTTP_bad_content_length"},
		{"LengthBelowZeroIn64Bits", []decodertest.Step{post("Content-Length: 18446744073709551615\r\n", "GET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)},
			"POST /api/jobs/ [] conflict -> 200 [ok]\nGET /2 [] -> 200 [ok]", "HTTP_bad_content_length"},
		{"SpaceBeforeColon", []decodertest.Step{post("Content-Length : 4\r\n", "abcd"), s(ok)}, one + " conflict -> 200 [ok]", "HTTP_space_before_colon"},
		{"FoldedTransferEncoding", []decodertest.Step{post("Transfer-Encoding:\r\n chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n"), s(ok)},
			one + " conflict -> 200 [ok]", "HTTP_obsolete_line_folding"},
		{"ChunkedIsNotLast", []decodertest.Step{post("Transfer-Encoding: chunked, identity\r\nContent-Length: 4\r\n", "4\r\nabcd\r\n0\r\n\r\n"), s(ok)},
			one + " conflict -> 200 [ok]", "HTTP_chunked_multi HTTP_content_length_and_chunked HTTP_transfer_encoding_not_chunked"},
		{"NulInHead", []decodertest.Step{post("X: a\x00b\r\nContent-Length: 4\r\n", "abcd"), s(ok)}, one + " conflict -> 200 [ok]", "HTTP_NUL_in_head"},
		{"BareCRInHead", []decodertest.Step{post("X: a\rY: b\r\nContent-Length: 4\r\n", "abcd"), s(ok)}, one + " conflict -> 200 [ok]", "line_terminated_with_single_CR"},
		{"ChunkSizeWithPrefix", []decodertest.Step{post("Transfer-Encoding: chunked\r\n", "0x4\r\nabcd\r\n0\r\n\r\n"), s(ok)},
			"POST /api/jobs/ [] conflict cut -> 200 [ok]", "HTTP_bad_chunk_size"},
		{"ChunkSizeBeyond64Bits", []decodertest.Step{post("Transfer-Encoding: chunked\r\n", "10000000000000000\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)},
			"POST /api/jobs/ [] conflict -> 200 [ok]\nGET /2 [] -> 200 [ok]", "HTTP_bad_chunk_size"},
		{"ChunkLongerThanItSays", []decodertest.Step{post("Transfer-Encoding: chunked\r\n", "2\r\nabcd\r\n0\r\n\r\n"), s(ok)},
			"POST /api/jobs/ [ab] conflict cut -> 200 [ok]", "HTTP_bad_chunk_size"},
		{"HeadHasNoBody", []decodertest.Step{c("HEAD / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + ok)},
			"HEAD / [] -> 200 []\nGET /2 [] -> 200 [ok]", ""},
		{"NotModifiedHasNoBody", []decodertest.Step{c("GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), s("HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n" + ok)},
			"GET / [] -> 304 []\nGET /2 [] -> 200 [ok]", ""},
		{"Continue", []decodertest.Step{post("Expect: 100-continue\r\nContent-Length: 4\r\n", ""), s("HTTP/1.1 100 Continue\r\n\r\n"), c("abcd"), s(ok)}, one + " -> 200 [ok]", ""},
		{"UntilClose", []decodertest.Step{c("GET / HTTP/1.0\r\n\r\n"), s("HTTP/1.0 200 OK\r\n\r\nab"), s("cd")}, "GET / [] -> 200 [abcd]", ""},
		{"NoAnswer", []decodertest.Step{c("GET / HTTP/1.1\r\n\r\n")}, "GET / [] -> -", ""},
		{"NoRequest", []decodertest.Step{s(ok)}, "- -> 200 [ok]", ""},
		{"CutHead", []decodertest.Step{c("GET /x HTTP/1.1\r\nHost: h\r\nUser-Ag")}, "GET /x [] cut -> -", ""},
		{"UnknownMethod", []decodertest.Step{c("FROB / HTTP/1.1\r\n\r\n"), s(ok)}, "FROB / [] -> 200 [ok]", "unknown_HTTP_method"},
		{"AbsoluteForm", []decodertest.Step{c("GET http://h/x HTTP/1.1\r\n\r\n"), s(ok)}, "GET http://h/x [] -> 200 [ok]", ""},
		{"TargetWithBlank", []decodertest.Step{c("GET /a b HTTP/1.1\r\n\r\n"), s(ok)}, "GET /a b [] -> 200 [ok]", ""},
		{"Version09", []decodertest.Step{c("GET /x\r\n"), s("hello")}, "GET /x [] -> 000 [hello]", ""},
		{"Version09WithFields", []decodertest.Step{c("GET /x\r\nHost: h\r\n\r\n"), s("hello")}, "GET /x [] -> 000 [hello]", ""},
		{"TLSToHTTPPort", []decodertest.Step{s("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"), c("\x16\x03\x01\x00\x05hello\n")}, "- -> 400 []", "bad_HTTP_request"},
		{"JunkBehindBody", []decodertest.Step{post("Content-Length: 4\r\n", "abcd}}junk\r\nGET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)},
			one + " -> 200 [ok]\nGET /2 [] -> 200 [ok]", "bad_HTTP_request"},
		{"GapInBody", []decodertest.Step{post("Content-Length: 6\r\n", "ab"), {Dir: capture.Orig, Gap: 2}, c("efGET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)},
			"POST /api/jobs/ [ab] cut -> 200 [ok]\nGET /2 [] -> 200 [ok]", ""},
		{"GapInHead", []decodertest.Step{c("GET /1 HTTP/1.1\r\nHo"), {Dir: capture.Orig, Gap: 9}, c(": x\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)},
			"GET /1 [] cut -> 200 [ok]\nGET /2 [] -> 200 [ok]", ""},
		{"GapHidesAnAnswer", []decodertest.Step{c("GET /1 HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"), {Dir: capture.Resp, Gap: 40},
			c("GET /2 HTTP/1.1\r\n\r\n"), c("GET /3 HTTP/1.1\r\n\r\n"), s(ok)},
			"GET /1 [] -> 200 [o] cut\nGET /2 [] -> -\nGET /3 [] -> 200 [ok]", ""},
		{"GapUntilClose", []decodertest.Step{c("GET / HTTP/1.0\r\n\r\n"), s("HTTP/1.0 200 OK\r\n\r\nab"), {Dir: capture.Resp, Gap: 5}, s("cd")}, "GET / [] -> 200 [ab] cut", ""},
		{"AnswerBeforeRequestEnds", []decodertest.Step{post("Content-Length: 4\r\n", "ab"), s("HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n"), c("cd")}, one + " -> 413 []", ""},
		{"ConnectRefused", []decodertest.Step{c("CONNECT h:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"), s("HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n" + ok)},
			"CONNECT h:443 [] -> 407 []\nGET / [] -> 200 [ok]", ""},
		{"UpgradeIgnored", []decodertest.Step{c("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), s(ok + ok)},
			"GET / [] -> 200 [ok]\nGET /2 [] -> 200 [ok]", ""},
		{"ResponsesFirst", []decodertest.Step{s(ok), c("GET / HTTP/1.1\r\n\r\n"), s(ok)}, "- -> 200 [ok]\nGET / [] -> 200 [ok]", "HTTP_response_before_request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			txs, weirds := run(t, all(), tt.steps...)
			var got []string
			for _, x := range txs {
				got = append(got, line(x))
			}
			if g := strings.Join(got, "\n"); g != tt.want {
				t.Errorf("got\n%s\nwant\n%s", g, tt.want)
			}
			if g := strings.Join(weirds, " "); g != tt.weirds {
				t.Errorf("weirds %q, want %q", g, tt.weirds)
			}
			decodertest.CutAndPoison(t, all(), tt.steps...)
		})
	}
}

func TestCodings(t *testing.T) {
	text := strings.Repeat(`{"entrypoint": "curl http://x/y | sh"} `, 400)
	resp := func(coding, body string) decodertest.Step {
		return s("HTTP/1.1 200 OK\r\nContent-Encoding: " + coding + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(body, 777))
	}
	tests := []struct{ name, coding, body string }{
		{"Gzip", "gzip", packed(t, "gzip", text)},
		{"Zlib", "deflate", packed(t, "deflate", text)},
		{"RawDeflate", "deflate", packed(t, "raw", text)},
		{"GzipCalledDeflate", "deflate", packed(t, "gzip", text)},
		{"Brotli", "br", packed(t, "br", text)},
		{"Zstandard", "ZSTD", packed(t, "zstd", text)},
		{"GzipInGzip", "gzip, gzip", packed(t, "gzip", packed(t, "gzip", text))},
		{"BrotliOverGzip", "gzip,br", packed(t, "br", packed(t, "gzip", text))},
		{"Identity", "identity", text},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			steps := []decodertest.Step{c("GET / HTTP/1.1\r\n\r\n"), resp(tt.coding, tt.body)}
			txs, weirds := run(t, all(), steps...)
			if len(txs) != 1 || len(weirds) != 0 {
				t.Fatalf("%d transactions, weirds %v", len(txs), weirds)
			}
			b := &txs[0].Response.Body
			if string(b.Data) != text || b.Truncated || b.Undecoded || b.Len != int64(len(tt.body)) || b.Decoded != int64(len(text)) || mime(b) != "text/json" && tt.coding[0] != 'b' && len(tt.coding) < 6 && tt.coding != "ZSTD" {
				t.Errorf("got %d bytes, %+v", len(b.Data), *b)
			}
			decodertest.CutAndPoison(t, all(), steps...)
		})
	}
}

// chunks makes a chunked body of pieces of n bytes.
func chunks(body string, n int) string {
	var b strings.Builder
	for len(body) > 0 {
		k := min(n, len(body))
		b.WriteString(hex(k) + "\r\n" + body[:k] + "\r\n")
		body = body[k:]
	}
	return b.String() + "0\r\n\r\n"
}

func hex(n int) string {
	const digits = "0123456789abcdef"
	s := ""
	for ; n > 0; n /= 16 {
		s = string(digits[n%16]) + s
	}
	return s
}

func TestBrokenCodings(t *testing.T) {
	text := strings.Repeat("0123456789 and so on, ", 3000)
	good := packed(t, "gzip", text)
	bad := []byte(good)
	bad[len(bad)-6] ^= 1 // the checksum
	tests := []struct {
		name, coding, body string
		undecoded          bool
		weird              string
	}{
		{"NotGzip", "gzip", "this is not gzip at all", true, "inflate_failed"},
		{"BadChecksum", "gzip", string(bad), false, "inflate_failed"},
		{"UnknownCoding", "aes128gcm", "abcd", true, "HTTP_unknown_content_coding"},
		{"FourCodings", "gzip,gzip,gzip,gzip", "abcd", true, "HTTP_content_codings_limit"},
		{"BadBrotli", "br", "\xff\xff\xff\xff\xff\xff", true, "inflate_failed"},
		{"BadZstd", "zstd", "abcdefgh", true, "inflate_failed"},
		{"Bomb", "gzip", packed(t, "gzip", strings.Repeat("\x00", 8<<20)), false, "HTTP_expansion_limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			txs, weirds := run(t, all(), c("GET / HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Encoding: "+tt.coding+"\r\n\r\n"+tt.body))
			if len(txs) != 1 || strings.Join(weirds, " ") != tt.weird {
				t.Fatalf("%d transactions, weirds %v", len(txs), weirds)
			}
			b := &txs[0].Response.Body
			if b.Undecoded != tt.undecoded {
				t.Errorf("undecoded %v", b.Undecoded)
			}
			if tt.undecoded && string(b.Data) != tt.body {
				t.Errorf("data %q, want what was sent", b.Data)
			}
			if !tt.undecoded && !b.Truncated {
				t.Error("what is there of a broken body must be marked as truncated")
			}
		})
	}
}

func TestBodyIsBounded(t *testing.T) {
	spec := Spec(Options{KeepBody: func(_ *Transaction, resp bool) int {
		if resp {
			return 10
		}
		return 0
	}})
	txs, _ := run(t, spec, c("POST / HTTP/1.1\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("a", 5000)),
		s("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"+strings.Repeat("b", 5000)))
	q, p := &txs[0].Request.Body, &txs[0].Response.Body
	if q.Len != 5000 || q.Data != nil || q.Truncated || !q.Complete || mime(q) != "text/plain" {
		t.Errorf("request body %+v", *q)
	}
	if p.Len != 5000 || string(p.Data) != "bbbbbbbbbb" || !p.Truncated || !p.Complete {
		t.Errorf("response body %+v", *p)
	}
}

func TestTinyChunks(t *testing.T) {
	for _, tt := range []struct {
		n    int
		body string
		want int
	}{{3, "0123456789", 3}, {1, "0123456789", 1}, {2, "0123456789", 2}, {64, strings.Repeat("x", 300), 0}, {20, "0123456789", 0}} {
		txs, _ := run(t, all(), c("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks(tt.body, tt.n)), s(ok))
		if b := &txs[0].Request.Body; b.TinyChunk != tt.want || string(b.Data) != tt.body || b.Chunks != (len(tt.body)+tt.n-1)/tt.n {
			t.Errorf("chunks of %d: tiny %d of %d", tt.n, b.TinyChunk, b.Chunks)
		}
	}
}

func TestTimesAreThoseOfThePackets(t *testing.T) {
	txs, _ := run(t, all(), c("POST / HTTP/1.1\r\nContent-"), c("Length: 4\r\n\r\nab"), c("cd"), s("HTTP/1.1 100 Continue\r\n\r\n"), s("HTTP/1.1 20"), s("0 OK\r\nContent-Length: 2\r\n\r\no"), s("k"))
	x := txs[0]
	if x.Packet != 1 || x.Request.Packet != 1 || x.Request.Done.Packet != 3 || x.Response.Packet != 5 || x.Response.Done.Packet != 7 {
		t.Errorf("packets %d %d..%d %d..%d", x.Packet, x.Request.Packet, x.Request.Done.Packet, x.Response.Packet, x.Response.Done.Packet)
	}
	if x.Response.Informational != 100 || x.Response.InformationalReason != "Continue" {
		t.Errorf("informational %d %q", x.Response.Informational, x.Response.InformationalReason)
	}
}

func TestHeaderLimits(t *testing.T) {
	many := "GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 300) + "Content-Length: 1\r\n\r\nx"
	txs, weirds := run(t, all(), c(many), s(ok))
	if len(txs) != 1 || len(txs[0].Request.Header) != maxFields+1 || txs[0].Request.Header[maxFields].Name != "Content-Length" || txs[0].Request.Body.Len != 1 || strings.Join(weirds, " ") != "HTTP_too_many_headers" {
		t.Errorf("%d transactions, %d fields, weirds %v", len(txs), len(txs[0].Request.Header), weirds)
	}
	long := "GET / HTTP/1.1\r\nA: " + strings.Repeat("b", 70<<10) + "\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"
	txs, weirds = run(t, all(), c(long), s(ok+ok))
	if len(txs) != 2 || txs[1].Request == nil || txs[1].Request.Target != "/2" || !strings.Contains(strings.Join(weirds, " "), "HTTP_head_too_long") {
		t.Errorf("%d transactions, weirds %v", len(txs), weirds)
	}
}

func TestQueueIsBounded(t *testing.T) {
	txs, weirds := run(t, all(), c(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 250)))
	if len(txs) != 250 || strings.Join(weirds, " ") != "HTTP_excessive_pipelining" || txs[249].Depth != 250 {
		t.Errorf("%d transactions, weirds %v", len(txs), weirds)
	}
}

// echo stands for whatever is found behind a switch.
func echo() decoders.Spec {
	return decoders.Spec{
		Name:   "echo",
		Stream: func(o, r []byte, _ bool) decoders.Verdict { return decoders.Yes },
		New:    func(ctx decoders.Context) decoders.Decoder { return &echoDecoder{ctx: ctx} },
	}
}

type echoed struct {
	Dir  capture.Dir
	Data string
}

type echoDecoder struct {
	ctx decoders.Context
	got [2]string
}

func (e *echoDecoder) Decode(dir capture.Dir, b []byte) (int, error) {
	e.got[dir] += string(b)
	return len(b), nil
}
func (e *echoDecoder) Gap(capture.Dir, int64) bool { return true }
func (e *echoDecoder) End(dir capture.Dir)         { e.ctx.Emit(&echoed{dir, e.got[dir]}) }

func TestSwitches(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []decodertest.Step
	}{
		{"Connect", []decodertest.Step{c("CONNECT h:443 HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\n\r\n\x00server"), c("\x00client")}},
		{"ConnectAndClientInAHurry", []decodertest.Step{c("CONNECT h:443 HTTP/1.1\r\n\r\n\x00client"), s("HTTP/1.1 200 OK\r\n\r\n\x00server")}},
		{"Upgrade", []decodertest.Step{c("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
			s("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x00server"), c("\x00client")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			specs := []decoders.Spec{all(), echo()}
			got := map[capture.Dir]string{}
			n := 0
			for _, ev := range decodertest.RunAll(t, specs, tt.steps...) {
				switch ev := ev.(type) {
				case *Transaction:
					n++
				case *echoed:
					got[ev.Dir] = ev.Data
				}
			}
			if n != 1 || got[capture.Orig] != "\x00client" || got[capture.Resp] != "\x00server" {
				t.Errorf("%d transactions, behind them %q", n, got)
			}
			decodertest.CutAndPoisonAll(t, specs, tt.steps...)
		})
	}
}

func TestProbe(t *testing.T) {
	for _, tt := range []struct {
		name, orig, resp string
		mid              bool
		want             decoders.Verdict
	}{
		{"Request", "GET / HTTP/1.1\r\n", "", false, decoders.Yes},
		{"HalfALine", "GET /some", "", false, decoders.Maybe},
		{"Token", "GE", "", false, decoders.Maybe},
		{"LongTarget", "GET /" + strings.Repeat("a", 3000), "", false, decoders.Yes},
		{"LongTargetMidStream", "GET /" + strings.Repeat("a", 3000), "", true, decoders.Maybe},
		{"Response", "", "HTTP/1.1 200 OK\r\n", false, decoders.Yes},
		{"Flipped", "HTTP/1.1 200 OK\r\n", "", false, decoders.Flipped},
		{"FlippedRequest", "", "GET / HTTP/1.1\r\n", false, decoders.Flipped},
		{"FlippedBoth", "HTTP/1.1 200 OK\r\n", "GET / HTTP/1.1\r\n", false, decoders.Flipped},
		{"OldRequest", "GET /x\r\n", "", false, decoders.Yes},
		{"OldRequestMidStream", "GET /x\r\n", "", true, decoders.No},
		{"MidBody", "x-form&GET / HTTP/1.1\r\n", "", true, decoders.No},
		{"HTTP2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", false, decoders.No},
		{"RTSP", "OPTIONS rtsp://h/ RTSP/1.0\r\n", "", false, decoders.No},
		{"SIP", "OPTIONS sip:h SIP/2.0\r\n", "", false, decoders.No},
		{"Stratum", `{"id":1,"method":"mining.subscribe"}`, "", false, decoders.No},
		{"TLS", "\x16\x03\x01\x02\x00", "", false, decoders.No},
		{"SMTP", "EHLO x\r\n", "220 x\r\n", false, decoders.No},
		{"UnknownMethod", "FROB /x HTTP/1.1\r\n", "", false, decoders.Yes},
		{"GarbageAnswered", "\x16\x03\x01", "HTTP/1.1 400 Bad\r\n", false, decoders.Yes},
	} {
		if got := probe([]byte(tt.orig), []byte(tt.resp), tt.mid); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestConfirm(t *testing.T) {
	if got := decodertest.Services(t, all(), c("GET / HTTP/1.1\r\n\r\n"), s(ok)); len(got) != 1 || got[0] != "http" {
		t.Errorf("services %v", got)
	}
	if got := decodertest.Services(t, all(), c("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"), s("HTTP/1.1 101 Go\r\nUpgrade: WebSocket\r\n\r\n")); len(got) != 2 || got[1] != "websocket" {
		t.Errorf("services %v", got)
	}
	if got := decodertest.Services(t, all(), s(ok)); len(got) != 0 {
		t.Errorf("an answer alone confirmed %v", got)
	}
}

// TestNameIsTakenBack: where a line should begin a message and does not, Zeek says that it is no HTTP. White space and
// what a client sends behind its only request say nothing.
func TestNameIsTakenBack(t *testing.T) {
	get := "GET / HTTP/1.1\r\n\r\n"
	for _, tt := range []struct {
		name  string
		steps []decodertest.Step
		http  bool
	}{
		{"an answer in another tongue", []decodertest.Step{c(get), s("RTSP/1.0 200 OK\r\n\r\n")}, false},
		{"an answer and more than it says", []decodertest.Step{c(get), s(ok + "junk\r\n")}, false},
		{"a second request that is none", []decodertest.Step{c(get), s(ok), c("\x00\x01\r\n")}, false},
		{"empty lines", []decodertest.Step{c(get + "\r\n"), s(ok + "\r\n\r\n")}, true},
		{"a line without an end", []decodertest.Step{c(get), s(ok + "junk")}, true},
		{"crud behind the only request of HTTP/1.0", []decodertest.Step{c("GET / HTTP/1.0\r\n\r\nxx\r\n")}, true},
		{"the rest of a body behind a gap", []decodertest.Step{c(get), {Dir: capture.Resp, Gap: 9}, s("<p>\r\n</p>\r\n")}, true},
	} {
		if got := decodertest.Services(t, all(), tt.steps...); slices.Contains(got, "http") != tt.http {
			t.Errorf("%s: services %v", tt.name, got)
		}
		decodertest.CutAndPoisonAll(t, []decoders.Spec{all()}, tt.steps...)
	}
}

// TestLinesThatEndElsewhere: heads with a lone CR or a NUL are read as Zeek reads them, wherever the pieces end.
func TestLinesThatEndElsewhere(t *testing.T) {
	for _, tt := range []struct {
		name, answer, body string
		status             int
		chunked            bool
	}{
		{"a CR ends the head", "HTTP/1.1 200 ok\r\nConnection: close\r\n\r \rX: y\r\n\r\nab", " \rX: y\r\n\r\nab", 200, false},
		{"a CR ends a line", "HTTP/1.1 200 ok\rTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "ab", 200, true},
		{"a NUL ends the head", "HTTP/1.1 200 ok\r\nConnection: close\r\n\x00X: y\r\nZ: 1\r\n\r\nab", "Z: 1\r\n\r\nab", 200, false},
		{"a NUL within a line does not", "HTTP/1.1 200 ok\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\nab", "ab", 200, false},
	} {
		steps := []decodertest.Step{c("GET / HTTP/1.1\r\n\r\n"), s(tt.answer)}
		got := transactions(decodertest.RunAll(t, []decoders.Spec{all()}, steps...))
		if len(got) != 1 || got[0].Response == nil || got[0].Response.Status != tt.status ||
			string(got[0].Response.Body.Data) != tt.body || got[0].Response.Body.Chunked != tt.chunked || !got[0].Response.Body.Conflict {
			t.Errorf("%s: %s", tt.name, decodertest.Snapshot(got))
		}
		decodertest.CutAndPoisonAll(t, []decoders.Spec{all()}, steps...)
	}
}

// TestResumedBehindALoss: what is found again is said to be, and what was read in a row is not.
func TestResumedBehindALoss(t *testing.T) {
	get := func(n string) decodertest.Step { return c("GET /" + n + " HTTP/1.1\r\n\r\n") }
	evs := transactions(decodertest.RunAll(t, []decoders.Spec{all()},
		get("1"), s(ok), get("2"), decodertest.Step{Dir: capture.Resp, Gap: 40}, get("3"), s(ok)))
	if len(evs) != 3 || evs[0].Response.From != 0 || evs[2].Response == nil || evs[2].Response.From == 0 || evs[2].Request.From != 0 {
		t.Errorf("%d transactions, %+v", len(evs), evs)
	}
}

func transactions(evs []any) (out []*Transaction) {
	for _, ev := range evs {
		if x, ok := ev.(*Transaction); ok {
			out = append(out, x)
		}
	}
	return out
}

func TestMultipartParts(t *testing.T) {
	body := "--XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.txt\"\r\n\r\nhello, this is text\r\n--XX\r\n" +
		"Content-Disposition: form-data; name=\"empty\"\r\n\r\n\r\n--XX\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n\x1a\n\r\n--XX--\r\n"
	steps := []decodertest.Step{c("POST / HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: " + decimal(len(body)) + "\r\n\r\n" + body), s(ok)}
	txs, _ := run(t, all(), steps...)
	p := txs[0].Request.Body.Files
	if len(p) != 2 || p[0].Name != "a.txt" || p[0].MIME != "text/plain" || p[0].Seen != 19 || p[1].HasName || p[1].MIME != "image/png" || p[1].Seen != 8 {
		t.Errorf("parts %+v", p)
	}
	decodertest.CutAndPoison(t, all(), steps...)
}

// mime is that of the only file of a body.
func mime(b *Body) string {
	if len(b.Files) != 1 {
		return ""
	}
	return b.Files[0].MIME
}

func decimal(n int) string {
	s := ""
	for ; n > 0; n /= 10 {
		s = string(rune('0'+n%10)) + s
	}
	return s
}

func TestUnescape(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"/a%20b", "/a b"}, {"/a%", "/a%"}, {"/a%4", "/a%4"}, {"/%%41", "/A"}, {"/%zz", "/%zz"},
		{"/%u0041x", "/Ax"}, {"/%u4e2d", "/\x4e\x2d"}, {"/%6Aobs", "/jobs"},
	} {
		if got := file.Unescape(tt.in); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestFileName(t *testing.T) {
	for _, tt := range []struct{ field, value, want string }{
		{"Content-Disposition", `attachment; filename="a b.txt"`, "a b.txt"},
		{"content-disposition", `attachment; filename*=UTF-8''a%20b`, "a b"},
		{"Content-Disposition", `inline`, ""},
		{"Content-Type", `text/plain; name=x.txt`, "x.txt"},
		{"X", `filename=x`, ""},
	} {
		if got, _ := file.NameOf(tt.field, tt.value); got != tt.want {
			t.Errorf("%s: %s: %q, want %q", tt.field, tt.value, got, tt.want)
		}
	}
}

// row remembers the columns of a row as text.
type row []string

func (r *row) add(name string, v any, set bool) {
	if set {
		*r = append(*r, fmt.Sprintf("%s=%v", name, v))
	} else {
		*r = append(*r, name+"-")
	}
}

func (r *row) Time(n string, v capture.Time, set bool)         { r.add(n, int64(v), set) }
func (r *row) Interval(n string, v time.Duration, set bool)    { r.add(n, v, set) }
func (r *row) String(n, v string, set bool)                    { r.add(n, v, set) }
func (r *row) Enum(n, v string, set bool)                      { r.add(n, v, set) }
func (r *row) Count(n string, v uint64, set bool)              { r.add(n, v, set) }
func (r *row) Bool(n string, v, set bool)                      { r.add(n, v, set) }
func (r *row) Addr(n string, v netip.Addr, set bool)           { r.add(n, v, set) }
func (r *row) Port(n string, v uint16, set bool)               { r.add(n, v, set) }
func (r *row) Double(n string, v float64, set bool)            { r.add(n, v, set) }
func (r *row) Set(n, _ string, v []string, set bool)           { r.add(n, v, set) }
func (r *row) Vector(n, _ string, v []string, set bool)        { r.add(n, v, set) }
func (r *row) Intervals(n string, v []time.Duration, set bool) { r.add(n, v, set) }

// rowed makes every transaction say its row too, so that rows are compared where events are.
func rowed(spec decoders.Spec) decoders.Spec {
	inner := spec.New
	spec.New = func(ctx decoders.Context) decoders.Decoder { return inner(rowContext{ctx}) }
	return spec
}

type rowContext struct{ decoders.Context }

func (c rowContext) Emit(ev any) {
	c.Context.Emit(ev)
	if t, ok := ev.(capture.Record); ok && t.Log() == "http" {
		r := row{}
		t.Row(&r)
		c.Context.Emit(&r)
	}
}

func TestRow(t *testing.T) {
	const get = "GET /a%20b HTTP/1.1\r\nHost: h:80\r\n"
	// One stored block of 8,000 bytes.
	stored := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + "\x00\x40\x1f\xbf\xe0" + strings.Repeat("12345678", 1000)
	zipped := func(n int, b string) decodertest.Step {
		return s("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: " + decimal(n) + "\r\n\r\n" + b)
	}
	tests := []struct {
		name  string
		steps []decodertest.Step
		want  string // columns that must be there
	}{
		{"Names", []decodertest.Step{c(get + "Referer: r\r\nUser-Agent: ua\r\nOrigin: o\r\nVia: 1.1 x\r\nVia: 1.1 x\r\n\r\n"), s("HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nhello world")},
			"trans_depth=1|method=GET|host=h:80|uri=/a b|referrer=r|version=1.0|user_agent=ua|origin=o|request_body_len=0|response_body_len=11|status_code=200|status_msg=OK|info_code-|tags=[]|username-|password-|proxied=[VIA -> 1.1 x]|orig_fuids-|resp_mime_types=[text/plain]"},
		{"PasswordIsNotLogged", []decodertest.Step{c(get + "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"), s(ok)}, "username=user|password-"},
		{"UndecodableAuthorizationIsNotLogged", []decodertest.Step{c(get + "Authorization: Basic secret!\r\n\r\n"), s(ok)}, "username=<problem-decoding>|password-"},
		{"NoAnswer", []decodertest.Step{c(get + "\r\n")}, "version-|response_body_len=0|status_code-|status_msg-"},
		{"NoRequest", []decodertest.Step{s(ok)}, "method-|host-|uri-|version=1.1|status_code=200"},
		{"NoReason", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 204\r\n\r\n")}, "status_code=204|status_msg=<empty>"},
		{"Switching", []decodertest.Step{c(get + "Upgrade: x\r\n\r\n"), s("HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n")}, "status_code=101|status_msg=Go|info_code=101|info_msg=Go"},
		{"Continue", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 100 Go on\r\n\r\n" + ok)}, "status_code=200|status_msg=OK|info_code=100|info_msg=Go on"},
		{"LengthWithoutGzip", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + packed(t, "gzip", strings.Repeat("text ", 999)))},
			"response_body_len=4995|resp_mime_types=[text/plain]"},
		{"LinesUntilClose", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 200 OK\r\n\r\none\ntwo\r\nthree")}, "response_body_len=17"}, // 3+2, 3+2, 5+2
		{"FileName", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename=\"x.sh\"\r\nContent-Length: 9\r\n\r\n#!/bin/sh")},
			"resp_filenames=[x.sh]|resp_mime_types=[text/x-shellscript]"},
		{"InflatedBehindALoss", []decodertest.Step{c(get + "\r\n"), zipped(6115, stored[:5015]), {Dir: capture.Resp, Gap: 100}, s(stored[5015:6015])}, "response_body_len=6100"},
		{"NotWhatTheMistakeIsIn", []decodertest.Step{c(get + "\r\n"), zipped(8116, stored[:5015]), {Dir: capture.Resp, Gap: 100}, s(stored[5015:] + "\x07")}, "response_body_len=5100"},
		{"ALossBeyondTheChunk", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabcdef"), {Dir: capture.Resp, Gap: 10}, s("ghi\r\n0\r\n\r\n")}, "response_body_len=6"},
		{"ALossBeforeTheClose", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef"), {Dir: capture.Resp, Gap: 10}, s("ghi")}, "response_body_len=6"},
		{"VersionThatIsNone", []decodertest.Step{c("GET /x  HTTP/1. \r\nHost: h\r\n\r\n"), s(ok)}, "host=h|uri=/x|version=1.1|status_code=200"},
		{"NoVersion", []decodertest.Step{c("GET /x\r\n")}, "method=GET|uri=/x"},
		{"AnswerBeforeTheRequestEnds", []decodertest.Step{c("POST /x HTTP/1.0\r\nContent-Length: 9\r\n\r\nabc"), s(ok), c("def"), c("ghi")}, "trans_depth=1|method=POST|request_body_len=0|response_body_len=2"},
		{"PieceWithoutAPlace", []decodertest.Step{c(get + "Range: bytes=0-1\r\n\r\n"), s("HTTP/1.1 206 Partial\r\nContent-Range: x\r\nConnection: close\r\n\r\n#!/bin/sh")}, "status_code=206|resp_mime_types-"},
		{"PartsBehindALoss", []decodertest.Step{c(get + "\r\n"), s("HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=XX\r\nContent-Length: 80\r\n\r\n--XX\r\n\r\n#!/bin/sh\r\n"),
			{Dir: capture.Resp, Gap: 20}, s("x\r\n--XX\r\n\r\n%PDF-1.4 and so on\r\n--XX--\r\n")}, "resp_mime_types=[text/x-shellscript application/pdf]"},
		{"PieceOfAFile", []decodertest.Step{c(get + "Range: bytes=0-1\r\n\r\n" + get + "Range: bytes=2-3\r\n\r\n"), s(ok + ok)}, "trans_depth=2|resp_fuids-"},
	}
	var zero row
	(&Transaction{}).Row(&zero)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rows []row
			for _, ev := range decodertest.Run(t, rowed(Spec(Options{})), tt.steps...) {
				if r, ok := ev.(*row); ok {
					rows = append(rows, *r)
				}
			}
			if len(rows) == 0 {
				t.Fatal("no row")
			}
			last := rows[len(rows)-1]
			if len(last) != len(zero) || len(last) != 30 {
				t.Fatalf("%d columns, %d in the row of nothing, want 30", len(last), len(zero))
			}
			at := 0
			for _, want := range strings.Split(tt.want, "|") {
				i := slices.Index(last[at:], want)
				if i < 0 {
					t.Fatalf("no %q, or not in order, in %q", want, last)
				}
				at += i
			}
			if tt.name != "NotWhatTheMistakeIsIn" { // a step of Zeek's is a segment
				decodertest.CutAndPoison(t, rowed(Spec(Options{})), tt.steps...)
			}
		})
	}
}

// A capture of the client alone: the tunnel is read all the same, once the client has sent what it would not without
// an answer.
func TestConnectWithoutAnswer(t *testing.T) {
	inner := "\x00" + strings.Repeat("tunnel ", 4000)
	got, txs := "", 0
	for _, ev := range decodertest.RunAll(t, []decoders.Spec{all(), echo()}, c("CONNECT h:443 HTTP/1.1\r\n\r\n"), c(inner[:9000]), c(inner[9000:])) {
		switch ev := ev.(type) {
		case *Transaction:
			txs++
		case *echoed:
			got += ev.Data
		}
	}
	if txs != 1 || got != inner {
		t.Errorf("%d transactions, %d bytes of %d in the tunnel", txs, len(got), len(inner))
	}
}

// told runs a conversation and gives the files that it told of.
func told(t *testing.T, steps ...decodertest.Step) (files []*file.File) {
	t.Helper()
	cache := file.NewCache(file.Options{HashLimit: 1 << 20})
	joined := file.NewJoined(cache, func(ev any, _ capture.Provenance) { files = append(files, ev.(*file.File)) })
	for _, ev := range decodertest.Run(t, Spec(Options{Files: cache}), steps...) {
		switch ev := ev.(type) {
		case *file.File:
			files = append(files, ev)
		case *file.Piece:
			joined.Take(ev, 0)
		}
	}
	joined.End()
	return files
}

func TestRangesOfOneFlowAreOneFile(t *testing.T) {
	ask := func(r string) decodertest.Step {
		return c("GET /f HTTP/1.1\r\nHost: h\r\nRange: bytes=" + r + "\r\n\r\n")
	}
	part := func(r, body string) decodertest.Step {
		return s("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes " + r + "\r\nContent-Length: " + decimal(len(body)) + "\r\n\r\n" + body)
	}
	const whole = "#!/bin/sh\necho hi\n"
	for _, tt := range []struct {
		name    string
		steps   []decodertest.Step
		n       int
		hashed  bool
		missing int64
		late    bool
	}{
		{"in order", []decodertest.Step{ask("0-8"), part("0-8/18", whole[:9]), ask("9-17"), part("9-17/18", whole[9:])}, 1, true, 0, false},
		{"the end never comes", []decodertest.Step{ask("0-8"), part("0-8/18", whole[:9])}, 1, true, 0, true},
		{"the beginning never comes", []decodertest.Step{ask("9-17"), part("9-17/18", whole[9:])}, 1, false, 9, true},
		{"a hole", []decodertest.Step{ask("0-4"), part("0-4/18", whole[:5]), ask("9-17"), part("9-17/18", whole[9:])}, 1, false, 4, true},
		{"backwards", []decodertest.Step{ask("9-17"), part("9-17/18", whole[9:]), ask("0-8"), part("0-8/18", whole[:9])}, 1, true, 0, false},
		{"longer than is put together elsewhere", []decodertest.Step{ask("0-8"), part("0-8/99999999", whole[:9]), ask("20-28"), part("20-28/99999999", whole[9:])}, 1, false, 11, true},
		{"a piece again", []decodertest.Step{ask("0-8"), part("0-8/18", whole[:9]), ask("0-8"), part("0-8/18", whole[:9]), ask("9-17"), part("9-17/18", whole[9:])}, 1, true, 0, false},
		{"of unknown length", []decodertest.Step{ask("0-8"), part("0-8/*", whole[:9])}, 1, true, 0, true},
		{"of a length that makes no sense", []decodertest.Step{ask("0-8"), part("0-8/3", whole[:9])}, 1, true, 0, false},
		{"a number too long", []decodertest.Step{ask("0-8"), part("0-99999999999999999999/3", whole[:9])}, 1, true, 0, false},
	} {
		steps := append(tt.steps, decodertest.Step{End: true}, decodertest.Step{Dir: capture.Resp, End: true})
		got := told(t, steps...)
		if len(got) != tt.n {
			t.Errorf("%s: %d files", tt.name, len(got))
			continue
		}
		if f := got[0]; f.Hashed() != tt.hashed || f.Missing != tt.missing || f.TimedOut != tt.late {
			t.Errorf("%s: %+v", tt.name, f)
		} else if f.Hashed() && !f.TimedOut && f.Total == int64(len(whole)) && f.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(whole))) {
			t.Errorf("%s: a wrong digest", tt.name)
		}
		decodertest.CutAndPoison(t, Spec(Options{}), steps...)
	}
}

// TestPartsThatArePieces: multipart/byteranges is one file, also over several answers; parts without a place, or with
// one that came before, are files of their own.
func TestPartsThatArePieces(t *testing.T) {
	ask := c("GET /big HTTP/1.1\r\nHost: h\r\nRange: bytes=0-4,10-14\r\n\r\n")
	answer := func(parts ...string) decodertest.Step {
		body := ""
		for _, p := range parts {
			body += "--XX\r\n" + p + "\r\n"
		}
		body += "--XX--\r\n"
		return s("HTTP/1.1 206 Partial\r\nContent-Type: Multipart/Byteranges; boundary=XX\r\nContent-Length: " + decimal(len(body)) + "\r\n\r\n" + body)
	}
	for _, tt := range []struct {
		name, want string
		steps      []decodertest.Step
	}{
		{"two holes", "10/100-5 late", []decodertest.Step{ask, answer("Content-Range: bytes 0-4/100\r\n\r\nhello", "content-range: bytes 10-14/100\r\n\r\nworld")}},
		{"two answers", "10/10", []decodertest.Step{ask, answer("Content-Range: bytes 0-4/10\r\n\r\nhello"), ask, answer("Content-Range: bytes 5-9/10\r\n\r\nworld")}},
		{"backwards", "5/0 5/100-10 late", []decodertest.Step{ask, answer("Content-Range: bytes 10-14/100\r\n\r\nworld", "Content-Range: bytes 0-4/100\r\n\r\nhello")}},
		{"of two lengths", "5/0 5/100 late", []decodertest.Step{ask, answer("Content-Range: bytes 0-4/100\r\n\r\nhello", "Content-Range: bytes 5-9/99\r\n\r\nworld")}},
		{"without a place", "5/0 late", []decodertest.Step{ask, answer("\r\nhello")}},
		{"a place that is none", "5/0 late", []decodertest.Step{ask, answer("Content-Range: bytes 9-4/100\r\n\r\nhello")}},
	} {
		var got []string
		for _, f := range told(t, tt.steps...) {
			x := decimal(int(f.Seen)) + "/" + decimal(int(f.Total))
			if f.Total == 0 {
				x += "0"
			}
			if f.Missing > 0 {
				x += "-" + decimal(int(f.Missing))
			}
			if f.TimedOut {
				x += " late"
			}
			got = append(got, x)
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, g, tt.want)
		}
		decodertest.CutAndPoison(t, all(), tt.steps...)
	}
}

// TestCutOfGarbage: what is none of HTTP is none of it wherever the packets end. The fuzzer found these.
func TestCutOfGarbage(t *testing.T) {
	c, s := decodertest.C, decodertest.S
	for _, tt := range []struct {
		name  string
		steps []decodertest.Step
		want  string // weirds
	}{
		{
			"an answer that came before its request was whole, and is none", []decodertest.Step{c("T /! HTTP/1.1\r\xa7"), s("OST /! HTTP/1.1\r\xa7d\rankeer: c\r\nncoding: z\n\r\n.1")},
			"line_terminated_with_single_CR unknown_HTTP_method HTTP_bad_header_line bad_HTTP_reply",
		},
		{
			"the same, and the client goes on with something else", []decodertest.Step{c("T / HTTP/1.!\r\x8d"), s("ET / HTTP/1.!\r\x8dX7\n\r\n\nont\r\n\xa1\xb0")},
			"line_terminated_with_single_CR unknown_HTTP_method HTTP_bad_header_line bad_HTTP_reply bad_HTTP_request",
		},
		{
			"a lone CR in what a client says that is an answer", []decodertest.Step{c("HTTP/1.1 100"), s("HTTP/1.1 100 C\r\n\r\nH6TP/1\n\x1d\n200 \n\r.wwww\n1 \x1f")},
			"bad_HTTP_request line_terminated_with_single_CR",
		},
		{
			"a version at the end of a bad line", []decodertest.Step{c("GET /1.\r1\n\rC/ HTTP/1.1\r\n"), s("\r\n")},
			"line_terminated_with_single_CR HTTP_bad_header_line bad_HTTP_request_with_version",
		},
		{
			"neither of the two is HTTP", []decodertest.Step{c(" T HTTP/1.9\r\n"), s(" HT HTTP/1.9\r\n H\nContEnt-Length: 2\r\x01\r\nok")},
			"bad_HTTP_request_with_version",
		},
		{
			"an answer behind a bad line behind a head that ends with a lone CR",
			[]decodertest.Step{c("ST / HTTP/1.1\r\n"), s("HTTP/1.1 100 C\r\n\r\xb8\xb8\nHTTP/1.1 200 OK\r\nContent-Encoding: zip\r\n\r\n\x1f\x8b\b")},
			"bad_HTTP_reply HTTP_unknown_content_coding HTTP_response_before_request unknown_HTTP_method",
		},
		{
			"a body that is not what its coding says, and all of it is kept", []decodertest.Step{c("GET / HTTP/1.1\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\b\xfepڣw\xad\xcf\a\xa8\xe3\xbax")},
			"inflate_failed",
		},
	} {
		var got []string
		for _, e := range decodertest.Run(t, all(), tt.steps...) {
			if w, ok := e.(*capture.Weird); ok {
				got = append(got, w.Name)
			}
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, g, tt.want)
		}
		decodertest.CutAndPoison(t, all(), tt.steps...)
	}
}

// TestPlace: one host has many spellings, and whoever wants to be taken for another uses them.
func TestPlace(t *testing.T) {
	for _, tt := range []struct{ method, target, field, host, path string }{
		{"GET", "/a?b", "Example.org", "example.org", "/a?b"},
		{"GET", "/", "example.org.:8080", "example.org", "/"},
		{"GET", "/", "[2001:DB8::1]:80", "2001:db8::1", "/"},
		{"GET", "/", "2001:db8::1", "2001:db8::1", "/"},
		{"GET", "/", "h:1:2", "h", "/"},
		{"GET", "/", "", "", "/"},
		{"GET", "http://one.example/x?y", "two.example", "one.example", "/x?y"},
		{"GET", "http://one.example", "two.example", "one.example", "/"},
		{"GET", "http://one.example?y=/", "two.example", "one.example", "/?y=/"},
		{"GET", "http://two.example:80@one.example:81/", "two.example", "one.example", "/"},
		{"GET", "/to?u=http://one.example/", "two.example", "two.example", "/to?u=http://one.example/"},
		{"GET", "/to#http://one.example/", "two.example", "two.example", "/to#http://one.example/"},
		{"CONNECT", "one.example:443", "two.example", "one.example", ""},
		{"CONNECT", "[2001:db8::1]:443", "two.example", "2001:db8::1", ""},
		{"OPTIONS", "*", "two.example", "two.example", "*"},
	} {
		r := &Request{Method: tt.method, Target: tt.target, Header: Header{{Name: "Host", Value: tt.field}}}
		if host, path := r.Place(); host != tt.host || path != tt.path {
			t.Errorf("%s %s of %q: %q and %q", tt.method, tt.target, tt.field, host, path)
		}
	}
}

// TestWhatZeekDoesNotRecognise: on a port that is not for HTTP, it takes a known word or an answer.
func TestWhatZeekDoesNotRecognise(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []decodertest.Step
		want  bool
	}{
		{"a word of its own", []decodertest.Step{c("REQ /x HTTP/1.0\r\n\r\n"), s("RSP ok")}, false},
		{"that and an answer", []decodertest.Step{c("REQ /x HTTP/1.0\r\n\r\n"), s(ok)}, true},
		{"a method", []decodertest.Step{c("GET /x HTTP/1.0\r\n\r\n")}, true},
		{"what begins like one", []decodertest.Step{c("GETX /x HTTP/1.0\r\n\r\n")}, true},
		{"a method of an extension", []decodertest.Step{c("PATCH /x HTTP/1.0\r\n\r\n")}, true},
	} {
		n := 0
		for _, ev := range decodertest.Run(t, Spec(Options{}), tt.steps...) {
			if tx, is := ev.(*Transaction); is && tx.Request != nil {
				if n++; (tx.Request.From != 0) == tt.want {
					t.Errorf("%s: it is known to everybody: %v", tt.name, tx.Request.From)
				}
			}
		}
		if n != 1 {
			t.Errorf("%s: %d requests", tt.name, n)
		}
	}
}

func TestTargetWithoutAVersion(t *testing.T) {
	for _, tt := range [][2]string{
		{"/HTTP/1.1", "/HTTP/1.1"}, {"/a?b=%20&c#", "/a?b=%20&c"}, {"rtsp://x/ RTSP/1.0", "rtsp://x/ RTSP/1."}, {"/a b \t ", "/a b"}, {"", ""},
	} {
		if got := oldTarget(tt[0]); got != tt[1] {
			t.Errorf("%q: %q, want %q", tt[0], got, tt[1])
		}
	}
}

// TestRawReply: an answer with a head to a request without a version is one, and a body for Zeek.
func TestRawReply(t *testing.T) {
	answer := "HTTP/1.0 403 Forbidden\r\nContent-Length: 9\r\n\r\n#!/bin/sh"
	for _, cut := range []int{1, 3, 7, 30, 1000} {
		steps := []decodertest.Step{c("GET /x\r\n")}
		for b := range slices.Chunk([]byte(answer), cut) {
			steps = append(steps, s(string(b)))
		}
		var tx *Transaction
		var files []*file.File
		for _, ev := range decodertest.Run(t, Spec(Options{}), steps...) {
			switch ev := ev.(type) {
			case *Transaction:
				tx = ev
			case *file.File:
				files = append(files, ev)
			}
		}
		if tx == nil || tx.Response.Status != 403 || tx.Response.Body.Len != 9 || tx.Response.Simple == nil || tx.Response.Simple.Status != 0 || tx.Response.Simple.Body.rowLen != int64(len(answer)) {
			t.Fatalf("cut at %d: %+v", cut, tx)
		}
		n := 0
		for _, f := range files {
			if !f.Inner {
				if n++; f.Seen != int64(len(answer)) || f.ID != tx.Response.Simple.Body.Files[0].ID {
					t.Errorf("cut at %d: %+v", cut, f)
				}
			}
		}
		if n != 1 || len(files) != 2 {
			t.Errorf("cut at %d: %d of %d files are logged", cut, n, len(files))
		}
	}
}
