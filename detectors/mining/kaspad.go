package mining

import (
	"encoding/binary"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/detectors"
)

// A node of Kaspa gives work over gRPC, in one call whose messages are of many kinds (kaspad's protowire/messages.proto,
// message KaspadMessage). Wallets and explorers use the same call with other messages.
const (
	kaspadPath = "/protowire.RPC/MessageStream" // of that call
	// How much of each message is looked at: its kind stands first, then the address to be paid to.
	kaspadKeep = 256

	submitBlock      = 1003
	submitResponse   = 1004
	templateRequest  = 1005
	templateResponse = 1006
)

// Keep returns how much of the messages of a call the detector needs.
func Keep(c *http2.Call) int {
	if c.Path == kaspadPath {
		return kaspadKeep
	}
	return 0
}

// kaspad looks for work and blocks in such a call.
func (d *detector) kaspad(c *http2.Call) {
	if c.Path != kaspadPath || c.Flow == nil {
		return
	}
	s := stratum.Session{At: c.At, Last: c.At, Flow: c.Flow, Dialect: stratum.Kaspa, Transport: "grpc", Client: capture.Orig,
		Agent: c.UserAgent, Outcome: stratum.Tried, Algos: []string{"kheavyhash"}, Sides: [2]bool{true, c.Answered}}
	mines := false
	note := func(m *http2.Message, field, line string) {
		if len(s.Evidence) == 0 || s.Evidence[len(s.Evidence)-1].Field != field {
			s.Evidence = append(s.Evidence, stratum.Evidence{Field: field, Line: line, Packet: m.Packet})
		}
	}
	for i := range c.RequestMessages {
		m := &c.RequestMessages[i]
		switch kind, body := kaspaMessage(m.Data); kind {
		case templateRequest:
			if mines = true; s.Login == "" && len(body) > 2 && body[0] == 1<<3|2 { // payAddress
				s.Login = detectors.Clip(string(body[2:min(len(body), 2+int(body[1]))]), 120)
				note(m, "login", "getBlockTemplateRequest "+s.Login)
			}
		case submitBlock:
			mines = true
			s.Submits++
			note(m, "share", "submitBlockRequest")
		}
	}
	for i := range c.ResponseMessages {
		m := &c.ResponseMessages[i]
		switch kind, _ := kaspaMessage(m.Data); kind {
		case templateResponse:
			s.Jobs++
			s.Outcome = stratum.Working
			mines = true
			note(m, "job", "getBlockTemplateResponse")
		case submitResponse:
			mines = true
			note(m, "answer", "submitBlockResponse")
		}
	}
	if !mines {
		return
	}
	d.session(&s, s.Last, false)
}

// kaspaMessage gives the kind of a message, which is the number of its field, and what is there of its content.
func kaspaMessage(b []byte) (kind uint64, body []byte) {
	for range 4 { // an id may stand before it
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, nil
		}
		b = b[n:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, nil
		}
		b = b[n:]
		switch tag & 7 {
		case 0:
		case 2:
			if tag>>3 >= submitBlock {
				return tag >> 3, b[:min(uint64(len(b)), v)]
			}
			if v > uint64(len(b)) {
				return 0, nil
			}
			b = b[v:]
		default:
			return 0, nil
		}
	}
	return 0, nil
}
