package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
)

const extractSynopsis = `extract (--finding ID | --uid UID) [flags] FILE...

Writes the packets of one finding or one flow to a pcapng file, with comments where the evidence is, so that Wireshark
opens at the place. ID stands in the column finding_id of notice.log and in the report; UID in every log. The captures
are read twice, with the settings of the run that made the finding: give the same --home and --config.

Of a finding over many flows these are the packets between its two ends and those that it names. Of a datagram in
fragments the last is found, not those before it.

Exit status: 0 written; 1 there is no such finding or flow, or an input is damaged, or the output could not be written;
2 wrong usage.
`

func extract(args []string, stdout, stderr *os.File) int {
	f := newFlags("extract", extractSynopsis)
	var home []string
	id := f.String("finding", "", "packets of the finding `ID`")
	uid := f.String("uid", "", "packets of the flow `UID`")
	out := f.String("o", "", "write to `FILE` (default: the ID or UID, with .pcapng)")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated", func(s string) error { home = append(home, s); return nil })
	f.Int("workers", 0, "goroutines that decode, `N` (default: the processors)")
	f.String("checksums", "auto", "what becomes of wrong ones: `MODE` auto, strict (as Zeek), ignore")
	f.Bool("ignore-checksums", false, "the same as --checksums ignore")
	config := f.String("config", "", "read settings from `FILE` (YAML)")
	files, err := f.parse(args)
	switch {
	case err != nil:
	case (*id == "") == (*uid == ""):
		err = errors.New("one of --finding and --uid is needed")
	case len(files) == 0:
		err = errors.New("no capture given")
	case strings.Join(files, "") == "-":
		err = errors.New("standard input cannot be read twice")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	cfg, err := f.settings(*config, home)
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	if *out == "" {
		*out = *id + *uid + ".pcapng"
	}

	guard(&cfg, stderr)
	w := wanted{id: *id, uid: *uid, notes: map[uint64][]string{}}
	code := exitOK
	if err := eachSource(files, func(src capture.Source) error {
		_, err := raytap.Run(context.Background(), cfg, src, &w)
		return err
	}); err != nil {
		complain(stderr, err)
		code = exitInput
	}
	if !w.found() {
		what := "finding " + *id
		if *uid != "" {
			what = "flow " + *uid
		}
		fmt.Fprintf(stderr, "raytap: there is no %s in %s with these settings\n", what, strings.Join(files, ", "))
		return exitInput
	}
	var n uint64
	err = disk.Private().Replace(*out, func(file io.Writer) error {
		return eachSource(files, func(src capture.Source) error {
			n, err = w.copy(src, file, cfg)
			return err
		})
	})
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	fmt.Fprintf(stdout, "%s: %s packets\n", terminal.Clean(*out), terminal.Number(n))
	return code
}

// eachSource opens the captures as one and closes them again.
func eachSource(files []string, fn func(capture.Source) error) error {
	var srcs []capture.Source
	for _, name := range files {
		src, err := capture.OpenFile(name)
		if err != nil {
			return err
		}
		defer src.Close()
		srcs = append(srcs, src)
	}
	return fn(capture.Merge(srcs...))
}

// wanted is what to look for, and then what was found: a sink of the first reading.
type wanted struct {
	id, uid string
	finding *detectors.Finding
	flow    *capture.Flow
	until   capture.At // the end of the flow
	said    []*detectors.Finding
	notes   map[uint64][]string // comments by ordinal
}

// Findings of other flows that are remembered until it is known which flow is meant; a capture has tens.
const maxSaid = 1 << 14

// Event implements raytap.Sink.
func (w *wanted) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Finding:
		if ev.ID() == w.id && w.finding == nil {
			w.finding = ev
			if ev.Flow != nil {
				w.uid = ev.Flow.UID
			}
		}
		if len(w.said) < maxSaid {
			w.said = append(w.said, ev)
		}
	case *capture.Conn:
		if w.uid != "" && ev.Flow.UID == w.uid {
			w.flow, w.until = ev.Flow, ev.At
		}
	}
}

func (w *wanted) found() bool { return w.flow != nil || w.finding != nil }

// note makes comments of a finding's evidence.
func (w *wanted) note(f *detectors.Finding) {
	said := map[uint64]bool{}
	for _, e := range f.Evidence {
		if e.Packet == 0 {
			continue
		}
		if !said[e.Packet] {
			said[e.Packet] = true
			w.notes[e.Packet] = append(w.notes[e.Packet], fmt.Sprintf("raytap %s (%s): %s", f.Rule, f.Severity, terminal.Clean(f.Msg)))
		}
		w.notes[e.Packet] = append(w.notes[e.Packet], fmt.Sprintf("  %s = %s", terminal.Clean(e.Field), terminal.Clean(e.Value)))
	}
}

// takes says whether p belongs to what was found.
func (w *wanted) takes(p *capture.Packet) bool {
	if w.flow != nil {
		return w.flow.Between(p) && p.Time >= w.flow.Start && p.Time <= w.until.Time
	}
	f := w.finding
	if f.Flow != nil || !f.Src.IsValid() || !f.Dst.IsValid() {
		return false
	}
	src, dst := p.SrcAddr(), p.DstAddr()
	return src == f.Src && dst == f.Dst || src == f.Dst && dst == f.Src
}

// copy writes the packets, and those of the evidence wherever they belong.
func (w *wanted) copy(src capture.Source, file io.Writer, cfg raytap.Config) (n uint64, err error) {
	about := "flow " + w.uid
	for _, f := range w.said {
		if f == w.finding || w.uid != "" && f.Flow != nil && f.Flow.UID == w.uid {
			w.note(f)
		}
	}
	if w.finding != nil {
		about = fmt.Sprintf("finding %s: %s", w.id, terminal.Clean(w.finding.Msg))
	}
	buffered := bufio.NewWriter(file)
	out, err := capture.NewPcapngWriter(buffered, "raytap "+buildVersion(), about)
	if err != nil {
		return 0, err
	}
	dissect := capture.NewDissector(capture.DissectConfig{IgnoreChecksums: cfg.Checksums == "ignore"})
	var b capture.Batch
	var packets []capture.Packet
	for {
		err := src.ReadBatch(&b)
		for i := range b.Frames {
			f := &b.Frames[i]
			packets = dissect.Dissect(f, packets[:0])
			notes := w.notes[f.Ordinal]
			take := notes != nil
			for j := range packets {
				take = take || w.takes(&packets[j])
			}
			if !take {
				continue
			}
			comment := strings.Join(notes, "\n")
			if notes != nil {
				comment += fmt.Sprintf("\npacket %d of the capture", f.Ordinal)
			}
			if err := out.Write(f, comment); err != nil {
				return out.Frames(), err
			}
		}
		if err != nil { // one of the input was told when it was read first
			return out.Frames(), buffered.Flush()
		}
	}
}
