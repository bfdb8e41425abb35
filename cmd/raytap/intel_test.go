package main

import (
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
