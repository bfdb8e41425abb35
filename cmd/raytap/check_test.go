package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/raytap/raytap/fleet"
)

// certificate writes a self-signed one that ends after a time, and its key.
func certificate(t *testing.T, dir, name string, lives time.Duration) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(lives)}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: cert}, name + ".key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestConfigCheckOpens: what cannot work is a mistake with its line, what may work later a warning.
func TestConfigCheckOpens(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir, "good", 1000*time.Hour)
	certificate(t, dir, "ends", 100*time.Hour)
	certificate(t, dir, "over", -time.Hour)
	for name, text := range map[string]string{
		"feed.csv": "ioc_value,ioc_type\n198.51.100.9,ip\n", "token": "abc\n", "two": "a b\n", "none": "", "headers": "Authorization: Splunk 1\n", "no-headers": "what\n",
		"state.json": `{"format":1,"assets":[]}`, "no-state.json": "{",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	credentialsFor(t, filepath.Join(dir, "folder", "node-1.creds"), "node-1", "tls://hub.example:4222")
	for _, c := range []struct{ text, wrong, warns string }{
		{"intel: [feed.csv]\nstate: state.json\nout: logs\nuser: \"0:0\"\nwebhook:\n  url: https://x.example\n  token_file: token\n  headers_file: headers\n  ca: good.pem\n  client_cert: good.pem\n  client_key: good.key\n", "", ""},
		{"intel:\n  - feed.csv\n  - gone.csv\n", ":3: intel: gone.csv: no such file", ""},
		{"intel: [none]\n", "", ":1: intel: none has no indicators"},
		{"webhook:\n  token_file: gone\n", ":2: webhook.token_file: gone: no such file", ""},
		{"webhook:\n  token_file: none\n", "none is empty", ""},
		{"metrics:\n  token_file: none\n", ":2: metrics.token_file: none is empty", ""},
		{"webhook:\n  token_file: two\n", "two has more in it than one token", ""},
		{"webhook:\n  token_file: .\n", ". is not a regular file", ""},
		{"webhook:\n  headers_file: no-headers\n", "no-headers:1: not of the form", ""},
		{"webhook:\n  ca: token\n", ":2: webhook.ca: token has no certificate", ""},
		{"webhook:\n  ca: over.pem\n", `webhook.ca: over.pem: the certificate of "over" ended`, ""},
		{"syslog:\n  ca: ends.pem\n", "", `:2: syslog.ca: ends.pem: the certificate of "ends" ends`},
		{"webhook: {url: \"https://x\", client_cert: good.pem, client_key: ends.key}\n", "webhook.client_key: good.pem and ends.key: private key does not match", ""},
		{"webhook: {url: \"https://x\", client_cert: over.pem, client_key: over.key}\n", `webhook.client_cert: over.pem: the certificate of "over" ended`, ""},
		{"webhook: {url: \"https://x\", client_cert: ends.pem, client_key: ends.key}\n", "", `webhook.client_cert: ends.pem: the certificate of "ends" ends`},
		{"publish:\n  creds: gone\n", ":2: publish.creds: gone: no such file", ""},
		{"publish:\n  creds: none\n", ":2: publish.creds: none: no user JWT is in it", ""},
		{"sensor: {name: node-1}\npublish: {creds: folder}\n", "", ""},
		{"sensor: {name: node-2}\npublish: {creds: folder}\n", "publish.creds: folder/node-2.creds: no such file", ""},
		{"sensor: {name: node-2}\npublish: {creds: folder/node-1.creds}\n", "folder/node-1.creds is of sensor node-1, and this one is node-2", ""},
		{"publish:\n  kafka: [localhost:9092]\n  kafka_tls: true\n  kafka_ca: gone\n", ":4: publish.kafka_ca: gone: no such file", ""},
		{"publish:\n  kafka: [localhost:9092]\n  kafka_tls: true\n  kafka_ca: token\n", ":4: publish.kafka_ca: token has no certificate", ""},
		{"publish: {kafka: [localhost:9092], kafka_tls: true, kafka_cert: good.pem, kafka_key: ends.key}\n", "publish.kafka_key: good.pem and ends.key: private key does not match", ""},
		{"publish: {kafka: [localhost:9092], kafka_tls: true, kafka_cert: gone, kafka_key: ends.key}\n", "publish.kafka_cert: gone: no such file", ""},
		{"publish:\n  kafka: [localhost:9092]\n  kafka_tls: true\n  kafka_sasl: plain\n  kafka_user: u\n  kafka_password_file: gone\n", ":6: publish.kafka_password_file: gone: no such file", ""},
		{"publish:\n  kafka: [localhost:9092]\n  kafka_tls: true\n  kafka_sasl: plain\n  kafka_user: u\n  kafka_password_file: none\n", ":6: publish.kafka_password_file: none is empty", ""},
		{"user: nobody-of-that-name\n", `:1: user: there is no user "nobody-of-that-name"`, ""},
		{"state: no-state.json\n", ":1: state: no-state.json is not an inventory", ""},
		{"state: gone/state.json\n", "", ":1: state: directory gone does not exist"},
		{"state: token/state.json\n", "state: token is not a directory", ""},
		{"out: token\n", ":1: out: " + filepath.Join(dir, "token") + " is not a directory", ""},
		{"out: token/x\n", ":1: out: ", ""},
		{"out: a/b/c\n", "", ""},
		{"interfaces: [lo, none99]\n", "", ":1: interfaces: interface none99 does not exist on this machine (it has lo"},
		{"interfaces: [lo, no*, any, default, -docker0]\n", "", ":1: interfaces: no interface fits no* on this machine now (lo"},
		{"interfaces: [lo, \"e[\"]\n", `:1: interfaces: "e[" is not a pattern`, ""},
		{"interfaces: [lo, a/b]\n", `:1: interfaces: "a/b" is not the name`, ""},
		{"interfaces: [-lo]\n", ":1: interfaces: it only excludes", ""},
		{"interfaces: [lo]\nread_fifo: token\n", ":2: read_fifo: interfaces are given, too", ""},
		{"read_fifo: gone\n", "", ":1: read_fifo: gone does not exist"},
		{"syslog: {address: \"unix://" + dir + "/token\"}\n", "token is not a socket", ""},
		{"syslog: {address: \"unix:///gone\"}\n", "", "syslog.address: /gone is not there now"},
		{"rules: {suppress: [{rule: jobsubmit, until: 2020-01-31}]}\n", "", "until 2020-01-31 has passed"},
		{"metrics: {listen: \"192.0.2.1:9477\"}\n", "", "metrics.listen: 192.0.2.1:9477 cannot be had now"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		r := invoke(t, dir, nil, "config", "check", "r.yaml")
		var wrong, warns []string
		for l := range strings.Lines(r.stderr) {
			if strings.HasPrefix(l, "raytap: warning: ") {
				warns = append(warns, l)
			} else {
				wrong = append(wrong, l)
			}
		}
		if c.wrong == "" != (r.code == exitOK) || c.wrong == "" && len(wrong) > 0 || !strings.Contains(strings.Join(wrong, ""), c.wrong) {
			t.Errorf("%s: exit status %d, mistakes %q, want %q", c.text, r.code, wrong, c.wrong)
		}
		if c.warns == "" && len(warns) > 0 || !strings.Contains(strings.Join(warns, ""), c.warns) {
			t.Errorf("%s: warnings %q, want %q", c.text, warns, c.warns)
		}
		if want := map[bool]string{true: "r.yaml: fine\n", false: "r.yaml: fine, with a warning\n"}[c.warns == ""]; c.wrong == "" && !strings.HasSuffix(r.stdout, want) {
			t.Errorf("%s: says %q, want %q", c.text, r.stdout, want)
		}
	}
}

// TestConfigCheckCounts: of a feed that is as it should be, too, it is said how much is in it.
func TestConfigCheckCounts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"feed": "198.51.100.9\n198.51.100.10\n", "r.yaml": "intel: [feed]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	invoke(t, dir, nil, "config", "check", "r.yaml").expect(t, exitOK, "r.yaml: feed has 2 indicators\nr.yaml: fine\n", "")
}

