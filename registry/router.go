package registry

import (
	"hash/maphash"
	"strings"

	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/interpreters/aiservices"
	"github.com/raytap/raytap/interpreters/ray"
)

// router remembers what is neither a call to Ray nor the answer of a product like it: whether a path is on a route of
// theirs, and answers in which nothing was found. Most of a web server's traffic is the same few of both, and to find out
// that they are nothing is a fifth of what a transaction costs. It belongs to one goroutine.
type router struct {
	seed    maphash.Seed // of places: strangers choose paths
	paths   [1 << 10]plainPath
	answers [1 << 10]plainAnswer
}

// plainPath is a path, and whether no route fits it.
type plainPath struct {
	path    string
	nobodys bool
}

// plainAnswer is the whole answer to a GET. If all of it comes again it says nothing again.
type plainAnswer struct {
	path   string
	fields uint64
	status int
	sha256 string
}

func newRouter() *router { return &router{seed: maphash.MakeSeed()} }

// pathOf gives a request's target without its query.
func pathOf(q *http.Request) string {
	path, _, _ := strings.Cut(q.Target, "?")
	return path
}

// nobodys says whether no route of Ray's or of a product fits the path.
func (r *router) nobodys(path string) bool {
	if path == "" {
		return false // unknown
	}
	at := &r.paths[maphash.String(r.seed, path)%uint64(len(r.paths))]
	if at.path != path {
		// The path is of one allocation with a long query, perhaps.
		*at = plainPath{strings.Clone(path), !ray.Routed(path) && !aiservices.Routed(path)}
	}
	return at.nobodys
}

// answerOf describes the answer of t, if it is one that can be told by what is known of it: the result, where its place
// is, is nil otherwise.
func (r *router) answerOf(t *http.Transaction, path string) (a plainAnswer, at *plainAnswer) {
	q, p := t.Request, t.Response
	if p == nil || q.Method != "GET" || q.Body.Len > 0 || p.FieldsID() == 0 || !p.Body.Complete || len(p.Body.Files) > 1 ||
		len(p.Body.Files) == 0 && p.Body.Len > 0 || len(p.Trailer) > 0 || ray.OnPort(t.Flow) {
		return a, nil
	}
	a = plainAnswer{path: path, fields: p.FieldsID(), status: p.Status}
	if len(p.Body.Files) == 1 {
		if a.sha256 = p.Body.Files[0].SHA256; a.sha256 == "" {
			return a, nil
		}
	}
	return a, &r.answers[(maphash.String(r.seed, path)^a.fields)%uint64(len(r.answers))]
}

// interpret reads t as a call to Ray, or as what a product like it says of itself; nil if it is neither.
func (r *router) interpret(t *http.Transaction) any {
	if t.Request == nil {
		if c := ray.Interpret(t); c != nil {
			return c
		}
		return nil
	}
	path := pathOf(t.Request)
	if r.nobodys(path) {
		if b := aiservices.ByFields(t); b != nil {
			return b
		}
		return nil
	}
	a, at := r.answerOf(t, path)
	if at != nil && *at == a {
		return nil
	}
	if c := ray.Interpret(t); c != nil {
		return c
	}
	if b := aiservices.Interpret(t); b != nil {
		return b
	}
	if at != nil {
		a.path = strings.Clone(a.path)
		*at = a
	}
	return nil
}

// keepBody says how much of a body interpret wants.
func (r *router) keepBody(t *http.Transaction, resp bool) int {
	if t.Request == nil {
		return ray.KeepBody(t, resp)
	}
	if r.nobodys(pathOf(t.Request)) {
		return 0
	}
	return max(ray.KeepBody(t, resp), aiservices.KeepBody(t, resp))
}
