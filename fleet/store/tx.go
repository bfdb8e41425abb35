package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/raytap/raytap/fleet"
)

// Tx is a batch of changes: all of them stand, or none. It has the store's one writing connection, and belongs to one goroutine.
// After an error nothing but Rollback makes sense.
type Tx struct {
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
}

// Begin opens a batch.
func (s *Store) Begin(ctx context.Context) (*Tx, error) {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, wrap(err)
	}
	return &Tx{tx, map[string]*sql.Stmt{}}, nil
}

func (t *Tx) stmt(q string) (*sql.Stmt, error) {
	s := t.stmts[q]
	if s == nil {
		var err error
		if s, err = t.tx.Prepare(q); err != nil {
			return nil, wrap(err)
		}
		t.stmts[q] = s
	}
	return s, nil
}

func (t *Tx) exec(q string, args ...any) error {
	s, err := t.stmt(q)
	if err != nil {
		return err
	}
	_, err = s.Exec(args...)
	return wrap(err)
}

// Commit makes the batch stand.
func (t *Tx) Commit() error { return wrap(t.tx.Commit()) }

// Rollback undoes it.
func (t *Tx) Rollback() { t.tx.Rollback() }

// SetMeta keeps a value.
func (t *Tx) SetMeta(key, value string) error {
	return t.exec("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
}

// Applied notes how far the stream was applied.
func (t *Tx) Applied(seq uint64) error { return t.SetMeta("applied", strconv.FormatUint(seq, 10)) }

// Applied returns it.
func (s *Store) Applied() (uint64, error) {
	v, err := s.Meta("applied")
	if v == "" || err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(v, 10, 64)
	return n, wrap(err)
}

// Rewind forgets what is known of messages after a sequence, which are gone from the stream: others will have these numbers.
func (t *Tx) Rewind(seq uint64) error {
	return errors.Join(t.exec("DELETE FROM marks WHERE seq > ?", int64(seq)), t.exec("DELETE FROM skipped WHERE seq > ?", int64(seq)),
		t.exec("UPDATE history SET seq = ?1 WHERE seq > ?1", int64(seq)))
}

// Mark notes when a sequence was applied.
func (t *Tx) Mark(seq uint64, at time.Time) error {
	return t.exec("INSERT OR IGNORE INTO marks VALUES (?, ?)", int64(seq), unix(at))
}

// Sensor keeps the body of a sensor.
func (t *Tx) Sensor(name string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return wrap(err)
	}
	return t.exec("INSERT INTO sensors VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET body = excluded.body", name, string(b))
}

// Places keeps what is known of the places of a sensor's log.
func (t *Tx) Places(sensor, log string, recent []byte) error {
	return t.exec("INSERT INTO places VALUES (?, ?, ?) ON CONFLICT (sensor, log) DO UPDATE SET recent = excluded.recent", sensor, log, recent)
}

// Source is where a row came from.
type Source struct {
	Seq    uint64    // of the stream
	At     time.Time // when the stream took it
	Sensor string
	// Sensors that saw it, of what was joined.
	Sensors []string
	By      string // who says so; "": Sensor
}

// Finding is a row of notice.log.
type Finding struct {
	ID       string
	Rule     string
	Severity int
	State    string // "open", "closed"; "local": of one sensor, and not joined yet
	TS       float64
	N        int
	Revision int
	Src, Dst string
	Body     []byte
}

// What one sensor said of a finding or an incident.
type seen struct {
	Revision int `json:"revision"`
	N        int `json:"n,omitzero"`
}

