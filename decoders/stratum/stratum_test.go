package stratum

import (
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/decodertest"
)

var (
	h32  = strings.Repeat("0123456789abcdef", 2)
	h64  = strings.Repeat("0123456789abcdef", 4)
	blob = strings.Repeat("1010c66f82c6067d", 9) + "1010c66f" // 76 bytes, as Monero's
	// The wallet of the ShadowRay reports; its checksum is right.
	wallet = "45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1"
	eth    = "0x52bc44d5378309ee2abf1539bf71de1b7d7be3b5"
	kaspa  = "kaspa:qzk3uh2twkhu0fmuq50mdy3r2yzuwqvstq745hxs7tet25hfd4egcafcdmpdl"
)

// A dialect is a conversation; client and server lines in order, marked by their first byte.
type dialect struct {
	name  string
	want  Dialect
	lines []string // "C..." and "S..."
	check func(t *testing.T, s *Session)
	// jobs, submits, accepted, rejected when both sides are seen
	counts [4]uint64
	login  string
	agent  string
	// which sides suffice alone
	clientAlone, serverAlone bool
}

func dialects() []dialect {
	return []dialect{
		{
			name: "bitcoin", want: Bitcoin, counts: [4]uint64{2, 2, 1, 1}, login: "1BoatSLRHtKNngkdXEeobR76b53LETtpyT.ray01", agent: "cgminer/4.12.1",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"id":0,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2}]}`,
				`S{"id": 0, "result": {"version-rolling": true, "version-rolling.mask": "1fffe000"}, "error": null}`,
				`C{"id":1,"method":"mining.subscribe","params":["cgminer/4.12.1"]}`,
				`S{"id": 1, "result": [[["mining.set_difficulty", "f807ae28"], ["mining.notify", "74ed8ee7"]], "9151da61", 4], "error": null}`,
				`C{"id":2,"method":"mining.authorize","params":["1BoatSLRHtKNngkdXEeobR76b53LETtpyT.ray01","secretx"]}`,
				`S{"id": 2, "result": true, "error": null}`,
				`S{"id": null, "method": "mining.set_difficulty", "params": [65536]}`,
				`S{"id": null, "method": "mining.notify", "params": ["bc0236cd","` + h64 + `","` + h64 + h64 + `","` + h64 + `",["` + h64 + `"],"20000000","17042450","6b046f6a",true]}`,
				`C{"id":10,"method":"mining.submit","params":["1BoatSLRHtKNngkdXEeobR76b53LETtpyT.ray01","bc0236cd","5f8d7148","6b046f6a","2f5a2882","00c00000"]}`,
				`S{"id": 10, "result": true, "error": null}`,
				`S{"id": null, "method": "mining.notify", "params": ["bc0236ce","` + h64 + `","` + h64 + `","` + h64 + `",[],"20000000","17042450","6b046f6a",false]}`,
				`C{"id":11,"method":"mining.submit","params":["1BoatSLRHtKNngkdXEeobR76b53LETtpyT.ray01","bc0236cd","5f8d7149","6b046f6a","2f5a2882"]}`,
				`S{"id": 11, "result": null, "error": [23, "Low difficulty share", null]}`,
			},
			check: func(t *testing.T, s *Session) {
				if s.Difficulty != 65536 || s.Reason != "Low difficulty share" || s.Worker != "ray01" || !s.Password || s.Address.Coin != "BTC" || !s.Address.Checked {
					t.Errorf("difficulty %v, reason %q, worker %q, password %v, %+v", s.Difficulty, s.Reason, s.Worker, s.Password, s.Address)
				}
			},
		},
		{
			name: "xmrig", want: CryptoNote, counts: [4]uint64{2, 2, 1, 1}, login: wallet, agent: "XMRig/6.26.0 (Linux x86_64) libuv/1.51.0 gcc/13.2.0",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"` + wallet + `","pass":"secretx","agent":"XMRig/6.26.0 (Linux x86_64) libuv/1.51.0 gcc/13.2.0","rigid":"ray","algo":["cn/1","rx/0","rx/wow"]}}`,
				`S{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"2af6","job":{"blob":"` + blob + `","job_id":"b1","target":"b88d0600","algo":"rx/0","height":3201234,"seed_hash":"` + h64 + `"},"extensions":["algo","keepalive"],"status":"OK"}}`,
				`C{"id":2,"jsonrpc":"2.0","method":"submit","params":{"id":"2af6","job_id":"b1","nonce":"aa6959b4","result":"` + h64 + `","algo":"rx/0"}}`,
				`S{"id":2,"jsonrpc":"2.0","error":null,"result":{"status":"OK"}}`,
				`S{"jsonrpc":"2.0","method":"job","params":{"blob":"` + blob + `","job_id":"b2","target":"c88d0600","algo":"rx/0","height":3201235,"seed_hash":"` + h64 + `"}}`,
				`C{"id":3,"jsonrpc":"2.0","method":"keepalived","params":{"id":"2af6"}}`,
				`S{"id":3,"jsonrpc":"2.0","error":null,"result":{"status":"KEEPALIVED"}}`,
				`C{"id":4,"jsonrpc":"2.0","method":"submit","params":{"id":"2af6","job_id":"b2","nonce":"ab6959b4","result":"` + h64 + `"}}`,
				`S{"id":4,"jsonrpc":"2.0","error":{"code":-1,"message":"Low difficulty share"}}`,
			},
			check: func(t *testing.T, s *Session) {
				if len(s.Algos) != 1 || s.Algos[0] != "rx/0" || s.Worker != "ray" || s.Height != 3201235 || s.Target != "c88d0600" || s.Address.Coin != "XMR" || !s.Address.Checked {
					t.Errorf("%+v", s)
				}
			},
		},
		{
			name: "coinhive proxy without jsonrpc and agent", want: CryptoNote, counts: [4]uint64{1, 1, 1, 0}, login: "someuser",
			serverAlone: true, clientAlone: true,
			lines: []string{
				`C{"method":"login","params":{"login":"someuser","pass":"secretx"},"id":1}`,
				`S{"id":1,"result":{"id":"77","job":{"job_id":"8","blob":"` + blob + `","target":"ffffff00"},"status":"OK"},"error":null}`,
				`C{"method":"submit","params":{"id":"77","job_id":"8","nonce":"00000a5f","result":"` + h64 + `"},"id":2}`,
				`S{"id":2,"result":{"status":"OK"},"error":null}`,
			},
		},
		{
			name: "ethproxy with one id for all shares", want: EthProxy, counts: [4]uint64{2, 3, 2, 1}, login: eth + "/rig7/me@example.org",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"worker":"eth1.0","jsonrpc":"2.0","params":["` + eth + `/rig7/me@example.org","secretx"],"id":2,"method":"eth_submitLogin"}`,
				`S{"jsonrpc":"2.0","id":2,"result":true}`,
				`C{"worker":"","jsonrpc":"2.0","params":[],"id":3,"method":"eth_getWork"}`,
				`S{"jsonrpc":"2.0","id":3,"result":["0x` + h64 + `","0x` + h64 + `","0x` + h64 + `"]}`,
				`C{"id":4,"worker":"","method":"eth_submitWork","params":["0x8b9a4b15a1ac5b52","0x` + h64 + `","0x` + h64 + `"]}`,
				`C{"id":4,"worker":"","method":"eth_submitWork","params":["0x8b9a4b15a1ac5b53","0x` + h64 + `","0x` + h64 + `"]}`,
				`S{"id":4,"jsonrpc":"2.0","result":true}`,
				`S{"id":4,"jsonrpc":"2.0","result":false,"error":{"code":-32602,"message":"stale"}}`,
				`S{"id":0,"jsonrpc":"2.0","result":["0x` + h64 + `","0x` + h64 + `","0x` + h32 + h32 + `"]}`,
				`C{"id":6,"worker":"","method":"eth_submitHashrate","params":["0x500000","0x` + h64 + `"]}`,
				`S{"id":6,"jsonrpc":"2.0","result":true}`,
				`C{"id":4,"worker":"","method":"eth_submitWork","params":["0x8b9a4b15a1ac5b54","0x` + h64 + `","0x` + h64 + `"]}`,
				`S{"id":4,"jsonrpc":"2.0","result":true}`,
			},
			check: func(t *testing.T, s *Session) {
				if s.Worker != "rig7" || s.Address.Coin != "ETH" || s.Address.Wallet != eth {
					t.Errorf("worker %q, %+v", s.Worker, s.Address)
				}
			},
		},
		{
			name: "nicehash", want: NiceHash, counts: [4]uint64{1, 1, 1, 0}, login: eth + ".ray01", agent: "ethminer/0.19.0",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"id":1,"method":"mining.subscribe","params":["ethminer/0.19.0","EthereumStratum/1.0.0"]}`,
				`S{"id":1,"result":[["mining.notify","63bee522ea359d2195c6cf7f0418da72","EthereumStratum/1.0.0"],"8624"],"error":null}`,
				`C{"id":2,"method":"mining.extranonce.subscribe","params":[]}`,
				`S{"id":2,"result":true,"error":null}`,
				`C{"id":3,"method":"mining.authorize","params":["` + eth + `.ray01","secretx"]}`,
				`S{"id":3,"result":true,"error":null}`,
				`S{"id":null,"method":"mining.set_difficulty","params":[0.5]}`,
				`S{"id":null,"method":"mining.notify","params":["bf0488aa","` + h64 + `","` + h64 + `",false]}`,
				`C{"id":4,"method":"mining.submit","params":["` + eth + `.ray01","bf0488aa","6a909d9bbc0f"]}`,
				`S{"id":4,"result":true,"error":null}`,
			},
		},
		{
			name: "ethereumstratum 2", want: EthereumStratum2, counts: [4]uint64{1, 1, 1, 0}, login: eth + ".rig", agent: "ethminer-0.17",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"id":0,"method":"mining.hello","params":{"agent":"ethminer-0.17","host":"pool.example.net","port":"4d2","proto":"EthereumStratum/2.0.0"}}`,
				`S{"id":0,"result":{"proto":"EthereumStratum/2.0.0","encoding":"plain","resume":"0","timeout":"b4","maxerrors":"5","node":"Geth/v1.8.18"}}`,
				`C{"id":1,"method":"mining.subscribe"}`,
				`S{"id":1,"result":"s-12345"}`,
				`C{"id":2,"method":"mining.authorize","params":["` + eth + `.rig","secretx"]}`,
				`S{"id":2,"result":"w-123"}`,
				`S{"method":"mining.set","params":{"epoch":"dc","target":"0112e0be826d694b2e62d01511f12a6061fbaec8bc02357593e70e52ba","algo":"ethash","extranonce":"af4c"}}`,
				`S{"method":"mining.notify","params":["bf0488aa","6526d5","` + h64 + `","0"]}`,
				`C{"id":31,"method":"mining.submit","params":["bf0488aa","68765fccd712","w-123"]}`,
				`S{"id":31}`,
				`C{"id":16,"method":"mining.hashrate","params":["500000","w-123"]}`,
				`S{"id":16}`,
				`S{"id":32,"method":"mining.noop"}`,
			},
			check: func(t *testing.T, s *Session) {
				if s.Pool != "pool.example.net:1234" {
					t.Errorf("pool %q", s.Pool)
				}
			},
		},
		{
			name: "zcash", want: Equihash, counts: [4]uint64{1, 1, 1, 0}, login: "user.worker", agent: "equihashminer",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"id":1,"method":"mining.subscribe","params":["equihashminer",null,"zec-eu.suprnova.cc","2142"]}`,
				`S{"id":1,"result":[null,"nonce1"],"error":null}`,
				`C{"id":2,"method":"mining.authorize","params":["user.worker","secretx"]}`,
				`S{"id":2,"result":true,"error":null}`,
				`S{"id":null,"method":"mining.set_target","params":["00ffff` + strings.Repeat("0", 58) + `"]}`,
				`S{"id":null,"method":"mining.notify","params":["j1","04000000","` + h64 + `","` + h64 + `","` + h64 + `","5a1b2c3d","1f07ffff",true]}`,
				`C{"id":4,"method":"mining.submit","params":["user.worker","j1","5a1b2c3d","` + h32 + `","fd4005` + strings.Repeat("ab", 1344) + `"]}`,
				`S{"id":4,"result":true,"error":null}`,
			},
			check: func(t *testing.T, s *Session) {
				if s.Pool != "zec-eu.suprnova.cc:2142" || len(s.Target) != 64 {
					t.Errorf("pool %q, target %q", s.Pool, s.Target)
				}
			},
		},
		{
			name: "kawpow", want: KawPow, counts: [4]uint64{1, 1, 1, 0}, login: "RXBurnXXXXXXXXXXXXXXXXXXXXXXWUo9FV.w", agent: "GMiner/2.09",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"id":1,"method":"mining.subscribe","params":["GMiner/2.09",null,"rvn.example.net","3333"]}`,
				`S{"id":1,"result":[null,"64290b"],"error":null}`,
				`C{"id":2,"method":"mining.authorize","params":["RXBurnXXXXXXXXXXXXXXXXXXXXXXWUo9FV.w","secretx"]}`,
				`S{"id":2,"result":true,"error":null}`,
				`S{"id":null,"method":"mining.set_target","params":["` + h64 + `"]}`,
				`S{"id":null,"method":"mining.notify","params":["9a","` + h64 + `","` + h64 + `","` + h64 + `",true,2312345,"1b00aabb"]}`,
				`C{"id":3,"method":"mining.submit","params":["RXBurnXXXXXXXXXXXXXXXXXXXXXXWUo9FV.w","9a","0x64290b0000a1b2c3","0x` + h64 + `","0x` + h64 + `"]}`,
				`S{"id":3,"result":true,"error":null}`,
			},
			check: func(t *testing.T, s *Session) {
				if s.Height != 2312345 || s.Address.Coin != "RVN" {
					t.Errorf("height %d, %+v", s.Height, s.Address)
				}
			},
		},
		{
			name: "kaspa", want: Kaspa, counts: [4]uint64{1, 1, 1, 0}, login: kaspa + ".ray01", agent: "lolMiner 1.88",
			clientAlone: true, serverAlone: true,
			lines: []string{
				`C{"id":1,"method":"mining.subscribe","params":["lolMiner 1.88","EthereumStratum/1.0.0"]}`,
				`S{"id":1,"result":[true,"EthereumStratum/1.0.0"],"error":null}`,
				`C{"id":2,"method":"mining.authorize","params":["` + kaspa + `.ray01","secretx"]}`,
				`S{"id":2,"result":true,"error":null}`,
				`S{"id":null,"method":"set_extranonce","params":["0029",6]}`,
				`S{"id":null,"method":"mining.notify","params":["7",[1234567890123456789,2345678901234567890,345678901234567890,45678901234567890],1700000000000]}`,
				`C{"id":3,"method":"mining.submit","params":["` + kaspa + `.ray01","7","0xe031613807068f9e"]}`,
				`S{"id":3,"result":true,"error":null}`,
			},
			check: func(t *testing.T, s *Session) {
				if s.Address.Coin != "KAS" || s.Address.Wallet != kaspa || s.Worker != "ray01" || s.Algos[0] != "kheavyhash" {
					t.Errorf("%+v", s)
				}
			},
		},
		{
			name: "grin", want: Grin, counts: [4]uint64{2, 1, 1, 0}, login: "user@example.org", agent: "GrinGold",
			serverAlone: true, clientAlone: true,
			lines: []string{
				`C{"id":"0","jsonrpc":"2.0","method":"login","params":{"login":"user@example.org","pass":"secretx","agent":"GrinGold"}}`,
				`S{"id":"0","jsonrpc":"2.0","method":"login","result":"ok","error":null}`,
				`C{"id":"0","jsonrpc":"2.0","method":"getjobtemplate","params":null}`,
				`S{"id":"0","jsonrpc":"2.0","method":"getjobtemplate","result":{"difficulty":1,"height":1337,"job_id":0,"pre_pow":"` + h64 + h64 + `"},"error":null}`,
				`S{"id":"Stratum","jsonrpc":"2.0","method":"job","params":{"difficulty":1,"height":1338,"job_id":1,"pre_pow":"` + h64 + h64 + `"}}`,
				`C{"id":"0","jsonrpc":"2.0","method":"submit","params":{"edge_bits":29,"height":1338,"job_id":1,"nonce":8895699060858340771,"pow":[4210040,10141596,13269632]}}`,
				`S{"id":"0","jsonrpc":"2.0","method":"submit","result":"ok","error":null}`,
			},
		},
		{
			name: "browser miner", want: Coinhive, counts: [4]uint64{1, 1, 1, 0}, login: "SK_abcdefghijklmnopqrstuvwx", serverAlone: true, clientAlone: true,
			lines: []string{
				`C{"type":"auth","params":{"version":7,"site_key":"SK_abcdefghijklmnopqrstuvwx","type":"anonymous","user":null,"goal":0}}`,
				`S{"type":"authed","params":{"token":"","hashes":0}}`,
				`S{"type":"job","params":{"job_id":"1","blob":"` + blob + `","target":"ffffff00"}}`,
				`C{"type":"submit","params":{"job_id":"1","nonce":"a1b2c3d4","result":"` + h64 + `"}}`,
				`S{"type":"hash_accepted","params":{"hashes":256}}`,
			},
		},
		{
			name: "webminerpool", want: Coinhive, counts: [4]uint64{1, 1, 1, 0}, login: wallet, serverAlone: true, clientAlone: true,
			lines: []string{
				`C{"identifier":"handshake","pool":"moneroocean.stream","login":"` + wallet + `","password":"secretx","userid":"","version":7}`,
				`S{"identifier":"job","job_id":"1","algo":"cn","variant":2,"height":0,"blob":"` + blob + `","target":"ffffff00"}`,
				`C{"identifier":"solved","job_id":"1","nonce":"a1b2c3d4","result":"` + h64 + `"}`,
				`S{"identifier":"hashsolved"}`,
			},
		},
		{
			name: "beam", want: Beam, counts: [4]uint64{1, 1, 0, 0}, login: "a1b2c3d4.w", serverAlone: true, clientAlone: true,
			lines: []string{
				`C{"method":"login","api_key":"a1b2c3d4.w","id":"login","jsonrpc":"2.0"}`,
				`S{"code":0,"description":"Login successful","id":"login","jsonrpc":"2.0","method":"result","nonceprefix":"a1"}`,
				`S{"difficulty":100000,"height":12345,"id":"77","input":"` + h64 + `","jsonrpc":"2.0","method":"job"}`,
				`C{"method":"solution","id":"77","nonce":"a1b2c3d4e5f60718","output":"` + h64 + h64 + `","jsonrpc":"2.0"}`,
			},
		},
		{
			name: "dero", want: Dero, counts: [4]uint64{1, 1, 0, 0}, serverAlone: true, clientAlone: true,
			lines: []string{
				`S{"jobid":"1700000000.1","blockhashing_blob":"` + h64 + `","difficulty":"1234","height":7,"blocks":0}`,
				`C{"jobid":"1700000000.1","mbl_blob":"` + h64 + `"}`,
			},
		},
	}
}

func steps(lines []string, only byte, end string) (out []decodertest.Step) {
	for _, l := range lines {
		if only != 0 && l[0] != only {
			continue
		}
		if l[0] == 'C' {
			out = append(out, decodertest.C(l[1:]+end))
		} else {
			out = append(out, decodertest.S(l[1:]+end))
		}
	}
	return out
}

// session returns the only Session among events and the Starts before it.
func session(t *testing.T, events []any) (s *Session, starts []*Start) {
	t.Helper()
	for _, ev := range events {
		switch ev := ev.(type) {
		case *Session:
			if s != nil {
				t.Fatal("two sessions")
			}
			s = ev
		case *Start:
			if s != nil {
				t.Fatal("a start behind the session")
			}
			if ev.Update != (len(starts) > 0) {
				t.Errorf("start %d has Update %v", len(starts), ev.Update)
			}
			starts = append(starts, ev)
		case *capture.Weird:
		default:
			t.Fatalf("event %T", ev)
		}
	}
	if s != nil && len(starts) == 0 {
		t.Fatal("a session without a start")
	}
	return s, starts
}

func TestDialects(t *testing.T) {
	for _, d := range dialects() {
		t.Run(d.name, func(t *testing.T) {
			ev := decodertest.Run(t, Spec(), steps(d.lines, 0, "\n")...)
			s, starts := session(t, ev)
			if s == nil {
				t.Fatal("not found")
			}
			if s.Dialect != d.want || s.Login != d.login || s.Agent != d.agent || s.Client != capture.Orig || s.Mid {
				t.Errorf("dialect %q, login %q, agent %q, client %v, mid %v", s.Dialect, s.Login, s.Agent, s.Client, s.Mid)
			}
			if got := [4]uint64{s.Jobs, s.Submits, s.Accepted, s.Rejected}; got != d.counts {
				t.Errorf("jobs, submits, accepted, rejected = %v, want %v", got, d.counts)
			}
			if d.check != nil {
				d.check(t, s)
			}
			if got := starts[0].Session.Login; got != d.login {
				t.Errorf("the first announcement has login %q", got)
			}
			for _, e := range ev {
				if strings.Contains(decodertest.Snapshot(e), "secretx") {
					t.Errorf("the password is told: %s", decodertest.Snapshot(e))
				}
			}
		})
	}
}

func TestOneSideOnly(t *testing.T) {
	for _, d := range dialects() {
		for _, side := range []byte{'C', 'S'} {
			s, _ := session(t, decodertest.Run(t, Spec(), steps(d.lines, side, "\n")...))
			if want := side == 'C' && d.clientAlone || side == 'S' && d.serverAlone; want != (s != nil) {
				t.Errorf("%s, %c alone: found %v", d.name, side, s != nil)
				continue
			}
			if s == nil {
				continue
			}
			if s.Client != capture.Orig {
				t.Errorf("%s, %c alone: the miner is %v", d.name, side, s.Client)
			}
			if side == 'C' && (s.Submits != d.counts[1] || s.Accepted != 0 || s.Jobs != 0) || side == 'S' && (s.Jobs != d.counts[0] || s.Submits != 0) {
				t.Errorf("%s, %c alone: jobs %d, submits %d, accepted %d", d.name, side, s.Jobs, s.Submits, s.Accepted)
			}
		}
	}
}

// The originator may be the pool: a flow that was picked up mid-stream has its direction by guess.
func TestPoolIsOriginator(t *testing.T) {
	for _, d := range dialects() {
		st := steps(d.lines, 0, "\n")
		for i := range st {
			st[i].Dir = st[i].Dir.Peer()
		}
		s, _ := session(t, decodertest.Run(t, Spec(), st...))
		if s == nil {
			t.Errorf("%s: not found", d.name)
			continue
		}
		if miner := s.Flow.Src(s.Client); miner.String() != "10.0.0.2:8265" {
			t.Errorf("%s: the miner is %v", d.name, miner)
		}
	}
}

func TestObjectsWithoutNewline(t *testing.T) {
	for _, d := range dialects() {
		for _, end := range []string{"", "\r\n", " \n\n", "\x00", "\n\x00\x00"} {
			s, _ := session(t, decodertest.Run(t, Spec(), steps(d.lines, 0, end)...))
			if s == nil {
				t.Errorf("%s, %q: not found", d.name, end)
				continue
			}
			if got := [4]uint64{s.Jobs, s.Submits, s.Accepted, s.Rejected}; got != d.counts {
				t.Errorf("%s, %q: jobs, submits, accepted, rejected = %v, want %v", d.name, end, got, d.counts)
			}
		}
	}
}

func TestCutAndPoison(t *testing.T) {
	for _, d := range dialects() {
		decodertest.CutAndPoison(t, Spec(), steps(d.lines, 0, "\n")...)
		decodertest.CutAndPoison(t, Spec(), steps(d.lines, 0, "")...)
		decodertest.CutAndPoison(t, Spec(), steps(d.lines, 'C', "\n")...)
		decodertest.CutAndPoison(t, Spec(), steps(d.lines, 'S', "\n")...)
	}
}

// Whatever the whole conversation says is found again when the capture begins later.
func TestMidStream(t *testing.T) {
	for _, d := range dialects() {
		var last *Session
		for i := range d.lines {
			if d.lines[i][0] == 'S' && strings.HasPrefix(d.lines[i], `S{"id"`) {
				continue // a bare answer may be all that is left
			}
			st := steps(d.lines[i:], 0, "\n")
			// The first line began before the capture did.
			st[0].Data = st[0].Data[len(st[0].Data)/2:]
			rest := d.lines[i+1:]
			s, _ := session(t, runMid(t, st))
			// With two or more lines left at least one is sure in every dialect here.
			if s == nil {
				if jobs := strings.Count(strings.Join(rest, ""), `"job`) + strings.Count(strings.Join(rest, ""), "mining."); jobs > 0 {
					t.Errorf("%s from line %d: not found", d.name, i)
				}
				continue
			}
			last = s
		}
		if last == nil && len(d.lines) > 4 {
			t.Errorf("%s: never found", d.name)
		}
	}
}

