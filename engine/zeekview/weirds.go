package zeekview

import (
	"net/netip"

	"github.com/raytap/raytap/capture"
)

// weirdFilter keeps weird.log readable: the same oddity of the same flow is written once in ten minutes, some only
// once a day for each originator, as Zeek's default actions have it (base/frameworks/notice/weird.zeek).
type weirdFilter struct {
	said, before map[weirdKey]capture.Time // two generations: together they hold at least the last weirdTable keys
}

type weirdKey struct {
	name      string
	addl      string // of what has no flow
	src, dst  netip.AddrPort
	proto     uint8
	perSource bool
}

const (
	// Entries of a generation. An attacker who makes more oddities than this within the window makes us repeat
	// ourselves, nothing else.
	weirdTable = 1 << 16
	weirdQuiet = capture.Time(600e9)
	weirdDay   = capture.Time(86400e9)
)

func newWeirdFilter() *weirdFilter {
	return &weirdFilter{said: map[weirdKey]capture.Time{}, before: map[weirdKey]capture.Time{}}
}

// pass says whether the weird is to be written.
func (f *weirdFilter) pass(x *capture.Weird) bool {
	k := weirdKey{name: x.Name, src: x.Src, dst: x.Dst}
	quiet := weirdQuiet
	if x.Flow != nil {
		k.src, k.dst, k.proto = x.Flow.Orig, x.Flow.Resp, x.Flow.Proto
	}
	switch x.Name {
	case "unsolicited_SYN_response", "FIN_after_reset", "spontaneous_FIN", "spontaneous_RST":
		return false // Zeek ignores them too: scans make them by the thousand
	case "bad_ICMP_checksum", "bad_TCP_checksum", "bad_UDP_checksum", "bad_IP_checksum", "checksums_offloaded",
		"connection_originator_SYN_ack",
		"DNS_label_forward_compress_offset", "DNS_label_len_gt_name_len", "DNS_label_len_gt_pkt", "DNS_label_too_long",
		"SYN_after_partial", "SYN_with_data", "UDP_datagram_length_mismatch", "excessively_small_fragment",
		"fragment_inconsistency", "fragment_overlap", "fragment_size_inconsistency":
		k.src, k.dst, k.proto, k.perSource = netip.AddrPortFrom(k.src.Addr(), 0), netip.AddrPort{}, 0, true
		quiet = weirdDay
	case "simultaneous_open":
		quiet = weirdDay
	case "unknown_ether_type", "unknown_link_type":
		k.addl = x.Addl // each number is an oddity of its own
	}
	t, ok := f.said[k]
	if !ok {
		t, ok = f.before[k]
	}
	if ok && x.Time-t < quiet {
		return false
	}
	if len(f.said) >= weirdTable {
		f.said, f.before = map[weirdKey]capture.Time{}, f.said
	}
	f.said[k] = x.Time
	return true
}
