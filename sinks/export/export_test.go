package export

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/report"
	"github.com/raytap/raytap/sinks/zeek"
)

func reportOf(t *testing.T, file string, extra map[string]string) *report.Report {
	t.Helper()
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dir := t.TempDir()
	logs, err := zeek.New(dir, zeek.Options{Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := engine.Run(context.Background(), engine.Default(), src, logs)
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.Close(stats.Last); err != nil {
		t.Fatal(err)
	}
	for name, text := range extra {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	r, err := report.Read(report.Options{Source: "x.pcap", Home: home}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const shadowray = "../../pcaps/shadowray.pcap.gz"

func output(t *testing.T, name string, r *report.Report) []byte {
	t.Helper()
	for _, f := range Files {
		if f.Name == name {
			var b bytes.Buffer
			if err := f.Write(r, &b); err != nil {
				t.Fatal(err)
			}
			return b.Bytes()
		}
	}
	t.Fatalf("no file %s", name)
	return nil
}

// logsOf writes the logs of a capture.
func logsOf(t *testing.T, file, format string) string {
	t.Helper()
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dir := t.TempDir()
	logs, err := zeek.New(dir, zeek.Options{Rules: registry.Rules(), Format: format, Peer: "node-17"})
	if err != nil {
		t.Fatal(err)
	}
	stats, err := engine.Run(context.Background(), engine.Default(), src, logs)
	if err != nil {
		t.Fatal(err)
	}
	if err := logs.Close(stats.Last); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lastRows gives the last row of each id.
func lastRows(t *testing.T, text []byte, id string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for line := range bytes.Lines(text) {
		var row map[string]any
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all[row[id].(string)] = row
	}
	return all
}

// TestExportsAreTheRows: findings.jsonl and incidents.jsonl have what notice.log and incidents.log have in their JSON form,
// of each the last row, whichever form the logs are in.
func TestExportsAreTheRows(t *testing.T) {
	home, err := detectors.ParseNetworks(detectors.DefaultHome)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../pcaps/*.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	n, incidents := 0, 0
	for i, file := range files {
		if i%7 != 0 && filepath.Base(file) != filepath.Base(shadowray) {
			continue
		}
		asJSON := logsOf(t, file, zeek.JSON)
		for _, dir := range []string{asJSON, logsOf(t, file, zeek.TSV)} {
			r, err := report.Read(report.Options{Source: "x.pcap", Home: home}, dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct{ log, file, id string }{{"notice.log", "findings.jsonl", "finding_id"}, {"incidents.log", "incidents.jsonl", "incident_id"}} {
				b, err := os.ReadFile(filepath.Join(asJSON, c.log))
				if err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				want, got := lastRows(t, b, c.id), lastRows(t, output(t, c.file, r), c.id)
				if len(want) != len(got) {
					t.Errorf("%s: %s has %d, %s %d", file, c.log, len(want), c.file, len(got))
				}
				for id, row := range want {
					for k, v := range row {
						if !reflect.DeepEqual(got[id][k], v) {
							t.Errorf("%s: %s: %s is %v, not %v", file, c.file, k, got[id][k], v)
						}
					}
					if len(row) != len(got[id]) {
						t.Errorf("%s: %s has %d columns, %s %d", file, c.log, len(row), c.file, len(got[id]))
					}
				}
				n += len(want)
				if c.id == "incident_id" {
					incidents += len(want)
				}
			}
		}
	}
	if n < 30 || incidents < 4 {
		t.Errorf("only %d rows, %d of incidents", n, incidents)
	}
}

// TestStructures: what is a structure is one, and no text that somebody has to parse.
func TestStructures(t *testing.T) {
	r := reportOf(t, shadowray, nil)
	for _, row := range lastRows(t, output(t, "findings.jsonl", r), "finding_id") {
		if row["rule"] != "jobsubmit/external" {
			continue
		}
		e := row["evidence"].([]any)[1].(map[string]any)
		a := row["attack"].([]any)[0].(map[string]any)
		if row["src"] != "203.0.113.66" || row["p"] != 8265.0 || row["id.orig_p"] != 51020.0 || row["ts"] != 1795452157.105505 || row["severity"] != "critical" ||
			row["n"] != 1.0 || row["update"] != false || e["field"] != "entrypoint" || e["packet"] != 10.0 || a["id"] != "T1190" || a["name"] != "Exploit Public-Facing Application" {
			t.Errorf("%v", row)
		}
	}
	for _, row := range lastRows(t, output(t, "incidents.jsonl", r), "incident_id") {
		step := row["steps"].([]any)[1].(map[string]any)
		part := row["score_parts"].([]any)[0].(map[string]any)
		other := row["others"].([]any)[0].(map[string]any)
		tactic := row["tactics"].([]any)[0].(map[string]any)
		technique := row["techniques"].([]any)[0].(map[string]any)
		if step["ts"] != 1795452159.270497 || step["actor"] != "10.20.0.10" || step["packet"] != 84.0 || step["finding_id"] != "R5SYEIP7aGT8qTtVnm" ||
			step["uid"] != "CotjSRqYxvrQ0LAZRp" || part["what"] != "entry from outside succeeded" || part["points"] != 35.0 ||
			other["role"] != "payload host" || other["addr"] != "198.51.100.77" || tactic["id"] != "AML.TA0004" || tactic["name"] != "Initial Access" ||
			technique["name"] == nil || row["packets"].([]any)[0] != 10.0 || row["findings"] != 7.0 || row["state"] != "closed" {
			t.Errorf("%v", row)
		}
	}
}

// TestIncidentsOfAnOlderLog: what an earlier version wrote is read as well.
func TestIncidentsOfAnOlderLog(t *testing.T) {
	r := reportOf(t, shadowray, map[string]string{"incidents.log": "#separator \\x09\n#path\tincidents\n#fields\tts\tincident_id\tsummary\tsteps\n#types\ttime\tstring\tstring\tvector[string]\n" +
		"1795452157.105505\tI1\tbefore\tone\n1795452158.105505\tI1\tA, B\tone,2026-11-23T16:42:39.270497Z 10.20.0.10 went on\\x2c 3 times\n"})
	row := lastRows(t, output(t, "incidents.jsonl", r), "incident_id")["I1"]
	second := row["steps"].([]any)[1].(map[string]any)
	if len(row["steps"].([]any)) != 2 || second["what"] != "went on" || second["n"] != 3.0 || row["summary"] != "A, B" || row["ts"] != 1795452158.105505 {
		t.Errorf("%v", row)
	}
}

func TestIndicatorsAsCSV(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(output(t, "indicators.csv", reportOf(t, shadowray, nil)))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range rows[1:] {
		got[r[0]] = r[1] + " " + r[3]
	}
	for value, want := range map[string]string{
		"203.0.113.66":        "ipv4 attacker",
		"198.51.100.77":       "ipv4 payload host",
		"198.51.100.44":       "ipv4 mining pool",
		"pool.supportxmr.com": "domain mining pool",
		"http://198.51.100.77/xmrig-6.21.0-linux-static-x64.tar.gz": "url named in a request",
	} {
		if got[value] != want {
			t.Errorf("%s is %q, want %q", value, got[value], want)
		}
	}
	for value := range got {
		if strings.HasPrefix(value, "10.") || strings.Contains(value, "10.20.0") {
			t.Errorf("%s is at home", value)
		}
	}
}

func TestBundle(t *testing.T) {
	r := reportOf(t, shadowray, nil)
	out := output(t, "stix.json", r)
	if !bytes.Equal(out, output(t, "stix.json", reportOf(t, shadowray, nil))) {
		t.Error("two bundles of one capture differ")
	}
	var b struct {
		Type, ID string
		Objects  []map[string]any
	}
	if err := json.Unmarshal(out, &b); err != nil {
		t.Fatal(err)
	}
	identifier := regexp.MustCompile(`^[a-z0-9-]+--[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	kinds, ids := map[string]int{}, map[string]bool{}
	for _, o := range b.Objects {
		id := o["id"].(string)
		if ids[id] || !identifier.MatchString(id) {
			t.Errorf("%s: malformed or twice", id)
		}
		ids[id] = true
		kinds[o["type"].(string)]++
	}
	for kind, want := range map[string]int{"identity": 1, "indicator": 5, "observed-data": 5, "report": 1, "ipv4-addr": 4} {
		if kinds[kind] < want {
			t.Errorf("%d of %s, want at least %d", kinds[kind], kind, want)
		}
	}
	refs := 0
	var walk func(key string, v any)
	walk = func(key string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(k, e)
			}
		case []any:
			for _, e := range v {
				walk(key, e)
			}
		case string:
			if strings.HasSuffix(key, "_ref") || strings.HasSuffix(key, "_refs") {
				if refs++; !ids[v] {
					t.Errorf("%s leads nowhere: %s", key, v)
				}
			}
		}
	}
	for _, o := range b.Objects {
		walk("", o)
	}
	if refs == 0 {
		t.Error("no references")
	}
	if !ids["ipv4-addr--e17823ff-cd7d-55c9-8a58-6ff3c5c23bcb"] { // what OASIS's own library makes of 203.0.113.66
		t.Error("observables have identifiers of their own")
	}
}

// The example of RFC 9562 (appendix A.4), and what OASIS's own library makes of an address.
func TestUUID5(t *testing.T) {
	dns := uuid{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	if got := uuid5(dns, "www.example.com").String(); got != "2ed6657d-e927-568b-95e1-2665a8aea6a2" {
		t.Error(got)
	}
	if got := uuid5(observableSpace, `{"value":"198.51.100.3"}`).String(); got != "28bb3599-77cd-5a82-a950-b5bc3caf07c4" {
		t.Error(got)
	}
}

func TestPatternsAreQuoted(t *testing.T) {
	if got := quote(`http://x/'\`); got != `'http://x/\'\\'` {
		t.Error(got)
	}
}

// The official validator warns of what is meant: identifiers are version 5, so that they are the same in every run;
// findings over many flows, or of a fetch, have no port at both ends; links to knowledge bases have no hash.
var meant = regexp.MustCompile(`\{(103|301|302)\}`)

func TestBundleIsValid(t *testing.T) {
	validator, err := exec.LookPath("stix2_validator")
	if err != nil {
		t.Skip("no stix2_validator here (PyPI: stix2-validator)")
	}
	for _, name := range []string{shadowray, "../../pcaps/attack-cves.pcap.gz", "../../pcaps/attack-worm.pcap.gz", "../../pcaps/benign-serve.pcap.gz"} {
		file := filepath.Join(t.TempDir(), "stix.json")
		if err := os.WriteFile(file, output(t, "stix.json", reportOf(t, name, nil)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(validator, "--version", "2.1", "--enforce-refs", file).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "STIX JSON: Valid") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "Warning") && !meant.MatchString(line) {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}
