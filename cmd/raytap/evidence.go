package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
)

// savedEvidence saves the packets of findings and incidents that captures show: it hears of them while these are read, and
// reads them again for the packets, once for so many files. Of the flows all is there, since captures have it.
type savedEvidence struct {
	dir   string
	least detectors.Severity
	size  uint64 // of all files
	bound uint64 // of one
	cases []*evidenceCase
	byUID map[string][]*evidenceCase
	story map[string]*detectors.Incident
	order []string // of incidents
	more  int      // cases that there was no room for
	total uint64
	left  uint64 // packets that there was no room for
}

const (
	// Files that are written at once.
	evidenceFiles = 256
	// Findings and incidents that get one. Others are counted.
	maxEvidenceCases = 1 << 14
)

// evidenceCase is a finding or an incident.
type evidenceCase struct {
	wanted
	name    string // of the file
	about   string
	until   capture.Time // of a flow that was over before
	ended   bool
	file    *os.File
	buf     *bufio.Writer
	out     *capture.PcapngWriter
	written uint64
	err     error
}

func newEvidenceCase() *evidenceCase {
	return &evidenceCase{wanted: wanted{
		flows: map[ends][]span{}, pairs: map[[2]netip.Addr]span{}, notes: map[uint64][]string{}, evidence: map[uint64]bool{}, mine: map[string]bool{},
	}}
}

// newSavedEvidence saves to dir what cfg says.
func newSavedEvidence(dir string, cfg *config.Config) (*savedEvidence, error) {
	if err := disk.Private().Folder(dir); err != nil {
		return nil, err
	}
	e := &savedEvidence{dir: dir, size: cfg.Evidence.Size, bound: cfg.Evidence.Bound, byUID: map[string][]*evidenceCase{}, story: map[string]*detectors.Incident{}}
	e.least, _ = detectors.ParseSeverity(cfg.Evidence.Severity) // it was checked; "" is the least
	return e, nil
}

// name gives the file of a finding, for config.Config.SavedAs.
func (e *savedEvidence) name(f *detectors.Finding) string {
	if f.Severity < e.least {
		return ""
	}
	if len(e.cases) >= maxEvidenceCases {
		e.more++
		return ""
	}
	c := newEvidenceCase()
	c.id = f.ID()
	c.name, c.finding, c.until = filepath.Join(e.dir, c.id+".pcapng"), f, f.Time
	c.about = fmt.Sprintf("finding %s: %s", c.id, f.Msg)
	if f.Flow != nil {
		c.uid = f.Flow.UID
		e.byUID[c.uid] = append(e.byUID[c.uid], c)
	}
	e.cases = append(e.cases, c)
	return c.name
}

// Event implements engine.Sink.
func (e *savedEvidence) Event(ev any) {
	switch ev := ev.(type) {
	case *capture.Conn:
		for _, c := range e.byUID[ev.Flow.UID] {
			c.ended = true
			c.flow(ev.Flow, span{ev.Flow.Start, ev.Time})
		}
	case *detectors.Incident:
		if ev.Severity < e.least {
			return
		}
		if e.story[ev.ID] == nil {
			e.order = append(e.order, ev.ID)
		}
		e.story[ev.ID] = ev // the last word on it
	}
}

// settle makes packets to look for of all that was found.
func (e *savedEvidence) settle() {
	for _, c := range e.cases {
		if f := c.finding; f.Flow != nil && !c.ended {
			c.flow(f.Flow, span{f.Flow.Start, c.until})
		}
		c.said = []*detectors.Finding{c.finding}
		c.wanted.settle()
	}
	for _, id := range e.order {
		c := newEvidenceCase()
		c.story, c.incident = id, e.story[id]
		c.name = filepath.Join(e.dir, id+".pcapng")
		c.about = fmt.Sprintf("incident %s: %s", id, c.incident.Summary)
		c.wanted.settle()
		e.cases = append(e.cases, c)
	}
}

