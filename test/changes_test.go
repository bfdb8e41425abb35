package test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/sinks/zeek"
)

// TestChangesDocument holds the columns and structures of docs/changes.md against what the logs have.
func TestChangesDocument(t *testing.T) {
	b, err := os.ReadFile("docs/changes.md")
	if err != nil {
		t.Fatal(err)
	}
	// What the document says: columns by log, and the parts of those that are structures, in their order of the row.
	documented, columns := map[string][]string{}, map[string]bool{}
	ticked, list := regexp.MustCompile("`([a-z_]+)`"), regexp.MustCompile("`{([a-z_, ]+)}`")
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(line, "|") {
			continue
		}
		var names []string
		for _, m := range ticked.FindAllStringSubmatch(cells[1], -1) {
			names = append(names, m[1])
		}
		if strings.HasPrefix(cells[1], " `") && !strings.Contains(cells[1], ".") && !strings.Contains(cells[1], "checksums") {
			for _, n := range names {
				columns[n] = true
			}
		}
		lists := list.FindAllStringSubmatch(cells[3], -1)
		for i, n := range names {
			if len(lists) == 0 {
				break
			}
			parts := strings.Split(lists[min(i, len(lists)-1)][1], ", ")
			if n == "ports" {
				parts = append(parts, strings.Split(lists[1][1], ", ")...)
			}
			documented[n] = parts
		}
	}
	if len(documented) < 10 || len(columns) < 10 {
		t.Fatalf("%d structures, %d columns", len(documented), len(columns))
	}

	seen := map[string]map[string]bool{}
	for _, file := range []string{"pcaps/shadowray.pcap.gz", "pcaps/attack-job-proxied.pcap.gz", "pcaps/attack-worm.pcap.gz"} {
		all, err := filepath.Glob(filepath.Join(logsOf(t, file, zeek.JSON), "*.log"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range all {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(b) {
				var row map[string]any
				if err := json.Unmarshal(line, &row); err != nil {
					t.Fatal(err)
				}
				for column, v := range row {
					delete(columns, column)
					elements, _ := v.([]any)
					for _, e := range elements {
						object, ok := e.(map[string]any)
						if !ok {
							if documented[column] != nil {
								t.Errorf("%s: %s has %v, which is no structure", name, column, e)
							}
							continue
						}
						if seen[column] == nil {
							seen[column] = map[string]bool{}
						}
						for k := range object {
							seen[column][k] = true
							if !slices.Contains(documented[column], k) {
								t.Errorf("%s: %s has a part %s, which docs/changes.md does not tell of", name, column, k)
							}
						}
					}
				}
			}
		}
	}
	delete(columns, "merged_into") // of incidents that merge
	delete(columns, "peer_descr")  // of a sensor with a name
	for n := range columns {
		t.Errorf("no log has a column %s", n)
	}
	for _, n := range []string{"evidence", "atlas", "attack", "steps", "score_parts", "others", "tactics", "techniques", "ports", "client_kinds"} {
		for _, part := range documented[n] {
			if !seen[n][part] && part != "last" && part != "n" {
				t.Errorf("%s has no part %s", n, part)
			}
		}
	}
}
