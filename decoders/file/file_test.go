package file

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

func TestSniff(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"<!DOCTYPE html>\n<html>", "text/html"},
		{"  <!-- x --> <html>", "text/html"},
		{"<?xml version=\"1.0\"?>\n<a/>", "application/xml"},
		{"<?xml version=\"1.0\"?><rss version=\"2.0\">", "text/rss"},
		{"{\"a\": 1}", "text/json"},
		{"{\"a\": null, \"bbbb\": 1}", "text/plain"},
		{"[{\"a\":1}]", "text/json"},
		{"{}", "text/json"},
		{"[section]\r\nx=1", "text/ini"},
		{"#!/bin/sh\nid", "text/x-shellscript"},
		{"#!/usr/bin/env python3\n", "text/x-python"},
		{"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00", "application/x-executable"},
		{"MZ\x90\x00", "application/x-dosexec"},
		{"PK\x03\x04\x14\x00\x00\x00", "application/zip"},
		{"\x1f\x8b\x08\x00", "application/x-gzip"},
		{"GIF89a", "image/gif"},
		{"short", ""},
		{"hello world", "text/plain"},
		{"\x00\x01\x02", ""},
		{"", ""},
		{"AFP\x00\x00\x01\x00\x00", "application/vnd.apple-afpinfo"},
		{"!BDN\x00\x00\x00\x00SM\x17\x00\x13\x00", "application/vnd.ms-outlook"},
		{"!BDN is no mailbox", "text/plain"},
		{"\x78\x9f\x3e\x22\x01\x00", "application/vnd.ms-tnef"},
		{"Index: x\n--- x\t(1)\n+++ x\t(2)\n@@ -1 +1 @@\n", "text/x-diff"},
		{"a signature\n--- \nme, not a hunk\n", "text/plain"},
		{"PK\x03\x04" + strings.Repeat("\x00", 26) + "[Content_Types].xml...PK\x03\x04" + strings.Repeat("\x01", 26) + "xl/workbook.xml", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
		{"PK\x03\x04" + strings.Repeat("\x00", 26) + "word/a...PK\x03\x04" + strings.Repeat("\x01", 26) + "word/b", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
		{"PK\x03\x04" + strings.Repeat("\x00", 26) + "readme...PK\x03\x04" + strings.Repeat("\x01", 26) + "xl/a", "application/zip"},
		{"PK\x03\x04" + strings.Repeat("\x00", 26) + "xl/a...PK\x03\x04", "application/zip"},
	} {
		if got := Sniff([]byte(tt.in)); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestDigestsHoweverItComes cuts files of all lengths into pieces; the ways through the reader must agree.
func TestDigestsHoweverItComes(t *testing.T) {
	c := NewCache(Options{HashLimit: 1 << 20})
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 10, 1000, sniffLen, sniffLen + 1, maxHeld - 1, maxHeld, maxHeld + 1, 3 * maxHeld} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		copy(data, "#!/bin/sh\n")
		for try := range 6 {
			var r Reader
			r.Open(c)
			switch b := bytes.Clone(data); {
			case try == 0:
				r.Whole(capture.At{Time: 5}, b)
			case try == 5:
				c.holding = maxHolding // as if too many were held already
				fallthrough
			default:
				for len(b) > 0 {
					k := min(len(b), 1+rng.IntN(2000))
					piece := bytes.Clone(b[:k])
					r.Write(capture.At{Time: 5}, piece)
					clear(piece)
					b = b[k:]
				}
			}
			f := r.Close()[0]
			if try == 5 {
				c.holding = 0
			}
			if f.MD5 != fmt.Sprintf("%x", md5.Sum(data)) || f.SHA1 != fmt.Sprintf("%x", sha1.Sum(data)) || f.SHA256 != fmt.Sprintf("%x", sha256.Sum256(data)) || f.Seen != int64(n) || f.Time != 5 {
				t.Errorf("%d bytes, try %d: %+v", n, try, f)
			}
			if n > 10 && (f.Kind != Script || f.MIME != "text/x-shellscript" || !bytes.Equal(f.Head, data[:min(n, HeadLen)])) {
				t.Errorf("%d bytes, try %d: kind %v, MIME %q, head of %d", n, try, f.Kind, f.MIME, len(f.Head))
			}
		}
		if c.holding != 0 {
			t.Fatalf("%d buffers are out", c.holding)
		}
	}
}

