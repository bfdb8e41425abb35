// Package search finds rows in the logs of a sensor: rotated, compressed or being written, tab-separated or JSON.
//
// In: folders of logs as package logs lists them, a query, and limits. Out: rows as JSON, one object each with its log as
// _path, as soon as each is found; then how many there were, and why the rest was not looked at, if a limit was reached.
//
// Files of the time that is asked for come first, the newest of them first. Of a file with an index (package logindex) only
// the blocks are read that may have what is looked for; of another one the whole text, but lines are taken apart only if
// they have the text. One goroutine does all of it, in slices between which it rests as Limits.Share says, so that a sensor
// goes on as before.
//
// It does not see what was not written yet, and of a folder outside its control not what logs.Folder does not read: Result
// has that in sentences.
package search

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/logindex"
	"github.com/raytap/raytap/sinks/logs"
)

// Limits bound a search. 0 is no bound.
type Limits struct {
	Time  time.Duration
	Rows  uint64
	Bytes uint64 // of rows that are found
	Read  uint64 // bytes of text that are looked through
	// Share is how much of one processor it takes, in percent; 0: all of it.
	Share int
}

// Result says what a search did.
type Result struct {
	Rows   uint64        `json:"rows"`
	Bytes  uint64        `json:"bytes"` // of the rows
	Read   uint64        `json:"read"`  // of text that was looked through
	Files  int           `json:"files"` // that were looked into
	Took   time.Duration `json:"took"`
	Cut    string        `json:"cut,omitempty"`    // which limit ended it: "cut at 1000 rows"; "": none
	Unread []string      `json:"unread,omitempty"` // what may have rows and was not read, in sentences
}

// Emit takes a row: one JSON object without a newline. The bytes are valid during the call. An error ends the search.
type Emit func(row []byte) error

// errCut ends a search at a limit.
var errCut = errors.New("search: cut")

const (
	chunk = 1 << 20
	// Lines that are longer are damaged, as in package logs.
	maxLine = 4 << 20
	// A slice of work, after which the search may rest, and looks at the clock.
	sliceTime = 2 * time.Millisecond
	// What is said of unread files in one answer.
	maxUnread = 20
	// Flows of a finding that are followed.
	maxFollowed = 64
)

// Run searches folders.
func Run(ctx context.Context, q *Query, lim Limits, emit Emit, dirs ...string) (Result, error) {
	began := time.Now()
	s := &run{ctx: ctx, q: q, lim: lim, emit: emit, began: began, slice: began}
	defer func() {
		if s.zstd != nil {
			s.zstd.Close()
		}
	}()
	err := q.Check()
	if err == nil {
		err = s.all(dirs)
	}
	s.res.Took = time.Since(began)
	switch {
	case errors.Is(err, errCut):
		err = nil
	case err == nil && ctx.Err() != nil:
		err = ctx.Err()
	}
	return s.res, err
}

// run is a search.
type run struct {
	ctx    context.Context
	q      *Query
	lim    Limits
	emit   Emit
	res    Result
	began  time.Time
	slice  time.Time // when the slice of work at hand was begun
	folder *logs.Folder
	terms  []term
	first  int // of terms: the one by whose text lines are found; -1: none
	row    []byte
	lead   []byte
	notes  []string // UIDs of a finding's flow
	follow bool     // collect them
	buf    []byte
	packed bufio.Reader
	gzip   *gzip.Reader
	zstd   *zstd.Decoder
}

func (s *run) all(dirs []string) error {
	since := s.q.Since
	var err error
	if s.folder, err = logs.Open(logs.Options{Since: since}, dirs...); err != nil {
		return err
	}
	defer s.folder.Close()
	defer func() {
		s.res.Unread = s.folder.Unread()
		if n := len(s.res.Unread); n > maxUnread {
			s.res.Unread = append(slices.Clone(s.res.Unread[:maxUnread]), fmt.Sprintf("%d more could not be read", n-maxUnread))
		}
	}()
	base := s.q.terms()
	if s.q.Finding == "" {
		return s.pass(base, func(log string) bool { return s.asked(log) })
	}
	// The finding first, and its flow by what the finding says.
	id := (&Query{UIDs: []string{s.q.Finding}}).terms()
	s.follow = true
	found := func(log string) bool { return log == "notice" || log == "incidents" }
	if err := s.pass(slices.Concat(id, base), func(log string) bool { return found(log) }); err != nil {
		return err
	}
	if s.follow = false; len(s.notes) == 0 {
		return nil
	}
	flow := (&Query{UIDs: s.notes}).terms()
	return s.pass(slices.Concat(flow, base), func(log string) bool { return !found(log) && s.asked(log) })
}

