package test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

// oracleFloor is the share of rows that must agree with Zeek's own expectations in every column, over the captures whose
// tests leave Zeek's defaults alone. What does not agree there is listed with its reason in testdata/zeek-oracle.txt.
var oracleFloor = map[string]float64{"conn": 0.95, "dns": 0.95, "http": 0.95}

var madeUp = map[string]bool{"uid": true, "orig_fuids": true, "resp_fuids": true, "tunnel_parents": true}

// readZeek reads a log in Zeek's text form: only what is set, and without the columns that the oracle blanks.
func readZeek(t *testing.T, name string) (rows []map[string]string) {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	var fields []string
	for sc.Scan() {
		line := sc.Text()
		if rest, ok := strings.CutPrefix(line, "#fields\t"); ok {
			fields = strings.Split(rest, "\t")
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if fields == nil { // what zeek-cut left of a log: its header is the names alone
			fields = strings.Split(line, "\t")
			continue
		}
		row := map[string]string{}
		for i, v := range strings.Split(line, "\t") {
			if i < len(fields) && v != "-" && v != "(empty)" && !strings.HasPrefix(v, "XXXX") {
				row[fields[i]] = v
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// unescape turns Zeek's \xHH into bytes.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			if n, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func sortedList(s string) string {
	l := strings.Split(s, ",")
	sort.Strings(l)
	return strings.Join(l, ",")
}

func sameColumn(col, zeek, ours string) bool {
	switch {
	case madeUp[col]:
		return (zeek == "") == (ours == "")
	case col == "service":
		return sortedList(zeek) == sortedList(ours)
	case zeek == ours || unescape(zeek) == ours:
		return true
	}
	a, errA := strconv.ParseFloat(zeek, 64)
	b, errB := strconv.ParseFloat(ours, 64)
	return errA == nil && errB == nil && strings.Contains(zeek, ".") && a-b < 2e-6 && b-a < 2e-6
}

// sameFlow says whether two rows are of the same flow, by as much of its tuple as the oracle kept.
func sameFlow(zeek, ours map[string]string) bool {
	for _, col := range []string{"id.orig_h", "id.orig_p", "id.resp_h"} {
		if v, ok := zeek[col]; ok && v != ours[col] {
			return false
		}
	}
	return true
}

// redefined finds an option of Zeek's set on its command line.
var redefined = regexp.MustCompile(`\w+::\w+=`)

// TestZeekOracles compares conn, http and dns rows, column by column, with those that Zeek's tests expect.
func TestZeekOracles(t *testing.T) {
	dirs, _ := filepath.Glob(filepath.Join(publicCaptures(t), "zo-dev", "*"))
	if len(dirs) == 0 {
		t.Skip("no expectations of Zeek's own tests: make corpus does not bring them")
	}
	if len(dirs) < 100 {
		t.Fatalf("only %d oracles", len(dirs))
	}
	reasons := map[string]string{}
	if b, err := os.ReadFile("testdata/zeek-oracle.txt"); err == nil {
		for _, line := range strings.Split(string(b), "\n") {
			if name, reason, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, "#") {
				reasons[name] = reason
			}
		}
	}
	agree, total := map[string]int{}, map[string]int{}
	for _, dir := range dirs {
		test, err := os.ReadFile(dir + "/test.txt")
		if err != nil {
			t.Fatal(err)
		}
		captures, _ := filepath.Glob(dir + "/trace.*")
		if len(captures) == 0 {
			continue
		}
		src, err := capture.OpenFile(captures[0])
		if err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		cfg := engine.Default()
		if strings.Contains(string(test), " -C ") {
			cfg.Checksums = "ignore"
		} else {
			cfg.Checksums = "strict"
		}
		heard := &ear{}
		if _, err := run(context.Background(), cfg, src, heard); err != nil {
			t.Logf("%s: %v", filepath.Base(dir), err)
		}
		src.Close()
		scope := "changed"
		if strings.Contains(string(test), "default scripts") && !redefined.Match(test) {
			scope = "default"
		}
		for _, log := range []string{"conn", "http", "dns"} {
			want := readZeek(t, dir+"/"+log+".log")
			used := make([]bool, len(heard.rows[log]))
			for i, z := range want {
				total[scope+" "+log]++
				best, bad := -1, []string{"no such row"}
				for j, r := range heard.rows[log] {
					if used[j] || !sameFlow(z, r) {
						continue
					}
					var diff []string
					for col, v := range z {
						if !sameColumn(col, v, r[col]) && col != "orig_l2_addr" && col != "resp_l2_addr" && col != "vlan" && col != "inner_vlan" {
							diff = append(diff, fmt.Sprintf("%s: zeek %q, ours %q", col, v, r[col]))
						}
					}
					if best < 0 || len(diff) < len(bad) {
						best, bad = j, diff
					}
				}
				if best >= 0 {
					used[best] = true
				}
				if len(bad) == 0 {
					agree[scope+" "+log]++
					continue
				}
				key := fmt.Sprintf("%s %s %d", filepath.Base(dir), log, i+1)
				if scope == "default" && reasons[key] == "" {
					t.Errorf("%s: %s; fix it or give the reason in testdata/zeek-oracle.txt", key, strings.Join(bad, "; "))
				} else {
					t.Logf("%s: %s", key, strings.Join(bad, "; "))
				}
			}
		}
	}
	for _, log := range []string{"conn", "http", "dns"} {
		for _, scope := range []string{"default", "changed"} {
			k := scope + " " + log
			share := float64(agree[k]) / float64(max(total[k], 1))
			t.Logf("%-7s scripts, %-4s: %d of %d rows agree in every column (%.1f %%)", scope, log, agree[k], total[k], 100*share)
			if scope == "default" && share < oracleFloor[log] {
				t.Errorf("%s: %.1f %% of the rows agree, the floor is %.0f %%", log, 100*share, 100*oracleFloor[log])
			}
		}
	}
}
