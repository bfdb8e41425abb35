package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// readAll gives copies of all frames and the error at the end, nil for io.EOF. It poisons the buffer of each batch
// before the next: a frame must not need it any more, and no frame may be made of what was there before.
func readAll(t testing.TB, src Source) (frames []Frame, err error) {
	t.Helper()
	var b Batch
	for {
		err := src.ReadBatch(&b)
		for _, f := range b.Frames {
			f.Data = bytes.Clone(f.Data)
			frames = append(frames, f)
			if f.Ordinal != uint64(len(frames)) {
				t.Fatalf("frame %d has ordinal %d", len(frames), f.Ordinal)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if len(b.Frames) > 0 {
				t.Fatal("io.EOF together with frames")
			}
			err = nil
		case err == nil:
			if len(b.Frames) == 0 {
				t.Fatal("an empty batch")
			}
			buf := b.Buf[:cap(b.Buf)]
			for i := range buf {
				buf[i] = 0xee
			}
			continue
		}
		n := len(b.Frames)
		if again := src.ReadBatch(&b); err != nil && again != err || err == nil && again != io.EOF || len(b.Frames) > 0 && n > 0 {
			t.Fatalf("after %v comes %v", err, again)
		}
		return frames, err
	}
}

func readBytes(t testing.TB, b []byte) ([]Frame, error) {
	t.Helper()
	src, err := NewFile("x.pcap", bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	defer src.Close()
	return readAll(t, src)
}

func sameFrames(t testing.TB, got, want []Frame) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		if g.Time != w.Time || g.WireLen != w.WireLen || g.Link != w.Link || g.Ordinal != uint64(i+1) || !bytes.Equal(g.Data, w.Data) {
			t.Fatalf("frame %d: %+v, want %+v", i+1, g, w)
		}
	}
}

// someFrames are n frames of different lengths, some of them cut by a snap length.
func someFrames(n int) []Frame {
	var fs []Frame
	for i := range n {
		data := bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 20+i*37%700)
		fs = append(fs, Frame{Time: Time(1_700_000_000_000_000_000 + i*1000), Data: data, WireLen: len(data) + i%3*100, Link: 1})
	}
	return fs
}

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func zst(b []byte) []byte {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(b, nil)
}

func TestPcapVariants(t *testing.T) {
	patch := hx("02000000 0008 00 00") // device 2, IPv4, to us
	patchBig := hx("00000002 0800 00 00")
	for _, c := range []struct {
		name string
		w    pcapWriter
	}{
		{"microseconds", pcapWriter{magic: 0xa1b2c3d4}},
		{"nanoseconds", pcapWriter{magic: 0xa1b23c4d}},
		{"Ixia, nanoseconds", pcapWriter{magic: 0x1c0001ac, more: hx("00000000")}},
		{"Ixia, microseconds", pcapWriter{magic: 0x1c0001ab, more: hx("00000000")}},
		{"Kuznetsov", pcapWriter{magic: 0xa1b2cd34, extra: patch}},
		{"Kuznetsov with the standard magic (Red Hat 6.1)", pcapWriter{magic: 0xa1b2c3d4, extra: patch}},
		{"Kuznetsov with more (SuSE 6.3)", pcapWriter{magic: 0xa1b2cd34, extra: join(patch, hx("00000000"))}},
		{"Nokia", pcapWriter{magic: 0xa1b2c3d4, extra: hx("0296bf9f")}},
		{"version 2.3", pcapWriter{magic: 0xa1b2c3d4, major: 2, minor: 3}},
		{"version 2.3 with the lengths of 2.2", pcapWriter{magic: 0xa1b2c3d4, major: 2, minor: 3, swapped: true}},
		{"version 2.1", pcapWriter{magic: 0xa1b2c3d4, major: 2, minor: 1, swapped: true}},
		{"DG/UX", pcapWriter{magic: 0xa1b2c3d4, major: 543, minor: 0, swapped: true}},
		{"frame check sequence in the link type", pcapWriter{magic: 0xa1b2c3d4, link: 0x24000001}},
		{"frames longer than the snap length", pcapWriter{magic: 0xa1b2c3d4, snaplen: 1}},
	} {
		for _, big := range []bool{false, true} {
			w := c.w
			w.big = big
			w.link |= 1
			w.frames = someFrames(20)
			switch {
			case big && bytes.HasPrefix(w.extra, patch):
				w.extra = join(patchBig, w.extra[len(patch):])
			case big && w.extra != nil:
				w.extra = hx("9fbf9602")
			}
			got, err := readBytes(t, w.bytes())
			if err != nil {
				t.Errorf("%s, big-endian %v: %v", c.name, big, err)
				continue
			}
			t.Run(fmt.Sprint(c.name, big), func(t *testing.T) { sameFrames(t, got, w.frames) })
		}
	}
}

