package capture

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raytap/raytap/capture/nettest"
)

// names gives what src captures from.
func names(src LiveSource) (all []string) {
	for _, i := range src.(interface{ Interfaces() []Interface }).Interfaces() {
		all = append(all, i.Name)
	}
	slices.Sort(all)
	return all
}

// becomes reads until src captures from these interfaces.
func becomes(t *testing.T, src LiveSource, want ...string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	var b Batch
	defer b.Release()
	for !slices.Equal(names(src), want) {
		if time.Now().After(deadline) {
			t.Fatalf("captures from %v, want %v", names(src), want)
		}
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
	}
}

// hears sends a numbered frame from an interface until src has it.
func hears(t *testing.T, src LiveSource, from string, n int) {
	t.Helper()
	s := newSender(t, from)
	until(t, src, func(b *Batch) bool {
		for i := range b.Frames {
			if len(b.Frames[i].Data) == 60 && numberOf(b.Frames[i].Data) == n {
				return true
			}
		}
		if len(b.Frames) == 0 {
			s.send(numbered(n))
		}
		return false
	})
}

// TestLiveChosen: interfaces that fit a pattern are captured from when they come, and left when they are gone, while a
// named one goes on.
func TestLiveChosen(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "x0", "e0")
	src, said := openLive(t, LiveConfig{Interfaces: []string{"e0", "veth*", "-vethno*"}})
	becomes(t, src, "e0")
	hears(t, src, "x0", 1)
	cable(t, "a0", "veth0")
	becomes(t, src, "e0", "veth0")
	hears(t, src, "a0", 2)
	cable(t, "n0", "vethno1")
	cable(t, "a1", "veth1")
	becomes(t, src, "e0", "veth0", "veth1")
	hears(t, src, "a1", 3)
	ip(t, "link", "del", "veth0")
	becomes(t, src, "e0", "veth1")
	hears(t, src, "a1", 4)
	cable(t, "a0", "veth0") // another of that name
	becomes(t, src, "e0", "veth0", "veth1")
	hears(t, src, "a0", 5)
	ip(t, "link", "set", "veth1", "down")
	until(t, src, func(b *Batch) bool { return b.Live.Down == 1 && b.Live.Links == 3 })
	ip(t, "link", "set", "veth1", "name", "other1")
	becomes(t, src, "e0", "veth0")
	ip(t, "link", "set", "other1", "name", "veth2")
	ip(t, "link", "set", "veth2", "up")
	becomes(t, src, "e0", "veth0", "veth2")
	hears(t, src, "a1", 6)
	ip(t, "link", "del", "e0") // it is named: it is waited for
	until(t, src, func(b *Batch) bool { return b.Live.Down == 1 })
	becomes(t, src, "e0", "veth0", "veth2")
	text := strings.Join(*said, "\n")
	for _, want := range []string{
		"interface veth0 is there: capturing from it, too", "interface veth0 is gone\n", "interface veth1 is now other1",
		"interface veth2 is there", "interface e0 is gone; waiting for it",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("not told: %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "vethno") {
		t.Errorf("told of what was left out:\n%s", text)
	}
	src.Stop()
}

// TestLiveAny: every interface that is up, loopback included.
func TestLiveAny(t *testing.T) {
	nettest.Isolate(t)
	ip(t, "link", "set", "lo", "up")
	cable(t, "v0", "v1")
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"any"}})
	becomes(t, src, "lo", "v0", "v1")
	ip(t, "link", "add", "d0", "type", "veth", "peer", "name", "d1") // not up
	cable(t, "w0", "w1")
	becomes(t, src, "lo", "v0", "v1", "w0", "w1")
	ip(t, "link", "set", "d0", "up")
	becomes(t, src, "d0", "lo", "v0", "v1", "w0", "w1")
	hears(t, src, "w0", 1)
	without, _ := openLive(t, LiveConfig{Interfaces: []string{"any", "-lo", "-w?"}})
	becomes(t, without, "d0", "v0", "v1") // d1 is down still
}

// TestLiveNothingFits: a capture waits for what is to come.
func TestLiveNothingFits(t *testing.T) {
	nettest.Isolate(t)
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"cali*"}})
	becomes(t, src)
	var b Batch
	if err := src.ReadBatch(&b); err != nil || b.Live.Links != 0 {
		t.Fatalf("%v, %+v", err, b.Live)
	}
	cable(t, "c0", "cali0")
	becomes(t, src, "cali0")
	hears(t, src, "c0", 1)
}

