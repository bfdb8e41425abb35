package data

import (
	_ "embed"
	"strings"
)

//go:embed indicators.csv
var indicatorsCSV string

//go:embed shared.csv
var sharedCSV string

// Indicators is the built-in feed, a CSV file with a header, and its version.
func Indicators() (csv, version string) {
	version = header(indicatorsCSV, "version ")
	return indicatorsCSV, version
}

// Shared calls f with each name or network that too many use to be an indicator, and whose it is.
func Shared(f func(what, whose string)) {
	for line := range strings.Lines(sharedCSV) {
		if what, whose, ok := strings.Cut(strings.TrimSpace(line), ","); ok && line[0] != '#' {
			f(what, whose)
		}
	}
}
