package test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/sinks/files"
)

// Contents of pcaps/files-kept: the digests of what the servers had.
const (
	sumProgram = "ae7b5840876bea97a924d7e23560d28ce99468d4b269182bf8fe51acbabe0790"
	sumScript  = "8514da5056fb639be949e7eab51046f95fec148a16cba289313e517680f89033"
	sumWheel   = "456ab8dd3c7d2782615cd710d104a8ee7511a302ab49769feb087cfbb93d94a3"
	sumHalf    = "36aa77b6664ffabfa3953da444e801a4278ae422b90fd5c44948d3113c6aa1a0" // of the program's first 20,000 bytes
)

// keepFrom replays captures, and gives what the folder has by name and what was said.
func keepFrom(t *testing.T, set func(*engine.Config), captures ...string) (map[string][]byte, *ear, engine.Stats) {
	t.Helper()
	cfg := engine.Default()
	cfg.Checksums = "ignore"
	cfg.Files.Extract = []string{"executable", "script", "archive", "pickle", "ray_package"}
	cfg.Files.Free = 0
	set(&cfg)
	dir := filepath.Join(t.TempDir(), "files")
	store, err := files.Open(files.Options{Dir: dir, Size: cfg.Files.Size, Waiting: cfg.Files.MaxMemory, Wait: true})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = store
	heard, stats := listen(t, cfg, captures...)
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	have := map[string][]byte{}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == ".raytap.lock" {
			return err
		}
		b, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		have[filepath.ToSlash(rel)] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range have {
		sum := sha256.Sum256(b)
		if want := hex.EncodeToString(sum[:]); name[:2]+"/"+want != strings.TrimSuffix(name, files.Partial) {
			t.Errorf("%s has the digest %s", name, want)
		}
	}
	for _, r := range heard.rows["files"] {
		name := r["extracted"]
		switch {
		case name == "" || name == "-":
		case have[name] == nil && stats.Files.Removed > 0: // it made room
		case have[name] == nil:
			t.Errorf("files.log names %s, which is not there", name)
		case r["extracted_size"] != fmt.Sprint(len(have[name])):
			t.Errorf("%s has %d bytes, files.log says %s", name, len(have[name]), r["extracted_size"])
		case r["sha256"] != "" && r["sha256"] != "-" && r["extracted_cutoff"] != "T" && !strings.HasSuffix(name, files.Partial) && !strings.HasSuffix(name, r["sha256"]):
			t.Errorf("%s is kept of a file with the digest %s", name, r["sha256"])
		}
	}
	return have, heard, stats
}

func path(sum string) string { return sum[:2] + "/" + sum }

func keptNames(have map[string][]byte) []string { return slices.Sorted(maps.Keys(have)) }

func as(t *testing.T, have map[string][]byte, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := keptNames(have); !slices.Equal(got, want) {
		t.Errorf("kept are %q, want %q", got, want)
	}
}

func plainly(*engine.Config) {}

// However a file comes, it is kept once, and is what the server had.
func TestFilesKept(t *testing.T) {
	have, heard, stats := keepFrom(t, plainly, "pcaps/files-kept.pcap.gz")
	as(t, have, path(sumProgram), path(sumScript), path(sumWheel), path(sumHalf)+".partial")
	if !bytes.HasPrefix(have[path(sumScript)], []byte("#!/bin/sh\nset -e\n")) || !bytes.HasPrefix(have[path(sumProgram)], []byte("\x7fELF")) {
		t.Error("the contents are others")
	}
	if c := stats.Files; c.Kept != 4 || c.Again != 4 || c.Partial != 1 || c.Removed+c.Slow+c.Full+c.Failed != 0 {
		t.Errorf("%+v", c)
	}
	for _, r := range heard.rows["files"] {
		if m := r["mime_type"]; (m == "text/html" || m == "text/json") && r["extracted"] != "-" && r["extracted"] != "" {
			t.Errorf("%s is kept", m)
		}
	}
	told := 0
	for _, f := range heard.findings {
		for _, e := range f.Evidence {
			if e.Field == "file_kept" {
				told++
				if have[e.Value] == nil {
					t.Errorf("%s names %s", f.Rule, e.Value)
				}
			}
		}
	}
	if told < 2 {
		t.Errorf("%d findings say that a file is kept", told)
	}
}

// What a job brings along: uploaded to the dashboard, and fetched by a node from the GCS.
func TestPackageKept(t *testing.T) {
	only := func(c *engine.Config) { c.Files.Extract = []string{"ray_package"} }
	have, heard, stats := keepFrom(t, only, "pcaps/benign-job-submit-ray2.9.3.pcap.gz")
	const sum = "bcaaab223f28a"
	if l := keptNames(have); len(l) != 1 || !strings.HasPrefix(l[0], "bc/"+sum) || !bytes.HasPrefix(have[l[0]], []byte("PK\x03\x04")) {
		t.Fatalf("kept are %q", l)
	}
	if stats.Files.Kept != 1 || stats.Files.Again != 1 {
		t.Errorf("%+v", stats.Files)
	}
	// Seen from outside it is the job of an intruder, whose finding leads to what it brought along.
	for _, rules := range [][]string{nil, {"rayapi/package"}} {
		_, spoken, _ := keepFrom(t, func(c *engine.Config) {
			only(c)
			c.Home, c.Files.Rules = []string{"10.20.0.10"}, rules
		}, "pcaps/benign-job-submit-ray2.9.3.pcap.gz")
		told := map[string]bool{}
		for _, f := range spoken.findings {
			for _, e := range f.Evidence {
				if e.Field == "file_kept" && strings.Contains(e.Value, sum) {
					told[f.Rule] = true
				}
			}
		}
		if !told["jobsubmit/external"] || !told["rayapi/package"] {
			t.Errorf("with rules %q it is named by %v", rules, told)
		}
	}
	var sources []string
	for _, r := range heard.rows["files"] {
		if r["extracted"] != "-" && r["extracted"] != "" {
			sources = append(sources, r["source"])
		}
	}
	if !slices.Equal(sources, []string{"HTTP", "GRPC"}) {
		t.Errorf("it came by %v", sources)
	}
}

