package feeds

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const collectionID = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"

// taxiiServer is a server of TAXII 2.1 with one root and two collections, of which one cannot be read. It holds clients to
// the specification: paths end with a slash, Accept names the version, credentials are Basic.
type taxiiServer struct {
	*httptest.Server
	t      *testing.T
	mu     sync.Mutex
	all    []stixObject
	page   int  // objects in one answer at most
	byTime bool // pages go by added_after instead of next
	kind   string
	asked  []url.Values
	status int
}

type stixObject struct {
	added string
	raw   string
}

func indicator(n int, modified, ip string, more string) string {
	return fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":%q,"pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z","pattern":"[ipv4-addr:value = '%s']"%s}`, n, modified, ip, more)
}

func serveTAXII(t *testing.T) *taxiiServer {
	s := &taxiiServer{t: t, page: 2, kind: "application/taxii+json;version=2.1"}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *taxiiServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, password, _ := r.BasicAuth()
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", s.kind)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	no := func(status int) {
		answer(status, map[string]any{"title": "no", "http_status": strconv.Itoa(status)})
	}
	switch {
	case s.status != 0:
		no(s.status)
	case r.Header.Get("Accept") != "application/taxii+json;version=2.1":
		no(406)
	case user != "ray" || password != "s3cret":
		w.Header().Set("WWW-Authenticate", "Basic")
		no(401)
	case r.URL.Path == "/taxii2/":
		answer(200, map[string]any{"title": "t", "default": s.URL + "/root/", "api_roots": []string{s.URL + "/root/", "/gone/"}})
	case r.URL.Path == "/root/":
		answer(200, map[string]any{"title": "r", "versions": []string{"application/taxii+json;version=2.1"}, "max_content_length": 1 << 20})
	case r.URL.Path == "/root/collections/":
		answer(200, map[string]any{"collections": []any{
			map[string]any{"id": "52892447-4d7e-4f70-b94d-d7f22742ff63", "title": "closed", "can_read": false, "can_write": true},
			map[string]any{"id": collectionID, "title": "High value", "alias": "high", "can_read": true, "can_write": false},
		}})
	case r.URL.Path == "/root/collections/"+collectionID+"/objects/":
		s.objects(w, r, answer)
	default:
		no(404)
	}
}

func (s *taxiiServer) objects(w http.ResponseWriter, r *http.Request, answer func(int, any)) {
	q := r.URL.Query()
	s.asked = append(s.asked, q)
	if q.Get("match[type]") != "indicator" || q.Get("limit") == "" {
		s.t.Errorf("asked %v", q)
	}
	var left []stixObject
	for _, o := range s.all {
		if o.added > q.Get("added_after") {
			left = append(left, o)
		}
	}
	from, _ := strconv.Atoi(q.Get("next"))
	left = left[min(from, len(left)):]
	e := map[string]any{}
	if len(left) > s.page {
		left = left[:s.page]
		e["more"] = true
		if !s.byTime {
			e["next"] = strconv.Itoa(from + s.page)
		}
	}
	var objects []json.RawMessage
	for _, o := range left {
		objects = append(objects, json.RawMessage(o.raw))
	}
	if len(objects) > 0 {
		e["objects"] = objects
		w.Header().Set("X-TAXII-Date-Added-First", left[0].added)
		w.Header().Set("X-TAXII-Date-Added-Last", left[len(left)-1].added)
	}
	answer(200, e)
}

