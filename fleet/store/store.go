// Package store keeps what a hub knows in one SQLite file: findings with the sensors that saw them, incidents, assets, sensors,
// their history, and how far the stream was applied. What a batch of rows changed and how far it came is one transaction, so that a
// hub that is killed neither loses nor doubles a row. Several programs may have the file open: the hub writes rows, commands enroll
// and read.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	_ "modernc.org/sqlite" // driver "sqlite"
)

// migrations bring the file from version i to i+1; PRAGMA user_version is the version. They are never changed, only added to.
var migrations = []string{`
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE enrolments (key TEXT PRIMARY KEY, name TEXT NOT NULL, at REAL NOT NULL, revoked REAL) WITHOUT ROWID;
CREATE INDEX enrolments_name ON enrolments (name);
CREATE TABLE sensors (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE places (sensor TEXT NOT NULL, log TEXT NOT NULL, recent BLOB NOT NULL, PRIMARY KEY (sensor, log)) WITHOUT ROWID;
CREATE TABLE skipped (seq INTEGER PRIMARY KEY);
CREATE TABLE marks (seq INTEGER PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE findings (
	id TEXT PRIMARY KEY, rule TEXT NOT NULL, severity INTEGER NOT NULL, state TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
	n INTEGER NOT NULL, src TEXT NOT NULL, dst TEXT NOT NULL, seen TEXT NOT NULL, updated REAL NOT NULL, body TEXT NOT NULL);
CREATE INDEX findings_last ON findings (last);
CREATE INDEX findings_updated ON findings (updated);
CREATE TABLE incidents (
	id TEXT PRIMARY KEY, revision INTEGER NOT NULL, state TEXT NOT NULL, severity INTEGER NOT NULL, score INTEGER NOT NULL,
	first REAL NOT NULL, last REAL NOT NULL, seen TEXT NOT NULL, updated REAL NOT NULL, body TEXT NOT NULL);
CREATE INDEX incidents_last ON incidents (last);
CREATE INDEX incidents_updated ON incidents (updated);
CREATE TABLE assets (
	asset TEXT NOT NULL, sensor TEXT NOT NULL, kind TEXT NOT NULL, grade TEXT NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
	updated REAL NOT NULL, body TEXT NOT NULL, PRIMARY KEY (asset, sensor));
CREATE INDEX assets_updated ON assets (updated);
CREATE TABLE history (
	pos INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL,
	revision INTEGER NOT NULL, sensor TEXT NOT NULL, sensors TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX history_seq ON history (seq);
CREATE INDEX history_at ON history (at);
CREATE INDEX history_id ON history (id);
`}

// Store is an open file. Its methods may be called from any goroutine.
type Store struct {
	path  string
	write *sql.DB // one connection
	read  *sql.DB
}

// Open opens the file at path, makes it if there is none, and brings it to this version. A file of a later version is an error.
func Open(path string) (*Store, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // findings name credentials and hosts: nobody else's
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	f.Close()
	s := &Store{path: path}
	name := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(20000)&_pragma=auto_vacuum(2)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)" +
		"&_pragma=cache_size(-16000)&_pragma=journal_size_limit(67108864)&_txlock=immediate"
	if s.write, err = sql.Open("sqlite", name); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.write.SetMaxOpenConns(1)
	if err := s.migrate(); err != nil {
		s.write.Close()
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	if s.read, err = sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(20000)&_pragma=query_only(1)"); err != nil {
		s.write.Close()
		return nil, fmt.Errorf("store: %w", err)
	}
	s.read.SetMaxOpenConns(4)
	return s, nil
}

