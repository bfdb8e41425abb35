package data

import "testing"

func TestPrivate(t *testing.T) {
	for name, want := range map[string]bool{
		"head": true, "raycluster-head-svc.default.svc": true, "ray.corp": true, "nas.lan.": true, "printer.local": true,
		"metadata.google.internal": true, "router.home.arpa": true, "7.113.0.203.in-addr.arpa": true, "x.private": true,
		"pool.supportxmr.com": false, "corp.example": false, "evil.test": false, "local.example.org": false, "a.home.example.com": false,
		"internal-elb.amazonaws.com": false,
	} {
		if got := Private(name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
