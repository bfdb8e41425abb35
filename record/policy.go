package record

import (
	"fmt"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/shell"
	"github.com/raytap/raytap/detectors"
)

// Policy says what is kept of which packets. It does not change while a run goes on.
type Policy struct {
	// Cutoff is how many bytes of IP packets a flow and direction are kept; 0: all. (The Time Machine's idea: Maier et al.,
	// Enriching Network Security Analysis with Time Travel, SIGCOMM 2008.)
	Cutoff uint64
	// Whole names what is kept beyond Cutoff, up to WholeCutoff: services as conn.log has them, and ray and shell.
	Whole       []string
	WholeCutoff uint64 // 0: all
	// Encrypted is Cutoff for what is encrypted, behind which headers are kept up to Cutoff: the handshake, with the names
	// and certificates in it, tells something, and the rest nothing. 0: no difference is made.
	Encrypted uint64
	// Snap is how many bytes of a frame are kept at most, 0: all.
	Snap int
	// Headers keeps nothing of any frame but its headers.
	Headers bool
	// Filter is in tcpdump's language; what it does not match is not kept. "": all is.
	Filter string
	// Exclude are networks of which no packet is kept, also not as evidence. nil: none.
	Exclude *detectors.Networks
}

// encrypted are the services that are nothing but ciphertext behind their handshake.
var encrypted = [...]string{"ssl", "dtls", "quic", "ssh"}

// Names of Policy.Whole that are no services of conn.log: they are told by events.
const (
	Ray   = "ray"
	Shell = "shell"
)

// Cause is why something was not kept.
type Cause uint8

// Causes. What is kept of a frame that is cut counts as kept, and the rest under its cause.
const (
	Kept Cause = iota
	Cutoff
	Encrypted
	Snapped
	Filtered
	Excluded
	QueueFull // the disk did not keep up
	DiskError
	causes
)

var causeNames = [causes]string{"kept", "cutoff", "encrypted", "snap", "filter", "exclude", "queue_full", "disk_error"}

func (c Cause) String() string { return causeNames[c] }

// keep is how much of a frame is kept.
type keep uint8

const (
	nothing keep = iota
	headers
	whole
)

// Mark is what is made of a packet: by its flow's worker, for the recorder.
type Mark struct {
	Start capture.Time // of its flow
	keep  keep
	cause Cause // why no more
}

// Judge makes marks. It belongs to one goroutine.
type Judge struct {
	*Policy
	free  uint64 // bytes that are kept of every flow
	ray   bool
	shell bool
	wants *wants    // flows of findings; nil: none
	last  *[]string // services that were looked at last, and what they make of a flow:
	kind  kind
}

type kind uint8

const (
	plain kind = iota
	secret
	precious
)

// Judge makes one.
func (p *Policy) Judge() *Judge {
	j := &Judge{Policy: p, free: p.Cutoff, ray: slices.Contains(p.Whole, Ray), shell: slices.Contains(p.Whole, Shell)}
	if p.Encrypted > 0 && (j.free == 0 || p.Encrypted < j.free) {
		j.free = p.Encrypted
	}
	return j
}

// Mark marks a packet.
func (j *Judge) Mark(p *capture.Packet, f *capture.Facts) Mark {
	switch {
	case j.Exclude != nil && (j.Exclude.Contains(p.SrcAddr()) || j.Exclude.Contains(p.DstAddr())):
		return Mark{f.Start, nothing, Excluded}
	case f.Sent <= j.free || j.free == 0:
		return Mark{f.Start, whole, Kept}
	}
	k := j.look(f)
	switch {
	case k == precious && (j.WholeCutoff == 0 || f.Sent <= j.WholeCutoff):
		return Mark{f.Start, whole, Kept}
	case k == precious, j.Cutoff > 0 && f.Sent > j.Cutoff:
		// How the flow ended is worth 60 bytes.
		if p.Proto == capture.ProtoTCP && p.Flags&(capture.FlagSYN|capture.FlagFIN|capture.FlagRST) != 0 {
			return Mark{f.Start, headers, Cutoff}
		}
		return Mark{f.Start, nothing, Cutoff}
	case k == secret:
		return Mark{f.Start, headers, Encrypted}
	}
	return Mark{f.Start, whole, Kept}
}

// Judge makes one that knows of which flows there are findings.
func (r *Recorder) Judge() *Judge {
	j := r.judge.Judge()
	j.wants = &r.wants
	return j
}

// Keeps reports whether anything of a further packet is kept that ends nothing, of a flow of which f are the facts so far.
func (j *Judge) Keeps(f *capture.Facts) bool {
	if j.wants != nil && j.wants.has(flowID(f.Hash, f.Start)) {
		return true
	}
	m := j.Mark(&capture.Packet{Proto: capture.ProtoTCP, Flags: capture.FlagACK}, f)
	return m.keep != nothing
}

// Treasures says whether an event tells of a flow that is kept whole.
func (j *Judge) Treasures(ev any) bool {
	_, is := ev.(*shell.Session)
	return is && j.shell
}

func (j *Judge) look(f *capture.Facts) kind {
	if f.Whole || f.Dear && j.ray {
		return precious
	}
	if f.Services == nil {
		return plain
	}
	if f.Services == j.last {
		return j.kind
	}
	k := plain
	for _, s := range *f.Services {
		if slices.Contains(j.Whole, s) {
			k = precious
			break
		}
		if j.Encrypted > 0 && slices.Contains(encrypted[:], s) {
			k = secret
		}
	}
	j.last, j.kind = f.Services, k
	return k
}

// String says in a sentence what is kept, and what is not.
func (p *Policy) String() string {
	s := "all of each flow"
	if p.Cutoff > 0 {
		s = fmt.Sprintf("the first %d bytes of each flow and direction", p.Cutoff)
		if len(p.Whole) > 0 {
			s += ", of " + strings.Join(p.Whole, ", ")
			if p.WholeCutoff > 0 {
				s += fmt.Sprintf(" %d", p.WholeCutoff)
			} else {
				s += " all"
			}
		}
	}
	if p.Encrypted > 0 {
		s += fmt.Sprintf(", of encrypted flows %d and then headers", p.Encrypted)
	}
	switch {
	case p.Headers:
		s += "; headers alone"
	case p.Snap > 0:
		s += fmt.Sprintf("; %d bytes of a frame", p.Snap)
	}
	if p.Filter != "" {
		s += "; only " + p.Filter
	}
	if p.Exclude != nil {
		s += "; nothing of networks that are excluded"
	}
	return s
}