func (s *run) asked(log string) bool { return len(s.q.Logs) == 0 || slices.Contains(s.q.Logs, log) }

// pass looks for rows that have all of the terms.
func (s *run) pass(terms []term, want func(log string) bool) error {
	s.terms, s.first = terms, -1
	longest := 0
	for i := range terms {
		shortest := 0
		for _, n := range terms[i].needle {
			if shortest == 0 || len(n) < shortest {
				shortest = len(n)
			}
		}
		// Several texts are looked for one after the other.
		if weight := shortest * 4 / max(len(terms[i].needle), 1); weight > longest {
			s.first, longest = i, weight
		}
	}
	for _, f := range s.order(want) {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := s.file(f); err != nil {
			return err
		}
	}
	return nil
}

// order lists the files that may have rows: those of the time that is asked for, the newest first, then those that were
// written later, where a connection that began then may have ended.
func (s *run) order(want func(log string) bool) []*logs.File {
	type placed struct {
		*logs.File
		later bool
		end   capture.Time
	}
	var all []placed
	files := s.folder.Files()
	for i := range files {
		f := &files[i]
		if !want(f.Log) {
			continue
		}
		p := placed{File: f, end: cmp.Or(f.End, f.Begin, forever)}
		p.later = s.q.Until != 0 && f.Begin > s.q.Until
		all = append(all, p)
	}
	slices.SortStableFunc(all, func(a, b placed) int {
		switch {
		case a.later != b.later:
			if b.later {
				return -1
			}
			return 1
		case a.later: // a connection rather ends soon
			return cmp.Compare(a.end, b.end)
		}
		return cmp.Compare(b.end, a.end)
	})
	out := make([]*logs.File, len(all))
	for i := range all {
		out[i] = all[i].File
	}
	return out
}

// pace looks at the limits and the clock after some work, and rests.
func (s *run) pace(read int) error {
	s.res.Read += uint64(read)
	if s.lim.Read > 0 && s.res.Read > s.lim.Read {
		return s.cut("cut after %d bytes of logs", s.lim.Read)
	}
	now := time.Now()
	spent := now.Sub(s.slice)
	if spent < sliceTime {
		return nil
	}
	if s.lim.Time > 0 && now.Sub(s.began) >= s.lim.Time {
		return s.cut("cut after %v", s.lim.Time)
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.lim.Share > 0 && s.lim.Share < 100 {
		rest := time.NewTimer(spent * time.Duration(100-s.lim.Share) / time.Duration(s.lim.Share))
		select {
		case <-rest.C:
		case <-s.ctx.Done():
			rest.Stop()
		}
		now = time.Now()
	}
	s.slice = now
	return nil
}

func (s *run) cut(format string, a ...any) error {
	s.res.Cut = fmt.Sprintf(format, a...)
	return errCut
}

// file looks through one.
func (s *run) file(f *logs.File) error {
	r, err := f.Open()
	if err != nil {
		s.folder.Tell(f, 0, 0, err)
		return nil
	}
	defer r.Close()
	x, done := openIndex(r)
	defer done()
	if x != nil {
		return s.indexed(f, r, x)
	}
	s.res.Files++
	t := &text{parser: logs.Parser{Log: f.Log}}
	rest := s.buf[:0]
	for {
		rest = slices.Grow(rest, chunk)
		n, err := io.ReadAtLeast(r.Text, rest[len(rest):len(rest)+chunk], 1)
		rest = rest[:len(rest)+n]
		end := err != nil
		whole := bytes.LastIndexByte(rest, '\n') + 1
		if end && !r.Live {
			whole = len(rest)
		}
		if serr := s.lines(t, rest[:whole]); serr != nil {
			return serr
		}
		if perr := s.pace(n); perr != nil {
			return perr
		}
		rest = rest[:copy(rest, rest[whole:])]
		if len(rest) > maxLine {
			t.damaged++
			rest, t.skip = rest[:0], true
		}
		s.buf = rest[:0]
		if end {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			s.folder.Tell(f, t.rows, t.damaged, err)
			return nil
		}
	}
}

// openIndex opens the index of a file that is read; without one that fits it is nil.
func openIndex(r *logs.Reader) (*logindex.Index, func()) {
	if r.Live {
		return nil, func() {}
	}
	file, err := disk.Read(logindex.Path(r.Path))
	if err != nil {
		return nil, func() {}
	}
	info, err := file.Stat()
	if err == nil {
		var x *logindex.Index
		if x, err = logindex.Open(file, info.Size(), r.Size); err == nil {
			return x, func() { file.Close() }
		}
	}
	file.Close()
	return nil, func() {}
}

// indexed looks through the blocks of a file that may have what is looked for, the last first.
func (s *run) indexed(f *logs.File, r *logs.Reader, x *logindex.Index) error {
	var t *text
	kind := filepath.Ext(r.Path)
	for i := len(x.Blocks) - 1; i >= 0; i-- {
		if !s.may(f.Log, x, i) {
			if err := s.pace(0); err != nil {
				return err
			}
			continue
		}
		if t == nil {
			s.res.Files++
			t = &text{parser: logs.Parser{Log: f.Log}}
			if i > 0 { // the header is in the first block
				head, err := s.block(r, x, 0, kind, headBytes)
				if err == nil {
					head = head[:bytes.LastIndexByte(head, '\n')+1]
					t.header(head)
				} else {
					s.folder.Tell(f, 0, 0, err)
					return nil
				}
			}
		}
		b, err := s.block(r, x, i, kind, 0)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.folder.Tell(f, max(t.rows, 1), t.damaged, err)
			}
			return nil
		}
		if err := s.lines(t, b); err != nil {
			return err
		}
		if err := s.pace(len(b)); err != nil {
			return err
		}
	}
	if t != nil && t.damaged > 0 {
		s.folder.Tell(f, t.rows, t.damaged, nil)
	}
	return nil
}

