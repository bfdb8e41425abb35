package feeds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// TAXII 2.1 (OASIS Standard, 10 June 2021): https://docs.oasis-open.org/cti/taxii/v2.1/taxii-v2.1.html. Section numbers are
// of it.

const (
	// taxiiType is what is asked for and what answers are (1.6.8).
	taxiiType = "application/taxii+json;version=2.1"
	// pageLimit is how many objects are asked for at a time (3.4); a server may give fewer.
	pageLimit = 1000
	// maxPages bounds a server that never comes to an end.
	maxPages = 10_000
	// maxRoots is how many API roots of a server are looked through for a collection.
	maxRoots = 20
	// Of answers that tell of a server.
	maxTold = 4 << 20
	// wholeEvery is how often everything is fetched, and not only what was added: what a server has deleted is not told.
	wholeEvery = 24 * time.Hour
)

// told is a discovery (4.1), an API root (4.2) or a list of collections (5.1), by what it has.
type told struct {
	Default     string           `json:"default"`
	Roots       []string         `json:"api_roots"`
	Versions    []string         `json:"versions"`
	Collections []collection     `json:"collections"`
	Objects     *json.RawMessage `json:"objects"`
}

type collection struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Alias string `json:"alias"`
	Read  bool   `json:"can_read"`
}

// tell asks for one of these.
func (c *client) tell(ctx context.Context, address string) (*told, error) {
	a, err := c.taxii(ctx, address, maxTold)
	if err != nil {
		return nil, err
	}
	var t told
	if err := json.Unmarshal(a.body, &t); err != nil {
		return nil, errors.New("does not answer with JSON")
	}
	return &t, nil
}

// taxii asks a server of TAXII.
func (c *client) taxii(ctx context.Context, address string, limit int64) (*answer, error) {
	a, err := c.ask(ctx, "GET", address, nil, map[string]string{"Accept": taxiiType}, limit)
	if err != nil {
		return nil, err
	}
	switch {
	case a.kind == "application/vnd.oasis.taxii+json" || a.kind == "application/vnd.oasis.stix+json":
		return nil, errors.New("speaks TAXII 2.0; 2.1 is needed")
	case a.kind == "application/taxii+json" && a.params["version"] != "" && a.params["version"] != "2.1":
		return nil, fmt.Errorf("answers in TAXII %.10s", a.params["version"])
	case a.kind != "application/taxii+json" && a.kind != "application/json":
		return nil, fmt.Errorf("answers with %.60q, which is not TAXII", a.kind)
	}
	return a, nil
}

// slashed ends a URL's path with a slash, as all of TAXII's do (3.1).
func slashed(u *url.URL) *url.URL {
	v := *u
	v.RawQuery, v.RawPath = "", ""
	if !strings.HasSuffix(v.Path, "/") {
		v.Path += "/"
	}
	return &v
}

// find gives the URL of the objects of the collection that was asked for.
func (c *client) find(ctx context.Context) (string, error) {
	at := slashed(c.home)
	if i := strings.Index(at.Path, "/collections/"); i >= 0 {
		if id := strings.TrimSuffix(strings.TrimSuffix(at.Path[i+len("/collections/"):], "/"), "/objects"); id != "" && !strings.Contains(id, "/") {
			if c.src.Collection != "" && c.src.Collection != id {
				return "", errors.New("the URL names another collection than the setting")
			}
			at.Path = at.Path[:i] + "/collections/" + id + "/objects/"
			return at.String(), nil
		}
		at.Path = at.Path[:i+1]
	} else if at.Path == "/" {
		at.Path = "/taxii2/" // (4.1)
	}
	roots, err := c.roots(ctx, at)
	if err != nil {
		return "", err
	}
	return c.collection(ctx, roots)
}

// roots returns the API roots that the server at this URL has, which may be one itself, the default first.
func (c *client) roots(ctx context.Context, at *url.URL) (roots []*url.URL, err error) {
	t, err := c.tell(ctx, at.String())
	switch {
	case err != nil:
		return nil, err
	case len(t.Roots) > 0:
		for _, r := range append([]string{t.Default}, t.Roots...) {
			u, err := at.Parse(r)
			if r == "" || err != nil || len(roots) >= maxRoots {
				continue
			}
			if u = slashed(u); len(roots) == 0 || u.String() != roots[0].String() {
				roots = append(roots, u)
			}
		}
		return roots, nil
	case len(t.Versions) > 0:
		return []*url.URL{at}, nil
	}
	return nil, errors.New("is neither a discovery nor an API root of TAXII 2.1")
}

