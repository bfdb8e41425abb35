package ship

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/zeek"
)

// numbered is a row of a log that tells how many came before it.
type numbered struct {
	log string
	n   uint64
	pad string
}

func (r *numbered) Log() string { return r.log }

func (r *numbered) Row(w capture.Fields) {
	w.Time("ts", capture.Time(1_700_000_000_000_000_000+int64(r.n)*1000), true)
	w.Count("number", r.n, true)
	w.String("pad", r.pad, r.pad != "")
}

// sensor writes logs as a sensor does.
type sensor struct {
	t    testing.TB
	dir  string
	opt  zeek.LiveOptions
	live *zeek.Live
	now  time.Time
	n    map[string]uint64
}

func newSensor(t testing.TB, dir string, opt zeek.LiveOptions) *sensor {
	s := &sensor{t: t, dir: dir, opt: opt, now: time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC), n: map[string]uint64{}}
	s.start()
	return s
}

func (s *sensor) start() {
	s.t.Helper()
	var err error
	if s.live, err = zeek.NewLive(s.dir, s.opt, s.now); err != nil {
		s.t.Fatal(err)
	}
}

// rows writes n rows of each log.
func (s *sensor) rows(n int, names ...string) {
	for range n {
		for _, log := range names {
			s.live.Event(&numbered{log, s.n[log], strings.Repeat("x", int(s.n[log]%7))})
			s.n[log]++
		}
	}
}

// pass has time go on: what is held is written, and rotated if it is due.
func (s *sensor) pass(d time.Duration) {
	s.now = s.now.Add(d)
	s.live.Tick(s.now)
	time.Sleep(10 * time.Millisecond) // a tick that finds the one before at work is left out
}

func (s *sensor) stop() {
	if err := s.live.Close(s.now); err != nil {
		s.t.Error(err)
	}
}

// sink is a Transport that keeps what it gets, by id, as a hub does.
type sink struct {
	mu       sync.Mutex
	rows     map[string][]Row
	ids      map[string]bool
	repeated int
	fail     func(i int) error // of the i-th row of a batch; rows before it have arrived
	away     bool
	beats    int
}

func newSink() *sink { return &sink{rows: map[string][]Row{}, ids: map[string]bool{}} }

func (k *sink) Kind() string { return "test" }

func (k *sink) Send(ctx context.Context, rows []Row, _ func(string) error) (res Result, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.away {
		return res, errors.New("away")
	}
	for i, r := range rows {
		if k.fail != nil {
			if err := k.fail(i); err != nil {
				return res, err
			}
		}
		id := fleet.MessageID("node-1", r.Log, r.Place)
		if k.ids[id] {
			k.repeated++
			res.Repeated++
			continue
		}
		k.ids[id] = true
		r.Data = bytes.Clone(r.Data)
		k.rows[r.Log] = append(k.rows[r.Log], r)
	}
	return res, nil
}

func (k *sink) Arrived(context.Context, string) (bool, error) { return false, nil }
func (k *sink) Beat(fleet.Status)                             { k.beats++ }
func (k *sink) Close()                                        {}

func (k *sink) count(log string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.rows[log])
}

func (k *sink) setAway(away bool) {
	k.mu.Lock()
	k.away = away
	k.mu.Unlock()
}

func open(t testing.TB, dir string, k Transport, follow bool, names ...string) *Shipper {
	t.Helper()
	s, err := Open(Options{Dir: dir, Sensor: "node-1", Logs: names, Transport: k, Modes: disk.Default(), Follow: follow, Say: func(text string) { t.Log("said: " + text) }})
	if err != nil {
		t.Fatal(err)
	}
	s.retryFirst, s.retryMost = 2*time.Millisecond, 50*time.Millisecond
	s.listSoon = 100 * time.Millisecond
	return s
}

// shipAll sends what is in a folder.
func shipAll(t testing.TB, dir string, k Transport, names ...string) Status {
	t.Helper()
	s := open(t, dir, k, false, names...)
	s.Start()
	if err := s.Wait(); err != nil {
		t.Fatal(err)
	}
	return s.Status()
}

