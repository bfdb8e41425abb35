package logs

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
)

const (
	// The longest line that is read; a row of ours stays below 100 kB.
	maxLine = 4 << 20
	// Memory that a compressed log may ask for.
	maxWindow = 64 << 20
	// How often the folder of a sensor is listed again because it rotates meanwhile.
	maxLists = 5
	// A file is left out by its name only if it is older than asked for by more than clocks and time zones are apart.
	slackTime = capture.Time(25 * time.Hour)

	currentDir = "current"
	dayForm    = "2006-01-02"
	clockForm  = "15:04:05"
	stampForm  = "2006-01-02-15-04-05"
)

// File is one log of a folder.
type File struct {
	Log  string // "conn"
	Path string
	dir  string       // the folder that was asked for
	when string       // for the order
	end  capture.Time // when the last row was written, by the name; 0: it does not say
	info fs.FileInfo
	live *os.File // it is being written to, and held since before the archive was listed
}

// Options say which rows of which folders. The zero value takes all.
type Options struct{ Since, Until capture.Time }

// Folder is the logs of one or several folders, to be read as one: of a run, or of a sensor with its days, rotated files
// in all forms, and those that are being written. It belongs to one goroutine.
type Folder struct {
	Damaged uint64 // lines so far that could not be read

	opt    Options
	dirs   []string
	files  []File
	before uint64 // files that were left out for their age
	unread []string
	held   []*os.File
}

// fileName matches conn.log, the rotated conn.17:00:00-18:00:00.log and conn.2026-11-23-17-00-00.log, compressed or not.
var fileName = regexp.MustCompile(`^([a-z][a-z0-9_]*)((?:\.[0-9][^/]*?)?)\.log(?:\.(gz|zst))?$`)

// looksLike matches what may well be a log, or many, in a form that is not known here: conn.log.1, notice.log.xz,
// 2026-11-23.tar.gz.
var looksLike = regexp.MustCompile(`^[^.].*\.log\b|^\d{4}-\d\d-\d\d.`)

// spanOf matches the times in the name of a rotated file.
var spanOf = regexp.MustCompile(`^\.(\d\d:\d\d:\d\d)-(\d\d:\d\d:\d\d)`)

// Open lists the logs in folders. That a folder cannot be listed is an error; of everything below it Unread tells.
func Open(opt Options, dirs ...string) (*Folder, error) {
	f := &Folder{opt: opt}
	var seen []fs.FileInfo
	for _, dir := range dirs {
		info, err := os.Stat(dir)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", dir)
		}
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("logs: %w", err)
		}
		if slices.ContainsFunc(seen, func(i fs.FileInfo) bool { return os.SameFile(i, info) }) {
			continue // named twice
		}
		seen, f.dirs = append(seen, info), append(f.dirs, dir)
		if err := f.list(dir); err != nil {
			f.Close()
			return nil, fmt.Errorf("logs: %w", err)
		}
	}
	slices.SortStableFunc(f.files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Log, b.Log), cmp.Compare(a.when, b.when))
	})
	return f, nil
}

// list takes down what is in a folder. The running files are opened first: a rotation meanwhile takes their names away,
// and not what is in them.
func (f *Folder) list(dir string) error {
	for range maxLists {
		var files []File
		var unread []string
		live, lost, err := f.scan(filepath.Join(dir, currentDir), "", true)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			unread = append(unread, trouble(filepath.Join(dir, currentDir), err))
		}
		unread = append(unread, lost...)
		files = append(files, live...)
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		top, lost, err := f.scan(dir, filepath.Base(abs), false)
		if err != nil {
			return err
		}
		files, unread = append(files, top...), append(unread, lost...)
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if _, err := time.Parse(dayForm, e.Name()); err != nil {
				continue
			}
			if !e.IsDir() { // a link may lead anywhere
				unread = append(unread, path+" is not a folder, and not read")
				continue
			}
			day, lost, err := f.scan(path, e.Name(), false)
			if errors.Is(err, fs.ErrNotExist) {
				continue // its last file went while we looked
			} else if err != nil {
				unread = append(unread, trouble(path, err))
			}
			files, unread = append(files, day...), append(unread, lost...)
		}
		moved := false
		for _, l := range live {
			there, err := os.Lstat(l.Path)
			moved = moved || err != nil || !os.SameFile(there, l.info)
		}
		if !moved {
			for i := range files {
				files[i].dir = dir
			}
			f.files, f.unread = append(f.files, files...), append(f.unread, unread...)
			return nil
		}
		for _, l := range live {
			l.live.Close()
		}
		f.held = slices.DeleteFunc(f.held, func(h *os.File) bool {
			return slices.ContainsFunc(live, func(l File) bool { return l.live == h })
		})
	}
	return fmt.Errorf("%s changes faster than it can be listed", dir)
}

