package test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/zeek"
)

// TestTabsAreTheSameAsJSON holds that what zeek.Converter makes of the tab-separated logs of each labelled capture is, byte by
// byte, the JSON logs of the same run. Doubles are an exception: the tab-separated form has six digits of them.
func TestTabsAreTheSameAsJSON(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every labelled capture")
	}
	files, err := filepath.Glob("pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	rows := map[string]int{}
	cfg := engine.Default()
	for _, file := range files {
		src, err := capture.OpenFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var dirs [2]string
		var sinks [2]*zeek.Sink
		for i, format := range []string{zeek.TSV, zeek.JSON} {
			dirs[i] = t.TempDir()
			if sinks[i], err = zeek.New(dirs[i], zeek.Options{Format: format, Rules: registry.Rules(), Peer: "node-1"}); err != nil {
				t.Fatal(err)
			}
		}
		_, err = run(context.Background(), cfg, src, sinks[0], sinks[1])
		src.Close()
		if err != nil {
			t.Logf("%s: %v", file, err)
		}
		for _, s := range sinks {
			if err := s.Close(0); err != nil {
				t.Fatal(err)
			}
		}
		logs, _ := filepath.Glob(filepath.Join(dirs[1], "*.log"))
		for _, log := range logs {
			name := strings.TrimSuffix(filepath.Base(log), ".log")
			want, _ := os.ReadFile(log)
			have, _ := os.ReadFile(filepath.Join(dirs[0], filepath.Base(log)))
			var c zeek.Converter
			wants := bytes.Split(bytes.TrimSuffix(want, []byte{'\n'}), []byte{'\n'})
			n := 0
			for line := range bytes.Lines(have) {
				got, err := c.Line(bytes.TrimSuffix(line, []byte{'\n'}))
				if err != nil {
					t.Errorf("%s: %s: %v\n%s", file, name, err, line)
				}
				if got == nil {
					continue
				}
				if n < len(wants) && !bytes.Equal(got, wants[n]) && name != "capture_loss" {
					t.Errorf("%s: %s, row %d:\nhave %s\nwant %s", file, name, n, got, wants[n])
				}
				n++
			}
			if n != len(wants) {
				t.Errorf("%s: %s has %d rows, not %d", file, name, n, len(wants))
			}
			rows[name] += n
		}
	}
	t.Log(rows)
}
