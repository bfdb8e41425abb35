// Package data holds the facts that detectors share and that change without the code: the list of mining pools, the
// names of the ATLAS and ATT&CK techniques and tactics, published indicators, services that many share. In: embedded
// files with a version, a source and a licence in their heads. Out: look-ups.
//
// It does not judge: whether a listed name is a finding is for the detector to say.
package data

import (
	_ "embed"
	"strings"
)

//go:embed techniques.csv
var techniquesCSV string

//go:embed tactics.csv
var tacticsCSV string

// Technique gives the name of an ATLAS or ATT&CK technique and its tactic or tactics, separated by "; ". It reads the
// file each time: for reports and documents, not for packets.
func Technique(id string) (name, tactic string, ok bool) {
	for line := range strings.Lines(techniquesCSV) {
		rest, found := strings.CutPrefix(line, id)
		if !found || rest == "" || rest[0] != ',' || line[0] == '#' {
			continue
		}
		name, tactic, _ = strings.Cut(strings.TrimSpace(rest[1:]), ",")
		return name, tactic, true
	}
	return "", "", false
}

// Versions names the releases that the techniques were taken from, and the version of the file.
func Versions() (atlas, attack, file string) {
	return header(techniquesCSV, "# atlas "), header(techniquesCSV, "# attack "), header(techniquesCSV, "version ")
}

// Tactic is a column of the ATLAS matrix.
type Tactic struct{ ID, Name string }

// Tactics gives all of them in the order of the matrix, which is roughly that of an attack.
func Tactics() []Tactic {
	var all []Tactic
	for line := range strings.Lines(tacticsCSV) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), ","); ok && line[0] != '#' {
			all = append(all, Tactic{id, name})
		}
	}
	return all
}
