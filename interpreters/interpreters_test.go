package interpreters

import (
	"slices"
	"testing"

	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
)

// TestSet: each interpreter gets the events of its kind, events come out in the order of the list, nil is no event, and the one
// who wants most of a body decides.
func TestSet(t *testing.T) {
	set := NewSet(
		Interpreter{HTTP: func(*http.Transaction) any { return "first" }, KeepBody: func(*http.Transaction, bool) int { return 10 }},
		Interpreter{HTTP: Made(func(*http.Transaction) *int { return nil }), KeepBody: func(*http.Transaction, bool) int { return 20 }},
		Interpreter{HTTP: func(*http.Transaction) any { return "second" }, Call: func(*http2.Call) any { return "call" }, KeepMessages: func(*http2.Call) int { return 5 }},
	)
	for _, x := range []struct {
		ev   any
		want []any
	}{
		{&http.Transaction{}, []any{"first", "second"}},
		{&http2.Call{}, []any{"call"}},
		{&http2.Part{}, []any{"call"}},
		{"something else", nil},
	} {
		if got := set.Interpret(x.ev, nil); !slices.Equal(got, x.want) {
			t.Errorf("%T: %v, want %v", x.ev, got, x.want)
		}
	}
	if n := set.KeepBody(nil, false); n != 20 {
		t.Errorf("%d bytes of a body are kept, want 20", n)
	}
	if n := set.KeepMessages(nil); n != 5 {
		t.Errorf("%d bytes of messages are kept, want 5", n)
	}
}
