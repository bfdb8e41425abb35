package test

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/net/http2/hpack"
)

// h2 is a connection of HTTP/2 that a test makes up. Side 0 is the client.
type h2 struct {
	d    *dialog
	enc  [2]*hpack.Encoder
	buf  [2]bytes.Buffer
	sid  uint32
	bulk func(side int, n int64)
}

func newH2(d *dialog) *h2 {
	h := &h2{d: d, sid: 1, bulk: d.bulk}
	for side := range h.enc {
		h.enc[side] = hpack.NewEncoder(&h.buf[side])
	}
	d.h2 = h
	return h
}

// headH2 is the header of a frame of n bytes.
func headH2(n int, kind, flags byte, sid uint32) string {
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return string(binary.BigEndian.AppendUint32(b, sid))
}

func frameH2(kind, flags byte, sid uint32, body string) string {
	return headH2(len(body), kind, flags, sid) + body
}

// head is a frame with fields: names and values in turn.
func (h *h2) head(side int, end bool, fields ...string) string {
	h.buf[side].Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := h.enc[side].WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			h.d.t.Fatal(err)
		}
	}
	flags := byte(4)
	if end {
		flags |= 1
	}
	return frameH2(1, flags, h.sid, h.buf[side].String())
}

// open says what both sides say first: that frames may be of any length.
func (h *h2) open() {
	const longest = "\x00\x05\x00\xff\xff\xff"
	h.d.say(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+frameH2(4, 0, 0, longest))
	h.d.say(1, frameH2(4, 0, 0, longest)+frameH2(4, 1, 0, ""))
	h.d.say(0, frameH2(4, 1, 0, ""))
}

// push calls as a node does that sends a piece of an object, of n bytes in frames of so many.
func (h *h2) push(n, frame int) {
	h.d.say(0, h.head(0, false, ":method", "POST", ":scheme", "http", ":path", "/ray.rpc.ObjectManagerService/Push", ":authority", "10.20.0.10:41137",
		"content-type", "application/grpc", "te", "trailers", "user-agent", "grpc-c++/1.58.0"))
	prefix := string(binary.BigEndian.AppendUint32([]byte{0}, uint32(n)))
	for left := n + len(prefix); left > 0; prefix = "" {
		k := min(left, frame)
		left -= k
		end := byte(0)
		if left == 0 {
			end = 1
		}
		h.d.say(0, headH2(k, 0, end, h.sid)+prefix)
		h.bulk(0, int64(k-len(prefix)))
		h.d.say(1, frameH2(8, 0, 0, string(binary.BigEndian.AppendUint32(nil, uint32(k)))))
	}
	h.d.say(1, h.head(1, false, ":status", "200", "content-type", "application/grpc")+frameH2(0, 0, h.sid, "\x00\x00\x00\x00\x00")+
		h.head(1, true, "grpc-status", "0"))
	h.sid += 2
}

// put sends a body that is no message.
func (h *h2) put(n int) {
	h.d.say(0, h.head(0, false, ":method", "PUT", ":scheme", "http", ":path", "/big", ":authority", "10.20.0.10:8265")+headH2(n, 0, 1, h.sid))
	h.bulk(0, int64(n))
	h.d.say(1, h.head(1, true, ":status", "200"))
	h.sid += 2
}

// job submits one, and has it accepted.
func (h *h2) job() {
	h.d.say(0, h.head(0, false, ":method", "POST", ":scheme", "http", ":path", "/api/jobs/", ":authority", "10.20.0.10:8265", "content-type", "application/json")+
		frameH2(0, 1, h.sid, jobBody))
	h.d.say(1, h.head(1, false, ":status", "200", "content-type", "application/json")+frameH2(0, 1, h.sid, jobID))
	h.sid += 2
}