func (s *Store) migrate() error {
	var version int
	if err := s.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(migrations) {
		return fmt.Errorf("of version %d, and this program knows %d: use a later one", version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		tx, err := s.write.Begin()
		if err != nil {
			return err
		}
		var now int // another program may have done it meanwhile
		err = tx.QueryRow("PRAGMA user_version").Scan(&now)
		if err == nil && now == version {
			_, err = tx.Exec(migrations[version] + fmt.Sprintf("PRAGMA user_version = %d;", version+1))
		}
		if err != nil {
			tx.Rollback()
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes the file.
func (s *Store) Close() error { return errors.Join(s.read.Close(), s.write.Close()) }

// Backup writes the whole store as it is now to a file that must not exist yet, while others read and write. The files, by name, go
// with it: Restore gives them back.
func (s *Store) Backup(path string, files map[string][]byte) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store: backup: %w", err)
	}
	f.Close()
	defer func() {
		if err != nil {
			os.Remove(path)
			err = fmt.Errorf("store: backup: %w", err)
		}
	}()
	from, err := sql.Open("sqlite", "file:"+(&url.URL{Path: s.path}).EscapedPath()+"?_pragma=busy_timeout(20000)")
	if err != nil {
		return err
	}
	// SQLite writes into an empty file that is there, whose mode stays. It reads one state, while others write.
	_, err = from.Exec("VACUUM INTO ?", path)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=journal_mode(DELETE)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err = tx.Exec("CREATE TABLE files (name TEXT PRIMARY KEY, content BLOB NOT NULL)"); err != nil {
		return err
	}
	for name, b := range files {
		if _, err = tx.Exec("INSERT INTO files VALUES (?, ?)", name, b); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// TakeFiles returns and removes the files that Backup put into a copy.
func (s *Store) TakeFiles() (map[string][]byte, error) {
	all := map[string][]byte{}
	tx, err := s.write.Begin()
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer tx.Rollback()
	rows, err := tx.Query("SELECT name, content FROM files")
	if err != nil {
		return nil, errors.New("store: not a backup of a hub")
	}
	for rows.Next() {
		var name string
		var b []byte
		if err := rows.Scan(&name, &b); err != nil {
			rows.Close()
			return nil, fmt.Errorf("store: %w", err)
		}
		all[name] = b
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if _, err := tx.Exec("DROP TABLE files"); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return all, nil
}

// Enrolment is a key that a sensor was given.
type Enrolment struct {
	Key     string
	Name    string
	At      time.Time
	Revoked time.Time // zero: it is valid
}

// Enroll notes a key.
func (s *Store) Enroll(e Enrolment) error {
	_, err := s.write.Exec("INSERT INTO enrolments (key, name, at) VALUES (?, ?, ?)", e.Key, e.Name, unix(e.At))
	return wrap(err)
}

// Revoke notes that a key is no longer valid.
func (s *Store) Revoke(key string, at time.Time) error {
	_, err := s.write.Exec("UPDATE enrolments SET revoked = ? WHERE key = ?", unix(at), key)
	return wrap(err)
}

// Enrolments returns all keys, in the order of names and times.
func (s *Store) Enrolments() ([]Enrolment, error) {
	rows, err := s.read.Query("SELECT key, name, at, coalesce(revoked, 0) FROM enrolments ORDER BY name, at, key")
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	var all []Enrolment
	for rows.Next() {
		var e Enrolment
		var at, revoked float64
		if err := rows.Scan(&e.Key, &e.Name, &at, &revoked); err != nil {
			return nil, wrap(err)
		}
		e.At, e.Revoked = Time(at), Time(revoked)
		all = append(all, e)
	}
	return all, wrap(rows.Err())
}

// Meta returns a value that a transaction set, "" without.
func (s *Store) Meta(key string) (string, error) {
	var v string
	err := s.write.QueryRow("SELECT value FROM meta WHERE key = ?", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, wrap(err)
}

// Sensors returns the bodies of all sensors by name.
func (s *Store) Sensors() (map[string]json.RawMessage, error) {
	rows, err := s.read.Query("SELECT name, body FROM sensors")
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	all := map[string]json.RawMessage{}
	for rows.Next() {
		var name, body string
		if err := rows.Scan(&name, &body); err != nil {
			return nil, wrap(err)
		}
		all[name] = json.RawMessage(body)
	}
	return all, wrap(rows.Err())
}

// Places calls f with what Tx.Places kept.
func (s *Store) Places(f func(sensor, log string, recent []byte)) error {
	rows, err := s.read.Query("SELECT sensor, log, recent FROM places")
	if err != nil {
		return wrap(err)
	}
	defer rows.Close()
	for rows.Next() {
		var sensor, log string
		var b []byte
		if err := rows.Scan(&sensor, &log, &b); err != nil {
			return wrap(err)
		}
		f(sensor, log, b)
	}
	return wrap(rows.Err())
}

// MarkBefore returns the highest sequence of the stream that was applied at the time or before; 0 without one.
func (s *Store) MarkBefore(at time.Time) (uint64, error) {
	var seq int64
	err := s.read.QueryRow("SELECT coalesce(max(seq), 0) FROM marks WHERE at <= ?", unix(at)).Scan(&seq)
	return uint64(seq), wrap(err)
}

// Skipped returns the sequences after one whose messages Tx.Skip noted.
func (s *Store) Skipped(after uint64) (map[uint64]bool, error) {
	rows, err := s.read.Query("SELECT seq FROM skipped WHERE seq > ?", int64(after))
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	all := map[uint64]bool{}
	for rows.Next() {
		var seq int64
		if err := rows.Scan(&seq); err != nil {
			return nil, wrap(err)
		}
		all[uint64(seq)] = true
	}
	return all, wrap(rows.Err())
}

// Change is a row of the history: what became of a finding, an incident or an asset.
type Change struct {
	Pos      int64           `json:"pos"`
	Seq      uint64          `json:"seq"` // of the message of the stream that brought it
	At       float64         `json:"at"`  // when the stream took that, Unix time
	Kind     string          `json:"kind"`
	ID       string          `json:"id"`
	Revision int             `json:"revision"`
	Sensor   string          `json:"sensor"`  // that reported it; fleet.HubSensor: a hub did
	Sensors  json.RawMessage `json:"sensors"` // all that had, then: an array of names
	Body     json.RawMessage `json:"body"`
}

// Changes returns up to limit rows of the history after a sequence of the stream, in their order; rows of one sequence are never
// divided but for the limit, which is then exceeded.
func (s *Store) Changes(after uint64, limit int) ([]Change, error) {
	all, err := s.changes("seq > ? ORDER BY seq, pos LIMIT ?", int64(after), limit)
	if err != nil || len(all) < limit {
		return all, err
	}
	last := all[len(all)-1]
	rest, err := s.changes("seq = ? AND pos > ? ORDER BY pos", int64(last.Seq), last.Pos)
	return append(all, rest...), err
}

// History returns the changes of one finding, incident or asset.
func (s *Store) History(id string) ([]Change, error) {
	return s.changes("id = ? ORDER BY pos LIMIT 10000", id)
}

func (s *Store) changes(where string, args ...any) ([]Change, error) {
	rows, err := s.read.Query("SELECT pos, seq, at, kind, id, revision, sensor, sensors, body FROM history WHERE "+where, args...)
	if err != nil {
		return nil, wrap(err)
	}
	defer rows.Close()
	var all []Change
	for rows.Next() {
		var c Change
		var seq int64
		var sensors, body string
		if err := rows.Scan(&c.Pos, &seq, &c.At, &c.Kind, &c.ID, &c.Revision, &c.Sensor, &sensors, &body); err != nil {
			return nil, wrap(err)
		}
		c.Seq, c.Sensors, c.Body = uint64(seq), json.RawMessage(sensors), json.RawMessage(body)
		all = append(all, c)
	}
	return all, wrap(rows.Err())
}

// Trim deletes what is older than keep, and then the oldest until the file has no more than maxBytes of content; 0: without that
// bound. Keys of sensors, sensors and places stay. It works in steps, between which others write.
func (s *Store) Trim(ctx context.Context, now time.Time, keep time.Duration, maxBytes int64) (deleted int64, err error) {
	old := unix(now.Add(-keep))
	if keep > 0 {
		for _, q := range []string{
			"DELETE FROM history WHERE pos IN (SELECT pos FROM history WHERE at < ? ORDER BY at LIMIT 2000)",
			"DELETE FROM findings WHERE id IN (SELECT id FROM findings WHERE updated < ? LIMIT 2000)",
			"DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE updated < ? LIMIT 2000)",
			"DELETE FROM assets WHERE rowid IN (SELECT rowid FROM assets WHERE updated < ? LIMIT 2000)",
			"DELETE FROM skipped WHERE seq < (SELECT coalesce(max(seq), 0) FROM marks WHERE at < ?)",
			"DELETE FROM marks WHERE at < ?",
		} {
			for ctx.Err() == nil {
				n, err := s.exec(q, old)
				if err != nil {
					return deleted, err
				}
				if deleted += n; n < 2000 {
					break
				}
			}
		}
	}
	for maxBytes > 0 && ctx.Err() == nil {
		size, err := s.Size()
		if err != nil || size <= maxBytes {
			break
		}
		var n int64
		// History first, as what is in it is told by the newest state, too.
		for _, q := range []string{
			"DELETE FROM history WHERE pos IN (SELECT pos FROM history ORDER BY pos LIMIT 5000)",
			"DELETE FROM findings WHERE id IN (SELECT id FROM findings ORDER BY updated LIMIT 2000)",
			"DELETE FROM incidents WHERE id IN (SELECT id FROM incidents ORDER BY updated LIMIT 200)",
			"DELETE FROM assets WHERE rowid IN (SELECT rowid FROM assets ORDER BY updated LIMIT 200)",
		} {
			if n, err = s.exec(q); err != nil {
				return deleted, err
			}
			if deleted += n; n > 0 {
				break
			}
		}
		if n == 0 {
			break
		}
	}
	if deleted > 0 {
		rows, err := s.write.Query("PRAGMA incremental_vacuum(20000)")
		if err != nil {
			return deleted, wrap(err)
		}
		for rows.Next() {
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return deleted, wrap(err)
		}
	}
	return deleted, nil
}

// Size returns how many bytes of the file have content.
func (s *Store) Size() (int64, error) {
	var pages, free, size int64
	err := s.read.QueryRow("SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&pages, &free, &size)
	return (pages - free) * size, wrap(err)
}

func (s *Store) exec(q string, args ...any) (int64, error) {
	r, err := s.write.Exec(q, args...)
	if err != nil {
		return 0, wrap(err)
	}
	return r.RowsAffected()
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("store: %w", err)
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMicro()) / 1e6
}

// Time is the time of Unix seconds; zero for 0.
func Time(f float64) time.Time {
	if f == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(f * 1e6)).UTC()
}
