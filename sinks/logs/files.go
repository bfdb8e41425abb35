package logs

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/raytap/raytap/sinks/disk"
)

const (
	// The longest line that is read; a row of ours stays below 100 kB.
	maxLine = 4 << 20
	// Memory that a compressed log may ask for.
	maxWindow = 64 << 20
)

// File is one log of a folder.
type File struct {
	Log  string // "conn"
	Path string
}

// fileName matches conn.log, the rotated conn.2026-11-23-17-00-00.log and conn.17:00:00-18:00:00.log, compressed or not.
var fileName = regexp.MustCompile(`^([a-z][a-z0-9_]*)((?:\.[0-9][^/]*)?)\.log(?:\.gz|\.zst)?$`)

// Files lists the logs of a folder, and of its folder "current" if it has one: by kind, rotated ones in order of
// time, the one that is being written last.
func Files(dir string) ([]File, error) {
	type file struct {
		File
		when string
	}
	var all []file
	list := func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			m := fileName.FindStringSubmatch(e.Name())
			if m == nil || e.IsDir() {
				continue
			}
			when := m[2]
			if when == "" {
				when = "~" // behind every digit
			}
			all = append(all, file{File{m[1], filepath.Join(dir, e.Name())}, when})
		}
		return nil
	}
	if err := list(dir); err != nil {
		return nil, fmt.Errorf("logs: %w", err)
	}
	if err := list(filepath.Join(dir, "current")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("logs: %w", err)
	}
	sort.SliceStable(all, func(i, j int) bool {
		a, b := &all[i], &all[j]
		if a.Log != b.Log {
			return a.Log < b.Log
		}
		return a.when < b.when
	})
	files := make([]File, len(all))
	for i, f := range all {
		files[i] = f.File
	}
	return files, nil
}

// Read calls fn for each row of a log, in order, and says how many lines were damaged.
func Read(f File, fn func(*Row)) (damaged uint64, err error) {
	file, err := disk.Read(f.Path)
	if err != nil {
		return 0, fmt.Errorf("logs: %w", err)
	}
	defer file.Close()
	var r io.Reader = file
	switch {
	case strings.HasSuffix(f.Path, ".gz"):
		z, err := gzip.NewReader(file)
		if err != nil {
			return 0, fmt.Errorf("logs: %s: %w", f.Path, err)
		}
		r = z
	case strings.HasSuffix(f.Path, ".zst"):
		z, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow))
		if err != nil {
			return 0, fmt.Errorf("logs: %s: %w", f.Path, err)
		}
		defer z.Close()
		r = z
	}
	p := Parser{Log: f.Log}
	lines := bufio.NewReaderSize(r, 256<<10)
	for {
		line, tooLong, err := readLine(lines)
		if err != nil && !errors.Is(err, io.EOF) {
			return damaged, fmt.Errorf("logs: %s: %w", f.Path, err)
		}
		if tooLong {
			damaged++
		} else if row, bad := p.Line(line); bad != nil {
			damaged++
		} else if row != nil {
			fn(row)
		}
		if err != nil {
			return damaged, nil
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
