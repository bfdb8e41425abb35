package http

import (
	"bytes"
	"compress/flate"
	"io"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
)

// FuzzStream feeds both directions, whole and cut, with a gap in between.
func FuzzStream(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), uint16(0))
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"), []byte("HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08"), uint16(70))
	f.Add([]byte("CONNECT h:1 HTTP/1.1\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\n\r\n"), uint16(3))
	f.Fuzz(func(t *testing.T, orig, resp []byte, gap uint16) {
		steps := []decodertest.Step{{Dir: capture.Orig, Data: orig}, {Dir: capture.Resp, Data: resp}}
		// Behind a head with a lone CR that came in pieces the client is read on in one go: what its server had said before
		// that head was whole, which no server does, is late by that much.
		lone := bytes.Count(resp, []byte("\r")) != bytes.Count(resp, []byte("\r\n"))
		early := lone && probe(orig, nil, false) != decoders.Yes
		if len(orig)+len(resp) < 400 && !early {
			decodertest.CutAndPoison(t, all(), steps...)
		}
		cut := int(gap) % (len(orig) + 1)
		decodertest.Run(t, all(), decodertest.Step{Dir: capture.Orig, Data: orig[:cut]}, decodertest.Step{Dir: capture.Orig, Gap: int64(gap)},
			decodertest.Step{Dir: capture.Orig, Data: orig[cut:]}, decodertest.Step{Dir: capture.Resp, Data: resp, Gap: int64(gap)},
			decodertest.Step{Dir: capture.Resp, Data: resp})
	})
}

type collect struct{ bytes.Buffer }

func (c *collect) write(b []byte) error { c.Write(b); return nil }
func (c *collect) finish() error        { return nil }
func (c *collect) release(*pools)       {}
func (c *collect) held() int            { return 0 }

// FuzzInflate compares with the standard library: what it decodes we decode, byte by byte, and no more.
func FuzzInflate(f *testing.F) {
	for _, level := range []int{0, 1, 6, -2} {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, level)
		_, _ = w.Write(bytes.Repeat([]byte("the quick brown fox, "), 200))
		_ = w.Close()
		f.Add(b.Bytes(), uint8(7))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint8) {
		if len(in) < 2 || in[0]&0x0f == 8 || in[0] == 0x1f {
			return // could be a wrapper
		}
		src := bytes.NewReader(in)
		r := flate.NewReader(src)
		want, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if len(want) == 1<<20 {
			return
		}
		if err == nil {
			in = in[:len(in)-src.Len()] // what follows is another stream
		}
		var got collect
		z := &inflater{pools: &pools{}}
		z.reset(&got)
		var zerr error
		for i := 0; i < len(in) && zerr == nil; {
			n := min(len(in)-i, int(cut)%13+1)
			zerr = z.write(in[i : i+n])
			i += n
		}
		if zerr == nil {
			zerr = z.finish()
		}
		if err == nil && (zerr != nil || z.state != zDone || !bytes.Equal(got.Bytes(), want)) {
			t.Fatalf("%v, state %d, %d bytes; want %d", zerr, z.state, got.Len(), len(want))
		}
		if err != nil && zerr == nil && z.state == zDone {
			t.Fatalf("decoded %d bytes of what is refused: %v", got.Len(), err)
		}
	})
}

func FuzzSniff(f *testing.F) {
	f.Add([]byte("<?xml version='1.0'?><!-- --><html>"))
	f.Add([]byte("[\"a\", 1]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file.Sniff(b)
		file.NameOf("Content-Disposition", string(b))
		file.Unescape(string(b))
	})
}