// TestLiveDefaultRoute: the interface of the default route, of IPv6 too, and another when the route changes.
func TestLiveDefaultRoute(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	cable(t, "w0", "w1")
	src, said := openLive(t, LiveConfig{Interfaces: []string{"default"}})
	becomes(t, src)
	ip(t, "addr", "add", "192.0.2.1/24", "dev", "v1")
	ip(t, "addr", "add", "198.51.100.1/24", "dev", "w1")
	ip(t, "route", "add", "default", "via", "198.51.100.2", "metric", "200")
	becomes(t, src, "w1")
	ip(t, "route", "add", "default", "via", "192.0.2.2", "metric", "100") // a better one
	becomes(t, src, "v1")
	hears(t, src, "v0", 1)
	ip(t, "route", "del", "default", "via", "192.0.2.2")
	becomes(t, src, "w1")
	ip(t, "route", "del", "default") // none: the last one stands
	var b Batch
	for range 15 {
		if err := src.ReadBatch(&b); err != nil {
			t.Fatal(err)
		}
	}
	b.Release()
	becomes(t, src, "w1")
	ip(t, "route", "add", "default", "nexthop", "via", "192.0.2.2", "nexthop", "via", "198.51.100.2")
	becomes(t, src, "v1", "w1")
	ip(t, "route", "del", "default")
	ip(t, "link", "set", "v1", "down") // which takes its routes along without a word
	ip(t, "route", "add", "default", "via", "198.51.100.2")
	becomes(t, src, "w1")
	if text := strings.Join(*said, "\n"); !strings.Contains(text, "no default route yet") || !strings.Contains(text, "interface w1 has no default route any more: it is left") {
		t.Errorf("not told:\n%s", text)
	}
}

func TestLiveDefaultRouteIPv6(t *testing.T) {
	nettest.Isolate(t)
	cable(t, "v0", "v1")
	if out, err := exec.Command("sysctl", "-w", "net.ipv6.conf.v1.disable_ipv6=0").CombinedOutput(); err != nil {
		t.Skipf("no IPv6: %s", out)
	}
	if out, err := exec.Command("ip", "addr", "add", "2001:db8::1/64", "dev", "v1", "nodad").CombinedOutput(); err != nil {
		t.Skipf("no IPv6: %s", out)
	}
	src, _ := openLive(t, LiveConfig{Interfaces: []string{"default"}})
	becomes(t, src)
	ip(t, "-6", "route", "add", "default", "via", "2001:db8::2", "dev", "v1")
	becomes(t, src, "v1")
}

// TestLiveManyChosen: beyond the bound interfaces are not captured from, which is counted and said; when there is room they
// are. Those that are share memory.
func TestLiveManyChosen(t *testing.T) {
	nettest.Isolate(t)
	const extra = 4
	script := ""
	for i := range (maxChosen + extra) / 2 {
		script += fmt.Sprintf("link add p%d type veth peer name q%d\nlink set p%d up\nlink set q%d up\n", i, i, i, i)
	}
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	src, said := openLive(t, LiveConfig{Interfaces: []string{"p*", "q*"}, Ring: 1 << 20, Block: 64 << 10})
	if n := len(names(src)); n != maxChosen {
		t.Fatalf("%d interfaces", n)
	}
	l := src.(*live)
	total := 0
	for _, r := range l.rings {
		total += len(r.m.mem)
	}
	if bound := maxChosen * minBlocks * (64 << 10); total > bound+9<<20 {
		t.Errorf("%d bytes of rings", total)
	}
	var b Batch
	if err := src.ReadBatch(&b); err != nil || b.Live.Unwatched != extra || b.Live.Links != maxChosen {
		t.Errorf("%v, %+v", err, b.Live)
	}
	text := strings.Join(*said, "\n")
	_, list, _ := strings.Cut(text, "256 interfaces are captured from, which is the bound: not from ")
	left := strings.Split(list, ", ")
	if len(left) != extra || slices.Contains(names(src), left[0]) {
		t.Errorf("said %s", text)
	}
	hears(t, src, "p9", 7) // q9 has it
	hears(t, src, "q3", 8)
	ip(t, "link", "del", "p0")
	deadline := time.Now().Add(10 * time.Second)
	for !slices.Contains(names(src), left[1]) {
		if err := src.ReadBatch(&b); err != nil || time.Now().After(deadline) {
			t.Fatal("one that found no room is not taken when there is some", err)
		}
	}
	if src.ReadBatch(&b); b.Live.Unwatched != extra || len(names(src)) != maxChosen {
		t.Errorf("%+v, %d interfaces", b.Live, len(names(src)))
	}
	b.Release()
	hears(t, src, "p9", 9)
}

func TestShare(t *testing.T) {
	const ring = 64 << 20
	sum := 0
	for n := 1; n <= maxChosen; n++ {
		sum += share(ring, n)
	}
	if share(ring, 1) != ring || share(ring, 2) != ring || share(ring, 3) != ring/2 || sum != 9*ring {
		t.Errorf("in all %d times the ring", sum/ring)
	}
}
