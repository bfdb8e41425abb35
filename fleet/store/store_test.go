package store

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "a store?.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func batch(t *testing.T, s *Store, f func(*Tx) error) {
	t.Helper()
	tx, err := s.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

func finding(id string, n, revision int) Finding {
	return Finding{ID: id, Rule: "scan/ports", Severity: 1, State: "open", TS: 1.8e9, N: n, Revision: revision, Src: "192.0.2.1", Dst: "192.0.2.2", Body: fmt.Appendf(nil, `{"n":%d}`, n)}
}

var at = time.Unix(1.8e9, 0)

// TestFinding has two sensors tell of one finding, in revisions that come again and late.
func TestFinding(t *testing.T) {
	s := open(t)
	for i, c := range []struct {
		sensor      string
		n, revision int
		news        bool
	}{{"a", 1, 1, true}, {"a", 1, 1, false}, {"b", 7, 1, true}, {"a", 4, 2, true}, {"a", 1, 1, false}, {"b", 7, 1, false}} {
		batch(t, s, func(tx *Tx) error {
			news, err := tx.Finding(Source{Seq: uint64(i + 1), At: at, Sensor: c.sensor}, finding("R1", c.n, c.revision))
			if news != c.news {
				t.Errorf("%+v: new %v", c, news)
			}
			return err
		})
	}
	all, err := s.Findings(Query{})
	if err != nil || len(all) != 1 || all[0].N != 7 || string(all[0].Body) != `{"n":4}` || !slices.Equal(all[0].Sensors, []string{"a", "b"}) {
		t.Errorf("%+v %v", all, err)
	}
	changes, err := s.Changes(0, 2)
	if err != nil || len(changes) != 2 || changes[1].Seq != 3 || string(changes[1].Sensors) != `["a","b"]` {
		t.Errorf("%+v %v", changes, err)
	}
	if changes, err = s.Changes(3, 100); err != nil || len(changes) != 1 {
		t.Errorf("%+v %v", changes, err)
	}
}

// TestJoinedFinding turns what sensors said of their parts into one of the whole.
func TestJoinedFinding(t *testing.T) {
	s := open(t)
	batch(t, s, func(tx *Tx) error {
		for _, x := range []struct{ sensor, id string }{{"a", "Ra"}, {"b", "Rb"}, {"b", "Ralone"}} {
			if err := tx.Local(Source{Seq: 1, At: at, Sensor: x.sensor}, finding(x.id, 1, 1)); err != nil {
				return err
			}
		}
		return nil
	})
	if all, err := s.Changes(0, 100); err != nil || len(all) != 0 {
		t.Errorf("the history has what is local: %+v %v", all, err)
	}
	batch(t, s, func(tx *Tx) error {
		_, err := tx.Joined(Source{Seq: 2, At: at, Sensor: "hub", Sensors: []string{"a", "b"}}, finding("Ra", 2, 1), []string{"Ra", "Rb"})
		return err
	})
	batch(t, s, func(tx *Tx) error { // which says it again
		return tx.Local(Source{Seq: 3, At: at, Sensor: "a"}, finding("Ra", 1, 2))
	})
	batch(t, s, func(tx *Tx) error {
		news, err := tx.Promote(Source{Seq: 4, At: at, Sensors: []string{"b"}}, "Ralone")
		if !news {
			t.Error("not promoted")
		}
		return err
	})
	all, err := s.Findings(Query{})
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v %v", all, err)
	}
	for _, x := range all {
		if x.State != "open" || x.ID == "Ra" && (x.N != 2 || len(x.Sensors) != 2) {
			t.Errorf("%+v", x)
		}
	}
}

// TestTrim bounds a store by age, then by size.
// TestJoinedIncident: what was joined stands, though a sensor told of its part before, with a higher revision.
func TestJoinedIncident(t *testing.T) {
	s := open(t)
	at := time.Unix(1700000000, 0)
	batch(t, s, func(tx *Tx) error {
		if _, err := tx.Incident(Source{Seq: 1, At: at, Sensor: "a"}, Incident{ID: "I1", Revision: 3, State: "closed", Score: 80, Body: []byte(`{"part":1}`)}); err != nil {
			return err
		}
		_, err := tx.Incident(Source{Seq: 2, At: at, Sensor: "hub", Sensors: []string{"a", "b"}}, Incident{ID: "I1", Revision: 1, State: "open", Score: 100, Body: []byte(`{"whole":1}`)})
		return err
	})
	batch(t, s, func(tx *Tx) error {
		_, err := tx.Incident(Source{Seq: 3, At: at, Sensor: "a"}, Incident{ID: "I1", Revision: 4, State: "closed", Score: 80, Body: []byte(`{"part":2}`)})
		return err
	})
	var body string
	if err := s.read.QueryRow("SELECT body FROM incidents").Scan(&body); err != nil || body != `{"whole":1}` {
		t.Errorf("%v %s", err, body)
	}
}

func TestTrim(t *testing.T) {
	s := open(t)
	const n = 5000
	batch(t, s, func(tx *Tx) error {
		for i := range n {
			f := finding(fmt.Sprintf("R%d", i), 1, 1)
			f.Body = fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("x", 500))
			if _, err := tx.Finding(Source{Seq: uint64(i + 1), At: at.Add(time.Duration(i) * time.Minute), Sensor: "a"}, f); err != nil {
				return err
			}
		}
		return tx.Applied(n)
	})
	ctx := context.Background()
	now := at.Add(n * time.Minute)
	if _, err := s.Trim(ctx, now, 1000*time.Minute, 0); err != nil {
		t.Fatal(err)
	}
	all, err := s.Findings(Query{})
	if err != nil || len(all) != 1000 {
		t.Fatalf("%d findings %v", len(all), err)
	}
	before, err := s.Size()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Trim(ctx, now, 0, before/4); err != nil {
		t.Fatal(err)
	}
	after, err := s.Size()
	if err != nil || after > before/4 {
		t.Errorf("%d bytes of %d, %v", after, before, err)
	}
	if seq, err := s.Applied(); err != nil || seq != n {
		t.Error(seq, err)
	}
}

// TestVersions opens a store twice, and refuses one of a later version.
func TestVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	for range 2 {
		s, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.write.Exec(fmt.Sprintf("PRAGMA user_version = %d", len(migrations)+1)); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "later") {
		t.Error(err)
	}
}
