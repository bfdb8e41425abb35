package capture

import (
	"strings"
	"testing"
)

func TestSelectInterfaces(t *testing.T) {
	for _, c := range []struct {
		list, fit, not string // with commas
	}{
		{"veth*", "veth0,vethab12", "eth0,lo,xveth"},
		{"veth*,cali?", "veth0,cali1", "cali12"},
		{"eth[0-2]", "eth1", "eth3"},
		{"any", "lo,eth0,x", ""},
		{"any,-lo,-docker*", "eth0", "lo,docker0"},
		{"any,eth0", "eth1", "eth0"}, // it is one of the named ones
		{"default", "", "eth0"},
		{"default,veth*", "veth1", "eth0"},
		{"eth0,eth1", "", "eth0,eth2"},
	} {
		s, err := selectInterfaces(strings.Split(c.list, ","))
		if err != nil {
			t.Errorf("%s: %v", c.list, err)
			continue
		}
		for i, names := range []string{c.not, c.fit} {
			for _, n := range strings.Split(names, ",") {
				if n != "" && s.fits(n, false) != (i == 1) {
					t.Errorf("%s: fits %s: %v", c.list, n, i == 0)
				}
			}
		}
	}
	s, _ := selectInterfaces([]string{"default", "-wlan*"})
	if !s.fits("eth0", true) || s.fits("wlan0", true) {
		t.Error("the default route's interface is not told from others")
	}
	for _, bad := range []string{"", "-", "-lo", "a b", "a/b", "..", "[", "eth[0-", "sixteenletters16"} {
		if _, err := selectInterfaces([]string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
