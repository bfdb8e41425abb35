package stratum

import (
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
)

// call makes a transaction; a status of 0 means that there was no answer.
func call(header http.Header, target, body string, status int, answer string) *http.Transaction {
	t := &http.Transaction{
		At: capture.At{Time: 1, Packet: 5}, Flow: &capture.Flow{UID: "C"},
		Request: &http.Request{At: capture.At{Packet: 5}, Done: capture.At{Packet: 6}, Method: "POST", Target: target, Header: header, Body: http.Body{Data: []byte(body), Complete: true}},
	}
	if status != 0 {
		t.Response = &http.Response{At: capture.At{Packet: 7}, Done: capture.At{Packet: 8}, Status: status, Body: http.Body{Data: []byte(answer), Complete: true}}
	}
	return t
}

func TestFromHTTP(t *testing.T) {
	none := http.Header(nil)
	tests := []struct {
		name    string
		t       *http.Transaction
		dialect Dialect // "" for nothing
		outcome Outcome
		login   string
	}{
		{"getwork", call(http.Header{{Name: "X-Mining-Extensions", Value: "longpoll midstate"}, {Name: "Authorization", Value: "Basic dXNlcjpzZWNyZXR4"}, {Name: "User-Agent", Value: "cpuminer/2.5"}},
			"/", `{"method":"getwork","params":[],"id":0}`, 200, `{"result":{"midstate":"00","data":"`+h64+`","target":"ff"},"error":null,"id":0}`), GetWork, Working, "user"},
		{"getwork share", call(none, "/", `{"method":"getwork","params":["`+h64+h64+h64+h64+`"],"id":1}`, 200, `{"result":true,"error":null,"id":1}`), GetWork, Accepted, ""},
		{"getwork share refused", call(none, "/", `{"method":"getwork","params":["`+h64+h64+h64+h64+`"],"id":1}`, 200, `{"result":false,"error":null,"id":1}`), GetWork, Working, ""},
		{"template", call(none, "/", `{"method":"getblocktemplate","params":[{"rules":["segwit"]}],"id":1}`, 200, `{"result":{"previousblockhash":"`+h64+`","bits":"17042450","transactions":[]},"error":null,"id":1}`), GetBlockTemplate, Working, ""},
		{"block taken", call(none, "/", `{"method":"submitblock","params":["`+h64+h64+h64+h64+`"],"id":1}`, 200, `{"result":null,"error":null,"id":1}`), GetBlockTemplate, Accepted, ""},
		{"monero daemon", call(none, "/json_rpc", `{"jsonrpc":"2.0","id":"0","method":"get_block_template","params":{"wallet_address":"`+wallet+`","reserve_size":60}}`, 200, `{"id":"0","jsonrpc":"2.0","result":{"blocktemplate_blob":"0e0e","difficulty":61043624293,"status":"OK"}}`), GetBlockTemplate, Working, wallet},
		{"ethereum", call(none, "/?miner=30@"+eth+"@Rig", `{"jsonrpc":"2.0","method":"eth_getWork","params":[],"id":73}`, 200, `{"jsonrpc":"2.0","id":73,"result":["0x`+h64+`","0x`+h64+`","0x`+h64+`"]}`), EthProxy, Working, eth},
		{"ethereum share", call(none, "/", `{"jsonrpc":"2.0","method":"eth_submitWork","params":["0x1234567812345678","0x`+h64+`","0x`+h64+`"],"id":73}`, 200, `{"jsonrpc":"2.0","id":73,"result":true}`), EthProxy, Accepted, ""},
		{"no answer", call(none, "/", `{"method":"getwork","params":[],"id":0}`, 0, ""), GetWork, Tried, ""},
		{"wants a password", call(none, "/", `{"method":"getwork","params":[],"id":0}`, 401, "no"), GetWork, Refused, ""},
		{"no work yet", call(none, "/", `{"method":"eth_getWork","params":[],"id":0}`, 200, `{"id":0,"error":{"code":-1,"message":"no mining work available yet"}}`), EthProxy, Refused, ""},

		{"not found", call(none, "/rpc", `{"jsonrpc":"2.0","method":"eth_getWork","params":[],"id":73}`, 404, "<html>"), "", "", ""},
		{"ethereum call", call(none, "/rpc", `{"jsonrpc":"2.0","method":"eth_blockNumber","params":[],"id":1}`, 200, `{"jsonrpc":"2.0","id":1,"result":"0x1"}`), "", "", ""},
		{"bitcoin core", call(none, "/", `{"method":"getblockchaininfo","params":[],"id":1}`, 200, `{"result":{"bits":"17042450"},"error":null,"id":1}`), "", "", ""},
		{"login of something else", call(none, "/", `{"method":"login","params":{"login":"bob","pass":"x"},"id":1}`, 200, `{"id":1,"result":{"status":"OK"}}`), "", "", ""},
		{"job of ray", call(none, "/api/jobs/", `{"entrypoint":"echo mining.subscribe"}`, 200, `{"job_id":"raysubmit_1","submission_id":"raysubmit_1"}`), "", "", ""},
		{"empty", call(none, "/", "", 200, ""), "", "", ""},
		{"nil", nil, "", "", ""},
		{"only an answer", &http.Transaction{Response: &http.Response{Status: 200, Body: http.Body{Data: []byte(`{"result":{"data":"00","target":"ff"},"error":null,"id":0}`)}}}, GetWork, Working, ""},
		{"only an answer, not work", &http.Transaction{Response: &http.Response{Status: 200, Body: http.Body{Data: []byte(`{"result":{"data":"00"}}`)}}}, "", "", ""},
	}
	for _, tt := range tests {
		s := FromHTTP(tt.t)
		if s == nil {
			if tt.dialect != "" {
				t.Errorf("%s: nothing", tt.name)
			}
			continue
		}
		if s.Dialect != tt.dialect || s.Outcome != tt.outcome || s.Login != tt.login || s.Transport != "http" {
			t.Errorf("%s: dialect %q, outcome %q, login %q", tt.name, s.Dialect, s.Outcome, s.Login)
		}
	}
}

func FuzzFromHTTP(f *testing.F) {
	f.Add("/", `{"method":"getwork","params":[],"id":0}`, 200, `{"result":{"data":"00","target":"ff"}}`)
	f.Add("/?miner=30@"+eth+"@Rig", `[{"method":"eth_getWork"},{"method":"login","params":{"login":"a","pass":"b","agent":"c"}}]`, 0, ``)
	f.Fuzz(func(t *testing.T, target, body string, status int, answer string) {
		if s := FromHTTP(call(nil, target, body, status, answer)); s != nil && s.Dialect == "" {
			t.Errorf("a session without a dialect: %+v", s)
		}
	})
}
