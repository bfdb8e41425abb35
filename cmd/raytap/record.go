package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/sinks/terminal"
)

// ownFolder is one of packets, which nobody but the user that a sensor becomes may enter.
type ownFolder struct {
	name string
	of   string // what is in it
}

// ownFolders lists those of packets, if there are any.
func ownFolders(cfg *config.Config) (all []ownFolder) {
	if cfg.Record.Folder != "" {
		all = append(all, ownFolder{cfg.Record.Folder, "packets"})
		if cfg.Evidence.Folder != "" && cfg.Evidence.Severity != "" {
			all = append(all, ownFolder{cfg.Evidence.Folder, "evidence"})
		}
	}
	return all
}

// sayKept says at the beginning what will be kept, and what will not.
func sayKept(rec *record.Recorder, say func(string)) {
	say("recording packets: " + rec.Policy().String())
}

// sayRecorded says at the end what was.
func sayRecorded(rec *record.Recorder, say func(string)) { say(recorded(rec.Counts())) }

// recorded is a sentence: what was kept, and what was left out by cause.
func recorded(c record.Counts) string {
	kept := c.By[record.Kept]
	s := fmt.Sprintf("recorded %s of %s packets, %s of %s", terminal.Number(kept.Frames), terminal.Number(c.Seen.Frames), terminal.Size(kept.Bytes), terminal.Size(c.Seen.Bytes))
	var left []string
	for _, l := range c.Left() {
		if l.Frames > 0 {
			left = append(left, fmt.Sprintf("%s %s of %s packets", l.Cause, terminal.Size(l.Bytes), terminal.Number(l.Frames)))
		}
	}
	if left != nil {
		s += "; left out: " + strings.Join(left, ", ")
	}
	return s
}

const recordSynopsis = `record ls [--host ADDR] DIR...

Tells what is in a folder that a sensor records into: of each segment its span and size, then in all how long that is, how
much of what was seen is kept, and what was left out and why. raytap extract takes packets out of it.

With --host it names the segments that have packets of an address or network, and how many: what is to be deleted, if
somebody asks for that.

Exit status: 0 told; 1 a segment cannot be read, or is damaged; 2 wrong usage.
`

func aboutRecord(args []string, stdout, stderr *os.File) int {
	f := newFlags("record", recordSynopsis)
	var hosts []string
	f.Func("host", "only segments with packets to or from `ADDR`; NET/BITS is a network; may be repeated", list(&hosts))
	rest, err := f.parse(args)
	if err == nil {
		_, err = detectors.ParseNetworks(hosts)
	}
	switch {
	case err != nil:
	case len(rest) == 0 || rest[0] != "ls":
		err = errors.New("ls?")
	case len(rest) == 1:
		err = errors.New("ls needs a folder")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	code := exitOK
	var out bytes.Buffer
	for _, dir := range rest[1:] {
		folder, err := record.OpenFolder(dir)
		if err == nil && !record.IsFolder(dir) {
			err = fmt.Errorf("%s: this folder has no recording", dir)
		}
		if err != nil {
			complain(stderr, err)
			code = exitInput
			continue
		}
		if hosts != nil {
			var q record.Query
			for _, h := range hosts {
				q.Hosts = append(q.Hosts, prefixOf(h))
			}
			told := folder.Having(&q, func(name string, packets int) {
				fmt.Fprintf(&out, "%s  %s packets\n", terminal.Clean(name), terminal.Number(uint64(packets)))
			})
			for _, text := range told {
				complain(stderr, errors.New(text))
				code = exitInput
			}
			continue
		}
		if !listRecord(&out, folder, stderr) {
			code = exitInput
		}
	}
	if _, err := stdout.Write(out.Bytes()); err != nil {
		complain(stderr, err)
		code = exitInput
	}
	return code
}

// listRecord tells of a folder, and reports whether all of it can be read.
func listRecord(out io.Writer, folder *record.Folder, stderr io.Writer) (whole bool) {
	const form = "2006-01-02 15:04:05"
	whole = true
	var total record.Counts
	var bytes int64
	var first, last capture.Time
	all := folder.Segments()
	for i := range all {
		g := &all[i]
		if g.Err != nil {
			complain(stderr, fmt.Errorf("%s: %w", g.Name, g.Err))
			whole = false
			continue
		}
		state := ""
		switch {
		case g.Damaged > 0:
			state, whole = fmt.Sprintf("  damaged at %d places", g.Damaged), false
		case !g.Indexed && i == len(all)-1:
			state = "  being written"
		case !g.Indexed:
			state = "  without an index"
		}
		kept := g.Counts.By[record.Kept]
		fmt.Fprintf(out, "%s  %s to %s  %s  %s packets%s\n", terminal.Clean(g.Name), g.First.Std().Format(form), g.Last.Std().Format(form),
			terminal.Size(uint64(g.Bytes)), terminal.Number(kept.Frames), state)
		total.Add(&g.Counts)
		if bytes += g.Bytes; first == 0 || g.First < first {
			first = g.First
		}
		last = max(last, g.Last)
	}
	if len(all) > 0 {
		fmt.Fprintf(out, "%s: %s segments, %s, %s to %s UTC (%s)\n", terminal.Clean(folder.Dir), terminal.Number(uint64(len(all))), terminal.Size(uint64(bytes)),
			first.Std().Format(form), last.Std().Format(form), last.Sub(first).Round(time.Second))
	} else {
		fmt.Fprintf(out, "%s: no segments\n", terminal.Clean(folder.Dir))
	}
	fmt.Fprintf(out, "%s\n", recorded(total))
	if n, size := folder.EvidenceFiles(); n > 0 {
		fmt.Fprintf(out, "evidence: %s files, %s\n", terminal.Number(uint64(n)), terminal.Size(uint64(size)))
	}
	return whole
}
