// Package model finds models and data sets that leave.
//
// In: *http.Transaction with the files in its bodies, told by their bytes: safetensors, GGUF, PyTorch, ONNX, HDF5,
// Parquet, pickles, NumPy, TensorFlow Lite, Arrow; by name alone where the bytes say nothing. *ray.Call for jobs from
// outside. Out: findings of egress/model. Src is the home machine that the file left, Dst where it went.
//
//	high    by its bytes, to a bare address, a file drop or a tunnel, or within an hour of a job from outside
//	medium  by its bytes, to anywhere else; or by its name, to a place as above
//	low     by its bytes, to a model hub or object store (data.Claims says when that is believed); by its name, anywhere else; served to a client outside that
//	        fetched it, by its bytes
//
// Serving models to others is what some machines are for, hence low, but high where a job from outside came before.
// Small pickles, arrays and tables are how Python programs talk to each other; they count from Config.Bytes on.
//
// In archives (file.Inside), in base64 or hexadecimal within a text, and over a connection without a protocol, as data
// connections of FTP are, they are seen as well (*bare.Transfer).
//
// It does not see: what leaves over TLS or another protocol; what stands deep in an archive; files cut into
// pieces, but for the first; what is encrypted. egress/large measures all of these.
package model

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/bare"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
	"github.com/raytap/raytap/interpreters/ray"
)

const rule = "egress/model"

// Config are the settings, the section `model` of the configuration file.
type Config struct {
	Allow []string `yaml:"allow"` // networks or addresses that models may be sent to
	Bytes uint64   `yaml:"bytes"` // from this size on pickles, arrays and tables count
}

// Default is what holds when nothing is said. A megabyte is more than arguments and results of calls have, and less
// than the smallest model that is worth stealing.
func Default() Config { return Config{Bytes: 1 << 20} }

const (
	// A model file shorter than this has a header and nothing behind it.
	minModel = 4 << 10
	// How long after a job from outside what leaves counts as its doing: packing a large model takes a while.
	jobFor = time.Hour
	// Machines whose last job from outside is remembered.
	maxJobs = 4096
)

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "model", Settings: settings(),
		Rules: []detectors.Rule{{
			Name: rule, Note: "Egress_Model", Severity: detectors.High,
			Says:   "A model or data set left a home machine for a destination outside.",
			ATLAS:  []string{"AML.T0025", "AML.T0048.004"},
			ATTACK: []string{"T1041", "T1567"},
			Needs: "HTTP in clear text with the beginning of the body, or a connection that carries only the file, such as " +
				"an FTP data connection.",
			FalsePositives: "Publishing to your own server outside (put it on the allow-list). Machines that serve open " +
				"models are rated low. Transfers over TLS or in pieces are not seen.",
			Story: detectors.Story{Group: detectors.GroupTheft,
				Does: "sent a model or data to %", Other: "exfiltration host", Techniques: []string{"AML.T0025", "AML.T0035", "T1041"},
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			d := &detector{env: env, bus: bus, known: data.NewClaims(&bus.Names, func(name string) bool { return keeps(data.SiteOf(name)) }), jobs: detectors.Table[netip.Addr, job]{Limit: maxJobs}}
			detectors.Configure(env, bus, "model", Default(), func(c Config) {
				d.cfg = c
				d.allow, _ = detectors.ParseNetworks(c.Allow)
			})
			detectors.On(bus, d.known.Lookup)
			detectors.On(bus, d.call)
			detectors.On(bus, d.transaction)
			detectors.On(bus, d.transfer)
		},
	}
}

type job struct {
	at capture.At
	by netip.Addr
}

type detector struct {
	env   *detectors.Env
	bus   *detectors.Bus
	cfg   Config
	allow *detectors.Networks
	known *data.Claims                     // of hubs and stores
	jobs  detectors.Table[netip.Addr, job] // from outside, by the machine that got it
}

