package stratum

import (
	"testing"

	"github.com/raytap/raytap/decoders/decodertest"
)

func TestDuino(t *testing.T) {
	const job = "031a827df29e201ebb73846ceadae85b88852d9a,03e908eb9993a5386ca6b0005d06fa0f6fe51fb2,500000\n"
	c, s := decodertest.C, decodertest.S
	run := func(steps ...decodertest.Step) (out []*Session) {
		for _, e := range decodertest.Run(t, DuinoSpec(), steps...) {
			if x, ok := e.(*Session); ok {
				out = append(out, x)
			}
		}
		return out
	}
	talk := []decodertest.Step{s("4.3"), c("JOB,user,LOW,key"), s(job), c("45223,180000,Official PC Miner 4.3,rig,,123"), s("GOOD\n"), c("JOB,user,LOW,key"), s(job), c("1,2,x"), s("BAD,No matching miner\n")}
	got := run(talk...)
	if len(got) != 1 || got[0].Login != "user" || got[0].Accepted != 1 || got[0].Rejected != 1 || got[0].Jobs != 2 || got[0].Outcome != Accepted || got[0].Dialect != Duino {
		t.Fatalf("%+v", got)
	}
	decodertest.CutAndPoison(t, DuinoSpec(), talk...)
	for _, x := range [][]decodertest.Step{
		{c("JOB,build,1,run\n"), s("OK queued\n")},
		{s("220 ready\r\n"), c("JOB,user,LOW,key"), s(job)},
		{c("JOBS?"), s(job)},
		{c("GET / HTTP/1.1\r\n\r\n"), s(job)},
	} {
		if got := run(x...); len(got) != 0 {
			t.Errorf("%q: %+v", x[0].Data, got[0])
		}
	}
}

func TestVeil(t *testing.T) {
	const login = `{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1","pass":"x","agent":"XMRig/6.22.0"}}` + "\n"
	const answer = `{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"a","job":{"blob":"0101","job_id":"b","target":"ffff0000"},"status":"OK"}}` + "\n"
	const other = `{"id":1,"jsonrpc":"2.0","method":"getStatus","params":{"node":"a"}}` + "\n"
	run := func(k, q, r string) (out []*Session) {
		steps := []decodertest.Step{decodertest.C(string(unveil([]byte(q), []byte(k), 0))), decodertest.S(string(unveil([]byte(r), []byte(k), 0)))}
		for _, e := range decodertest.Run(t, VeiledSpec(), steps...) {
			if x, ok := e.(*Session); ok {
				out = append(out, x)
			}
		}
		return out
	}
	for _, k := range []string{"Z", "k1", "\x81\x02\xff\x10", "longkey!"} {
		if got := run(k, login, answer); len(got) != 1 || got[0].Outcome != Working || got[0].Veil == "" || got[0].Address.Wallet == "" {
			t.Errorf("key %q: %+v", k, got)
		}
		if got := run(k, other, answer); len(got) != 0 {
			t.Errorf("key %q: %+v", k, got[0])
		}
	}
	v := string(unveil([]byte(login), []byte("k1"), 0)) // comes in two segments
	if got := decodertest.Run(t, VeiledSpec(), decodertest.C(v[:60]), decodertest.C(v[60:])); len(got) == 0 {
		t.Error("a line in two segments is not read")
	}
	if got := run("\x00", login, answer); len(got) != 0 {
		t.Error("text that is not veiled is another decoder's")
	}
	for _, b := range []string{"", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "SSH-2.0-OpenSSH_9.6\r\n", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if k, _ := key([]byte(b)); k != nil {
			t.Errorf("%q has key %x", b, k)
		}
	}
}

func FuzzVeil(f *testing.F) {
	f.Add([]byte(`{"id":1,"method":"mining.subscribe","params":[]}`+"\n"), []byte("k"))
	f.Fuzz(func(t *testing.T, b, k []byte) {
		if len(k) == 0 || len(k) > 8 {
			return
		}
		decodertest.Run(t, VeiledSpec(), decodertest.C(string(unveil(b, k, 0))), decodertest.S(string(b)))
		decodertest.Run(t, DuinoSpec(), decodertest.C(string(b)), decodertest.S(string(b)))
	})
}
