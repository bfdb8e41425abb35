// Package zeek writes log files as Zeek does, so that zeek-cut, RITA, Zui, Filebeat and the like read them.
//
// In: events that are log rows (capture.Record), findings (*detectors.Finding) and what becomes of these
// (*detectors.Update), in the order in which they are to
// stand in the files. Out: DIR/conn.log, DIR/http.log and so on, one for each kind of row that occurs, each created
// with its first row; findings become rows of notice.log. Two forms: Zeek's tab-separated text with its header, and
// its JSON, one object a line. Events of other types are ignored.
//
// The bytes are those of Zeek 9.1 for the same values, with these differences that are meant:
//   - #open and #close give packet time, not the clock of the machine: two runs over one capture are byte-identical.
//   - Times are cut to microseconds, as Zeek's are, but an interval is rounded to the nearest microsecond in both
//     forms, where Zeek's JSON shows the noise of subtracting two doubles (0.0074079036712646484).
//   - The elements of a set stand in the order in which they were given.
//   - In logs that Zeek does not have, and in notice.log and weird.log, a # in text is written \x23.
//
// A file that cannot be written to is given up: what else it would have got is counted, and Close says so.
//
// It does not see the run: losses and totals are a row of stats.log that the engine sends, and whether the
// input was read to its end is not noted here.
//
// That is Sink, for a capture that has an end. Live is for a sensor: the same rows in files that rotate, are
// compressed and deleted, and that outlast full disks, kills and clocks.
package zeek

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
)

// The forms that Options.Format takes.
const (
	TSV  = "zeek"
	JSON = "json"
)

const (
	// Text of a log that is held before it is written: at the 200 bytes of a row, a system call for 600 rows.
	flushAt = 128 << 10
	// A buffer that one enormous row made larger than this is not kept.
	keepBuffer = 1 << 20
)

// Options say how to write. The zero value writes tab-separated text.
type Options struct {
	Format string           // TSV (also "") or JSON
	Rules  []detectors.Rule // for the note and the techniques of a finding's row
	Logs   []string         // only these; empty: all
	Mask   bool             // credentials also in Zeek's own logs
	Modes  disk.Modes       // permissions of files and folders; zero: disk.Default
	Peer   string           // the sensor's name, for peer_descr of notice.log; may be empty
	Force  bool             // New also replaces logs that raytap did not write
}

// wants says whether a log is to be written.
func (o *Options) wants(log string) bool { return len(o.Logs) == 0 || slices.Contains(o.Logs, log) }

// Sink writes logs. It belongs to one goroutine.
type Sink struct {
	dir    string
	opt    Options
	json   bool
	logs   map[string]*log
	byNum  [len(ours)]*log // of logs that rows came for by Formatted
	last   *log            // of the event before: most come in runs
	rules  map[string]*rule
	notice notice
	flows  flowTexts
	lock   *os.File
	closed bool
}

// log is one file.
type log struct {
	name    string
	off     bool // nobody wants it
	file    *os.File
	row     row
	text    *text
	rows    uint64
	pending uint64 // rows in text
	lost    uint64
	err     error
}

// row formats the columns of one row after the other into a text.
type row interface {
	capture.Fields
	begin()
	end()
}

// text is what was formatted and not written yet.
type text struct {
	b     []byte
	start int // of the row at hand
	mask  masks
	clean bool // what is no text for people is shown as escapes
}

// masks says which credentials are masked in a log.
type masks uint8

const (
	maskNothing masks = iota
	maskText          // in what somebody wrote
	maskColumns       // likewise, and all of the columns that hold a login
)

// zeeks are the logs that Zeek has, too. They have what Zeek's have, unless Options.Mask says otherwise; of weird.log that
// is the names, and the rest is ours.
var zeeks = [...]string{"capture_loss", "conn", "dns", "files", "http", "socks", "ssl", "stats", "tunnel", "x509"}

// masks says what is masked in a log. In notice.log and incidents.log everything is before it comes here.
func (o *Options) masks(log string) masks {
	switch {
	case log == "notice" || log == "incidents" || log == "observations": // of the latter the text is compressed
		return maskNothing
	case o.Mask:
		return maskColumns
	case slices.Contains(zeeks[:], log):
		return maskNothing
	}
	return maskText
}

// plainHash reports whether a log has # as it is, as Zeek writes it. In those that are ours alone it is escaped: for many
// readers it begins a comment wherever it stands (comment='#' of pandas and DuckDB), and cuts the row off.
func plainHash(log string) bool {
	return log != "stats" && log != "capture_loss" && slices.Contains(zeeks[:], log)
}

// shown gives what is to be written of a column.
func (w *text) shown(column, v string) string {
	if w.mask == maskColumns {
		switch column {
		case "password":
			return "***"
		case "username", "user":
			if v != "" && v[0] < 0x80 {
				return v[:1] + "***"
			}
			return "***"
		}
	}
	if w.mask != maskNothing {
		v = secrets.Mask(v)
	}
	if w.clean {
		v = terminal.Clean(v)
	}
	return v
}

