package raytap

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/feeds"
)

// matched runs a capture with a feed and gives the findings of intel/match from info on.
func matched(t *testing.T, capture, feed string) []string {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Checksums = "ignore"
	if feed != "" {
		name := filepath.Join(t.TempDir(), "feed.csv")
		if err := os.WriteFile(name, []byte(feed), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Intel = feeds.Files(name)
	}
	heard, _ := listen(t, cfg, capture)
	var said []string
	for _, f := range heard.findings {
		if f.Rule == "intel/match" {
			checkFinding(t, f)
			said = append(said, f.Severity.String()+" "+f.Src.String()+" "+f.Dst.String())
		}
	}
	return said
}

// TestIntelOnACapture: what a feed lists is found in a capture, and the same capture is silent without it.
func TestIntelOnACapture(t *testing.T) {
	const file = "pcaps/attack-secrets.pcap.gz"
	if said := matched(t, file, ""); len(said) > 0 {
		t.Errorf("without a feed: %v", said)
	}
	said := matched(t, file, "indicator,type\n198.51.100[.]77,ip\n")
	if len(said) != 1 || said[0] != "high 10.20.0.10 198.51.100.77" {
		t.Errorf("with a feed: %v", said)
	}
	if said := matched(t, file, "198.51.100.78\n198.51.100.77:9\n"); len(said) > 0 {
		t.Errorf("neighbours: %v", said)
	}
}

// TestSharedServicesAreNoFindings: the built-in list has services that miners and testers use like anybody.
func TestSharedServicesAreNoFindings(t *testing.T) {
	for _, file := range []string{"pcaps/mining-xmrig.pcap.gz", "pcaps/attack-job-blind.pcap.gz"} {
		said := matched(t, file, "")
		if len(said) == 0 {
			t.Errorf("%s: nothing is said", file)
		}
		for _, s := range said {
			if !strings.HasPrefix(s, detectors.Info.String()+" ") {
				t.Errorf("%s: %s", file, s)
			}
		}
	}
}

func TestIntelThatCannotBeRead(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Intel = feeds.Files("pcaps/no-such-feed.csv")
	if _, _, err := cfg.LoadIntel(); err == nil || !strings.Contains(err.Error(), "no-such-feed.csv: no such file") {
		t.Errorf("%v", err)
	}
	if _, err := run(t.Context(), cfg, nil, false, nil); err == nil {
		t.Error("a run without the feed that it was told to use")
	}
}