// until waits for something that is to become true.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !f(); {
		if time.Now().After(end) {
			t.Fatalf("it never came: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// check holds that rows of a log have arrived, each once, in order, as the JSON log has them.
func (k *sink) check(t testing.TB, log string, n uint64) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if uint64(len(k.rows[log])) != n {
		t.Errorf("%d rows of %s have arrived, not %d", len(k.rows[log]), log, n)
	}
	var last fleet.Place
	for i, r := range k.rows[log] {
		var row struct {
			Path   string    `json:"_path"`
			System string    `json:"_system_name"`
			Write  time.Time `json:"_write_ts"`
			N      uint64    `json:"number"`
			Pad    string    `json:"pad"`
		}
		if err := json.Unmarshal(r.Data, &row); err != nil {
			t.Fatalf("%s: %v", r.Data, err)
		}
		if row.Path != log || row.System != "node-1" || row.Write.IsZero() || row.N != uint64(i) || row.Pad != strings.Repeat("x", int(row.N%7)) {
			t.Fatalf("row %d of %s is %s", i, log, r.Data)
		}
		if i > 0 && !last.Less(r.Place) {
			t.Fatalf("place %v of row %d of %s is not behind %v", r.Place, i, log, last)
		}
		last = r.Place
	}
}

var formats = []zeek.LiveOptions{
	{Options: zeek.Options{Format: zeek.TSV}, Interval: time.Hour, Compress: zeek.CompressGzip},
	{Options: zeek.Options{Format: zeek.JSON}, Interval: time.Hour, Compress: zeek.CompressZstd},
	{Options: zeek.Options{Format: zeek.JSON}, Interval: time.Hour, Names: zeek.NamesBegin, Compress: zeek.CompressNone},
}

// TestFollowThroughRotation publishes while logs are written, rotated, compressed and the shipper is restarted.
func TestFollowThroughRotation(t *testing.T) {
	for _, opt := range formats {
		t.Run(opt.Format+opt.Names, func(t *testing.T) {
			dir, k := t.TempDir(), newSink()
			w := newSensor(t, dir, opt)
			s := open(t, dir, k, true, "conn")
			s.Start()
			for i := range 30 {
				w.rows(40, "conn", "notice")
				w.pass(time.Second)
				switch {
				case i%5 == 2:
					w.pass(time.Hour)
				case i%7 == 3: // with another start, of the shipper alone
					s.Close(0)
					s = open(t, dir, k, true, "conn")
					s.Start()
				case i%11 == 5: // of both
					w.stop()
					if err := s.Close(time.Minute); err != nil {
						t.Fatal(err)
					}
					k.check(t, "conn", w.n["conn"])
					w.start()
					s = open(t, dir, k, true, "conn")
					s.Start()
				}
			}
			w.stop()
			if err := s.Close(time.Minute); err != nil {
				t.Fatal(err)
			}
			k.check(t, "conn", w.n["conn"])
			k.check(t, "notice", w.n["notice"])
			if st := s.Status(); st.Waiting != 0 || st.Behind != 0 || st.Lost.Files != 0 || st.Damaged != 0 || st.Error != "" {
				t.Errorf("%+v", st)
			}
			// Nothing is left to be sent.
			before := k.count("conn")
			if st := shipAll(t, dir, k, "conn"); st.Sent != 0 || st.Repeated != 0 || k.count("conn") != before {
				t.Errorf("sent again: %+v", st)
			}
		})
	}
}

// TestAwayForLong has the other side away over several rotations, and failing in the middle of batches.
func TestAwayForLong(t *testing.T) {
	for _, opt := range formats {
		t.Run(opt.Format+opt.Names, func(t *testing.T) {
			dir, k := t.TempDir(), newSink()
			k.away = true
			w := newSensor(t, dir, opt)
			s := open(t, dir, k, true, "conn")
			s.Start()
			for range 6 {
				w.rows(700, "conn", "notice")
				w.pass(time.Second)
				w.pass(time.Hour)
			}
			until(t, "that it waits", func() bool { return s.Status().Error != "" })
			rnd := rand.New(rand.NewPCG(1, 2))
			k.mu.Lock()
			k.away = false
			k.fail = func(int) error {
				if rnd.IntN(1500) == 0 {
					return errors.New("cut off")
				}
				return nil
			}
			k.mu.Unlock()
			w.rows(100, "conn")
			w.stop()
			if err := s.Close(5 * time.Minute); err != nil {
				t.Fatal(err)
			}
			k.check(t, "conn", w.n["conn"])
			k.check(t, "notice", w.n["notice"])
		})
	}
}

// TestKilledSensor copies a folder in the middle of writing, which is what a kill leaves, and goes on with the copy.
func TestKilledSensor(t *testing.T) {
	for _, opt := range formats {
		t.Run(opt.Format+opt.Names, func(t *testing.T) {
			dir, k := t.TempDir(), newSink()
			w := newSensor(t, dir, opt)
			for i := range 8 {
				w.rows(300, "conn")
				w.pass(time.Second)
				path := filepath.Join(w.dir, currentDir, "conn.log")
				size := func() int64 {
					info, err := os.Stat(path)
					if err != nil {
						return 0
					}
					return info.Size()
				}
				last := int64(0)
				until(t, "rows on the disk", func() bool {
					n := size()
					same := n > 0 && n == last
					last = n
					time.Sleep(30 * time.Millisecond)
					return same
				})
				if i%2 == 0 {
					shipAll(t, w.dir, k, "conn")
				}
				next := filepath.Join(t.TempDir(), "logs")
				if err := os.CopyFS(next, os.DirFS(w.dir)); err != nil {
					t.Fatal(err)
				}
				w.live.Close(w.now)
				// Half a row is left of what was being written.
				f, err := os.OpenFile(filepath.Join(next, currentDir, "conn.log"), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				f.WriteString(`{"ts":17`)
				f.Close()
				if i%3 == 0 { // before it is mended
					shipAll(t, next, k, "conn")
				}
				w.dir = next
				w.now = w.now.Add(10 * time.Minute)
				w.start()
			}
			w.stop()
			shipAll(t, w.dir, k, "conn")
			k.check(t, "conn", w.n["conn"])
		})
	}
}

// TestRetention deletes files before they are sent, and holds that this is told.
func TestRetention(t *testing.T) {
	dir, k := t.TempDir(), newSink()
	k.away = true
	w := newSensor(t, dir, formats[0])
	s := open(t, dir, k, true, "conn")
	s.Start()
	w.rows(10, "conn")
	w.pass(time.Second)
	until(t, "that it waits", func() bool { return s.Status().Error != "" })
	for range 3 {
		w.rows(10, "conn")
		w.pass(time.Hour)
	}
	w.stop()
	s.Close(0)
	s = open(t, dir, k, true, "conn") // it knows now what there is
	files, _ := filepath.Glob(filepath.Join(dir, "2026-*", "conn.*"))
	if len(files) < 2 {
		t.Fatal(files)
	}
	slices.Sort(files)
	for _, name := range files[:len(files)-1] {
		os.Remove(name)
	}
	k.setAway(false)
	s.Start()
	if err := s.Close(time.Minute); err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); st.Lost.Files != uint64(len(files)-1) || st.Lost.Bytes == 0 {
		t.Errorf("%+v", st)
	}
	if n := k.count("conn"); n == 0 || n > 30 {
		t.Errorf("%d rows of the last file", n)
	}
	s = open(t, dir, k, false, "conn")
	if st := s.Status(); st.Lost.Files != uint64(len(files)-1) {
		t.Errorf("forgotten: %+v", st)
	}
	s.Start()
	s.Wait()
}

// TestReplay publishes the folder of a replay, in all of its logs, and again after another replay.
func TestReplay(t *testing.T) {
	dir, k := t.TempDir(), newSink()
	write := func(from, n uint64) {
		z, err := zeek.New(dir, zeek.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			z.Event(&numbered{"conn", from + i, ""})
			z.Event(&numbered{"dns", from + i, ""})
		}
		if err := z.Close(0); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 100)
	if st := shipAll(t, dir, k, All); st.Sent != 200 {
		t.Errorf("%+v", st)
	}
	write(0, 100) // the same again
	if st := shipAll(t, dir, k, All); st.Sent != 0 || st.Lost.Files != 0 {
		t.Errorf("%+v", st)
	}
	write(0, 120) // and what came since
	if st := shipAll(t, dir, k, All); st.Sent != 40 || st.Lost.Files != 0 {
		t.Errorf("%+v", st)
	}
	write(0, 60) // one that is cut off is another, and so is what it has
	if st := shipAll(t, dir, k, All); st.Sent != 120 || st.Lost.Files != 0 {
		t.Errorf("%+v", st)
	}
	write(100, 50) // another
	if st := shipAll(t, dir, k, All); st.Sent != 100 || st.Lost.Files != 0 {
		t.Errorf("%+v", st)
	}
	if k.count("conn") != 230 || k.count("dns") != 230 {
		t.Errorf("%d, %d", k.count("conn"), k.count("dns"))
	}
}

// TestSameAsJSONLog holds that rows are those that package logs reads, whatever the form.
func TestSameAsJSONLog(t *testing.T) {
	var got [2][]string
	for i, format := range []string{zeek.TSV, zeek.JSON} {
		dir, k := t.TempDir(), newSink()
		z, err := zeek.New(dir, zeek.Options{Format: format})
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(20) {
			z.Event(&numbered{"conn", n, []string{"", "-", "(empty)", "a\tb\\c", "é\n\x01", "#x"}[n%6]})
		}
		z.Close(0)
		shipAll(t, dir, k, "conn")
		for _, r := range k.rows["conn"] {
			_, row, _ := strings.Cut(string(r.Data), `Z",`)
			got[i] = append(got[i], row)
		}
		f, err := logs.Open(logs.Options{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		f.Read("conn", func(*logs.Row) { n++ })
		if n != len(got[i]) {
			t.Errorf("%d rows of %d", len(got[i]), n)
		}
	}
	if !slices.Equal(got[0], got[1]) {
		t.Errorf("\n%s\n%s", strings.Join(got[0], "\n"), strings.Join(got[1], "\n"))
	}
}

// TestDamaged reads files that a power cut, a full disk and somebody's hands have been at.
func TestDamaged(t *testing.T) {
	dir, k := t.TempDir(), newSink()
	day := filepath.Join(dir, "2026-11-23")
	os.MkdirAll(day, 0o755)
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(day, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	row := func(n int) string { return fmt.Sprintf(`{"ts":1.0,"number":%d}`+"\n", n) }
	put("conn.01:00:00-02:00:00.log", row(0)+"\x00\x00\x00\n"+row(1)+`{"ts":`)
	put("conn.02:00:00-03:00:00.log.gz", "no gzip")
	put("conn.03:00:00-04:00:00.log.zst", "")
	put("conn.04:00:00-05:00:00.log", row(2)+strings.Repeat("y", maxLine+readSize)+"\n"+row(3))
	put("conn.05:00:00-06:00:00.log", "#separator \\x09\n#path\tconn\n#fields\tts\tnumber\n#types\ttime\tcount\n1.0\t4\n1.0\n1.0\tx\n1.0\t5\n#close\tx\n")
	put("conn.06:00:00-07:00:00.log", `{"ts":1.0,"pad":"`+strings.Repeat("z", fleet.MaxRow)+`"}`+"\n"+row(6))
	put("conn.07:00:00-08:00:00.log", "")
	st := shipAll(t, dir, k, "conn")
	var ns []string
	for _, r := range k.rows["conn"] {
		_, n, _ := strings.Cut(string(r.Data), `"number":`)
		ns = append(ns, strings.TrimSuffix(n, "}"))
	}
	if strings.Join(ns, " ") != "0 1 2 3 4 5 6" || st.Refused != 1 || st.Damaged != 6 {
		t.Errorf("%v %+v", ns, st)
	}
	if st := shipAll(t, dir, k, "conn"); st.Sent != 0 || st.Damaged != 0 {
		t.Errorf("%+v", st)
	}
}

// TestJournal cuts the journal at each byte, and holds that what is read of it is what held at some time.
func TestJournal(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	p, fresh, err := openPlaces(dir, "test", "node-1", disk.Default(), now)
	if err != nil || !fresh {
		t.Fatal(err, fresh)
	}
	if _, _, err := openPlaces(dir, "test", "node-1", disk.Default(), now); err == nil {
		t.Error("two have it")
	}
	g, err := p.begin("conn", 7, 9, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(50) {
		if err := p.write(entry{Log: "conn", At: &generation{Gen: g.Gen, Head: 7, HeadN: 9, Offset: i * 10}}, entry{Done: fmt.Sprint("2026-11-23/conn.", i, ".log")}); err != nil {
			t.Fatal(err)
		}
	}
	p.close()
	whole, _ := os.ReadFile(p.path)
	for n := 0; n < len(whole); n += 7 {
		cut := t.TempDir()
		os.WriteFile(filepath.Join(cut, placeFile("test")), whole[:n], 0o600)
		q, _, err := openPlaces(cut, "test", "node-1", disk.Default(), now)
		if err != nil {
			t.Fatal(err)
		}
		at := int64(-1)
		if h := q.find("conn", 7, 9); h != nil {
			at = h.Offset
		}
		if done := int64(len(q.done)); at/10 > done+1 || done > at/10+1 {
			t.Errorf("cut at %d: offset %d, done %d", n, at, done)
		}
		if err := q.write(entry{Done: "x"}); err != nil {
			t.Fatal(err)
		}
		q.close()
		r, err := readPlaces(cut, "test")
		if err != nil || !r.done["x"] {
			t.Errorf("cut at %d: what was written afterwards is lost (%v)", n, err)
		}
		os.RemoveAll(cut)
	}
	// A long one is written again.
	q, _, err := openPlaces(dir, "test", "node-1", disk.Default(), now)
	if err != nil {
		t.Fatal(err)
	}
	q.size = maxJournal
	if err := q.write(entry{Done: "y"}); err != nil {
		t.Fatal(err)
	}
	q.close()
	r, err := readPlaces(dir, "test")
	if err != nil || !r.done["y"] || len(r.done) != 51 || r.find("conn", 7, 9).Offset != 490 {
		t.Errorf("%v %d", err, len(r.done))
	}
}