// write reads the captures again, and writes the files. It says in words what could not be.
func (e *savedEvidence) write(files []string, cfg config.Config) (says []string, err error) {
	e.settle()
	n := 0
	for all := e.cases; len(all) > 0; {
		some := all[:min(evidenceFiles, len(all))]
		all = all[len(some):]
		if err := e.follow(some, files, cfg); err != nil {
			return says, err
		}
		for _, c := range some {
			if c.err != nil {
				return says, c.err
			}
			n++
		}
	}
	if n > 0 {
		says = append(says, fmt.Sprintf("the packets of %s findings and incidents are in %s", terminal.Number(uint64(n)), terminal.Clean(e.dir)))
	}
	if e.more > 0 {
		says = append(says, fmt.Sprintf("%s findings more have no file of their own", terminal.Number(uint64(e.more))))
	}
	if e.left > 0 {
		says = append(says, fmt.Sprintf("%s packets of findings found no room in %s (evidence.size)", terminal.Number(e.left), terminal.Size(e.size)))
	}
	return says, nil
}

// follow writes some of the files.
func (e *savedEvidence) follow(some []*evidenceCase, files []string, cfg config.Config) error {
	steps := false
	for _, c := range some {
		steps = steps || len(c.steps) > 0
	}
	if steps { // of which flows the packets are that the steps of incidents name
		err := eachSource(files, func(src capture.Source) error {
			return packets(src, cfg, func(f *capture.Frame, all []capture.Packet) error {
				for _, c := range some {
					if c.steps[f.Ordinal] {
						for i := range all {
							e := endsOfPacket(&all[i])
							c.flows[e] = append(c.flows[e], span{})
						}
					}
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	// Who wants the packets of which flows, so that a packet costs the same for one finding and for many.
	flows, pairs, named := map[ends][]*evidenceCase{}, map[[2]netip.Addr][]*evidenceCase{}, map[uint64][]*evidenceCase{}
	for _, c := range some {
		for k := range c.flows {
			flows[k] = append(flows[k], c)
		}
		for k := range c.pairs {
			pairs[k] = append(pairs[k], c)
		}
		for k := range c.evidence {
			named[k] = append(named[k], c)
		}
	}
	err := eachSource(files, func(src capture.Source) error {
		return packets(src, cfg, func(f *capture.Frame, all []capture.Packet) error {
			takes := map[*evidenceCase]bool{}
			for _, c := range named[f.Ordinal] {
				takes[c] = true
			}
			for i := range all {
				p := &all[i]
				for _, c := range flows[endsOfPacket(p)] {
					if c.takes(p) {
						takes[c] = true
					}
				}
				for _, c := range pairs[[2]netip.Addr{p.SrcAddr(), p.DstAddr()}] {
					if c.takes(p) {
						takes[c] = true
					}
				}
			}
			for c := range takes {
				e.frame(c, f)
			}
			return nil
		})
	})
	for _, c := range some {
		if cerr := c.close(); cerr != nil && c.err == nil {
			c.err = cerr
		}
	}
	return err
}

func endsOfPacket(p *capture.Packet) ends {
	return endsOf(p.Proto, netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), netip.AddrPortFrom(p.DstAddr(), p.DstPort))
}

// frame appends one, up to the bound.
func (e *savedEvidence) frame(c *evidenceCase, f *capture.Frame) {
	if c.err != nil || c.written >= e.bound {
		return
	}
	if e.total >= e.size {
		e.left++
		return
	}
	if c.out == nil {
		if c.file, c.err = disk.Private().Renew(c.name); c.err != nil {
			return
		}
		c.buf = bufio.NewWriterSize(c.file, 16<<10)
		if c.out, c.err = capture.NewPcapngWriter(c.buf, "raytap "+buildVersion(), terminal.Clean(c.about)); c.err != nil {
			return
		}
	}
	comment := ""
	if notes := c.notes[f.Ordinal]; notes != nil {
		comment = strings.Join(notes, "\n") + fmt.Sprintf("\npacket %d of the capture", f.Ordinal)
	}
	n := uint64(len(f.Data)) + 32
	e.total += n
	if c.written += n; c.written >= e.bound {
		comment = strings.TrimPrefix(comment+fmt.Sprintf("\ncut off after this packet, at the limit of %d bytes (evidence.bound)", e.bound), "\n")
	}
	c.err = c.out.Write(f, comment)
}

func (c *evidenceCase) close() error {
	if c.file == nil {
		return nil
	}
	err := c.buf.Flush()
	if cerr := c.file.Close(); err == nil {
		err = cerr
	}
	c.file = nil
	return err
}
