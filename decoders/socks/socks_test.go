package socks

import (
	"net/netip"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

const (
	greeting   = "\x05\x01\x00"                                    // one method: none
	chosen     = "\x05\x00"                                        //
	greetAuth  = "\x05\x02\x00\x02"                                // none, user and password
	chosenAuth = "\x05\x02"                                        //
	logIn      = "\x01\x03bob\x07secretx"                          // RFC 1929
	loggedIn   = "\x01\x00"                                        //
	askName    = "\x05\x01\x00\x03\x13pool.supportxmr.com\x01\xbb" // connect, 19 characters, port 443
	askV4      = "\x05\x01\x00\x01\xc6\x33\x64\x2c\x0d\x05"        // connect 198.51.100.44:3333
	askV6      = "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x50"
	done       = "\x05\x00\x00\x01\x0a\x14\x00\x1e\x9c\x40" // succeeded, bound 10.20.0.30:40000
	refused    = "\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00" //
	v4         = "\x04\x01\x0d\x05\xc6\x33\x64\x2cbob\x00"  // connect 198.51.100.44:3333 as bob
	v4a        = "\x04\x01\x01\xbb\x00\x00\x00\x01bob\x00pool.supportxmr.com\x00"
	v4Done     = "\x00\x5a\x9c\x40\x0a\x14\x00\x1e"
	v4Refused  = "\x00\x5b\x00\x00\x00\x00\x00\x00"
	inner      = "{\"id\":1}\n"
)

var (
	c, s   = decodertest.C, decodertest.S
	pool   = Address{Addr: netip.MustParseAddr("198.51.100.44")}
	byName = Address{Name: "pool.supportxmr.com"}
)

func one(t *testing.T, name string, events []any) *Request {
	t.Helper()
	var r *Request
	for _, ev := range events {
		if q, ok := ev.(*Request); ok {
			if r != nil {
				t.Fatalf("%s: two requests", name)
			}
			r = q
		}
	}
	return r
}

func TestNegotiations(t *testing.T) {
	ok5 := Request{Version: 5, Command: Connect, Replied: true, Status: "succeeded", OK: true, Bound: Address{Addr: netip.MustParseAddr("10.20.0.30")}, BoundPort: 40000}
	with := func(r Request, f func(*Request)) *Request { f(&r); return &r }
	tests := []struct {
		name    string
		st      []decodertest.Step
		want    *Request // nil for nothing
		service bool
	}{
		{"5, address", []decodertest.Step{c(greeting), s(chosen), c(askV4), s(done), c(inner), s(inner)}, with(ok5, func(r *Request) { r.Host, r.Port = pool, 3333 }), true},
		{"5, name", []decodertest.Step{c(greeting), s(chosen), c(askName), s(done)}, with(ok5, func(r *Request) { r.Host, r.Port = byName, 443 }), true},
		{"5, IPv6", []decodertest.Step{c(greeting), s(chosen), c(askV6), s(done)}, with(ok5, func(r *Request) { r.Host, r.Port = Address{Addr: netip.MustParseAddr("2001:db8::1")}, 80 }), true},
		{"5, log-in", []decodertest.Step{c(greetAuth), s(chosenAuth), c(logIn), s(loggedIn), c(askV4), s(done)}, with(ok5, func(r *Request) { r.Host, r.Port, r.User = pool, 3333, "bob" }), true},
		{"5, log-in refused", []decodertest.Step{c(greetAuth), s(chosenAuth), c(logIn), s("\x01\x01")}, &Request{Version: 5, User: "bob", Status: "general SOCKS server failure"}, true},
		{"5, no method", []decodertest.Step{c(greeting), s("\x05\xff")}, &Request{Version: 5, Status: "no acceptable methods"}, true},
		{"5, refused", []decodertest.Step{c(greeting), s(chosen), c(askV4), s(refused)}, &Request{Version: 5, Command: Connect, Host: pool, Port: 3333, Replied: true, Status: "Connection refused", Bound: Address{Addr: netip.IPv4Unspecified()}}, true},
		{"5, nobody waits for anybody", []decodertest.Step{c(greeting + askV4 + inner), s(chosen + done + inner)}, with(ok5, func(r *Request) { r.Host, r.Port = pool, 3333 }), true},
		{"5, log-in sent along", []decodertest.Step{c(greetAuth + logIn + askV4), s(chosenAuth + loggedIn + done)}, with(ok5, func(r *Request) { r.Host, r.Port, r.User = pool, 3333, "bob" }), true},
		{"5, client only", []decodertest.Step{c(greeting), c(askV4), c(inner), c(inner), c(inner)}, &Request{Version: 5, Command: Connect, Host: pool, Port: 3333}, false},
		{"5, server only", []decodertest.Step{s(chosen), s(done), s(inner)}, with(ok5, func(r *Request) { r.Command = 0 }), true},
		{"5, cut after the request", []decodertest.Step{c(greeting), s(chosen), c(askV4)}, &Request{Version: 5, Command: Connect, Host: pool, Port: 3333}, false},
		{"5, unknown reply", []decodertest.Step{c(greeting), s(chosen), c(askV4), s("\x05\x77" + refused[2:])}, &Request{Version: 5, Command: Connect, Host: pool, Port: 3333, Replied: true, Status: "unknown-119", Bound: Address{Addr: netip.IPv4Unspecified()}}, true},
		{"5, associate", []decodertest.Step{c(greeting), s(chosen), c("\x05\x03" + askV4[2:]), s(done), c("anything")}, with(ok5, func(r *Request) { r.Host, r.Port, r.Command = pool, 3333, Associate }), true},
		{"5, bind", []decodertest.Step{c(greeting), s(chosen), c("\x05\x02" + askV4[2:]), s(done), s(done), c(inner)}, with(ok5, func(r *Request) { r.Host, r.Port, r.Command = pool, 3333, Bind }), true},
		{"4", []decodertest.Step{c(v4), s(v4Done), c(inner)}, with(ok5, func(r *Request) { r.Version, r.Host, r.Port, r.User = 4, pool, 3333, "bob" }), true},
		{"4a", []decodertest.Step{c(v4a), s(v4Done)}, with(ok5, func(r *Request) { r.Version, r.Host, r.Port, r.User = 4, byName, 443, "bob" }), true},
		{"4, refused", []decodertest.Step{c(v4), s(v4Refused)}, &Request{Version: 4, Command: Connect, User: "bob", Host: pool, Port: 3333, Replied: true, Status: "general SOCKS server failure", Bound: Address{Addr: netip.IPv4Unspecified()}}, true},
		{"4, client only", []decodertest.Step{c(v4), c(inner), c(inner), c(inner)}, &Request{Version: 4, Command: Connect, User: "bob", Host: pool, Port: 3333}, false},

		{"greeting alone", []decodertest.Step{c(greeting)}, nil, false},
		{"another server", []decodertest.Step{c(greeting), s("SSH-2.0-x\r\n")}, nil, false},
		{"a method that was not offered", []decodertest.Step{c(greeting), s("\x05\x02")}, nil, false},
		{"DCE/RPC", []decodertest.Step{c("\x05\x00\x0b\x03\x10\x00\x00\x00\x48\x00\x00\x00"), s("\x05\x00\x0c\x03\x10\x00\x00\x00")}, nil, false},
		{"no request behind the greeting", []decodertest.Step{c(greeting), s(chosen), c("GET / HTTP/1.1\r\n\r\n")}, nil, false},
		{"a user id that is not text", []decodertest.Step{c("\x04\x01\x0d\x05\xc6\x33\x64\x2c\xff\xfe\x00"), s(v4Done)}, nil, false},
		{"gssapi", []decodertest.Step{c("\x05\x01\x01"), s("\x05\x01"), c("\x01\x01\x00\x00")}, nil, false},
	}
	for _, tt := range tests {
		r := one(t, tt.name, decodertest.Run(t, Spec(), tt.st...))
		if (r != nil) != (tt.want != nil) {
			t.Errorf("%s: %+v", tt.name, r)
		}
		if r != nil && tt.want != nil {
			got := *r
			got.At, got.Flow = capture.At{}, nil
			if got != *tt.want {
				t.Errorf("%s: %+v\nwant %+v", tt.name, got, *tt.want)
			}
			if r.Flow == nil || r.Packet == 0 {
				t.Errorf("%s: no flow or packet", tt.name)
			}
		}
		if got := len(decodertest.Services(t, Spec(), tt.st...)) > 0; got != tt.service {
			t.Errorf("%s: confirmed %v", tt.name, got)
		}
		decodertest.CutAndPoison(t, Spec(), tt.st...)
	}
}

// tail takes what is left and remembers it.
type tail struct{ ctx decoders.Context }

type heard struct {
	Dir capture.Dir
	B   string
}

func (d tail) Decode(dir capture.Dir, b []byte) (int, error) {
	d.ctx.Emit(&heard{dir, string(b)})
	return len(b), nil
}
func (d tail) Gap(capture.Dir, int64) bool { return true }
func (d tail) End(capture.Dir)             {}

// What runs through the proxy is probed and decoded from its first byte, by whoever knows it.
func TestWhatIsBehindIsProbed(t *testing.T) {
	specs := []decoders.Spec{Spec(), {
		Name: "tail",
		Stream: func(o, r []byte, _ bool) decoders.Verdict {
			if len(o) > 0 && o[0] == '{' || len(r) > 0 && r[0] == '{' {
				return decoders.Yes
			}
			return decoders.No
		},
		New: func(ctx decoders.Context) decoders.Decoder { return tail{ctx} },
	}}
	for name, st := range map[string][]decodertest.Step{
		"one by one":   {c(greeting), s(chosen), c(askV4), s(done), c(inner), s(inner)},
		"sent along":   {c(greeting), s(chosen), c(askV4 + inner), s(done + inner)},
		"4":            {c(v4), s(v4Done), c(inner), s(inner)},
		"client alone": {c(greeting), c(askV4), c(inner[:2]), c(inner[2:4]), c(inner[4:])},
	} {
		var got [2]string
		for _, ev := range decodertest.RunAll(t, specs, st...) {
			if h, ok := ev.(*heard); ok {
				got[h.Dir] += h.B
			}
		}
		if got[0] != inner || got[1] != inner && name != "client alone" {
			t.Errorf("%s: behind the proxy %q", name, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(greeting+askV4+inner), []byte(chosen+done+inner), byte(3))
	f.Add([]byte(greetAuth+logIn+askName), []byte(chosenAuth+loggedIn+done), byte(1))
	f.Add([]byte(v4a), []byte(v4Done), byte(9))
	f.Fuzz(func(t *testing.T, orig, resp []byte, cut byte) {
		k, l := min(int(cut), len(orig)), min(int(cut), len(resp))
		events := decodertest.Run(t, Spec(),
			decodertest.Step{Dir: capture.Orig, Data: orig[:k]}, decodertest.Step{Dir: capture.Resp, Data: resp[:l]},
			decodertest.Step{Dir: capture.Orig, Data: orig[k:]}, decodertest.Step{Dir: capture.Resp, Data: resp[l:]})
		if r := one(t, "fuzz", events); r != nil && (len(r.User) > 3*maxName || len(r.Host.Name) > 3*maxName) {
			t.Errorf("%+v", r)
		}
	})
}
