package search_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/zeek"
)

// at is when the sensor of the tests runs: just after the time of the capture.
var at = time.Date(2026, 11, 23, 16, 42, 30, 0, time.UTC)

// sensor writes the logs of a capture as a sensor does, of several hours, and returns their folder.
func sensor(t testing.TB, opt zeek.LiveOptions, captures ...string) string {
	t.Helper()
	dir := t.TempDir()
	opt.Options.Rules = registry.Rules()
	opt.Interval = time.Hour
	now := at
	sink, err := zeek.NewLive(dir, opt, now)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range captures {
		src, err := capture.OpenFile("../../pcaps/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Run(context.Background(), engine.Default(), src, sink); err != nil {
			t.Fatal(err)
		}
		src.Close()
		sink.Flush()
		if i < len(captures)-1 {
			now = now.Add(time.Hour)
			sink.Tick(now)
		}
	}
	if err := sink.Close(now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	// What the end left plain is packed at the next start.
	sink, err = zeek.NewLive(dir, opt, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if opt.Compress != "" && opt.Compress != zeek.CompressNone || opt.Index {
		wait(t, func() bool {
			plain, _ := filepath.Glob(filepath.Join(dir, "2*", "[a-z]*.log"))
			all, _ := filepath.Glob(filepath.Join(dir, "2*", "[a-z]*.log*"))
			indexes, _ := filepath.Glob(filepath.Join(dir, "2*", ".*.idx"))
			return len(all) > 0 && (opt.Compress == "" || len(plain) == 0) && (!opt.Index || len(indexes) == len(all))
		})
	}
	if err := sink.Close(now.Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func wait(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}

var captures = []string{"shadowray.pcap.gz", "attack-cves.pcap.gz", "egress-dns.pcap.gz"}

// find runs a search and returns its rows in the order of their text.
func find(t testing.TB, dir string, q search.Query) []string {
	t.Helper()
	rows, res := all(t, dir, q, search.Limits{})
	if res.Cut != "" || len(res.Unread) > 0 || res.Rows != uint64(len(rows)) {
		t.Fatalf("%+v: %+v", q, res)
	}
	slices.Sort(rows)
	return rows
}

func all(t testing.TB, dir string, q search.Query, lim search.Limits) ([]string, search.Result) {
	t.Helper()
	var rows []string
	res, err := search.Run(context.Background(), &q, lim, func(row []byte) error {
		if !json.Valid(row) {
			t.Errorf("%s is no JSON", row)
		}
		rows = append(rows, string(row))
		return nil
	}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return rows, res
}

// slow finds rows by looking at every value of every row.
func slow(t *testing.T, dir string, want func(r *logs.Row, values map[string][]string) bool) []string {
	t.Helper()
	folder, err := logs.Open(logs.Options{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	var out []string
	for _, log := range folder.Logs() {
		folder.Read(log, func(r *logs.Row) {
			values := map[string][]string{}
			r.Each(func(name, v string) bool { values[name] = append(values[name], v); return true })
			if want(r, values) {
				out = append(out, string(r.AppendJSON(nil, `"_path":"`+r.Log+`"`)))
			}
		})
	}
	slices.Sort(out)
	return out
}

// TestFindsWhatIsThere: in every form of a folder, for every address, UID, Community ID and name in it, a search finds the
// rows that looking at all of them finds.
func TestFindsWhatIsThere(t *testing.T) {
	for _, opt := range []zeek.LiveOptions{
		{},
		{Index: true},
		{Options: zeek.Options{Format: zeek.JSON}, Compress: zeek.CompressGzip},
		{Compress: zeek.CompressGzip, Index: true},
		{Options: zeek.Options{Format: zeek.JSON}, Compress: zeek.CompressZstd, Index: true},
	} {
		t.Run(fmt.Sprintf("%s %s %v", opt.Format, opt.Compress, opt.Index), func(t *testing.T) {
			dir := sensor(t, opt, captures...)
			uids, cids, hosts, fields := map[string]bool{}, map[string]bool{}, map[netip.Addr]bool{}, map[search.Field]bool{}
			total := 0
			slow(t, dir, func(r *logs.Row, values map[string][]string) bool {
				total++
				for _, u := range values["uid"] {
					uids[u] = true
				}
				for _, u := range values["community_id"] {
					cids[u] = true
				}
				for name, vs := range values {
					for _, v := range vs {
						if a, err := netip.ParseAddr(v); err == nil {
							hosts[a] = true
						} else if len(v) < 200 && !strings.ContainsAny(v[:min(1, len(v))]+v[max(0, len(v)-1):], "*") && v != "" {
							fields[search.Field{Name: name, Value: v}] = true
						}
					}
				}
				return false
			})
			if total < 100 || len(uids) < 10 || len(hosts) < 5 || len(fields) < 100 {
				t.Fatalf("%d rows, %d flows, %d hosts, %d fields: the test is of nothing", total, len(uids), len(hosts), len(fields))
			}
			same := func(q search.Query, want func(r *logs.Row, values map[string][]string) bool) {
				t.Helper()
				got, should := find(t, dir, q), slow(t, dir, want)
				if !slices.Equal(got, should) {
					t.Fatalf("%+v: %d rows, and should be %d", q, len(got), len(should))
				}
			}
			has := func(values map[string][]string, v string) bool {
				for _, vs := range values {
					if slices.Contains(vs, v) {
						return true
					}
				}
				return false
			}
			n := 0
			some := func() bool { n++; return n%7 == 0 } // each form with others
			for u := range uids {
				if some() {
					same(search.Query{UIDs: []string{u}}, func(_ *logs.Row, v map[string][]string) bool { return has(v, u) })
				}
			}
			for c := range cids {
				if some() {
					same(search.Query{Communities: []string{c}}, func(_ *logs.Row, v map[string][]string) bool { return has(v, c) })
				}
			}
			for h := range hosts {
				for _, bits := range []int{h.BitLen(), h.BitLen() - 4, h.BitLen() * 3 / 4, h.BitLen() / 2, 4} {
					net := netip.PrefixFrom(h, bits).Masked()
					same(search.Query{Hosts: []netip.Prefix{net}, Logs: []string{"conn", "dns", "notice", "http"}}, func(r *logs.Row, values map[string][]string) bool {
						if !slices.Contains([]string{"conn", "dns", "notice", "http"}, r.Log) {
							return false
						}
						for _, vs := range values {
							for _, v := range vs {
								if a, err := netip.ParseAddr(v); err == nil && net.Contains(a) {
									return true
								}
								if a, err := netip.ParseAddrPort(v); err == nil && net.Contains(a.Addr()) {
									return true
								}
							}
						}
						return false
					})
				}
			}
			for f := range fields {
				if twice := some(); some() && twice { // one in so many squared
					same(search.Query{Fields: []search.Field{f}}, func(_ *logs.Row, v map[string][]string) bool { return slices.Contains(v[f.Name], f.Value) })
				}
			}
			// A window of time, alone and with others.
			from, to := capture.Time(at.UnixNano()), capture.Time(at.Add(15*time.Second).UnixNano())
			same(search.Query{Since: from, Until: to}, func(r *logs.Row, _ map[string][]string) bool {
				a, b := r.Span()
				return b >= from && a <= to
			})
		})
	}
}

// TestOrderAndLimits: the newest file is first, and limits say what they cut.
func TestOrderAndLimits(t *testing.T) {
	dir := sensor(t, zeek.LiveOptions{Compress: zeek.CompressGzip, Index: true}, captures...)
	whole, _ := all(t, dir, search.Query{Logs: []string{"conn"}, Since: 1}, search.Limits{})
	for _, lim := range []search.Limits{{Rows: 3}, {Bytes: 2000}, {Read: 100}} {
		rows, res := all(t, dir, search.Query{Logs: []string{"conn"}, Since: 1}, lim)
		if res.Cut == "" || len(rows) >= len(whole) || lim.Rows != 0 && len(rows) != 3 || !slices.Equal(rows, whole[:len(rows)]) {
			t.Errorf("%+v: %d rows of %d, %+v", lim, len(rows), len(whole), res)
		}
	}
	if _, res := all(t, dir, search.Query{Logs: []string{"conn"}, Since: 1}, search.Limits{Rows: uint64(len(whole))}); res.Cut != "" {
		t.Errorf("nothing was left out, and yet %q", res.Cut)
	}
	res, err := search.Run(context.Background(), &search.Query{Since: 1}, search.Limits{Time: 20 * time.Millisecond, Share: 50}, func([]byte) error {
		time.Sleep(5 * time.Millisecond)
		return nil
	}, dir)
	if err != nil || !strings.HasPrefix(res.Cut, "cut after") || res.Rows == 0 {
		t.Errorf("a limit of time: %+v, %v", res, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	_, err = search.Run(ctx, &search.Query{Since: 1}, search.Limits{}, func([]byte) error { n++; cancel(); return nil }, dir)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	full := errors.New("full")
	if _, err := search.Run(context.Background(), &search.Query{Since: 1}, search.Limits{}, func([]byte) error { return full }, dir); !errors.Is(err, full) {
		t.Errorf("an error of who takes rows: %v", err)
	}
}

// TestFormsAreOne: rows come out the same, whatever form the sensor writes.
func TestFormsAreOne(t *testing.T) {
	q := search.Query{Since: 1, Logs: []string{"conn", "dns", "http", "ray", "files", "ssl", "stratum", "ray_grpc", "weird"}}
	tsv := find(t, sensor(t, zeek.LiveOptions{}, captures...), q)
	asJSON := find(t, sensor(t, zeek.LiveOptions{Options: zeek.Options{Format: zeek.JSON}}, captures...), q)
	if len(tsv) != len(asJSON) || len(tsv) < 50 {
		t.Fatalf("%d and %d rows", len(tsv), len(asJSON))
	}
	for i := range tsv {
		if tsv[i] != asJSON[i] {
			t.Errorf("%s\n%s", tsv[i], asJSON[i])
		}
	}
}

// TestFindingWithItsFlow: a finding is found with the rows of its flow.
func TestFindingWithItsFlow(t *testing.T) {
	dir := sensor(t, zeek.LiveOptions{Compress: zeek.CompressZstd, Index: true}, captures...)
	id, uid := "", ""
	slow(t, dir, func(r *logs.Row, _ map[string][]string) bool {
		if r.Log == "notice" && id == "" && r.Get("uid") != "" {
			id, uid = r.Get("finding_id"), r.Get("uid")
		}
		return false
	})
	paths := map[string]int{}
	for _, row := range find(t, dir, search.Query{Finding: id}) {
		var r struct {
			Path string `json:"_path"`
		}
		if err := json.Unmarshal([]byte(row), &r); err != nil || !strings.Contains(row, id) && !strings.Contains(row, uid) {
			t.Errorf("%s: %v", row, err)
		}
		paths[r.Path]++
	}
	if paths["notice"] != 1 || paths["conn"] != 1 {
		t.Errorf("finding %s of flow %s: %v", id, uid, paths)
	}
	if rows := find(t, dir, search.Query{Finding: id, Logs: []string{"conn"}}); len(rows) != 1 {
		t.Errorf("its connection alone: %v", rows)
	}
}

// TestDamagedAndForeign: what is damaged is said, an index that is damaged or of another file costs nothing but time, and what
// else lies in the folder is left alone.
func TestDamagedAndForeign(t *testing.T) {
	dir := sensor(t, zeek.LiveOptions{Compress: zeek.CompressGzip, Index: true}, captures...)
	q := search.Query{Logs: []string{"conn"}, Since: 1}
	whole := find(t, dir, q)
	indexes, _ := filepath.Glob(filepath.Join(dir, "2*", ".*.idx"))
	for i, name := range indexes {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			b = b[:len(b)/2]
		case 1:
			b[len(b)-45] ^= 0x40
		case 2:
			b = nil
		}
		if err := os.WriteFile(name, b, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if got := find(t, dir, q); !slices.Equal(got, whole) {
		t.Errorf("with damaged indexes %d rows of %d", len(got), len(whole))
	}
	conns, _ := filepath.Glob(filepath.Join(dir, "2*", "conn.*.gz"))
	b, _ := os.ReadFile(conns[0])
	os.WriteFile(conns[0], b[:len(b)/2], 0o640)
	os.WriteFile(filepath.Join(dir, "conn.log.1"), []byte("x"), 0o640)
	_, res := all(t, dir, q, search.Limits{})
	if len(res.Unread) != 2 {
		t.Errorf("unread: %q", res.Unread)
	}
}

// TestPrinterIsHarmless: nothing of a row reaches a terminal as a command to it.
func TestPrinterIsHarmless(t *testing.T) {
	row := []byte("{\"_path\":\"http\",\"ts\":1.5,\"uri\":\"/\\u001b]0;x\\u0007\\u202e\xe2\x80\xae\xc2\x9b31m\",\"v\":[\"a\\n\",\"b\"]}")
	for _, x := range []*search.Flags{{}, {Columns: []string{"ts", "uri", "v", "none"}}, {Sort: true}} {
		var b bytes.Buffer
		p := search.NewPrinter(&b, x)
		if err := errors.Join(p.Row(row), p.Close()); err != nil {
			t.Fatal(err)
		}
		for _, r := range strings.TrimSuffix(b.String(), "\n") {
			if r < ' ' && r != '\t' || r >= 0x7f {
				t.Errorf("%q has %U", b.String(), r)
			}
		}
		if strings.Count(b.String(), "\n") != 1 {
			t.Errorf("%q is more than a line", b.String())
		}
	}
}
