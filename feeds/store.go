package feeds

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/raytap/raytap/sinks/disk"
)

// maxHead bounds the first line of a file of the cache.
const maxHead = 64 << 10

// head is the first line of a file of the cache: where the rest is from.
type head struct {
	Form       int       `json:"raytap_feed"` // 1
	Source     string    `json:"source"`
	At         string    `json:"at,omitempty"`          // the collection
	AddedAfter string    `json:"added_after,omitempty"` // what was added until then is in it
	Whole      time.Time `json:"whole"`                 // when everything was fetched
	Tag        string    `json:"etag,omitempty"`
	Modified   string    `json:"modified,omitempty"`
	Records    int       `json:"indicators"`
}

// store is what is kept of one server: a head, and either objects, a line each, or a file as it came.
type store struct {
	head  head
	most  int64
	bytes int64
	lines []line
	index map[string]int // of lines, by id
	file  []byte
}

type line struct {
	id, version string
	raw         []byte // nil: gone
}

func newStore(most int64) *store {
	return &store{head: head{Form: 1}, most: most, index: map[string]int{}}
}

// take begins with what another has.
func (s *store) take(old *store) {
	s.head = old.head
	for _, l := range old.lines {
		if len(l.raw) > 0 {
			s.index[l.id] = len(s.lines)
			s.lines = append(s.lines, l)
			s.bytes += int64(len(l.raw))
		}
	}
}

// put takes an object with its version, of which the latest counts; raw is nil if it is gone.
func (s *store) put(id, version string, raw []byte) error {
	if raw != nil {
		var b bytes.Buffer
		if err := json.Compact(&b, raw); err != nil {
			return errors.New("has an object that cannot be read")
		}
		raw = b.Bytes()
	}
	i, ok := s.index[id]
	switch {
	case !ok:
		s.index[id] = len(s.lines)
		s.lines = append(s.lines, line{id, version, raw})
	case s.lines[i].version > version:
		return nil
	default:
		s.bytes -= int64(len(s.lines[i].raw))
		s.lines[i] = line{id, version, raw}
	}
	if s.bytes += int64(len(raw)); s.bytes > s.most || len(s.lines) > maxLines {
		return errTooLarge
	}
	return nil
}

// maxLines bounds the objects, those that are gone included, whose ids take memory.
const maxLines = 5 << 20

// body writes all but the head.
func (s *store) body(w io.Writer) error {
	if s.file != nil {
		_, err := w.Write(s.file)
		return err
	}
	b := bufio.NewWriter(w)
	for _, l := range s.lines {
		if len(l.raw) > 0 {
			b.Write(l.raw)
			b.WriteByte('\n')
		}
	}
	return b.Flush()
}

// reader gives all but the head.
func (s *store) reader() io.Reader {
	r, w := io.Pipe()
	go func() { w.CloseWithError(s.body(w)) }()
	return r
}

// sum tells whether two have the same.
func (s *store) sum() uint64 {
	h := fnv.New64a()
	s.body(h)
	return h.Sum64()
}

// cacheName is the file of a source: a name that people recognise, and what sets it apart.
func cacheName(s *Source) string {
	kind, address := s.address()
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%v", kind, address, s.Collection, s.User, s.Since)
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, s.Title())
	return fmt.Sprintf("%.40s-%016x.feed", name, h.Sum64())
}

// Cached is what an earlier fetch has left.
type Cached struct {
	io.ReadCloser           // the feed, in a form that detectors/intel reads
	At            time.Time // when the server confirmed it last
	Indicators    int
}

// Open gives what is in the cache of a source; its error is fs.ErrNotExist if nothing is.
func Open(s *Source, dir string) (*Cached, error) {
	f, h, err := open(s, dir)
	if err != nil {
		return nil, err
	}
	c := &Cached{ReadCloser: f, Indicators: h.Records}
	if info, err := f.Stat(); err == nil {
		c.At = info.ModTime()
	}
	return c, nil
}

// opened is a file of the cache behind its head.
type opened struct {
	*os.File
	r *bufio.Reader
}

func (o *opened) Read(b []byte) (int, error) { return o.r.Read(b) }

func open(s *Source, dir string) (*opened, *head, error) {
	f, err := disk.Read(filepath.Join(dir, cacheName(s)))
	if err != nil {
		return nil, nil, err
	}
	o := &opened{f, bufio.NewReaderSize(f, maxHead)}
	first, err := o.r.ReadSlice('\n')
	var h head
	if err != nil || json.Unmarshal(first, &h) != nil || h.Form != 1 {
		f.Close()
		return nil, nil, os.ErrNotExist // of another version, or damaged: it is fetched anew
	}
	return o, &h, nil
}

// recall reads a store of objects back; nil if there is none.
func recall(s *Source, dir string) *store {
	o, h, err := open(s, dir)
	if err != nil {
		return nil
	}
	defer o.Close()
	st := newStore(s.size())
	st.head = *h
	kind, _ := s.address()
	all, err := io.ReadAll(io.LimitReader(o, 2*st.most))
	if err != nil {
		return nil
	}
	if kind == "url" {
		st.file = all
		return st
	}
	for raw := range bytes.Lines(all) {
		var id struct {
			ID        string `json:"id"`
			Modified  string `json:"modified"`
			UUID      string `json:"uuid"`
			Timestamp string `json:"timestamp"`
			Event     struct {
				UUID      string `json:"uuid"`
				Timestamp string `json:"timestamp"`
			}
		}
		if json.Unmarshal(raw, &id) != nil {
			return nil
		}
		switch kind {
		case "misp":
			err = st.put(id.UUID, id.Timestamp, raw)
		case "misp_feed":
			err = st.put(id.Event.UUID, id.Event.Timestamp, raw)
		default:
			err = st.put(id.ID, id.Modified, raw)
		}
		if err != nil {
			return nil
		}
	}
	return st
}

// write puts a store in place of what is there, whole or not at all.
func (s *store) write(src *Source, dir string) error {
	first, err := json.Marshal(s.head)
	if err != nil {
		return err
	}
	return disk.Private().Replace(filepath.Join(dir, cacheName(src)), func(w io.Writer) error {
		if _, err := w.Write(append(first, '\n')); err != nil {
			return err
		}
		return s.body(w)
	})
}
