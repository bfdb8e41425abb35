package http2

import (
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// replay gives the calls of a capture, as the engine would with this decoder alone.
func replay(t *testing.T, file string) (out []*Call) {
	t.Helper()
	src, err := capture.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	shard := capture.NewShard(capture.FlowConfig{
		MaxFlows: 4096, Checksums: capture.ChecksumsIgnore,
		Emit: func(ev any) {
			switch e := ev.(type) {
			case *Call:
				out = append(out, e)
			}
		},
		Open: func(h capture.Host, mid bool) capture.Stream { return decoders.NewMux(h, []decoders.Spec{spec()}, mid) },
	})
	d := capture.NewDissector(capture.DissectConfig{IgnoreChecksums: true, Weird: func(capture.Weird) {}})
	var b capture.Batch
	var at capture.At
	for {
		err := src.ReadBatch(&b)
		for i := range b.Frames {
			at = capture.At{Time: b.Frames[i].Time, Packet: b.Frames[i].Ordinal}
			for _, p := range d.Dissect(&b.Frames[i], nil) {
				shard.Packet(&p, capture.FlowHash(&p))
			}
		}
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	shard.Close(at)
	return out
}

// seen is what tshark says of one stream of one connection.
type seen struct {
	path   string
	status string
	bytes  [2]uint64 // of DATA, the client's first
}

type place struct {
	client string // port
	sid    string
}

// tshark lists the streams of a capture.
func tshark(t *testing.T, file string) map[place]*seen {
	t.Helper()
	args := []string{"-r", file, "--enable-heuristic", "http2_tcp", "-d", "tcp.port==6379,http2", "-d", "tcp.port==10001,http2", "-Y", "http2",
		"-T", "fields", "-E", "separator=|", "-E", "aggregator=,"}
	for _, f := range []string{"tcp.srcport", "tcp.dstport", "http2.streamid", "http2.type", "http2.length", "http2.headers.path", "http2.headers.status"} {
		args = append(args, "-e", f)
	}
	text, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Skip("tshark: ", err)
	}
	out := map[place]*seen{}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimRight(line, "\n"), "|")
		if len(f) != 7 {
			t.Fatalf("tshark says %q", line)
		}
		list := func(i int) []string {
			if f[i] == "" {
				return nil
			}
			return strings.Split(f[i], ",")
		}
		sids, kinds, lens, paths, stats := list(2), list(3), list(4), list(5), list(6)
		if len(sids) != len(kinds) || len(lens) < len(kinds) {
			continue // the preface, or a frame that it could not place
		}
		for i, sid := range sids {
			// The server has one of the two ports that are known, else the lower one.
			from, who := f[0], 0
			if n, m := port(f[0]), port(f[1]); n == 6379 || n == 10001 || m != 6379 && m != 10001 && n < m {
				from, who = f[1], 1
			}
			if kinds[i] != "0" && kinds[i] != "1" {
				continue
			}
			s := out[place{from, sid}]
			if s == nil {
				s = &seen{}
				out[place{from, sid}] = s
			}
			if kinds[i] == "0" {
				n, err := strconv.ParseUint(lens[i], 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				s.bytes[who] += n
				continue
			}
			if who == 0 && len(paths) > 0 {
				s.path, paths = paths[0], paths[1:]
			}
			if who == 1 && s.status == "" && len(stats) > 0 {
				s.status, stats = stats[0], stats[1:]
			}
		}
	}
	return out
}

func port(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// On connections from their first packet on this decoder and tshark agree on streams, paths, status and data.
func TestAgreesWithTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("no tshark")
	}
	for _, x := range []struct {
		name  string
		fresh int // calls on connections that began in the capture, to the two ports that tshark is told of
	}{
		{"attack-client", 7}, {"attack-client-ray2.9.3", 7}, {"attack-gcs", 8}, {"attack-gcs-ray2.9.3", 8},
		{"benign-ray-client", 40}, {"benign-ray-client-ray2.9.3", 60}, {"benign-operations", 5}, {"benign-job-submit", 30},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			files, err := filepath.Glob("../../pcaps/" + x.name + ".pcap*")
			if err != nil || len(files) != 1 {
				t.Skip("no capture")
			}
			theirs := tshark(t, files[0])
			fresh := 0
			for _, c := range replay(t, files[0]) {
				if p := c.Flow.Resp.Port(); c.Mid || p != 6379 && p != 10001 {
					continue
				}
				fresh++
				k := place{strconv.Itoa(int(c.Flow.Orig.Port())), strconv.Itoa(int(c.StreamID))}
				s := theirs[k]
				if s == nil {
					t.Errorf("%v %s: tshark has no such stream", k, c.Path)
					continue
				}
				delete(theirs, k)
				status := ""
				if c.HTTPStatus > 0 {
					status = strconv.Itoa(c.HTTPStatus)
				}
				if c.Path != s.path || status != s.status || c.RequestBytes != s.bytes[0] || c.ResponseBytes != s.bytes[1] {
					t.Errorf("%v: %s %s %d %d, tshark %+v", k, c.Path, status, c.RequestBytes, c.ResponseBytes, *s)
				}
			}
			if fresh < x.fresh {
				t.Errorf("only %d calls compared", fresh)
			}
			for k, s := range theirs {
				if s.path != "" && strings.HasPrefix(s.path, "/ray.rpc.RayletD") {
					t.Errorf("%v %+v: only tshark has it", k, *s)
				}
			}
		})
	}
}