// scan lists one folder; day is its name, if that may say of which day its files are.
func (f *Folder) scan(dir, day string, live bool) (files []File, unread []string, err error) {
	if info, err := os.Lstat(dir); err != nil {
		return nil, nil, err
	} else if live && !info.IsDir() {
		return nil, nil, errors.New("is not a folder") // a link may lead anywhere
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	plain := map[string]bool{}
	for _, e := range entries {
		plain[e.Name()] = true
	}
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(dir, e.Name())
		m := fileName.FindStringSubmatch(name)
		switch {
		case e.IsDir():
			continue
		case m == nil:
			if looksLike.MatchString(name) {
				unread = append(unread, path+" is in a form that raytap does not read")
			}
			continue
		case m[3] != "" && plain[strings.TrimSuffix(name, "."+m[3])]:
			continue // it was compressed a moment ago, and the plain one goes now
		}
		l := File{Log: m[1], Path: path}
		l.when, l.end = when(day, m[2])
		if l.info, err = e.Info(); errors.Is(err, fs.ErrNotExist) {
			if live || m[3] != "" {
				continue
			}
			// Compressed between the two looks; Read finds it.
		} else if err != nil {
			unread = append(unread, trouble(path, err))
			continue
		}
		if live {
			file, err := disk.Read(path)
			if err == nil {
				f.held = append(f.held, file)
				l.live = file
				l.info, err = file.Stat()
			}
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				unread = append(unread, trouble(path, err))
				continue
			}
		} else if f.old(&l) {
			f.before++
			continue
		}
		files = append(files, l)
	}
	return files, unread, nil
}

// old says whether no row of a file can be of the time that is asked for. Its name and its date must both say so: either
// may be wrong after a copy.
func (f *Folder) old(l *File) bool {
	bound := f.opt.Since - slackTime
	return f.opt.Since != 0 && l.end != 0 && l.end < bound && l.info != nil && capture.Time(l.info.ModTime().UnixNano()) < bound
}

// when takes the times in a name apart: what sorts files in the order in which they were begun, and when the last row was
// written.
func when(day, stamp string) (order string, end capture.Time) {
	_, err := time.Parse(dayForm, day)
	if err != nil {
		day = ""
	}
	if stamp == "" {
		return day + "~", 0 // the one that is written last, behind every digit
	}
	if m := spanOf.FindStringSubmatch(stamp); m != nil && day != "" {
		from, e1 := time.Parse(dayForm+clockForm, day+m[1])
		to, e2 := time.Parse(dayForm+clockForm, day+m[2])
		if e1 == nil && e2 == nil {
			if !to.After(from) {
				to = to.AddDate(0, 0, 1)
			}
			return from.Format(stampForm) + stamp, capture.Time(to.UnixNano())
		}
	}
	return strings.TrimPrefix(stamp, "."), 0
}

func trouble(path string, err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	var foreign *disk.Foreign
	if errors.As(err, &foreign) {
		return foreign.Error() + ", and not read"
	}
	return path + " cannot be read: " + err.Error()
}

// Logs lists the logs that are there, by name.
func (f *Folder) Logs() (all []string) {
	for i := range f.files {
		if n := f.files[i].Log; len(all) == 0 || all[len(all)-1] != n {
			all = append(all, n)
		}
	}
	return all
}

// Running says whether there are files that are being written to, or were when a sensor was killed.
func (f *Folder) Running() bool { return len(f.held) > 0 }

// Unread says in sentences what of the folders was not read, so far, and may hold what is looked for; nil: nothing.
func (f *Folder) Unread() []string { return f.unread }

// Before is how many files were left out because all that is in them is older than asked for.
func (f *Folder) Before() uint64 { return f.before }

// Read calls fn for each row of a log, in the order of the files. What cannot be read is left out, and in Unread.
func (f *Folder) Read(log string, fn func(*Row)) {
	for i := range f.files {
		if f.files[i].Log == log {
			f.read(&f.files[i], fn)
		}
	}
}

// Rotated is Read without the files that are being written, for who follows these.
func (f *Folder) Rotated(log string, fn func(*Row)) {
	for i := range f.files {
		if l := &f.files[i]; l.Log == log && l.live == nil && !l.running() {
			f.read(l, fn)
		}
	}
}

// running says whether it is the file of a run that has no archive.
func (l *File) running() bool {
	return filepath.Base(l.Path) == l.Log+".log" && filepath.Dir(l.Path) == filepath.Clean(l.dir)
}

