package tls

const (
	// maxOffered bounds the application protocols of a ClientHello that are kept; browsers offer two, proxies up to five.
	maxOffered = 16
	// maxServerName bounds a server name. DNS allows 253; Zeek logs up to 4,096 bytes of any text.
	maxServerName = 4096
)

// Extension types (RFC 8446 section 4.2 and the IANA registry).
const (
	extServerName   = 0
	extGroups       = 10
	extPointFormats = 11
	extSigAlgs      = 13
	extALPN         = 16
	extTicket       = 35
	extKeyShareOld  = 40 // in drafts of TLS 1.3 before 23
	extPSK          = 41
	extVersions     = 43
	extKeyShare     = 51
	extECH          = 0xFE0D
)

// reader takes fields off the front of a message. Once it was asked for more than there is, bad is set and it gives
// zeros.
type reader struct {
	b   []byte
	bad bool
}

// take gives the next n bytes, borrowed; nil if there are fewer.
func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return uint16(b[0])<<8 | uint16(b[1])
	}
	return 0
}

func (r *reader) u24() int {
	if b := r.take(3); b != nil {
		return int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	}
	return 0
}

func (r *reader) vec8() []byte  { return r.take(int(r.u8())) }
func (r *reader) vec16() []byte { return r.take(int(r.u16())) }

func u16s(b []byte) []uint16 {
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = uint16(b[2*i])<<8 | uint16(b[2*i+1])
	}
	return out
}

// clientHello is a ClientHello (RFC 8446 section 4.1.2) as far as anything here depends on it. Slices of bytes point
// into the message.
type clientHello struct {
	version      uint16 // legacy_version
	sessionID    []byte
	ciphers      []uint16
	extensions   []uint16 // types, as sent
	groups       []uint16
	pointFormats []byte
	sigAlgs      []uint16
	versions     []uint16
	offered      []string // ALPN, at most maxOffered
	names        []string // server names, at most two, each with at most one octet more than is kept
	oddNames     []uint8  // name types other than host_name, at most one
	hasALPN      bool
	hasName      bool
	ticket       bool // a session ticket, not empty
	psk          bool
	ech          bool
}

// parse reads the body of a ClientHello. False says that it is cut short or that its lengths do not add up; what
// stood before the break is set. An extension that is broken inside is passed over: its type still counts.
func (h *clientHello) parse(b []byte) bool {
	r := reader{b: b}
	h.version = r.u16()
	r.take(32)
	h.sessionID = r.vec8()
	if h.version == VersionDTLS10 || h.version == VersionDTLS12 {
		r.vec8() // cookie
	}
	h.ciphers = u16s(r.vec16())
	r.vec8() // compression methods
	if r.bad {
		return false
	}
	if len(r.b) == 0 {
		return true // SSLv3 had no extensions
	}
	return extensions(&r, h.extension)
}

// extensions reads the block of extensions at the end of a hello. The length before it is not asked: what counts is
// where the message ends.
func extensions(r *reader, each func(typ uint16, data []byte)) bool {
	r.u16()
	for len(r.b) > 0 {
		typ := r.u16()
		data := r.vec16()
		if r.bad {
			return false
		}
		each(typ, data)
	}
	return !r.bad
}

func (h *clientHello) extension(typ uint16, data []byte) {
	h.extensions = append(h.extensions, typ)
	r := reader{b: data}
	switch typ {
	case extServerName:
		h.hasName = true
		l := reader{b: r.vec16()}
		for len(l.b) > 0 {
			if t := l.u8(); t != 0 {
				h.oddNames = append(h.oddNames[:0], t)
				return
			}
			name := l.vec16()
			if l.bad {
				return
			}
			if len(h.names) < 2 {
				h.names = append(h.names, string(name[:min(len(name), maxServerName+1)]))
			}
		}
	case extGroups:
		h.groups = u16s(r.vec16())
	case extPointFormats:
		h.pointFormats = r.vec8()
	case extSigAlgs:
		h.sigAlgs = u16s(r.vec16())
	case extALPN:
		h.hasALPN = true
		h.offered = alpn(r.vec16(), h.offered)
	case extTicket:
		h.ticket = h.ticket || len(data) > 0
	case extPSK:
		h.psk = true
	case extVersions:
		h.versions = u16s(r.vec8())
	case extECH:
		h.ech = true
	}
}

func alpn(b []byte, out []string) []string {
	r := reader{b: b}
	for len(r.b) > 0 && len(out) < maxOffered {
		name := r.vec8()
		if r.bad {
			break
		}
		out = append(out, string(name))
	}
	return out
}

// serverHello is a ServerHello or HelloRetryRequest (RFC 8446 section 4.1.3).
type serverHello struct {
	version    uint16 // legacy_version
	sessionID  []byte
	cipher     uint16
	extensions []uint16
	selected   uint16 // supported_versions, 0 if it was not sent
	group      uint16 // key_share
	hasGroup   bool
	chosen     []string // ALPN
	psk        bool
	retry      bool
}

// retryRandom is what a HelloRetryRequest has for a random: SHA-256 of its name.
const retryRandom = "\xCF\x21\xAD\x74\xE5\x9A\x61\x11\xBE\x1D\x8C\x02\x1E\x65\xB8\x91" +
	"\xC2\xA2\x11\x16\x7A\xBB\x8C\x5E\x07\x9E\x09\xE2\xC8\xA8\x33\x9C"

// parse is clientHello.parse for the server's side.
func (h *serverHello) parse(b []byte) bool {
	r := reader{b: b}
	h.version = r.u16()
	h.retry = string(r.take(32)) == retryRandom
	// Drafts of TLS 1.3 before 22 had neither session id nor compression.
	old13 := h.version == VersionTLS13 || h.version>>8 == 0x7F
	if !old13 {
		h.sessionID = r.vec8()
	}
	h.cipher = r.u16()
	if !old13 {
		r.u8()
	}
	if r.bad {
		return false
	}
	if len(r.b) == 0 {
		return true
	}
	return extensions(&r, h.extension)
}

func (h *serverHello) extension(typ uint16, data []byte) {
	h.extensions = append(h.extensions, typ)
	r := reader{b: data}
	switch typ {
	case extALPN:
		h.chosen = alpn(r.vec16(), nil)
	case extPSK:
		h.psk = true
	case extVersions:
		if v := r.u16(); !r.bad {
			h.selected = v
		}
	case extKeyShare, extKeyShareOld:
		// A HelloRetryRequest names the group only; a ServerHello has its key behind the name.
		if g := r.u16(); !r.bad {
			h.group, h.hasGroup = g, true
		}
	}
}
