package test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// A real Zeek's logs of the public captures, checksums ignored.
const zeekLogs = "../shared/peers/zeek-dev.tar.zst"

// parityFloor is the share of rows that must agree with a real Zeek's in every column, over the public captures:
// agreeing rows by Zeek's rows and those that we alone have. docs/zeek.md has the figures and what stays.
var parityFloor = map[string]float64{
	"conn": 0.985, "http": 0.974, "dns": 0.985, "ssl": 0.947, "x509": 0.98, "tunnel": 0.97, "weird": 0.92, "files": 0.915,
}

var tuple = []string{"id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p"}

// parityKeys are the columns that identify a row; rows with equal ones are paired in order of time.
var parityKeys = map[string][]string{
	"conn": append(slices.Clone(tuple), "proto", "ts"),
	"http": append(slices.Clone(tuple), "trans_depth"),
	"dns":  append(slices.Clone(tuple), "proto", "trans_id", "query", "qtype_name"),
	"ssl":  tuple, "files": append(slices.Clone(tuple), "source", "is_orig"),
	"weird": append(slices.Clone(tuple), "name"), "tunnel": append(slices.Clone(tuple), "tunnel_type", "action"),
	"x509": {"fingerprint"},
}

// parityMadeUp are identifiers that each side makes up: it counts whether they are there, and how many.
var parityMadeUp = map[string]bool{
	"uid": true, "fuid": true, "orig_fuids": true, "resp_fuids": true, "tunnel_parents": true, "parent_fuid": true,
}

// tally is what a log's comparison came to.
type tally struct {
	agree, differ, zeekOnly, oursOnly int
	columns                           map[string]int
	examples                          []string
}

func (t *tally) share() float64 {
	return float64(t.agree) / float64(max(t.agree+t.differ+t.zeekOnly+t.oursOnly, 1))
}

// TestParity compares our rows with those of a real Zeek for 1,369 public captures, column by column.
func TestParity(t *testing.T) {
	root := publicCaptures(t)
	if _, err := os.Stat(zeekLogs); err != nil {
		t.Skipf("no logs of a real Zeek: %s is not there", zeekLogs)
	}
	theirs := t.TempDir()
	if out, err := exec.Command("tar", "--zstd", "-xf", zeekLogs, "-C", theirs).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	dirs, _ := filepath.Glob(theirs + "/*")
	if len(dirs) < 1000 {
		t.Fatalf("Zeek's logs of only %d captures", len(dirs))
	}
	type pair struct{ zeek, ours []map[string]string }
	found := make([]map[string]pair, len(dirs))
	var wg sync.WaitGroup
	work := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				found[i] = map[string]pair{}
				heard := &ear{}
				cfg := engine.Default()
				cfg.Checksums, cfg.Workers, cfg.Order.Wait = "ignore", 1, 0 // Zeek waits for nothing
				src, err := capture.OpenFile(filepath.Join(root, "dev", filepath.Base(dirs[i])))
				if err == nil {
					run(context.Background(), cfg, src, heard) // damaged files end in an error
					src.Close()
				}
				for log := range parityKeys {
					ours := slices.DeleteFunc(heard.rows[log], func(r map[string]string) bool {
						// What Zeek has no reader for: see docs/zeek.md.
						return log == "http" && r["version"] == "2" || log == "files" && r["source"] == "HTTP2"
					})
					found[i][log] = pair{readZeekJSON(t, filepath.Join(dirs[i], log+".log")), ours}
				}
			}
		})
	}
	for i := range dirs {
		work <- i
	}
	close(work)
	wg.Wait()

	for _, log := range slices.Sorted(maps.Keys(parityKeys)) {
		sum := &tally{columns: map[string]int{}}
		known := map[string]bool{}
		for _, f := range found {
			for _, row := range f[log].zeek {
				for c := range row {
					known[c] = true
				}
			}
		}
		for i, f := range found {
			compareRows(log, filepath.Base(dirs[i]), f[log].zeek, f[log].ours, known, sum)
		}
		t.Logf("%-6s %6.2f %% of rows agree: %d agree, %d differ, only Zeek's %d, only ours %d; columns %v",
			log, 100*sum.share(), sum.agree, sum.differ, sum.zeekOnly, sum.oursOnly, sum.columns)
		if sum.share() < parityFloor[log] {
			t.Errorf("%s: %.2f %% of the rows agree, the floor is %.2f %%; among them\n  %s",
				log, 100*sum.share(), 100*parityFloor[log], strings.Join(sum.examples, "\n  "))
		}
	}
}