// Follow makes a Follower for the running file of a log in each folder, which begins with what is in there now.
func (f *Folder) Follow(log string) (all []*Follower) {
	for _, dir := range f.dirs {
		w := Follow(log, filepath.Join(dir, currentDir, log+".log"), filepath.Join(dir, log+".log"))
		for i := range f.files {
			if l := &f.files[i]; l.Log == log && l.dir == dir && l.live != nil {
				w.file, w.name = l.live, l.Path
				f.held = slices.DeleteFunc(f.held, func(h *os.File) bool { return h == l.live })
			}
		}
		all = append(all, w)
	}
	return all
}

// Close lets go of the files.
func (f *Folder) Close() {
	for _, h := range f.held {
		h.Close()
	}
	f.held = nil
}

func (f *Folder) read(l *File, fn func(*Row)) {
	damaged, rows, err := l.rows(func(r *Row) {
		if f.Wants(r) {
			r.Dir = l.dir
			fn(r)
		}
	})
	f.Damaged += damaged
	switch {
	case err == nil && damaged > 0:
		f.say("%s: %s could not be read", l.Path, lines(damaged))
	case errors.Is(err, fs.ErrNotExist):
		f.say("%s was deleted before it could be read", l.Path)
	case err != nil && rows > 0:
		f.say("%s is damaged: only its first %d rows could be read (%v)", l.Path, rows, err)
	case err != nil:
		f.say("%s", trouble(l.Path, err))
	}
}

func lines(n uint64) string {
	if n == 1 {
		return "1 line"
	}
	return fmt.Sprintf("%d lines", n)
}

// say takes down what could not be read, once: a log may be read several times.
func (f *Folder) say(format string, a ...any) {
	if s := fmt.Sprintf(format, a...); !slices.Contains(f.unread, s) {
		f.unread = append(f.unread, s)
	}
}

// Wants says whether a row is of the time that is asked for: what it tells of has not ended before, nor begun later.
func (f *Folder) Wants(r *Row) bool {
	if f.opt.Since == 0 && f.opt.Until == 0 {
		return true
	}
	from := r.Time("ts")
	to := from
	switch r.Log {
	case "conn":
		to = from + r.Time("duration")
	case "incidents":
		from = r.Time("first")
		to = max(r.Time("last"), from)
	}
	return to >= f.opt.Since && (f.opt.Until == 0 || from <= f.opt.Until)
}

// open opens a file, or what it was compressed to meanwhile.
func (l *File) open() (*os.File, string, error) {
	file, err := disk.Read(l.Path)
	if errors.Is(err, fs.ErrNotExist) && filepath.Ext(l.Path) == ".log" {
		for _, ext := range [...]string{".gz", ".zst"} {
			if file, err := disk.Read(l.Path + ext); err == nil {
				return file, l.Path + ext, nil
			}
		}
	}
	return file, l.Path, err
}

// rows calls fn for each row, and says how many lines were damaged and how many rows there were.
func (l *File) rows(fn func(*Row)) (damaged, rows uint64, err error) {
	var r io.Reader
	name := l.Path
	if l.live != nil {
		r = io.NewSectionReader(l.live, 0, 1<<62)
	} else {
		var file *os.File
		if file, name, err = l.open(); err != nil {
			return 0, 0, err
		}
		defer file.Close()
		r = file
		if info, err := file.Stat(); err == nil && info.Size() == 0 && !l.running() {
			return 0, 0, errors.New("it is empty")
		}
	}
	switch filepath.Ext(name) {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReader(r))
		if err != nil {
			return 0, 0, err
		}
		r = z
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
		if err != nil {
			return 0, 0, err
		}
		defer z.Close()
		r = z
	}
	p := Parser{Log: l.Log}
	text := bufio.NewReaderSize(r, 256<<10)
	for {
		line, tooLong, err := readLine(text)
		if err != nil && !errors.Is(err, io.EOF) {
			return damaged, rows, err
		}
		if err != nil && l.live != nil {
			return damaged, rows, nil // the rest of this row is on its way
		}
		if tooLong {
			damaged++
		} else if row, bad := p.Line(line); bad != nil {
			damaged++
		} else if row != nil {
			rows++
			fn(row)
		}
		if err != nil {
			return damaged, rows, nil
		}
	}
}

// readLine gives the next line without its end; io.EOF comes with the last. It is valid until the next call.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	var long []byte
	for {
		part, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if len(long)+len(part) > maxLine {
				long, tooLong = nil, true
			}
			if !tooLong {
				long = append(long, part...)
			}
			continue
		}
		if n := len(part); n > 0 && part[n-1] == '\n' {
			part = part[:n-1]
		}
		if tooLong {
			return nil, true, err
		}
		if long != nil {
			part = append(long, part...)
		}
		return part, false, err
	}
}