// lines counts the lines that have an address, in place of reading indicators.
func lines(_ string, r io.Reader) (n int, err error) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		n += strings.Count(sc.Text(), "198.51.100.")
	}
	return n, sc.Err()
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func cached(t *testing.T, s *Source, dir string) string {
	t.Helper()
	c, err := Open(s, dir)
	if err != nil {
		return ""
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fetched asks once, at a time, and wants it to change the cache or not.
func fetched(t *testing.T, s *Source, dir string, now time.Time, want bool) string {
	t.Helper()
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	changed, err := Fetch(t.Context(), s, dir, lines, now)
	if err != nil || changed != want {
		t.Fatalf("changed %v, %v", changed, err)
	}
	return cached(t, s, dir)
}

// refused asks once and wants an error, and that nothing changes.
func refused(t *testing.T, s *Source, dir, want string) {
	t.Helper()
	before := cached(t, s, dir)
	_, err := Fetch(t.Context(), s, dir, lines, time.Now())
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v, want %q", err, want)
	}
	if cached(t, s, dir) != before {
		t.Error("the cache has changed")
	}
}

func TestTAXII(t *testing.T) {
	for _, byTime := range []bool{false, true} {
		web := serveTAXII(t)
		web.byTime = byTime
		for i := range 5 {
			at := fmt.Sprintf("2026-11-0%dT00:00:00.000000Z", i+1)
			web.all = append(web.all, stixObject{at, indicator(i, "2026-11-01T00:00:00.000Z", fmt.Sprintf("198.51.100.%d", i), "")})
		}
		web.all = append(web.all, stixObject{"2026-11-07T00:00:00.000000Z", `{"type":"malware","spec_version":"2.1","id":"malware--1","name":"198.51.100.99"}`})
		dir := t.TempDir()
		s := &Source{TAXII: web.URL, Collection: "high", User: "ray", PasswordFile: file(t, "s3cret\n"), PlainToken: true}
		now := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
		got := fetched(t, s, dir, now, true)
		if strings.Count(got, "\n") != 5 || strings.Contains(got, "malware") {
			t.Errorf("%s", got)
		}
		// Later: one is changed, one revoked, one new; only these are asked for.
		web.mu.Lock()
		web.asked = nil
		web.all = append(web.all,
			stixObject{"2026-11-08T00:00:00.000000Z", indicator(0, "2026-11-08T00:00:00.000Z", "198.51.100.200", "")},
			stixObject{"2026-11-09T00:00:00.000000Z", indicator(1, "2026-11-09T00:00:00.000Z", "198.51.100.1", `,"revoked":true`)},
			stixObject{"2026-11-10T00:00:00.000000Z", indicator(6, "2026-11-10T00:00:00.000Z", "198.51.100.6", "")})
		web.mu.Unlock()
		got = fetched(t, s, dir, now.Add(time.Hour), true)
		if strings.Count(got, "\n") != 5 || strings.Contains(got, "'198.51.100.0'") || strings.Contains(got, "'198.51.100.1'") || !strings.Contains(got, "'198.51.100.200'") || !strings.Contains(got, "'198.51.100.6'") {
			t.Errorf("%s", got)
		}
		if q := web.asked[0].Get("added_after"); q != "2026-11-07T00:00:00.000000Z" {
			t.Errorf("asked for what was added after %s", q)
		}
		if fetched(t, s, dir, now.Add(2*time.Hour), false) != got {
			t.Error("it changes without news")
		}
		// What the server has deleted is gone with the next whole fetch.
		web.mu.Lock()
		web.all = web.all[:3]
		web.mu.Unlock()
		fetched(t, s, dir, now.Add(3*time.Hour), false)
		if got := fetched(t, s, dir, now.Add(25*time.Hour), true); strings.Count(got, "\n") != 3 {
			t.Errorf("%s", got)
		}
		c, err := Open(s, dir)
		if err != nil || !c.At.Equal(now.Add(25*time.Hour)) || c.Indicators != 3 {
			t.Errorf("%+v %v", c, err)
		}
		c.Close()
	}
}

func TestTAXIIIsFoundByAnyOfItsURLs(t *testing.T) {
	web := serveTAXII(t)
	web.all = []stixObject{{"2026-11-01T00:00:00.000000Z", indicator(1, "2026-11-01T00:00:00.000Z", "198.51.100.1", "")}}
	secret := file(t, "s3cret")
	for _, at := range []string{"", "/", "/taxii2", "/taxii2/", "/root", "/root/collections/", "/root/collections/" + collectionID, "/root/collections/" + collectionID + "/objects/"} {
		s := &Source{TAXII: web.URL + at, User: "ray", PasswordFile: secret, PlainToken: true}
		fetched(t, s, t.TempDir(), time.Now(), true)
	}
	with := func(change func(s *Source)) *Source {
		s := &Source{TAXII: web.URL + "/root/", User: "ray", PasswordFile: secret, PlainToken: true}
		change(s)
		return s
	}
	dir := t.TempDir()
	refused(t, with(func(s *Source) { s.Collection = "none" }), dir, `no such collection; there are "High value"`)
	refused(t, with(func(s *Source) { s.Collection = "closed" }), dir, "denies access to this collection")
	refused(t, with(func(s *Source) { s.PasswordFile = file(t, "wrong") }), dir, "401")
	refused(t, with(func(s *Source) { s.PasswordFile = file(t, "") }), dir, "is empty")
	refused(t, with(func(s *Source) { s.TAXII = web.URL + "/nowhere/" }), dir, "404")
	for status, want := range map[int]string{403: "denies access", 406: "does not speak the version", 500: "status 500", 204: "status 204"} {
		web.status = status
		refused(t, with(func(*Source) {}), dir, want)
	}
	web.status = 0
	web.kind = "application/vnd.oasis.taxii+json; version=2.0"
	refused(t, with(func(*Source) {}), dir, "speaks TAXII 2.0")
	web.kind = "text/html; charset=utf-8"
	refused(t, with(func(*Source) {}), dir, "web page")
}

// TestABadFeedChangesNothing: whatever comes in place of a feed, what was there stays.
func TestABadFeedChangesNothing(t *testing.T) {
	var answer http.HandlerFunc
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer web.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("another server is shown the token")
		}
		io.WriteString(w, "198.51.100.77\n")
	}))
	defer other.Close()
	dir := t.TempDir()
	s := &Source{URL: web.URL + "/feed.csv", TokenFile: file(t, "s3cret"), PlainToken: true, Size: 64 << 10}
	calls := 0
	answer = func(w http.ResponseWriter, r *http.Request) {
		calls++
		if r.Header.Get("Authorization") != "Bearer s3cret" {
			w.WriteHeader(401)
			return
		}
		if r.Header.Get("If-None-Match") == `"one"` && r.Header.Get("If-Modified-Since") != "" {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Last-Modified", "Mon, 30 Nov 2026 08:00:00 GMT")
		io.WriteString(w, "198.51.100.1\n198.51.100.2\n")
	}
	now := time.Now().Add(-time.Hour)
	fetched(t, s, dir, now, true)
	fetched(t, s, dir, now.Add(time.Minute), false)
	if calls != 2 {
		t.Errorf("%d calls", calls)
	}
	for want, f := range map[string]http.HandlerFunc{
		"size": func(w http.ResponseWriter, _ *http.Request) { io.Copy(w, io.LimitReader(endless{}, 1<<30)) },
		"broke off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "1")
		},
		"web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>")
		},
		"zip archive":       func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "PK\x03\x04....") },
		"is empty":          func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, " \n") },
		"not one indicator": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "# under construction\n") },
		"status 503":        func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "7"); w.WriteHeader(503) },
		"another server":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
		"not http or https": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		},
		"without end": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) },
	} {
		answer = f
		refused(t, s, dir, want)
	}
	web.Close()
	refused(t, s, dir, "refused")

	// Without credentials it may lead elsewhere, and on the same server also with them.
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }))
	defer open.Close()
	fetched(t, &Source{URL: open.URL}, t.TempDir(), time.Now(), true)
	same := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/moved", http.StatusMovedPermanently)
			return
		}
		io.WriteString(w, "198.51.100.3 "+r.Header.Get("Authorization"))
	}))
	defer same.Close()
	if got := fetched(t, &Source{URL: same.URL, TokenFile: s.TokenFile, PlainToken: true}, t.TempDir(), time.Now(), true); !strings.HasSuffix(got, "s3cret") {
		t.Errorf("%q", got)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// TestEnvelopesAreBounded: a server that has no end of pages, or objects larger than what is to be kept.
func TestEnvelopesAreBounded(t *testing.T) {
	var envelope func(n int) string
	n := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		w.Header().Set("Content-Type", "application/taxii+json;version=2.1")
		io.WriteString(w, envelope(n))
	}))
	defer web.Close()
	s := &Source{TAXII: web.URL + "/r/collections/" + collectionID + "/", Size: 100 << 10}
	for want, f := range map[string]func(int) string{
		"page repeatedly":    func(int) string { return `{"more":true,"next":"x"}` },
		"does not say where": func(int) string { return `{"more":true,"objects":[]}` },
		"pages without end":  func(n int) string { return fmt.Sprintf(`{"more":true,"next":"%d"}`, n) },
		"cannot be read":     func(int) string { return `{"objects":[{"type":` },
		"object that cannot": func(int) string { return `{"objects":[7]}` },
		"the bound on its size": func(n int) string {
			return fmt.Sprintf(`{"more":true,"next":"%d","objects":[%s]}`, n, indicator(n, "2026", "198.51.100.1", `,"x":"`+strings.Repeat("y", 10_000)+`"`))
		},
	} {
		envelope = f
		refused(t, s, t.TempDir(), want)
	}
	envelope = func(int) string { return `{}` }
	fetched(t, s, t.TempDir(), time.Now(), true)
}

