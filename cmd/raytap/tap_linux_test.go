package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raytap/raytap/capture"
)

// sided is a frame and whether the side that opened its flow sent it.
type sided struct {
	data []byte
	resp bool
}

// sides reads a capture and tells the sides of its flows apart.
func sides(t *testing.T, name string) (all []sided) {
	t.Helper()
	src, err := capture.OpenFile("../../pcaps/" + name + ".pcap.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	type end struct {
		addr [16]byte
		port uint16
	}
	first := map[uint64]end{}
	d := capture.NewDissector(capture.DissectConfig{Weird: func(capture.Weird) {}})
	var b capture.Batch
	for {
		err := src.ReadBatch(&b)
		for i := range b.Frames {
			f := &b.Frames[i]
			x := sided{data: slices.Clone(f.Data)}
			if ps := d.Dissect(f, nil); len(ps) > 0 {
				p := &ps[len(ps)-1]
				h, from := capture.FlowHash(p), end{p.Src, p.SrcPort}
				if _, known := first[h]; !known {
					first[h] = from
				}
				x.resp = first[h] != from
			}
			if f.WireLen != len(f.Data) || len(f.Data) > 9014 {
				t.Fatalf("%s: a frame that cannot be sent", name)
			}
			all = append(all, x)
		}
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// netem is a queue as Linux's sch_netem is one (netem_enqueue): each packet waits for the delay; with reorder, after gap-1 of
// those one in four does not.
type netem struct {
	delay   time.Duration
	reorder bool
	counter int
}

func (q *netem) wait(rng *rand.Rand) time.Duration {
	const gap, percent = 5, 25
	if q.reorder && q.counter >= gap-1 && rng.IntN(100) < percent {
		q.counter = 0
		return 0
	}
	q.counter++
	return q.delay
}

// TestSensorAtATapWithAPortPerDirection: what is found where both directions arrive as they were sent is found as well where
// one arrives 5 ms late (netem delay 5ms), and where packets overtake others (netem delay 1ms reorder 25% gap 5). The queues
// are in the test: not every kernel has netem.
func TestSensorAtATapWithAPortPerDirection(t *testing.T) {
	isolated(t)
	for _, args := range []string{"link add w0 mtu 9000 type veth peer name w1 mtu 9000", "link set w0 up", "link set w1 up"} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	time.Sleep(100 * time.Millisecond) // until it carries packets
	ports := [2]*wire{newWire(t), newWire(t)}
	i, err := net.InterfaceByName("w0")
	if err != nil {
		t.Fatal(err)
	}
	ports[1].to = unix.SockaddrLinklayer{Ifindex: i.Index, Halen: 6}

	names := []string{"attack-job-split", "attack-job-payload", "attack-job-encoded", "attack-job-h2", "attack-client", "mining-btc", "attack-gcs"}
	if testing.Short() {
		names = names[:1]
	}
	var undisturbed, disturbed uint64 // packets that waited
	for _, name := range names {
		all := sides(t, name)
		// found sends the capture through the queues of both ports and gives what is found of it, and how many packets waited.
		found := func(orig, resp netem) (set []string, waited uint64) {
			type sending struct {
				at time.Duration
				sided
			}
			var plan []sending
			rng, queues := rand.New(rand.NewPCG(1, 2)), [2]*netem{&orig, &resp}
			for i, f := range all {
				q := queues[0]
				if f.resp {
					q = queues[1]
				}
				plan = append(plan, sending{time.Duration(i)*250*time.Microsecond + q.wait(rng), f})
			}
			slices.SortStableFunc(plan, func(a, b sending) int { return int(a.at - b.at) })

			dir := t.TempDir()
			s := start(t, dir, nil, "-i", "v1", "-i", "w1", "--quiet")
			begin := time.Now()
			for _, f := range plan {
				time.Sleep(time.Until(begin.Add(f.at)))
				port := 0
				if f.resp {
					port = 1
				}
				ports[port].send(f.data)
			}
			s.stop()
			got := uint64(0)
			for _, row := range archived(t, dir, "stats") {
				var x struct {
					Packets uint64 `json:"pkts_proc"`
					Waited  uint64 `json:"packets_waited"`
				}
				if err := json.Unmarshal([]byte(row), &x); err != nil {
					t.Fatal(err)
				}
				got, waited = got+x.Packets, waited+x.Waited
			}
			if got != uint64(len(all)) {
				t.Errorf("%s: %d of %d frames arrived", name, got, len(all))
			}
			for _, row := range archived(t, dir, "notice") {
				var x struct{ Rule, Src, Dst, Severity string }
				if err := json.Unmarshal([]byte(row), &x); err != nil {
					t.Fatal(err)
				}
				set = append(set, x.Rule+" "+x.Src+" > "+x.Dst+" "+x.Severity)
			}
			slices.Sort(set)
			return slices.Compact(set), waited
		}
		want, before := found(netem{}, netem{})
		if len(want) == 0 {
			t.Errorf("%s: nothing is found", name)
		}
		for _, q := range [][2]netem{
			{{delay: 5 * time.Millisecond}, {}},
			{{}, {delay: 5 * time.Millisecond}},
			{{delay: time.Millisecond, reorder: true}, {delay: time.Millisecond, reorder: true}},
		} {
			got, waited := found(q[0], q[1])
			undisturbed, disturbed = undisturbed+before, disturbed+waited
			for _, f := range want {
				if !slices.Contains(got, f) {
					t.Errorf("%s %+v: %s is missing; found:\n  %s", name, q, f, strings.Join(got, "\n  "))
				}
			}
		}
	}
	if disturbed <= undisturbed {
		t.Errorf("%d packets waited, %d without the queues", disturbed, undisturbed)
	}
}
