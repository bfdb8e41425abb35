package http

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "http",
		When: "For each request with its answer, and for each of the two that stays alone. Over HTTP/2 for each stream that is no gRPC.",
		Row:  &Transaction{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the request, or of the answer where there is none."}}, capture.FlowColumns(), []capture.Column{
			{Name: "trans_depth", Doc: "Which request of the connection it is, from 1."},
			{Name: "method", Doc: "Method, as sent."},
			{Name: "host", Doc: "Host header, as sent, with its port if it has one; over HTTP/2 the authority."},
			{Name: "uri", Doc: "Target of the request, as sent, with the escapes of characters that need none undone."},
			{Name: "referrer", Doc: "Referer header."},
			{Name: "version", Doc: "Version that the answer names: `1.1`; `2` over HTTP/2."},
			{Name: "user_agent", Doc: "User-Agent header."},
			{Name: "origin", Doc: "Origin header: the page that a browser was on. It tells a request of a foreign page from one of a program."},
			{Name: "request_body_len", Unit: "bytes", Doc: "Length of the request's body after its content coding (gzip and the like) was undone."},
			{Name: "response_body_len", Unit: "bytes", Doc: "The same of the answer."},
			{Name: "status_code", Doc: "Status of the answer."},
			{Name: "status_msg", Doc: "The phrase behind it; `<empty>` if there is none."},
			{Name: "info_code", Doc: "Last status of the hundreds that came before the answer, as 100 and 101."},
			{Name: "info_msg", Doc: "The phrase behind that."},
			{Name: "tags", Doc: "Always empty."},
			{Name: "username", Doc: "User of Basic or Digest authentication."},
			{Name: "password", Doc: "Never set: it is a password."},
			{Name: "proxied", Doc: "Headers that proxies add, as `X-FORWARDED-FOR -> 203.0.113.7`."},
			{Name: "orig_fuids", Doc: "The `fuid` in files.log of each file in the request's body."},
			{Name: "orig_filenames", Doc: "Their names, where the request says one."},
			{Name: "orig_mime_types", Doc: "What they are by their first bytes."},
			{Name: "resp_fuids", Doc: "The `fuid` in files.log of each file in the answer's body."},
			{Name: "resp_filenames", Doc: "Their names, where the answer says one."},
			{Name: "resp_mime_types", Doc: "What they are by their first bytes."},
		}),
	}}
}