// TestPcapOfAIX: link types of its own, nanoseconds, and three bytes before FDDI frames.
func TestPcapOfAIX(t *testing.T) {
	for in, out := range map[uint32]uint16{6: 1, 9: 6, 15: 10, 24: 0} {
		w := pcapWriter{magic: 0xa1b2c3d4, big: true, major: 2, minor: 2, swapped: true, link: in, frames: someFrames(3)}
		got, err := readBytes(t, w.bytes())
		if err != nil {
			t.Fatal(err)
		}
		for i := range w.frames {
			w.frames[i].Link = out
			if in == 15 {
				w.frames[i].Data = w.frames[i].Data[3:]
				w.frames[i].WireLen -= 3
			}
		}
		sameFrames(t, got, w.frames)
	}
}

func TestPcapTimesThatMakeNoSense(t *testing.T) {
	b := (&pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(1)}).bytes()
	copy(b[24:], hx("ffffffff ffffffff"))
	got, err := readBytes(t, b)
	if err != nil || got[0].Time != math.MaxUint32*1e9+math.MaxUint32*1000 {
		t.Errorf("%v %v", got, err)
	}
}

// ngSample is a file with all that pcapng has, and the frames in it.
func ngSample() ([]byte, []Frame) {
	var out []byte
	var want []Frame
	a, b := []byte("first frame"), []byte("another one")
	for _, big := range []bool{false, true, false} {
		w := &ngWriter{big: big}
		w.section()
		w.iface(1, 0, 6, 0)                                                              // µs
		w.block(5, make([]byte, 12))                                                     // statistics
		w.enhanced(0, 1_700_000_000_000_001, 100, a)                                     //
		w.iface(113, 65535, 9, 0)                                                        // ns
		w.block(4, w.u16(1), w.u16(8), make([]byte, 8))                                  // names
		w.enhanced(1, 1_700_000_000_000_000_002, len(b), b)                              //
		w.block(0x0bad, w.u32(1), []byte("x"))                                           // custom
		w.iface(101, 4, 0x8a, 3600)                                                      // 2^-10 s, an hour later
		w.enhanced(2, 1_700_000_000<<10+512, 5, a[:5], w.option(1, []byte("a comment"))) //
		w.block(10, w.u32(0x544c534b), w.u32(3), []byte("key"))                          // secrets
		w.obsolete(1, 1_700_000_000_000_000_003, 11, a)                                  //
		w.block(0x40000bad, make([]byte, 40))                                            // custom, not to be copied
		w.simple(11, a)                                                                  // interface 0
		w.block(0x7fffffff, bytes.Repeat([]byte("?"), 4000))                             // nobody knows
		w.enhanced(0, 0, 0, nil)                                                         // empty
		out = append(out, w.b...)
		want = append(want,
			Frame{Time: 1_700_000_000_000_001_000, Data: a, WireLen: 100, Link: 1},
			Frame{Time: 1_700_000_000_000_000_002, Data: b, WireLen: len(b), Link: 113},
			Frame{Time: 1_700_003_600_500_000_000, Data: a[:5], WireLen: 5, Link: 101},
			Frame{Time: 1_700_000_000_000_000_003, Data: a, WireLen: 11, Link: 113},
			Frame{Time: 1_700_000_000_000_000_003, Data: a, WireLen: 11, Link: 1},
			Frame{Link: 1},
		)
	}
	return out, want
}

func TestPcapngSectionsInterfacesAndBlocks(t *testing.T) {
	b, want := ngSample()
	got, err := readBytes(t, b)
	if err != nil {
		t.Fatal(err)
	}
	sameFrames(t, got, want)
}

func TestPcapngSimplePacketIsCutAtTheSnapLength(t *testing.T) {
	w := &ngWriter{}
	w.section().iface(1, 6, 6, 0).simple(100, []byte("123456"))
	got, err := readBytes(t, w.b)
	if err != nil || len(got) != 1 || string(got[0].Data) != "123456" || got[0].WireLen != 100 {
		t.Errorf("%+v %v", got, err)
	}
}

