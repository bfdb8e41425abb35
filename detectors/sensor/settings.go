package sensor

import (
	_ "embed"
	"fmt"
	"strings"

	"github.com/raytap/raytap/detectors"
)

//go:embed settings.yaml
var settingsDoc string

// settings describe the section `sensor` of the configuration.
func settings() *detectors.Settings {
	return detectors.Section("sensor", Default, settingsDoc, map[string]detectors.Key{
		"name": {Text: checkName},
		"loss": {Least: 0.001, Most: 100},
	})
}

// maxName is the longest name of a host that RFC 5424 takes.
const maxName = 255

func checkName(s string) error {
	if len(s) > maxName || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%q is not a name: up to %d letters, digits and signs of ASCII", s, maxName)
	}
	return nil
}
