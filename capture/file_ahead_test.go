package capture

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestReadAhead: a file that is read ahead gives the same frames, and ends in the same words, wherever blocks cut its records:
// short ones, some that are longer than the room before a block, and some longer than a block.
func TestReadAhead(t *testing.T) {
	frames := someFrames(9000)
	for i := range frames {
		n := len(frames[i].Data)
		switch {
		case i%1500 == 700:
			n = room + 1000
		case i%1500 == 701, i%4000 == 20:
			n = maxFrame
		}
		frames[i].Data = bytes.Repeat([]byte{byte(i)}, n)
		frames[i].WireLen = n
	}
	w := pcapWriter{magic: 0xa1b23c4d, link: 1, frames: frames}
	data := w.bytes()
	if len(data) < 12*readBlock {
		t.Fatal("too short to be read ahead")
	}
	name := filepath.Join(t.TempDir(), "x.pcap")
	for _, cut := range []int{0, 1, 17, readBlock, 3*readBlock - 5} {
		if err := os.WriteFile(name, data[:len(data)-cut], 0o644); err != nil {
			t.Fatal(err)
		}
		read := func(ahead bool, stop int) ([]Frame, error) {
			src, err := OpenFile(name)
			if err != nil {
				t.Fatal(err)
			}
			defer src.Close()
			if ahead {
				if ReadAhead(src); src.(*file).ahead == nil {
					t.Fatal("it is not read ahead")
				}
			}
			if stop > 0 { // in the middle
				var b Batch
				for range stop {
					if err := src.ReadBatch(&b); err != nil {
						t.Fatal(err)
					}
				}
				return nil, nil
			}
			return readAll(t, src)
		}
		want, err := read(false, 0)
		got, gotErr := read(true, 0)
		sameFrames(t, got, want)
		var a, b *InputError
		if errors.As(err, &a) != errors.As(gotErr, &b) || a != nil && *a != *b {
			t.Errorf("cut by %d: %v, ahead %v", cut, err, gotErr)
		}
		read(true, 3)
	}
	// What cannot be read so stays as it is.
	if err := os.WriteFile(name, gz(data), 0o644); err != nil {
		t.Fatal(err)
	}
	src, err := OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	ReadAhead(src)
	got, err := readAll(t, src)
	if err != nil {
		t.Fatal(err)
	}
	sameFrames(t, got, frames)
}
