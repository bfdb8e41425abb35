package capturetest

import (
	"bytes"
	"testing"

	"github.com/raytap/raytap/capture"
)

// Frames reads a capture, up to where it ends or is damaged. The frames are the caller's.
func Frames(t testing.TB, name string) (all []capture.Frame) {
	t.Helper()
	src, err := capture.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var b capture.Batch
	for {
		err := src.ReadBatch(&b)
		for _, f := range b.Frames {
			f.Data = bytes.Clone(f.Data)
			all = append(all, f)
		}
		if err != nil {
			return all
		}
	}
}
