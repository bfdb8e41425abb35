package logs

import (
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/raytap/raytap/sinks/disk"
)

// Follower reads the rows of a log that still grows, through its rotations: when another file stands in its place, the
// old one is read to its end first; when it was cut off in place, it is read from its beginning.
//
// It does not see what is written to a file between its last call of Read and the moment when a second rotation takes
// it away: call often. It holds one line.
type Follower struct {
	Damaged uint64
	paths   []string
	file    *os.File
	name    string // of file
	offset  int64
	part    []byte // of a line whose end is not there yet
	skip    bool   // it is too long
	parser  Parser
}

// Follow makes a Follower of the first of these files that is there, now or later.
func Follow(log string, paths ...string) *Follower {
	return &Follower{paths: paths, parser: Parser{Log: log}}
}

// Read calls fn for each row that came since the last call. It does not wait; a file that is not there has no rows.
func (f *Follower) Read(fn func(*Row)) error {
	for {
		if f.file == nil {
			if err := f.open(); err != nil || f.file == nil {
				return err
			}
		}
		if err := f.rest(fn); err != nil {
			return err
		}
		next, err := f.replaced()
		if err != nil || !next {
			return err
		}
		// What was written between reading and the rotation.
		if err := f.rest(fn); err != nil {
			return err
		}
		f.line(f.part, fn)
		f.part, f.skip, f.offset = f.part[:0], false, 0
		f.file.Close()
		f.file = nil
	}
}

func (f *Follower) open() error {
	for _, name := range f.paths {
		file, err := disk.Read(name)
		if err == nil {
			f.file, f.name = file, name
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// replaced says whether another file stands where the open one stood.
func (f *Follower) replaced() (bool, error) {
	mine, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	if mine.Size() < f.offset {
		f.offset, f.part, f.skip = 0, f.part[:0], false
		_, err := f.file.Seek(0, io.SeekStart)
		return false, err
	}
	now, err := os.Stat(f.name)
	if errors.Is(err, os.ErrNotExist) {
		for _, name := range f.paths {
			if _, err := os.Stat(name); err == nil {
				return true, nil
			}
		}
		return false, nil // taken away, and no other there yet
	}
	return err == nil && !os.SameFile(mine, now), err
}

// rest reads what there is.
func (f *Follower) rest(fn func(*Row)) error {
	var block [32 << 10]byte
	for {
		n, err := f.file.Read(block[:])
		f.offset += int64(n)
		for b := block[:n]; len(b) > 0; {
			i := bytes.IndexByte(b, '\n')
			if i < 0 {
				if len(f.part)+len(b) > maxLine {
					f.skip, f.part = true, f.part[:0]
				}
				if !f.skip {
					f.part = append(f.part, b...)
				}
				break
			}
			f.line(append(f.part, b[:i]...), fn)
			f.part, f.skip = f.part[:0], false
			b = b[i+1:]
		}
		if errors.Is(err, io.EOF) || n == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (f *Follower) line(b []byte, fn func(*Row)) {
	if f.skip {
		f.Damaged++
		return
	}
	row, err := f.parser.Line(b)
	if err != nil {
		f.Damaged++
	} else if row != nil {
		fn(row)
	}
}

// Close closes the file.
func (f *Follower) Close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}
