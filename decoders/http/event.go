package http

import (
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
)

// Transaction is one request with its answer. Either may be missing (nil): a capture that starts or stops in
// between, a lost segment, a server that never answered.
type Transaction struct {
	capture.At               // of the request's first byte, or of the response's if there is no request
	Flow       *capture.Flow // the originator is the client
	Depth      int           // 1 for the first transaction of the flow
	Request    *Request
	Response   *Response
}

// Late is the end of a request whose answer was complete before: its body was not over when the transaction was emitted.
type Late struct {
	capture.At
	Flow  *capture.Flow
	Depth int
	Len   int64 // of the body
}

// Request is what the client sent.
type Request struct {
	capture.At            // of the packet with the first byte
	Done       capture.At // of the packet that completed it; zero when it never was
	Method     string     // as sent
	Target     string     // request-target as sent, raw
	Version    string     // "2", "1.1", "1.0", "0.9"
	Header     Header
	Trailer    Header
	Body       Body
	Beyond     Follower           // what Options.Follow has for a body that is longer than Body.Data or has a hole; nil otherwise
	From       capture.Provenance // Doubted: where the head ended
	Partial    bool               // of HTTP/2: what was said before the capture began is unknown, fields are missing; Method and Target may be ""

	block *block // what Header says, read once for all requests that have the same; nil: look at Header
}

// Place gives the host that was asked, as HostOf does, and what was asked of it: from the target if that names a host
// (RFC 9112 sections 3.2.2 and 3.2.3), otherwise host is the Host field's, "" if there is none. A tunnel has no path.
func (r *Request) Place() (host, path string) {
	path = r.Target
	if r.OriginForm() {
		return r.Authority(), path // nearly all
	}
	if r.Method == "CONNECT" {
		return HostOf(path), ""
	}
	if scheme, rest, ok := strings.Cut(path, "://"); ok && !strings.ContainsAny(scheme, "/?#") {
		n := strings.IndexAny(rest, "/?#")
		if n < 0 {
			return HostOf(rest), "/"
		}
		if path = rest[n:]; path[0] != '/' {
			path = "/" + path
		}
		return HostOf(rest[:n]), path
	}
	return r.Authority(), path
}

// OriginForm says whether the target is a path and its query alone, so that the fields name the host (RFC 9112 section
// 3.2.1).
func (r *Request) OriginForm() bool {
	return r.Target != "" && r.Target[0] == '/' && r.Method != "CONNECT"
}

// Authority gives the host of the first Host field, as HostOf does; "" if there is none.
func (r *Request) Authority() string {
	if r.block != nil {
		return r.block.facts.authority
	}
	return HostOf(r.Header.Get("Host"))
}

func (r *Request) facts() *facts {
	if r.block != nil {
		return &r.block.facts
	}
	f := r.Header.facts()
	return &f
}

// HostOf gives the host of an authority (RFC 3986 section 3.2) in one form: in lower case, without user, port,
// brackets, and the dot that ends a whole name. They are all the same to whoever connects.
func HostOf(authority string) string {
	host := authority[strings.LastIndexByte(authority, '@')+1:]
	if strings.HasPrefix(host, "[") {
		host, _, _ = strings.Cut(host[1:], "]")
	} else if strings.Count(host, ":") < 2 || strings.Trim(host, "0123456789abcdefABCDEF:.") != "" { // no IPv6 without its brackets
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Response is what the server answered.
type Response struct {
	capture.At
	Done    capture.At
	Version string
	Status  int
	Reason  string
	Header  Header
	Trailer Header
	Body    Body
	// Informational is the last 1xx answer before this one, 0 if none.
	Informational       int
	InformationalReason string
	// Simple is an answer to a request without a version as HTTP/0.9 has it (RFC 1945 section 6): head and body are one body.
	Simple *Response
	From   capture.Provenance // as for a request

	hasReason bool // there was a reason phrase, if only an empty one
	block     *block
}

// Body is the entity of a message.
type Body struct {
	Len       int64              // bytes after transfer coding was removed (chunk framing), before content coding was
	Data      []byte             // the beginning after content coding was removed, as long as the bound allows; nil if not wanted
	Truncated bool               // Data is shorter than the decoded body, by the bound
	Cut       bool               // some of it was neither kept nor given to Beyond, by a bound on what is decoded
	Missing   int64              // bytes lost to gaps inside the body
	Encoding  string             // content codings that were removed, as sent ("gzip"); "" if none
	Undecoded bool               // a content coding could not be removed (unknown, broken): Data is as sent
	Chunked   bool               // came in chunks
	Chunks    int                // how many of them held data
	TinyChunk int                // length of the largest chunk when every chunk but the last was the same small size; 0 otherwise
	Conflict  bool               // framing was ambiguous: Content-Length against Transfer-Encoding or itself
	Complete  bool               // the whole body was seen
	From      capture.Provenance // of its beginning: Doubted, AfterGap if that is missing
	// Decoded is how many bytes the body has without its content coding: counted for gzip and deflate (unless
	// Options.SkipCodings) and for bodies that were wanted, otherwise the same as Len.
	Decoded int64
	// Files is what the body holds: one file, or each part of a multipart body; none if it is empty. Content coding is
	// removed from them where Zeek removes it, gzip and deflate.
	Files []*file.File

	rowLen int64 // length as Zeek counts it: see sink
	known  bool  // a further piece of a file that has its name already
}

// Follower reads a body that is longer than is kept, from its beginning.
type Follower interface {
	// Write takes the next bytes, content coding removed; they are borrowed.
	Write(b []byte)
	// Gap says that bytes are missing.
	Gap()
}

// Field is one header line.
type Field struct{ Name, Value string }

// Header is the header lines of a message in the order they were sent, bounded in number and size.
type Header []Field

// Get gives the first value of a name, without regard to case.
func (h Header) Get(name string) string {
	for i := range h {
		if len(h[i].Name) == len(name) && strings.EqualFold(h[i].Name, name) {
			return h[i].Value
		}
	}
	return ""
}

// Has says whether a name occurs.
func (h Header) Has(name string) bool {
	for i := range h {
		if len(h[i].Name) == len(name) && strings.EqualFold(h[i].Name, name) {
			return true
		}
	}
	return false
}
