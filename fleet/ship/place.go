package ship

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raytap/raytap/sinks/disk"
)

// placeFile is the name of the file that says how far the logs of a folder were sent, to a transport of that kind.
func placeFile(kind string) string { return ".raytap.publish." + kind }

const (
	// A journal that is longer is written again with what still holds.
	maxJournal = 1 << 20
	// Files of a log that are known to the journal as sent to their end, by what they begin with, until their name in the
	// archive is known.
	maxEnded = 64
	// A line of the journal.
	maxEntry = 64 << 10
)

// generation is one file of a log, whatever its name is by now.
type generation struct {
	Gen    uint64 `json:"gen"`
	Head   uint64 `json:"head"`   // sum over its first bytes
	HeadN  int64  `json:"head_n"` // how many
	Inode  uint64 `json:"inode,omitempty"`
	Offset int64  `json:"offset"`         // up to where it was sent; bytes before compression
	Last   uint64 `json:"last,omitempty"` // sum over the line that ends there
	LastN  int64  `json:"last_n,omitempty"`
	Whole  bool   `json:"whole,omitempty"` // there was nothing behind it
	Ended  bool   `json:"ended,omitempty"` // nothing more comes

	// What was read, and is on its way: of Offset, Last, LastN, Whole and Ended once it has arrived.
	read      int64
	readLast  uint64
	readLastN int64
	whole     bool
	over      bool
}

// ahead has reading go on where sending is.
func (g *generation) ahead() {
	g.read, g.readLast, g.readLastN, g.whole, g.over = g.Offset, g.Last, g.LastN, g.Whole, g.Ended
}

// arrived is what holds of it when all that was read has arrived.
func (g *generation) arrived() *generation {
	return &generation{Gen: g.Gen, Head: g.Head, HeadN: g.HeadN, Inode: g.Inode, Offset: g.read, Last: g.readLast, LastN: g.readLastN, Whole: g.whole, Ended: g.over}
}

// Lost is files that were deleted before they were sent.
type Lost struct {
	Files uint64 `json:"files"`
	Bytes uint64 `json:"bytes"` // on the disk, as far as is known
}

// entry is a line of the journal. Each replaces what an earlier one says of the same.
type entry struct {
	// The first line.
	Version int       `json:"version,omitempty"`
	Sensor  string    `json:"sensor,omitempty"`
	Made    time.Time `json:"made,omitzero"`
	First   uint64    `json:"first,omitempty"` // generation that the next begin with

	// How far files are sent.
	Log string      `json:"log,omitempty"`
	At  *generation `json:"at,omitempty"`

	// A file of the archive was sent to its end, or is to be left out: its name without what compression adds.
	Done string `json:"done,omitempty"`

	// What was deleted before it was sent, since the beginning.
	Lost *Lost `json:"lost,omitempty"`

	// A batch is about to be committed elsewhere: what holds once it is. Settled entries take it back.
	Prepared string  `json:"prepared,omitempty"`
	Batch    []entry `json:"batch,omitempty"`
	Settled  bool    `json:"settled,omitempty"`
}

// places is the journal of a folder: how far each log was sent. An entry counts when it is on the disk with a right sum, so
// that a crash in the middle of one takes that one back and no other.
type places struct {
	path   string
	modes  disk.Modes
	file   *os.File
	size   int64
	sensor string
	made   time.Time
	first  uint64            // generation of the first file of a log
	next   map[string]uint64 // and of each log's next
	logs   map[string][]*generation
	done   map[string]bool
	lost   Lost
	// A batch that was prepared and not settled.
	prepared string
	batch    []entry
	failing  error
}

