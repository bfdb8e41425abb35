// Package interpreters is the contract between what is spoken over HTTP or gRPC and the events that tell of it.
//
// In: transactions and calls that decoders have emitted. Out: an event of the interpreter's own: a call to Ray, the name of an
// AI server, a miner's session, credentials. Each interpreter is a folder below this one, or a function of the decoder that
// reads the same language elsewhere (stratum, secrets), and has one line in the registry. A worker has one Set of them, so
// that what they remember is remembered once; nothing in it is shared between goroutines.
package interpreters

import (
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
)

// Interpreter reads events as something more. Functions that are nil read nothing. An event that comes back is of the same
// packets as the one it was made of.
type Interpreter struct {
	Name string // of what it reads
	// HTTP returns the event that it makes of a transaction, or nil.
	HTTP func(t *http.Transaction) any
	// KeepBody returns how many bytes of a body HTTP needs. It is asked when a body begins, and again when more is known of
	// the message.
	KeepBody func(t *http.Transaction, resp bool) int
	// Call returns the event that it makes of a gRPC call, or of one that is not over yet; nil for none.
	Call func(c *http2.Call) any
	// KeepMessages returns how many bytes of the messages of a call Call needs.
	KeepMessages func(c *http2.Call) int
}

// Set is the interpreters of one worker.
type Set struct {
	http  []func(*http.Transaction) any
	body  []func(*http.Transaction, bool) int
	calls []func(*http2.Call) any
	keep  []func(*http2.Call) int
}

// NewSet makes a Set. Events come out in the order of the list.
func NewSet(list ...Interpreter) *Set {
	s := &Set{}
	for _, x := range list {
		if x.HTTP != nil {
			s.http = append(s.http, x.HTTP)
		}
		if x.KeepBody != nil {
			s.body = append(s.body, x.KeepBody)
		}
		if x.Call != nil {
			s.calls = append(s.calls, x.Call)
		}
		if x.KeepMessages != nil {
			s.keep = append(s.keep, x.KeepMessages)
		}
	}
	return s
}

// Interpret appends to made what is read out of ev.
func (s *Set) Interpret(ev any, made []any) []any {
	switch ev := ev.(type) {
	case *http.Transaction:
		for _, f := range s.http {
			if x := f(ev); x != nil {
				made = append(made, x)
			}
		}
	case *http2.Call:
		made = s.call(ev, made)
	case *http2.Part:
		made = s.call(&ev.Call, made)
	}
	return made
}

func (s *Set) call(c *http2.Call, made []any) []any {
	for _, f := range s.calls {
		if x := f(c); x != nil {
			made = append(made, x)
		}
	}
	return made
}

// KeepBody returns how much of a body somebody wants; see Interpreter.
func (s *Set) KeepBody(t *http.Transaction, resp bool) (n int) {
	for _, f := range s.body {
		n = max(n, f(t, resp))
	}
	return n
}

// KeepMessages returns how much of a call's messages somebody wants; see Interpreter.
func (s *Set) KeepMessages(c *http2.Call) (n int) {
	for _, f := range s.keep {
		n = max(n, f(c))
	}
	return n
}

// Made turns a function that returns a pointer, nil for nothing, into one of an Interpreter.
func Made[In, Out any](f func(In) *Out) func(In) any {
	return func(in In) any {
		if x := f(in); x != nil {
			return x
		}
		return nil
	}
}