// collection looks through API roots for the collection that was asked for, or, if none was, for the only one there is.
func (c *client) collection(ctx context.Context, roots []*url.URL) (string, error) {
	var names []string
	var failed error
	var only string
	n := 0
	for _, root := range roots {
		list, err := c.tell(ctx, root.String()+"collections/")
		if err != nil {
			if failed == nil {
				failed = err
			}
			continue
		}
		for _, x := range list.Collections {
			if x.ID == "" || strings.ContainsAny(x.ID, "/?#") {
				continue
			}
			objects := root.String() + "collections/" + url.PathEscape(x.ID) + "/objects/"
			if want := c.src.Collection; want != "" && (x.ID == want || x.Alias == want || x.Title == want) {
				if !x.Read {
					return "", errors.New("denies access to this collection")
				}
				return objects, nil
			}
			if x.Read {
				only = objects
				n++
				if len(names) < 10 {
					names = append(names, fmt.Sprintf("%.60q (%.60s)", x.Title, x.ID))
				}
			}
		}
	}
	switch {
	case c.src.Collection == "" && n == 1:
		return only, nil
	case n == 0 && failed != nil:
		return "", failed
	case n == 0:
		return "", errors.New("has no collection that may be read")
	case c.src.Collection == "":
		return "", errors.New("has several collections; name one: " + strings.Join(names, ", "))
	}
	return "", errors.New("has no such collection; there are " + strings.Join(names, ", "))
}

// envelope is a page of objects (3.7).
type envelope struct {
	More    bool              `json:"more"`
	Next    string            `json:"next"`
	Objects []json.RawMessage `json:"objects"`
}

// fetchTAXII asks for what was added since the last time, or for everything.
func (c *client) fetchTAXII(ctx context.Context, old *store, now time.Time) (*store, error) {
	objects, err := c.find(ctx)
	if err != nil {
		return nil, err
	}
	next := newStore(c.src.size())
	after := ""
	if old != nil && old.head.AddedAfter != "" && now.Sub(old.head.Whole) < wholeEvery && old.head.At == objects {
		next.take(old)
		after = old.head.AddedAfter
	} else {
		next.head.Whole = now
		if c.src.Since > 0 {
			after = now.Add(-c.src.Since).UTC().Format("2006-01-02T15:04:05.000000Z")
		}
	}
	next.head.At, next.head.AddedAfter = objects, after
	page := ""
	for n := 0; ; n++ {
		if n >= maxPages {
			return nil, errors.New("has pages without end")
		}
		q := url.Values{"limit": {strconv.Itoa(pageLimit)}, "match[type]": {"indicator"}}
		if after != "" {
			q.Set("added_after", after)
		}
		if page != "" {
			q.Set("next", page)
		}
		a, err := c.taxii(ctx, objects+"?"+q.Encode(), next.most)
		if err != nil {
			return nil, err
		}
		var e envelope
		if len(a.body) > 0 {
			if err := json.Unmarshal(a.body, &e); err != nil {
				return nil, errors.New("answers with an envelope that cannot be read")
			}
		}
		for _, o := range e.Objects {
			if err := next.stix(o); err != nil {
				return nil, err
			}
		}
		last := a.header.Get("X-TAXII-Date-Added-Last") // (1.6.5)
		if _, err := time.Parse(time.RFC3339Nano, last); err != nil {
			last = ""
		}
		if last != "" {
			next.head.AddedAfter = last
		}
		if !e.More {
			break
		}
		switch {
		case e.Next != "" && e.Next != page:
			page = e.Next
		case e.Next != "":
			return nil, errors.New("returns the same page repeatedly")
		case last != "" && last != after: // what is left was added later (3.5)
			page, after = "", last
		default:
			return nil, errors.New("has more, and does not say where")
		}
	}
	return next, nil
}

// stix takes an object, if it is an indicator; one that was revoked goes.
func (s *store) stix(raw json.RawMessage) error {
	var o struct {
		Type     string `json:"type"`
		ID       string `json:"id"`
		Modified string `json:"modified"`
		Revoked  bool   `json:"revoked"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return errors.New("has an object that cannot be read")
	}
	if o.Type != "indicator" || o.ID == "" {
		return nil
	}
	if o.Revoked {
		raw = nil
	}
	return s.put(o.ID, o.Modified, raw)
}
