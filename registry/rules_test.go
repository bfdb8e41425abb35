package registry

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/data"
)

// TestEveryRuleTellsItsStory: each rule says what it means in an incident, or that it is no part of any.
func TestEveryRuleTellsItsStory(t *testing.T) {
	for _, r := range Rules() {
		s := r.Story
		switch {
		case !s.Told():
			t.Errorf("%s has no Story: say what it means in an incident, or detectors.RoleNone", r.Name)
			continue
		case s.Role == detectors.RoleNone, s.Role == detectors.RoleAside && s.Does == "":
		case strings.Count(s.Does, "%") != 1:
			t.Errorf("%s: Does is %q, which has no one place for the other side", r.Name, s.Does)
		}
		if s.Fetches && s.Role != detectors.RoleEntry || s.Page && s.Role != detectors.RoleEntry {
			t.Errorf("%s: only an entry is of a job or a page", r.Name)
		}
		for _, id := range s.Techniques {
			if _, tactics, ok := data.Technique(id); !ok || tactics == "" {
				t.Errorf("%s: technique %s has no tactic", r.Name, id)
			}
		}
	}
}
