package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestIntelDescribesFeeds(t *testing.T) {
	dir := folder(t, map[string]string{
		"good.txt":  "203.0.113.1\nevil[.]example[.]org\n10.0.0.1\nraw.githubusercontent.com\n",
		"empty.txt": "# nothing\n",
		"a.pcap":    string(attack(1700000000)),
	})
	r := invoke(t, dir, nil, "intel", "good.txt")
	r.expect(t, 0, "good.txt: list, 4 records, 3 indicators", "")
	for _, want := range []string{"1  ip\n", "2  domain\n", "1  skipped: a private or reserved address: 3 10.0.0.1", "rated info: raw.githubusercontent.com", "3 indicators in all"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in %s", want, r.stdout)
		}
	}
	invoke(t, dir, nil, "intel", "empty.txt").expect(t, 1, "0 indicators", "")
	invoke(t, dir, nil, "intel", "good.txt", "none.txt").expect(t, 1, "3 indicators", "none.txt: no such file")
	invoke(t, dir, nil, "intel").expect(t, 2, "", "no feed given")

	invoke(t, dir, nil, "replay", "--intel", "good.txt", "--intel=empty.txt", "a.pcap").expect(t, 0, "8 packets", "empty.txt: no indicators")
	invoke(t, dir, nil, "replay", "--intel", "none.txt", "a.pcap").expect(t, 1, "", "none.txt: no such file")
	invoke(t, dir, nil, "replay", "--intel=", "a.pcap").expect(t, 2, "", "intel: is empty")
}

// TestIntelReadsFolders: a folder is its feeds, a folder of MISP's events one feed of one source, and what is left out is said.
func TestIntelReadsFolders(t *testing.T) {
	event := func(info, value string) string {
		return `{"Event":{"info":"` + info + `","Attribute":[{"type":"ip-dst","category":"Network activity","to_ids":true,"value":"` + value + `","timestamp":"1700000000"}]}}`
	}
	dir := folder(t, map[string]string{
		"feeds/osint/manifest.json":                             `{"5a0c1b2e-0001-4b1c-9a44-02de0a021402":{"info":"one","timestamp":"1700000000"}}`,
		"feeds/osint/hashes.csv":                                "d41d8cd98f00b204e9800998ecf8427e,5a0c1b2e-0001-4b1c-9a44-02de0a021402\n",
		"feeds/osint/5a0c1b2e-0001-4b1c-9a44-02de0a021402.json": event("one", "203.0.113.66"),
		"feeds/osint/5a0c1b2e-0002-4b1c-9a44-02de0a021402.json": event("two", "203.0.113.66"),
		"feeds/more/list.txt":                                   "203.0.113.9\n",
		"feeds/README.md":                                       "# feeds\n",
		"feeds/.old.csv":                                        "203.0.113.8\n",
		"none/README":                                           "",
		"a.pcap":                                                string(attack(1700000000)),
		"home.yaml":                                             "intel: [feeds, 'feeds/more/*.txt']\n",
	})
	r := invoke(t, dir, nil, "intel", "feeds")
	r.expect(t, 0, "osint: misp, 2 files, 2 records, 2 indicators", "")
	for _, want := range []string{"more/list.txt: list, 1 records", "feeds: 3 files were read; left out: README.md: not named as a feed, 1 hidden", "2 indicators in all, 1 of them more than once"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in %s", want, r.stdout)
		}
	}
	invoke(t, dir, nil, "intel", "none").expect(t, 1, "none: no feed is in it; left out: README: not named as a feed", "")
	invoke(t, dir, nil, "intel", "feeds/*/*.none").expect(t, 1, "no feed is in it", "")
	// A folder, and a pattern for a file that is in it: one source each.
	invoke(t, dir, nil, "replay", "--config", "home.yaml", "--home", "10.0.0.0/8", "a.pcap").expect(t, 0, "203.0.113.66, which osint lists as one, connected", "feeds: 3 files were read; left out")
}

// TestReplayFetchesFeedsOnce: what a server gave is in the cache, and a second run says the same without it.
func TestReplayFetchesFeedsOnce(t *testing.T) {
	calls := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		io.WriteString(w, "ip,description\n203.0.113.66,a bad one\n")
	}))
	dir := folder(t, map[string]string{
		"a.pcap": string(attack(1700000000)),
		"r.yaml": "intel:\n  - {url: '" + web.URL + "/x.csv', name: pools}\nintel_cache: cache\n",
		"w.yaml": "intel:\n  - ok.csv\n  - {taxii: 'ftp://x'}\n  - {url: 'https://x.example/', intervall: 1h}\n",
	})
	invoke(t, dir, nil, "replay", "--offline", "--config", "r.yaml", "a.pcap").expect(t, 1, "", "feed pools: nothing of it is in cache, and --offline fetches none")
	const found = "203.0.113.66, which pools lists as a bad one"
	invoke(t, dir, nil, "replay", "--config", "r.yaml", "a.pcap").expect(t, 0, found, "raytap: feed pools is fetched\nraytap: feed pools: 1 indicators of 20")
	web.Close()
	invoke(t, dir, nil, "replay", "--offline", "--config", "r.yaml", "a.pcap").expect(t, 0, found, "raytap: feed pools: 1 indicators of 20")
	invoke(t, dir, nil, "replay", "--quiet", "--config", "r.yaml", "a.pcap").expect(t, 0, "", "")
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
	invoke(t, dir, nil, "replay", "--intel", web.URL, "a.pcap").expect(t, 1, "", "feed 127.0.0.1: ")
	r := invoke(t, dir, nil, "config", "check", "w.yaml")
	for _, want := range []string{"w.yaml:3: intel: taxii: not a URL", "w.yaml:4: intel.intervall: unknown key; did you mean interval?"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in %s", want, r.stderr)
		}
	}
	invoke(t, dir, nil, "config", "show", "--config", "r.yaml").expect(t, 0, "intel: [{url: \""+web.URL+"/x.csv\", name: pools}]", "")
}
