package shell

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/shell"
)

func TestCommandsOverOneConnectionAnswersOverAnother(t *testing.T) {
	const node, master, other = "10.20.0.10", "198.51.100.77", "198.51.100.78"
	const id = "uid=0(root) gid=0(root) groups=0(root)\n"
	// One side's text between two seconds; the machine at home opened both connections.
	one := func(src, dst, text string, from capture.Dir, start, end capture.Time) *shell.OneWay {
		return &shell.OneWay{At: capture.At{Time: end * 1e9, Packet: uint64(end)}, From: from, Text: []byte(text), Flow: &capture.Flow{
			UID: "C" + text[:2], Start: start * 1e9, Proto: capture.ProtoTCP,
			Orig: netip.AddrPortFrom(netip.MustParseAddr(src), 40000), Resp: netip.AddrPortFrom(netip.MustParseAddr(dst), 4000+uint16(from)),
		}}
	}
	for _, x := range []struct {
		says string
		ways []*shell.OneWay
		want int
	}{
		{"telnet double", []*shell.OneWay{one(node, master, "id\nuname -a\n", capture.Resp, 1, 60), one(node, master, id, capture.Orig, 1, 61)}, 1},
		{"the answers end first", []*shell.OneWay{one(node, master, id, capture.Orig, 1, 59), one(node, master, "id\n", capture.Resp, 1, 60)}, 1},
		{"two likely answers", []*shell.OneWay{one(node, master, "pwd\nhostname\nls -la\nwhoami\n", capture.Resp, 1, 60),
			one(node, master, "total 12\ndrwxr-xr-x 2 root root 4096 Jan  1 00:00 .\nroot\n", capture.Orig, 1, 61)}, 1},
		{"bound: opened from outside", []*shell.OneWay{one(master, node, "id\n", capture.Orig, 1, 60), one(master, node, id, capture.Resp, 1, 61)}, 1},
		{"of another machine", []*shell.OneWay{one(node, master, "id\n", capture.Resp, 1, 60), one(node, other, id, capture.Orig, 1, 61)}, 0},
		{"an hour later", []*shell.OneWay{one(node, master, "id\n", capture.Resp, 1, 60), one(node, master, id, capture.Orig, 3600, 3660)}, 0},
		{"metrics", []*shell.OneWay{one(node, master, "date\n", capture.Resp, 1, 60), one(node, master, "node.cpu 3 1700000000\nnode.mem 9 1700000000\n", capture.Orig, 1, 61)}, 0},
		{"both by the same side", []*shell.OneWay{one(node, master, "id\n", capture.Orig, 1, 60), one(node, master, id, capture.Orig, 1, 61)}, 0},
		{"a log in which commands stand", []*shell.OneWay{one(node, master, "id\nthen it said:\n", capture.Resp, 1, 60), one(node, master, id, capture.Orig, 1, 61)}, 0},
	} {
		bus, said := newBus()
		for _, w := range x.ways {
			bus.Publish(w)
		}
		if len(*said) != x.want {
			t.Errorf("%s: %d findings", x.says, len(*said))
			continue
		}
		if x.want > 0 {
			if f := (*said)[0]; f.Severity.String() != "high" || f.Src.String() != node || f.Dst.String() != master || !strings.Contains(f.Msg, "over another connection") {
				t.Errorf("%s: %s %s", x.says, f.Severity, f.Msg)
			}
		}
	}
}