// TestConfigCheckAllAtOnce: what is wrong with values hides nothing of what cannot be opened, and flags are checked, too.
func TestConfigCheckAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	text := "hom: x\nhome: [10.1.2.3/8]\nintel: [gone.csv]\nscan:\n  ray_ports: [99999]\n"
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := invoke(t, dir, nil, "config", "check", "r.yaml", "--beacon-score", "90", "--webhook-token-file=none")
	for _, want := range []string{"r.yaml:1: hom: unknown", "r.yaml:2: home: 10.1.2.3/8 has bits", "r.yaml:3: intel: gone.csv", "r.yaml:5: scan.ray_ports: 99999", "flag --beacon-score: 90 is not", "flag --webhook-token-file: webhook.token_file: none: no such"} {
		if r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%d: %s\nlacks %s", r.code, r.stderr, want)
		}
	}
}

// TestConfigCheckOfOthers: what the sensor's user cannot open is a mistake; what only this process cannot, a warning.
func TestConfigCheckOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("takes root")
	}
	dir := t.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	for _, name := range []string{"feed", "token", "state.json"} {
		text := map[string]string{"feed": "198.51.100.9\n", "token": "x", "state.json": `{"format":1}`}[name]
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "logs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "logs", "notes"), nil, 0o600); err != nil { // an empty one would be handed over
		t.Fatal(err)
	}
	text := fmt.Sprintf("user: \"65534:65534\"\nintel: [%[1]s/feed]\nwebhook: {token_file: %[1]s/token}\nout: %[1]s/logs\nstate: %[1]s/state.json\n", dir)
	if err := os.WriteFile(filepath.Join(dir, "r.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r := invoke(t, dir, nil, "config", "check", "r.yaml")
	for _, want := range []string{
		"raytap: warning: r.yaml:2: intel: user 65534:65534 cannot read ", "raytap: r.yaml:3: webhook.token_file: user 65534:65534 cannot read ",
		"raytap: r.yaml:4: out: " + dir + "/logs cannot be written to by user 65534:65534", "raytap: r.yaml:5: state: " + dir + " cannot be written to by user",
	} {
		if r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%d: %s\nlacks %s", r.code, r.stderr, want)
		}
	}
}

// credentialsFor writes a file of credentials as a hub makes them.
func credentialsFor(t *testing.T, file, sensor, url string) {
	t.Helper()
	account, _ := nkeys.CreateAccount()
	user, _ := nkeys.CreateUser()
	pub, _ := user.PublicKey()
	seed, _ := user.Seed()
	token, err := fleet.SensorClaims(sensor, pub).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	b, err := fleet.Credentials{Sensor: sensor, URLs: []string{url}, JWT: token, Seed: seed}.Bytes()
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
