package test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/engine"
)

// inventory is a sink that keeps the last row of each asset.
type inventory struct{ rows []*assets.Row }

func (v *inventory) Event(ev any) {
	if r, ok := ev.(*assets.Row); ok {
		v.rows = slices.DeleteFunc(v.rows, func(o *assets.Row) bool { return o.Asset.Key == r.Asset.Key })
		v.rows = append(v.rows, r)
	}
}

// inventoryOf runs captures one after the other as one, and gives the inventory.
func inventoryOf(t *testing.T, cfg engine.Config, files ...string) *inventory {
	t.Helper()
	var srcs []capture.Source
	for _, f := range files {
		s, err := capture.OpenFile(f)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		srcs = append(srcs, s)
	}
	v := &inventory{}
	cfg.Checksums = "ignore"
	if _, err := run(t.Context(), cfg, capture.Merge(srcs...), v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What the lab ran; see pcaps/README.md. Ports that Ray draws are not listed there.
var labPorts = map[string]string{
	"10.20.0.10:6379": "gcs", "10.20.0.10:8265": "dashboard", "10.20.0.10:10001": "client", "10.20.0.10:52365": "job_agent",
	"10.20.0.11:52365": "job_agent", "10.20.0.10:8000": "serve", "10.20.0.11:8000": "serve",
}

// TestInventoryIsWhatTheLabRan: whatever a capture shows of the cluster, it is one cluster, with its two machines and
// nothing that is not so; all captures of one version together are that cluster, too.
func TestInventoryIsWhatTheLabRan(t *testing.T) {
	files, err := filepath.Glob("pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures")
	}
	ids := map[string][]string{} // of each version
	check := func(t *testing.T, version string, v *inventory, complete bool) {
		ours := 0
		for _, r := range v.rows {
			a := r.Asset
			if !a.Local {
				continue
			}
			ours++
			if a.Kind != "ray" || a.Key != "ray 10.20.0.10" {
				t.Errorf("%s %s is no asset of the lab", a.Kind, a.Key)
				continue
			}
			for _, n := range a.Nodes {
				addr := n.Addr.String()
				if addr != "10.20.0.10" && addr != "10.20.0.11" || n.Head != (addr == "10.20.0.10") || !n.Member {
					t.Errorf("node %+v", n)
				}
				for _, p := range n.Ports {
					at := addr + ":" + strconv.Itoa(int(p.Num))
					want, listed := labPorts[at]
					if old := strings.HasPrefix(version, "1."); old && p.Num == 6379 {
						want = "redis"
					} else if old && p.Role == "gcs" {
						continue // on a port of its choice
					}
					wellKnown := slices.Contains([]string{"gcs", "dashboard", "client", "job_agent", "serve"}, p.Role)
					if listed && p.Role != want || !listed && wellKnown || p.Role == "worker" && (p.Num < 20000 || p.Num > 20099) {
						t.Errorf("%s is said to be %s", at, p.Role)
					}
				}
			}
			if a.Version != "" && a.Version != version || a.Python != "" && a.Python != "3.11" && a.Python != "3.11.7" && a.Python != "3.9.18" {
				t.Errorf("version %s, Python %s", a.Version, a.Python)
			}
			token, secure := strings.Contains(t.Name(), "-token"), strings.Contains(t.Name(), "-tls-on")
			if r.Auth == "mixed" || (r.Auth == "token") != token || (r.TLS() == "yes") != secure || r.TLS() == "mixed" {
				t.Errorf("auth %s, TLS %v", r.Auth, a.TLS)
			}
			if token || secure {
				continue // other clusters at the same addresses
			}
			for _, s := range append(slices.Clone(a.ClusterIDs), a.Sessions...) {
				if !slices.Contains(ids[version], s) {
					ids[version] = append(ids[version], s)
				}
			}
			if complete && (a.Version != version || len(a.Nodes) != 2 || len(a.ClusterIDs) != 1 || len(a.Sessions) != 1 || r.Grade != "F" || a.Commit == "") {
				t.Errorf("all captures together show %+v", a)
			}
		}
		if ours > 1 || complete && ours != 1 {
			t.Errorf("%d assets inside", ours)
		}
	}
	suffix := regexp.MustCompile(`-ray(\d.*)$`)
	byVersion := map[string][]string{}
	for _, f := range files {
		if strings.HasPrefix(filepath.Base(f), "assets-") {
			continue // of other things than Ray
		}
		if strings.Contains(f, "-h2") {
			continue // of another server than Ray's, which speaks no HTTP/2
		}
		name, _, _ := strings.Cut(filepath.Base(f), ".pcap")
		story, _ := os.ReadFile(filepath.Join("pcaps", name+".txt"))
		if s := strings.ToLower(string(story)); strings.Contains(s, "made by hand") || strings.Contains(s, "another cluster") {
			continue // not of the lab, or of a later one at the same addresses
		}
		version := "2.60.0"
		if m := suffix.FindStringSubmatch(name); m != nil {
			version = m[1]
		}
		v := inventoryOf(t, engine.Default(), f)
		t.Run(name, func(t *testing.T) { check(t, version, v, false) })
		if !strings.Contains(name, "-token") && !strings.Contains(name, "-tls-on") {
			byVersion[version] = append(byVersion[version], f)
		}
	}
	for version, list := range byVersion {
		if testing.Short() || len(list) < 2 {
			continue
		}
		t.Run(version, func(t *testing.T) { check(t, version, inventoryOf(t, engine.Default(), list...), true) })
	}
	id, session := regexp.MustCompile(`^[0-9a-f]{56}$`), regexp.MustCompile(`^session_2026-11-23_`)
	for version, list := range ids {
		if strings.HasPrefix(version, "1.") {
			continue // had no such id yet
		}
		n, m := 0, 0
		for _, s := range list {
			if id.MatchString(s) {
				n++
			}
			if session.MatchString(s) {
				m++
			}
		}
		if n != 1 || m != 1 || len(list) != 2 {
			t.Errorf("Ray %s was one cluster with one session, but: %v", version, list)
		}
	}
}
