package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/beacon"
)

// numeric reports whether a key's values are numbers.
func numeric(v reflect.Value) bool {
	t := v.Type()
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64
}

// TestEveryNumberHasBounds: no number goes into a detector or a part of the run that nobody has thought of, and each
// default is within its bounds.
func TestEveryNumberHasBounds(t *testing.T) {
	c := Default()
	known := map[string]bool{}
	eachKey(reflect.ValueOf(&c).Elem(), "", func(key string, v reflect.Value) {
		known[key] = true
		b, ok := keys()[key]
		ok = ok && b.Number()
		if !numeric(v) {
			if ok {
				t.Errorf("%s is no number", key)
			}
			return
		}
		if !ok {
			t.Errorf("%s, %v, has no bounds", key, v.Type())
			return
		}
		zero := reflect.Zero(v.Type())
		if v.Kind() == reflect.Slice {
			zero = reflect.Zero(v.Type().Elem())
		}
		if err := check(key, zero.Interface()); (err == nil) != (b.Zero || b.Least == 0) {
			t.Errorf("%s: 0 is said to be taken: %v; got %v", key, b.Zero, err)
		}
		for _, n := range []float64{-1, b.Most * 2, b.Most + 1, 1e18} {
			x := reflect.New(zero.Type()).Elem()
			switch x.Kind() {
			case reflect.Float64:
				x.SetFloat(n)
			case reflect.Uint64:
				if n < 0 {
					continue
				}
				x.SetUint(uint64(n))
			default:
				x.SetInt(int64(n))
			}
			if n > b.Most || n < 0 {
				if err := check(key, x.Interface()); err == nil {
					t.Errorf("%s takes %v", key, x)
				}
			}
		}
	})
	for key := range keys() {
		if k := keys()[key]; k.Number() && !known[key] {
			t.Errorf("%s has bounds and is no key", key)
		}
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// TestBoundsSay: what is wrong with a value, by key.
func TestBoundsSay(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"scan: {ray_ports: [8265, 99999]}", "scan.ray_ports: 99999 is not between 1 and 65535"},
		{"scan: {ray_ports: [0]}", "scan.ray_ports: 0 is not between"},
		{"scan: {hosts: -1}", "scan.hosts: -1 is not between"},
		{"scan: {benign: 1.5}", "scan.benign: 1.5 is not between"},
		{"beacon: {score: 90}", "beacon.score: 90 is not between 0.01 and 1"},
		{"beacon: {span: 0s}", "beacon.span: 0s is not between 1s and 720h0m0s"},
		{"flood: {connections: 0}", "flood.connections: 0 is not between"},
		{"metrics: {quiet: 1ms}", "metrics.quiet: 1ms is neither 0 nor between 1s"},
		{"oast: {domains: [\"foo bar\"]}", `oast.domains: "foo bar" is not a domain`},
		{"oast: {domains: [10.0.0.1]}", `oast.domains: "10.0.0.1" is an address`},
		{"dns_tunnel: {allow: [\"*.example.com\"]}", `dns_tunnel.allow: "*.example.com" is not a domain`},
		{"beacon: {allow: [10.0.0.0/33]}", `beacon.allow: "10.0.0.0/33" is neither`},
		{"beacon: {allow: [a..b]}", `beacon.allow: "a..b" is neither a network nor a domain`},
		{"flood: {allow: [nobody]}", `flood.allow: "nobody" is neither`},
		{"shell: {allow: [x]}", `shell.allow: "x" is neither`},
		{"tunnel: {allow: [10.1.2.3/8]}", "tunnel.allow: 10.1.2.3/8 has bits after its first 8: write 10.0.0.0/8"},
		{"home: [10.20.0.5/16]", "home: 10.20.0.5/16 has bits after its first 16: write 10.20.0.0/16 for the network, or 10.20.0.5 for the one address"},
		{"home: [\"2001:db8::1/32\"]", "home: 2001:db8::1/32 has bits after its first 32: write 2001:db8::/32"},
		{"home: [\"fe80::1%eth0\"]", "has a zone"},
	} {
		_, err := Load(configFile(t, c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.text, err, c.want)
		}
	}
	for _, text := range []string{
		"egress: {allow: [10.0.0.0/8, models.example.com, .example.org, \"2001:db8::/32\"]}", "tunnel: {allow: [Tailscale, 192.0.2.1, \"Cloudflare Tunnel\"]}",
		"oast: {domains: [xn--bcher-kva.example, _x.test, lan]}", "beacon: {allow: [10.0.0.1, time.example.com]}", "home: [10.20.0.5/32, 0.0.0.0/0]",
	} {
		if _, err := Load(configFile(t, text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	c := Default()
	if err := c.Set("payload.job_for", "0s"); err == nil {
		t.Error("a flag is not bounded")
	}
	detectors.Change(&c.Sections, func(s *beacon.Config) { s.Span = 10000 * time.Hour })
	if err := c.Check(); err == nil {
		t.Error("a program's settings are not bounded")
	}
}

// TestSectionsAreCheckedBesideValues: a section that contradicts itself is told of beside values that are wrong.
func TestSectionsAreCheckedBesideValues(t *testing.T) {
	_, err := Load(configFile(t, "beacon:\n  calls: 900\n  score: 90\ndns_tunnel: {names: 300, length: 0}\nscan: {benign: 0.1, ports: 0}\n"))
	for _, want := range []string{"beacon.score: 90", "beacon.calls: 900", "dns_tunnel.names: 300", "dns_tunnel.length: 0", "scan: scanner: 0.2 is not less than benign, 0.1", "scan.ports: 0"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 6 {
		t.Errorf("%d mistakes: %v", n, err)
	}
}