func TestGapAndLimitEndTheDigests(t *testing.T) {
	c := NewCache(Options{HashLimit: 100})
	var r Reader
	r.Open(c)
	r.Write(capture.At{Time: 1}, []byte("#!/bin/sh\nid\n"))
	r.Gap(capture.At{Time: 2}, 7)
	r.Write(capture.At{Time: 3}, []byte("more"))
	if f := r.Close()[0]; f.Hashed() || f.Kind != Script || f.Missing != 7 || f.Seen != 17 || f.Last != 3 {
		t.Errorf("gap: %+v", f)
	}
	r.Open(c)
	r.Write(capture.At{}, make([]byte, 60))
	r.Write(capture.At{}, make([]byte, 60))
	if f := r.Close()[0]; f.Hashed() || f.Seen != 120 {
		t.Errorf("limit: %+v", f)
	}
	r.Open(c)
	if r.Close() != nil {
		t.Error("a file of nothing")
	}
	if c.holding != 0 {
		t.Errorf("%d buffers are out", c.holding)
	}
}

func TestKinds(t *testing.T) {
	st := func(json string) string { return string([]byte{byte(len(json)), 0, 0, 0, 0, 0, 0, 0}) + json }
	entry := func(name string) string {
		return "PK\x03\x04" + strings.Repeat("\x00", 22) + string([]byte{byte(len(name)), 0}) + "\x00\x00" + name
	}
	for _, tt := range []struct {
		name, in string
		want     Kind
	}{
		{"safetensors", st(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`), Safetensors},
		{"safetensors with metadata", st(`{"__metadata__":{"format":"pt"}}`), Safetensors},
		{"a length and other JSON", st(`{"user":"x","pass":"y","more":1}`), None},
		{"GGUF", "GGUF\x03\x00\x00\x00\x01\x00", GGUF},
		{"the word GGUF", "GGUF\x00\x00\x00\x00", None},
		{"torch.save", entry("archive/data.pkl"), PyTorch},
		{"numpy.savez", entry("arr_0.npy"), NumPy},
		{"another zip", entry("word/document.xml"), Archive},
		{"ONNX", "\x08\x07\x12\x07pytorch\x1a\x05", ONNX},
		{"protobuf of something else", "\x08\x07\x12\x07\x00\x01\x02\x03\x04\x05\x06\x1a", None},
		{"pickle 4", "\x80\x04\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c", Pickle},
		{"pickle 2", "\x80\x02}q\x00(X\x01\x00\x00\x00a", Pickle},
		{"not a pickle", "\x80\x04\x01\x20\x00\x00\x00\x00\x00\x00\x00\x8c", None},
		{"HDF5", "\x89HDF\r\n\x1a\n", HDF5},
		{"Parquet", "PAR1\x15\x04", Parquet},
		{"ELF for ARM", "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00", Executable},
		{"awk by another path", "#!/opt/x\n", Script},
		{"text", "hello, this is text", None},
		{"empty", "", None},
	} {
		if got := kindOf([]byte(tt.in), Sniff([]byte(tt.in))); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("#!/bin/sh\n"), uint16(3), uint8(0))
	f.Add([]byte("PK\x03\x04"+strings.Repeat("\x00", 22)+"\x10\x00\x00\x00archive/data.pkl"), uint16(9), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16, gap uint8) {
		c := NewCache(Options{HashLimit: 1 << 16})
		var r Reader
		r.Open(c)
		n := min(int(cut), len(b))
		r.Write(capture.At{}, b[:n])
		if gap > 0 {
			r.Gap(capture.At{}, int64(gap))
		}
		r.Write(capture.At{}, b[n:])
		if files := r.Close(); files != nil && (files[0].Seen != int64(len(b)) || files[0].Hashed() != (gap == 0 && len(b) <= 1<<16)) {
			t.Errorf("%+v", files[0])
		}
		if c.holding != 0 {
			t.Errorf("%d buffers are out", c.holding)
		}
	})
}

// BenchmarkDigest shows what remembering brings: a file that was seen before, and one that never was.
func BenchmarkDigest(b *testing.B) {
	data := make([]byte, 4<<10)
	for _, fresh := range []bool{false, true} {
		b.Run(map[bool]string{false: "again", true: "new"}[fresh], func(b *testing.B) {
			c := NewCache(Options{HashLimit: 1 << 20})
			b.SetBytes(int64(len(data)))
			var r Reader
			for i := 0; b.Loop(); i++ {
				if fresh {
					binary.LittleEndian.PutUint64(data, uint64(i))
				}
				r.Open(c)
				r.Whole(capture.At{}, data)
				r.Close()
			}
		})
	}
}

func TestIDsAreStable(t *testing.T) {
	f, g := &capture.Flow{UID: "C1"}, &capture.Flow{UID: "C2"}
	ids := map[string]bool{NewID(f, 1, 0, 0): true, NewID(f, 2, 0, 0): true, NewID(f, 1, 1, 0): true, NewID(f, 1, 0, 1): true, NewID(g, 1, 0, 0): true, NewID(nil, 1): true}
	if id := NewID(f, 1, 0, 0); len(ids) != 6 || len(id) != 18 || id[0] != 'F' || !ids[id] {
		t.Errorf("%v", ids)
	}
}

func TestNameOf(t *testing.T) {
	for _, tt := range []struct{ field, value, want string }{
		{"Content-Disposition", `attachment; filename="a b.txt"; size=3`, "a b.txt"},
		{"content-type", "text/plain; Name = x.txt", "x.txt"},
		{"Content-Disposition", "attachment; filename*=UTF-8''%e2%82%ac.txt", "\u20ac.txt"},
		{"Content-Disposition", "inline; name=x", ""},
		{"Content-Disposition", "\xff\xff\xff\xff; filename=x\xff", "x\xff"},
		{"Subject", "name=x", ""},
	} {
		if got, ok := NameOf(tt.field, tt.value); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s: %s: %q, %v", tt.field, tt.value, got, ok)
		}
	}
}

// TestWhatCameBefore: a file that is compared with one that is kept says what it says alone, however it goes on.
func TestWhatCameBefore(t *testing.T) {
	base := bytes.Repeat([]byte("#!/bin/sh\necho a line of a script that comes again\n"), 100)
	other := bytes.Clone(base)
	other[3000] ^= 1
	type part struct {
		b   []byte
		gap int64
	}
	cases := map[string][]part{
		"the same":         {{b: base[:1000]}, {b: base[1000:]}},
		"the same, once":   {{b: base}},
		"another":          {{b: other[:1000]}, {b: other[1000:]}},
		"another, later":   {{b: other[:2000]}, {b: other[2000:4000]}, {b: other[4000:]}},
		"cut":              {{b: base[:1000]}, {b: base[1000:2000]}},
		"longer":           {{b: base[:1000]}, {b: base[1000:]}, {b: []byte("more")}},
		"a gap":            {{b: base[:1000]}, {b: base[1000:2000], gap: 50}, {b: base[2050:]}},
		"a short start":    {{b: base[:10]}, {b: base[10:]}},
		"another's start":  {{b: other[100:1100]}, {b: base[1000:]}},
		"a gap at the end": {{b: base[:1000]}, {b: base[1000:], gap: 1}},
	}
	read := func(c *Cache, parts []part) File {
		var r Reader
		r.Open(c)
		r.Expect(int64(len(base)))
		for i, p := range parts {
			r.Write(capture.At{Time: capture.Time(i + 1)}, p.b)
			if p.gap > 0 {
				r.Gap(capture.At{Time: capture.Time(i + 1)}, p.gap)
			}
		}
		list := r.Close()
		if c.holding != 0 {
			t.Fatalf("%d buffers are out", c.holding)
		}
		return *list[0]
	}
	for name, parts := range cases {
		alone := read(NewCache(Options{HashLimit: 1 << 20}), parts)
		c := NewCache(Options{HashLimit: 1 << 20})
		for range 3 {
			read(c, cases["the same"])
		}
		var r Reader
		r.Open(c)
		r.Expect(int64(len(base)))
		if r.Write(capture.At{}, base[:1000]); r.Like() == nil {
			t.Fatal("nothing was kept")
		}
		r.Drop()
		for range 3 {
			if got := read(c, parts); !reflect.DeepEqual(got, alone) {
				t.Errorf("%s: %+v\nalone %+v", name, got, alone)
			}
		}
	}
}

// TestKeptIsBounded: contents that come twice each take no more memory than there is for them.
func TestKeptIsBounded(t *testing.T) {
	c := NewCache(Options{HashLimit: 1 << 20})
	var r Reader
	for i := range 2000 {
		b := make([]byte, 30<<10)
		binary.LittleEndian.PutUint64(b, uint64(i))
		for range 2 {
			r.Open(c)
			r.Expect(int64(len(b)))
			r.Write(capture.At{}, b[:100])
			r.Write(capture.At{}, b[100:])
			r.Close()
		}
	}
	sum := 0
	for _, k := range c.starts {
		if k != nil {
			sum += len(k.bytes)
		}
	}
	if sum != c.kept || sum > maxKept || sum < maxKept/2 {
		t.Errorf("%d bytes are kept, counted as %d", sum, c.kept)
	}
}
