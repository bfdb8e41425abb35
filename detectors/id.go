package detectors

import (
	"encoding/binary"
	"strconv"

	"github.com/raytap/raytap/capture"
)

// ID names the finding: R and 17 base-62 digits, a hash of what it rests on. It is equal in every run, and does not
// depend on the ordinals of packets, so that a finding keeps its name when the capture is cut or joined with others.
func (f *Finding) ID() string {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(f.Time))
	uid := ""
	if f.Flow != nil {
		uid = f.Flow.UID
	}
	text := f.Rule + "\x00" + f.Src.String() + "\x00" + f.Dst.String() + "\x00" + strconv.Itoa(int(f.Port)) + "\x00" + uid +
		"\x00" + f.Severity.String() + "\x00" + string(f.Outcome) + "\x00" + f.Key
	return capture.NewUID('R', at[:], []byte(text))
}