// Finding adds a row. A finding is one, whatever number of sensors saw it; the row that stands is the latest revision of the sensor
// that reported it first. It reports whether the store did not know all of it.
func (t *Tx) Finding(from Source, f Finding) (bool, error) {
	s, err := t.stmt("SELECT seen, first, last, n, severity FROM findings WHERE id = ?")
	if err != nil {
		return false, err
	}
	var text string
	var first, last float64
	var n, severity int
	by := sightings{}
	switch err := s.QueryRow(f.ID).Scan(&text, &first, &last, &n, &severity); {
	case errors.Is(err, sql.ErrNoRows):
		by.add(from.Sensor, seen{f.Revision, f.N})
		if err := t.exec("INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", f.ID, f.Rule, f.Severity, f.State, f.TS, f.TS, f.N,
			f.Src, f.Dst, by.String(), unix(from.At), string(f.Body)); err != nil {
			return false, err
		}
		return true, t.change(from, by.names(), "notice", f.ID, f.Revision, f.Body)
	case err != nil:
		return false, wrap(err)
	}
	if err := json.Unmarshal([]byte(text), &by); err != nil {
		return false, wrap(err)
	}
	known, had := by.Sensors[from.Sensor]
	if had && known.Revision >= f.Revision {
		return false, nil
	}
	by.add(from.Sensor, seen{f.Revision, max(f.N, known.N)})
	first, last, n, severity = min(first, f.TS), max(last, f.TS), max(n, f.N), max(severity, f.Severity)
	if from.Sensor == by.First {
		err = t.exec("UPDATE findings SET severity = ?, state = ?, first = ?, last = ?, n = ?, seen = ?, updated = ?, body = ? WHERE id = ?",
			severity, f.State, first, last, n, by.String(), unix(from.At), string(f.Body), f.ID)
	} else {
		err = t.exec("UPDATE findings SET severity = ?, first = ?, last = ?, n = ?, seen = ?, updated = ? WHERE id = ?",
			severity, first, last, n, by.String(), unix(from.At), f.ID)
	}
	if err != nil {
		return false, err
	}
	return true, t.change(from, by.names(), "notice", f.ID, f.Revision, f.Body)
}

// Local adds a row of a sensor that is joined: until Joined or Promote says more, the history does not have it. Of one that was joined
// it says nothing new.
func (t *Tx) Local(from Source, f Finding) error {
	by := sightings{}
	by.add(from.Sensor, seen{f.Revision, f.N})
	return t.exec(`INSERT INTO findings VALUES (?, ?, ?, 'local', ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
		severity = max(severity, excluded.severity), last = max(last, excluded.last), n = max(n, excluded.n), updated = excluded.updated, body = excluded.body
		WHERE state = 'local' AND seen = excluded.seen OR state = 'local' AND json_extract(seen, '$.first') = json_extract(excluded.seen, '$.first')`,
		f.ID, f.Rule, f.Severity, f.TS, f.TS, f.N, f.Src, f.Dst, by.String(), unix(from.At), string(f.Body))
}

// Joined adds a finding of the whole, or a later revision of one. told are the names that it has with sensors: what is known under these
// as local is this one.
func (t *Tx) Joined(from Source, f Finding, told []string) (bool, error) {
	for _, id := range told {
		if id != f.ID {
			if err := t.exec("DELETE FROM findings WHERE id = ? AND state = 'local'", id); err != nil {
				return false, err
			}
		}
	}
	by := sightings{}
	for _, name := range from.Sensors {
		by.add(name, seen{f.Revision, f.N})
	}
	if err := t.exec(`INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET rule = excluded.rule,
		severity = excluded.severity, state = excluded.state, last = max(last, excluded.last), n = max(n, excluded.n), src = excluded.src, dst = excluded.dst,
		seen = excluded.seen, updated = excluded.updated, body = excluded.body`,
		f.ID, f.Rule, f.Severity, f.State, f.TS, f.TS, f.N, f.Src, f.Dst, by.String(), unix(from.At), string(f.Body)); err != nil {
		return false, err
	}
	return true, t.change(from, by.names(), "notice", f.ID, f.Revision, f.Body)
}

