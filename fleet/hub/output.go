package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raytap/raytap/fleet/store"
	"github.com/raytap/raytap/sinks/disk"
)

// The log of a hub is files of JSON lines in a folder: notice.log, incidents.log, assets.log. A row is that of the sensor or of
// joining, as it came, with two members more: _sensors, all that saw it, and _seq, the message of the stream that it is of. Rows
// are in the order of _seq in all files. A day's files are renamed when the next day begins: notice.2026-11-30.log.
type logFiles struct {
	dir   string
	keep  time.Duration
	files map[string]*logFile
	last  map[string]uint64 // by log, the highest _seq of what is written
	now   func() time.Time
}

type logFile struct {
	f   *os.File
	day string
}

const dayForm = "2006-01-02"

var logNames = [...]string{"notice", "incidents", "assets"}

func openLogs(dir string, keep time.Duration) (*logFiles, error) {
	l := &logFiles{dir: dir, keep: keep, files: map[string]*logFile{}, last: map[string]uint64{}, now: time.Now}
	if err := disk.Default().Folder(dir); err != nil {
		return nil, fmt.Errorf("hub: log: %w", err)
	}
	for _, name := range logNames {
		seq, err := lastSeq(filepath.Join(dir, name+".log"))
		if err != nil {
			return nil, fmt.Errorf("hub: log: %w", err)
		}
		l.last[name] = seq
	}
	return l, nil
}

// lastSeq returns the _seq of the last whole row, and cuts off a row that a crash left unfinished.
func lastSeq(path string) (uint64, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	// Rows are bounded by messages of the stream, which have some members more here.
	from := max(0, size-2*maxPayload)
	b := make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
		return 0, err
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	if int64(end) != size-from {
		if err := f.Truncate(from + int64(end)); err != nil {
			return 0, err
		}
	}
	if end == 0 {
		return 0, nil
	}
	line := b[bytes.LastIndexByte(b[:end-1], '\n')+1 : end]
	var x struct {
		Seq uint64 `json:"_seq"`
	}
	if err := json.Unmarshal(line, &x); err != nil {
		return 0, fmt.Errorf("%s: its last row was not written by a hub", path)
	}
	return x.Seq, nil
}

// write adds changes. Those of a sequence that is written already are left out.
func (l *logFiles) write(all []store.Change) error {
	buf := map[string]*bytes.Buffer{}
	for _, c := range all {
		if c.Seq <= l.last[c.Kind] {
			continue
		}
		b := buf[c.Kind]
		if b == nil {
			b = &bytes.Buffer{}
			buf[c.Kind] = b
		}
		b.Write(bytes.TrimSuffix(bytes.TrimSpace(c.Body), []byte("}")))
		fmt.Fprintf(b, `,"_sensors":%s,"_seq":%d}`+"\n", c.Sensors, c.Seq)
	}
	for _, name := range logNames {
		if b := buf[name]; b != nil {
			if err := l.append(name, b.Bytes()); err != nil {
				return fmt.Errorf("hub: log: %w", err)
			}
			l.last[name] = all[len(all)-1].Seq // of one sequence all rows are here
		}
	}
	return nil
}

func (l *logFiles) append(name string, b []byte) error {
	day := l.now().UTC().Format(dayForm)
	x := l.files[name]
	if x != nil && x.day != day {
		x.f.Close()
		x = nil
	}
	path := filepath.Join(l.dir, name+".log")
	if x == nil {
		if st, err := os.Stat(path); err == nil {
			if was := st.ModTime().UTC().Format(dayForm); was != day {
				if err := os.Rename(path, filepath.Join(l.dir, name+"."+was+".log")); err != nil {
					return err
				}
			}
		}
		f, err := disk.Default().Open(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND)
		if err != nil {
			return err
		}
		x = &logFile{f, day}
		l.files[name] = x
		l.expire(name)
	}
	size, err := x.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := x.f.Write(b); err != nil { // a full disk: no half row stays, and no row twice
		return errors.Join(err, x.f.Truncate(size))
	}
	return nil
}

// expire deletes files of days that are older than is kept.
func (l *logFiles) expire(name string) {
	if l.keep <= 0 {
		return
	}
	old := l.now().UTC().Add(-l.keep).Format(dayForm)
	entries, _ := filepath.Glob(filepath.Join(l.dir, name+".????-??-??.log"))
	for _, path := range entries {
		if day := strings.Split(filepath.Base(path), ".")[1]; day < old {
			os.Remove(path)
		}
	}
}

func (l *logFiles) close() error {
	var all error
	for _, x := range l.files {
		all = errors.Join(all, x.f.Close())
	}
	return all
}
