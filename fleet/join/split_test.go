package join_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// The ways in which the traffic of a capture is dealt to sensors.
type way struct {
	name  string
	flows int // 0: by which host sees it
	twice bool
}

var ways = []way{{"hosts", 0, false}, {"flows", 3, false}, {"twice", 3, true}}

var inside = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

func home(a netip.Addr) bool {
	for _, p := range inside {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// look reads addresses out of a frame and names its flow, whichever way the packet goes.
func look(d []byte, link uint32) (ends []netip.Addr, flow string) {
	at, ok := map[uint32]int{1: 14, 101: 0, 113: 16, 276: 20}[link]
	none := "link " + string(d[:min(14, len(d))])
	if !ok {
		return nil, none
	}
	if link == 1 {
		if len(d) < 14 {
			return nil, none
		}
		t := d[12:14]
		for string(t) == "\x81\x00" || string(t) == "\x88\xa8" {
			if len(d) < at+4 {
				return nil, none
			}
			t = d[at+2 : at+4]
			at += 4
		}
		if string(t) != "\x08\x00" && string(t) != "\x86\xdd" {
			return nil, none
		}
	}
	var s, t []byte
	var proto byte
	var h int
	switch {
	case len(d) > at && d[at]>>4 == 4 && len(d) >= at+20:
		s, t, proto, h = d[at+12:at+16], d[at+16:at+20], d[at+9], at+int(d[at]&15)*4
	case len(d) > at && d[at]>>4 == 6 && len(d) >= at+40:
		s, t, proto, h = d[at+8:at+24], d[at+24:at+40], d[at+6], at+40
	default:
		return nil, none
	}
	one, two := string(s), string(t)
	if proto == 6 || proto == 17 {
		part := func(a, b int) string { return string(d[min(a, len(d)):min(b, len(d))]) }
		one, two = one+" "+part(h, h+2), two+" "+part(h+2, h+4)
	}
	if two < one {
		one, two = two, one
	}
	a, _ := netip.AddrFromSlice(s)
	b, _ := netip.AddrFromSlice(t)
	return []netip.Addr{a, b}, fmt.Sprint(proto) + one + "|" + two
}

// split deals the packets of a capture to files in dir, as sensors at several places would see them, and returns their names. It is for
// files in the classic form; of others it returns none.
func split(t testing.TB, file, dir string, w way) []string {
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	b, err := io.ReadAll(r)
	if err != nil || len(b) < 24 {
		t.Fatal(file, err)
	}
	var order binary.ByteOrder
	switch string(b[:4]) {
	case "\xd4\xc3\xb2\xa1", "\x4d\x3c\xb2\xa1":
		order = binary.LittleEndian
	case "\xa1\xb2\xc3\xd4", "\xa1\xb2\x3c\x4d":
		order = binary.BigEndian
	default:
		return nil
	}
	link := order.Uint32(b[20:])
	type packet struct {
		raw  []byte
		ends []netip.Addr
		flow string
	}
	var all []packet
	count := map[netip.Addr]int{}
	var met []netip.Addr
	for at := 24; at+16 <= len(b); {
		k := int(order.Uint32(b[at+8:]))
		raw := b[at:min(at+16+k, len(b))]
		at += 16 + k
		ends, flow := look(raw[16:], link)
		all = append(all, packet{raw, ends, flow})
		for _, a := range ends {
			if home(a) && !a.IsMulticast() {
				if count[a]++; count[a] == 1 {
					met = append(met, a)
				}
			}
		}
	}
	sort.SliceStable(met, func(i, j int) bool { return count[met[i]] > count[met[j]] })
	nodes := met[:min(3, len(met))]
	files, turns := map[string]*bytes.Buffer{}, map[string]int{}
	for _, p := range all {
		var where []string
		if w.flows > 0 {
			i, ok := turns[p.flow]
			if !ok {
				i = len(turns) % w.flows
				turns[p.flow] = i
			}
			where = append(where, fmt.Sprintf("sensor-%d", i))
			if w.twice {
				where = append(where, fmt.Sprintf("sensor-%d", (i+1)%w.flows))
			}
		} else {
			for _, n := range nodes {
				if len(p.ends) > 0 && (n == p.ends[0] || n == p.ends[1]) {
					where = append(where, "node-"+strings.ReplaceAll(n.String(), ":", "_"))
				}
			}
			for _, a := range p.ends {
				if !home(a) {
					where = append(where, "edge")
					break
				}
			}
		}
		if len(where) == 0 {
			where = []string{"rest"}
		}
		for _, n := range where {
			if files[n] == nil {
				files[n] = bytes.NewBuffer(bytes.Clone(b[:24]))
			}
			files[n].Write(p.raw)
		}
	}
	var names []string
	for n, f := range files {
		if err := os.WriteFile(filepath.Join(dir, n+".pcap"), f.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// TestSplit: the files are those of the script that SPLIT_PY names, with the same rules in Python.
func TestSplit(t *testing.T) {
	script := os.Getenv("SPLIT_PY")
	if script == "" {
		t.Skip("no other splitter: SPLIT_PY names none")
	}
	for _, name := range []string{"shadowray", "attack-scan", "wire-switch-tags", "loss-snap"} {
		file := "../../pcaps/" + name + ".pcap.gz"
		if _, err := os.Stat(file); err != nil {
			continue
		}
		for _, w := range ways {
			ours, theirs := t.TempDir(), t.TempDir()
			args := []string{script, file, theirs, "--hosts"}
			if w.flows > 0 {
				args = []string{script, file, theirs, "--flows", fmt.Sprint(w.flows)}
			}
			if w.twice {
				args = append(args, "--twice")
			}
			if out, err := exec.Command("python3", args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			parts := split(t, file, ours, w)
			for _, p := range parts {
				a, err := os.ReadFile(filepath.Join(ours, p+".pcap"))
				if err != nil {
					t.Fatal(err)
				}
				if b, err := os.ReadFile(filepath.Join(theirs, p+".pcap")); err != nil || !bytes.Equal(a, b) {
					t.Errorf("%s %s: %s differs (%v)", name, w.name, p, err)
				}
			}
			if all, _ := filepath.Glob(filepath.Join(theirs, "*.pcap")); len(all) != len(parts) {
				t.Errorf("%s %s: %d files, %d of split.py", name, w.name, len(parts), len(all))
			}
		}
	}
}
