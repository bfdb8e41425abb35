package http2

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

func newTable() *table { return &table{max: defaultTable, whole: true} }

func read(t *testing.T, tb *table, b string) (fields []Field, unknown int) {
	t.Helper()
	fields, unknown, _, err := tb.read([]byte(b), nil)
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	return fields, unknown
}

// The three requests of RFC 7541 appendix C.4, Huffman coded, over one table.
func TestExamplesOfTheRFC(t *testing.T) {
	tb := newTable()
	for _, x := range []struct {
		block string
		want  []Field
		size  int
	}{
		{"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
			[]Field{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "www.example.com"}}, 57},
		{"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
			[]Field{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "www.example.com"}, {"cache-control", "no-cache"}}, 110},
		{"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
			[]Field{{":method", "GET"}, {":scheme", "https"}, {":path", "/index.html"}, {":authority", "www.example.com"}, {"custom-key", "custom-value"}}, 164},
	} {
		got, unknown := read(t, tb, x.block)
		if !reflect.DeepEqual(got, x.want) || unknown != 0 || tb.size != x.size {
			t.Errorf("%v, %d unknown, table of %d", got, unknown, tb.size)
		}
	}
}

// The static table against x/net's encoder, which knows every one of its entries by index.
func TestStaticTableIsTheRFCs(t *testing.T) {
	if len(static) != 62 {
		t.Fatalf("%d entries", len(static)-1)
	}
	for i, f := range static[1:] {
		var b bytes.Buffer
		if err := hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value}); err != nil {
			t.Fatal(err)
		}
		got, _ := read(t, newTable(), b.String())
		if len(got) != 1 || got[0] != f {
			t.Errorf("%d: %v is read as %v", i+1, f, got)
		}
		// Either the field is indexed, or its name is.
		if n := int(b.Bytes()[0] & 0x7f); b.Bytes()[0]&0x80 != 0 && n != i+1 {
			t.Errorf("%v has the index %d, not %d", f, n, i+1)
		}
	}
}

func TestIndicesCountFromTheNewest(t *testing.T) {
	tb := &table{max: defaultTable} // picked up mid-stream
	for _, x := range []struct {
		name, block string
		want        []Field
		unknown     int
	}{
		{"all before", "\xbe\xbf\xc0", nil, 3},
		{"one inserted", "\x40\x01a\x01" + "1", []Field{{"a", "1"}}, 0},
		{"it is the newest, the next is from before", "\xbe\xbf", []Field{{"a", "1"}}, 1},
		{"another moves it", "\x40\x01b\x01" + "2\xbe\xbf\xc0", []Field{{"b", "2"}, {"b", "2"}, {"a", "1"}}, 1},
		{"a value with the name of an unknown entry", "\x7f\x02\x01" + "3", nil, 1}, // index 65
		{"which takes a place without a name", "\xbe\xbf", []Field{{"b", "2"}}, 1},
		{"a literal with a known dynamic name", "\x0f\x30\x01" + "9", []Field{{"b", "9"}}, 0}, // index 63, not inserted
	} {
		got, unknown := read(t, tb, x.block)
		if !reflect.DeepEqual(got, x.want) || unknown != x.unknown {
			t.Errorf("%s: %v, %d unknown", x.name, got, unknown)
		}
	}
}

func TestEvictionAndSizeUpdates(t *testing.T) {
	tb := newTable()
	read(t, tb, "\x40\x01a\x01"+"1"+"\x40\x01b\x01"+"2") // 34 each
	if read(t, tb, "\x3f\x0f"); tb.size != 34 {          // 46
		t.Errorf("size %d after the table shrank", tb.size)
	}
	if got, unknown := read(t, tb, "\xbe\xbf"); len(got) != 1 || got[0].Name != "b" || unknown != 1 {
		t.Errorf("%v %d", got, unknown)
	}
	read(t, tb, "\x40\x01c\x20"+strings.Repeat("x", 32)) // larger than the table: empties it (section 4.4)
	if tb.size != 0 {
		t.Errorf("size %d", tb.size)
	}
	read(t, tb, "\x3f\xe1\xff\xff\x7f") // 256 MiB
	if tb.max != maxTable {
		t.Errorf("max %d", tb.max)
	}
	for range 10_000 {
		read(t, tb, "\x40\x01d\x20"+strings.Repeat("x", 32))
	}
	if tb.size > maxTable || len(tb.ents) > 3*maxTable/entryCost {
		t.Errorf("%d bytes, %d entries", tb.size, len(tb.ents))
	}
}

// Whatever x/net's encoder makes, with evictions and changes of size, is read as it was written.
func FuzzHPACK(f *testing.F) {
	f.Add([]byte("a\x001\x00b\x002\x00a\x001\x00"), uint16(64))
	f.Add([]byte(":path\x00/x\x00user-agent\x00grpc\x00"), uint16(4096))
	f.Fuzz(func(t *testing.T, b []byte, size uint16) {
		raw := &table{max: defaultTable}
		if fields, _, _, _ := raw.read(b, nil); len(fields) > maxFields {
			t.Fatalf("%d fields", len(fields))
		}
		if raw.size < 0 || raw.size > maxTable {
			t.Fatalf("size %d", raw.size)
		}
		looksHPACK(b)

		texts := strings.Split(string(b), "\x00")
		var buf bytes.Buffer
		enc := hpack.NewEncoder(&buf)
		enc.SetMaxDynamicTableSize(uint32(size % 4097))
		tb := newTable()
		for len(texts) >= 2 {
			buf.Reset()
			var want []Field
			for len(texts) >= 2 && len(want) < 5 {
				if err := enc.WriteField(hpack.HeaderField{Name: texts[0], Value: texts[1]}); err != nil {
					t.Fatal(err)
				}
				want, texts = append(want, Field{texts[0], texts[1]}), texts[2:]
			}
			got, unknown, _, err := tb.read(buf.Bytes(), nil)
			if err != nil || unknown != 0 || !reflect.DeepEqual(got, want) {
				t.Fatalf("%q read as %q (%d unknown, %v)", want, got, unknown, err)
			}
		}
	})
}
