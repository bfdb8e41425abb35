package test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// captures is where the public captures are, and whether they were unpacked for this run.
type captures struct {
	dir      string
	unpacked bool
}

// corpus finds the public captures, once: where RAYTAP_CORPUS says, where `make corpus` puts them, or in the archive beside the
// project.
var corpus = sync.OnceValues(func() (captures, error) {
	const archive = "../shared/corpus/public.tar.zst"
	if dir := os.Getenv("RAYTAP_CORPUS"); dir != "" {
		_, err := os.Stat(filepath.Join(dir, "dev"))
		return captures{dir: dir}, err
	}
	if _, err := os.Stat("bin/corpus/dev"); err == nil {
		return captures{dir: "bin/corpus"}, nil
	}
	if _, err := os.Stat(archive); err != nil {
		return captures{}, fmt.Errorf("no public captures (make corpus): %s is not there", archive)
	}
	dir, err := os.MkdirTemp("", "raytap-corpus-")
	if err != nil {
		return captures{}, err
	}
	if out, err := exec.Command("tar", "--zstd", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		return captures{dir, true}, fmt.Errorf("tar: %v: %s", err, out)
	}
	return captures{dir, true}, nil
})

func publicCaptures(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("short: the public captures take a minute")
	}
	c, err := corpus()
	if err != nil {
		t.Skip(err)
	}
	return c.dir
}

func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		panic(err)
	}
	code := m.Run()
	if c, _ := corpus(); c.unpacked {
		os.RemoveAll(c.dir)
	}
	os.Exit(code)
}

// logs runs a capture into Zeek logs and returns the hash of each.
func logs(t *testing.T, file string, cfg engine.Config) map[string]string {
	t.Helper()
	dir := t.TempDir()
	sink, err := zeek.New(dir, zeek.Options{Rules: registry.Rules()})
	if err != nil {
		t.Fatal(err)
	}
	src, err := capture.OpenFile(file)
	if err != nil {
		return map[string]string{"error": strings.ReplaceAll(err.Error(), filepath.Dir(file), "")}
	}
	defer src.Close()
	stats, err := run(t.Context(), cfg, src, sink)
	if cerr := sink.Close(stats.Last); cerr != nil {
		t.Fatal(cerr)
	}
	sums := map[string]string{"error": fmt.Sprint(err)}
	files, _ := filepath.Glob(dir + "/*.log")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sums[filepath.Base(f)] = fmt.Sprintf("%d bytes %x", len(b), sha256.Sum256(b))
	}
	return sums
}

// TestSameOutputForAnyNumberOfWorkers runs every public capture with 1, 2 and 8 workers; recovery from panics is
// off, so that it holds "no panic" as well.
func TestSameOutputForAnyNumberOfWorkers(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(publicCaptures(t), "dev", "*"))
	if len(files) < 1000 {
		t.Fatalf("only %d captures", len(files))
	}
	for _, f := range append(files, caseFiles(t)...) {
		t.Run(filepath.Base(f), func(t *testing.T) {
			t.Parallel()
			sameForAnyWorkers(t, f)
		})
	}
}

// TestSameOutputForCases is the short form, for the race detector.
func TestSameOutputForCases(t *testing.T) {
	for _, f := range caseFiles(t) {
		if fi, err := os.Stat(f); err == nil && fi.Size() > 200<<10 {
			continue
		}
		t.Run(filepath.Base(f), func(t *testing.T) { sameForAnyWorkers(t, f) })
	}
}

func sameForAnyWorkers(t *testing.T, file string) {
	cfg := engine.Default()
	cfg.Workers = 1
	want := logs(t, file, cfg)
	for _, n := range []int{2, 8} {
		cfg.Workers = n
		got := logs(t, file, cfg)
		for _, name := range names(want, got) {
			if want[name] != got[name] {
				t.Errorf("%s: %s with 1 worker, %s with %d", name, want[name], got[name], n)
			}
		}
	}
}

func names(a, b map[string]string) []string {
	var all []string
	for k := range a {
		all = append(all, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			all = append(all, k)
		}
	}
	sort.Strings(all)
	return all
}

func caseFiles(t *testing.T) []string {
	t.Helper()
	files, _ := filepath.Glob("pcaps/*.pcap*")
	if len(files) == 0 {
		t.Fatal("no captures in pcaps/")
	}
	return files
}