// keeps says whether a site is where models are put by those who own them.
func keeps(s data.Site) bool { return s == data.Hub || s == data.Store }

func (d *detector) call(c *ray.Call) {
	if c.Flow == nil || !c.Job || c.Outcome != ray.Executed || d.env.Inside(c.Flow.Orig.Addr()) {
		return
	}
	d.jobs.Store(c.Flow.Resp.Addr(), job{c.At, c.Flow.Orig.Addr()})
}

func (d *detector) transaction(t *http.Transaction) {
	if t.Request == nil || t.Flow == nil {
		return
	}
	client, server := t.Flow.Orig.Addr(), t.Flow.Resp.Addr()
	switch in, out := d.env.Home.Contains(client), d.env.Home.Contains(server); {
	case in && !out:
		if f := embedded(&t.Request.Body); f != nil {
			f.At, f.Flow = t.Request.At, t.Flow
			d.judge(t, f, client, server, false)
		}
		for _, f := range t.Request.Body.Files {
			d.judge(t, f, client, server, false)
		}
	case !in && out && t.Response != nil && t.Response.Status/100 == 2:
		if f := embedded(&t.Response.Body); f != nil {
			f.At, f.Flow = t.Response.At, t.Flow
			d.judge(t, f, server, client, true)
		}
		for _, f := range t.Response.Body.Files {
			d.judge(t, f, server, client, true)
		}
	}
}

// embedded gives what a text holds as base64 or in hexadecimal, as the log of a job or a field of JSON does.
func embedded(b *http.Body) *file.File {
	if len(b.Data) < minModel {
		return nil
	}
	in := file.Coded(b.Data)
	if in == nil {
		return nil
	}
	return &file.File{Kind: in.Kind, Head: in.Head, Seen: b.Len * 3 / 4, Inside: in}
}

// transfer takes what left over a connection without a protocol, or a data connection of FTP.
func (d *detector) transfer(b *bare.Transfer) {
	f := b.File
	if f == nil || f.Flow == nil {
		return
	}
	src, dst := f.Flow.Src(f.Sender).Addr(), f.Flow.Dst(f.Sender).Addr()
	if d.env.Home.Contains(src) && !d.env.Home.Contains(dst) {
		d.judge(&http.Transaction{Flow: f.Flow}, f, src, dst, f.Sender == capture.Resp)
	}
}

// judge weighs that src gives dst the file f, in the body that it served or sent, and reports it if it is a model.
func (d *detector) judge(t *http.Transaction, f *file.File, src, dst netip.Addr, served bool) {
	if d.allow.Contains(dst) {
		return
	}
	host, path := "", ""
	if t.Request != nil {
		host, path = t.Request.Place()
	}
	size := f.Seen + f.Missing
	kind, named := d.worth(f, size), ""
	if kind == file.None {
		if served || f.Kind != file.None || f.MIME != "" || size < minModel {
			return // the bytes say that it is something else
		}
		if named = artefact(path, f.Name); named == "" {
			return
		}
	}
	out := &detectors.Finding{
		At: f.At, Rule: rule, Severity: d.byPlace(host, dst, served, named != ""), Confidence: 80, Outcome: detectors.Succeeded,
		Src: src, Dst: dst, Flow: t.Flow,
		Key: rule + "|" + src.String() + "|" + dst.String() + "|" + kind.String() + named,
	}
	prove := func(field, value string, packet uint64) {
		out.Evidence = append(out.Evidence, detectors.Evidence{Field: field, Value: value, Packet: packet})
	}
	if t.Request != nil {
		prove("request", t.Request.Method+" "+detectors.Clip(host+path, 300), t.Request.Packet)
	}
	what := ""
	if named != "" {
		what = "what is named a " + named + " file"
		out.Confidence = 50
	} else {
		what = describe(kind, f)
		prove("content", fmt.Sprintf("%s, begins %x", kind, f.Head[:min(len(f.Head), 16)]), f.Packet)
	}
	why := ""
	if j, ok := d.jobs.Load(src); ok && f.Time.Sub(j.at.Time) <= jobFor && named == "" {
		out.Severity = detectors.High
		why = fmt.Sprintf("; %s had sent it a job", j.by)
		prove("job", "from "+j.by.String(), j.at.Packet)
	}
	if r := t.Response; !served && r != nil && r.Status >= 400 {
		// The bytes have left all the same; whoever answers may say what he likes.
		why += fmt.Sprintf("; it was answered %d", r.Status)
	}
	if f.Hashed() {
		prove("sha256", f.SHA256, f.Packet)
	}
	to, verb := dst.String(), "served"
	if !served {
		out.Port = t.Flow.Resp.Port()
		verb = "sent"
		if host != "" && host != to {
			to = detectors.Clip(host, 120) + " (" + to + ")"
		}
	}
	if t.Request == nil {
		path = "over a connection of its own"
	}
	out.Msg = fmt.Sprintf("%s %s %s of %d bytes to %s: %s%s", src, verb, what, size, to, detectors.Clip(path, 120), why)
	d.bus.Report(out)
}