// mispServer answers as MISP 2.5's attributes/restSearch.
func serveMISP(t *testing.T, all *[]map[string]any) *httptest.Server {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		if r.Header.Get("Authorization") != "s3cret" {
			w.WriteHeader(403)
			io.WriteString(w, `{"name":"Authentication failed. Please make sure you pass the API key of an API enabled user along in the Authorization header.","message":"","url":"\/attributes\/restSearch"}`)
			return
		}
		var q struct {
			ReturnFormat string
			Limit, Page  int
			ToIDs        int `json:"to_ids"`
			Published    int
			Timestamp    string
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || r.Method != "POST" || r.URL.Path != "/attributes/restSearch" || q.ReturnFormat != "json" || q.ToIDs != 1 || q.Published != 1 || r.Header.Get("Accept") != "application/json" {
			t.Errorf("asked %s %s %+v", r.Method, r.URL, q)
		}
		hits := []map[string]any{}
		for _, a := range *all {
			if a["timestamp"].(string) >= q.Timestamp {
				hits = append(hits, a)
			}
		}
		hits = hits[min((q.Page-1)*q.Limit, len(hits)):]
		json.NewEncoder(w).Encode(map[string]any{"response": map[string]any{"Attribute": hits[:min(q.Limit, len(hits))]}})
	}))
	t.Cleanup(web.Close)
	return web
}

