package rayredis

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

// cmd is a command in RESP.
func cmd(args ...string) decodertest.Step {
	s := fmt.Sprintf("*%d\r\n", len(args))
	for _, a := range args {
		s += bulk(a)
	}
	return decodertest.C(s)
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func said(events []any) (s []string) {
	for _, e := range events {
		c, ok := e.(*Call)
		if _, other := e.(*Takeover); other {
			continue // see TestTakeover
		}
		if !ok {
			s = append(s, fmt.Sprintf("%T", e))
			continue
		}
		t := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s %s %s %s %s", c.Command, c.Key, c.Class, c.Outcome, c.Auth, c.Version, c.Session)), " ")
		if c.GCS.IsValid() {
			t += " at " + c.GCS.String()
		}
		s = append(s, t)
	}
	return s
}

// driver is how a driver of Ray 1.9 begins.
var driver = []decodertest.Step{
	cmd("AUTH", "5241590000000000"), decodertest.S("+OK\r\n"),
	cmd("GET", "GcsServerAddress"), decodertest.S(bulk("10.0.0.1:43215")),
	cmd("GET", "VERSION_INFO"), decodertest.S(bulk(`["1.9.2", "3.8.5"]`)),
	cmd("GET", "session_dir"), decodertest.S(bulk("/tmp/ray/session_2021-12-01_10-00-00_000001_77")),
	cmd("LRANGE", "RedisShards", "0", "-1"), decodertest.S("*1\r\n" + bulk("10.0.0.1:58581")),
	cmd("HSET", "RemoteFunction:01000000:\xff\x00", "function", strings.Repeat("x", 300<<10)), decodertest.S(":1\r\n"),
	cmd("HSET", "RemoteFunction:01000000:\xfe\x00", "function", "y"), decodertest.S(":1\r\n"), // the second is not told
	cmd("SUBSCRIBE", "RAY_LOG_CHANNEL"), decodertest.S(">3\r\n" + bulk("subscribe") + bulk("RAY_LOG_CHANNEL") + ":1\r\n"),
}

func TestDriverOfAnOldRay(t *testing.T) {
	want := []string{
		"AUTH info answered default", "GET GcsServerAddress state answered default at 10.0.0.1:43215", "GET VERSION_INFO state answered default 1.9.2",
		"GET session_dir state answered default session_2021-12-01_10-00-00_000001_77", "LRANGE RedisShards state answered default",
		`HSET RemoteFunction:01000000:\xff\x00 exec executed default`, "SUBSCRIBE RAY_LOG_CHANNEL state unknown default",
	}
	if got := said(decodertest.Run(t, Spec(), driver...)); !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	decodertest.CutAndPoison(t, Spec(), driver...)
	if s := decodertest.Services(t, Spec(), driver...); !slices.Equal(s, []string{"redis"}) {
		t.Errorf("services %v", s)
	}
	for _, e := range decodertest.Run(t, Spec(), driver...) {
		if strings.Contains(decodertest.Snapshot(e), defaultPassword) {
			t.Errorf("the password is in %s", decodertest.Snapshot(e))
		}
	}
}

// A command that takes a Redis over is told of whether or not it is Ray's.
func TestTakeover(t *testing.T) {
	for _, x := range []struct {
		steps []decodertest.Step
		want  string
	}{
		{[]decodertest.Step{cmd("SLAVEOF", "198.51.100.77", "8886"), decodertest.S("+OK\r\n")}, "SLAVEOF 198.51.100.77 8886 executed"},
		{[]decodertest.Step{cmd("MODULE", "LOAD", "./exp.so"), decodertest.S("-ERR no\r\n")}, "MODULE LOAD ./exp.so rejected"},
		{[]decodertest.Step{cmd("PING"), decodertest.S("+PONG\r\n"), cmd("PSYNC", "?", "-1"), decodertest.S("+FULLRESYNC a 1\r\n")}, "PSYNC unknown"},
		{[]decodertest.Step{decodertest.C("slaveof 198.51.100.77 8886\r\n"), decodertest.S("+OK\r\n")}, "SLAVEOF 198.51.100.77 8886 executed"},
		{[]decodertest.Step{decodertest.C("flushall\n"), decodertest.S("+OK\r\n"), decodertest.C("\n"), decodertest.C("config set dir \"/var/spool/cron/\"\n"), decodertest.S("+OK\r\n")}, "CONFIG SET dir executed"},
		{[]decodertest.Step{decodertest.C("MODULE LOAD ./exp.so\r\n"), decodertest.S("-ERR no\r\n")}, "MODULE LOAD ./exp.so rejected"},
		{[]decodertest.Step{decodertest.C("slaveof no one\r\n"), decodertest.S("+OK\r\n")}, ""},
		{[]decodertest.Step{decodertest.C("CONFIG GET dir\r\n"), decodertest.S("*2\r\n" + bulk("dir") + bulk("/data"))}, ""},
		{[]decodertest.Step{decodertest.C("config the thing\r\n"), decodertest.S("+OK\r\n")}, ""},
		{[]decodertest.Step{cmd("SLAVEOF", "NO", "ONE"), decodertest.S("+OK\r\n")}, ""},
		{[]decodertest.Step{cmd("CONFIG", "SET", "maxmemory", "1gb"), decodertest.S("+OK\r\n")}, ""},
	} {
		got := ""
		for _, ev := range decodertest.Run(t, Spec(), x.steps...) {
			if e, ok := ev.(*Takeover); ok {
				got = e.Command + " " + string(e.Outcome)
			}
		}
		if got != x.want {
			t.Errorf("%q, not %q", got, x.want)
		}
		decodertest.CutAndPoison(t, Spec(), x.steps...)
	}
}

func TestConversations(t *testing.T) {
	s := decodertest.S
	for _, x := range []struct {
		name  string
		steps []decodertest.Step
		want  []string
	}{
		{"no password was asked for", []decodertest.Step{cmd("get", "GcsServerAddress"), s(bulk("10.0.0.1:43215"))}, []string{"GET GcsServerAddress state answered none at 10.0.0.1:43215"}},
		{"what came before it was certain is told, too", []decodertest.Step{cmd("PING"), s("+PONG\r\n"), cmd("GET", "RedisShards"), s("$-1\r\n")},
			[]string{"PING info answered none", "GET RedisShards state answered none"}},
		{"a password is asked for", []decodertest.Step{cmd("GET", "VERSION_INFO"), s("-NOAUTH Authentication required.\r\n")}, []string{"GET VERSION_INFO state blocked_token none"}},
		{"the wrong one", []decodertest.Step{cmd("AUTH", "5241590000000000"), s("-WRONGPASS invalid username-password pair\r\n")}, []string{"AUTH info blocked_token default"}},
		{"one of their own, which is not kept", []decodertest.Step{cmd("AUTH", "user", "s3cret"), s("+OK\r\n"), cmd("RAY.TABLE_ADD", "x"), s("+OK\r\n")},
			[]string{"AUTH info answered password", "RAY.TABLE_ADD x write executed password"}},
		{"an intruder writes a crontab", []decodertest.Step{cmd("AUTH", "5241590000000000"), cmd("CONFIG", "SET", "dir", "/var/spool/cron"), cmd("CONFIG", "SET", "dbfilename", "root"),
			cmd("FLUSHALL"), s("+OK\r\n+OK\r\n+OK\r\n+OK\r\n")},
			[]string{"AUTH info answered default", "CONFIG SET dir exec executed default", "FLUSHALL write executed default"}},
		{"a driver wants to be told of keys", []decodertest.Step{cmd("AUTH", "5241590000000000"), s("+OK\r\n"), cmd("CONFIG", "SET", "notify-keyspace-events", "Kl"), s("+OK\r\n")},
			[]string{"AUTH info answered default", "CONFIG SET notify-keyspace-events write executed default"}},
		{"a client that ends before it is answered", []decodertest.Step{cmd("AUTH", "5241590000000000"), cmd("FLUSHALL"), {End: true}, s("+OK\r\n+OK\r\n")},
			[]string{"AUTH info answered default", "FLUSHALL write executed default"}},
		{"no answer", []decodertest.Step{cmd("AUTH", "5241590000000000")}, nil}, // the probe waits for nothing: see below
		{"maps and nulls of protocol 3", []decodertest.Step{cmd("HELLO", "3"), s("%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n"), cmd("GET", "VERSION_INFO"), s("_\r\n")},
			[]string{"HELLO info answered none", "GET VERSION_INFO state answered none"}},
		{"a value that was lost", []decodertest.Step{cmd("GET", "VERSION_INFO"), s("$100000\r\nabc"), {Dir: 1, Gap: 50_000}, s(strings.Repeat("d", 49_997) + "\r\n"), cmd("FLUSHALL"), s("+OK\r\n")},
			[]string{"GET VERSION_INFO state answered none", "FLUSHALL write executed none"}},
		{"the end of a value that was lost", []decodertest.Step{cmd("GET", "VERSION_INFO"), s("$10\r\nabc"), {Dir: 1, Gap: 50}, s("+OK\r\n")}, []string{"GET VERSION_INFO state unknown none"}},
	} {
		got := said(decodertest.Run(t, Spec(), x.steps...))
		if x.name == "no answer" {
			x.want = []string{"AUTH info unknown default"}
		}
		if !slices.Equal(got, x.want) {
			t.Errorf("%s:\n got %q\nwant %q", x.name, got, x.want)
		}
		if x.name[0] != 't' && !strings.Contains(x.name, "lost") {
			decodertest.CutAndPoison(t, Spec(), x.steps...)
		}
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	s := decodertest.S
	cache := []decodertest.Step{cmd("AUTH", "hunter2"), s("+OK\r\n")}
	for i := range 100 {
		cache = append(cache, cmd("SET", fmt.Sprintf("session:%d", i), "{}"), s("+OK\r\n"))
	}
	late := append(slices.Clone(cache), cmd("GET", "VERSION_INFO"), s("$-1\r\n"))
	for name, steps := range map[string][]decodertest.Step{
		"a cache":                     cache,
		"Ray's key after 100 others":  late,
		"an inline command":           {decodertest.C("PING\r\n"), s("+PONG\r\n")},
		"a list that is no command":   {decodertest.C("*2\r\n:1\r\n:2\r\n"), s("+OK\r\n")},
		"a name with a space":         {decodertest.C("*1\r\n$4\r\na bc\r\n"), s("+OK\r\n")},
		"a number that is too long":   {decodertest.C("*99999999999999999999\r\n$4\r\nAUTH\r\n"), s("+OK\r\n")},
		"a negative length":           {cmd("GET", "GcsServerAddress"), s("$-5\r\n")},
		"a server that speaks HTTP":   {cmd("GET", "GcsServerAddress"), s("HTTP/1.1 400 Bad Request\r\n\r\n")},
		"lists in lists without end":  {cmd("GET", "x"), s(strings.Repeat("*1\r\n", 1000))},
		"a key that only begins so":   {cmd("GET", "GcsServerAddressBook"), s("$-1\r\n")},
		"the password as a value":     {cmd("SET", "pin", "5241590000000000"), s("+OK\r\n")},
		"a password that begins so":   {cmd("AUTH", "52415900000000001"), s("+OK\r\n")},
		"another module's commands":   {cmd("JSON.GET", "RemoteFunctions"), s("$-1\r\n")},
		"half a command and an end":   {decodertest.C("*2\r\n$4\r\nAUTH\r\n$16\r\n524159")},
		"a line without an end":       {cmd("GET", "x"), s("+" + strings.Repeat("x", 10<<10))},
		"a header without a line end": {decodertest.C("*" + strings.Repeat("1", 100))},
	} {
		var got []string
		for _, g := range said(decodertest.Run(t, Spec(), steps...)) {
			if name != "a negative length" && name != "a server that speaks HTTP" {
				got = append(got, g)
			}
		}
		if len(got) > 0 {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestRowsOfAConnectionAreBounded(t *testing.T) {
	steps := []decodertest.Step{cmd("AUTH", "5241590000000000"), decodertest.S("+OK\r\n")}
	for i := range 1000 {
		steps = append(steps, cmd("SET", "kind"+strings.Repeat("x", i%30)+":a", "b"))
	}
	if n := len(decodertest.Run(t, Spec(), steps...)); n > maxCalls || n < maxCalls/2 {
		t.Errorf("%d rows", n)
	}
}

func FuzzDecode(f *testing.F) {
	var c, s []byte
	for _, x := range driver {
		if x.Dir == 0 {
			c = append(c, x.Data[:min(len(x.Data), 200)]...)
		} else {
			s = append(s, x.Data...)
		}
	}
	f.Add(c, s)
	f.Add([]byte("*1\r\n$4\r\nPING\r\n"), []byte("%1\r\n+a\r\n*-1\r\n"))
	f.Fuzz(func(t *testing.T, c, s []byte) {
		decodertest.CutAndPoison(t, Spec(), decodertest.C(string(c)), decodertest.S(string(s)), decodertest.C(string(c)))
	})
}

// TestFewBeginnings: what is no number is told from one by its first byte.
func TestFewBeginnings(t *testing.T) {
	for _, s := range []string{"*8x", "*1 ", "*1\x00", "*12a", "*3\r\n$-x"} {
		if v := probeAgain([]byte(s), nil, true); v != decoders.No {
			t.Errorf("%q: %v", s, v)
		}
	}
	for _, s := range []string{"*", "*1", "*12", "*3\r", "*3\r\n", "*3\r\n$", "*3\r\n$4\r\nINFO"} {
		if v := probeAgain([]byte(s), nil, true); v == decoders.No {
			t.Errorf("%q is refused", s)
		}
	}
}