// Promote makes a local finding one that stands: joining has nothing else to say of it.
func (t *Tx) Promote(from Source, id string) (bool, error) {
	s, err := t.stmt("UPDATE findings SET state = 'open', updated = ? WHERE id = ? AND state = 'local' RETURNING body")
	if err != nil {
		return false, err
	}
	var body string
	switch err := s.QueryRow(unix(from.At), id).Scan(&body); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, wrap(err)
	}
	return true, t.change(from, from.Sensors, "notice", id, 1, []byte(body))
}

// sightings is who saw something, and who first.
type sightings struct {
	First   string          `json:"first"`
	Sensors map[string]seen `json:"sensors"`
	All     []string        `json:"all,omitempty"` // of what was joined: the sensors that saw it; it was one that reported it
}

func (s *sightings) add(name string, x seen) {
	if s.Sensors == nil {
		s.First, s.Sensors = name, map[string]seen{}
	}
	s.Sensors[name] = x
}

func (s sightings) String() string {
	b, _ := json.Marshal(s) // which has strings and numbers alone
	return string(b)
}

func (s sightings) names() []string {
	if s.All != nil {
		return s.All
	}
	return slices.Sorted(maps.Keys(s.Sensors))
}

// Incident is a row of incidents.log.
type Incident struct {
	ID          string
	Revision    int
	State       string
	Severity    int
	Score       int
	First, Last float64
	Body        []byte
}

// Incident adds a row; the highest revision of the one that reported it first stands. It reports whether it was new.
func (t *Tx) Incident(from Source, x Incident) (bool, error) {
	s, err := t.stmt("SELECT seen FROM incidents WHERE id = ?")
	if err != nil {
		return false, err
	}
	var text string
	by := sightings{}
	switch err := s.QueryRow(x.ID).Scan(&text); {
	case errors.Is(err, sql.ErrNoRows):
		by.add(from.Sensor, seen{Revision: x.Revision})
		by.All = from.Sensors
		if err := t.exec("INSERT INTO incidents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", x.ID, x.Revision, x.State, x.Severity, x.Score, x.First, x.Last,
			by.String(), unix(from.At), string(x.Body)); err != nil {
			return false, err
		}
		return true, t.change(from, by.names(), "incidents", x.ID, x.Revision, x.Body)
	case err != nil:
		return false, wrap(err)
	}
	if err := json.Unmarshal([]byte(text), &by); err != nil {
		return false, wrap(err)
	}
	if known, had := by.Sensors[from.Sensor]; had && known.Revision >= x.Revision {
		return false, nil
	}
	by.add(from.Sensor, seen{Revision: x.Revision})
	if from.Sensors != nil { // what was joined stands, whatever a sensor reported of its part before
		by.All, by.First = from.Sensors, from.Sensor
	}
	if from.Sensor == by.First {
		err = t.exec("UPDATE incidents SET revision = ?, state = ?, severity = ?, score = ?, first = ?, last = ?, seen = ?, updated = ?, body = ? WHERE id = ?",
			x.Revision, x.State, x.Severity, x.Score, x.First, x.Last, by.String(), unix(from.At), string(x.Body), x.ID)
	} else {
		err = t.exec("UPDATE incidents SET seen = ?, updated = ? WHERE id = ?", by.String(), unix(from.At), x.ID)
	}
	if err != nil {
		return false, err
	}
	return true, t.change(from, by.names(), "incidents", x.ID, x.Revision, x.Body)
}

// HasIncident reports whether there is one of that name.
func (t *Tx) HasIncident(id string) (bool, error) {
	b, err := t.IncidentBody(id)
	return b != nil, err
}

// IncidentBody is the row that stands of an incident; nil: there is none.
func (t *Tx) IncidentBody(id string) ([]byte, error) {
	var body string
	err := t.one("SELECT body FROM incidents WHERE id = ?", []any{id}, &body)
	if body == "" || err != nil {
		return nil, err
	}
	return []byte(body), nil
}

