package file

import (
	"crypto/md5"
	"fmt"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
)

// joinedRows feeds pieces, each of the flow that goes with it, and gives what was told.
type joinedRows struct {
	*Joined
	flows [4]capture.Flow
	files []*File
	weird int
}

func newJoinedRows() *joinedRows {
	r := &joinedRows{}
	r.Joined = NewJoined(NewCache(Options{HashLimit: 1 << 20}), func(ev any, _ capture.Provenance) {
		switch ev := ev.(type) {
		case *File:
			r.files = append(r.files, ev)
		case *capture.Weird:
			r.weird++
		}
	})
	return r
}

func (r *joinedRows) piece(at capture.Time, flow int, key string, off, total int64, data string) {
	r.Take(&Piece{At: capture.At{Time: at}, Last: at, Key: key, Of: File{Flow: &r.flows[flow], ID: "F" + key, Total: total}, Off: off, Data: []byte(data)}, 0)
}

const second = capture.Time(1e9)

func TestJoinedOverConnections(t *testing.T) {
	const whole = "#!/bin/sh\necho hi\n"
	r := newJoinedRows()
	r.piece(3*second, 1, "a", 9, 18, whole[9:])
	r.piece(1*second, 0, "a", 0, 18, whole[:5]) // of before, told later
	r.piece(4*second, 0, "b", 0, 18, "other")
	r.piece(5*second, 2, "a", 3, 18, whole[3:9])
	if len(r.files) != 3 {
		t.Fatalf("%d files", len(r.files))
	}
	for i, flow := range []int{1, 0, 2} {
		f := r.files[i]
		if f.Flow != &r.flows[flow] || f.ID != "Fa" || f.Seen != 18 || f.Missing != 0 || f.TimedOut || f.Time != second || f.Last != 5*second ||
			f.MIME != "text/x-shellscript" || f.MD5 != fmt.Sprintf("%x", md5.Sum([]byte(whole))) {
			t.Errorf("%d: %+v", i, f)
		}
	}
	r.End()
	if len(r.files) != 4 || !r.files[3].TimedOut || r.files[3].Seen != 5 || r.all.bytes != 0 || len(r.Joined.files) != 0 {
		t.Errorf("at the end: %+v, %d bytes wait", r.files[3:], r.all.bytes)
	}
}

// TestJoinedIsLookedAfterEveryTwoMinutes, counted from its first piece, as in Zeek.
func TestJoinedIsLookedAfterEveryTwoMinutes(t *testing.T) {
	r := newJoinedRows()
	r.piece(0, 0, "a", 0, 9, "abc")
	r.piece(60*second, 0, "a", 3, 9, "def")
	r.Advance(200 * second)
	if len(r.files) != 0 {
		t.Fatal("given up on 140 s later, before it was looked after")
	}
	r.piece(230*second, 0, "b", 0, 9, "xyz")
	r.Advance(300 * second)
	if len(r.files) != 1 || !r.files[0].TimedOut || r.files[0].Seen != 6 {
		t.Fatalf("%+v", r.files)
	}
	r.piece(310*second, 0, "a", 6, 9, "ghi") // begins anew
	r.End()
	if len(r.files) != 3 || r.files[2].Seen != 3 || r.files[2].Missing != 6 {
		t.Errorf("%+v", r.files)
	}
}

func TestJoinedIsBounded(t *testing.T) {
	r := newJoinedRows()
	for i := range 3 * maxJoined {
		r.piece(capture.Time(i), 0, fmt.Sprint(i), 0, 9, "abc")
	}
	if len(r.order) > maxJoined || r.weird != 2*maxJoined || len(r.files) != 2*maxJoined {
		t.Errorf("%d files are open, %d weirds, %d told", len(r.order), r.weird, len(r.files))
	}
	r.End()
	r.files, r.weird = nil, 0
	flows := make([]capture.Flow, 2*maxJoinedFlows)
	for i := range flows {
		r.Take(&Piece{Key: "a", Of: File{Flow: &flows[i], Total: 1 << 30}, Off: int64(i), Data: []byte("a")}, 0)
	}
	r.End()
	if len(r.files) != maxJoinedFlows || r.weird != maxJoinedFlows {
		t.Errorf("%d rows, %d weirds", len(r.files), r.weird)
	}
	r.files = nil
	hole := make([]byte, 32<<10)
	for i := range 4000 { // one mebibyte of each file waits for its first byte
		r.Take(&Piece{Key: fmt.Sprint(i % 100), Of: File{Flow: &r.flows[0], Total: 1 << 30}, Off: 1 + int64(i/100)<<15, Data: append([]byte(nil), hole...)}, 0)
		if r.all.bytes > maxJoinedBytes+len(hole) {
			t.Fatalf("%d bytes wait", r.all.bytes)
		}
	}
}

// TestLossBeforeAnythingCameApart: Zeek takes the next place for it.
func TestLossBeforeAnythingCameApart(t *testing.T) {
	for _, tt := range []struct {
		name          string
		off           int64
		next, missing int64
	}{{"in order", 0, 10, 10}, {"elsewhere", 50, 10, 10}} {
		var a Assembler
		a.Open(NewCache(Options{}), &Scattered{})
		a.GapAt(capture.At{}, tt.off, 10)
		if a.Next() != tt.next || a.f.Missing != tt.missing {
			t.Errorf("%s: %d, %d missing", tt.name, a.Next(), a.f.Missing)
		}
		a.WriteAt(capture.At{}, 60, []byte("tail"))
		a.GapAt(capture.At{}, 40, 10) // now it knows where
		if a.Next() != 50 {
			t.Errorf("%s: then %d", tt.name, a.Next())
		}
		if f := a.Close(capture.At{})[0]; f.Missing != 60 || f.Seen != 4 {
			t.Errorf("%s: %+v", tt.name, f)
		}
	}
}

// TestJoinedNamesTheMessage: what a file looks like is in the row of the message with which that became known, if it is
// the first one over the last connection.
func TestJoinedNamesTheMessage(t *testing.T) {
	long := "#!/bin/sh\n" + strings.Repeat("echo\n", 2000)
	type part struct {
		flow     int
		message  uint32
		from, to int
	}
	for _, tt := range []struct {
		name  string
		parts []part
		want  string // messages that have it
	}{
		{"at once", []part{{0, 1, 0, 5000}}, "0.1"},
		{"too little", []part{{0, 1, 0, 4000}}, ""},
		{"with the second connection", []part{{0, 1, 0, 4000}, {1, 1, 4000, 5000}, {2, 1, 5000, 6000}}, "1.1"},
		{"with a second message", []part{{0, 1, 0, 4000}, {0, 2, 4000, 5000}}, ""},
		{"with the first of two connections", []part{{0, 1, 4000, 5000}, {1, 1, 5000, 6000}, {0, 2, 0, 4000}}, ""},
		{"with the end", []part{{0, 1, 9, len(long)}, {1, 1, 0, 9}}, "1.1"},
	} {
		r, got := newJoinedRows(), ""
		for _, p := range tt.parts {
			row := &File{Unnamed: true}
			r.Take(&Piece{Key: "a", Of: File{Flow: &r.flows[p.flow], Total: int64(len(long))}, Message: p.message, Row: row, Off: int64(p.from), Data: []byte(long[p.from:p.to])}, 0)
			if row.MIME == "text/x-shellscript" && !row.Unnamed {
				got += fmt.Sprintf("%d.%d", p.flow, p.message)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