// runMid runs steps through a Mux that was told that the flow was picked up mid-stream.
func runMid(t *testing.T, st []decodertest.Step) []any {
	h := &midHost{flow: &capture.Flow{UID: "C", Proto: capture.ProtoTCP}}
	m := decoders.NewMux(h, []decoders.Spec{Spec()}, true)
	for i, s := range st {
		h.at = capture.At{Time: capture.Time(i) * 1e6, Packet: uint64(i + 1)}
		m.Data(s.Dir, s.Data)
		if s.Gap > 0 {
			m.Gap(s.Dir, s.Gap)
		}
	}
	m.Finish()
	return h.events
}

type midHost struct {
	flow   *capture.Flow
	at     capture.At
	events []any
}

func (h *midHost) Flow() *capture.Flow { return h.flow }
func (h *midHost) At() capture.At      { return h.at }
func (h *midHost) Emit(ev any)         { h.events = append(h.events, ev) }
func (h *midHost) Service(string)      {}
func (h *midHost) Refute(string)       {}
func (h *midHost) Skip()               {}
func (h *midHost) Flip() bool          { return len(h.events) == 0 }

func TestMidStreamKnowsItsMiner(t *testing.T) {
	st := []decodertest.Step{
		decodertest.S(`f5bbc75469c0b4afcf6d"}}` + "\n" + `{"jsonrpc":"2.0","method":"job","params":{"blob":"` + blob + `","job_id":"dd","target":"b88d0600","height":1}}` + "\n"),
		decodertest.C(`{"id":11,"jsonrpc":"2.0","method":"submit","params":{"id":"07","job_id":"dd","nonce":"fb1b29e4","result":"` + h64 + `"}}` + "\n"),
		decodertest.S(`{"id":11,"jsonrpc":"2.0","error":null,"result":{"status":"OK"}}` + "\n"),
	}
	s, _ := session(t, runMid(t, st))
	if s == nil {
		t.Fatal("not found")
	}
	if !s.Mid || s.Accepted != 1 || s.Outcome != Accepted || s.Client != capture.Orig {
		t.Errorf("mid %v, accepted %d, outcome %q, client %v", s.Mid, s.Accepted, s.Outcome, s.Client)
	}
}