// openPlaces reads the journal of a folder, or begins one. fresh says that there was none.
func openPlaces(dir, kind, sensor string, modes disk.Modes, now time.Time) (p *places, fresh bool, err error) {
	p = &places{path: filepath.Join(dir, placeFile(kind)), modes: modes, sensor: sensor, next: map[string]uint64{}, logs: map[string][]*generation{}, done: map[string]bool{}}
	f, err := modes.Open(p.path, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		p.made, p.first = now, uint64(max(now.UnixMilli(), 1))
		return p, true, p.rewrite()
	}
	if err != nil {
		return nil, false, fmt.Errorf("ship: the place of what was sent: %w", err)
	}
	if err := disk.Lock(f); err != nil {
		f.Close()
		return nil, false, fmt.Errorf("ship: the logs of %s are published by another process: %w", dir, err)
	}
	end, err := p.read(f)
	if err != nil {
		f.Close()
		return nil, false, fmt.Errorf("ship: %s: %w", p.path, err)
	}
	if p.first == 0 { // nothing of it can be read, as after a power cut at its beginning
		f.Close()
		p.made, p.first = now, uint64(max(now.UnixMilli(), 1))
		return p, true, p.rewrite()
	}
	if err := f.Truncate(end); err != nil {
		f.Close()
		return nil, false, fmt.Errorf("ship: %w", err)
	}
	p.file, p.size = f, end
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		f.Close()
		return nil, false, fmt.Errorf("ship: %w", err)
	}
	return p, false, nil
}

// readPlaces reads a journal that another process may be writing to.
func readPlaces(dir, kind string) (*places, error) {
	p := &places{path: filepath.Join(dir, placeFile(kind)), next: map[string]uint64{}, logs: map[string][]*generation{}, done: map[string]bool{}}
	f, err := disk.Read(p.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_, err = p.read(f)
	return p, err
}

// read applies entries up to the first that is not whole, and says where that begins.
func (p *places) read(f *os.File) (end int64, err error) {
	r := bufio.NewReaderSize(f, maxEntry)
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return end, err
		}
		body, ok := unseal(line)
		var e entry
		if !ok || json.Unmarshal(body, &e) != nil {
			return end, nil
		}
		p.apply(&e)
		end += int64(len(line))
	}
}

// seal is a line: a sum over the text, a blank, the text.
func seal(body []byte) []byte {
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(body), body)
}

func unseal(line []byte) ([]byte, bool) {
	line, ok := bytes.CutSuffix(line, []byte{'\n'})
	if !ok || len(line) < 10 || line[8] != ' ' {
		return nil, false
	}
	return line[9:], fmt.Sprintf("%08x", crc32.ChecksumIEEE(line[9:])) == string(line[:8])
}

// apply takes an entry into what is known.
func (p *places) apply(e *entry) {
	switch {
	case e.Version > 0:
		p.made, p.first = e.Made, e.First
		if p.sensor == "" {
			p.sensor = e.Sensor
		}
	case e.At != nil:
		p.next[e.Log] = max(p.next[e.Log], e.At.Gen+1)
		all := p.logs[e.Log]
		for _, g := range all {
			if g.Gen == e.At.Gen {
				g.Offset, g.Last, g.LastN, g.Whole, g.Ended = e.At.Offset, e.At.Last, e.At.LastN, e.At.Whole, e.At.Ended
				g.ahead()
				return
			}
		}
		g := e.At
		g.ahead()
		all = append(all, g)
		for ended := 0; len(all) > maxEnded && ended < len(all); {
			if !all[ended].Ended {
				ended++
				continue
			}
			all = append(all[:ended], all[ended+1:]...)
		}
		p.logs[e.Log] = all
	case e.Lost != nil:
		p.lost = *e.Lost
	case e.Done != "":
		p.done[e.Done] = true
	case e.Prepared != "":
		p.prepared, p.batch = e.Prepared, e.Batch
	case e.Settled:
		p.prepared, p.batch = "", nil
	}
}

// begin gives a file of a log its generation.
func (p *places) begin(log string, head uint64, n int64, inode uint64) (*generation, error) {
	g := &generation{Gen: max(p.first, p.next[log]), Head: head, HeadN: n, Inode: inode}
	return g, p.write(entry{Log: log, At: g})
}

