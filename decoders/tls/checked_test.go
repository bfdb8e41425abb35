package tls

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
	"github.com/raytap/raytap/decoders/file"
)

// half is the context of a stream in which the packets of one side have wrong checksums.
type half struct {
	doubt  bool
	at     capture.At
	events []any
}

func (h *half) Flow() *capture.Flow     { return &capture.Flow{} }
func (h *half) At() capture.At          { return h.at }
func (h *half) Emit(ev any)             { h.events = append(h.events, ev) }
func (h *half) Weird(name, _ string)    { h.events = append(h.events, &capture.Weird{Name: name}) }
func (*half) Confirm(string)            {}
func (*half) Refute(string)             {}
func (*half) Skip()                     {}
func (*half) Nest() (n decoders.Nested) { return n }
func (h *half) Doubted() bool           { return h.doubt }
func stepsOf(what string) (steps []decodertest.Step) {
	switch what {
	case "1.2":
		return full12(goodCert().der())
	default:
		return []decodertest.Step{c(hello13), s(answer13 + ccs + data), c(ccs + data), s(data)}
	}
}

// TestCheckedSide: of a handshake of which one side's packets have wrong checksums, Zeek has what the other side said.
func TestCheckedSide(t *testing.T) {
	for _, tt := range []struct {
		name, what string
		doubted    func(step int, dir capture.Dir) bool
		want       string // history of what is checked, and what else
	}{
		{"none", "1.2", func(int, capture.Dir) bool { return false }, "CsxknGIti name curve certificate established"},
		{"the client's", "1.2", func(_ int, d capture.Dir) bool { return d == capture.Orig }, "sxknti curve certificate"},
		{"the server's", "1.2", func(_ int, d capture.Dir) bool { return d == capture.Resp }, "CGI name"},
		{"the server's from its second packet on", "1.2", func(i int, d capture.Dir) bool { return d == capture.Resp && i > 1 }, "CsxknGI name curve certificate"},
		{"the client's first", "1.2", func(i int, d capture.Dir) bool { return i == 0 }, "sxknGIti curve certificate established"},
		{"all", "1.2", func(int, capture.Dir) bool { return true }, "nothing"},
		{"the client's of 1.3", "1.3", func(_ int, d capture.Dir) bool { return d == capture.Orig }, "si curve"},
		{"the server's of 1.3", "1.3", func(_ int, d capture.Dir) bool { return d == capture.Resp }, "CI name"},
	} {
		for _, cut := range []int{1, 7, 1000, 1 << 20} {
			h := &half{}
			d := Spec(file.NewCache(file.Options{})).New(h)
			var kept [2][]byte
			done := false
			for i, st := range stepsOf(tt.what) {
				for b := st.Data; len(b) > 0 && !done; {
					n := min(cut, len(b))
					h.doubt = tt.doubted(i, st.Dir)
					h.at.Time++
					all := append(kept[st.Dir], b[:n]...)
					used, err := d.Decode(st.Dir, append([]byte(nil), all...))
					kept[st.Dir], done = all[used:], err != nil
					b = b[n:]
				}
			}
			h.doubt = false
			d.End(capture.Orig)
			d.End(capture.Resp)
			out, certs, _ := sorted(t, h.events)
			if len(out) != 1 || !out[0].Hello || !out[0].Answered || !out[0].Established {
				t.Fatalf("%s, cut at %d: not read whole: %+v", tt.name, cut, out)
			}
			got := "nothing"
			if c := out[0].Checked(); c != nil {
				got = c.History
				for _, x := range []struct {
					is   bool
					what string
				}{{c.ServerName != "", "name"}, {c.HasCurve, "curve"}, {len(c.Server) > 0, "certificate"}, {c.Established, "established"}} {
					if x.is {
						got += " " + x.what
					}
				}
			}
			if got != tt.want {
				t.Errorf("%s, cut at %d: %q, want %q", tt.name, cut, got, tt.want)
			}
			for _, x := range certs {
				if strings.Contains(tt.want, "certificate") == x.From.Has(capture.Doubted) {
					t.Errorf("%s, cut at %d: the certificate is doubted: %v", tt.name, cut, x.From)
				}
			}
		}
	}
}
