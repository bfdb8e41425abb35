package http

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

const (
	// Codings stacked on a body. One is what clients and servers send; more than three is play.
	maxCodings = 3
	// A decoded body may be this large whatever its source was: no alarm for small bodies of zeros.
	expandFree = 1 << 20
	// DEFLATE expands at most 1032 times; text expands 3 to 20 times, logs of one line up to 200.
	maxRatio = 250
	// Decoded bytes of one body that are looked at, in any case: a second of work.
	maxDecoded = 256 << 20
	// br and zstd bodies are decoded in one go; this much of them is held for it.
	maxHeldCoding = 1 << 20
	// Windows of zstd: RFC 9659 allows 8 MiB over HTTP.
	maxZstdWindow = 8 << 20
)

var (
	errExpansion = errors.New("http: content coding expands too far")
	errCoding    = errors.New("http: content coding is broken")
)

// stage removes one content coding and writes to the next stage.
type stage interface {
	// write takes coded bytes, borrowed.
	write(b []byte) error
	// finish says that there are no more.
	finish() error
	release(p *pools)
}

// pools keep decoders: those of codings between bodies, ours between flows. They are shared by the flows of one Spec.
type pools struct {
	inflate, brotli, zstd, http sync.Pool
	blocks                      *blocks
}

// plan builds the stages for a Content-Encoding. A coding that is unknown, or not worth it because nobody wants the
// body, leaves the body as it is. aiohttp compares the field's value as a whole, so names of a request must be clean;
// clients are lenient with servers.
func (s *sink) plan(f *framing, resp bool) {
	s.count = f.inflate && !s.d.opt.SkipCodings
	var names [maxCodings]string
	n := 0
	if s.want > 0 {
		n = s.codings(&names, f.encoding, resp)
	}
	if n == 0 {
		if !s.count {
			return
		}
		s.rowOnly = true
		s.stages = append(s.stages, s.inflater(&rowTap{s: s}))
		return
	}
	// The last name is the coding that was applied last (RFC 9110 section 8.4): it comes off first.
	var next stage = s
	for i := range n {
		if s.count && i == n-1 {
			if !inflates(names[i]) {
				s.count = false // Zeek would inflate something that is not deflated
			} else {
				next = &rowTap{s, next}
			}
		}
		switch c := names[i]; {
		case inflates(c):
			next = s.inflater(next)
		default:
			next = &heldStage{next: next, pools: s.d.pools, zstd: !strings.EqualFold(c, "br")}
		}
		s.stages = append(s.stages, next)
	}
	slices.Reverse(s.stages)
}

// codings lists the codings of a field that can be removed, none if one of them cannot.
func (s *sink) codings(names *[maxCodings]string, encoding string, resp bool) (n int) {
	for c := range strings.SplitSeq(encoding, ",") {
		if c = trim(c); resp {
			c = firstToken(c)
		}
		if strings.EqualFold(c, "identity") || c == "" {
			continue
		}
		if n == maxCodings {
			s.d.weird("HTTP_content_codings_limit", encoding)
			return 0
		}
		if !inflates(c) && !strings.EqualFold(c, "br") && !strings.EqualFold(c, "zstd") {
			s.d.weird("HTTP_unknown_content_coding", c)
			return 0
		}
		names[n] = c
		n++
	}
	return n
}

// inflater gets one from the pool.
func (s *sink) inflater(next stage) *inflater {
	z, _ := s.d.pools.inflate.Get().(*inflater)
	if z == nil {
		z = &inflater{}
	}
	z.reset(next)
	return z
}

func inflates(c string) bool {
	return strings.EqualFold(c, "gzip") || strings.EqualFold(c, "x-gzip") || strings.EqualFold(c, "deflate")
}

// identity says that an encoding is none.
func identity(e string) bool { return strings.EqualFold(e, "identity") }

// heldStage collects a body and decodes it when it is complete: the decoders for br and zstd pull their input.
type heldStage struct {
	next  stage
	pools *pools
	held  []byte
	over  bool
	zstd  bool
}

func (h *heldStage) write(b []byte) error {
	n := min(len(b), maxHeldCoding-len(h.held))
	h.held = append(h.held, b[:n]...)
	h.over = h.over || n < len(b)
	return nil
}

func (h *heldStage) finish() error {
	src := bytes.NewReader(h.held)
	var r io.Reader
	if h.zstd {
		z, _ := h.pools.zstd.Get().(*zstd.Decoder)
		if z == nil {
			var err error
			// One goroutine, ours; no more memory than the window.
			z, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
				zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderMaxMemory(maxZstdWindow*2))
			if err != nil {
				return errCoding
			}
		}
		defer func() {
			_ = z.Reset(nil) // lets go of src
			h.pools.zstd.Put(z)
		}()
		if z.Reset(src) != nil {
			return errCoding
		}
		r = z
	} else {
		z, _ := h.pools.brotli.Get().(*brotli.Reader)
		if z == nil {
			z = brotli.NewReader(src)
		} else if z.Reset(src) != nil {
			return errCoding
		}
		defer h.pools.brotli.Put(z)
		r = z
	}
	var buf [8 << 10]byte
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if err := h.next.write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return h.next.finish()
		case err != nil && h.over:
			return h.next.finish() // cut by us: what there was of it is all there is
		case err != nil:
			return errCoding
		}
	}
}

func (h *heldStage) release(*pools) { h.held = nil }
