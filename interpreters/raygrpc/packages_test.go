package raygrpc

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http2"
)

type heap struct{ b []byte }

func (h *heap) Put(b []byte) bool { h.b = append(h.b, b...); return true }
func (h *heap) Drop()             {}

// emits is a Context that takes files.
type emits struct {
	decoders.Context
	files []*file.File
}

func (e *emits) Emit(ev any) { e.files = append(e.files, ev.(*file.File)) }

func bytesField(id int, b []byte) []byte {
	out := binary.AppendUvarint(nil, uint64(id)<<3|2)
	return append(binary.AppendUvarint(out, uint64(len(b))), b...)
}

func TestPackages(t *testing.T) {
	pkg := append([]byte("PK\x03\x04\x14\x00\x00\x00\x00\x00"), make([]byte, 200_000)...)
	r := rand.New(rand.NewPCG(3, 3))
	for i := 10; i < len(pkg); i++ {
		pkg[i] = byte(r.Uint32())
	}
	uri := []byte("gcs://_ray_pkg_0011223344556677.zip")
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	yes, ns := []byte{3 << 3, 1}, bytesField(4, []byte("default"))
	status := bytesField(1, []byte{8, 0})
	const gcs, client = "InternalKVGcsService", "RayletDriver"
	for _, x := range []struct {
		says, service, method string
		ask, answer           []byte
		want                  int // packages
		partial               bool
	}{
		{"put", gcs, "InternalKVPut", join(bytesField(1, uri), bytesField(2, pkg), yes, ns), join(status, []byte{2 << 3, 1}), 1, false},
		{"put, the key behind the value", gcs, "InternalKVPut", join(bytesField(2, pkg), bytesField(1, uri), yes), nil, 1, false},
		{"put by a client", client, "KVPut", join(bytesField(1, uri), bytesField(2, pkg), yes), nil, 1, false},
		{"got", gcs, "InternalKVGet", join(bytesField(1, uri), bytesField(2, []byte("ns"))), join(status, bytesField(2, pkg)), 1, false},
		{"got by a client", client, "KVGet", bytesField(1, uri), bytesField(1, pkg), 1, false},
		{"put in a connection that began before", "", "", join(bytesField(1, uri), bytesField(2, pkg)), status, 1, false},
		{"got in a connection that began before", "", "", bytesField(1, uri), join(status, bytesField(2, pkg)), 1, false},
		{"a value that is cut", gcs, "InternalKVPut", join(bytesField(1, uri), bytesField(2, pkg)), nil, 1, true},
		{"a function", gcs, "InternalKVPut", join(bytesField(1, []byte("fun:01:abc")), bytesField(2, pkg)), nil, 0, false},
		{"a function, the key behind the value", gcs, "InternalKVPut", join(bytesField(2, pkg), bytesField(1, []byte("fun:01"))), nil, 0, false},
		{"another key is got", gcs, "InternalKVGet", bytesField(1, []byte("session")), join(status, bytesField(2, pkg)), 0, false},
		{"nothing is there", gcs, "InternalKVGet", bytesField(1, uri), bytesField(1, []byte{8, 17}), 0, false},
		{"a list", gcs, "InternalKVKeys", bytesField(1, uri), bytesField(2, pkg), 0, false},
		{"a length that is a lie", gcs, "InternalKVPut", join(bytesField(1, uri), binary.AppendUvarint([]byte{2<<3 | 2}, 1<<60)), nil, 0, false},
	} {
		for try := range 8 {
			ctx := &emits{}
			cache := file.NewCache(file.Options{HashLimit: 64 << 20, Copies: &file.Copies{
				Classes: file.RayPackages, Max: 1 << 30, New: func() file.Spool { return &heap{} },
			}})
			call := &http2.Call{Flow: &capture.Flow{UID: "C"}, StreamID: 1}
			if x.service != "" {
				call.Service, call.Method = "ray.rpc."+x.service, x.method
				call.Path = "/" + call.Service + "/" + call.Method
			}
			p := Packages(cache)(ctx, call)
			if p == nil {
				if x.want > 0 {
					t.Errorf("%s: not followed", x.says)
				}
				break
			}
			for i, msg := range [][]byte{x.ask, x.answer} {
				if msg == nil {
					continue
				}
				p.Message(i == 1, len(msg), false)
				if x.partial {
					msg = msg[:100_000]
				}
				for len(msg) > 0 {
					n := min(len(msg), 1+r.IntN(1+len(msg)>>try))
					p.Data(capture.At{}, i == 1, bytes.Clone(msg[:n]))
					msg = msg[n:]
				}
			}
			p.Close()
			if len(ctx.files) != x.want {
				t.Fatalf("%s: %d packages, want %d", x.says, len(ctx.files), x.want)
			}
			if x.want == 0 {
				continue
			}
			f := ctx.files[0]
			got := f.Copy.Rest()
			if f.Copy.Spool() != nil {
				got = append(f.Copy.Spool().(*heap).b, got...)
			}
			if x.partial != f.Partial() || !x.partial && !bytes.Equal(got, pkg) || !bytes.HasPrefix(pkg, got) || f.Name != "_ray_pkg_0011223344556677.zip" {
				t.Errorf("%s: %d bytes, partial %v, %q", x.says, len(got), f.Partial(), f.Name)
			}
		}
	}
}