func TestPcapngTimes(t *testing.T) {
	for _, c := range []struct {
		resol  byte
		offset int64
		ts     uint64
		want   Time
	}{
		{6, 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000},
		{9, 0, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789},
		{3, 0, 1_700_000_000_123, 1_700_000_000_123_000_000},
		{0, 0, 1_700_000_000, 1_700_000_000_000_000_000},
		{12, 0, 1_700_000_000_123_456_789, 1_700_000_000_123_456},
		{19, 0, 12_345_678_901_234_567_890, 1_234_567_890},
		{20, 0, 18_000_000_000_000_000_000, 180_000_000},
		{127, 0, math.MaxUint64, 0},
		{0x80, 0, 1_700_000_000, 1_700_000_000_000_000_000},
		{0x80 + 32, 0, 1_700_000_000<<32 | 1<<31, 1_700_000_000_500_000_000},
		{0x80 + 63, 0, 1<<63 | 1<<62, 1_500_000_000},
		{0x80 + 64, 0, 1 << 63, 500_000_000},
		{0x80 + 127, 0, math.MaxUint64, 0},
		{6, -3600, 1_700_000_000_000_000, 1_699_996_400_000_000_000},
		{6, math.MinInt64, 0, math.MinInt64},
		{6, math.MaxInt64, 0, math.MaxInt64},
		{6, math.MaxInt64, math.MaxUint64, math.MaxInt64},
		{6, 0, math.MaxUint64, math.MaxInt64},
		{9, 0, math.MaxUint64, math.MaxInt64},
		{0, 0, math.MaxUint64, math.MaxInt64},
		{0x80, 0, math.MaxUint64, math.MaxInt64},
	} {
		i := ngInterface{resol: c.resol, offset: c.offset}
		if got := i.time(c.ts); got != c.want {
			t.Errorf("resolution %#x, offset %d, %d: %d, want %d", c.resol, c.offset, c.ts, got, c.want)
		}
	}
}

// TestCutAnywhere: a file that is cut gives its complete frames and an error that says so, except where a record ends.
func TestCutAnywhere(t *testing.T) {
	if testing.Short() {
		t.Skip("short: much work for one goroutine")
	}
	ng, ngFrames := ngSample()
	usec := pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(4)}
	patched := pcapWriter{magic: 0xa1b2cd34, big: true, link: 1, extra: hx("00000002 0800 00 00"), frames: someFrames(3)}
	for _, c := range []struct {
		name   string
		file   []byte
		frames []Frame
	}{{"pcap", usec.bytes(), usec.frames}, {"patched pcap", patched.bytes(), patched.frames}, {"pcapng", ng, ngFrames}} {
		for _, pack := range []struct {
			name string
			f    func([]byte) []byte
		}{{"plain", func(b []byte) []byte { return b }}, {"gzip", gz}, {"zstd", zst}} {
			packed := pack.f(c.file)
			clean, step := 0, 1
			if pack.name != "plain" {
				step = 7 // decompressors take their time to start
			}
			for n := 0; n < len(packed); n += step {
				got, err := readBytes(t, packed[:n])
				var e *InputError
				switch {
				case err == nil && pack.name != "plain":
					t.Fatalf("%s, %s, %d bytes: no error", c.name, pack.name, n)
				case err == nil:
					clean++
				case !errors.As(err, &e) || !e.Cut:
					t.Fatalf("%s, %s, %d bytes: %v", c.name, pack.name, n, err)
				case e.Offset > int64(len(c.file)) || pack.name == "plain" && e.Offset > int64(n):
					t.Fatalf("%s, %s, %d bytes: offset %d", c.name, pack.name, n, e.Offset)
				}
				sameFrames(t, got, c.frames[:len(got)])
			}
			got, err := readBytes(t, packed)
			if err != nil {
				t.Fatal(err)
			}
			sameFrames(t, got, c.frames)
			if pack.name == "plain" && c.name != "pcapng" && clean != len(c.frames) {
				t.Errorf("%s: %d places where it may end, want %d", c.name, clean, len(c.frames))
			}
		}
	}
}