// describe is what the finding calls a file, with the archive that it is in.
func describe(kind file.Kind, f *file.File) string {
	what := "a " + kind.String() + " file"
	if in := f.Inside; in != nil && in.Kind == kind {
		what += " in " + in.Form
		if in.Name != "" {
			what += " (" + detectors.Clip(in.Name, 60) + ")"
		}
	}
	return what
}

// byPlace is how bad it is that a model goes to dst, which is called host. onlyNamed says that nothing but the name of the
// file tells that it is one.
func (d *detector) byPlace(host string, dst netip.Addr, served, onlyNamed bool) detectors.Severity {
	site := data.SiteOf(host)
	if keeps(site) && !d.known.Hold(dst) {
		site = "" // it only says so
	}
	_, err := netip.ParseAddr(host)
	shady := site.Anybodys() || err == nil || host == ""
	switch {
	case served, keeps(site):
		return detectors.Low
	case shady && !onlyNamed:
		return detectors.High
	case !shady && onlyNamed:
		return detectors.Low
	}
	return detectors.Medium
}

// worth says what kind of artefact a file is, None if it is none or too small for its kind.
func (d *detector) worth(f *file.File, size int64) file.Kind {
	kind := f.Kind
	if f.Inside != nil && f.Inside.Kind.Artefact() && !kind.Artefact() {
		kind = f.Inside.Kind
	}
	switch kind {
	case file.Safetensors, file.GGUF, file.PyTorch, file.ONNX, file.HDF5, file.TFLite:
		if size >= minModel {
			return kind
		}
	case file.Pickle, file.NumPy, file.Parquet, file.Arrow:
		if uint64(size) >= d.cfg.Bytes {
			return kind
		}
	}
	return file.None
}

// endings of names that only models and data sets have, and what they say. A .bin, .pkl or .npy is nothing special.
var endings = [...]struct{ end, kind string }{
	{".safetensors", "safetensors"}, {".gguf", "GGUF"}, {".ggml", "GGML"}, {".onnx", "ONNX"}, {".pth", "PyTorch"}, {".ckpt", "checkpoint"},
	{".tflite", "TensorFlow Lite"}, {".h5", "HDF5"}, {".hdf5", "HDF5"}, {".keras", "Keras"}, {".parquet", "Parquet"}, {".mlmodel", "Core ML"},
	{"pytorch_model.bin", "PyTorch"},
}

func artefact(path, name string) string {
	path, _, _ = strings.Cut(path, "?")
	path, name = strings.ToLower(path), strings.ToLower(name)
	for _, e := range endings {
		if strings.HasSuffix(path, e.end) || strings.HasSuffix(name, e.end) {
			return e.kind
		}
	}
	return ""
}
