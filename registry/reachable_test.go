package registry

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/detectors"
)

// quietHost is a flow of TCP whose events nobody wants.
type quietHost struct{ flow capture.Flow }

func (h *quietHost) Flow() *capture.Flow { return &h.flow }
func (h *quietHost) At() capture.At      { return capture.At{Time: 1, Packet: 1} }
func (h *quietHost) Emit(any)            {}
func (h *quietHost) Service(string)      {}
func (h *quietHost) Refute(string)       {}
func (h *quietHost) Skip()               {}
func (h *quietHost) Flip() bool          { return true }

// TestEachDecoderIsReached: with the whole registry asked, each Spec over streams gets the bytes that are its own: one that
// says yes to everything would hide all that stand behind it.
func TestEachDecoderIsReached(t *testing.T) {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	clientHello := "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + string(make([]byte, 32)) + "\x00\x00\x02\x13\x01\x01\x00"
	begins := map[string][2]string{
		"proxy":       {"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
		"http":        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		"http2":       {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		"ssl":         {clientHello},
		"relay":       {"{\"Hello\":0}\x00", "{\"Hello\":41234}\x00"},
		"bare":        {"", "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"},
		"stratum":     {`{"id":1,"method":"mining.subscribe","params":["cpuminer/2.5.1"]}` + "\n"},
		"duino":       {"JOB,user,LOW,key", "4.3031a827df29e201ebb73846ceadae85b88852d9a,03e908eb9993a5386ca6b0005d06fa0f6fe51fb2,500000\n"},
		"stratum_xor": {veiled(`{"id":1,"method":"mining.subscribe","params":["cpuminer/2.5.1"]}` + "\n")},
		"dns":         {"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"},
		"socks":       {"\x05\x01\x00\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50", "\x05\x00"},
		"redis":       {"*2\r\n$4\r\nAUTH\r\n$16\r\n5241590000000000\r\n", "+OK\r\n"},
		"websocket":   {"\x81\x85\x00\x00\x00\x00hello", "\x81\x05hello"},
		"shell":       {"bash: no job control in this shell\nroot@gpu-3:/srv# "},
		"services":    {"", "220 mail.example.com ESMTP\r\n"},
		"secrets":     {"\xef\xbb\xbfSHELL=/bin/bash\nHOME=/root\nPWD=/srv\nPATH=/usr/bin:/bin\nLANG=C\n"},
	}
	for _, s := range Decoders(home) {
		if s.Stream == nil {
			continue
		}
		b, ok := begins[s.Name]
		if !ok {
			t.Errorf("%s: no beginning here", s.Name)
			continue
		}
		specs, reached := Decoders(home), false
		for i := range specs {
			if open := specs[i].New; specs[i].Name == s.Name && specs[i].Stream != nil {
				specs[i].New = func(ctx decoders.Context) decoders.Decoder { reached = true; return open(ctx) }
			}
		}
		h := &quietHost{capture.Flow{UID: "CTestTestTestTest01", Proto: capture.ProtoTCP,
			Orig: netip.MustParseAddrPort("10.0.0.1:40000"), Resp: netip.MustParseAddrPort("192.0.2.2:9000")}}
		m := decoders.NewMux(h, specs, false)
		for d, x := range b {
			m.Data(capture.Dir(d), []byte(x))
		}
		m.Finish()
		if !reached {
			t.Errorf("%s: not reached", s.Name)
		}
	}
}

// veiled combines every byte with a key.
func veiled(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] ^= 0x5a
	}
	return string(b)
}

// TestOrder: what takes bytes of any kind comes after what knows its own, and names are told apart.
func TestOrder(t *testing.T) {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	any, seen := "", map[string]bool{}
	for _, s := range Decoders(home) {
		if seen[s.Name] {
			t.Errorf("%s stands there twice", s.Name)
		}
		seen[s.Name] = true
		if s.Any {
			any = s.Name
		} else if any != "" {
			t.Errorf("%s comes after %s, which takes its bytes", s.Name, any)
		}
	}
	if any == "" {
		t.Error("nothing takes what is left")
	}
}
