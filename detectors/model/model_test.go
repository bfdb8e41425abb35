package model

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	node    = "10.20.0.11"
	store   = "10.20.0.30"
	outside = "198.51.100.77"
)

type net struct {
	bus  *detectors.Bus
	said []*detectors.Finding
	now  capture.Time
	n    uint64
}

func newNet(cfg Config) *net {
	home := detectortest.Home()
	w := &net{now: 1_700_000_000e9}
	w.bus = detectors.NewBus(func(f *detectors.Finding) { w.said = append(w.said, f) })
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"model": &cfg}}, w.bus)
	return w
}

func (w *net) at() capture.At {
	w.n++
	w.now = w.now.Add(time.Second)
	return capture.At{Time: w.now, Packet: w.n}
}

func files(at capture.At, head string, size int) []*file.File {
	if size == 0 {
		return nil
	}
	var r file.Reader
	r.Open(file.NewCache(file.Options{}))
	b := make([]byte, size)
	copy(b, head)
	r.Write(at, b)
	return r.Close()
}

// exchange sends up to host, and gets down for it.
func (w *net) exchange(src, dst, method, host, path, up string, nUp int, down string, nDown int) {
	at := w.at()
	q := &http.Request{At: at, Method: method, Target: path, Header: http.Header{{Name: "Host", Value: host}}}
	q.Body.Files = files(at, up, nUp)
	p := &http.Response{At: w.at(), Status: 200}
	p.Body.Files = files(p.At, down, nDown)
	w.bus.Publish(&http.Transaction{At: at, Flow: detectortest.Flow(src, dst, 80), Request: q, Response: p})
}

func (w *net) job(src, dst string, out ray.Outcome) {
	w.bus.Publish(&ray.Call{At: w.at(), Flow: detectortest.Flow(src, dst, 8265), Job: true, Entrypoint: "python x.py", Outcome: out})
}

const (
	safetensors = "\x40\x00\x00\x00\x00\x00\x00\x00{\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"
	pickle      = "\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c"
	gguf        = "GGUF\x03\x00\x00\x00"
	noise       = "\x9f\x01\x77\xe2\x10\xff\x03\x9a"
	png         = "\x89PNG\r\n\x1a\n"
)

