package http

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
)

const (
	// Codings stacked on a body. One is what clients and servers send; more than three is play.
	maxCodings = 3
	// A decoded body may be this large whatever its source was: no alarm for small bodies of zeros.
	expandFree = 1 << 20
	// The same for what somebody wants to see of the requests of one flow: Ray takes 100 MiB, and padding that is nearly
	// nothing when packed must not hide what follows it. It is some 50 ms of work, once a flow.
	expandWanted = 32 << 20
	// DEFLATE expands at most 1032 times; text expands 3 to 20 times, logs of one line up to 200.
	maxRatio = 250
	// Decoded bytes of one body that are looked at, in any case: a second of work.
	maxDecoded = 256 << 20
	// br and zstd bodies are decoded in one go; this much of them is held for it.
	maxHeldCoding = 1 << 20
	// The same of a request that somebody wants to see: what comes behind it is not seen.
	maxHeldRequest = 8 << 20
	// Units of work that a byte of theirs takes, whatever comes out: it may be one of the tables that come before data.
	heldWork = 8
	// What is left of a body that had to make room for others.
	yieldKeep = 1 << 10
	// Windows of zstd: RFC 9659 allows 8 MiB over HTTP.
	maxZstdWindow = 8 << 20
)

var (
	errExpansion = errors.New("http: content coding expands too far")
	errCoding    = errors.New("http: content coding is broken")
	errWork      = errors.New("http: content coding takes more work than its flow may ask for")
)

// stage removes one content coding and writes to the next stage.
type stage interface {
	// write takes coded bytes, borrowed.
	write(b []byte) error
	// finish says that there are no more.
	finish() error
	release(p *pools)
	// held is how many bytes it holds on to.
	held() int
}

// pools keep decoders: those of codings between bodies, ours between flows. They are shared by the flows of one Spec.
type pools struct {
	inflate, small, window, brotli, zstd, http sync.Pool
	blocks                                     *blocks
}

// plan builds the stages for a Content-Encoding. A coding that is unknown, or not worth it because nobody wants the
// body, leaves the body as it is. aiohttp takes the last of several fields and compares its value as a whole, so names of a
// request must be clean; clients are lenient with servers.
func (s *sink) plan(f *framing, resp bool) {
	s.count = f.inflate && !s.d.opt.SkipCodings
	var names [maxCodings]string
	n := 0
	if s.want > 0 {
		if resp {
			n = s.codings(&names, f.encoding, true)
		} else {
			n = s.codingOf(&names, f.lastCoding)
		}
	}
	if n == 0 {
		if !s.count {
			return
		}
		s.rowOnly = true
		t := &rowTap{s: s}
		t.from = &inflateStage{next: t, payer: s, pools: s.d.pools}
		s.stages = append(s.stages, t.from)
		return
	}
	// The last name is the coding that was applied last (RFC 9110 section 8.4): it comes off first.
	var next stage = s
	for i := range n {
		var tap *rowTap
		if s.count && i == n-1 {
			if !inflates(names[i]) {
				s.count = false // Zeek would inflate something that is not deflated
			} else {
				tap = &rowTap{s: s, next: next}
				next = tap
			}
		}
		switch c := names[i]; {
		case inflates(c):
			z := &inflateStage{next: next, payer: s, pools: s.d.pools}
			if next = z; tap != nil {
				tap.from = z
			}
		default:
			h := &heldStage{next: next, payer: s, pools: s.d.pools, room: maxHeldCoding, short: &s.short, zstd: !strings.EqualFold(c, "br")}
			if !resp {
				h.room = maxHeldRequest
			}
			next = h
		}
		s.stages = append(s.stages, next)
	}
	slices.Reverse(s.stages)
}

