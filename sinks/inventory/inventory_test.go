package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors/assets"
)

// row is one of a cluster with a head and n workers.
func row(key string, last, n int) *assets.Row {
	a := &assets.Asset{
		Key: key, Kind: "ray", Local: true, Version: "2.60.0", Sessions: []string{"session_a", "session_b"}, First: 1e18, Last: capture.Time(1e18 + last*1e9),
		Doors:   []assets.Door{{Service: "dashboard"}},
		Proxies: []assets.Proxy{{Addr: netip.MustParseAddrPort("10.0.0.30:80"), Prefix: "/ray", Server: "nginx"}},
		Clients: []assets.Client{{Addr: netip.MustParseAddr("203.0.113.66"), Kind: "tool", Calls: 3, Open: 3, First: 1e18, Last: 1e18}},
	}
	for i := range n {
		a.Nodes = append(a.Nodes, assets.Node{Addr: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Head: i == 0, Member: true, Last: 1e18,
			Ports: []assets.Port{{Num: 8265, Role: "dashboard"}, {Num: 30000, Role: "raylet"}}})
	}
	return &assets.Row{Asset: a, Change: assets.New, Grade: "F", Reason: "answered 203.0.113.66", CVEs: []string{"CVE-2023-48022"}, Auth: "none",
		Outside: 1, Outsiders: []string{"203.0.113.66"}, Kinds: []string{"tool 3"}}
}

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWhatIsKeptComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assets.json")
	s := open(t, path)
	s.Event("something else")
	s.Event(row("ray 10.1.0.10", 1, 3))
	s.Event(row("ray 10.2.0.10", 1, 1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, path)
	if got, want := asJSON(t, again.Known()), asJSON(t, s.Known()); got != want || len(again.Known()) != 2 {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(again.rows) != 0 {
		t.Error("what is only known is said to be seen")
	}
	// The second turned out to be the first.
	r := row("ray 10.1.0.10", 2, 3)
	r.Was = []string{"ray 10.2.0.10"}
	again.Event(r)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if k := open(t, path).Known(); len(k) != 1 || k[0].Last != r.Asset.Last {
		t.Errorf("after two became one: %s", asJSON(t, k))
	}
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	hidden, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if len(files)+len(hidden) != 1 {
		t.Errorf("left behind: %v %v", files, hidden)
	}
}

// A crash in the middle of a save leaves a torn file beside the snapshot, and the snapshot as it was.
func TestCrashDuringSave(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assets.json")
	s := open(t, path)
	s.Event(row("ray 10.1.0.10", 1, 3))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if n%37 == 0 {
			if err := os.WriteFile(filepath.Join(filepath.Dir(path), ".assets.json-123"), whole[:n], 0o600); err != nil {
				t.Fatal(err)
			}
			if k := open(t, path).Known(); len(k) != 1 {
				t.Fatalf("torn at %d: %d known", n, len(k))
			}
		}
	}
}

// A damaged snapshot is an error and stays where it is; it is never taken for an empty one and written over.
func TestDamagedSnapshot(t *testing.T) {
	for _, text := range []string{"", "{", "[]", `{"format": 2, "assets": []}`, `{"format": 1, "assets": [{"nodes": [{"addr": "no"}]}]}`, "\x00\x01"} {
		path := filepath.Join(t.TempDir(), "assets.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(path); err == nil || !strings.HasPrefix(err.Error(), "inventory: ") {
			t.Errorf("%q: %v, %v", text, s, err)
		}
		if b, _ := os.ReadFile(path); string(b) != text {
			t.Errorf("%q was changed to %q", text, b)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("a folder that is not there is no error")
	}
}

func TestSaveThatFailsIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "assets.json"))
	s.Event(row("ray 10.1.0.10", 1, 3))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil {
		t.Error("nothing was kept and nothing said")
	}
}

