package shell

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/shell"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
)

const (
	in, in2, out = "10.20.0.11:53134", "10.20.0.12:4444", "198.51.100.77:4242"
	out2         = "203.0.113.66:31337"
)

func TestInteractive(t *testing.T) {
	tests := []struct {
		name       string
		orig, resp string
		commanded  capture.Dir
		allow      []string
		severity   detectors.Severity
		src        string
		msg        string // "" for silence
	}{
		{"reverse shell", in, out, capture.Orig, nil, detectors.High, "10.20.0.11",
			"10.20.0.11 called 198.51.100.77:4242 and lets itself be commanded: a plain-text reverse shell as root"},
		{"bind shell: the commanded machine is still src", out, in, capture.Resp, nil, detectors.High, "10.20.0.11",
			"10.20.0.11 is commanded by 198.51.100.77 through a plain-text shell as root on its port 53134"},
		{"between home machines", in, in2, capture.Resp, nil, detectors.High, "10.20.0.12",
			"10.20.0.12 is commanded by 10.20.0.11 through a plain-text shell as root on its port 4444"},
		{"home commands outside", in, out, capture.Resp, nil, detectors.Medium, "198.51.100.77",
			"198.51.100.77 is commanded by 10.20.0.11 through a plain-text shell as root on its port 4242"},
		{"neither at home", out2, out, capture.Orig, nil, detectors.Low, "203.0.113.66",
			"203.0.113.66 called 198.51.100.77:4242 and lets itself be commanded: a plain-text reverse shell as root"},
		{"a master that may", in, in2, capture.Orig, []string{"10.20.0.12"}, 0, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bus := detectortest.New(Spec(), &detectors.Env{Settings: map[string]any{"shell": &Config{Allow: tt.allow}}})
			s := &shell.Session{
				At: capture.At{Time: 1_700_000_000e9, Packet: 7}, Commanded: tt.commanded, User: "root",
				Flow:     &capture.Flow{Orig: netip.MustParseAddrPort(tt.orig), Resp: netip.MustParseAddrPort(tt.resp)},
				Evidence: []shell.Evidence{{Field: "command", Value: "id"}, {Field: "answer", Value: "uid=0(root) gid=0(root)"}},
			}
			bus.Publish(s)
			end := *s
			end.Ended = true
			bus.Publish(&end)
			if tt.msg == "" {
				if len(bus.Found) > 0 {
					t.Errorf("said %q", bus.Found[0].Msg)
				}
				return
			}
			if len(bus.Found) != 1 {
				t.Fatalf("said %d times", len(bus.Found))
			}
			f := bus.Found[0]
			if f.Msg != tt.msg || f.Severity != tt.severity || f.Src.String() != tt.src || len(f.Evidence) != 2 || f.Evidence[0].Packet != 7 {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestConsoleOfAContainer(t *testing.T) {
	bus := detectortest.New(Spec(), nil)
	flow := &capture.Flow{UID: "C1", Orig: netip.MustParseAddrPort(in), Resp: netip.MustParseAddrPort(in2)}
	bus.Publish(&http.Transaction{Flow: flow, Request: &http.Request{Method: "POST", Target: "/containers/x/attach?stdin=1"}, Response: &http.Response{Status: 101}})
	bus.Publish(&shell.Session{At: capture.At{Packet: 7}, Commanded: capture.Resp, Flow: flow, Evidence: []shell.Evidence{{Field: "prompt", Value: "/ #"}}})
	const want = "10.20.0.12 is commanded by 10.20.0.11 through a plain-text shell on its port 4444, behind an upgrade of HTTP"
	if len(bus.Found) != 1 || bus.Found[0].Severity != detectors.Medium || bus.Found[0].Msg != want || bus.Found[0].Evidence[1].Value != "/containers/x/attach" {
		t.Fatalf("said %+v", *bus.Found[0])
	}
}