// shownAll is shown for a set or a vector.
func (w *text) shownAll(all []string) []string {
	if w.mask != maskNothing {
		all = secrets.MaskAll(all)
	}
	if w.clean {
		clean := make([]string, len(all))
		for i, s := range all {
			clean[i] = terminal.Clean(s)
		}
		all = clean
	}
	return all
}

// Logs lists the logs that there are.
func Logs() []string { return ours[:] }

// ours are the logs that the project writes. What an earlier run left of them is removed, so that no file speaks of
// another capture than its neighbours do.
var ours = [...]string{
	"assets",
	"capture_loss",
	"conn",
	"dns",
	"files",
	"grpc",
	"http",
	"incidents",
	"notice",
	"observations",
	"ray",
	"ray_grpc",
	"ray_redis",
	"socks",
	"ssl",
	"stats",
	"stratum",
	"tunnel",
	"weird",
	"x509",
}

// New makes a sink that writes to dir, which is created if need be. Logs that an earlier run left there are removed;
// other files stay, and a log of the same name that was not written by us, or has changed since, is an error. So is a
// folder that another sink writes to, and that of a sensor.
func New(dir string, opt Options) (*Sink, error) {
	s := &Sink{dir: dir, opt: opt, logs: map[string]*log{}, rules: rules(opt.Rules)}
	var err error
	if s.json, err = opt.json(); err != nil {
		return nil, err
	}
	if err := opt.Modes.Folder(dir); err != nil {
		return nil, fmt.Errorf("zeek: cannot make the log directory: %w", err)
	}
	// Better to say now that nothing can be written here than after an hour of reading.
	if s.lock, err = takeFolder(dir, opt.Modes); err != nil {
		return nil, fmt.Errorf("zeek: cannot write to the log directory: %w", err)
	}
	if err := s.clear(); err != nil {
		s.lock.Close()
		return nil, err
	}
	return s, nil
}

// clear removes what an earlier run wrote.
func (s *Sink) clear() error {
	if _, err := os.Lstat(filepath.Join(s.dir, currentDir)); err == nil && !s.opt.Force {
		return fmt.Errorf("zeek: %s is the folder of a sensor, whose logs would be read together with these: choose another folder, or --force", s.dir)
	}
	written := marks(s.lock)
	var old, foreign []string
	for _, name := range ours {
		name += ".log"
		info, err := os.Lstat(filepath.Join(s.dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("zeek: cannot replace an old log: %w", err)
		}
		size, ok := written[name]
		if old = append(old, name); !ok || size >= 0 && size != info.Size() || !info.Mode().IsRegular() {
			foreign = append(foreign, name)
		}
	}
	if len(foreign) > 0 && !s.opt.Force {
		return fmt.Errorf("zeek: %s in %s would be replaced, and raytap did not write that, or it has changed since: choose another folder, or --force",
			strings.Join(foreign, ", "), s.dir)
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("zeek: cannot replace an old log: %w", err)
		}
	}
	if err := s.mark(); err != nil {
		return fmt.Errorf("zeek: cannot write to the log directory: %w", err)
	}
	return nil
}

// mark takes down in the lock file which logs are ours, so that a later run knows what it may replace, and how long each
// is, once that is known.
func (s *Sink) mark() error {
	var b strings.Builder
	b.WriteString("# The logs in this folder that raytap wrote, and may replace.\n")
	for _, l := range s.sorted() {
		size := "-"
		if s.closed && l.file != nil {
			if info, err := os.Lstat(filepath.Join(s.dir, l.name+".log")); err == nil {
				size = strconv.FormatInt(info.Size(), 10)
			}
		}
		fmt.Fprintf(&b, "%s.log\t%s\n", l.name, size)
	}
	if _, err := s.lock.WriteAt([]byte(b.String()), 0); err != nil {
		return err
	}
	return s.lock.Truncate(int64(b.Len()))
}

// marks reads what mark wrote: the sizes of logs, -1 for one whose writer did not come to its end.
func marks(lock *os.File) map[string]int64 {
	const most = 64 << 10
	all := map[string]int64{}
	lines := bufio.NewScanner(io.NewSectionReader(lock, 0, most))
	for lines.Scan() {
		name, text, ok := strings.Cut(lines.Text(), "\t")
		if !ok {
			continue
		}
		all[name] = -1
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			all[name] = n
		}
	}
	return all
}

// takeFolder opens the lock file of a folder of logs and takes it.
func takeFolder(dir string, modes disk.Modes) (*os.File, error) {
	f, err := modes.Open(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return nil, err
	}
	if err := disk.Lock(f); err != nil {
		by := "another process"
		if pid := holder(f); pid > 0 {
			by = fmt.Sprintf("process %d", pid)
		}
		f.Close()
		return nil, fmt.Errorf("%s is in use by %s: %w", dir, by, err)
	}
	return f, nil
}

// json says which form is asked for.
func (o *Options) json() (bool, error) {
	switch o.Format {
	case "", TSV:
		return false, nil
	case JSON:
		return true, nil
	}
	return false, fmt.Errorf("zeek: unknown format %q (zeek, json)", o.Format)
}