func TestMISP(t *testing.T) {
	var all []map[string]any
	add := func(n int, value, timestamp string) {
		all = append(all, map[string]any{
			"id": strconv.Itoa(n), "event_id": "7", "object_id": "0", "category": "Network activity", "type": "ip-dst", "to_ids": true,
			"uuid": fmt.Sprintf("5a0c1b2e-0001-4b1c-9a44-%012d", n), "timestamp": timestamp, "comment": "", "deleted": false, "value": value,
			"Event": map[string]any{"id": "7", "info": "RondoDox", "uuid": "5a0c1b2e-0001-4b1c-9a44-02de0a021402", "org_id": "1"},
		})
	}
	for i := range pageLimit + 10 {
		add(i, fmt.Sprintf("198.51.100.%d", i%250), "1700000000")
	}
	web := serveMISP(t, &all)
	s := &Source{MISP: web.URL, TokenFile: file(t, "s3cret"), PlainToken: true, Name: "ours"}
	dir := t.TempDir()
	now := time.Unix(1700000100, 0)
	got := fetched(t, s, dir, now, true)
	if strings.Count(got, "\n") != pageLimit+10 || !strings.Contains(got, `"Event":{"info":"RondoDox"}`) || !strings.Contains(got, `"to_ids":true`) {
		t.Errorf("%.500s", got)
	}
	add(5000, "198.51.100.250", "1700000200")
	all[0] = map[string]any{"uuid": all[0]["uuid"], "category": "Network activity", "type": "ip-dst", "to_ids": false, "timestamp": "1700000201", "value": "x"}
	got = fetched(t, s, dir, now.Add(time.Hour), true)
	if strings.Count(got, "\n") != pageLimit+10 || !strings.Contains(got, "198.51.100.250") {
		t.Errorf("%d", strings.Count(got, "\n"))
	}
	refused(t, &Source{MISP: web.URL, TokenFile: file(t, "wrong"), PlainToken: true}, dir, "403")
}

