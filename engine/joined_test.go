package engine

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

// TestRangesOfManyConnections: a file that one client fetches by ranges over several connections at once has a row for
// each of them that tells of the whole, whoever read which connection.
func TestRangesOfManyConnections(t *testing.T) {
	whole := "#!/bin/sh\n" + strings.Repeat("echo of 23 more bytes\n", 5000)
	const n = 12
	var frames []capture.Frame
	step := len(whole)/n + 1
	for i := range n {
		c := &talk{}
		c.open()
		from, to := i*step, min((i+1)*step, len(whole))
		c.say(false, fmt.Sprintf("GET /f HTTP/1.1\r\nHost: h\r\nRange: bytes=%d-%d\r\n\r\n", from, to-1))
		c.say(true, fmt.Sprintf("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes %d-%d/%d\r\nContent-Length: %d\r\n\r\n", from, to-1, len(whole), to-from))
		for b := range slices.Chunk([]byte(whole[from:to]), 1400) {
			c.say(true, string(b))
		}
		for k, f := range c.frames {
			at := 34 // the client's port
			if f.Data[26] == 10 {
				at = 36
			}
			binary.BigEndian.PutUint16(f.Data[at:], uint16(41000+i))
			f.Time += capture.Time(k * (i%5 + 1) * 1e6)
			frames = append(frames, f)
		}
	}
	slices.SortStableFunc(frames, func(a, b capture.Frame) int { return int(a.Time - b.Time) })
	var first []string
	for _, workers := range []int{1, 2, 8} {
		for i := range frames {
			frames[i].Ordinal = uint64(i + 1)
		}
		cfg := Default()
		cfg.Workers = workers
		k, _ := runLive(t, cfg, &fakeLive{frames: frames, per: 10})
		var got []string
		for _, row := range k.rows("files") {
			if row["seen_bytes"] != fmt.Sprint(len(whole)) || row["missing_bytes"] != "0" || row["timedout"] != "F" || row["sha256"] == "" || row["mime_type"] != "text/x-shellscript" {
				t.Errorf("%d workers: %v", workers, row)
			}
			got = append(got, fmt.Sprint(row))
		}
		if len(got) != n {
			t.Errorf("%d workers: %d rows", workers, len(got))
		}
		if first == nil {
			first = got
		}
		if !slices.Equal(first, got) {
			t.Errorf("%d workers: not what one gives", workers)
		}
		for _, row := range k.rows("http") {
			if id := k.rows("files")[0]["fuid"]; row["resp_fuids"] != id {
				t.Errorf("%q instead of %q", row["resp_fuids"], id)
			}
		}
	}
}
