package raygrpc

import (
	"bytes"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http2"
)

// The package of a job (working_dir, py_modules) is a value of the GCS's key-value store under its URI, gcs://NAME.zip
// (python/ray/_private/runtime_env/packaging.py). A driver in the cluster puts it there over gRPC, one outside by Ray Client,
// and each node that runs the job gets it. It is longer than what is kept of messages, so it is followed as it comes.

const (
	packageScheme = "gcs://"
	// Packages of one call that are told of when it ends; others are told of at once. A call has one.
	maxPackages = 4
	// The least that a value of an unknown call is taken for one: an empty zip archive.
	minPackage = 22
)

// Packages gives what follows calls for packages: it is http2's Options.Follow, where copies of files are wanted. Out:
// *file.File of the source "GRPC", labelled as packages. A message that gRPC has compressed is not followed.
func Packages(files *file.Cache) func(ctx decoders.Context, c *http2.Call) http2.Follower {
	return func(ctx decoders.Context, c *http2.Call) http2.Follower {
		p := &packages{ctx: ctx, files: files, flow: c.Flow, stream: c.StreamID}
		if c.Path == "" {
			p.puts, p.gets = true, true
			return p
		}
		switch _, method, _ := route(c); method {
		case "InternalKVGcsService/InternalKVPut", "RayletDriver/KVPut":
			p.puts, p.known = true, true
		case "InternalKVGcsService/InternalKVGet":
			p.gets, p.known, p.value = true, true, 2
		case "RayletDriver/KVGet":
			p.gets, p.known, p.value = true, true, 1
		default:
			return nil
		}
		return p
	}
}

// packages follows one call.
type packages struct {
	ctx        decoders.Context
	files      *file.Cache
	flow       *capture.Flow
	stream     uint32
	puts, gets bool
	known      bool   // the method is
	value      int    // the field of the answer that the value is in
	key        []byte // of the request
	told       byte   // files so far
	side       [2]reading
	done       []*file.File
}

// reading is a message of one direction in the making.
type reading struct {
	on   bool
	left int    // of the message
	head []byte // of a field, tag and length
	id   int    // of the field at hand
	n    int    // bytes of it that are to come
	key  bool   // it is the key
	r    *file.Reader
}

// Message implements http2.Follower.
func (p *packages) Message(resp bool, n int, compressed bool) {
	x := p.reading(resp)
	p.end(x, resp)
	*x = reading{r: x.r, left: n}
	if !resp {
		p.key = p.key[:0]
	}
	x.on = !compressed && (resp && p.gets && p.isPackage() || !resp)
}

func (p *packages) reading(resp bool) *reading {
	if resp {
		return &p.side[1]
	}
	return &p.side[0]
}

func (p *packages) isPackage() bool { return bytes.HasPrefix(p.key, []byte(packageScheme)) }

// Data implements http2.Follower.
func (p *packages) Data(at capture.At, resp bool, b []byte) {
	x := p.reading(resp)
	for len(b) > 0 && x.on {
		if x.n > 0 {
			n := min(x.n, len(b))
			switch {
			case x.key:
				p.key = append(p.key, b[:min(n, maxValue-len(p.key))]...)
			case x.r != nil && x.id > 0:
				x.r.Write(at, b[:n])
			}
			b, x.left = b[n:], x.left-n
			if x.n -= n; x.n == 0 {
				p.end(x, resp)
			}
			continue
		}
		x.head = append(x.head, b[0])
		b, x.left = b[1:], x.left-1
		w := wire{b: x.head}
		tag, ok := w.varint()
		if !ok || len(w.b) == 0 && tag&7 != fixed32 && tag&7 != fixed64 {
			x.on = len(x.head) < 10
			continue
		}
		switch tag & 7 {
		case varint:
			if _, ok := w.varint(); ok {
				x.head = x.head[:0]
			}
		case fixed64:
			x.id, x.n, x.head = 0, 8, x.head[:0]
		case fixed32:
			x.id, x.n, x.head = 0, 4, x.head[:0]
		case lenDel:
			if n, ok := w.varint(); ok {
				x.head = x.head[:0]
				if n > uint64(x.left) {
					x.on = false // no message of ours
					break
				}
				p.field(x, resp, int(tag>>3), int(n))
			}
		default:
			x.on = false
		}
		if len(x.head) >= 20 {
			x.on = false
		}
	}
	x.left -= len(b)
}

// field begins a field of n bytes.
func (p *packages) field(x *reading, resp bool, id, n int) {
	x.id, x.n, x.key = 0, n, false
	switch {
	case n == 0:
	case !resp && id == 1:
		x.key, p.key = true, p.key[:0]
	case !resp && id == 2 && p.puts && (p.isPackage() || len(p.key) == 0 && p.known) && (p.known || n >= minPackage), // the key may come behind it
		resp && (id == p.value || p.value == 0 && n >= minPackage && (id == 2 || id == 1 && n > maxValue)):
		if x.r == nil {
			x.r = &file.Reader{}
		}
		x.id = id
		x.r.Open(p.files)
		x.r.Label(file.RayPackages)
		x.r.Expect(int64(n))
		if !resp {
			p.gets = false // what is answered is no value
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// end ends the field at hand.
func (p *packages) end(x *reading, resp bool) {
	id := x.id
	total := int64(x.n)
	if x.id, x.key = 0, false; id == 0 || x.r == nil {
		return
	}
	for _, f := range x.r.Close() {
		f.Total = f.Seen + f.Missing + total
		f.Flow, f.Source, f.ID = p.flow, "GRPC", file.NewID(p.flow, p.stream, byte(b2i(resp)), p.told)
		if resp {
			f.Sender = capture.Resp
		}
		p.told++
		if p.done = append(p.done, f); len(p.done) > maxPackages {
			p.tell()
		}
	}
}

// tell emits what came, if it is a package.
func (p *packages) tell() {
	for _, f := range p.done {
		if !p.isPackage() {
			f.Copy.Drop()
			continue
		}
		f.Name, f.HasName = strings.ToValidUTF8(string(p.key[len(packageScheme):]), "\ufffd"), true
		p.ctx.Emit(f)
	}
	p.done = nil
}

// Gap implements http2.Follower.
func (p *packages) Gap(at capture.At, resp bool, n int) {
	x := p.reading(resp)
	if !x.on {
		return
	}
	if n <= 0 || n > x.n {
		if x.r != nil && x.id > 0 && x.n > 0 {
			x.r.Gap(at, int64(x.n))
			x.n = 0
			p.end(x, resp)
		}
		x.on = false
		return
	}
	if x.r != nil && x.id > 0 {
		x.r.Gap(at, int64(n))
	} else if x.key {
		x.on = false
	}
	x.left -= n
	if x.n -= n; x.n == 0 {
		p.end(x, resp)
	}
}

// Close implements http2.Follower.
func (p *packages) Close() {
	p.end(&p.side[0], false)
	p.end(&p.side[1], true)
	p.tell()
}
