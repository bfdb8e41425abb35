package assets

import (
	_ "embed"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `assets` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("assets", func() Config { return Config{} }, settingsDoc, map[string]detectors.Key{
		"refresh": {Least: detectors.Minute, Most: detectors.Month, Zero: true, Why: "assets are looked through once a minute"},
	})
}
