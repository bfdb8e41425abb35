package nettest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Route is a router between two hosts, each in a namespace of its own.
type Route struct {
	t *testing.T
	// Addresses of the hosts.
	A, B          string
	a, b, between int // namespaces
}

// Routed makes one. The test's goroutine keeps its thread, which is on the router but in InA and InB.
func Routed(t *testing.T) *Route {
	t.Helper()
	Isolate(t)
	r := &Route{t: t, A: "10.77.1.2", B: "10.77.2.2", between: namespace(t)}
	for _, fd := range []*int{&r.a, &r.b} {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Skip("no network namespaces here: ", err)
		}
		*fd = namespace(t)
	}
	if err := unix.Setns(r.between, unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	for i, fd := range []int{r.a, r.b} {
		ip(t, fmt.Sprintf("link add r%d type veth peer name eth0 netns /proc/%d/fd/%d", i+1, os.Getpid(), fd))
		ip(t, fmt.Sprintf("address add 10.77.%d.1/24 dev r%d", i+1, i+1))
		ip(t, fmt.Sprintf("link set r%d up", i+1))
	}
	for i, in := range []func(func()){r.InA, r.InB} {
		in(func() {
			ip(t, "link set lo up")
			ip(t, "link set eth0 up")
			ip(t, fmt.Sprintf("address add 10.77.%d.2/24 dev eth0", i+1))
			ip(t, fmt.Sprintf("route add default via 10.77.%d.1", i+1))
		})
	}
	return r
}

// namespace is the one that the thread is in.
func namespace(t *testing.T) int {
	t.Helper()
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no network namespaces here: ", err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// InA calls f in the namespace of host A, with all that it starts; from the test's goroutine.
func (r *Route) InA(f func()) { r.in(r.a, f) }

// InB is that of host B.
func (r *Route) InB(f func()) { r.in(r.b, f) }

func (r *Route) in(fd int, f func()) {
	r.t.Helper()
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		r.t.Fatal(err)
	}
	defer func() {
		if err := unix.Setns(r.between, unix.CLONE_NEWNET); err != nil {
			r.t.Error(err)
		}
	}()
	f()
}

// Cut has the router drop every packet between the hosts without a word: connections stay as they are, at both ends.
func (r *Route) Cut() { r.all("replace") }

// Mend ends that.
func (r *Route) Mend() { r.all("delete") }

func (r *Route) all(what string) {
	r.t.Helper()
	for _, host := range []string{r.A, r.B} {
		ip(r.t, "route "+what+" blackhole "+host)
	}
}

func ip(t *testing.T, args string) string {
	t.Helper()
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
	return string(out)
}