func TestDamageSaysWhereAndWhy(t *testing.T) {
	w := pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(3)}
	good := w.bytes()
	third := int64(len(good) - 16 - len(w.frames[2].Data))
	ng := func(f func(w *ngWriter)) []byte {
		w := &ngWriter{}
		w.section().iface(1, 0, 6, 0).enhanced(0, 1, 4, []byte("abcd"))
		f(w)
		return w.b
	}
	base := int64(len(ng(func(*ngWriter) {})))
	packed := gz(good)
	for _, c := range []struct {
		name   string
		file   []byte
		frames int
		offset int64
		reason string
	}{
		{"length of 12 MiB", patched(good, int(third)+8, hx("0000c000")...), 2, third, "a record of 12 MiB"},
		{"length of 4 GiB", patched(good, int(third)+8, hx("ffffffff")...), 2, third, "a record of 4095 MiB"},
		{"length one too many", patched(good, int(third)+8, hx("01000400")...), 2, third, "a record of 256 KiB"},
		{"version", patched(good, 4, 9), 0, 4, "version 9.4"},
		{"snoop", []byte("snoop\x00\x00\x00\x00\x00\x00\x02"), 0, 0, "snoop"},
		{"zip", []byte("PK\x03\x04......"), 0, 0, "zip"},
		{"log file", []byte("#separator \\x09"), 0, 0, "text"},
		{"noise", hx("deadbeef00"), 0, 0, "de ad be ef"},
		{"block length 0", ng(func(w *ngWriter) { w.b = append(w.b, make([]byte, 12)...) }), 1, base, "length 0"},
		{"block length not of 4", ng(func(w *ngWriter) { w.b = join(w.b, hx("06000000 21000000"), make([]byte, 60)) }), 1, base, "length 33"},
		{"lengths that differ", ng(func(w *ngWriter) { w.enhanced(0, 1, 4, []byte("abcd")); w.b[len(w.b)-4]++ }), 1, base, "36 at its beginning and 37"},
		{"lengths that differ in a long block", ng(func(w *ngWriter) { w.block(77, make([]byte, 2<<20)); w.b[len(w.b)-4]++ }), 1, base, "at its end"},
		{"frame longer than its block", ng(func(w *ngWriter) {
			w.block(ngEnhanced, w.u32(0), w.u64(0), w.u32(9), w.u32(9), []byte("12345678"))
		}), 1, base, "room for 8 bytes"},
		{"frame longer than any", ng(func(w *ngWriter) {
			w.block(ngEnhanced, w.u32(0), w.u64(0), w.u32(300<<10), w.u32(0), make([]byte, 300<<10))
		}), 1, base, "a frame of 300 KiB"},
		{"packet block without content", ng(func(w *ngWriter) { w.block(ngEnhanced, w.u32(0)) }), 1, base, "with 4 bytes"},
		{"unknown interface", ng(func(w *ngWriter) { w.enhanced(1, 1, 4, []byte("abcd")) }), 1, base, "interface 1 of 1"},
		{"no interface in a new section", ng(func(w *ngWriter) { w.section().simple(4, []byte("abcd")) }), 1, base + 28, "interface 0 of 0"},
		{"section without byte order", ng(func(w *ngWriter) { w.block(ngSection, make([]byte, 16)) }), 1, base, "byte order"},
		{"section too short", ng(func(w *ngWriter) { w.block(ngSection, w.u32(0x1a2b3c4d)) }), 1, base, "section header of 16"},
		{"version of pcapng", ng(func(w *ngWriter) { w.block(ngSection, w.u32(0x1a2b3c4d), w.u16(2), w.u16(0), w.u64(-1)) }), 1, base, "version 2.0"},
		{"interface too short", ng(func(w *ngWriter) { w.block(ngDescription, w.u32(1)) }), 1, base, "interface description of 4"},
		{"interface too long", ng(func(w *ngWriter) { w.block(ngDescription, w.u64(1), make([]byte, 1<<20)) }), 1, base, "interface description of 1 MiB"},
		{"option longer than its block", ng(func(w *ngWriter) { w.block(ngDescription, w.u64(1), w.u16(2), w.u16(9), w.u32(0)) }), 1, base, "option"},
		{"too many interfaces", ng(func(w *ngWriter) {
			w.b = append(w.b, bytes.Repeat((&ngWriter{}).block(ngDescription, w.u64(1)).b, maxInterfaces)...)
		}), 1, base + 20*(maxInterfaces-1), "more than 65536"},
		{"gzip checksum", patched(packed, len(packed)-8, packed[len(packed)-8]^1), 3, int64(len(good)), "damaged: gzip"},
		{"gzip header", hx("1f8b 09 00 00000000 00 00"), 0, 0, "gzip data is damaged"},
		{"behind gzip", join(packed, []byte("this is no gzip")), 3, int64(len(good)), "damaged: gzip"},
		{"zstd checksum", func() []byte { z := zst(good); z[len(z)-1] ^= 1; return z }(), -1, -1, "compressed data is damaged"},
		{"three times compressed", gz(zst(gz(good))), 0, 0, "compressed more than"},
	} {
		got, err := readBytes(t, c.file)
		var e *InputError
		if !errors.As(err, &e) || e.Cut || e.File != "x.pcap" {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.frames >= 0 && len(got) != c.frames || c.offset >= 0 && e.Offset != c.offset || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %d frames, %v", c.name, len(got), err)
		}
		if want := fmt.Sprintf("capture: x.pcap: offset %d: ", e.Offset); !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v does not begin with %s", c.name, err, want)
		}
	}
}