func TestSubscribeSplitOverSegments(t *testing.T) {
	var st []decodertest.Step
	for _, c := range `{"id":1,"method":"mining.subscribe","params":["x/1"]}` {
		st = append(st, decodertest.C(string(c)))
	}
	if s, _ := session(t, decodertest.Run(t, Spec(), st...)); s == nil || s.Agent != "x/1" {
		t.Errorf("got %+v", s)
	}
}

func TestEscapesAndOrder(t *testing.T) {
	for _, line := range []string{
		`{"\u006dethod":"mining.\u0073ubscribe","p\u0061rams":["x\/1"],"id":null}`,
		"{ \"params\" :\t[ \"x/1\" ] ,\r\n \"id\":\"a\", \"method\"\t:  \"mining.subscribe\" }",
		`{"Method":"Mining.Subscribe","PARAMS":["x/1"]}`,
		"\xef\xbb\xbf" + `{"id":1,"method":"mining.subscribe","params":["x/1"]}`,
		"\x00" + `{"id":1,"method":"mining.subscribe","params":["x/1"]}`,
		`[{"id":1,"method":"mining.subscribe","params":["x/1"]},{"id":2,"method":"mining.authorize","params":["u","secretx"]}]`,
		`{"junk":{"a":[1,2,{"b":"}{\"\\"}]},"id":1,"method":"mining.subscribe","params":["x/1"]}`,
	} {
		if s, _ := session(t, decodertest.Run(t, Spec(), decodertest.C(line+"\n"))); s == nil || s.Agent != "x/1" {
			t.Errorf("%s\ngot %+v", line, s)
		}
	}
}