// OpenIncidents are the rows of incidents that were joined, are open, and had something happen since; those that began first come first.
func (t *Tx) OpenIncidents(since float64) (bodies [][]byte, err error) {
	s, err := t.stmt("SELECT body FROM incidents WHERE state = 'open' AND last >= ? AND json_extract(seen, '$.first') = ? ORDER BY first, id LIMIT 1000")
	if err != nil {
		return nil, err
	}
	rows, err := s.Query(since, fleet.HubSensor)
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		var body string
		if err := rows.Scan(&body); err != nil {
			return nil, wrap(err)
		}
		bodies = append(bodies, []byte(body))
	}
	return bodies, wrap(rows.Err())
}

// FindingOf is the finding of a rule that an incident is told by, with its revision; "": there is none.
func (t *Tx) FindingOf(rule, incident string) (id string, revision int, err error) {
	err = t.one("SELECT id, coalesce(json_extract(body, '$.revision'), 1) FROM findings WHERE rule = ? AND state <> 'local' AND json_extract(body, '$.incident_id') = ? LIMIT 1",
		[]any{rule, incident}, &id, &revision)
	return id, revision, err
}

// one reads the one row of a query, if there is one.
func (t *Tx) one(query string, args []any, into ...any) error {
	s, err := t.stmt(query)
	if err != nil {
		return err
	}
	if err := s.QueryRow(args...).Scan(into...); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return wrap(err)
	}
	return nil
}

// Asset is a row of assets.log.
type Asset struct {
	Name, Kind, Grade string
	First, Last       float64
	Body              []byte
}

// Asset adds a row: of each sensor the latest stands. The history has those that differ in more than times.
func (t *Tx) Asset(from Source, a Asset, changed bool) error {
	if err := t.exec(`INSERT INTO assets VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (asset, sensor) DO UPDATE SET kind = excluded.kind,
		grade = excluded.grade, first = min(first, excluded.first), last = max(last, excluded.last), updated = excluded.updated, body = excluded.body`,
		a.Name, from.Sensor, a.Kind, a.Grade, a.First, a.Last, unix(from.At), string(a.Body)); err != nil || !changed {
		return err
	}
	return t.change(from, []string{from.Sensor}, "assets", a.Name, 0, a.Body)
}