// TestWhereZeekStops: captures over which the measured Zeek ends early are read as far as they go, and docs/zeek.md says
// what is said of them.
func TestWhereZeekStops(t *testing.T) {
	root := publicCaptures(t)
	text, err := os.ReadFile("docs/zeek.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		packets uint64
		rows    map[string]int
		damage  string
	}{
		{"OISF_08eb289cd159_tls_DER-incomplete-content.pcap", 6, map[string]int{"conn": 1, "ssl": 1},
			"offset 5035: damaged: a record of 4 MiB, longer than the 256 KiB that a frame can have"},
		{"OISF_3b3d3dd44eab_10.7.29.101_49898-178.63.41.150_25.pcap", 18, map[string]int{"conn": 1},
			"offset 3695: damaged: a record of 3744 MiB, longer than the 256 KiB that a frame can have"},
		{"OISF_2a5ccdb5379d_input.pcap", 2, map[string]int{"weird": 3}, ""},
	} {
		src, err := capture.OpenFile(filepath.Join(root, "dev", tt.name))
		if err != nil {
			t.Fatal(err)
		}
		cfg := engine.Default()
		cfg.Checksums = "ignore"
		heard := &ear{}
		stats, err := run(context.Background(), cfg, src, heard)
		src.Close()
		said := ""
		if err != nil {
			said = err.Error()
		}
		if tt.damage == "" && said != "" || !strings.Contains(said, tt.damage) {
			t.Errorf("%s: %q, want %q", tt.name, said, tt.damage)
		}
		if stats.Packets != tt.packets {
			t.Errorf("%s: %d packets, want %d", tt.name, stats.Packets, tt.packets)
		}
		for log, n := range tt.rows {
			if got := len(heard.rows[log]); got != n {
				t.Errorf("%s: %d rows of %s, want %d", tt.name, got, log, n)
			}
		}
		for _, part := range []string{tt.name, tt.damage} {
			if !strings.Contains(string(text), part) {
				t.Errorf("docs/zeek.md does not have %q", part)
			}
		}
	}
}

// readZeekJSON reads a log in Zeek's JSON form into the text that columns has.
func readZeekJSON(t *testing.T, name string) (rows []map[string]string) {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 4<<20)
	for sc.Scan() {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(sc.Bytes(), &raw); err != nil {
			t.Errorf("%s: %v", name, err)
			return rows
		}
		row := map[string]string{}
		for c, v := range raw {
			if s := jsonText(v); s != "" {
				row[c] = s
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func jsonText(v json.RawMessage) string {
	switch v[0] {
	case '"':
		var s string
		json.Unmarshal(v, &s)
		return unescape(s)
	case '[':
		var list []json.RawMessage
		json.Unmarshal(v, &list)
		var all []string
		for _, e := range list {
			all = append(all, jsonText(e))
		}
		return strings.Join(all, ",")
	case 't':
		return "T"
	case 'f':
		return "F"
	}
	return string(v)
}

// compareRows pairs the rows of one capture.
func compareRows(log, name string, zeek, ours []map[string]string, known map[string]bool, sum *tally) {
	timed := slices.Contains(parityKeys[log], "ts")
	key := func(r map[string]string) string {
		var b strings.Builder
		for _, c := range parityKeys[log] {
			if c != "ts" { // to be paired by, see below
				b.WriteString(r[c] + "\t")
			}
		}
		return b.String()
	}
	groups := map[string]*[2][]map[string]string{}
	for i, side := range [][]map[string]string{zeek, ours} {
		for _, r := range side {
			k := key(r)
			if groups[k] == nil {
				groups[k] = &[2][]map[string]string{}
			}
			groups[k][i] = append(groups[k][i], r)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(groups)) {
		g := groups[k]
		for _, side := range g {
			slices.SortStableFunc(side, func(a, b map[string]string) int { return cmp.Compare(number(a["ts"]), number(b["ts"])) })
		}
		a, b := g[0], g[1]
		for len(a) > 0 && len(b) > 0 {
			if timed && !sameValue("ts", a[0]["ts"], b[0]["ts"]) {
				if number(a[0]["ts"]) < number(b[0]["ts"]) {
					a = a[1:]
					sum.zeekOnly++
				} else {
					b = b[1:]
					sum.oursOnly++
				}
				sum.example("%s %s: a row on one side alone", name, k)
				continue
			}
			sum.row(name, k, a[0], b[0], known)
			a, b = a[1:], b[1:]
		}
		sum.zeekOnly += len(a)
		sum.oursOnly += len(b)
		if len(a)+len(b) > 0 {
			sum.example("%s %s: Zeek has %d rows more, we %d", name, k, len(a), len(b))
		}
	}
}

// row compares two rows.
func (t *tally) row(name, key string, zeek, ours map[string]string, known map[string]bool) {
	var bad []string
	for c := range known {
		if c != "peer" && c != "analyzers" && !sameValue(c, zeek[c], ours[c]) {
			bad = append(bad, c)
		}
	}
	if len(bad) == 0 {
		t.agree++
		return
	}
	t.differ++
	slices.Sort(bad)
	for _, c := range bad {
		t.columns[c]++
	}
	t.example("%s %s: %s: zeek %q, ours %q", name, key, bad[0], zeek[bad[0]], ours[bad[0]])
}

func (t *tally) example(format string, a ...any) {
	if len(t.examples) < 20 {
		t.examples = append(t.examples, fmt.Sprintf(format, a...))
	}
}

func number(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

func sameValue(col, zeek, ours string) bool {
	if parityMadeUp[col] {
		return (zeek == "") == (ours == "") && strings.Count(zeek, ",") == strings.Count(ours, ",")
	}
	if zeek == ours || col == "service" && sortedList(zeek) == sortedList(ours) {
		return true
	}
	// Numbers, alone or in lists, as JSON and text write them.
	a, b := strings.Split(zeek, ","), strings.Split(ours, ",")
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, err1 := strconv.ParseFloat(a[i], 64)
		y, err2 := strconv.ParseFloat(b[i], 64)
		if a[i] != b[i] && (err1 != nil || err2 != nil || !strings.Contains(a[i], ".") || math.Abs(x-y) > 2e-6) {
			return false
		}
	}
	return true
}