// headBytes are more than the header of a log has.
const headBytes = 64 << 10

// may reports whether a block may have rows that are asked for.
func (s *run) may(log string, x *logindex.Index, i int) bool {
	// Incidents are of when they began, which is before they are written.
	if b := &x.Blocks[i]; b.Rows == 0 || log != "incidents" && !s.q.times(b.First, b.Last) {
		return false
	}
	for j := range s.terms {
		if t := &s.terms[j]; t.tokens != nil && !x.May(i, t.tokens) {
			return false
		}
	}
	return true
}

// block reads the text of one; with most, its beginning.
func (s *run) block(r *logs.Reader, x *logindex.Index, i int, kind string, most int64) ([]byte, error) {
	from, to, n := x.Span(i)
	if n < 0 || n > 2*maxLine+chunk || to < from {
		return nil, errors.New("its index is damaged")
	}
	z, err := s.unpack(io.NewSectionReader(r.Raw, from, to-from), kind)
	if err != nil {
		return nil, err
	}
	if most > 0 {
		n = min(n, most)
	}
	b := slices.Grow(s.buf[:0], int(n))[:n]
	s.buf = b
	_, err = io.ReadFull(z, b)
	return b, err
}

// unpack is logs.Unpack for one block after the other.
func (s *run) unpack(r io.Reader, kind string) (io.Reader, error) {
	switch kind {
	case ".gz":
		s.packed.Reset(r)
		if s.gzip == nil {
			z, err := gzip.NewReader(&s.packed)
			s.gzip = z
			return z, err
		}
		return s.gzip, s.gzip.Reset(&s.packed)
	case ".zst":
		if s.zstd == nil {
			z, err := logs.Zstd(r)
			s.zstd = z
			return z, err
		}
		return s.zstd, s.zstd.Reset(r)
	}
	return r, nil
}

// text is a file that is looked through.
type text struct {
	parser  logs.Parser
	rows    uint64
	damaged uint64
	skip    bool // the rest of a line that is too long
}

// header takes the lines of a header at the beginning of b.
func (t *text) header(b []byte) {
	for len(b) > 0 && b[0] == '#' {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		if _, err := t.parser.Line(line); err != nil {
			t.damaged++
		}
		b = rest
	}
}

