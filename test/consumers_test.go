package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// Who reads Zeek's logs reads ours: the same rows come out of a reader for our logs of a whole attack as for Zeek's own,
// which testdata/consumers holds (Zeek 9.1 over pcaps/shadowray, checksums ignored).
const consumerLogs = "testdata/consumers"

// attackLogs writes our logs of a capture.
func attackLogs(t *testing.T, file string, format string) string {
	t.Helper()
	dir := t.TempDir()
	sink, err := zeek.New(dir, zeek.Options{Format: format, Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	cfg := engine.Default()
	cfg.Checksums = "ignore"
	stats, err := engine.Run(t.Context(), cfg, src, sink)
	if cerr := sink.Close(stats.Last); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	return dir
}

// meant is a difference on purpose: in the middle of a stream Zeek takes who is seen first for the client, we who speaks
// as one (10.20.0.11 to the GCS on 6379).
func meant(line string) bool {
	return strings.Contains(line, "6379") && strings.Contains(line, "52302")
}

// sameLines compares what a consumer made of both folders.
func sameLines(t *testing.T, what string, theirs, ours []byte) {
	t.Helper()
	lines := func(b []byte) (out []string) {
		for l := range strings.Lines(string(b)) {
			if !meant(l) {
				out = append(out, strings.TrimSpace(l))
			}
		}
		slices.Sort(out)
		return out
	}
	a, b := lines(theirs), lines(ours)
	if len(a) < 10 {
		t.Fatalf("%s: only %d rows of Zeek's", what, len(a))
	}
	for _, l := range a {
		if !slices.Contains(b, l) {
			t.Errorf("%s: not of ours: %s", what, l)
		}
	}
	if len(a) != len(b) {
		t.Errorf("%s: %d rows of Zeek's, %d of ours", what, len(a), len(b))
	}
}

func TestZeekCut(t *testing.T) {
	const bundle = "../shared/peers/zeek.tar.zst"
	cut, err := exec.LookPath("zeek-cut")
	if _, gone := os.Stat(bundle); err != nil && gone != nil {
		t.Skipf("no zeek-cut: neither on the path nor in %s", bundle)
	} else if err != nil {
		dir := t.TempDir()
		if out, err := exec.Command("tar", "--zstd", "-xf", bundle, "-C", dir, "./bin/zeek-cut").CombinedOutput(); err != nil {
			t.Fatalf("tar: %v: %s", err, out)
		}
		cut = filepath.Join(dir, "bin", "zeek-cut")
	}
	run := func(dir string) []byte {
		f, err := os.Open(filepath.Join(dir, "conn.log"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command(cut, "-u", "ts", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "duration", "orig_bytes", "conn_state", "missed_bytes")
		cmd.Stdin = f
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	sameLines(t, "zeek-cut", run(consumerLogs), run(attackLogs(t, "pcaps/shadowray.pcap.gz", zeek.TSV)))
}

// TestPythonReaders has zat and zlogging read. To have it run: python3 -m venv .venv && .venv/bin/pip install zat zlogging
func TestPythonReaders(t *testing.T) {
	python := ".venv/bin/python"
	if v := os.Getenv("RAYTAP_PYTHON"); v != "" {
		python = v
	}
	for _, pkg := range []string{"zat", "zlogging"} {
		t.Run(pkg, func(t *testing.T) {
			if err := exec.Command(python, "-c", "import "+pkg).Run(); err != nil {
				t.Skipf("no %s: python3 -m venv .venv && .venv/bin/pip install zat zlogging, or set RAYTAP_PYTHON", pkg)
			}
			read := func(dir string) []byte {
				cmd := exec.Command(python, consumerLogs+"/read.py", pkg, dir)
				var stderr bytes.Buffer
				cmd.Stderr = &stderr
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, stderr.Bytes())
				}
				var rows [][]byte
				for l := range bytes.Lines(out) {
					if l[0] == '[' {
						rows = append(rows, l)
					}
				}
				return bytes.Join(rows, nil)
			}
			sameLines(t, pkg, read(consumerLogs), read(attackLogs(t, "pcaps/shadowray.pcap.gz", zeek.TSV)))
		})
	}
}

// ritaColumns is what RITA 5 imports, by its record types (importer/zeektypes): name, and in text logs the type that its
// parser goes by. Columns that a default Zeek does not write are not asked for.
var ritaColumns = map[string]string{
	"conn": "ts:time uid:string id.orig_h:addr id.orig_p:port id.resp_h:addr id.resp_p:port proto:enum service:string duration:interval " +
		"orig_bytes:count resp_bytes:count conn_state:string local_orig:bool local_resp:bool missed_bytes:count history:string " +
		"orig_pkts:count orig_ip_bytes:count resp_pkts:count resp_ip_bytes:count tunnel_parents:set[string]",
	"dns": "ts:time uid:string id.orig_h:addr id.orig_p:port id.resp_h:addr id.resp_p:port proto:enum trans_id:count rtt:interval " +
		"query:string qclass:count qclass_name:string qtype:count qtype_name:string rcode:count rcode_name:string AA:bool TC:bool " +
		"RD:bool RA:bool Z:count answers:vector[string] TTLs:vector[interval] rejected:bool",
	"http": "ts:time uid:string id.orig_h:addr id.orig_p:port id.resp_h:addr id.resp_p:port trans_depth:count method:string host:string " +
		"uri:string referrer:string version:string user_agent:string origin:string request_body_len:count response_body_len:count " +
		"status_code:count status_msg:string info_code:count info_msg:string username:string password:string proxied:set[string] " +
		"orig_fuids:vector[string] orig_filenames:vector[string] orig_mime_types:vector[string] resp_fuids:vector[string] " +
		"resp_filenames:vector[string] resp_mime_types:vector[string]",
	"ssl": "ts:time uid:string id.orig_h:addr id.orig_p:port id.resp_h:addr id.resp_p:port version:string cipher:string curve:string " +
		"server_name:string resumed:bool last_alert:string next_protocol:string established:bool ja3:string ja3s:string",
}

func TestRITAImports(t *testing.T) {
	for log, want := range ritaColumns {
		file := "pcaps/shadowray.pcap.gz"
		if log == "ssl" {
			file = "pcaps/mining-tls.pcap.gz"
		}
		b, err := os.ReadFile(filepath.Join(attackLogs(t, file, zeek.TSV), log+".log"))
		if err != nil {
			t.Fatal(err)
		}
		// RITA splits the header at white space and wants as many types as names; a line may lack two columns at the most.
		var names, types []string
		rows := 0
		for line := range strings.Lines(string(b)) {
			switch f := strings.Fields(line); {
			case f[0] == "#fields":
				names = f[1:]
			case f[0] == "#types":
				types = f[1:]
			case line[0] != '#':
				rows++
				if n := strings.Count(line, "\t") + 1; n != len(names) {
					t.Errorf("%s: a row of %d columns, not %d", log, n, len(names))
				}
			}
		}
		if len(names) != len(types) || rows == 0 {
			t.Errorf("%s: %d names, %d types, %d rows", log, len(names), len(types), rows)
			continue
		}
		kinds := map[string]string{}
		for _, c := range strings.Fields(want) {
			name, typ, _ := strings.Cut(c, ":")
			kinds[name] = typ
			if i := slices.Index(names, name); i < 0 || types[i] != typ {
				t.Errorf("%s: no column %s of type %s", log, name, typ)
			}
		}
		n := 0
		f, err := os.Open(filepath.Join(attackLogs(t, file, zeek.JSON), log+".log"))
		if err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(f)
		for sc.Scan() {
			var row map[string]any
			if err := json.Unmarshal(sc.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			n++
			for c, v := range row {
				ok := true
				switch typ := kinds[c]; {
				case typ == "time" || typ == "interval" || typ == "count" || typ == "port":
					_, ok = v.(float64)
				case typ == "bool":
					_, ok = v.(bool)
				case strings.Contains(typ, "["):
					_, ok = v.([]any)
				case typ != "":
					_, ok = v.(string)
				}
				if !ok {
					t.Errorf("%s: %s is %T in JSON", log, c, v)
				}
			}
		}
		f.Close()
		if n != rows {
			t.Errorf("%s: %d rows as text, %d as JSON", log, rows, n)
		}
	}
}

// ritaTakes is what RITA 5 asks of a file before it reads it (cmd/import.go: WalkFiles, ParseHourFromFilename and
// ParseFolderDate): the end of its name, that everybody may read it (it asks for all three bits), its
// prefix, an hour behind the prefix or none at all, and a day for its folder. It gives the day and hour that RITA files the
// log under.
func ritaTakes(path string, mode os.FileMode) (day string, hour int, why string) {
	name := filepath.Base(path)
	if !strings.HasSuffix(name, ".log") && !strings.HasSuffix(name, ".gz") {
		return "", 0, "incompatible file extension"
	}
	if mode.Perm()&0o444 != 0o444 {
		return "", 0, "not readable for all"
	}
	prefix := ""
	for _, p := range [...]string{"conn", "open_conn", "dns", "http", "open_http", "ssl", "open_ssl"} {
		if strings.HasPrefix(name, p) && !strings.HasPrefix(name, "conn_summary") && !strings.HasPrefix(name, "conn-summary") {
			prefix = p
		}
	}
	if prefix == "" {
		return "", 0, "incompatible log type"
	}
	hour = -1
	if m := regexp.MustCompile(`[A-Za-z]+\.(\d\d)[:/_]\d\d`).FindStringSubmatch(path); m != nil {
		hour, _ = strconv.Atoi(m[1])
	} else if regexp.MustCompile(`^\w+\.log(\.gz)?$`).MatchString(name) {
		hour = 0
	}
	if hour < 0 || hour > 23 {
		return "", 0, "no hour in the name"
	}
	day = filepath.Base(filepath.Dir(path))
	if _, err := time.Parse(time.DateOnly, day); err != nil {
		return "", 0, "the folder is no day's"
	}
	return day, hour, ""
}

// TestRITAFindsTheFiles: RITA takes every log of the days of a sensor that it reads, under its day and hour.
func TestRITAFindsTheFiles(t *testing.T) {
	for _, c := range []struct{ mode, compress, refuses string }{
		{"0644", "gzip", ""}, {"0644", "none", ""}, {"0640", "gzip", "not readable for all"}, {"0644", "zstd", "incompatible file extension"},
	} {
		dir := t.TempDir()
		cfg := config.Default()
		cfg.FileMode = c.mode
		if err := cfg.Check(); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 11, 29, 22, 13, 5, 0, time.UTC)
		sink, err := zeek.NewLive(dir, zeek.LiveOptions{
			Options: zeek.Options{Rules: registry.Rules(), Modes: cfg.Modes()}, Interval: time.Hour, Names: cfg.Rotate.Names, Compress: c.compress,
		}, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"pcaps/shadowray.pcap.gz", "pcaps/mining-tls.pcap.gz"} {
			src, err := capture.OpenFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = engine.Run(t.Context(), cfg.Config, src, sink)
			src.Close()
			if err != nil {
				t.Fatal(err)
			}
			at = at.Truncate(time.Hour).Add(time.Hour)
			for range 2 { // what is due is rotated with the first, and the archive looked through
				sink.Tick(at)
				time.Sleep(300 * time.Millisecond)
			}
		}
		sink.Close(at.Add(10 * time.Minute))
		taken := map[string]int{}
		err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			log, _, _ := strings.Cut(e.Name(), ".")
			if _, read := ritaColumns[log]; !read {
				return nil
			}
			switch day, hour, why := ritaTakes(path, info.Mode()); {
			case why != "":
				taken[why]++
			default:
				taken[fmt.Sprintf("%s %d %s", day, hour, log)]++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if c.refuses != "" {
			if len(taken) != 1 || taken[c.refuses] == 0 {
				t.Errorf("%v: %v", c, taken)
			}
			continue
		}
		for _, want := range []string{"2026-11-29 22 conn", "2026-11-29 22 http", "2026-11-29 22 dns", "2026-11-29 23 conn", "2026-11-29 23 ssl"} {
			if taken[want] != 1 {
				t.Errorf("%v: no %s in %v", c, want, taken)
			}
			delete(taken, want)
		}
		delete(taken, "2026-11-29 23 dns")
		delete(taken, "2026-11-29 23 http")
		if len(taken) > 0 {
			t.Errorf("%v: also %v", c, taken)
		}
	}
}
