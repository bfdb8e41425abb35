package decoders

import (
	"strings"
	"testing"
)

func TestOrder(t *testing.T) {
	after := func(names ...string) (all []After) {
		for _, n := range names {
			all = append(all, After{Name: n, Why: "a test"})
		}
		return all
	}
	for _, x := range []struct {
		specs []Spec
		want  string // what is wrong if it begins with an exclamation mark
	}{
		{[]Spec{{Name: "b"}, {Name: "a"}}, "b a"},
		{[]Spec{{Name: "any", Any: true}, {Name: "b", After: after("a")}, {Name: "a"}, {Name: "first", Preface: true}}, "first a b any"},
		{[]Spec{{Name: "c", Any: true, After: after("b")}, {Name: "b", Any: true, After: after("a")}, {Name: "a", Any: true}}, "a b c"},
		{[]Spec{{Name: "a"}, {Name: "a"}}, "!twice"},
		{[]Spec{{Name: "a", After: after("b")}}, "!none"},
		{[]Spec{{Name: "a", After: after("b")}, {Name: "b", Any: true}}, "!cannot"},
		{[]Spec{{Name: "a", After: after("b")}, {Name: "b", After: after("a")}}, "!each"},
		{make([]Spec, 65), "!65 of at most 64"},
	} {
		specs, err := Order(x.specs)
		var names []string
		for _, s := range specs {
			names = append(names, s.Name)
		}
		if wrong, bad := strings.CutPrefix(x.want, "!"); bad != (err != nil) || bad && !strings.Contains(err.Error(), wrong) || !bad && strings.Join(names, " ") != x.want {
			t.Errorf("%q, %v; want %q", names, err, x.want)
		}
	}
}