func TestEmptyFilesAreCut(t *testing.T) {
	for name, b := range map[string][]byte{"nothing": nil, "nothing in gzip": gz(nil), "nothing in zstd": zst(nil)} {
		_, err := readBytes(t, b)
		var e *InputError
		if !errors.As(err, &e) || !e.Cut || !strings.Contains(e.Reason, "empty") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{"plain": hx("d4c3b2"), "in gzip": gz(hx("d4c3b2"))} {
		if _, err := readBytes(t, b); err == nil || !strings.Contains(err.Error(), "only 3 bytes of the header") {
			t.Errorf("three bytes, %s: %v", name, err)
		}
	}
	frames, err := readBytes(t, (&pcapWriter{magic: 0xa1b2c3d4, link: 1}).bytes())
	if err != nil || len(frames) > 0 {
		t.Errorf("a capture without frames: %v", err)
	}
}

func TestCompressed(t *testing.T) {
	w := pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(3000)}
	b := w.bytes()
	half := len(b) / 2
	for name, packed := range map[string][]byte{
		"gzip":                    gz(b),
		"gzip of two members":     join(gz(b[:half]), gz(b[half:])),
		"gzip of a member each":   join(gz(b[:1]), gz(nil), gz(b[1:])),
		"zstd":                    zst(b),
		"zstd of two frames":      join(zst(b[:half]), zst(b[half:])),
		"zstd behind a skippable": join(hx("502a4d18 04000000 01020304"), zst(b)),
		"zstd in gzip":            gz(zst(b)),
		"gzip in gzip":            gz(gz(b)),
	} {
		got, err := readBytes(t, packed)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Run(name, func(t *testing.T) { sameFrames(t, got, w.frames) })
	}
}

// TestReadersOfAnyKind: however few bytes a reader gives at a time, and whatever the size of the caller's buffer.
func TestReadersOfAnyKind(t *testing.T) {
	ng, ngFrames := ngSample()
	long := someFrames(5)
	long[2].Data = bytes.Repeat([]byte("x"), maxFrame)
	long[2].WireLen = maxFrame
	many := someFrames(4000)
	w1, w2 := pcapWriter{magic: 0xa1b23c4d, link: 1, frames: long}, pcapWriter{magic: 0xa1b23c4d, link: 1, frames: many}
	for _, c := range []struct {
		name   string
		file   []byte
		frames []Frame
	}{{"pcapng", ng, ngFrames}, {"longest frame", w1.bytes(), long}, {"many blocks", w2.bytes(), many}} {
		for _, r := range []struct {
			name string
			wrap func(io.Reader) io.Reader
		}{
			{"whole", func(r io.Reader) io.Reader { return r }},
			{"bytes", iotest.OneByteReader},
			{"halves", iotest.HalfReader},
			{"io.EOF with data", iotest.DataErrReader},
		} {
			for _, size := range []int{0, minReadBlock} {
				if r.name == "bytes" && len(c.file) > 1<<20 {
					continue
				}
				src, err := NewFile("x", r.wrap(bytes.NewReader(c.file)))
				if err != nil {
					t.Fatal(err)
				}
				var got []Frame
				b := Batch{Buf: make([]byte, size)}
				for {
					err := src.ReadBatch(&b)
					for _, f := range b.Frames {
						f.Data = bytes.Clone(f.Data)
						got = append(got, f)
					}
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatalf("%s, %s: %v", c.name, r.name, err)
					}
				}
				sameFrames(t, got, c.frames)
			}
		}
	}
}

