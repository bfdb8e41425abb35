package scan

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `scan` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("scan", Default, settingsDoc, map[string]detectors.Key{
		"benign":        {Least: 0.001, Most: 0.999999},
		"scanner":       {Least: 0.001, Most: 0.999999},
		"detect":        {Least: 0.001, Most: 0.999999},
		"false_alarm":   {Least: 1e-9, Most: 0.999999},
		"window":        {Least: detectors.Second, Most: detectors.Month},
		"hosts":         {Least: 1, Most: detectors.Many},
		"ray_hosts":     {Least: 1, Most: detectors.Many},
		"home_hosts":    {Least: 1, Most: detectors.Many},
		"home_many":     {Least: 1, Most: maxContacts},
		"outside_hosts": {Least: 1, Most: detectors.Many},
		"ports":         {Least: 1, Most: 65536},
		"home_ports":    {Least: 1, Most: 65536},
		"ray_ports":     {Least: 1, Most: 65535},
		"allow":         {Nets: true},
	})
}
