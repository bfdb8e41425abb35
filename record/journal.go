package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/disk"
)

// The folder has a journal of what was found, a JSON object a line, so that the packets of a finding are known by its id
// alone, without the logs and without detecting anything again.
const (
	journalName = "raytap-findings.jsonl"
	oldTail     = ".1"
	// A journal of that size becomes the old one; the one before is deleted.
	maxJournal = 16 << 20
	// A line is longer only if it is damaged.
	maxEntry = 1 << 20
)

// Entry is what the journal knows of a finding or an incident. Of the finding's flow it has the names.
type Entry struct {
	Run      uint64              `json:"run"` // of which the ordinals are
	ID       string              `json:"id"`
	UID      string              `json:"uid,omitempty"`
	File     string              `json:"file,omitempty"`
	Finding  *detectors.Finding  `json:"finding,omitempty"`
	Incident *detectors.Incident `json:"incident,omitempty"`
}

type journal struct {
	path string
	f    *os.File
	size int64
}

func newJournal(dir string) *journal { return &journal{path: filepath.Join(dir, journalName)} }

func (j *journal) add(e *Entry) error {
	b, err := json.Marshal(e)
	if err != nil || len(b) >= maxEntry {
		return errors.Join(err, errors.New("record: a finding that has no place in the journal"))
	}
	if j.f != nil && removed(j.f) {
		j.close()
	}
	if j.f == nil {
		if j.f, err = disk.Private().Open(j.path, os.O_CREATE|os.O_RDWR|os.O_APPEND); err != nil {
			return err
		}
		info, err := j.f.Stat()
		if err != nil {
			return err
		}
		j.size = info.Size()
		last := []byte{'\n'}
		if j.size > 0 {
			if _, err := j.f.ReadAt(last, j.size-1); err != nil {
				return err
			}
		}
		if last[0] != '\n' { // a run was killed here
			b = append([]byte{'\n'}, b...)
		}
	}
	n, err := j.f.Write(append(b, '\n'))
	if err != nil {
		j.f.Truncate(j.size)
		return err
	}
	if j.size += int64(n); j.size > maxJournal {
		j.close()
		return os.Rename(j.path, j.path+oldTail)
	}
	return nil
}

func (j *journal) close() {
	if j.f != nil {
		j.f.Close()
		j.f = nil
	}
}

// readJournal calls fn for every entry, the oldest first.
func readJournal(dir string, fn func(*Entry)) error {
	for _, tail := range [...]string{oldTail, ""} {
		f, err := disk.Read(filepath.Join(dir, journalName+tail))
		if err != nil {
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			return err
		}
		r := bufio.NewReaderSize(f, maxEntry)
		for {
			line, err := r.ReadSlice('\n')
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			var e Entry
			if json.Unmarshal(bytes.TrimSpace(line), &e) == nil && e.ID != "" {
				fn(&e)
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					f.Close()
					return err
				}
				break
			}
		}
		f.Close()
	}
	return nil
}