func TestMISPFeed(t *testing.T) {
	event := func(info, value string) string {
		return `{"Event":{"info":"` + info + `","uuid":"ignored","timestamp":"1","Galaxy":[{"meta":"` + strings.Repeat("x", 1000) + `"}],
		 "Attribute":[{"type":"ip-dst","category":"Network activity","to_ids":true,"value":"` + value + `","timestamp":"1700000000"},
		              {"type":"comment","category":"Other","to_ids":false,"value":"198.51.100.99","timestamp":"1700000000"}],
		 "Object":[{"name":"x","Attribute":[{"type":"domain","category":"Network activity","to_ids":"1","value":"evil.example","timestamp":1700000000}]}]}}`
	}
	const a, b, c = "5a0c1b2e-0001-4b1c-9a44-02de0a021401", "5A0C1B2E-0002-4b1c-9a44-02de0a021402", "5a0c1b2e-0003-4b1c-9a44-02de0a021403"
	files := map[string]string{
		"/osint/manifest.json":  `{"` + a + `":{"info":"a","timestamp":"1700000001","Orgc":{}},"` + b + `":{"info":"b","timestamp":1700000002}}`,
		"/osint/" + a + ".json": event("a", "198.51.100.1"), "/osint/" + b + ".json": event("b", "198.51.100.2"), "/osint/" + c + ".json": event("c", "198.51.100.3"),
	}
	var asked []string
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		if text, ok := files[r.URL.Path]; ok && r.URL.Query().Get("k") == "s3cret" {
			io.WriteString(w, text)
			return
		}
		w.WriteHeader(404)
	}))
	defer web.Close()
	ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
	dir := t.TempDir()
	s := &Source{MISPFeed: web.URL + "/osint/manifest.json?k=s3cret", CA: ca}
	got := fetched(t, s, dir, time.Now(), true)
	if strings.Count(got, "\n") != 2 || strings.Contains(got, "Galaxy") || strings.Contains(got, "198.51.100.99") || strings.Count(got, "evil.example") != 2 {
		t.Errorf("%s", got)
	}
	// One event goes, one comes, one stays and is not asked for again.
	asked = nil
	files["/osint/manifest.json"] = `{"` + a + `":{"timestamp":"1700000001"},"` + c + `":{"timestamp":"1700000003"}}`
	got = fetched(t, s, dir, time.Now(), true)
	if strings.Count(got, "\n") != 2 || strings.Contains(got, "198.51.100.2\"") || !slices.Equal(asked, []string{"/osint/manifest.json", "/osint/" + c + ".json"}) {
		t.Errorf("%v %s", asked, got)
	}
	files["/osint/manifest.json"] = `{"../../etc/passwd":{"timestamp":"1"}}`
	refused(t, s, dir, "other than events")
	files["/osint/manifest.json"] = `{"` + b + `":{"timestamp":"9"}}`
	files["/osint/"+b+".json"] = `{"Event":`
	refused(t, s, dir, "cannot be read")
	refused(t, &Source{MISPFeed: web.URL + "/osint/?k=s3cret"}, t.TempDir(), "certificate")
	refused(t, &Source{MISPFeed: web.URL + "/osint/?k=s3cret", CA: file(t, "none")}, t.TempDir(), "has no certificate")
}