// newRow makes what formats rows of a log, and the text that they get into. flows is what the logs of a sink share.
func newRow(log string, json bool, flows *flowTexts, m masks) (row, *text) {
	if json {
		w := &jsonRow{}
		w.mask = m
		return w, &w.text
	}
	w := &tsvRow{flows: flows, hash: plainHash(log)}
	w.mask = m
	return w, &w.text
}

// Event writes ev if it is a row or a finding.
func (s *Sink) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Update:
		s.Event(ev.Finding)
	case *detectors.Finding:
		s.notice.set(ev, s.rules[ev.Rule])
		s.notice.peer = s.opt.Peer
		s.write(&s.notice)
	case capture.Record:
		s.write(ev)
	}
}

func (s *Sink) write(r capture.Record) {
	l, name := s.last, r.Log()
	if l == nil || l.name != name {
		if l = s.logs[name]; l == nil {
			l = s.open(name, r)
		}
		s.last = l
	}
	if l.off {
		return
	}
	if l.err != nil || s.closed {
		l.lost++
		return
	}
	l.row.begin()
	r.Row(l.row)
	l.row.end()
	l.pending++
	if len(l.text.b) >= flushAt {
		l.flush()
	}
}

// Rows makes a formatter of rows for Formatted.
func (s *Sink) Rows() capture.RowFormatter { return &rows{opt: &s.opt, json: s.json} }

// Formatted writes a row that a formatter of Rows has made the text of.
func (s *Sink) Formatted(r capture.Record, num int, text []byte) {
	l := s.byNum[num]
	if l == nil {
		if l = s.logs[ours[num]]; l == nil {
			l = s.open(ours[num], r)
		}
		s.byNum[num] = l
	}
	if l.err != nil || s.closed {
		l.lost++
		return
	}
	l.text.b = append(l.text.b, text...)
	l.pending++
	if len(l.text.b) >= flushAt {
		l.flush()
	}
}

// open makes the file of a log and, in text form, its header, from what its first row says of itself.
func (s *Sink) open(name string, first capture.Record) *log {
	l := &log{name: name, off: !s.opt.wants(name)}
	l.row, l.text = newRow(name, s.json, &s.flows, s.opt.masks(name))
	s.logs[name] = l
	if l.off {
		return l
	}
	if l.err = s.mark(); l.err == nil {
		l.file, l.err = s.opt.Modes.Create(filepath.Join(s.dir, name+".log"))
	}
	if l.err == nil && !s.json {
		l.text.b = header(nil, name, first)
	}
	return l
}

// flush writes what is held. After an error the file has ended: what would follow a hole cannot be read anyway.
func (l *log) flush() {
	if l.err == nil && len(l.text.b) > 0 {
		if _, l.err = l.file.Write(l.text.b); l.err != nil {
			l.lost += l.pending
		} else {
			l.rows += l.pending
		}
		l.pending = 0
	}
	if cap(l.text.b) > keepBuffer {
		l.text.b = nil
	}
	l.text.b = l.text.b[:0]
}

// Flush writes what is held.
func (s *Sink) Flush() {
	for _, l := range s.logs {
		l.flush()
	}
}

// Lost is how many rows of all logs could not be written.
func (s *Sink) Lost() (n uint64) {
	for _, l := range s.logs {
		n += l.lost
	}
	return n
}

// Close writes what is held and closes the files; end is the time of the last packet. Its error has a line for
// each log that is not whole.
func (s *Sink) Close(end capture.Time) error {
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	for _, l := range s.sorted() {
		if !s.json && l.err == nil {
			l.text.b = append(l.text.b, "#close\t"...)
			l.text.b = append(stamp(l.text.b, end), '\n')
		}
		l.flush()
		if l.file != nil {
			if err := l.file.Close(); l.err == nil {
				l.err = err
			}
		}
		if l.err != nil {
			errs = append(errs, fmt.Errorf("zeek: %s.log is not whole, %d rows were lost: %w", l.name, l.lost, l.err))
		}
	}
	if err := errors.Join(s.mark(), s.lock.Close()); err != nil {
		errs = append(errs, fmt.Errorf("zeek: %w", err))
	}
	return errors.Join(errs...)
}

// Count is what became of the rows of one log.
type Count struct {
	Log        string
	Rows, Lost uint64
}

// Counts says for each log, by name, how many rows it got so far and how many could not be written.
func (s *Sink) Counts() []Count {
	var c []Count
	for _, l := range s.sorted() {
		c = append(c, Count{l.name, l.rows + l.pending, l.lost})
	}
	return c
}

func (s *Sink) sorted() []*log {
	all := make([]*log, 0, len(s.logs))
	for _, l := range s.logs {
		if !l.off {
			all = append(all, l)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	return all
}

// stamp appends t as #open and #close have it.
func stamp(b []byte, t capture.Time) []byte {
	return t.Std().AppendFormat(b, "2006-01-02-15-04-05")
}

// rounded gives the nearest whole microsecond.
func rounded(d time.Duration) int64 { return int64(d.Round(time.Microsecond) / time.Microsecond) }