// lines looks through whole lines.
func (s *run) lines(t *text, b []byte) error {
	if t.skip {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return nil
		}
		b, t.skip = b[i+1:], false
	}
	for len(b) > 0 {
		if b[0] == '#' {
			line, rest, _ := bytes.Cut(b, []byte{'\n'})
			if _, err := t.parser.Line(line); err != nil {
				t.damaged++
			}
			b = rest
			continue
		}
		// Up to the next header: of a file that was appended to another.
		part := b
		if i := bytes.Index(b, []byte("\n#")); i >= 0 {
			part = b[:i+1]
		}
		b = b[len(part):]
		var err error
		if s.first < 0 {
			err = s.every(t, part)
		} else {
			err = s.having(t, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// every takes each line.
func (s *run) every(t *text, b []byte) error {
	for n := 0; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte{'\n'})
		b = rest
		if err := s.line(t, line); err != nil {
			return err
		}
		if n%256 == 255 {
			if err := s.pace(0); err != nil {
				return err
			}
		}
	}
	return nil
}

// having takes the lines that have the text of the first term.
func (s *run) having(t *text, b []byte) error {
	needles := s.terms[s.first].needle
	next := make([]int, len(needles)) // of each in b; -1: no more
	for i, n := range needles {
		next[i] = bytes.Index(b, n)
	}
	for at := 0; ; {
		i := -1
		for j := range next {
			if next[j] >= 0 && (i < 0 || next[j] < next[i]) {
				i = j
			}
		}
		if i < 0 {
			return nil
		}
		from := at + bytes.LastIndexByte(b[at:next[i]], '\n') + 1
		to := len(b)
		if n := bytes.IndexByte(b[next[i]:], '\n'); n >= 0 {
			to = next[i] + n
		}
		line := b[from:to]
		if s.plausible(line) {
			if err := s.line(t, line); err != nil {
				return err
			}
			if err := s.pace(0); err != nil {
				return err
			}
		}
		at = min(to+1, len(b))
		for j, n := range needles {
			if next[j] >= 0 && next[j] < at {
				if next[j] = bytes.Index(b[at:], n); next[j] >= 0 {
					next[j] += at
				}
			}
		}
	}
}

// plausible reports whether a line has the text of the other terms, too.
func (s *run) plausible(line []byte) bool {
	for i := range s.terms {
		t := &s.terms[i]
		if i == s.first || t.needle == nil {
			continue
		}
		if !slices.ContainsFunc(t.needle, func(n []byte) bool { return bytes.Contains(line, n) }) {
			return false
		}
	}
	return true
}

// line takes a line apart, and hands it out if it is what is looked for.
func (s *run) line(t *text, line []byte) error {
	if len(line) > maxLine {
		t.damaged++
		return nil
	}
	r, err := t.parser.Line(line)
	if err != nil {
		t.damaged++
		return nil
	}
	if r == nil {
		return nil
	}
	t.rows++
	if s.q.Since != 0 || s.q.Until != 0 {
		if from, to := r.Span(); !s.q.times(from, to) {
			return nil
		}
	}
	for i := range s.terms {
		if !s.terms[i].has(r) {
			return nil
		}
	}
	if s.follow {
		s.flows(r)
		if !s.asked(r.Log) {
			return nil
		}
	}
	s.lead = append(append(append(s.lead[:0], `"_path":"`...), clean(r.Log)...), '"')
	s.row = r.AppendJSON(s.row[:0], string(s.lead))
	if s.lim.Rows > 0 && s.res.Rows >= s.lim.Rows {
		return s.cut("cut at %d rows", s.lim.Rows)
	}
	if s.lim.Bytes > 0 && s.res.Bytes+uint64(len(s.row)) > s.lim.Bytes {
		return s.cut("cut at %d bytes of rows", s.lim.Bytes)
	}
	s.res.Rows++
	s.res.Bytes += uint64(len(s.row))
	return s.emit(s.row)
}

// flows takes down the flow that a finding is about.
func (s *run) flows(r *logs.Row) {
	if r.Log != "notice" {
		return
	}
	if uid := r.Get("uid"); uid != "" && len(s.notes) < maxFollowed && !slices.Contains(s.notes, uid) {
		s.notes = append(s.notes, uid)
	}
}

// clean leaves of the name of a log what names have.
func clean(log string) string {
	for i := 0; i < len(log); i++ {
		if c := log[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' && (c < 'A' || c > 'Z') {
			return "unknown"
		}
	}
	return log
}

// IsFolder reports whether dir is a folder.
func IsFolder(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir()
}
