package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
)

// tcpEvasion is one way to send a submission, with what a real kernel and a real aiohttp made of it: see testdata/evade/tcp.
type tcpEvasion struct {
	Name       string
	Accepted   bool
	Entrypoint string // that the server took
	Src, Dst   string
	Speaks     *bool // whether evasion/tcp has to say something of it; nil: it may
	Size       int

	capture []byte
}

func readTCPEvasions(t *testing.T) (all []*tcpEvasion) {
	path := os.Getenv("RAYTAP_TCP_EVASIONS")
	if path == "" {
		path = "testdata/evade/tcp/captures.zst"
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := bufio.NewReader(z); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return all
		}
		e := &tcpEvasion{}
		if err == nil {
			err = json.Unmarshal(line, e)
		}
		if err == nil {
			e.capture = make([]byte, e.Size)
			_, err = io.ReadFull(r, e.capture)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// readOpen reads the tricks that work against us, each with its reason.
func readOpen(t *testing.T) map[string]string {
	b, err := os.ReadFile("testdata/evade/tcp/open.txt")
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if name, why, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && !strings.HasPrefix(line, "#") {
			open[name] = why
		}
	}
	return open
}

// TestTCPEvasions: whatever a real server accepted is named with the command that it took, however its packets came.
func TestTCPEvasions(t *testing.T) {
	all := readTCPEvasions(t)
	live := os.Getenv("RAYTAP_TCP_EVASIONS") != ""
	open, accepted := readOpen(t), 0
	for _, e := range all {
		if !e.Accepted {
			continue
		}
		accepted++
		t.Run(e.Name, func(t *testing.T) {
			src, err := capture.NewFile(e.Name, bytes.NewReader(e.capture))
			if err != nil {
				t.Fatal(err)
			}
			heard := &ear{}
			cfg := engine.Default()
			cfg.Workers = 1
			if _, err := run(context.Background(), cfg, src, heard); err != nil {
				t.Fatal(err)
			}
			named, command, spoke := false, false, false
			var said strings.Builder
			for _, f := range heard.findings {
				checkFinding(t, f)
				said.WriteString("\n  " + f.Rule + ": " + f.Msg)
				spoke = spoke || f.Rule == "evasion/tcp"
				if f.Rule == "jobsubmit/external" && f.Severity >= detectors.High && f.Src.String() == e.Src && f.Dst.String() == e.Dst {
					named = true
				}
				if strings.HasPrefix(f.Rule, "jobsubmit/") {
					command = command || strings.Contains(f.Msg, e.Entrypoint) ||
						slices.ContainsFunc(f.Evidence, func(v detectors.Evidence) bool { return v.Field != "answer" && strings.Contains(v.Value, e.Entrypoint) })
				}
			}
			why, known := open[e.Name]
			switch held := named && command; {
			case known && held && !live:
				t.Errorf("it is named: open.txt says that it is not: %s", why)
			case !known && !held:
				t.Errorf("the server took %q; named %v, with this command %v; said:%s", e.Entrypoint, named, command, said.String())
			}
			if e.Speaks != nil && spoke != *e.Speaks && !known {
				t.Errorf("evasion/tcp spoke: %v; said:%s", spoke, said.String())
			}
		})
	}
	if accepted < 200 && !live {
		t.Errorf("%d accepted tricks: was captures.zst recorded in part?", accepted)
	}
}
