package raytap

import (
	"bytes"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/ray"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/websocket"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/egress"
	"github.com/raytap/raytap/detectors/jobsubmit"
	"github.com/raytap/raytap/detectors/mining"
	"github.com/raytap/raytap/detectors/rayapi"
)

// Decoders lists what looks for its protocol in the bytes of a flow, in the order in which they are asked: strict
// probes first.
func Decoders() []decoders.Spec {
	return []decoders.Spec{
		http.Spec(http.Options{KeepBody: keepBody}),
		stratum.Spec(),
		dns.Spec(),
		socks.Spec(),
		websocket.Spec(),
	}
}

// Interpreters lists what reads an event as something more: an HTTP transaction as a call to Ray. Each returns the
// event it made of ev, or nil.
func Interpreters() []func(ev any) any {
	return []func(any) any{
		func(ev any) any {
			if t, ok := ev.(*http.Transaction); ok {
				if c := ray.Interpret(t); c != nil {
					return c
				}
			}
			return nil
		},
		func(ev any) any {
			if t, ok := ev.(*http.Transaction); ok {
				if s := stratum.FromHTTP(t); s != nil {
					return s
				}
			}
			return nil
		},
	}
}

// jsonRPC is how much of a posted JSON-RPC call, and of its answer, says whether it is a miner's.
const jsonRPC = 8 << 10

// keepBody says how much of an HTTP body the interpreters want.
func keepBody(t *http.Transaction, resp bool) int {
	n := ray.KeepBody(t, resp)
	if r := t.Request; r != nil && r.Method == "POST" {
		if b := bytes.TrimLeft(r.Body.Data, " \t\r\n"); !resp || len(b) > 0 && (b[0] == '{' || b[0] == '[') {
			n = max(n, jsonRPC)
		}
	}
	return n
}

// Detectors lists what makes findings of events, in the order in which they see them.
func Detectors() []detectors.Spec {
	return []detectors.Spec{
		jobsubmit.Spec(),
		rayapi.Spec(),
		mining.Spec(),
		egress.Spec(),
	}
}

// Rules lists every rule of every detector, in order.
func Rules() []detectors.Rule {
	var all []detectors.Rule
	for _, d := range Detectors() {
		all = append(all, d.Rules...)
	}
	return all
}
