package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// rank orders the folders: a package may import packages of its project only from below it.
func rank(path string) (int, string) {
	p := strings.TrimPrefix(strings.TrimPrefix(path, "github.com/raytap/raytap"), "/")
	top, rest, _ := strings.Cut(p, "/")
	switch top {
	case "test":
		return 8, p
	case "cmd":
		return 7, p
	case "config", "":
		return 6, p
	case "fleet": // what sensors and hubs share is words; joining runs the detectors; the rest stands between cmd and everything
		if rest == "" {
			return 0, p
		}
		return 6, p
	case "record": // a stage of a run: it sees packets, flows and findings
		return 3, p
	case "registry":
		return 4, p
	case "sinks", "detectors", "feeds":
		return 3, p
	case "engine":
		if rest == "zeekview" { // of events, and known to the engine alone
			return 3, p
		}
		return 5, p
	case "decoders":
		if rest == "" || rest == "file" || rest == "chars" { // what decoders share
			return 1, p
		}
		return 2, p
	case "interpreters":
		return 2, p
	case "capture":
		return 0, p
	}
	return -1, p
}

// interprets says which decoder reads another's events, or the messages that both carry. Interpreters read those of HTTP and
// HTTP/2, and no other's.
var interprets = map[string]string{
	"decoders/stratum": "decoders/http",
	"decoders/quic":    "decoders/tls", // the handshake in CRYPTO frames, RFC 9001
	"decoders/secrets": "decoders/http",
}

// carriers are the decoders whose events interpreters read.
var carriers = map[string]bool{"decoders/http": true, "decoders/http2": true}

// shared is what every detector may import.
var shared = map[string]bool{"detectors": true, "detectors/data": true, "detectors/command": true, "detectors/rayfinding": true}

// TestImportsGoOneWay holds the architecture: cmd > config > engine > registry > sinks, detectors > interpreters, decoders > capture > gopacket.
func TestImportsGoOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		from, name := rank(p.ImportPath)
		if from < 0 {
			t.Errorf("%s: no such folder in the architecture", p.ImportPath)
		}
		for _, imp := range p.Imports {
			if strings.HasPrefix(imp, "github.com/raytap/raytap/sinks") && (from == 4 || from == 5 || name == "") {
				t.Errorf("%s imports %s: who uses the library links no sink", p.ImportPath, imp)
			}
			if strings.HasPrefix(imp, "github.com/google/gopacket") && name != "capture" {
				t.Errorf("%s imports %s: only capture may", p.ImportPath, imp)
			}
			if !strings.HasPrefix(imp, "github.com/raytap/raytap") {
				if (from == 2 || from == 3 && strings.HasPrefix(name, "detectors")) && (imp == "log" || imp == "net/http" || imp == "os") {
					t.Errorf("%s imports %s: decoders and detectors touch nothing but events", p.ImportPath, imp)
				}
				continue
			}
			to, other := rank(imp)
			switch {
			case to > from:
				t.Errorf("%s imports %s, which stands above it", p.ImportPath, imp)
			case strings.HasPrefix(name, "interpreters") && carriers[other]:
			case from == 2 && to == 2 && interprets[name] != other:
				t.Errorf("%s imports %s: a decoder imports no other, unless it interprets what that one reads", p.ImportPath, imp)
			case from == 3 && to == 3 && !shared[other] && strings.HasPrefix(name, "detectors") && name != "detectors":
				t.Errorf("%s imports %s: a detector imports no other", p.ImportPath, imp)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d packages seen", seen)
	}
}
