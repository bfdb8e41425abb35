package beacon

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `beacon` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("beacon", Default, settingsDoc, map[string]detectors.Key{
		"score":       {Least: 0.01, Most: 1},
		"time":        {Least: 0, Most: 1, Zero: true},
		"calls":       {Least: minCalls, Most: maxCalls / 2},
		"span":        {Least: detectors.Second, Most: detectors.Month},
		"answer":      {Least: 1, Most: detectors.Petabyte},
		"request":     {Least: 1, Most: detectors.Petabyte},
		"prevalence":  {Least: 2, Most: detectors.Many},
		"after_job":   {Least: detectors.Second, Most: detectors.Month},
		"short_every": {Least: detectors.Second, Most: detectors.Month},
		"allow":       {Nets: true, Domains: true},
	})
}