// TestKeeper: a server that goes away is told of once, and once when it is back; what changes is told; the cache of a run
// before is not fetched again before its time.
func TestKeeper(t *testing.T) {
	var mu sync.Mutex
	status, text, calls := 200, "198.51.100.1\n", 0
	answered := make(chan int, 1000)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls++
		w.WriteHeader(status)
		io.WriteString(w, text)
		answered <- calls
	}))
	defer web.Close()
	dir := t.TempDir()
	said, changed := make(chan string, 100), make(chan bool, 100)
	k := NewKeeper(KeeperOptions{Dir: dir, Check: lines, Changed: func() { changed <- true }, Say: func(s string) { said <- s }, pause: 2 * time.Millisecond})
	s := Source{URL: web.URL, Name: "pools", Interval: 3 * time.Millisecond} // below what Check takes
	mu.Lock()
	status = 500
	mu.Unlock()
	k.Configure([]Source{s, s, {File: "x"}})
	if got := <-said; got != "feed pools: answers with status 500; there is nothing of it in the cache" {
		t.Errorf("%q", got)
	}
	for range 5 {
		<-answered
	}
	if st := k.Status(); len(st) != 1 || !st[0].Away || !st[0].At.IsZero() {
		t.Errorf("%+v", st)
	}
	mu.Lock()
	status = 200
	mu.Unlock()
	<-changed
	if got := <-said; got != "feed pools is back" {
		t.Errorf("%q", got)
	}
	if st := k.Status(); st[0].Away || st[0].Indicators != 1 || time.Since(st[0].At) > time.Minute {
		t.Errorf("%+v", st)
	}
	mu.Lock()
	text = "198.51.100.1\n198.51.100.2\n"
	mu.Unlock()
	<-changed
	mu.Lock()
	status = 403
	mu.Unlock()
	if got := <-said; !strings.HasPrefix(got, "feed pools: denies access (status 403); what it had on 20") {
		t.Errorf("%q", got)
	}
	k.Configure(nil)
	if st := k.Status(); len(st) != 0 {
		t.Errorf("%+v", st)
	}
	k.Close()
	mu.Lock()
	before := calls
	mu.Unlock()
	if len(said) != 0 {
		t.Errorf("said %q", <-said)
	}
	s.Interval = time.Hour
	k = NewKeeper(KeeperOptions{Dir: dir, Check: lines, Changed: func() {}, Say: func(string) {}})
	k.Configure([]Source{s})
	time.Sleep(20 * time.Millisecond)
	k.Close()
	mu.Lock()
	defer mu.Unlock()
	if calls != before {
		t.Error("what is fresh was fetched")
	}
}

// TestKeeperDoesNotHangOnAServer that takes the question and never answers.
func TestKeeperDoesNotHangOnAServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	came := make(chan bool, 1)
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came <- true; <-ctx.Done() }))
	k := NewKeeper(KeeperOptions{Dir: t.TempDir(), Check: lines, Changed: func() {}, Say: func(s string) { t.Error(s) }})
	k.Configure([]Source{{URL: web.URL}})
	<-came
	k.Close()
	cancel()
	web.Close()
}

func TestSourcesAreChecked(t *testing.T) {
	for want, s := range map[string]Source{
		"is empty":                      {},
		"names no source":               {Interval: time.Hour},
		"not several":                   {File: "a", URL: "https://x/"},
		"no settings of its own":        {File: "a", Interval: time.Hour},
		"taxii: not a URL":              {TAXII: "ftp://x"},
		"url: credentials belong":       {URL: "https://a:b@x/"},
		"collection: only":              {URL: "https://x/", Collection: "y"},
		"misp: takes token_file":        {MISP: "https://x/"},
		"MISP's API takes a key":        {MISP: "https://x/", TokenFile: "t", User: "u"},
		"one of them":                   {TAXII: "https://x/", TokenFile: "t", User: "u", PasswordFile: "p"},
		"need each other":               {TAXII: "https://x/", User: "u"},
		"interval: 1s is not":           {URL: "https://x/", Interval: time.Second},
		"since: a url":                  {URL: "https://x/", Since: time.Hour},
		"size: 1 is not":                {URL: "https://x/", Size: 1},
		"name: up to":                   {URL: "https://x/", Name: "a\nb"},
		"sent in clear text over http:": {TAXII: "http://x/", TokenFile: "t"},
		"url: a URL with #":             {URL: "https://x/#f"},
	} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
	for _, s := range []Source{{TAXII: "http://127.0.0.1:1/", TokenFile: "t"}, {TAXII: "http://x/", TokenFile: "t", PlainToken: true}, {MISPFeed: "http://x/y/"}} {
		if err := s.Check(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
	var s Source
	if err := s.SetText("https://x.example/f.csv"); err != nil || s.URL == "" || s.Title() != "x.example" {
		t.Errorf("%v %+v", err, s)
	}
	if word, ok := s.Text(); !ok || word != "https://x.example/f.csv" {
		t.Error(word)
	}
}
