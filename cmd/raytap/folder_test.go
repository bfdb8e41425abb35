package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/search"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// TestFolderOfASensorIsOne: what a sensor found is told while it runs, after a rotation, when it is compressed and after
// its end; and what cannot be read of it before anything else.
func TestFolderOfASensorIsOne(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 11, 23, 16, 42, 30, 0, time.UTC)
	sink, err := zeek.NewLive(filepath.Join(dir, "logs"), zeek.LiveOptions{
		Options: zeek.Options{Rules: registry.Rules()}, Interval: time.Hour, Compress: zeek.CompressGzip, Reserve: 1 << 16,
	}, at)
	if err != nil {
		t.Fatal(err)
	}
	src, err := capture.OpenFile("../../pcaps/shadowray.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := engine.Run(t.Context(), engine.Default(), src, sink); err != nil {
		t.Fatal(err)
	}
	tick := func(now time.Time) {
		for range 2 {
			sink.Tick(now)
			time.Sleep(300 * time.Millisecond)
		}
	}
	check := func(when string) {
		t.Helper()
		r := invoke(t, dir, nil, "report", "logs", "-o", "r.html")
		if page := read(t, dir, "r.html"); r.code != 0 || r.stderr != "" || !strings.Contains(page, "Yes: we were hit.") {
			t.Errorf("%s: report: exit status %d, %s", when, r.code, r.stderr)
		}
		r = invoke(t, dir, nil, "tail", "--once", "--n", "3", "logs")
		if r.code != 0 || strings.Count(r.stdout, "2026-11-23 16:42:") != 3 || !strings.Contains(r.stdout, "INCIDENT") {
			t.Errorf("%s: tail: exit status %d\n%s%s", when, r.code, r.stdout, r.stderr)
		}
		if r = invoke(t, dir, nil, "tail", "--once", "--severity=critical", "--since=2026-11-23T16:42", "logs"); strings.Count(r.stdout, "[jobsubmit/external, R") != 1 {
			t.Errorf("%s: tail --since: exit status %d\n%s%s", when, r.code, r.stdout, r.stderr)
		}
		if r = invoke(t, dir, nil, "tail", "--once", "--since=2026-11-23T17:42", "logs"); r.code != 0 || r.stdout != "" {
			t.Errorf("%s: tail --since later: exit status %d\n%s%s", when, r.code, r.stdout, r.stderr)
		}
		for _, args := range [][]string{{"assets", "logs"}, {"assets", "--json", "logs"}} {
			if r = invoke(t, dir, nil, args...); r.code != 0 || !strings.Contains(r.stdout, "10.20.0.10") || !strings.Contains(r.stdout, "F") {
				t.Errorf("%s: %v: exit status %d\n%s%s", when, args, r.code, r.stdout, r.stderr)
			}
		}
	}
	tick(at.Add(2 * time.Second))
	check("while it runs")
	tick(at.Truncate(time.Hour).Add(time.Hour))
	if names, _ := filepath.Glob(filepath.Join(dir, "logs", "2026-11-23", "notice.16:42:30-17:00:00.log.gz")); len(names) != 1 {
		t.Fatal("the findings were not rotated")
	}
	check("after a rotation")
	if err := sink.Close(at.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	check("after its end")

	invoke(t, dir, nil, "report", "logs", "--since=2026-11-23T18:00", "-o", "later.html").expect(t, 0, "", "")
	if page := read(t, dir, "later.html"); !strings.Contains(page, "No attack was seen.") || !strings.Contains(page, "since 2026-11-23 18:00:00 UTC") {
		t.Error("the report of what was later does not say so")
	}
	// The file with the findings is lost to the readers.
	lost := filepath.Join(dir, "logs", "2026-11-23", "notice.16:42:30-17:00:00.log")
	os.Rename(lost+".gz", lost+".xz")
	os.WriteFile(filepath.Join(dir, "logs", "2026-11-23", "incidents.17:00:00-18:00:00.log.gz"), []byte("damaged"), 0o600)
	r := invoke(t, dir, nil, "report", "logs", "-o", "r.html")
	r.expect(t, 1, "", "log.xz is in a form that raytap does not read")
	if page := read(t, dir, "r.html"); strings.Contains(page, "No attack was seen.") || !strings.Contains(page, "Not all logs were read") {
		t.Error("the report does not say that the findings were not read")
	}
	invoke(t, dir, nil, "tail", "--once", "logs").expect(t, 1, "INCIDENT", "incidents.17:00:00-18:00:00.log.gz cannot be read")
	invoke(t, dir, nil, "assets", "logs").expect(t, 1, "10.20.0.10", "log.xz is in a form")
}

// TestAssetsOfAStateFile: what a sensor keeps is shown without a capture, and not touched.
func TestAssetsOfAStateFile(t *testing.T) {
	pcap, err := filepath.Abs("../../pcaps/shadowray.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	want := invoke(t, dir, nil, "assets", "--state", "state.json", pcap)
	before := read(t, dir, "state.json")
	got := invoke(t, dir, nil, "assets", "--state", "state.json")
	if got.code != 0 || got.stdout != want.stdout || !strings.Contains(got.stdout, "10.20.0.10") {
		t.Errorf("exit status %d\n%s%s\nwant\n%s", got.code, got.stdout, got.stderr, want.stdout)
	}
	if read(t, dir, "state.json") != before {
		t.Error("the file was written")
	}
	invoke(t, dir, nil, "assets", "--state", "none.json").expect(t, 1, "", "there is no none.json")
	invoke(t, dir, nil, "assets", ".", pcap).expect(t, 2, "", "not several of these")
	invoke(t, dir, nil, "assets", "--since=1h", pcap).expect(t, 2, "", "for folders of logs")
}

func TestParseWhen(t *testing.T) {
	now := time.Date(2026, 11, 29, 22, 30, 0, 0, time.UTC)
	for s, want := range map[string]string{
		"90m": "2026-11-29 21:00:00", "7d": "2026-11-22 22:30:00", "0.5d": "2026-11-29 10:30:00", "2026-11-28": "2026-11-28 00:00:00",
		"2026-11-28T10:00": "2026-11-28 10:00:00", "2026-11-28 10:00:05": "2026-11-28 10:00:05", "2026-11-28 10:00:05 UTC": "2026-11-28 10:00:05",
		"2026-11-28T10:00:00+02:00": "2026-11-28 08:00:00", "2026-11-28T10:00Z": "2026-11-28 10:00:00", "21:15": "2026-11-29 21:15:00",
		"21:15:30": "2026-11-29 21:15:30", "1795993200.5": "2026-11-29 23:00:00",
	} {
		if got, err := search.ParseTime(s, now); err != nil || got.Std().Format(time.DateTime) != want {
			t.Errorf("%s is %v, %v", s, got.Std(), err)
		}
	}
	for _, s := range []string{"", "soon", "-1h", "-1d", "1500-01-01", "9999-01-01", "12", "25:00", "NaNd", "1e300d"} {
		if got, err := search.ParseTime(s, now); err == nil {
			t.Errorf("%q is %v", s, got.Std())
		}
	}
}
