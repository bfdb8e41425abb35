package relay

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders/decodertest"
)

func TestRelays(t *testing.T) {
	zeros := strings.Repeat("\x00", 28)
	token := strings.Repeat("\x8f\xc7\x0e\x6a", 24)
	frp := `{"version":"0.58.1","os":"linux","arch":"amd64","privilege_key":"d41d8cd98f00b204e9800998ecf8427e","timestamp":1,"pool_count":1}`
	login := "o\x00\x00\x00\x00\x00\x00\x00" + string([]byte{byte(len(frp))}) + frp
	for _, x := range []struct {
		says    string
		steps   []decodertest.Step
		program string
	}{
		{"bore asks for a port", []decodertest.Step{decodertest.C("{\"Hello\":0}\x00"), decodertest.S("{\"Hello\":41234}\x00")}, "bore"},
		{"bore takes a connection", []decodertest.Step{decodertest.C("{\"Accept\":\"1f0c6d2e-3a5b-4c7d-8e9f-0a1b2c3d4e5f\"}\x00")}, "bore"},
		{"gsocket, as its client sends it", []decodertest.Step{decodertest.C("\x01\x01\x03\x08" + zeros + token)}, "gsocket"},
		{"gsocket with other bytes, and its server", []decodertest.Step{decodertest.C("\x01\x01\x01\x02" + token + token[:28]), decodertest.S("\x02\x00\x00\x00" + zeros)}, "gsocket"},
		{"frp before TLS", []decodertest.Step{decodertest.C("\x17"), decodertest.C("\x16\x03\x01\x02\x00\x01\x00")}, "frp"},
		{"a login of frp", []decodertest.Step{decodertest.C(login)}, "frp"},
		{"a login in yamux", []decodertest.Step{decodertest.C("\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x90" + login)}, "frp"},

		{"JSON lines", []decodertest.Step{decodertest.C("{\"Hello\":0}\n")}, ""},
		{"TLS application data", []decodertest.Step{decodertest.C("\x17\x03\x03\x00\x20" + token)}, ""},
		{"a length of 1 first, then noise", []decodertest.Step{decodertest.C("\x01\x01\x01\x02" + token + token[:28]), decodertest.S("\x02\x01\x02\x03" + token)}, ""},
		{"yamux without frp", []decodertest.Step{decodertest.C("\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00" + "hello")}, ""},
	} {
		got := decodertest.Run(t, Spec(), x.steps...)
		switch {
		case x.program == "" && len(got) == 0:
		case len(got) != 1 || got[0].(*Session).Program != x.program:
			t.Errorf("%s: %+v", x.says, got)
		}
		decodertest.CutAndPoison(t, Spec(), x.steps...)
	}
}

func TestDatagrams(t *testing.T) {
	for _, x := range []struct {
		b       string
		program string
	}{
		{"\x01\x00\x00\x00" + strings.Repeat("x", 144), "WireGuard"},
		{"TS\xf0\x9f\x92\xac" + strings.Repeat("x", 60), "Tailscale"},
		{"\x38" + strings.Repeat("\x11", 8) + "\x00\x00\x00\x00\x00", "OpenVPN"},
		{"\x01\x00\x00\x00" + strings.Repeat("x", 140), ""},
		{"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", ""},
	} {
		got := decodertest.RunDatagrams(t, Spec(), decodertest.C(x.b))
		switch {
		case x.program == "" && len(got) == 0:
		case len(got) != 1 || got[0].(*Session).Program != x.program:
			t.Errorf("%q: %+v", x.b, got)
		}
	}
}

func FuzzProbe(f *testing.F) {
	f.Add([]byte("{\"Hello\":0}\x00"), []byte(""))
	f.Add([]byte("\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00o\x00\x00"), []byte("\x02"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		probe(a, b, false)
		decodertest.Run(t, Spec(), decodertest.C(string(a)), decodertest.S(string(b)))
	})
}