// The folder and all that is said are the same for any number of workers.
func TestFilesKeptByAnyWorkers(t *testing.T) {
	all := func(n int) func(*engine.Config) {
		return func(c *engine.Config) {
			c.Workers = n
			c.Files.Extract = []string{"all"}
			c.Files.Size = 60_000 // some make room
			c.Files.Rules = []string{"payload", "rayapi", "jobsubmit"}
		}
	}
	captures := []string{"pcaps/files-kept.pcap.gz", "pcaps/shadowray.pcap.gz", "pcaps/attack-job-payload.pcap.gz"}
	one, heard, stats := keepFrom(t, all(1), captures...)
	for _, n := range []int{2, 7} {
		have, h, s := keepFrom(t, all(n), captures...)
		if !maps.EqualFunc(one, have, bytes.Equal) || s.Files != stats.Files {
			t.Errorf("%d workers keep %q (%+v), one keeps %q (%+v)", n, keptNames(have), s.Files, keptNames(one), stats.Files)
		}
		if !slices.EqualFunc(h.rows["files"], heard.rows["files"], maps.Equal) {
			t.Errorf("%d workers: files.log differs", n)
		}
	}
}

// With rules only files are kept of whose connection one of them speaks, also if it does so after the file.
func TestFilesOfFindings(t *testing.T) {
	have, heard, _ := keepFrom(t, func(c *engine.Config) { c.Files.Rules = []string{"payload/script"} }, "pcaps/files-kept.pcap.gz")
	as(t, have, path(sumScript))
	rows, kept := 0, 0
	for _, r := range heard.rows["files"] {
		rows++
		if r["extracted"] == path(sumScript) {
			kept++
		}
	}
	if rows != 11 || kept != 2 {
		t.Errorf("%d rows, %d of them of files that are kept", rows, kept)
	}
	have, _, stats := keepFrom(t, func(c *engine.Config) { c.Files.Rules = []string{"mining"} }, "pcaps/files-kept.pcap.gz")
	if as(t, have); stats.Files != (file.Counts{}) {
		t.Errorf("%+v", stats.Files)
	}
	// A rule that is turned off does not speak.
	have, _, _ = keepFrom(t, func(c *engine.Config) { c.Files.Rules, c.Rules.Off = []string{"payload"}, []string{"payload/script"} }, "pcaps/files-kept.pcap.gz")
	as(t, have, path(sumProgram), path(sumHalf)+".partial")
}

func TestFilesBounds(t *testing.T) {
	have, heard, _ := keepFrom(t, func(c *engine.Config) { c.Files.MaxFile = 20_000 }, "pcaps/files-kept.pcap.gz")
	if b := have[path(sumHalf)+".partial"]; len(b) != 20_000 || have[path(sumProgram)] != nil || have[path(sumWheel)] == nil {
		t.Errorf("kept are %q", keptNames(have))
	}
	told := 0
	for _, f := range heard.findings {
		for _, e := range f.Evidence {
			if e.Field == "file_kept" {
				told++
			}
		}
	}
	if told < 2 {
		t.Errorf("%d findings name what is kept of their files", told)
	}
	cut := 0
	for _, r := range heard.rows["files"] {
		if r["extracted_cutoff"] == "T" {
			cut++
		}
	}
	if cut != 5 { // the program three times, the script twice; of the half there is no more
		t.Errorf("%d rows say that the file is cut", cut)
	}
	_, _, stats := keepFrom(t, func(c *engine.Config) { c.Files.Size = 50_000 }, "pcaps/files-kept.pcap.gz")
	if stats.Files.Removed == 0 {
		t.Errorf("nothing made room: %+v", stats.Files)
	}
	have, heard, stats = keepFrom(t, func(c *engine.Config) { c.Files.Extract = nil }, "pcaps/files-kept.pcap.gz")
	if len(have) > 0 || stats.Files != (file.Counts{}) {
		t.Errorf("kept are %q, though nobody asked for any", keptNames(have))
	}
	for _, r := range heard.rows["files"] {
		if strings.Contains(r["analyzers"], "EXTRACT") {
			t.Errorf("%v", r)
		}
	}
}

func TestFilesSettings(t *testing.T) {
	for says, set := range map[string]func(*engine.Files){
		`"elf" is not one of`:          func(f *engine.Files) { f.Extract = []string{"elf"} },
		"did you mean executable?":     func(f *engine.Files) { f.Extract = []string{"executables"} },
		`there is no rule "payloads"`:  func(f *engine.Files) { f.Rules = []string{"payloads"} },
		"files.max_file: 10 is not":    func(f *engine.Files) { f.MaxFile = 10 },
		"files.max_memory: 100 is not": func(f *engine.Files) { f.MaxMemory = 100 },
	} {
		cfg := config.Default()
		set(&cfg.Files)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v does not say %q", err, says)
		}
	}
}
