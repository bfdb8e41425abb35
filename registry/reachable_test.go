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

const clientHello = "\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x02\x13\x01\x01\x00"

// beginnings are what each Spec over streams takes, and a script, which several do.
var beginnings = map[string][2]string{
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
	"a script":    {"", "#!/bin/sh\nid\n"},
	"secrets":     {"\xef\xbb\xbfSHELL=/bin/bash\nHOME=/root\nPWD=/srv\nPATH=/usr/bin:/bin\nLANG=C\n"},
}

// TestEachDecoderIsReached: with the whole registry asked, each Spec over streams gets the bytes that are its own: one that
// says yes to everything would hide all that stand behind it.
func TestEachDecoderIsReached(t *testing.T) {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Decoders(home) {
		if s.Stream == nil {
			continue
		}
		b, ok := beginnings[s.Name]
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

// TestOrderHasReasons: where two probes say Yes to the same bytes, it is declared which is asked first.
func TestOrderHasReasons(t *testing.T) {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	before := map[[2]string]bool{}
	specs := Decoders(home)
	for i := range specs { // in order, so what comes before those in After is known
		for _, a := range specs[i].After {
			if a.Why == "" {
				t.Errorf("%s comes after %s for no reason", specs[i].Name, a.Name)
			}
			before[[2]string{a.Name, specs[i].Name}] = true
			for j := range specs[:i] {
				if before[[2]string{specs[j].Name, a.Name}] {
					before[[2]string{specs[j].Name, specs[i].Name}] = true
				}
			}
		}
	}
	anyway := 0
	for says, b := range beginnings {
		var yes []*decoders.Spec
		for i := range specs {
			s := &specs[i]
			if s.Stream != nil && s.Stream([]byte(b[0]), []byte(b[1]), false) >= decoders.Yes {
				yes = append(yes, s)
			}
		}
		for i, x := range yes {
			for _, y := range yes[i+1:] {
				anyway++
				if x.Preface == y.Preface && x.Any == y.Any && !before[[2]string{x.Name, y.Name}] {
					t.Errorf("%s: %s and %s both take it", says, x.Name, y.Name)
				}
			}
		}
	}
	if anyway < 5 {
		t.Errorf("only %d pairs", anyway)
	}
}
