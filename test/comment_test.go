package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	stored "github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/zeek"
)

// TestCommentSign reads the logs of every labelled capture as those do who take # for the beginning of a comment wherever it
// stands (pandas.read_csv and DuckDB's read_csv with comment='#'): no row of a log of ours loses anything. Of logs that are
// Zeek's the values are Zeek's, which writes # as it is.
func TestCommentSign(t *testing.T) {
	files, err := filepath.Glob("pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatal("no captures in pcaps/")
	}
	theirs := []string{"conn", "dns", "files", "http", "socks", "ssl", "tunnel", "x509"}
	evidence, escaped := 0, 0
	for _, file := range files {
		dir := logsOf(t, file, zeek.TSV)
		all, err := filepath.Glob(filepath.Join(dir, "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			log := strings.TrimSuffix(filepath.Base(name), ".log")
			if slices.Contains(theirs, log) {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fields := 0
			for line := range strings.Lines(string(b)) {
				line = strings.TrimSuffix(line, "\n")
				if names, ok := strings.CutPrefix(line, "#fields\t"); ok {
					fields = strings.Count(names, "\t") + 1
				}
				kept, _, _ := strings.Cut(line, "#")
				if kept == "" {
					continue
				}
				if kept != line || strings.Count(kept, "\t")+1 != fields {
					t.Errorf("%s: %s.log: a reader is left with %q", file, log, kept)
				}
				escaped += strings.Count(kept, `\x23`)
			}
		}
		folder, err := stored.Open(stored.Options{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		folder.Read("notice", func(r *stored.Row) {
			for i, e := range r.Finding().Evidence {
				if text := r.List("evidence")[i]; e.Packet == 0 || text != fmt.Sprintf("%s=%s @%d", e.Field, e.Value, e.Packet) {
					t.Errorf("%s: %q is read as %+v", file, text, e)
				}
				evidence++
			}
		})
		folder.Close()
	}
	if evidence < 100 || escaped == 0 {
		t.Errorf("%d pieces of evidence, %d signs that were escaped", evidence, escaped)
	}
}
