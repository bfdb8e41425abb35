package campaign

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `campaign` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("campaign", Default, settingsDoc, map[string]detectors.Key{
		"quiet":  {Least: detectors.Minute, Most: detectors.Month, Why: "an attack would fall into pieces"},
		"follow": {Least: detectors.Second, Most: detectors.Month},
		"allow":  {Nets: true},
	})
}
