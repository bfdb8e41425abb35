package stratum

import (
	"bytes"
	"fmt"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Miners that are to pass a filter are put behind a pair of proxies that combine every byte with a short key. Of the first
// line of a miner the beginning is known, which gives the key away; the rest of the line proves it.

// cribs are beginnings of a miner's first line. Each is longer than the longest key.
var cribs = [...]string{`{"id":1,"`, `{"id": 1, "`, `{"id":0,"`, `{"method":"`, `{"method": "`, `{"jsonrpc":"`, `{"jsonrpc": "`, `{"params":`}

// maxVeil is the longest first line that is looked at: a login.
const maxVeil = 2 << 10

// key finds what b is combined with; nil if it is nothing of the kind, and false if more bytes may tell.
func key(b []byte) (k []byte, ok bool) {
	if len(b) > maxVeil {
		b = b[:maxVeil]
	}
	for _, c := range cribs {
		if len(b) < len(c) {
			continue
		}
	lengths:
		for _, n := range [...]int{1, 2, 4, 8} {
			for i := n; i < len(c); i++ {
				if b[i]^c[i] != b[i-n]^c[i-n] {
					continue lengths
				}
			}
			k := make([]byte, n)
			zero := true
			for i := range k {
				k[i] = b[i] ^ c[i]
				zero = zero && k[i] == 0
			}
			if zero {
				return nil, true
			}
			plain := unveil(b, k, 0)
			line, _, whole := bytes.Cut(plain, []byte("\n"))
			if binary(line) {
				continue
			}
			switch v := look(plain, false); {
			case v == verdictClient:
				return k, true
			case v == verdictMaybe && !whole && len(b) < maxVeil:
				return nil, false
			}
		}
	}
	// Too few bytes are a no: waiting for more of what may be anything would hide what begins in the next segment.
	return nil, true
}

// unveil gives b without the key, whose place is at.
func unveil(b, k []byte, at int) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ k[(at+i)%len(k)]
	}
	return out
}

// veiled judges a stream whose client begins with no text.
func veiled(orig []byte) decoders.Verdict {
	switch k, sure := key(orig); {
	case k != nil:
		return decoders.Yes
	case sure:
		return decoders.No
	}
	return decoders.Maybe
}

// VeiledSpec registers the decoder of what is combined with a key.
func VeiledSpec() decoders.Spec {
	return decoders.Spec{
		Name: "stratum_xor",
		Stream: func(orig, _ []byte, mid bool) decoders.Verdict {
			if mid || len(orig) > 0 && orig[0] == '{' {
				return decoders.No
			}
			return veiled(orig)
		},
		New: func(ctx decoders.Context) decoders.Decoder { return &veil{d: newDecoder(ctx)} },
	}
}

type veil struct {
	d   *decoder
	key []byte
	at  [2]int // where in the key a direction stands
}

// Decode implements decoders.Decoder.
func (v *veil) Decode(dir capture.Dir, b []byte) (int, error) {
	if v.key == nil {
		if dir == capture.Resp {
			return 0, nil
		}
		k, sure := key(b)
		switch {
		case k == nil && sure:
			return 0, errForeign
		case k == nil:
			return 0, nil
		}
		v.key, v.d.s.Veil = k, fmt.Sprintf("a key of %d bytes (%x)", len(k), k)
	}
	if len(b) > 2*maxLine {
		b = b[:2*maxLine]
	}
	n, err := v.d.Decode(dir, unveil(b, v.key, v.at[dir]))
	v.at[dir] = (v.at[dir] + n) % len(v.key)
	return n, err
}

// Gap implements decoders.Decoder.
func (v *veil) Gap(dir capture.Dir, n int64) bool {
	if v.key == nil {
		return false
	}
	v.at[dir] = int((int64(v.at[dir]) + n) % int64(len(v.key)))
	return v.d.Gap(dir, n)
}

// End implements decoders.Decoder.
func (v *veil) End(dir capture.Dir) { v.d.End(dir) }
