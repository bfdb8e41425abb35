package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReplayKeepsFiles(t *testing.T) {
	capture, err := filepath.Abs("../../pcaps/files-kept.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	const script = "85/8514da5056fb639be949e7eab51046f95fec148a16cba289313e517680f89033"
	dir := t.TempDir()
	r := invoke(t, dir, nil, "replay", "--files", "evidence", "--extract", "script", capture)
	r.expect(t, 0, "1 file kept in evidence; 1 more were there already\n", "")
	if info, err := os.Stat(filepath.Join(dir, "evidence", script)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// Again: logs are replaced, files stay. The folder is in that of the logs if none is named.
	for _, says := range []string{"4 files kept in raytap-logs/files; 4 more were there already; 1 of them not whole", "0 files kept in raytap-logs/files; 8 more were there already"} {
		invoke(t, dir, nil, "replay", "--extract=executable,script", "--extract", "archive", capture).expect(t, 0, says, "")
	}
	if _, err := os.Stat(filepath.Join(dir, "raytap-logs", "files", script)); err != nil {
		t.Error(err)
	}
	invoke(t, dir, nil, "report", "raytap-logs", "-o", "r.html").expect(t, 0, "", "")

	invoke(t, dir, nil, "replay", "--files", "e2", capture).expect(t, 0, "4 files kept in e2", "")
	invoke(t, dir, nil, "replay", "--extract", "elf", capture).expect(t, 2, "", `"elf" is not one of executable, script`)
	if err := os.Symlink("evidence", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "replay", "--files", "link", capture).expect(t, 1, "", "a link, not a folder")
	configFile := filepath.Join(dir, "raytap.yaml")
	if err := os.WriteFile(configFile, []byte("files:\n  extract: [executable]\n  rules: [payload]\n  folder: e3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "replay", "--config", configFile, capture).expect(t, 0, "2 files kept in e3; 1 more were there already", "")
	if err := os.WriteFile(configFile, []byte("files:\n  extract: [executable]\n  size: 30kB\n  folder: e4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "replay", "--config", configFile, capture).expect(t, 1, "1 file kept in e4; 1 of them not whole; 3 NOT KEPT: no room", "files are not kept: no room")
	if r := invoke(t, dir, nil, "replay", "--out", "plain", capture); strings.Contains(r.stdout, "kept in") {
		t.Errorf("nobody asked for files: %s", r.stdout)
	}
	if _, err := os.Stat(filepath.Join(dir, "plain", "files")); err == nil {
		t.Error("nobody asked for a folder")
	}
}
