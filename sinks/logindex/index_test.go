package logindex

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

// build indexes blocks as they stand in an uncompressed file.
func build(t testing.TB, blocks ...string) *Index {
	t.Helper()
	var out bytes.Buffer
	b := NewBuilder(&out)
	size := int64(0)
	for _, text := range blocks {
		b.Block([]byte(text), size)
		size += int64(len(text))
	}
	if err := b.Close(size); err != nil {
		t.Fatal(err)
	}
	x, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()), size)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestValuesAreFound: every value that fills a cell is found in its block, in both forms of a log, and hardly one in another's.
func TestValuesAreFound(t *testing.T) {
	var tsv, json []string
	value := func(block, row int) []string {
		return []string{fmt.Sprintf("C%08d%08d", block, row), fmt.Sprintf("10.%d.%d.%d", block, row/200, row%200+1), fmt.Sprintf("host-%d-%d.example", block, row), fmt.Sprintf("set%d,%d", block, row), "a\tb" + fmt.Sprint(block, row)}
	}
	const blocks, rows = 8, 3000
	for i := range blocks {
		var a, b strings.Builder
		if i == 0 {
			a.WriteString("#separator \\x09\n#fields\tts\tuid\thost\tname\tset\ttext\tn\tduration\n")
		}
		for j := range rows {
			v := value(i, j)
			fmt.Fprintf(&a, "%d.25\t%s\t%s\t%s\tx\\x2cy,%s\t%s\t%d\t2.5\n", 1000+i*1000+j%1000, v[0], v[1], v[2], v[3], strings.ReplaceAll(v[4], "\t", `\x09`), j)
			fmt.Fprintf(&b, `{"ts":%d.25,"uid":%q,"host":%q,"name":%q,"set":["x,y",%q],"text":%q,"n":%d,"duration":2.5}`+"\n", 1000+i*1000+j%1000, v[0], v[1], v[2], v[3], v[4], j)
		}
		tsv, json = append(tsv, a.String()), append(json, b.String())
	}
	for form, x := range map[string]*Index{"tsv": build(t, tsv...), "json": build(t, json...)} {
		wrong, tries := 0, 0
		for i := range blocks {
			if b := x.Blocks[i]; b.Rows != rows || b.First != capture.Time((1000+i*1000)*1e9+25e7) || b.Last != capture.Time((1999+i*1000)*1e9+25e7+25e8) {
				t.Fatalf("%s: block %d is %+v", form, i, b)
			}
			for j := 0; j < rows; j += 7 {
				for k, v := range value(i, j) {
					if k == 3 && form == "tsv" {
						v, _, _ = strings.Cut(v, ",") // the elements there
					}
					token, ok := Token(v)
					if !ok || !x.May(i, []uint64{token}) {
						t.Fatalf("%s: %q is not found", form, v)
					}
					if tries++; k != 3 && x.May((i+1)%blocks, []uint64{token}) {
						wrong++
					}
				}
			}
			for _, bits := range []int{16, 20, 24, 28, 32} {
				p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 3, 5}), bits).Masked()
				token, ok := NetToken(p)
				if !ok || !x.May(i, []uint64{token}) {
					t.Errorf("%s: %v is not found", form, p)
				}
			}
		}
		if wrong*50 > tries {
			t.Errorf("%s: %d of %d values are found where they are not", form, wrong, tries)
		}
	}
}

// TestTokens: what has one, and what is too common or too long.
func TestTokens(t *testing.T) {
	for v, want := range map[string]bool{
		"": false, "-": false, "ab": false, "abc": true, "123": false, "-1.5": false, "1.5": false, "1.5.7": true, "10.0.0.1": true, "::1": true,
		"2026-11-23": true, strings.Repeat("x", 257): false,
	} {
		if _, ok := Token(v); ok != want {
			t.Errorf("%q: %v", v, ok)
		}
	}
	for v, want := range map[string]bool{"10.0.0.0/8": false, "10.1.0.0/16": true, "0.0.0.0/0": false, "2001:db8::/32": false, "2001:db8::/48": true, "::1/128": true} {
		if _, ok := NetToken(netip.MustParsePrefix(v)); ok != want {
			t.Errorf("%s: %v", v, ok)
		}
	}
	// Addresses that are written in another way, or with a port.
	x := build(t, `{"ts":1.0,"a":"[2001:DB8::1]:80","b":"2001:0db8:0000::0002","c":"10.0.0.7:8265"}`+"\n")
	for _, a := range []string{"2001:db8::1", "2001:db8::2", "10.0.0.7"} {
		token, _ := Token(a)
		if !x.May(0, []uint64{token}) {
			t.Errorf("%s is not found", a)
		}
	}
}

// FuzzIndex: an index that was changed is refused, or says what it says; nothing else happens.
func FuzzIndex(f *testing.F) {
	var out bytes.Buffer
	b := NewBuilder(&out)
	b.Block([]byte("#fields\tts\ta\n1.5\tvalue\n"), 0)
	b.Block([]byte(`{"ts":2.5,"a":"\ud83d\ude00 x"}`+"\n"), 24)
	b.Close(99)
	f.Add(out.Bytes(), []byte("#fields\tts\n\\x\n{\"\\"))
	f.Fuzz(func(t *testing.T, data, text []byte) {
		if x, err := Open(bytes.NewReader(data), int64(len(data)), 99); err == nil {
			for i := range x.Blocks {
				x.May(i, []uint64{1, 1 << 63})
				x.Span(i)
			}
		}
		NewBuilder(&bytes.Buffer{}).Block(text, 0)
	})
}

func BenchmarkBlock(b *testing.B) {
	var text bytes.Buffer
	text.WriteString("#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tcommunity_id\n")
	for i := 0; text.Len() < BlockSize; i++ {
		fmt.Fprintf(&text, "1795993200.123456\tC%017d\t10.20.%d.%d\t%d\t93.184.%d.%d\t443\ttcp\t1:LQU9qZlK%020d=\n", i, i%4, i%250, 1024+i%60000, i%256, i%250, i)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		x := NewBuilder(&bytes.Buffer{})
		x.Block(text.Bytes(), 0)
	}
}
