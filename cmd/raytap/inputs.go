package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/record"
)

// openFiles opens captures, of folders those in them, as sources for capture.Merge, which the caller closes. What cannot be
// opened it tells fail, and leaves out; what a user may not have meant it tells say.
func openFiles(names []string, fail func(error), say func(string)) (srcs []capture.Source) {
	given := map[string]bool{}
	twice := func(name string) bool {
		path := name
		if p, err := filepath.EvalSymlinks(name); err == nil {
			path = p
		}
		if p, err := filepath.Abs(path); err == nil {
			path = p
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return false
		}
		if given[path] {
			say(name + " is given twice; it is read once")
			return true
		}
		given[path] = true
		return false
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			late, err := openFolder(name, fail, say)
			if err != nil {
				fail(err)
			}
			for _, l := range late {
				if !twice(l.name) {
					srcs = append(srcs, l)
				}
			}
			continue
		}
		if name != "-" && twice(name) {
			continue
		}
		src, err := capture.OpenFile(name)
		if err != nil {
			fail(err)
			continue
		}
		srcs = append(srcs, src)
	}
	return srcs
}

// captureName matches what captures are called, also those that tcpdump -C and dumpcap number.
var captureName = regexp.MustCompile(`(?i)\.(pcap|pcapng|cap|dmp|ntar)\d*(\.|_|$)`)

// openFolder gives the captures of a folder in the order of their first packets, none of them open. Hidden files and folders
// in it are not looked into; what is no capture is left out, in a sentence if its name does not say that it is one.
func openFolder(dir string, fail func(error), say func(string)) (all []*late, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	others, folders := 0, 0
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name) // what a link leads to
		switch {
		case e.Name()[0] == '.', record.IsOurs(e.Name()):
			continue
		case err == nil && info.IsDir():
			folders++
			continue
		case err == nil && !info.Mode().IsRegular():
			others++
			continue
		case err == nil && info.Size() == 0: // tcpdump has just begun it
			continue
		}
		first, err := firstTime(name)
		switch {
		case err == nil:
			all = append(all, &late{name: name, first: first})
		case errors.Is(err, io.EOF): // no packet
		case captureName.MatchString(e.Name()):
			fail(err)
		default:
			others++
		}
	}
	if others+folders > 0 {
		say(fmt.Sprintf("%s: skipped entries that are not captures: files: %d, directories: %d", dir, others, folders))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no captures in this folder", dir)
	}
	slices.SortStableFunc(all, func(a, b *late) int { return cmp.Compare(a.first, b.first) })
	return all, nil
}

// firstTime gives the time of the first packet of a capture; io.EOF if there is none.
func firstTime(name string) (capture.Time, error) {
	src, err := capture.OpenFile(name)
	if err != nil {
		return 0, err
	}
	defer src.Close()
	b := capture.Batch{Buf: make([]byte, 64<<10)}
	for {
		err := src.ReadBatch(&b)
		switch {
		case len(b.Frames) > 0:
			return b.Frames[0].Time, nil
		case err != nil:
			return 0, err
		}
	}
}

// late is a Source that is open from its first read to its last.
type late struct {
	name  string
	first capture.Time
	src   capture.Source
	err   error
}

// First is for capture.Merge.
func (l *late) First() capture.Time { return l.first }

// ReadBatch implements capture.Source.
func (l *late) ReadBatch(b *capture.Batch) error {
	if l.src == nil && l.err == nil {
		l.src, l.err = capture.OpenFile(l.name)
	}
	if l.err != nil {
		b.Frames = b.Frames[:0]
		return l.err
	}
	if l.err = l.src.ReadBatch(b); l.err != nil {
		l.src.Close()
		l.src = nil
	}
	return l.err
}

// Close implements capture.Source.
func (l *late) Close() error {
	if l.err == nil {
		l.err = os.ErrClosed
	}
	if l.src == nil {
		return nil
	}
	return l.src.Close()
}

// sayRepeated tells of packets that two of the captures have.
func sayRepeated(src capture.Source, say func(string)) {
	if n := capture.Repeated(src); n > 0 {
		say(fmt.Sprintf("%d packets are in two of the captures, to the byte and the nanosecond: they overlap, and what these show is counted twice", n))
	}
}