// find returns what is known of a file that begins so; nil: nothing.
func (p *places) find(log string, head uint64, n int64) *generation {
	all := p.logs[log]
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Head == head && all[i].HeadN == n {
			return all[i]
		}
	}
	return nil
}

// write appends entries, puts them on the disk and applies them. They are applied even if that fails: what was sent was sent,
// and the ids of rows make up for it if it is sent again.
func (p *places) write(all ...entry) error {
	var b []byte
	for i := range all {
		body, err := json.Marshal(&all[i])
		if err != nil {
			return fmt.Errorf("ship: %w", err)
		}
		b = append(b, seal(body)...)
		p.apply(&all[i])
	}
	if len(b) == 0 {
		return nil
	}
	if p.size+int64(len(b)) > maxJournal || p.file == nil {
		p.failing = p.rewrite()
		return p.failing
	}
	n, err := p.file.Write(b)
	if err == nil {
		err = p.file.Sync()
	}
	if err != nil {
		if n > 0 { // what follows half an entry would not be read
			p.file.Truncate(p.size)
			p.file.Seek(p.size, io.SeekStart)
		}
		p.failing = fmt.Errorf("ship: the place of what was sent cannot be kept: %w", err)
		return p.failing
	}
	p.size += int64(len(b))
	p.failing = nil
	return nil
}

// rewrite replaces the journal by one with what holds. The next takes its place when it is whole and on the disk.
func (p *places) rewrite() error {
	all := []entry{{Version: 1, Sensor: p.sensor, Made: p.made, First: p.first}}
	for log, gens := range p.logs {
		for _, g := range gens {
			all = append(all, entry{Log: log, At: g})
		}
	}
	if p.lost != (Lost{}) {
		all = append(all, entry{Lost: &p.lost})
	}
	for name := range p.done {
		all = append(all, entry{Done: name})
	}
	if p.prepared != "" {
		all = append(all, entry{Prepared: p.prepared, Batch: p.batch})
	}
	tmp := p.path + ".new"
	f, err := p.modes.Renew(tmp)
	if err != nil {
		return fmt.Errorf("ship: the place of what was sent cannot be kept: %w", err)
	}
	fail := func(err error) error {
		f.Close()
		os.Remove(tmp)
		return fmt.Errorf("ship: the place of what was sent cannot be kept: %w", err)
	}
	w := bufio.NewWriter(f)
	n := int64(0)
	for i := range all {
		body, err := json.Marshal(&all[i])
		if err != nil {
			return fail(err)
		}
		m, _ := w.Write(seal(body))
		n += int64(m)
	}
	if err := w.Flush(); err != nil {
		return fail(err)
	}
	if err := f.Sync(); err != nil {
		return fail(err)
	}
	if err := disk.Lock(f); err != nil {
		return fail(err)
	}
	if err := os.Rename(tmp, p.path); err != nil {
		return fail(err)
	}
	syncDir(filepath.Dir(p.path))
	if p.file != nil {
		p.file.Close()
	}
	p.file, p.size = f, n
	return nil
}

// syncDir puts a folder's names on the disk. Some file systems cannot, and need not.
func syncDir(dir string) {
	if d, err := os.Open(dir); err == nil {
		d.Sync()
		d.Close()
	}
}

// forget drops the names of files that are gone.
func (p *places) forget(log string, there map[string]bool) {
	for name := range p.done {
		if logOf(name) == log && !there[name] {
			delete(p.done, name)
		}
	}
}

// logOf is the log of a name as done has it: "2026-11-23/conn.17:00:00-18:00:00.log".
func logOf(name string) string {
	log, _, _ := strings.Cut(filepath.Base(name), ".")
	return log
}

func (p *places) close() {
	if p.file != nil {
		p.file.Close()
	}
}