func TestModels(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(w *net)
		severity string // "" for silence
		words    string
	}{
		{"safetensors to a file drop", func(w *net) {
			w.exchange(node, outside, "PUT", "transfer.sh", "/m", safetensors, 1<<20, "", 0)
		}, "high", "sent a safetensors file of 1048576 bytes to transfer.sh"},
		{"GGUF to a bare address", func(w *net) { w.exchange(node, outside, "POST", outside+":8080", "/up", gguf, 1<<20, "", 0) }, "high", "GGUF"},
		{"safetensors to a named server", func(w *net) { w.exchange(node, outside, "PUT", "files.example", "/m", safetensors, 1<<20, "", 0) }, "medium", "files.example"},
		{"to an object store", func(w *net) {
			w.exchange(node, outside, "PUT", "bucket.s3.amazonaws.com", "/m", safetensors, 1<<20, "", 0)
		}, "low", ""},
		{"to an object store after a job from outside", func(w *net) {
			w.job("203.0.113.66", node, ray.Executed)
			w.exchange(node, outside, "PUT", "bucket.s3.amazonaws.com", "/m", safetensors, 1<<20, "", 0)
		}, "high", "203.0.113.66 had sent it a job"},
		{"after a job that was refused", func(w *net) {
			w.job("203.0.113.66", node, ray.BlockedToken)
			w.exchange(node, outside, "PUT", "bucket.s3.amazonaws.com", "/m", safetensors, 1<<20, "", 0)
		}, "low", ""},
		{"after a job from inside", func(w *net) {
			w.job("10.20.0.20", node, ray.Executed)
			w.exchange(node, outside, "PUT", "huggingface.co", "/m", safetensors, 1<<20, "", 0)
		}, "low", ""},
		{"by its name to a file drop", func(w *net) {
			w.exchange(node, outside, "PUT", "transfer.sh", "/model.safetensors", noise, 1<<20, "", 0)
		}, "medium", "named a safetensors file"},
		{"by its name to a named server", func(w *net) {
			w.exchange(node, outside, "PUT", "files.example", "/llama.gguf?x=1", noise, 1<<20, "", 0)
		}, "low", "named a GGUF file"},
		{"by its name, but a picture", func(w *net) {
			w.exchange(node, outside, "PUT", "transfer.sh", "/model.safetensors", png, 1<<20, "", 0)
		}, "", ""},
		{"a large pickle", func(w *net) { w.exchange(node, outside, "POST", "files.example", "/x", pickle, 2<<20, "", 0) }, "medium", "pickle"},
		{"a call with a small pickle", func(w *net) { w.exchange(node, outside, "POST", "files.example", "/rpc", pickle, 100<<10, "", 0) }, "", ""},
		{"a header of nothing", func(w *net) { w.exchange(node, outside, "PUT", "transfer.sh", "/m", safetensors, 1000, "", 0) }, "", ""},
		{"a name and a few bytes", func(w *net) { w.exchange(node, outside, "PUT", "transfer.sh", "/m.onnx", noise, 100, "", 0) }, "", ""},
		{"inside", func(w *net) {
			w.exchange(node, store, "PUT", "store.cluster.local", "/m.safetensors", safetensors, 1<<20, "", 0)
		}, "", ""},
		{"a download", func(w *net) {
			w.exchange(node, outside, "GET", "files.example", "/m.safetensors", "", 0, safetensors, 1<<20)
		}, "", ""},
		{"an upload by somebody else", func(w *net) { w.exchange(outside, store, "PUT", "up.example", "/m", safetensors, 1<<20, "", 0) }, "", ""},
		{"served to a client outside", func(w *net) { w.exchange(outside, node, "GET", "models.example", "/m", "", 0, safetensors, 1<<20) }, "low", "served"},
		{"served after a job from outside", func(w *net) {
			w.job(outside, node, ray.Executed)
			w.exchange(outside, node, "GET", node+":9999", "/m", "", 0, gguf, 1<<20)
		}, "high", "served"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newNet(Default())
			tt.do(w)
			if tt.severity == "" {
				if len(w.said) > 0 {
					t.Fatalf("said %s", w.said[0].Msg)
				}
				return
			}
			if len(w.said) != 1 {
				t.Fatalf("%d findings", len(w.said))
			}
			f := w.said[0]
			if f.Severity.String() != tt.severity || !strings.Contains(f.Msg, tt.words) {
				t.Errorf("%s: %s", f.Severity, f.Msg)
			}
			if served := strings.Contains(f.Msg, "served"); f.Src.String() != node || f.Dst.String() != outside || served != (f.Port == 0) {
				t.Errorf("%v to %v:%d", f.Src, f.Dst, f.Port)
			}
		})
	}
}

func TestAllowed(t *testing.T) {
	cfg := Default()
	cfg.Allow = []string{"198.51.100.0/24"}
	w := newNet(cfg)
	w.exchange(node, outside, "PUT", "transfer.sh", "/m", safetensors, 1<<20, "", 0)
	if len(w.said) > 0 {
		t.Errorf("said %s", w.said[0].Msg)
	}
}

// TestClaimedHub: a hub's name in a request is worth what look-ups say of it.
func TestClaimedHub(t *testing.T) {
	const hub, own = "huggingface.co", "203.0.113.9"
	for _, tc := range []struct {
		name   string
		looked string // what the hub was looked up as; "": no look-up is seen
		want   detectors.Severity
	}{
		{"no look-ups are seen", "", detectors.Low},
		{"looked up as the one that is called", outside, detectors.Low},
		{"looked up as another", own, detectors.Medium},
	} {
		w := newNet(Default())
		if tc.looked != "" {
			w.bus.Publish(&dns.Transaction{At: w.at(), Flow: detectortest.Flow(node, "10.20.0.53", 53), Query: hub, NameID: 7, Asked: true, Answered: true,
				Answers: []dns.Answer{{Name: hub, Type: 1, Addr: netip.MustParseAddr(tc.looked)}}})
		}
		w.exchange(node, outside, "PUT", hub, "/m", safetensors, 1<<20, "", 0)
		if len(w.said) != 1 || w.said[0].Severity != tc.want {
			t.Errorf("%s: %v", tc.name, w.said)
		}
	}
}
