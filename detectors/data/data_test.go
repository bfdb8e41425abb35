package data

import (
	"net/netip"
	"strings"
	"testing"
)

func TestPoolNames(t *testing.T) {
	p := LoadPools()
	tests := []struct {
		host  string
		entry string
		grade Grade
	}{
		{"supportxmr.com", "supportxmr.com", Pool},
		{"pool.supportxmr.com", "supportxmr.com", Pool},
		{"POOL.SupportXMR.com.", "supportxmr.com", Pool},
		{"pool.hashvault.pro", "hashvault.pro", Pool},
		{"eu.zano.k1pool.com", "k1pool.com", Pool},
		{"donate.v2.xmrig.com", "donate.v2.xmrig.com", Pool},
		{"donate.ssl.xmrig.com", "donate.ssl.xmrig.com", Pool},
		{"zec-eu.suprnova.cc", "suprnova.cc", Pool},
		{"xmrig.com", "", ""},                  // the project's site is no pool
		{"notsupportxmr.com", "", ""},          // a border of a label is asked for
		{"supportxmr.com.example.org", "", ""}, // and the end of the name
		{"lordfilm4k.lat", "lordfilm4k.lat", Doubtful},
		{"github.com", "", ""},
		{"gitlab.com", "", ""},
		{"", "", ""},
		{".", "", ""},
		{"com", "", ""},
		{strings.Repeat("a.", 400) + "supportxmr.com", "", ""},
	}
	for _, tt := range tests {
		if e, g := p.Name(tt.host); e != tt.entry || g != tt.grade {
			t.Errorf("Name(%.60q) = %q, %q; want %q, %q", tt.host, e, g, tt.entry, tt.grade)
		}
	}
}

func TestPoolAddresses(t *testing.T) {
	p := LoadPools()
	for a, want := range map[string]bool{
		"107.191.47.239:3333":          true,
		"107.191.47.239:3334":          false, // listed with its port only
		"[::ffff:107.191.47.239]:3333": true,
		"185.141.25.35:9":              true, // listed with any port
		"198.51.100.44:3333":           false,
	} {
		if got := p.Addr(netip.MustParseAddrPort(a)); got != want {
			t.Errorf("Addr(%s) = %v", a, got)
		}
	}
}

// What everybody uses must never become a finding by a list that went wrong.
func TestListsNoSharedServices(t *testing.T) {
	p := LoadPools()
	for _, host := range strings.Fields(`github.com raw.githubusercontent.com gist.github.com gitlab.com bitbucket.org
		pypi.org files.pythonhosted.org huggingface.co cdn-lfs.huggingface.co registry.npmjs.org docker.io quay.io gcr.io
		amazonaws.com s3.amazonaws.com googleapis.com storage.googleapis.com cloudflare.com azure.com windows.net
		microsoft.com google.com dropbox.com pastebin.com duckdns.org ddns.net mooo.com no-ip.org debian.org ubuntu.com
		gh-proxy.com oast.fun wandb.ai anaconda.org nvidia.com ray.io anyscale.com adminer.com mirrors.example.com`) {
		if e, _ := p.Name(host); e != "" {
			t.Errorf("%s is listed, by %s", host, e)
		}
	}
}

func TestPoolFileIsSound(t *testing.T) {
	p := LoadPools()
	if names, addrs := p.Len(); names < 200 || addrs < 700 || p.Version == "" {
		t.Errorf("%d names, %d addresses, version %q", names, addrs, p.Version)
	}
	lines := 0
	for line := range strings.Lines(poolsCSV) {
		if line[0] == '#' {
			continue
		}
		lines++
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) != 3 || f[0] != strings.ToLower(f[0]) || !strings.Contains(f[0], ".") {
			t.Errorf("line %q", line)
			continue
		}
		switch Grade(f[1]) {
		case Pool, Doubtful, Hint:
		default:
			t.Errorf("grade of %q", line)
		}
	}
	if names, addrs := p.Len(); names+addrs != lines {
		t.Errorf("%d lines, %d names and %d addresses: some are double or cannot be read", lines, names, addrs)
	}
}

func TestTechniques(t *testing.T) {
	for id, want := range map[string][2]string{
		"AML.T0048.000": {"External Harms: Financial Harm", "Impact"},
		"T1496.001":     {"Resource Hijacking: Compute Hijacking", "Impact"},
		"T1190":         {"Exploit Public-Facing Application", "Initial Access"},
		"T1053.003":     {"Scheduled Task/Job: Cron", "Execution; Persistence; Privilege Escalation"},
	} {
		if n, tac, ok := Technique(id); !ok || n != want[0] || tac != want[1] {
			t.Errorf("Technique(%s) = %q, %q, %v", id, n, tac, ok)
		}
	}
	for _, id := range []string{"", "T", "T14", "#", "# atlas 2026.09\n", "T9999"} {
		if n, _, ok := Technique(id); ok {
			t.Errorf("Technique(%q) = %q", id, n)
		}
	}
	if atlas, attack, file := Versions(); atlas != "2026.09" || attack != "18" || file == "" {
		t.Errorf("Versions() = %q, %q, %q", atlas, attack, file)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(techniquesCSV) {
		if line[0] == '#' {
			continue
		}
		f := strings.Split(strings.TrimSuffix(line, "\n"), ",")
		if len(f) != 3 || seen[f[0]] || f[1] == "" {
			t.Errorf("line %q", line)
		}
		seen[f[0]] = true
	}
}

// Every tactic that a technique names is one of the matrix.
func TestTactics(t *testing.T) {
	known, ids := map[string]bool{}, map[string]bool{}
	for _, tac := range Tactics() {
		if known[tac.Name] || ids[tac.ID] || !strings.HasPrefix(tac.ID, "AML.TA") {
			t.Errorf("tactic %+v", tac)
		}
		known[tac.Name], ids[tac.ID] = true, true
	}
	if len(known) != 16 {
		t.Errorf("%d tactics", len(known))
	}
	for line := range strings.Lines(techniquesCSV) {
		if f := strings.Split(strings.TrimSuffix(line, "\n"), ","); line[0] != '#' && f[2] != "" {
			for _, name := range strings.Split(f[2], "; ") {
				if !known[name] {
					t.Errorf("%s: tactic %q", f[0], name)
				}
			}
		}
	}
}
