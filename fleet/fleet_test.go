package fleet

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

func TestTokens(t *testing.T) {
	for name, want := range map[string]string{
		"node-1_a": "node-1_a", "ip-10-0-0-1.ec2.internal": "ip-10-0-0-1=2Eec2=2Einternal", "a>*": "a=3E=2A", "a=2E": "a=3D2E",
	} {
		if got := Token(name); got != want {
			t.Errorf("Token(%q) = %q, want %q", name, got, want)
		}
		if back, ok := Untoken(want); !ok || back != name {
			t.Errorf("Untoken(%q) = %q, %v", want, back, ok)
		}
	}
	for _, bad := range []string{"", "=", "=2", "=2e", "=41", "a.b", "a b", "=00", "=1B", strings.Repeat("a", 129)} {
		if name, ok := Untoken(bad); ok {
			t.Errorf("Untoken(%q) = %q, which no name has", bad, name)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	id := MessageID("a.b", "conn", Place{3, 18446744073709551615})
	if id != "a=2Eb/conn/3-18446744073709551615" {
		t.Fatal(id)
	}
	s, l, p, err := ParseMessageID(id)
	if err != nil || s != "a.b" || l != "conn" || p != (Place{3, 18446744073709551615}) {
		t.Fatal(s, l, p, err)
	}
	for _, bad := range []string{"", "a/conn", "a/conn/1", "a/conn/1-", "a/conn/01-2", "a/conn/1-2-3", "a/../1-2", "a/conn/+1-2", "a.b/conn/1-2", "a/conn/1-2/3", "a/conn/1-99999999999999999999"} {
		if _, _, _, err := ParseMessageID(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if (Place{1, 9}).Less(Place{1, 9}) || !(Place{1, 9}).Less(Place{2, 0}) || (Place{2, 0}).Less(Place{1, 9}) {
		t.Error("places are not in order")
	}
}

func TestRowGoesRound(t *testing.T) {
	at := time.Date(2026, 11, 30, 11, 0, 0, 123456000, time.UTC)
	for _, body := range []string{`{}`, ` {"a":1,"b":"<script>alert(1)</script>","c":[{"d":null}],"e":"a\n\tb\r\f\b"}` + "\n"} {
		m, err := Row{Sensor: "node.1", Log: "notice", Place: Place{7, 42}, Written: at, Body: []byte(body)}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject != "raytap.node=2E1.notice" {
			t.Error(m.Subject)
		}
		r, err := Decode(m)
		if err != nil {
			t.Fatalf("%s: %v", m.Data, err)
		}
		if r.Sensor != "node.1" || r.Log != "notice" || r.Place != (Place{7, 42}) || !r.Written.Equal(at) {
			t.Errorf("%+v", r)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	const good = `{"_path":"notice","_system_name":"a","_write_ts":"2026-11-30T11:00:00.000000Z","n":1}`
	msg := func(subject, id, body string) *nats.Msg {
		m := nats.NewMsg(subject)
		m.Header.Set(nats.MsgIdHdr, id)
		m.Data = []byte(body)
		return m
	}
	if _, err := Decode(msg("raytap.a.notice", "a/notice/1-2", good)); err != nil {
		t.Fatal(err)
	}
	with := func(s string) string { return strings.TrimSuffix(good, "}") + s + "}" }
	for _, c := range []struct {
		name, subject, id, body string
		want                    Reason
	}{
		{"other subject", "raytap.a", "a/notice/1-2", good, RefusedSubject},
		{"log in capitals", "raytap.a.Notice", "a/Notice/1-2", good, RefusedSubject},
		{"no id", "raytap.a.notice", "", good, RefusedID},
		{"another's id", "raytap.a.notice", "b/notice/1-2", good, RefusedID},
		{"another log's id", "raytap.a.notice", "a/conn/1-2", good, RefusedID},
		{"another's name", "raytap.b.notice", "b/notice/1-2", good, RefusedSensor},
		{"another log", "raytap.a.conn", "a/conn/1-2", good, RefusedLog},
		{"huge", "raytap.a.notice", "a/notice/1-2", with(`,"x":"` + strings.Repeat("x", MaxRow) + `"`), RefusedSize},
		{"empty", "raytap.a.notice", "a/notice/1-2", "", RefusedJSON},
		{"text", "raytap.a.notice", "a/notice/1-2", "hello", RefusedJSON},
		{"array", "raytap.a.notice", "a/notice/1-2", "[" + good + "]", RefusedJSON},
		{"cut", "raytap.a.notice", "a/notice/1-2", good[:len(good)-1], RefusedJSON},
		{"two", "raytap.a.notice", "a/notice/1-2", good + good, RefusedJSON},
		{"key twice", "raytap.a.notice", "a/notice/1-2", with(`,"_system_name":"b"`), RefusedJSON},
		{"not UTF-8", "raytap.a.notice", "a/notice/1-2", with(`,"x":"` + "\xff" + `"`), RefusedJSON},
		{"deep", "raytap.a.notice", "a/notice/1-2", with(`,"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), RefusedJSON},
		{"many", "raytap.a.notice", "a/notice/1-2", with(`,"x":[` + strings.Repeat("1,", 100000) + `1]`), RefusedJSON},
		{"escape", "raytap.a.notice", "a/notice/1-2", with(`,"x":"\u001b[2J"`), RefusedCharacter},
		{"vertical tab", "raytap.a.notice", "a/notice/1-2", with(`,"x":"\u000b"`), RefusedCharacter},
		{"escape in a key", "raytap.a.notice", "a/notice/1-2", with(`,"x\u009b":1`), RefusedCharacter},
		{"no envelope", "raytap.a.notice", "a/notice/1-2", `{"n":1}`, RefusedEnvelope},
		{"envelope of objects", "raytap.a.notice", "a/notice/1-2", `{"_path":{"_path":"notice"},"_system_name":"a","_write_ts":"1"}`, RefusedEnvelope},
		{"no time", "raytap.a.notice", "a/notice/1-2", strings.Replace(good, "2026-11-30T11", "yesterday", 1), RefusedEnvelope},
		{"time of long ago", "raytap.a.notice", "a/notice/1-2", strings.Replace(good, "2026-11-30T11", "0001-11-30T11", 1), RefusedEnvelope},
	} {
		_, err := Decode(msg(c.subject, c.id, c.body))
		var r *Refused
		if !errors.As(err, &r) || r.Reason != c.want {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("raytap.a.notice", "a/notice/1-2", []byte(`{"_path":"notice","_system_name":"a","_write_ts":"2026-11-30T11:00:00Z","n":[1,{"x":"y"}]}`))
	f.Fuzz(func(t *testing.T, subject, id string, body []byte) {
		m := nats.NewMsg(subject)
		m.Header.Set(nats.MsgIdHdr, id)
		m.Data = body
		r, err := Decode(m)
		var refused *Refused
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("an error without a reason: %v", err)
		}
		if err == nil && (Subject(r.Sensor, r.Log) != subject || MessageID(r.Sensor, r.Log, r.Place) != id) {
			t.Fatalf("%q %q taken as %+v", subject, id, r)
		}
	})
}

func credentials(t *testing.T) Credentials {
	account, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	pub, _ := user.PublicKey()
	seed, _ := user.Seed()
	token, err := SensorClaims("node.1", pub).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	return Credentials{Sensor: "node.1", URLs: []string{"tls://hub.example:4222", "nats://127.0.0.1:4222"}, JWT: token, Seed: seed}
}

func TestCredentialsGoRound(t *testing.T) {
	c := credentials(t)
	b, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseCredentials(b)
	if err != nil {
		t.Fatal(err)
	}
	if got.Sensor != c.Sensor || strings.Join(got.URLs, " ") != strings.Join(c.URLs, " ") || got.JWT != c.JWT || string(got.Seed) != string(c.Seed) {
		t.Errorf("%+v", got)
	}
	if _, err := jwt.ParseDecoratedJWT(b); err != nil {
		t.Error("tools of NATS cannot read it:", err)
	}
}

func TestCredentialsRefuse(t *testing.T) {
	b, _ := credentials(t).Bytes()
	other, _ := credentials(t).Bytes()
	text := string(b)
	for name, s := range map[string]string{
		"in the clear off loopback": strings.Replace(text, "tls://hub", "nats://hub", 1),
		"a password":                strings.Replace(text, "tls://hub", "tls://me:secret@hub", 1),
		"another scheme":            strings.Replace(text, "tls://hub", "ws://hub", 1),
		"no seed":                   text[:strings.Index(text, "-----BEGIN USER NKEY")],
		"another's seed":            text[:strings.Index(text, "-----BEGIN USER NKEY")] + string(other)[strings.Index(string(other), "-----BEGIN USER NKEY"):],
		"nothing":                   "",
		"a name with an escape":     strings.Replace(text, "sensor: node", "sensor: \x1bnode", 1),
	} {
		if _, err := ParseCredentials([]byte(s)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
