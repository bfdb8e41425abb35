// Package nettest gives tests networks of their own.
//
// In: a test with the rights to make a network namespace; without, it is skipped. Out: a namespace in which only the test's frames
// are, and interfaces in it. It knows nothing of raytap, so that the tests of any package can have it.
package nettest

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Isolate gives the test a network of its own: its goroutine keeps the thread, the thread the namespace, and both end with the test.
// Programs that it starts are in there, too.
func Isolate(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace takes root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip (iproute2): ", err)
	}
	runtime.LockOSThread() // and never unlocked: the thread is thrown away
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip("no network namespaces here: ", err)
	}
	for _, f := range []string{"all", "default"} { // no router solicitations between our frames
		os.WriteFile("/proc/sys/net/ipv6/conf/"+f+"/disable_ipv6", []byte("1"), 0)
	}
}

// Cable connects v0 and v1, sets lo up, and waits until they carry packets: the kernel sees to that later, and drops until then.
func Cable(t *testing.T, mtu int) {
	t.Helper()
	size := " mtu " + strconv.Itoa(mtu)
	ip(t, "link add v0"+size+" type veth peer name v1"+size)
	for _, name := range []string{"lo", "v0", "v1"} {
		ip(t, "link set "+name+" up")
	}
	for _, name := range []string{"v0", "v1"} {
		for !strings.Contains(ip(t, "-o link show "+name), "state UP") {
			time.Sleep(5 * time.Millisecond)
		}
	}
	time.Sleep(20 * time.Millisecond) // the queue is opened right behind the state
}
