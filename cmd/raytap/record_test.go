package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

// framesIn reads a capture.
func framesIn(t *testing.T, parts ...string) (all []capture.Frame) {
	t.Helper()
	src, err := capture.OpenFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var b capture.Batch
	for src.ReadBatch(&b) == nil {
		all = append(all, b.Frames...)
	}
	return all
}

// TestRecordAndExtract: what a run records is found by each of its names, without its logs; evidence is named by them.
func TestRecordAndExtract(t *testing.T) {
	dir := t.TempDir()
	pcap, err := filepath.Abs("../../pcaps/shadowray.pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, nil, "replay", "--record=packets", "--format=json", pcap).expect(t, 0, "packets in packets/evidence/R", "recorded ")
	id, uid := finding(t, dir, "jobsubmit/external")
	invoke(t, dir, nil, "extract", "--finding", id, "-o", "old.pcapng", pcap).expect(t, 0, "packets", "")
	want := len(framesIn(t, dir, "old.pcapng"))
	for _, args := range [][]string{{"--finding", id}, {"--uid", uid}, {"--finding", id, "--host", "10.20.0.10"}, {"--uid", uid, "--filter", "port 8265"}} {
		invoke(t, dir, nil, append([]string{"extract", "-o", "new.pcapng", "packets"}, args...)...).expect(t, 0, "new.pcapng", "")
		if got := framesIn(t, dir, "new.pcapng"); len(got) != want {
			t.Errorf("%v: %d packets, want %d", args, len(got), want)
		}
		if !strings.Contains(read(t, dir, "new.pcapng"), "raytap jobsubmit/external (critical)") {
			t.Errorf("%v: no comment", args)
		}
	}
	if got := framesIn(t, dir, "packets", "evidence", id+".pcapng"); len(got) != want {
		t.Errorf("%d packets in the evidence, want %d", len(got), want)
	}
	invoke(t, dir, nil, "extract", "--host=203.0.113.66", "-o=x.pcapng", "packets").expect(t, 0, "packets", "")
	invoke(t, dir, nil, "extract", "--finding=Rnone", "packets").expect(t, 1, "", "there is no finding Rnone in packets; --logs DIR")
	invoke(t, dir, nil, "extract", "--uid=CAAAAAAAAAAAAAAAAA", "packets").expect(t, 1, "", "it was not recorded, or is too long ago")
	invoke(t, dir, nil, "extract", "--uid", uid, "packets", pcap).expect(t, 2, "", "at once cannot be")
	invoke(t, dir, nil, "record", "ls", "packets").expect(t, 0, "evidence: ", "")
	invoke(t, dir, nil, "record", "ls", "--host=203.0.113.66", "packets").expect(t, 0, ".pcapng", "")
	invoke(t, dir, nil, "record", "ls", "raytap-logs").expect(t, 1, "", "raytap-logs: this folder has no recording")
	invoke(t, dir, nil, "record").expect(t, 2, "", "ls?")

	// The journal is gone: the logs know the flow.
	os.Remove(filepath.Join(dir, "packets", "raytap-findings.jsonl"))
	invoke(t, dir, nil, "extract", "--finding", id, "packets").expect(t, 1, "", "--logs DIR")
	invoke(t, dir, nil, "extract", "--finding", id, "--logs=raytap-logs", "-o=l.pcapng", "packets").expect(t, 0, "l.pcapng", "")
	if got := framesIn(t, dir, "l.pcapng"); len(got) != want {
		t.Errorf("%d packets by the logs, want %d", len(got), want)
	}

	// A capture has all packets, and needs no recorder.
	invoke(t, dir, nil, "replay", "--evidence=saved", "--out=again", "--format=json", pcap).expect(t, 0, "packets in saved/R", "the packets of ")
	if got := framesIn(t, dir, "saved", id+".pcapng"); len(got) != want {
		t.Errorf("%d packets are saved, want %d", len(got), want)
	}
	for _, log := range []string{"conn.log", "http.log", "ray.log", "incidents.log"} {
		if read(t, dir, "raytap-logs", log) != read(t, dir, "again", log) {
			t.Errorf("%s is another with a recorder", log)
		}
	}
	if n := strings.Count(read(t, dir, "again", "notice.log"), "saved/R"); n == 0 {
		t.Error("notice.log names no file")
	}
	b, err := os.ReadFile(pcap)
	if err != nil {
		t.Fatal(err)
	}
	invoke(t, dir, b, "replay", "--evidence=piped", "-").expect(t, 1, "", "--evidence reads captures again")
}
