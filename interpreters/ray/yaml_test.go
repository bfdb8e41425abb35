package ray

import (
	gojson "encoding/json"
	"strings"
	"testing"
	"time"
)

func TestYAMLIsReadAsJSON(t *testing.T) {
	for _, x := range []struct{ yaml, json string }{
		{"a: 1\nb: [x, 'y', \"z\\n\"]\n", `{"a":"1","b":["x","y","z\n"]}`},
		{"# c\n---\nspec:\n  entrypoint: |\n    curl x |\n    sh\n  list:\n  - name: n\n    command: [\"sh\", -c]\n---\nsecond: 1\n",
			`{"spec":{"entrypoint":"curl x |\nsh\n","list":[{"name":"n","command":["sh","-c"]}]}}`},
		{"e: >-\n  python\n  x.py\nn: null\nt: true\n", `{"e":"python x.py","n":null,"t":true}`},
		{"base: &b\n  image: i\n  name: o\nx:\n  <<: *b\n  name: p\ny: *b\n", `{"base":{"image":"i","name":"o"},"x":{"image":"i","name":"o","name":"p"},"y":{"image":"i","name":"o"}}`},
		{`{spec: {entrypoint: echo hi}}`, `{"spec":{"entrypoint":"echo hi"}}`},
		{"a: !!str 5\nb: *nothing\n", `{"a":"5","b":null}`},
		{"a: &a [*a, *a]\n", `{"a":[null,null]}`},
		{"spec:\n  entrypoint: python x.py\n  cut: \"off", `{"spec":{"entrypoint":"python x.py"}}`},
	} {
		got := fromYAML([]byte(x.yaml))
		if string(got) != x.json {
			t.Errorf("%q: %s", x.yaml, got)
		}
	}
	for _, bad := range []string{"", "\xff\xfe", "a: [", strings.Repeat("[", maxBrackets+1)} {
		if got := fromYAML([]byte(bad)); len(got) > 0 && bad != "a: [" {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

func TestAliasesAreBounded(t *testing.T) {
	s := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'z'; c++ {
		p := string(c - 1)
		s += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+",", 9) + "]\n"
	}
	if n := len(fromYAML([]byte(s))); n > 2*maxFromYAML {
		t.Errorf("%d bytes", n)
	}
}

// Nothing that the guard lets through takes long.
func TestHostileYAMLIsQuick(t *testing.T) {
	deep := strings.Repeat("[", maxBrackets) + strings.Repeat("]", maxBrackets)
	var stairs strings.Builder
	for i := 0; stairs.Len() < maxYAML; i++ {
		stairs.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	shapes := []string{"a: " + strings.Repeat("["+deep+",", 1), deep + ",", "{a: " + strings.Repeat("[", maxBrackets-1), "- " + strings.Repeat("- ", maxDashes-2) + "a\n",
		"[,", "[a],", "{a: b},", "? a\n", "&a ", "! ", "*a ", ": ", "a: ", "'", "\"", "\"\\u00", "a: |\n  x\n", "# x\n", "---\n", "<<: *a\n", "%YAML 1.2\n---\n", "- [a, {b: c}]\n",
		"a: &a b\n", "a: *a\n", "a:\n- b\n", " \n", "\t", "x: \"a\\\n", "- - - - a\n"}
	for _, s := range append(shapes, stairs.String()) {
		for _, pre := range []string{"", "a: "} {
			b := pre + strings.Repeat(s, max(maxYAML/len(s), 1))
			at := time.Now()
			fromYAML([]byte(b))
			if d := time.Since(at); d > 5*time.Second {
				t.Errorf("%q after %q: %v", s[:min(len(s), 60)], pre, d)
			}
		}
	}
}

func FuzzYAML(f *testing.F) {
	f.Add([]byte("a: 1\nb: [x, 'y', \"z\\n\"]\n"))
	f.Add([]byte("base: &b\n  image: i\nx:\n  <<: *b\n  e: |\n    a\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		at := time.Now()
		got := fromYAML(b)
		if d := time.Since(at); d > 5*time.Second {
			t.Fatalf("%v", d)
		}
		if len(got) > 0 && !gojson.Valid(got) {
			t.Fatalf("%q gives %q", b, got)
		}
	})
}