func (t *Tx) change(from Source, by []string, kind, id string, revision int, body []byte) error {
	names, err := json.Marshal(by)
	if err != nil {
		return wrap(err)
	}
	return t.exec("INSERT INTO history (seq, at, kind, id, revision, sensor, sensors, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		int64(from.Seq), unix(from.At), kind, id, revision, cmp.Or(from.By, from.Sensor), string(names), string(body))
}

// Skip notes that a message was not applied: a repetition, or refused. Who is fed the stream again leaves it out.
func (t *Tx) Skip(seq uint64) error {
	return t.exec("INSERT OR IGNORE INTO skipped VALUES (?)", int64(seq))
}

// Query says which findings, incidents or assets.
type Query struct {
	Since, Until time.Time // by the time of the last packet; zero: all
	Sensor       string    // those that it saw
	Rule         string
	Host         string // source or destination, attacker or victim
	State        string
	Severity     int // at least
	ID           string
	Limit        int // the latest; 0: all
}

// Item is a finding, an incident or an asset as it stands, with who saw it.
type Item struct {
	ID       string          `json:"id"`
	State    string          `json:"state,omitempty"`
	Severity int             `json:"-"`
	First    float64         `json:"first"`
	Last     float64         `json:"last"`
	N        int             `json:"n,omitzero"`
	Sensors  []string        `json:"sensors"`
	Body     json.RawMessage `json:"row"`
}

// Findings returns the findings of a query, the latest last.
func (s *Store) Findings(q Query) ([]Item, error) {
	return s.items(`SELECT id, state, severity, first, last, n, seen, body FROM findings WHERE last >= ?1 AND first <= ?2 AND severity >= ?3
		AND (?4 = '' OR state = ?4) AND (?5 = '' OR id = ?5) AND (?6 = '' OR rule = ?6) AND (?7 = '' OR src = ?7 OR dst = ?7)
		AND (?8 = '' OR EXISTS (SELECT 1 FROM json_each(seen, '$.sensors') WHERE key = ?8) OR EXISTS (SELECT 1 FROM json_each(seen, '$.all') WHERE value = ?8)) ORDER BY last DESC, id LIMIT ?9`, q)
}

// Incidents likewise.
func (s *Store) Incidents(q Query) ([]Item, error) {
	return s.items(`SELECT id, state, severity, first, last, 0, seen, body FROM incidents WHERE last >= ?1 AND first <= ?2 AND severity >= ?3
		AND (?4 = '' OR state = ?4) AND (?5 = '' OR id = ?5) AND ?6 = ''
		AND (?7 = '' OR EXISTS (SELECT 1 FROM json_each(body, '$.attackers') WHERE value = ?7) OR EXISTS (SELECT 1 FROM json_each(body, '$.victims') WHERE value = ?7))
		AND (?8 = '' OR EXISTS (SELECT 1 FROM json_each(seen, '$.sensors') WHERE key = ?8) OR EXISTS (SELECT 1 FROM json_each(seen, '$.all') WHERE value = ?8)) ORDER BY last DESC, id LIMIT ?9`, q)
}

func (s *Store) items(query string, q Query) ([]Item, error) {
	rows, err := s.read.Query(query, bounds(q)...)
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	var all []Item
	for rows.Next() {
		var x Item
		var text, body string
		if err := rows.Scan(&x.ID, &x.State, &x.Severity, &x.First, &x.Last, &x.N, &text, &body); err != nil {
			return nil, wrap(err)
		}
		var by sightings
		if err := json.Unmarshal([]byte(text), &by); err != nil {
			return nil, wrap(err)
		}
		x.Sensors, x.Body = by.names(), json.RawMessage(body)
		all = append(all, x)
	}
	slices.Reverse(all)
	return all, wrap(rows.Err())
}

func bounds(q Query) []any {
	until := 1e12
	if !q.Until.IsZero() {
		until = unix(q.Until)
	}
	return []any{unix(q.Since), until, q.Severity, q.State, q.ID, q.Rule, q.Host, q.Sensor, cmp.Or(q.Limit, -1)}
}

// Assets returns what is known of assets: of each the row that was joined, else the latest of any sensor, and who saw it.
func (s *Store) Assets(q Query) ([]Item, error) {
	rows, err := s.read.Query(`SELECT asset, min(first) OVER w, max(last) OVER w, sensor, body FROM assets
		WHERE last >= ? AND first <= ? AND (? = '' OR asset = ?) WINDOW w AS (PARTITION BY asset) ORDER BY asset, sensor = ? DESC, last DESC, sensor`,
		unix(q.Since), bounds(q)[1], q.ID, q.ID, fleet.HubSensor)
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	var all []Item
	for rows.Next() {
		var x Item
		var sensor, body string
		if err := rows.Scan(&x.ID, &x.First, &x.Last, &sensor, &body); err != nil {
			return nil, wrap(err)
		}
		if n := len(all); n > 0 && all[n-1].ID == x.ID {
			all[n-1].Sensors = append(all[n-1].Sensors, sensor)
			continue
		}
		x.Sensors, x.Body = []string{}, json.RawMessage(body)
		if sensor != fleet.HubSensor {
			x.Sensors = append(x.Sensors, sensor)
		}
		all = append(all, x)
	}
	all = slices.DeleteFunc(all, func(x Item) bool { return q.Sensor != "" && !slices.Contains(x.Sensors, q.Sensor) })
	for i := range all {
		slices.Sort(all[i].Sensors)
	}
	return all, wrap(rows.Err())
}

// Counts returns how many findings, incidents and assets there are.
func (s *Store) Counts() (findings, incidents, assets int64, err error) {
	err = s.read.QueryRow("SELECT (SELECT count(*) FROM findings), (SELECT count(*) FROM incidents), (SELECT count(DISTINCT asset) FROM assets)").
		Scan(&findings, &incidents, &assets)
	return findings, incidents, assets, wrap(err)
}
