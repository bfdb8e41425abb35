package main

import (
	"strings"
	"testing"
)

const (
	run     = `{"Action":"run","Package":"p","Test":"TestA"}` + "\n"
	passed  = `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n"
	skipped = `{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:7: no tshark here\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
`
	broken = `{"Action":"output","Package":"p","Test":"TestC","Output":"    a_test.go:9: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestC"}
`
	ok = `{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	failed = `{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
`
	unbuilt = `{"ImportPath":"q","Action":"build-output","Output":"q.go:1: no such thing\n"}
{"ImportPath":"q","Action":"build-fail"}
{"Action":"output","Package":"q","Output":"FAIL\tq [build failed]\n"}
{"Action":"fail","Package":"q","FailedBuild":"q"}
`
)

func TestSum(t *testing.T) {
	for _, c := range []struct {
		name, in, allow string
		strict          bool
		code            int
		want, never     string
	}{
		{"all well", run + passed + ok, "", false, 0, "ok  \tp\t0.1s\n1 tests passed, 0 skipped\n", "PASS"},
		{"a skip is told", run + passed + skipped + ok, "", false, 0, "1 tests passed, 1 skipped\n    1  no tshark here: p.TestB\n", "a_test"},
		{"a skip must not be", run + passed + skipped + ok, "no tcpdump", true, 1, "!   1  no tshark here: p.TestB\nFAIL: tests were skipped that must run: 1\n", ""},
		{"a skip may be", run + passed + skipped + ok, "# why\n^no tshark # not in CI\n", true, 0, "    1  no tshark here", "!"},
		{"a failure", run + passed + broken + failed, "", false, 1, "    a_test.go:9: wrong\nFAIL\tp\t0.1s\n", ""},
		{"a package that is not built", unbuilt, "", false, 1, "q.go:1: no such thing\nFAIL\tq [build failed]\n", ""},
		{"go says something", "flag provided but not defined\n", "", false, 2, "flag provided", ""},
		{"nothing", "", "", false, 2, "no package", ""},
	} {
		allowed, err := patterns(c.allow)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if code := sum(strings.NewReader(c.in), &out, c.strict, allowed); code != c.code || !strings.Contains(out.String(), c.want) ||
			c.never != "" && strings.Contains(out.String(), c.never) {
			t.Errorf("%s: %d\n%s", c.name, code, out.String())
		}
	}
	if _, err := patterns("("); err == nil {
		t.Error("a pattern that is none")
	}
}
