package record

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
)

// Asked names packets: one of its members is set.
type Asked struct {
	ID        string // of a finding or an incident
	UID       string // of a flow
	Community string // Community ID
}

// ErrUnknown is that nothing of what is asked for was found or recorded.
var ErrUnknown = errors.New("record: nothing of it was recorded")

// Extracted says what Extract has written.
type Extracted struct {
	Packets uint64   // 0 of a file that was saved as evidence
	Saved   bool     // it is the file that was saved as evidence
	Cut     bool     // the bound was reached
	Told    []string // what could not be read, in sentences
}

// CheckID reports whether s may be the id of a finding or an incident.
func CheckID(s string) bool { return evidenceName.MatchString(s + ".pcapng") }

// Saved opens the file that was saved as evidence of a finding or an incident in a folder for such; the error is
// fs.ErrNotExist if there is none.
func Saved(folder, id string) (*os.File, error) {
	if !CheckID(id) {
		return nil, ErrUnknown
	}
	return disk.Read(filepath.Join(folder, id+".pcapng"))
}

// EvidenceFolder is where a recorder saves evidence if nothing else is said.
func EvidenceFolder(dir string) string { return filepath.Join(dir, evidenceDir) }

// Extract writes packets to w as pcapng, in the order in which they were recorded, with the evidence as comments. Application
// is named in the file; bound is the most bytes of packets, 0: all. Rest is called after some work and may wait; an error of
// its ends the extraction.
func (f *Folder) Extract(w io.Writer, asked Asked, application string, bound uint64, rest func() error) (x Extracted, err error) {
	var q Query
	about := ""
	var notes map[uint64][]string
	switch {
	case asked.ID != "":
		found := false
		err := f.Journal(func(e *Entry) { // the last word on it
			if e.ID != asked.ID {
				return
			}
			found, q, notes = true, e.Query(), e.Comments()
			if e.Finding != nil {
				about = fmt.Sprintf("finding %s: %s", e.ID, e.Finding.Msg)
			} else if e.Incident != nil {
				about = fmt.Sprintf("incident %s: %s", e.ID, e.Incident.Summary)
			}
		})
		if err != nil {
			return x, err
		}
		if !found {
			return x, ErrUnknown
		}
	case asked.UID != "":
		q.UIDs, about = []string{asked.UID}, "flow "+asked.UID
	case asked.Community != "":
		q.Communities, about = []string{asked.Community}, "flow "+asked.Community
	default:
		return x, ErrUnknown
	}
	r := f.Search(&q, nil)
	defer r.Close()
	var out *capture.PcapngWriter
	var b capture.Batch
	size := uint64(0)
	for r.ReadBatch(&b) == nil && !x.Cut {
		for i := range b.Frames {
			frame := &b.Frames[i]
			if size += uint64(len(frame.Data)) + 64; bound > 0 && size > bound {
				x.Cut = true
				break
			}
			if out == nil {
				if out, err = capture.NewPcapngWriter(w, application, terminal.Clean(about)); err != nil {
					return x, err
				}
			}
			comment := strings.Join(notes[frame.Ordinal], "\n")
			if comment != "" {
				comment += fmt.Sprintf("\npacket %d of the capture", frame.Ordinal)
			}
			if err := out.Write(frame, comment); err != nil {
				return x, err
			}
		}
		if err := rest(); err != nil {
			return x, err
		}
	}
	if x.Told = r.Told; out == nil {
		return x, ErrUnknown
	}
	x.Packets = out.Frames()
	return x, nil
}
