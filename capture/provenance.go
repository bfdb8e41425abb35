package capture

// Provenance says what is known of the packets that something was read out of, and of what came before it. Nothing of it is set
// for what was read in a row, out of packets that everybody believes. Decoders set it; which rows Zeek would have all the same is
// for engine/zeekview alone.
type Provenance uint8

const (
	// Doubted: out of packets with a wrong checksum that were believed because their receiver acknowledged them, or of another
	// reading of bytes that were sent twice.
	Doubted Provenance = 1 << iota
	// HandshakeSeen, of an Aside: a SYN with a right checksum was seen.
	HandshakeSeen
	// AfterGap: behind missing bytes, or behind others, where the decoder found the next message by searching for it.
	AfterGap
	// OtherProtocol: in the name of another protocol (RTSP for HTTP), or behind a message that is none of the protocol.
	OtherProtocol
	// Unconfirmed: nothing in the flow so far is what everybody knows the protocol by.
	Unconfirmed
)

// Has reports whether any of the given is set.
func (p Provenance) Has(any Provenance) bool { return p&any != 0 }

// When returns p if it is so, and nothing otherwise.
func (p Provenance) When(so bool) Provenance {
	if so {
		return p
	}
	return 0
}
