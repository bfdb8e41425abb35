package capture

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPcapngIsReadBack: by our reader to the last bit, and by tshark with its comments.
func TestPcapngIsReadBack(t *testing.T) {
	frames := []Frame{
		{Time: 1700000000_123456789, Data: []byte{1, 2, 3, 4, 5}, WireLen: 5, Link: 1},
		{Time: 1700000001_000000000, Data: bytes.Repeat([]byte{7}, 64), WireLen: 1500, Link: 101},
		{Time: 1700000002_999999999, Data: []byte{}, WireLen: 0, Link: 1},
	}
	comments := []string{"first: \"quoted\"\nsecond line", "", strings.Repeat("é", maxComment) + "\xff"}
	var b bytes.Buffer
	w, err := NewPcapngWriter(&b, "raytap", "of the whole")
	if err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		if err := w.Write(&frames[i], comments[i]); err != nil {
			t.Fatal(err)
		}
	}
	src, err := NewFile("x", bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	var got []Frame
	for {
		var batch Batch
		err := src.ReadBatch(&batch)
		got = append(got, batch.Frames...)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != len(frames) || w.Frames() != 3 {
		t.Fatalf("%d frames, %d counted", len(got), w.Frames())
	}
	for i, f := range got {
		want := frames[i]
		if f.Time != want.Time || f.WireLen != want.WireLen || f.Link != want.Link || !bytes.Equal(f.Data, want.Data) {
			t.Errorf("frame %d is %+v, want %+v", i, f, want)
		}
	}

	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("no tshark here")
	}
	name := filepath.Join(t.TempDir(), "x.pcapng")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tshark, "-r", name, "-T", "fields", "-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.comment")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	lines := strings.Split(string(out), "\n")
	if !strings.HasPrefix(lines[0], "1700000000.123456789\t5\tfirst: \"quoted\"") || !strings.Contains(string(out), "1700000001.000000000\t1500\t") {
		t.Errorf("tshark reads %.300q", out)
	}
}
