package dnstunnel

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `dns_tunnel` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("dns_tunnel", Default, settingsDoc, map[string]detectors.Key{
		"bytes":  {Least: 1, Most: detectors.Petabyte},
		"length": {Least: 1, Most: 253}, // of a name, RFC 1035 section 2.3.4
		"names":  {Least: 1, Most: maxNames},
		"window": {Least: detectors.Second, Most: detectors.Month},
		"allow":  {Domains: true},
	})
}