// codingOf gives the coding that aiohttp removes from a request: one that it knows by the whole value, or it leaves the body
// alone.
func (s *sink) codingOf(names *[maxCodings]string, value string) int {
	switch names[0] = strings.ToLower(trim(value)); names[0] {
	case "gzip", "deflate", "br", "zstd":
		return 1
	case "", "identity":
		return 0
	}
	s.d.weird("HTTP_unknown_content_coding", value)
	return 0
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

func inflates(c string) bool {
	return strings.EqualFold(c, "gzip") || strings.EqualFold(c, "x-gzip") || strings.EqualFold(c, "deflate")
}

// identity says that an encoding is none.
func identity(e string) bool { return strings.EqualFold(e, "identity") }

// heldStage collects a body and decodes it when it is complete: the decoders for br and zstd pull their input, and while
// they wait for it they would hold windows of many megabytes that a few bytes announced.
type heldStage struct {
	next  stage
	payer *sink
	pools *pools
	room  int // for what is held
	body  []byte
	short *bool // what was told of a body that is longer
	over  bool
	zstd  bool
}

func (h *heldStage) write(b []byte) error {
	n := min(len(b), h.room-len(h.body))
	h.body = append(h.body, b[:n]...)
	if n < len(b) {
		h.over, *h.short = true, true
	}
	return nil
}

func (h *heldStage) finish() error {
	if err := h.payer.spend(heldWork * len(h.body)); err != nil {
		return err
	}
	if h.zstd && h.room == maxHeldRequest && h.narrow() {
		return h.wide()
	}
	src := bytes.NewReader(h.body)
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
	some := false
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			some = true
			if err := h.payer.spend(n); err != nil {
				return err
			}
			if err := h.next.write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return h.next.finish()
		case err != nil && (h.over || some && h.zstd):
			return h.next.finish() // cut by us, or none behind the first frame: what there was of it is all there is
		case err != nil:
			return errCoding
		}
	}
}

// narrow deals with a window larger than clients may use (RFC 9659), which libzstd takes up to 128 MiB: what looks back no
// further than ours is decoded all the same. A frame that is a window as a whole (RFC 8878 section 3.1.1.1.2) has no other:
// then it says so.
func (h *heldStage) narrow() (whole bool) {
	b := h.body
	for len(b) >= 8 && b[0]&0xf0 == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18 { // a frame to skip
		n := uint64(binary.LittleEndian.Uint32(b[4:])) + 8
		if n > uint64(len(b)) {
			return false
		}
		b = b[n:]
	}
	var f zstd.Header
	switch {
	case f.Decode(b) != nil:
		return false
	case f.SingleSegment:
		return f.FrameContentSize > maxZstdWindow
	case f.WindowSize > maxZstdWindow:
		b[5] = 13 << 3 // 2^(10+13), behind the magic number and the descriptor
	}
	return false
}

// wide decodes a frame that is its own window.
func (h *heldStage) wide() error {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(expandWanted), zstd.WithDecoderMaxMemory(expandWanted))
	if err != nil {
		return errCoding
	}
	defer z.Close()
	b, err := z.DecodeAll(h.body, nil)
	if err := h.payer.spend(len(b)); err != nil {
		return err
	}
	switch {
	case len(b) > 0:
		if err := h.next.write(b); err != nil {
			return err
		}
	case err == zstd.ErrWindowSizeExceeded || err == zstd.ErrDecoderSizeExceeded:
		return errExpansion
	case err != nil:
		return errCoding
	}
	return h.next.finish()
}

func (h *heldStage) release(*pools) { h.body = nil }

func (h *heldStage) held() int { return cap(h.body) }

// spend asks the flow for work.
func (s *sink) spend(units int) error {
	if w, ok := s.d.ctx.(capture.Worker); ok && !w.Spend(units) {
		return errWork
	}
	return nil
}

// account says how much is kept of the body at hand, so that there is room for it.
func (s *sink) account() {
	if s.yielded {
		return
	}
	n := cap(s.data) + cap(s.early)
	for _, st := range s.stages {
		n += st.held()
	}
	if n == 0 && s.tenant == (capture.Tenant{}) {
		return
	}
	w, ok := s.d.ctx.(capture.Worker)
	if !ok {
		return
	}
	if r := w.Room(); r != nil {
		r.Keep(&s.tenant, s, n)
	}
}

// Yield implements capture.Keeper: others need the room. What is kept of the body is cut to what says what it is.
func (s *sink) Yield() {
	s.letGo(s.d.pools)
	s.data = append([]byte(nil), s.data[:min(len(s.data), yieldKeep)]...)
	s.early = append([]byte(nil), s.early[:min(len(s.early), yieldKeep)]...)
	if s.yielded = true; len(s.stages) > 0 {
		s.broken, s.expands = true, true
	}
	s.d.weird("HTTP_body_memory_limit", "")
}
