package http

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "http",
		When: "For each request with its response, and for each unmatched one. Over HTTP/2, for each stream that is not gRPC.",
		Row:  &Transaction{},
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the request, or of the response if there is no request."}}, capture.FlowColumns(), []capture.Column{
			{Name: "trans_depth", Doc: "Number of the request in the connection, from 1."},
			{Name: "method", Doc: "Method as sent."},
			{Name: "host", Doc: "Host header as sent, with its port if there is one; over HTTP/2, `:authority`."},
			{Name: "uri", Doc: "Request target as sent, with needless percent-escapes decoded."},
			{Name: "referrer", Doc: "Referer header."},
			{Name: "version", Doc: "Version in the response: `1.1`; `2` over HTTP/2."},
			{Name: "user_agent", Doc: "User-Agent header."},
			{Name: "origin", Doc: "Origin header: the page that made a browser send the request. It distinguishes a page's request from a program's."},
			{Name: "request_body_len", Unit: "bytes", Doc: "Length of the request body after content decoding (gzip and so on)."},
			{Name: "response_body_len", Unit: "bytes", Doc: "The same for the response."},
			{Name: "status_code", Doc: "HTTP status of the response."},
			{Name: "status_msg", Doc: "Its reason phrase; `<empty>` if there is none."},
			{Name: "info_code", Doc: "Last informational (1xx) status before the response."},
			{Name: "info_msg", Doc: "Its reason phrase."},
			{Name: "tags", Doc: "Always empty."},
			{Name: "username", Doc: "User name of Basic or Digest authentication."},
			{Name: "password", Doc: "Never set, because it is a password."},
			{Name: "proxied", Doc: "Headers added by proxies, as `X-FORWARDED-FOR -> 203.0.113.7`."},
			{Name: "orig_fuids", Doc: "The `fuid` in files.log of each file in the request body."},
			{Name: "orig_filenames", Doc: "Their names, if the request carries any."},
			{Name: "orig_mime_types", Doc: "Their types by their first bytes."},
			{Name: "resp_fuids", Doc: "The `fuid` in files.log of each file in the response body."},
			{Name: "resp_filenames", Doc: "Their names, if the response carries any."},
			{Name: "resp_mime_types", Doc: "Their types by their first bytes."},
		}),
	}}
}