// While there is news, the snapshot is written now and then, by events of any kind.
func TestSavesWhileTheRunGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assets.json")
	s := open(t, path)
	s.Event(row("ray 10.1.0.10", 1, 3))
	if _, err := os.Stat(path); err == nil {
		t.Error("saved at once")
	}
	s.saved = time.Now().Add(-2 * saveEvery)
	s.Event(capture.Conn{})
	if s.wrote == nil {
		t.Fatal("nothing is being written")
	}
	s.Event(row("ray 10.1.0.11", 2, 3))
	if err := s.Close(); err != nil || s.Err() != nil {
		t.Error(err)
	}
	if k := open(t, path).Known(); len(k) != 2 {
		t.Errorf("%d known at the end", len(k))
	}
}

// TestSnapshotWaitsForTheDiskAlone: while the disk does not answer, events go on, and what came meanwhile is written then.
func TestSnapshotWaitsForTheDiskAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assets.json")
	s := open(t, path)
	s.wrote = make(chan error, 1) // a disk that is away
	s.Event(row("ray 10.1.0.10", 1, 3))
	s.saved = time.Now().Add(-2 * saveEvery)
	s.Event(row("ray 10.1.0.11", 1, 3))
	if _, err := os.Stat(path); err == nil {
		t.Error("two were written at once")
	}
	s.wrote <- errors.New("no space")
	if s.Err() == nil {
		t.Error("its error is not told")
	}
	s.saved = time.Now().Add(-2 * saveEvery)
	s.Event(capture.Conn{})
	s.done(<-s.wrote)
	if k := open(t, path).Known(); len(k) != 2 {
		t.Errorf("%d known after a while", len(k))
	}
}

func TestOldestAreForgotten(t *testing.T) {
	s := open(t, "")
	for i := range 2 * assets.MaxAssets {
		s.Event(row(fmt.Sprintf("ray %d", i), i, 1))
	}
	if n := len(s.Known()); n > assets.MaxAssets || n < assets.MaxAssets*8/10 {
		t.Errorf("%d kept", n)
	}
	if s.all["ray 0"] != nil || s.all[fmt.Sprint("ray ", 2*assets.MaxAssets-1)] == nil {
		t.Error("the wrong ones were forgotten")
	}
}

func TestPrint(t *testing.T) {
	evil := row("ray 10.3.0.10", 1, 1)
	evil.Asset.Proxies[0].Server, evil.Reason, evil.Grade = "nginx\x1b[31m", "a\nb", "C"
	var b bytes.Buffer
	if err := Print(&b, []*assets.Row{row("ray 10.1.0.10", 1, 2), evil}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"GRADE  ASSET          VERSION  PYTHON  AUTH  TLS  NODES  CLIENTS              LAST SEEN (UTC)\n",
		"F      ray 10.1.0.10  2.60.0   -       none  -    2      0 inside, 1 outside  2001-09-09 01:46:41\n       why        answered 203.0.113.66\n",
		"       head       10.1.0.0\n       workers    10.1.0.1\n",
		"       session    session_b (1 before it)\n",
		"       behind     10.0.0.30:80/ray nginx\n",
		`nginx\x1b[31m`, `a\x0ab`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if Print(&b, nil); b.String() != "no assets seen\n" {
		t.Errorf("%q", b.String())
	}
}

func TestPrintJSON(t *testing.T) {
	var b bytes.Buffer
	if err := PrintJSON(&b, []*assets.Row{row("ray 10.1.0.10", 1, 2)}); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || len(got) != 1 {
		t.Fatalf("%v: %s", err, b.String())
	}
	g := got[0]
	if g["asset"] != "ray 10.1.0.10" || g["grade"] != "F" || g["clients_outside"] != 1.0 || g["last_seen"] != "2001-09-09T01:46:41Z" ||
		g["cves"].([]any)[0].(map[string]any)["source"] == "" || g["nodes"].([]any)[0].(map[string]any)["part"] != "head" {
		t.Errorf("%s", b.String())
	}
	b.Reset()
	if PrintJSON(&b, nil); b.String() != "[]\n" {
		t.Errorf("nothing is %q", b.String())
	}
}

func BenchmarkSave(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "assets.json"))
	if err != nil {
		b.Fatal(err)
	}
	for i := range 1000 {
		s.Event(row(fmt.Sprintf("ray %d", i), i, 8))
	}
	for b.Loop() {
		s.dirty = true
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
	info, err := os.Stat(s.path)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(info.Size())/1000, "B/asset")
}
