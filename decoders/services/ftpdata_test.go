package services

import (
	"crypto/md5"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

// dataHost is a flow between given ports.
type dataHost struct {
	*host
	doubt *bool
}

func (h dataHost) Ports() (orig, resp uint16) { return h.flow.Orig.Port(), h.flow.Resp.Port() }
func (h dataHost) Doubted() bool              { return h.doubt != nil && *h.doubt }

func newDataHost(orig, resp uint16) dataHost {
	h := dataHost{host: newHost(capture.ProtoTCP, resp)}
	h.flow.Orig = netip.AddrPortFrom(h.flow.Orig.Addr(), orig)
	return h
}

// recognised stands in for a decoder that knows its bytes.
func recognised() decoders.Spec {
	return decoders.Spec{
		Name: "known",
		Stream: func(orig, resp []byte, _ bool) decoders.Verdict {
			return max(begins(orig, "KNOWN"), begins(resp, "KNOWN"))
		},
		New: func(decoders.Context) decoders.Decoder { return silent{} },
	}
}

func watching(t *transfers, h dataHost, mid bool) capture.Stream {
	m := decoders.NewMux(h, []decoders.Spec{recognised(), Spec(Options{})}, mid)
	if s := t.watch(h, m, mid, true); s != nil {
		return s
	}
	return m
}

func TestTransfers(t *testing.T) {
	long := strings.Repeat("0123456789abcde\n", maxUnannounced/16)
	for _, tc := range []struct {
		name       string
		orig, resp uint16
		mid        bool
		steps      []step
		want       string // what the file holds; "": there is none
	}{
		{"a list from port 20", 20, 40000, false, []step{c("-rw-r--r-- a\r\n"), c("-rw-r--r-- b\r\n")}, "-rw-r--r-- a\r\n-rw-r--r-- b\r\n"},
		{"bytes to the client", 40000, 50000, false, []step{s("\x00\x01\x02")}, "\x00\x01\x02"},
		{"as much as is read", 40000, 50000, false, []step{s(long)}, long},
		{"more than is read", 40000, 50000, false, []step{s(long), s("x")}, ""},
		{"more, from port 20", 20, 50000, false, []step{c(long), c("x")}, long + "x"},
		{"both sides speak", 40000, 50000, false, []step{s("hello\n"), c("hello\n")}, ""},
		{"a decoder knows it", 40000, 50000, false, []step{s("KNOWN bytes")}, ""},
		{"a service", 40000, 80, false, []step{s("bytes")}, ""},
		{"from a port of the system's", 21, 50000, false, []step{s("bytes")}, ""},
		{"the beginning was not seen", 20, 50000, true, []step{c("bytes")}, ""},
		{"nothing", 20, 50000, false, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			all := newTransfers(file.NewCache(file.Options{HashLimit: 1 << 30}))
			h := newDataHost(tc.orig, tc.resp)
			st := watching(all, h, tc.mid)
			for _, x := range tc.steps {
				st.Data(x.dir, []byte(x.data))
			}
			st.Finish()
			var got []*file.File
			for _, ev := range h.events {
				if x, ok := ev.(*capture.Awaited); ok {
					got = append(got, x.Event.(*file.File))
				}
			}
			switch {
			case tc.want == "" && len(got) > 0:
				t.Errorf("%+v", got[0])
			case tc.want != "" && (len(got) != 1 || got[0].Seen != int64(len(tc.want)) || got[0].MD5 != fmt.Sprintf("%x", md5.Sum([]byte(tc.want))) || got[0].Source != "FTP_DATA"):
				t.Errorf("%+v", got)
			}
			if all.count != 0 || !st.Idle() {
				t.Errorf("%d are watched, idle %v", all.count, st.Idle())
			}
		})
	}
}

// TestTransferInDoubt: a file of which one packet had a wrong checksum is not checked.
func TestTransferInDoubt(t *testing.T) {
	for n := range 4 { // the packet in doubt; 3: none
		doubt := false
		h := newDataHost(40000, 50000)
		h.doubt = &doubt
		st := watching(newTransfers(file.NewCache(file.Options{HashLimit: 1 << 30})), h, false)
		for i := range 3 {
			doubt = i == n
			st.Data(capture.Resp, []byte("\x00\x01\x02"))
		}
		doubt = false
		st.Finish()
		x, ok := h.events[len(h.events)-1].(*capture.Awaited)
		if !ok || x.Event.(*file.File).From.Has(capture.Doubted) != (n < 3) {
			t.Errorf("packet %d in doubt: %+v", n, x)
		}
	}
}

// TestArranges: without FTP no flow is watched but from port 20, and what arranges is told by its beginning or its port.
func TestHint(t *testing.T) {
	for _, tc := range []struct {
		text     string
		src, dst uint16
		want     bool
	}{
		{"PORT 10,0,0,1,4,1\r\n", 40000, 2100, true},
		{"epsv\r\n", 40000, 2100, true},
		{"227 Entering Passive Mode (10,0,0,1,4,1)\r\n", 2100, 40000, true},
		{"229 Entering Extended Passive Mode (|||1025|)\r\n", 2100, 40000, true},
		{"220 ready\r\n", 21, 40000, true},
		{"", 40000, 21, true},
		{"POST / HTTP/1.1\r\n", 40000, 8265, false},
		{"2270", 2100, 40000, false},
		{"227", 2100, 40000, false},
	} {
		p := &capture.Packet{Proto: capture.ProtoTCP, SrcPort: tc.src, DstPort: tc.dst, L4: append(make([]byte, 20), tc.text...), HdrLen: 20}
		if got := arranges(p); got != tc.want {
			t.Errorf("%q from %d: %v", tc.text, tc.src, got)
		}
		p.Proto = capture.ProtoUDP
		if arranges(p) {
			t.Errorf("%q over UDP", tc.text)
		}
	}
	all := newTransfers(file.NewCache(file.Options{}))
	for _, port := range []uint16{20, 40000} {
		h := newDataHost(port, 50000)
		_, watches := all.watch(h, decoders.NewMux(h, nil, false), false, false).(*watched)
		if watches != (port == ftpDataPort) {
			t.Errorf("from port %d: %v", port, watches)
		}
	}
}

// TestTransfersAreBounded: flows of which none ends.
func TestTransfersAreBounded(t *testing.T) {
	all := newTransfers(file.NewCache(file.Options{HashLimit: 1 << 30}))
	weird := 0
	for range 2 * maxTransfers {
		h := newDataHost(40000, 50000)
		st := watching(all, h, false)
		st.Data(capture.Orig, []byte("\x00\x01"))
		st.Data(capture.Orig, []byte("\x02"))
		weird += len(h.events)
		if all.count > maxTransfers {
			t.Fatal(all.count)
		}
	}
	if weird != maxTransfers {
		t.Errorf("%d weirds", weird)
	}
}

func FuzzTransfers(f *testing.F) {
	f.Add([]byte("220 a list\r\n"), []byte("\x16\x03"), uint16(3))
	f.Fuzz(func(t *testing.T, a, b []byte, gap uint16) {
		all := newTransfers(file.NewCache(file.Options{HashLimit: 1 << 20}))
		st := watching(all, newDataHost(20, 50000), false)
		st.Data(capture.Orig, a)
		st.Gap(capture.Orig, int64(gap))
		st.Data(capture.Orig, b)
		st.End(capture.Orig)
		st.Data(capture.Resp, b)
		st.Finish()
		if all.count != 0 {
			t.Error(all.count)
		}
	})
}
