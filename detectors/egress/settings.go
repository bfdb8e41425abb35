package egress

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `egress` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("egress", Default, settingsDoc, map[string]detectors.Key{
		"bytes":          {Least: 1, Most: detectors.Petabyte, Why: "it would speak of every byte"},
		"window":         {Least: detectors.Second, Most: detectors.Month},
		"allow":          {Nets: true, Domains: true},
		"serving":        {Least: 1, Most: detectors.Many, Why: "it would speak of every byte"},
		"public_serving": {Least: 1, Most: detectors.Many, Why: "it would speak of every byte"},
		"long_used":      {Least: 1, Most: detectors.Many, Why: "it would speak of every byte"},
		"day":            {Least: 1, Most: detectors.Petabyte, Zero: true, Unset: "not looked at"},
		"deviations":     {Least: 0, Most: detectors.Many, Zero: true},
	})
}
