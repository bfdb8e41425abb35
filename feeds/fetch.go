package feeds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/raytap/raytap/sinks/disk"
)

// fetchTime bounds one fetch over all its pages.
const fetchTime = 30 * time.Minute

// Check reads a feed and says how many indicators it has. An error is one of reading it to its end.
type Check func(name string, r io.Reader) (indicators int, err error)

// Fetch asks the server of a source for what is new, and replaces what is in its cache in the folder dir, if that differs.
// Whatever is wrong with the server, or with what it gives, leaves the cache as it is.
func Fetch(ctx context.Context, s *Source, dir string, check Check, now time.Time) (changed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	c, err := newClient(s)
	if err != nil {
		return false, err
	}
	defer c.close()
	old := recall(s, dir)
	kind, _ := s.address()
	var next *store
	switch kind {
	case "taxii":
		next, err = c.fetchTAXII(ctx, old, now)
	case "misp":
		next, err = c.fetchMISP(ctx, old, now)
	case "misp_feed":
		next, err = c.fetchManifest(ctx, old, now)
	default:
		next, err = c.fetchURL(ctx, old, now)
	}
	if err != nil {
		return false, err
	}
	if next != old {
		r := next.reader()
		next.head.Form, next.head.Source = 1, kind
		next.head.Records, err = check(s.Title(), r)
		io.Copy(io.Discard, r)
		if err != nil {
			return false, fmt.Errorf("cannot be read: %w", err)
		}
		if next.head.Records == 0 && old != nil && old.head.Records > 0 {
			return false, fmt.Errorf("has not one indicator, where it had %d", old.head.Records)
		}
	}
	if old == nil || next != old && (next.head != old.head || next.sum() != old.sum()) {
		if err := disk.Private().Folder(dir); err != nil {
			return false, err
		}
		if err := next.write(s, dir); err != nil {
			return false, err
		}
	}
	// When it was confirmed is the time of the file.
	err = os.Chtimes(filepath.Join(dir, cacheName(s)), now, now)
	return old == nil || next.sum() != old.sum(), err
}

// fetchURL asks for a file, if it has changed.
func (c *client) fetchURL(ctx context.Context, old *store, now time.Time) (*store, error) {
	header := map[string]string{}
	if old != nil {
		if old.head.Tag != "" {
			header["If-None-Match"] = old.head.Tag
		}
		if old.head.Modified != "" {
			header["If-Modified-Since"] = old.head.Modified
		}
	}
	a, err := c.ask(ctx, "GET", c.home.String(), nil, header, c.src.size())
	switch {
	case err != nil:
		return nil, err
	case a.status == http.StatusNotModified && old != nil:
		return old, nil
	case a.status == http.StatusNotModified:
		return nil, errors.New("answers with status 304 to who has nothing")
	case bytes.HasPrefix(a.body, []byte("PK\x03\x04")):
		return nil, errors.New("is a zip archive; plain files and gzip are read")
	case len(bytes.TrimSpace(a.body)) == 0:
		return nil, errors.New("is empty")
	}
	next := newStore(c.src.size())
	next.file, next.head.Whole = a.body, now
	if tag := a.header.Get("ETag"); len(tag) <= 1<<10 {
		next.head.Tag = tag
	}
	if at := a.header.Get("Last-Modified"); len(at) <= 100 {
		next.head.Modified = at
	}
	return next, nil
}
