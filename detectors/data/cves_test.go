package data

import (
	"slices"
	"strings"
	"testing"
)

func TestVersionsAreOrdered(t *testing.T) {
	ordered := []string{"0.1.33", "0.1.34", "1.13.0", "2.0.0rc0", "2.0.0", "2.8.0", "2.8.1", "2.9.3", "2.40.0", "2.52.0", "3.0.0.dev0", "3.0.0", "3.0.0.1"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got, ok := CompareVersions(a, b); !ok || got != want {
				t.Errorf("CompareVersions(%s, %s) = %d, %v", a, b, got, ok)
			}
		}
	}
	for a, b := range map[string]string{"2.8": "2.8.0", "2.8.0+cu121": "2.8.0", "v2.8.0": "2.8.0"} {
		if d, ok := CompareVersions(a, b); d != 0 || !ok {
			t.Errorf("%s is not %s", a, b)
		}
	}
	for _, no := range []string{"", "x", "{{RAY_VERSION}}", "-1"} {
		if _, ok := CompareVersions(no, "2.8.0"); ok {
			t.Errorf("%q is taken for a version", no)
		}
	}
}

func TestCVEsByVersion(t *testing.T) {
	for _, x := range []struct {
		product, version string
		has, lacks       []string
	}{
		{"ray", "2.8.0", []string{"CVE-2023-6019", "CVE-2023-6020", "CVE-2023-6021", "CVE-2023-48022", "CVE-2025-62593"}, []string{"CVE-2024-57000", "CVE-2025-34351", "CVE-2026-41486"}},
		{"ray", "2.8.1", []string{"CVE-2025-62593"}, []string{"CVE-2023-6019", "CVE-2023-48023"}},
		{"ray", "2.9.3", []string{"CVE-2024-57000", "CVE-2025-1979"}, []string{"CVE-2023-6021"}},
		{"ray", "2.40.0", []string{"CVE-2024-57000"}, nil},
		{"ray", "2.41.0", nil, []string{"CVE-2024-57000"}},
		{"ray", "2.52.0", []string{"CVE-2025-34351", "CVE-2026-41486", "CVE-2026-27482"}, []string{"CVE-2025-62593"}},
		{"ray", "2.60.0", []string{"CVE-2023-48022", "CVE-2025-34351"}, []string{"CVE-2026-57516", "CVE-2026-27482"}},
		{"ray", "3.0.0.dev0", []string{"CVE-2023-48022"}, []string{"CVE-2026-57516"}},
		{"ray", "", []string{"CVE-2023-48022"}, []string{"CVE-2025-62593", "CVE-2025-34351"}},
		{"ollama", "0.1.33", []string{"CVE-2024-37032"}, []string{"CVE-2023-48022"}},
		{"ollama", "0.1.34", nil, []string{"CVE-2024-37032"}},
		{"torchserve", "0.8.1", []string{"CVE-2023-43654"}, nil},
		{"torchserve", "0.8.2", nil, []string{"CVE-2023-43654"}},
		{"langflow", "1.2.0", []string{"CVE-2025-3248"}, nil},
	} {
		var got []string
		for _, c := range LoadCVEs() {
			if c.Affects(x.product, x.version) {
				got = append(got, c.ID)
			}
		}
		for _, id := range x.has {
			if !slices.Contains(got, id) {
				t.Errorf("%s %s: not %s: %v", x.product, x.version, id, got)
			}
		}
		for _, id := range x.lacks {
			if slices.Contains(got, id) {
				t.Errorf("%s %s: %s is said", x.product, x.version, id)
			}
		}
	}
}

func TestCVEFileIsSound(t *testing.T) {
	lines, seen := 0, map[string]bool{}
	for line := range strings.Lines(cvesCSV) {
		if line[0] != '#' {
			lines++
		}
	}
	for _, c := range LoadCVEs() {
		lines--
		if !strings.HasPrefix(c.ID, "CVE-") || seen[c.ID] || c.Title == "" || c.Source == "" {
			t.Errorf("%+v", c)
		}
		seen[c.ID] = true
		switch c.Needs {
		case NeedsOpen, NeedsNothing, NeedsBrowser, NeedsData:
		default:
			t.Errorf("%s needs %q", c.ID, c.Needs)
		}
		for _, part := range strings.Fields(c.Affected) {
			if _, ok := CompareVersions(strings.TrimLeft(part, "<>="), "0"); !ok && part != "*" {
				t.Errorf("%s: %q", c.ID, part)
			}
		}
		if c.Fixed != "" && c.Affects(c.Product, c.Fixed) {
			t.Errorf("%s affects %s, where it is fixed", c.ID, c.Fixed)
		}
	}
	if lines != 0 {
		t.Errorf("%d lines cannot be read", lines)
	}
	if header(cvesCSV, "version ") == "" {
		t.Error("no version")
	}
}
