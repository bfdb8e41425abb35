package feeds

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxEvents bounds the events of a published feed; the newest are taken.
const maxEvents = 1 << 14

// number is a time that MISP writes as a text or as a number.
type number string

func (n *number) UnmarshalJSON(b []byte) error {
	*n = number(strings.Trim(string(b), `"`))
	if *n == "null" {
		*n = ""
	}
	return nil
}

func (n number) int() int64 {
	i, _ := strconv.ParseInt(string(n), 10, 64)
	return i
}

// attribute is what is kept of one of MISP's (MISP core format, section 2.4).
type attribute struct {
	UUID      string `json:"uuid,omitempty"`
	Type      string `json:"type"`
	Category  string `json:"category"`
	ToIDs     flag   `json:"to_ids"`
	Value     string `json:"value"`
	Comment   string `json:"comment,omitempty"`
	Timestamp number `json:"timestamp,omitempty"`
	Event     *event `json:"Event,omitempty"`
	Deleted   flag   `json:"deleted,omitempty"`
}

// flag is what MISP writes as true, 1 or "1".
type flag bool

func (f *flag) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	*f = s == "true" || s == "1"
	return nil
}

// event is what is kept of an event (section 2.2).
type event struct {
	Info       string      `json:"info"`
	UUID       string      `json:"uuid,omitempty"`
	Timestamp  number      `json:"timestamp,omitempty"`
	Attributes []attribute `json:"Attribute,omitempty"`
	Objects    []struct {
		Attributes []attribute `json:"Attribute"`
	} `json:"Object,omitempty"`
}

// keep leaves an event what is meant for detection.
func (e *event) keep() {
	all := e.Attributes
	for _, o := range e.Objects {
		all = append(all, o.Attributes...)
	}
	e.Objects, e.Attributes = nil, nil
	for _, a := range all {
		if a.ToIDs && !a.Deleted {
			e.Attributes = append(e.Attributes, a)
		}
	}
}

var uuidOnly = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

var acceptJSON = map[string]string{"Accept": "application/json"}

// fetchManifest asks for a published feed: the manifest, and of the events those that are new or have changed.
func (c *client) fetchManifest(ctx context.Context, old *store, now time.Time) (*store, error) {
	base := *c.home
	base.Path = strings.TrimSuffix(base.Path, "manifest.json")
	if !strings.HasSuffix(base.Path, "/") {
		base.Path += "/"
	}
	at := func(name string) string {
		u := base // what is asked behind the path, a token as it may be, holds for all
		u.Path += name
		u.RawPath = ""
		return u.String()
	}
	a, err := c.ask(ctx, "GET", at("manifest.json"), nil, acceptJSON, c.src.size())
	if err != nil {
		return nil, err
	}
	var manifest map[string]struct {
		Timestamp number `json:"timestamp"`
	}
	if err := json.Unmarshal(a.body, &manifest); err != nil {
		return nil, errors.New("has a manifest that cannot be read")
	}
	type entry struct {
		id string
		at number
	}
	var events []entry
	for id, m := range manifest {
		if !uuidOnly.MatchString(id) {
			return nil, errors.New("has a manifest that names something other than events")
		}
		if c.src.Since == 0 || m.Timestamp.int() >= now.Add(-c.src.Since).Unix() {
			events = append(events, entry{id, m.Timestamp})
		}
	}
	slices.SortFunc(events, func(x, y entry) int {
		return cmp.Or(cmp.Compare(y.at.int(), x.at.int()), cmp.Compare(x.id, y.id))
	})
	events = events[:min(len(events), maxEvents)]
	next := newStore(c.src.size())
	next.head.Whole = now
	had := map[string]line{}
	if old != nil {
		for _, l := range old.lines {
			had[strings.ToLower(l.id)] = l
		}
	}
	for _, e := range events {
		if l, ok := had[strings.ToLower(e.id)]; ok && l.version == string(e.at) && e.at != "" {
			if err := next.put(l.id, l.version, l.raw); err != nil {
				return nil, err
			}
			continue
		}
		a, err := c.ask(ctx, "GET", at(e.id+".json"), nil, acceptJSON, c.src.size())
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", e.id, err)
		}
		var x struct {
			Event *event `json:"Event"`
		}
		if err := json.Unmarshal(a.body, &x); err != nil || x.Event == nil {
			return nil, fmt.Errorf("event %s cannot be read", e.id)
		}
		x.Event.keep()
		x.Event.UUID, x.Event.Timestamp = e.id, e.at // by which it is known again
		raw, err := json.Marshal(x)
		if err != nil {
			return nil, err
		}
		if err := next.put(e.id, string(e.at), raw); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// fetchMISP asks a server's API for attributes that are meant for detection:
// https://www.misp-project.org/openapi/#tag/Attributes/operation/restSearchAttributes
func (c *client) fetchMISP(ctx context.Context, old *store, now time.Time) (*store, error) {
	at := *c.home
	at.Path = strings.TrimSuffix(at.Path, "/") + "/attributes/restSearch"
	at.RawPath, at.RawQuery = "", url.Values{}.Encode()
	next := newStore(c.src.size())
	since := int64(0)
	if old != nil && old.head.AddedAfter != "" && now.Sub(old.head.Whole) < wholeEvery {
		next.take(old)
		since = number(old.head.AddedAfter).int()
	} else {
		next.head.Whole = now
		if c.src.Since > 0 {
			since = now.Add(-c.src.Since).Unix()
		}
	}
	newest := since
	seen := map[string]bool{}
	for page := 1; ; page++ {
		if page > maxPages {
			return nil, errors.New("has pages without end")
		}
		ask := map[string]any{"returnFormat": "json", "to_ids": 1, "published": 1, "limit": pageLimit, "page": page}
		if since > 0 {
			ask["timestamp"] = strconv.FormatInt(since, 10)
		}
		body, err := json.Marshal(ask)
		if err != nil {
			return nil, err
		}
		a, err := c.ask(ctx, "POST", at.String(), body, map[string]string{"Accept": "application/json", "Content-Type": "application/json"}, next.most)
		if err != nil {
			return nil, err
		}
		var x struct {
			Response *struct {
				Attributes []attribute `json:"Attribute"`
			} `json:"response"`
		}
		if err := json.Unmarshal(a.body, &x); err != nil || x.Response == nil {
			return nil, errors.New("answers with what are no attributes of MISP")
		}
		fresh := false
		for _, t := range x.Response.Attributes {
			if t.UUID == "" {
				return nil, errors.New("has an attribute without a UUID")
			}
			newest = max(newest, t.Timestamp.int())
			if !seen[t.UUID] {
				seen[t.UUID], fresh = true, true
			}
			if t.Event != nil {
				t.Event = &event{Info: t.Event.Info}
			}
			var raw []byte
			if t.ToIDs && !t.Deleted {
				if raw, err = json.Marshal(t); err != nil {
					return nil, err
				}
			}
			if err := next.put(t.UUID, string(t.Timestamp), raw); err != nil {
				return nil, err
			}
		}
		// A server that knows no pages gives the first again.
		if len(x.Response.Attributes) < pageLimit || !fresh {
			break
		}
	}
	next.head.AddedAfter = strconv.FormatInt(newest, 10)
	return next, nil
}
