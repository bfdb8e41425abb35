package http2

import (
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/chars"
)

// Call is one gRPC call: a stream of HTTP/2.
type Call struct {
	capture.At               // of the packet that completed the request's header, or with which the call was first seen
	Flow       *capture.Flow // the originator is the client
	StreamID   uint32

	GRPC        bool
	Path        string // ":path"; "" if unknown
	Service     string // "ray.rpc.InternalKVGcsService"
	Method      string // "InternalKVPut"
	Verb        string // ":method"
	Authority   string
	UserAgent   string
	ContentType string
	Metadata    []Field // of the request, what is not named above; names are lower case
	Answer      []Field // of the response's header and trailer, likewise

	RequestMessages  []Message // those that no Part told of, as far as they were kept
	ResponseMessages []Message
	RequestCount     uint64 // complete messages so far
	ResponseCount    uint64
	RequestBytes     uint64 // of DATA, without padding
	ResponseBytes    uint64

	HTTPStatus  int // 0 if unknown
	GRPCStatus  int // -1 if unknown
	GRPCMessage string
	Reset       bool // ended by RST_STREAM
	Done        bool // the answer is complete
	Answered    bool // something was answered: a header or a message

	Live    bool // in a Part: the call is not over
	Unknown int  // header fields of the request that refer to what was said before the capture began
	Mid     bool // the connection began before the capture did, or part of the request's header was lost
	Missing bool // DATA was lost
}

// Message is one gRPC message.
type Message struct {
	capture.At        // of the packet that completed it
	Len        int    // as on the wire
	Data       []byte // its beginning, inflated if it was compressed
	Cut        bool   // Data is not all of it: the bound, or bytes that were lost
	Compressed bool
	Undecoded  bool // it was compressed in a way that could not be undone: Data is as sent
}

// Part is what a call that is not over has said. Its Call has the messages since the last Part.
type Part struct{ Call Call }

// Meta gives the first value of a name in the request's metadata.
func (c *Call) Meta(name string) string {
	for i := range c.Metadata {
		if c.Metadata[i].Name == name {
			return c.Metadata[i].Value
		}
	}
	return ""
}

// Log implements capture.Record.
func (*Call) Log() string { return "grpc" }

// Row implements capture.Record.
func (c *Call) Row(f capture.Fields) {
	f.Time("ts", c.Time, c.Time != 0)
	c.Flow.ID(f)
	f.String("service", c.Service, c.Service != "")
	f.String("method", c.Method, c.Method != "")
	f.String("authority", c.Authority, c.Authority != "")
	f.String("user_agent", c.UserAgent, c.UserAgent != "")
	f.Count("grpc_status", uint64(max(c.GRPCStatus, 0)), c.GRPC && c.GRPCStatus >= 0)
	f.String("grpc_message", c.GRPCMessage, c.GRPCMessage != "")
	f.Count("request_msgs", c.RequestCount, c.GRPC)
	f.Count("request_bytes", c.RequestBytes, c.GRPC)
	f.Count("response_msgs", c.ResponseCount, c.GRPC)
	f.Count("response_bytes", c.ResponseBytes, c.GRPC)
	f.Bool("mid", c.Mid, c.GRPC)
}

const (
	maxPath      = 1 << 10 // a gRPC path has under 200 bytes
	maxName      = 128
	maxValue     = 8 << 10 // a JSON web token with claims has a few KiB
	maxMetadata  = 32
	maxShortText = 256
	maxMessageTx = 1 << 10 // grpc-message
)

// bound gives at most n bytes of s, as valid UTF-8 and in memory of its own if it is cut. Unlike chars.Bound it copies nothing
// else: a field's value is a string of its own already, and there are many.
func bound(s string, n int) string {
	if len(s) > n {
		s = strings.Clone(s[:n])
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

// request takes the fields of a request's header.
func (c *Call) request(fields []Field) {
	for _, f := range fields {
		switch f.Name {
		case ":path":
			c.Path = bound(f.Value, maxPath)
			if i := strings.LastIndexByte(c.Path, '/'); i > 0 && c.Path[0] == '/' {
				c.Service, c.Method = c.Path[1:i], c.Path[i+1:]
			}
		case ":method":
			c.Verb = bound(f.Value, 32)
		case ":authority":
			c.Authority = bound(f.Value, maxShortText)
		case "user-agent":
			c.UserAgent = bound(f.Value, maxShortText)
		case "content-type":
			c.ContentType = bound(f.Value, maxName)
		case ":scheme", "te", "grpc-accept-encoding", "accept-encoding":
		default:
			c.Metadata = list(c.Metadata, f)
		}
	}
}

// response takes the fields of a response's header or trailer.
func (c *Call) response(fields []Field) {
	for _, f := range fields {
		switch f.Name {
		case ":status":
			c.HTTPStatus = number(f.Value, 999)
		case "grpc-status":
			c.GRPCStatus = number(f.Value, 1<<16)
		case "grpc-message":
			c.GRPCMessage = bound(chars.Unpercent(bound(f.Value, 3*maxMessageTx)), maxMessageTx) // percent-encoded, as gRPC over HTTP2 says
		case "content-type", "grpc-accept-encoding":
		default:
			c.Answer = list(c.Answer, f)
		}
	}
}

// list appends a field to a bounded list.
func list(l []Field, f Field) []Field {
	if len(l) >= maxMetadata {
		return l
	}
	return append(l, Field{bound(f.Name, maxName), bound(f.Value, maxValue)})
}

// size is what the fields of c hold on to.
func (c *Call) size() int {
	n := len(c.Path) + len(c.Authority) + len(c.UserAgent) + len(c.ContentType) + len(c.GRPCMessage)
	for _, l := range [][]Field{c.Metadata, c.Answer} {
		for i := range l {
			n += len(l[i].Name) + len(l[i].Value) + entryCost
		}
	}
	return n
}

// number reads a decimal number up to limit, -1 if it is none.
func number(s string, limit int) int {
	if s == "" || len(s) > 6 {
		return -1
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	if n > limit {
		return -1
	}
	return n
}
