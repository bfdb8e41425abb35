package mining

import (
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http2"
)

func TestKaspad(t *testing.T) {
	const pay = "kaspa:qz0000"
	ask := append([]byte{0xea, 0x3e, 14, 0x0a, 12}, pay...)
	work, block := []byte{0xf2, 0x3e, 1, 0}, []byte{0xda, 0x3e, 1, 0}
	balance := []byte{0xaa, 0x43, 2, 0x0a, 0} // getBalanceByAddressRequest, 1077
	call := func(path string, q, r []byte) *http2.Call {
		return &http2.Call{At: capture.At{Packet: 3}, Flow: flow("10.20.0.10:4000", "198.51.100.77:16110"), Path: path, Answered: true,
			RequestMessages: []http2.Message{{Data: q}}, ResponseMessages: []http2.Message{{Data: r}}}
	}
	for _, x := range []struct {
		says string
		call *http2.Call
		sev  string
	}{
		{"work", call(kaspadPath, ask, work), "high"},
		{"a block", call(kaspadPath, block, nil), "medium"},
		{"a wallet", call(kaspadPath, balance, balance), ""},
		{"another service", call("/x.RPC/MessageStream", ask, work), ""},
		{"cut off", call(kaspadPath, ask[:1], nil), ""},
		{"a length that lies", call(kaspadPath, []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, nil), ""},
	} {
		b := setup(t)
		b.bus.Publish(x.call)
		b.bus.Publish(&http2.Part{Call: *x.call})
		sev := ""
		if len(b.out) > 0 {
			sev = b.out[0].Severity.String()
		}
		if sev != x.sev || len(b.out) > 1 {
			t.Errorf("%s: %q, want %q", x.says, sev, x.sev)
		}
	}
}