func FuzzPackages(f *testing.F) {
	f.Add([]byte("\x0a\x05gcs:/\x12\x04PK\x03\x04"), []byte("\x12\x01a"), uint8(3), uint16(0))
	f.Add(bytesField(1, []byte("gcs://a")), bytesField(2, make([]byte, 40)), uint8(0), uint16(5))
	f.Fuzz(func(t *testing.T, ask, answer []byte, step uint8, gap uint16) {
		cache := file.NewCache(file.Options{HashLimit: 1 << 20, Copies: &file.Copies{Classes: file.All, Max: 1 << 20, New: func() file.Spool { return &heap{} }}})
		p := Packages(cache)(&emits{}, &http2.Call{Flow: &capture.Flow{UID: "C"}})
		for i, msg := range [][]byte{ask, answer, ask} {
			p.Message(i == 1, len(msg)+int(gap), false)
			for j := 0; len(msg) > 0; j++ {
				if j == 2 {
					p.Gap(capture.At{}, i == 1, int(gap))
				}
				n := min(len(msg), 1+int(step))
				p.Data(capture.At{}, i == 1, msg[:n])
				msg = msg[n:]
			}
		}
		p.Close()
	})
}

// Bytes that are lost in a package are zeros in its copy, which is told to be no whole one.
func TestPackageWithAHole(t *testing.T) {
	pkg := append([]byte("PK\x03\x04"), bytes.Repeat([]byte("data"), 20_000)...)
	msg := append(bytesField(1, []byte("gcs://a.zip")), bytesField(2, pkg)...)
	for _, lost := range []int{1000, 0} {
		ctx := &emits{}
		cache := file.NewCache(file.Options{Copies: &file.Copies{Classes: file.RayPackages, Max: 1 << 30, New: func() file.Spool { return &heap{} }}})
		p := Packages(cache)(ctx, &http2.Call{Flow: &capture.Flow{UID: "C"}})
		p.Message(false, len(msg), false)
		p.Data(capture.At{}, false, msg[:50_000])
		p.Gap(capture.At{}, false, lost)
		p.Data(capture.At{}, false, msg[50_000+lost:])
		p.Close()
		head := len(msg) - len(pkg)
		want := bytes.Clone(pkg[:50_000-head])
		if lost > 0 {
			want = append(append(want, make([]byte, lost)...), pkg[50_000-head+lost:]...)
		}
		if len(ctx.files) != 1 {
			t.Fatalf("%d files", len(ctx.files))
		}
		f := ctx.files[0]
		got := f.Copy.Rest()
		if f.Copy.Spool() != nil {
			got = append(bytes.Clone(f.Copy.Spool().(*heap).b), got...)
		}
		if lost == 0 { // nobody knows how much: what follows has no place; so much of the rest as is a hole may be zeros
			got = got[:min(len(got), len(want))]
		}
		if !bytes.Equal(got, want) || !f.Partial() {
			t.Errorf("%d lost: %d bytes, partial %v", lost, len(got), f.Partial())
		}
	}
}