func TestReaderThatFails(t *testing.T) {
	w := pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(3)}
	broken := errors.New("broken disk")
	b := w.bytes()
	src, err := NewFile("x", io.MultiReader(bytes.NewReader(b[:len(b)-1]), iotest.ErrReader(broken)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, src)
	var e *InputError
	if !errors.Is(err, broken) || !errors.As(err, &e) || e.Cut || e.Offset != int64(len(b)-1) {
		t.Errorf("%v", err)
	}
	sameFrames(t, got, w.frames[:2])
	if _, err := NewFile("x", iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("at once: %v", err)
	}
	src, err = NewFile("x", io.MultiReader(bytes.NewReader(b), idle{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = readAll(t, src); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestPipeIsFollowed: what a running capture has written is handed out before it writes more.
func TestPipeIsFollowed(t *testing.T) {
	w := pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(2)}
	b := w.bytes()
	second := len(b) - 16 - len(w.frames[1].Data)
	r, wr := io.Pipe()
	go func() {
		wr.Write(b[:second+5])
	}()
	src, err := NewFile("pipe", r)
	if err != nil {
		t.Fatal(err)
	}
	var batch Batch
	for range 2 { // the first may be for the header alone
		if err := src.ReadBatch(&batch); err != nil {
			t.Fatal(err)
		}
		if len(batch.Frames) == 1 {
			break
		}
	}
	if len(batch.Frames) != 1 || !bytes.Equal(batch.Frames[0].Data, w.frames[0].Data) {
		t.Fatalf("%d frames", len(batch.Frames))
	}
	go func() {
		wr.Write(b[second+5:])
		wr.Close()
	}()
	if err := src.ReadBatch(&batch); err != nil || len(batch.Frames) != 1 || batch.Frames[0].Ordinal != 2 {
		t.Fatalf("%v %+v", err, batch.Frames)
	}
	if err := src.ReadBatch(&batch); err != io.EOF {
		t.Fatal(err)
	}
}

// TestLongBlocksAreNotHeld: a block of half a gigabyte that nobody wants takes no memory.
func TestLongBlocksAreNotHeld(t *testing.T) {
	const long = 512 << 20
	w := &ngWriter{}
	w.section().iface(1, 0, 6, 0)
	head := join(w.b, w.u32(77), w.u32(long+12))
	tail := (&ngWriter{b: w.u32(long + 12)}).enhanced(0, 5, 4, []byte("abcd")).b
	src, err := NewFile("x", io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, long), bytes.NewReader(tail)))
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	if err := src.ReadBatch(&b); err != nil || len(b.Frames) != 1 || string(b.Frames[0].Data) != "abcd" {
		t.Fatalf("%v %+v", err, b.Frames)
	}
	if cap(b.Buf) > mostBlock || cap(src.(*file).tail) > mostBlock {
		t.Errorf("buffer of %d bytes, tail of %d", cap(b.Buf), cap(src.(*file).tail))
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// TestFramesOfUSB: their link types have frames of megabytes. What fits is handed out, the rest is passed over.
func TestFramesOfUSB(t *testing.T) {
	const n = 3 << 20
	big := Frame{Time: 1e9, Data: bytes.Repeat([]byte("u"), n), WireLen: n, Link: 220}
	small := Frame{Time: 2e9, Data: []byte("small"), WireLen: 5, Link: 220}
	want := []Frame{big, small}
	want[0].Data = big.Data[:maxFrame]
	got, err := readBytes(t, (&pcapWriter{magic: 0xa1b2c3d4, link: 220, frames: []Frame{big, small}}).bytes())
	if err != nil {
		t.Fatal(err)
	}
	sameFrames(t, got, want)
	w := (&ngWriter{}).section().iface(220, 0, 9, 0).enhanced(0, 1e9, n, big.Data).enhanced(0, 2e9, 5, small.Data)
	if got, err = readBytes(t, w.b); err != nil {
		t.Fatal(err)
	}
	sameFrames(t, got, want)
}

func TestOpenFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenFile(filepath.Join(dir, "none.pcap")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := OpenFile(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Error(err)
	}
	name := filepath.Join(dir, "x.pcap.gz")
	w := pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(3)}
	if err := os.WriteFile(name, w.bytes(), 0o600); err != nil { // its name says gzip, its bytes do not
		t.Fatal(err)
	}
	src, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, src)
	if err != nil {
		t.Fatal(err)
	}
	sameFrames(t, got, w.frames)
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	if err := src.Close(); err != nil {
		t.Error("closed twice: ", err)
	}
	if src, err = OpenFile(name); err != nil {
		t.Fatal(err)
	}
	src.Close()
	if err := src.ReadBatch(&Batch{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

func TestReadBatchAllocatesNothing(t *testing.T) {
	w := pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(20000)}
	src, err := NewFile("x", bytes.NewReader(w.bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	for range 3 { // its buffers grow to their size
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
	}
	b.Frames = slices.Grow(b.Frames, 5000)
	if n := testing.AllocsPerRun(5, func() {
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func memory(t testing.TB, frames ...Frame) Source {
	t.Helper()
	src, err := NewFile("memory", bytes.NewReader((&pcapWriter{magic: 0xa1b23c4d, link: 1, frames: frames}).bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func at(name string, times ...Time) (fs []Frame) {
	for _, n := range times {
		fs = append(fs, Frame{Time: n, Data: []byte(fmt.Sprint(name, int64(n))), WireLen: 9, Link: 1})
	}
	return fs
}

func TestMergeIsInOrderOfTimeThenOfArguments(t *testing.T) {
	src := Merge(
		memory(t, at("a", 1, 5, 5, 9)...),
		memory(t),
		memory(t, at("b", 0, 5, 3, 9, 10)...), // its own order stays, though 3 is earlier
		memory(t, at("c", 5)...),
	)
	got, err := readAll(t, src)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, f := range got {
		order = append(order, string(f.Data))
	}
	if s := strings.Join(order, " "); s != "b0 a1 a5 a5 b5 b3 c5 a9 b9 b10" {
		t.Error(s)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}

func TestMergeOfManyIsSorted(t *testing.T) {
	var srcs []Source
	var want []Frame
	for i := range 40 { // more than fewSources
		var fs []Frame
		for n := range 500 {
			fs = append(fs, at("", Time(n*40+i*7%40))...)
		}
		want = append(want, fs...)
		srcs = append(srcs, memory(t, fs...))
	}
	slices.SortStableFunc(want, func(a, b Frame) int { return int(a.Time - b.Time) })
	got, err := readAll(t, Merge(srcs...))
	if err != nil {
		t.Fatal(err)
	}
	sameFrames(t, got, want)
}

func TestMergeTellsOfErrorsAfterTheOthers(t *testing.T) {
	cut := func(name string) Source {
		b := (&pcapWriter{magic: 0xa1b23c4d, link: 1, frames: at("c", 1, 2)}).bytes()
		src, err := NewFile(name, bytes.NewReader(b[:len(b)-1]))
		if err != nil {
			t.Fatal(err)
		}
		return src
	}
	got, err := readAll(t, Merge(cut("one.pcap"), memory(t, at("a", 0, 3, 4)...), cut("two.pcap")))
	var e *InputError
	if len(got) != 5 || !errors.As(err, &e) || !e.Cut || !strings.Contains(err.Error(), "one.pcap") || !strings.Contains(err.Error(), "two.pcap") {
		t.Errorf("%d frames, %v", len(got), err)
	}
	if err := Merge().ReadBatch(&Batch{}); err != io.EOF {
		t.Errorf("of nothing: %v", err)
	}
}

// TestMergeOfLongAndEmptyFrames: a frame that is longer than the caller's buffer, and frames that take no room in it.
func TestMergeOfLongAndEmptyFrames(t *testing.T) {
	long := Frame{Time: 1, Data: make([]byte, maxFrame), WireLen: maxFrame, Link: 1}
	src := Merge(memory(t, long, long), memory(t, make([]Frame, 3*maxMerged)...))
	b := Batch{Buf: make([]byte, minReadBlock)}
	n := 0
	for {
		err := src.ReadBatch(&b)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n += len(b.Frames)
		if len(b.Frames) > maxMerged {
			t.Fatalf("%d frames in a batch", len(b.Frames))
		}
	}
	if n != 3*maxMerged+2 {
		t.Errorf("%d frames", n)
	}
}

// FuzzFile: whatever the bytes, reading ends, in bounded memory, with frames that lie within the file.
func FuzzFile(f *testing.F) {
	ng, _ := ngSample()
	pcap := (&pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: someFrames(3)}).bytes()
	f.Add(pcap)
	f.Add((&pcapWriter{magic: 0xa1b2cd34, big: true, link: 1, extra: hx("00000002 0800 00 00"), frames: someFrames(3)}).bytes())
	f.Add((&pcapWriter{magic: 0xa1b2c3d4, major: 2, minor: 2, swapped: true, link: 15, frames: someFrames(2)}).bytes())
	f.Add((&pcapWriter{magic: 0x1c0001ac, more: hx("00000000"), link: 220, frames: someFrames(2)}).bytes())
	f.Add(ng)
	f.Add(gz(pcap))
	f.Add(zst(pcap))
	f.Add([]byte("\xa1\xb2\xcd\x34\x00\x02\x00\x000000000000000000000000000000\x00\x02\x30\x30")) // announces more than a block
	const most = max(mostBlock, maxFrame+1<<10)                                                   // a frame and what stands around it
	f.Fuzz(func(t *testing.T, b []byte) {
		src, err := NewFile("fuzz", bytes.NewReader(b))
		if err != nil {
			return
		}
		defer src.Close()
		packed := src.(*file).whole
		var batch Batch
		frames, total, ordinal := 0, 0, uint64(0)
		for range 1000 { // of a compressed file there may be much
			err := src.ReadBatch(&batch)
			for _, fr := range batch.Frames {
				ordinal++
				if fr.Ordinal != ordinal || len(fr.Data) > maxFrame || fr.WireLen < 0 {
					t.Fatalf("%+v", fr)
				}
				frames++
				total += len(fr.Data)
			}
			if cap(batch.Buf) > most || cap(src.(*file).tail) > 2*most {
				t.Fatalf("buffers of %d and %d bytes", cap(batch.Buf), cap(src.(*file).tail))
			}
			if !packed && (total > len(b) || frames > len(b)/16) {
				t.Fatalf("%d frames of %d bytes from %d", frames, total, len(b))
			}
			var e *InputError
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil && !errors.As(err, &e):
				t.Fatal(err)
			case err != nil:
				if e.Offset < 0 || !packed && e.Offset > int64(len(b)) {
					t.Fatalf("%v in a file of %d bytes", err, len(b))
				}
				return
			case len(batch.Frames) == 0:
				t.Fatal("neither frames nor an error")
			}
		}
		if !packed {
			t.Fatal("does not end")
		}
	})
}

func benchmarkFile(b *testing.B, file []byte, frames int) {
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	var batch Batch
	for b.Loop() {
		src, err := NewFile("bench", bytes.NewReader(file))
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for err == nil {
			err = src.ReadBatch(&batch)
			n += len(batch.Frames)
		}
		if err != io.EOF || n != frames {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(frames), "ns/packet")
}

// 64 MiB of frames of an ordinary mix of lengths, 600 bytes on average.
func benchmarkFrames() []Frame {
	lengths := []int{60, 66, 1514, 66, 1514, 200, 1024, 350}
	data := make([]byte, 1514)
	var fs []Frame
	for i, n := 0, 0; n < 64<<20; i++ {
		l := lengths[i%len(lengths)]
		fs = append(fs, Frame{Time: Time(i) * 1000, Data: data[:l], WireLen: l, Link: 1})
		n += l + 16
	}
	return fs
}

func BenchmarkReadPcap(b *testing.B) {
	fs := benchmarkFrames()
	benchmarkFile(b, (&pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: fs}).bytes(), len(fs))
}

func BenchmarkReadPcapng(b *testing.B) {
	fs := benchmarkFrames()
	w := (&ngWriter{b: make([]byte, 0, 80<<20)}).section().iface(1, 0, 9, 0)
	for _, f := range fs { // by hand: the builder copies all for each
		n := 32 + (len(f.Data)+3)&^3
		w.b = append(w.b, join(w.u32(ngEnhanced), w.u32(n), w.u32(0), w.u32(0), w.u32(int(f.Time)), w.u32(len(f.Data)), w.u32(f.WireLen), pad4(join(f.Data)), w.u32(n))...)
	}
	benchmarkFile(b, w.b, len(fs))
}

func BenchmarkMerge(b *testing.B) {
	fs := benchmarkFrames()
	half := (&pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: fs[:len(fs)/2]}).bytes()
	b.SetBytes(int64(2 * len(half)))
	n := 0
	var batch Batch
	for b.Loop() {
		one, err1 := NewFile("a", bytes.NewReader(half))
		two, err2 := NewFile("b", bytes.NewReader(half))
		if err1 != nil || err2 != nil {
			b.Fatal(err1, err2)
		}
		n = 0
		for src, err := Merge(one, two), error(nil); err == nil; n += len(batch.Frames) {
			err = src.ReadBatch(&batch)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/packet")
}

// BenchmarkScan is what is left without the reading: a block that is there.
func BenchmarkScan(b *testing.B) {
	fs := benchmarkFrames()[:800]
	for _, f := range []struct {
		name string
		file []byte
	}{
		{"pcap", (&pcapWriter{magic: 0xa1b2c3d4, link: 1, frames: fs}).bytes()},
		{"pcapng", func() []byte {
			w := (&ngWriter{}).section().iface(1, 0, 9, 0)
			for _, f := range fs {
				w.enhanced(0, uint64(f.Time), f.WireLen, f.Data)
			}
			return w.b
		}()},
	} {
		b.Run(f.name, func(b *testing.B) {
			src, err := NewFile("bench", bytes.NewReader(f.file))
			if err != nil {
				b.Fatal(err)
			}
			recs := src.(*file).recs
			block := f.file
			if f.name == "pcap" {
				block = block[24:]
			}
			var batch Batch
			for b.Loop() {
				batch.Frames, _, _, err = recs.scan(block, 0, batch.Frames[:0], 1)
				if len(batch.Frames) != len(fs) || err != nil {
					b.Fatal(len(batch.Frames), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(fs)), "ns/packet")
		})
	}
}

// TestExpansionIsBounded: a file that makes gigabytes of kilobytes is refused, with what came before it, and gzip's own
// most is not.
func TestExpansionIsBounded(t *testing.T) {
	e := &expanded{r: zeros{}, packed: &counted{n: freeExpansion / maxExpansion}}
	b := make([]byte, 64<<20)
	for range freeExpansion / len(b) {
		if _, err := e.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	e.packed.n-- // as much, of less
	for range 2 {
		_, err := e.Read(b)
		if !errors.Is(err, errExpansion) {
			t.Fatal(err)
		}
		f := &file{name: "x", whole: true, recs: &pcap{}}
		if err := f.end(nil, 0, err); !strings.Contains(err.Error(), "refused: it expands more than 2048 times") {
			t.Error(err)
		}
	}
}
