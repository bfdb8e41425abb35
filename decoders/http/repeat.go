package http

import (
	"bytes"
	"slices"
)

// Repeats implements capture.Repeater: the same request with the same answer, of both of which everything is known. A
// connection with thousands of them in a second says no more by the next.
func (t *Transaction) Repeats(earlier any) bool {
	o, ok := earlier.(*Transaction)
	if !ok || t.Request == nil || o.Request == nil || (t.Response == nil) != (o.Response == nil) || t.Flow != o.Flow {
		return false
	}
	q, p := t.Request, o.Request
	if q.Method != p.Method || q.Target != p.Target || q.Version != p.Version || q.Partial || p.Partial ||
		!slices.Equal(q.Header, p.Header) || !slices.Equal(q.Trailer, p.Trailer) || !q.Body.repeats(&p.Body) {
		return false
	}
	r, s := t.Response, o.Response
	return r == nil || r.Status == s.Status && r.Reason == s.Reason && slices.Equal(r.Header, s.Header) &&
		slices.Equal(r.Trailer, s.Trailer) && r.Simple == nil && s.Simple == nil && r.Body.repeats(&s.Body)
}

// repeats reports whether both bodies are the same. Of one that was not kept that cannot be told.
func (b *Body) repeats(o *Body) bool {
	return b.Len == o.Len && b.Missing == 0 && o.Missing == 0 && int64(len(b.Data)) == b.Len && len(b.Data) <= repeatBody &&
		b.Encoding == o.Encoding && bytes.Equal(b.Data, o.Data)
}

// repeatBody is the longest body that is compared.
const repeatBody = 256
