package engine

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/egress"
)

func TestHomeDecidesWhatIsLocal(t *testing.T) {
	says := func(c Config, addr string) bool { return c.local().Contains(netip.MustParseAddr(addr)) }
	c := Default()
	if !says(c, "10.1.2.3") || says(c, "8.8.8.8") || says(c, "2a00::1") {
		t.Error("default home")
	}
	c.Home = []string{"2a00::/16"}
	if says(c, "10.1.2.3") || !says(c, "2a00::1") {
		t.Error("home by configuration")
	}
	c.Home = nil
	if !says(c, "192.168.0.1") {
		t.Error("no home is the default home")
	}
}

// TestDetectorsAreToldTheirSections: each has its own under its name.
func TestDetectorsAreToldTheirSections(t *testing.T) {
	c := Default()
	detectors.Change(&c.Sections, func(s *egress.Config) { s.Bytes = 1 })
	if s, ok := c.settings()["egress"].(*egress.Config); !ok || s.Bytes != 1 {
		t.Error("the detector is not told")
	}
}