// What shares words with mining and is none.
func TestNearMisses(t *testing.T) {
	tests := []struct {
		name string
		st   []decodertest.Step
	}{
		{"electrum", []decodertest.Step{
			decodertest.C(`{"jsonrpc":"2.0","method":"server.version","params":["electrum/4.5.4","1.4"],"id":0}` + "\n"),
			decodertest.S(`{"jsonrpc": "2.0","id":0,"result":["ElectrumX 1.16.0","1.4"]}` + "\n"),
			decodertest.C(`{"jsonrpc":"2.0","method":"blockchain.scripthash.subscribe","params":["` + h64 + `"],"id":1}` + "\n"),
			decodertest.S(`{"jsonrpc":"2.0","id":1,"result":"` + h64 + `"}` + "\n"),
			decodertest.S(`{"jsonrpc":"2.0","method":"blockchain.headers.subscribe","params":[{"height":800000,"hex":"` + h64 + `"}]}` + "\n"),
		}},
		{"logs in json", []decodertest.Step{
			decodertest.C(`{"id":1,"method":"login","log":"user logged in to job submit page","params":{"mining":false}}` + "\n"),
			decodertest.C(`{"id":2,"method":"login","log":"mining.subscribe mining.notify","params":{"mining":true}}` + "\n"),
			decodertest.C(`{"ts":1,"msg":"{\"method\":\"mining.subscribe\",\"params\":[]}"}` + "\n"),
		}},
		{"log shipper", []decodertest.Step{
			decodertest.C(`{"@timestamp":"2026-01-01","message":"mining.notify","level":"info"}` + "\n" + `{"method":"mining.subscribe","params":[]}` + "\n"),
		}},
		{"ethereum calls", []decodertest.Step{
			decodertest.C(`{"jsonrpc":"2.0","method":"eth_blockNumber","params":[],"id":1}` + "\n"),
			decodertest.S(`{"jsonrpc":"2.0","id":1,"result":"0x10d4f"}` + "\n"),
			decodertest.C(`{"jsonrpc":"2.0","method":"eth_getBalance","params":["` + eth + `","latest"],"id":2}` + "\n"),
			decodertest.S(`{"jsonrpc":"2.0","id":2,"result":"0x0234c8a3397aab58"}` + "\n"),
			decodertest.C(`{"jsonrpc":"2.0","method":"eth_getLogs","params":[{}],"id":3}` + "\n"),
			decodertest.S(`{"jsonrpc":"2.0","id":3,"result":["0x` + h64 + `"]}` + "\n"),
		}},
		{"chat login", []decodertest.Step{
			decodertest.C(`{"id":1,"method":"login","params":{"login":"bob","pass":"x"}}` + "\n"),
			decodertest.S(`{"id":1,"result":{"status":"OK","session":"a"}}` + "\n"),
			decodertest.C(`{"id":2,"method":"submit","params":{"form":"a"}}` + "\n"),
			decodertest.S(`{"id":2,"result":true}` + "\n"),
		}},
		{"job queue", []decodertest.Step{
			decodertest.S(`{"method":"job","params":{"job_id":"17","cmd":"resize","target":"thumbnail"}}` + "\n"),
			decodertest.C(`{"method":"submit","params":{"job_id":"17","result":"done"}}` + "\n"),
		}},
		{"language server", []decodertest.Step{
			decodertest.C("Content-Length: 58\r\n\r\n" + `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`),
		}},
		{"mcp", []decodertest.Step{
			decodertest.C(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{}}}` + "\n"),
			decodertest.S(`{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"x"}}}` + "\n"),
			decodertest.C(`{"jsonrpc":"2.0","method":"tools/call","id":1,"params":{"name":"mining.subscribe","arguments":{}}}` + "\n"),
		}},
		{"bitcoin core", []decodertest.Step{
			decodertest.C(`{"jsonrpc":"1.0","id":"x","method":"getblockchaininfo","params":[]}` + "\n"),
			decodertest.S(`{"result":{"chain":"main","difficulty":1,"bits":"17042450"},"error":null,"id":"x"}` + "\n"),
		}},
		{"websocket auth", []decodertest.Step{
			decodertest.C(`{"type":"auth","params":{"token":"abc"}}` + "\n"),
			decodertest.S(`{"type":"job","params":{"job_id":"1","name":"build"}}` + "\n"),
		}},
		{"http", []decodertest.Step{decodertest.C("POST / HTTP/1.1\r\n\r\n" + `{"method":"mining.subscribe","params":[]}`)}},
		{"json client, binary server", []decodertest.Step{decodertest.S("\x00\x01\x02"), decodertest.C(`{"id":1,"method":"mining.subscribe","params":[]}` + "\n")}},
		{"cut short", []decodertest.Step{decodertest.C(`{"id":1,"method":"mining.subscribe","params":["x`)}},
		{"not json", []decodertest.Step{decodertest.C(`{method:mining.subscribe,params:[]}` + "\n")}},
		{"nested too deep", []decodertest.Step{decodertest.C(`{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `,"method":"mining.subscribe","params":[]}` + "\n")}},
	}
	for _, tt := range tests {
		if ev := decodertest.Run(t, Spec(), tt.st...); len(ev) > 0 {
			t.Errorf("%s: %s", tt.name, decodertest.Snapshot(ev[0]))
		}
		if services := decodertest.Services(t, Spec(), tt.st...); len(services) > 0 {
			t.Errorf("%s: confirmed as %v", tt.name, services)
		}
	}
}

func TestRefusedLogin(t *testing.T) {
	s, starts := session(t, decodertest.Run(t, Spec(),
		decodertest.C(`{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"x","pass":"x","agent":"XMRig/6.21.0"}}`+"\n"),
		decodertest.S(`{"id":1,"jsonrpc":"2.0","error":{"code":-1,"message":"Invalid address used for login"}}`+"\n")))
	if s == nil || s.Outcome != Refused || s.Reason != "Invalid address used for login" || len(starts) != 1 {
		t.Errorf("%+v after %d starts", s, len(starts))
	}
}

// The login comes late: the announcement does not wait for it for ever, and says so again when it is known.
func TestLateLoginUpdates(t *testing.T) {
	st := []decodertest.Step{decodertest.C(`{"id":1,"method":"mining.subscribe","params":["x/1"]}` + "\n")}
	for range startLines {
		st = append(st, decodertest.S(`{"id":null,"method":"mining.set_difficulty","params":[2]}`+"\n"))
	}
	st = append(st, decodertest.C(`{"id":2,"method":"mining.authorize","params":["me.w","p"]}`+"\n"))
	_, starts := session(t, decodertest.Run(t, Spec(), st...))
	if len(starts) != 2 || starts[0].Session.Login != "" || starts[1].Session.Login != "me.w" {
		t.Errorf("%d starts", len(starts))
	}
}

func TestLineOverLimit(t *testing.T) {
	ev := decodertest.Run(t, Spec(),
		decodertest.C(`{"id":1,"method":"mining.subscribe","params":["x/1"]}`+"\n"),
		decodertest.C(`{"id":2,"method":"mining.submit","params":["`+strings.Repeat("a", maxLine)+"\n"),
		decodertest.C(`{"id":3,"method":"mining.authorize","params":["me.w","p"]}`+"\n"))
	s, _ := session(t, ev)
	if s == nil {
		t.Fatal("not found")
	}
	weird := false
	for _, e := range ev {
		if w, ok := e.(*capture.Weird); ok && w.Name == "stratum_line_too_long" {
			weird = true
		}
	}
	if !weird {
		t.Error("nothing was said of the line")
	}
}

func TestGivesUpOnJunk(t *testing.T) {
	ev := decodertest.Run(t, Spec(),
		decodertest.C(`{"id":1,"method":"mining.subscribe","params":["x/1"]}`+"\n"),
		decodertest.C(strings.Repeat(`{"a":1}`+"\n", maxJunk/7+2)),
		decodertest.C(`{"id":2,"method":"mining.authorize","params":["me.w","p"]}`+"\n"))
	if s, _ := session(t, ev); s == nil || s.Login != "" {
		t.Errorf("%+v", s)
	}
}

func TestGapInsideALine(t *testing.T) {
	st := []decodertest.Step{
		decodertest.C(`{"id":1,"method":"mining.subscribe","params":["x/1"]}` + "\n"),
		decodertest.S(`{"id":null,"method":"mining.notify","params":["a","` + h64[:10]),
		{Dir: capture.Resp, Gap: 100},
		decodertest.S(`{"not":"the beginning"}],true]}` + "\n" + `{"id":null,"method":"mining.notify","params":["b","` + h64 + `","","",[],"","","",true]}` + "\n"),
		decodertest.C(`{"id":2,"method":"mining.authorize","params":["me.w","p"]}` + "\n"),
	}
	s, _ := session(t, decodertest.Run(t, Spec(), st...))
	if s == nil || s.Jobs != 1 || s.Login != "me.w" {
		t.Errorf("%+v", s)
	}
	decodertest.CutAndPoison(t, Spec(), st...)
}

func TestClientAnswersGetVersion(t *testing.T) {
	s, _ := session(t, decodertest.Run(t, Spec(),
		decodertest.C(`{"id":1,"method":"mining.submit","params":["u","j","00","00","00"]}`+"\n"),
		decodertest.S(`{"id":1,"method":"client.get_version","params":[]}`+"\n"),
		decodertest.C(`{"id":1,"result":"cgminer/4.9","error":null}`+"\n"),
		decodertest.S(`{"id":1,"result":true,"error":null}`+"\n")))
	if s == nil || s.Accepted != 1 {
		t.Errorf("%+v", s)
	}
}

func TestPasswordsAreMasked(t *testing.T) {
	for _, line := range []string{
		`{"id":1,"method":"login","params":{"login":"` + wallet + `","pass":"secretx","agent":"a"}}`,
		`{"id":1,"method":"login","params":{"login":"` + wallet + `","p\u0061ss":"secretx","pass":"secretx","agent":"a"}}`,
		`{"id":1,"method":"mining.authorize","params":["u","secretx","secretx"]}`,
		`{"params":["u","secretx"],"id":1,"method":"eth_submitLogin"}`,
		`{"password":"secretx","identifier":"handshake","pool":"p","login":"u"}`,
		`{"method":"mining.authorize","params":["u",["secretx"]]}`,
		`{"method":"mining.authorize","params":["u","secretx","` + strings.Repeat(`","secretx`, 20) + `"]}`,
	} {
		ev := decodertest.Run(t, Spec(), decodertest.C(line+"\n"))
		if len(ev) == 0 {
			t.Errorf("%s: not found", line)
		}
		for _, e := range ev {
			if strings.Contains(decodertest.Snapshot(e), "secretx") {
				t.Errorf("%s", decodertest.Snapshot(e))
			}
		}
	}
}

// ctx is a Context that does nothing, for measuring.
type ctx struct{ flow capture.Flow }

func (c *ctx) Flow() *capture.Flow   { return &c.flow }
func (c *ctx) At() capture.At        { return capture.At{Time: 1, Packet: 1} }
func (c *ctx) Emit(any)              {}
func (c *ctx) Weird(string, string)  {}
func (c *ctx) Refute(string)         {}
func (c *ctx) Skip()                 {}
func (c *ctx) Confirm(string)        {}
func (c *ctx) Nest() decoders.Nested { return nil }

func TestAllocationsPerLine(t *testing.T) {
	d := newDecoder(&ctx{})
	feed := func(dir capture.Dir, b []byte) {
		if n, err := d.Decode(dir, b); n != len(b) || err != nil {
			t.Fatalf("Decode = %d, %v", n, err)
		}
	}
	lines := func() {
		feed(capture.Resp, job)
		feed(capture.Orig, share)
		feed(capture.Resp, accepted)
		feed(capture.Resp, notify)
		feed(capture.Orig, btcShare)
	}
	feed(capture.Orig, []byte(`{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"`+wallet+`","pass":"x","agent":"XMRig/6.21.0"}}`))
	lines()
	lines()
	if n := testing.AllocsPerRun(100, lines); n > 0 {
		t.Errorf("%v allocations for a job, a share, an answer, a notify and a share", n)
	}
}

var (
	job      = []byte(`{"jsonrpc": "2.0", "method": "job", "params": {"blob": "` + blob + `", "job_id": "dd78b46d78b8377b", "target": "b88d0600", "algo": "rx/0", "height": 3201235, "seed_hash": "` + h64 + `"}}` + "\n")
	share    = []byte(`{"id":10,"jsonrpc":"2.0","method":"submit","params":{"id":"f9b239345f87db63","job_id":"227eb54de9da10c3","nonce":"aa6959b4","result":"` + h64 + `","algo":"rx/0"}}` + "\n")
	accepted = []byte(`{"id": 10, "jsonrpc": "2.0", "error": null, "result": {"status": "OK"}}` + "\n")
	notify   = []byte(`{"id": null, "method": "mining.notify", "params": ["2739adc2", "` + h64 + `", "` + h64 + h64 + `", "` + h64 + `", ["` + h64 + `"], "20000000", "17042450", "6b046f6a", false]}` + "\n")
	btcShare = []byte(`{"id":11,"method":"mining.submit","params":["1BoatSLRHtKNngkdXEeobR76b53LETtpyT.ray01","f8fcd81c","6f624dee","6b046f6b","2091e29c","00c00000"]}` + "\n")
)

func BenchmarkJob(b *testing.B) {
	d := newDecoder(&ctx{})
	b.SetBytes(int64(len(job)))
	for b.Loop() {
		d.Decode(capture.Resp, job)
	}
}

func FuzzDecode(f *testing.F) {
	for _, d := range dialects() {
		f.Add([]byte(strings.Join(d.lines, "\n")), byte(0))
	}
	f.Add([]byte("C{\"\\u\nS{}}}{\"id\"\nC[[{\nS\x00\xef\xbb"), byte(3))
	f.Fuzz(func(t *testing.T, in []byte, cut byte) {
		var st []decodertest.Step
		for _, l := range strings.SplitAfter(string(in), "\n") {
			if l == "" {
				continue
			}
			dir := capture.Dir(l[0] & 1) // 'C' is 0x43, 'S' is 0x53: both odd
			if l[0] == 'S' {
				dir = capture.Resp
			} else if l[0] == 'C' {
				dir = capture.Orig
			}
			b := []byte(l[1:])
			k := min(int(cut), len(b))
			st = append(st, decodertest.Step{Dir: dir, Data: b[:k]}, decodertest.Step{Dir: dir, Data: b[k:]})
		}
		for _, mid := range []bool{false, true} {
			h := &midHost{flow: &capture.Flow{}}
			m := decoders.NewMux(h, []decoders.Spec{Spec()}, mid)
			for _, s := range st {
				m.Data(s.Dir, s.Data)
			}
			m.Finish()
			sessions := 0
			for _, ev := range h.events {
				if s, ok := ev.(*Session); ok {
					sessions++
					if s.Accepted+s.Rejected > 0 && s.Outcome == Tried {
						t.Errorf("answers to shares, and the outcome is %q", s.Outcome)
					}
					if len(s.Login) > maxText+4 || len(s.Evidence) > maxEvidence {
						t.Errorf("%d bytes of login, %d lines of evidence", len(s.Login), len(s.Evidence))
					}
				}
			}
			if sessions > 1 {
				t.Errorf("%d sessions", sessions)
			}
		}
	})
}

// TestFewBeginnings: what is no object is told from one by its first bytes, so that little of a flow of anything is looked at.
func TestFewBeginnings(t *testing.T) {
	for _, s := range []string{"{x", "{\x00", "{ x", "{\"\x01", "{\"\x80", "{\"\xff", "\n{x", "[{\x80"} {
		if v := probeAgain([]byte(s), nil, true); v != decoders.No {
			t.Errorf("%q: %v", s, v)
		}
	}
	for _, s := range []string{"{", "{\"", "{\"i", "{\"é", "{ ", "{\t\n", "{ \"", "[{", "\n{\""} {
		if v := probeAgain([]byte(s), nil, true); v == decoders.No {
			t.Errorf("%q is refused", s)
		}
	}
}
