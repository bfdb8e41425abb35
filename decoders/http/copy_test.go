package http

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
)

type spooled struct{ b []byte }

func (s *spooled) Put(b []byte) bool { s.b = append(s.b, b...); return true }
func (s *spooled) Drop()             {}

// What is copied of a body is what its receiver has.
func TestCopies(t *testing.T) {
	program := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\x3e\x00" + strings.Repeat("machine code\r\n\n\r", 20_000)
	script := "#!/bin/sh\nset -e\n" + strings.Repeat("echo a line that is not empty\n", 4000)
	zip := "PK\x03\x04\x14\x00\x00\x00\x08\x00" + strings.Repeat("packed", 9000)
	c, s := decodertest.C, decodertest.S
	get := c("GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
	length := func(b string) string { return "Content-Length: " + decimal(len(b)) + "\r\n" }
	part := func(b string, from, to int) (decodertest.Step, decodertest.Step) {
		return c(fmt.Sprintf("GET /x HTTP/1.1\r\nHost: h\r\nRange: bytes=%d-%d\r\n\r\n", from, to-1)),
			s(fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\n%s\r\n%s", from, to-1, len(b), length(b[from:to]), b[from:to]))
	}
	long := program + strings.Repeat(program, 60) // longer than what is put together over connections
	one, first := part(long, 0, 5_000_000)
	two, second := part(long, 5_000_000, len(long))
	half, alone := part(program, 100_000, 200_000)
	head := "HTTP/1.1 200 OK\r\n"
	form := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"../../etc/x\"\r\n\r\n" + program + "\r\n--b--\r\n"
	for _, x := range []struct {
		says    string
		steps   []decodertest.Step
		want    string
		partial bool
	}{
		{"a length", []decodertest.Step{get, s(head + length(program) + "\r\n" + program)}, program, false},
		{"chunks", []decodertest.Step{get, s(head + "Transfer-Encoding: chunked\r\n\r\n" + chunks(script, 777))}, script, false},
		{"gzip", []decodertest.Step{get, s(head + "Content-Encoding: gzip\r\n" + length(packed(t, "gzip", script)) + "\r\n" + packed(t, "gzip", script))}, script, false},
		{"gzip in chunks", []decodertest.Step{get, s(head + "Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(packed(t, "gzip", program), 100))}, program, false},
		{"deflate", []decodertest.Step{get, s(head + "Content-Encoding: deflate\r\n" + length(packed(t, "deflate", program)) + "\r\n" + packed(t, "deflate", program))}, program, false},
		{"up to the end of the connection, which Zeek reads by lines", []decodertest.Step{get, s("HTTP/1.0 200 OK\r\n\r\n" + program), {Dir: capture.Resp, End: true}}, program, false},
		{"an upload", []decodertest.Step{c("PUT /api/packages/gcs/_ray_pkg_0.zip HTTP/1.1\r\nHost: h\r\n" + length(zip) + "\r\n" + zip), s(head + "Content-Length: 0\r\n\r\n")}, zip, false},
		{"a form, whose name of a file leads elsewhere", []decodertest.Step{c("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=b\r\n" + length(form) + "\r\n" + form), s(head + "Content-Length: 0\r\n\r\n")}, program, false},
		{"two ranges", []decodertest.Step{one, first, two, second}, long, false},

		{"a range alone", []decodertest.Step{half, alone}, "", false}, // its beginning says nothing
		{"a download that breaks off", []decodertest.Step{get, s(head + length(program) + "\r\n" + program[:100_000])}, program[:100_000], true},
		{"chunks without an end", []decodertest.Step{get, s(head + "Transfer-Encoding: chunked\r\n\r\n" + strings.TrimSuffix(chunks(script, 777), "0\r\n\r\n"))}, script, true},
		{"one range of two", []decodertest.Step{one, first}, long[:5_000_000], true},
		{"a loss", []decodertest.Step{get, s(head + length(program) + "\r\n" + program[:100_000]), {Dir: capture.Resp, Gap: 1000}, s(program[101_000:])},
			program[:100_000] + strings.Repeat("\x00", 1000) + program[101_000:], true},
		{"a page", []decodertest.Step{get, s(head + length("<html><body>x</body></html>") + "\r\n<html><body>x</body></html>")}, "", false},
		{"an object", []decodertest.Step{get, s(head + length(`{"a": "#!/bin/sh"}`) + "\r\n" + `{"a": "#!/bin/sh"}`)}, "", false},
	} {
		opt := Options{Files: file.NewCache(file.Options{HashLimit: 64 << 20, Copies: &file.Copies{
			Classes: file.Executables | file.Scripts | file.RayPackages, Max: 1 << 30, New: func() file.Spool { return &spooled{} },
		}})}
		opt.Label = func(tx *Transaction, resp bool) file.Class {
			if !resp && strings.HasPrefix(tx.Request.Target, "/api/packages/") {
				return file.RayPackages
			}
			return 0
		}
		var copies []*file.File
		for _, ev := range decodertest.Run(t, Spec(opt), x.steps...) {
			if f, ok := ev.(*file.File); ok && f.Copy != nil {
				copies = append(copies, f)
			}
		}
		if n := len(copies); n > 1 || (n == 1) != (x.want != "") {
			t.Errorf("%s: %d copies", x.says, n)
			continue
		} else if n == 0 {
			continue
		}
		f := copies[0]
		got := f.Copy.Rest()
		if f.Copy.Spool() != nil {
			got = append(bytes.Clone(f.Copy.Spool().(*spooled).b), got...)
		}
		if string(got) != x.want || f.Partial() != x.partial {
			t.Errorf("%s: %d bytes of %d, partial %v", x.says, len(got), len(x.want), f.Partial())
		}
		if f.SHA256 != "" && !strings.Contains(x.says, "by lines") && f.SHA256 != f.Copy.SHA256() {
			t.Errorf("%s: files.log has another SHA-256", x.says)
		}
	}
}
