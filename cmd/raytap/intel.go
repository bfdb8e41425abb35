package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/sinks/terminal"
)

const intelSynopsis = `intel FILE|DIR|PATTERN...

Reads feeds of indicators (Zeek intel, CSV with a header, MISP and STIX 2.1 JSON, lists; plain or gzip; directories
recursively) and reports what raytap understands of them: how many of each kind, what is skipped and why, which are shared
services (rated info), which have expired, and how much memory they take.

Exit status: 0 all were read; 1 a feed could not be read, or has no indicators; 2 wrong usage.
`

func describeIntel(args []string, stdout, stderr *os.File) int {
	f := newFlags("intel", intelSynopsis)
	files, err := f.parse(args)
	if err == nil && len(files) == 0 {
		err = errors.New("no feed given")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	code := exitOK
	set, feeds, err := config.CheckIntel(files)
	if err != nil {
		complain(stderr, err)
		code = exitInput
	}
	var b bytes.Buffer
	for _, feed := range feeds {
		if feed.Folder {
			describeFolder(&b, feed)
			if feed.Files == 0 {
				code = exitInput
			}
			continue
		}
		describe(&b, feed)
		if feed.Indicators() == 0 {
			code = exitInput
		}
	}
	fmt.Fprintf(&b, "%d indicators in all, %d of them more than once; %.1f MB of memory", set.Len(), set.Merged, float64(set.Memory())/1e6)
	if set.Dropped > 0 {
		fmt.Fprintf(&b, "; %d beyond the bound of %d dropped", set.Dropped, intel.MaxIndicators)
	}
	b.WriteString("\n")
	if _, err := stdout.Write(b.Bytes()); err != nil {
		complain(stderr, err)
		code = exitInput
	}
	return code
}

// describeFolder tells what of a folder was read and what was not.
func describeFolder(b *bytes.Buffer, f *intel.Feed) {
	fmt.Fprintf(b, "%s: %s\n\n", terminal.Clean(f.Name), inFolder(f))
}

func inFolder(f *intel.Feed) string {
	s := fmt.Sprintf("%d files were read", f.Files)
	switch f.Files {
	case 0:
		s = "no feed is in it"
	case 1:
		s = "1 file was read"
	}
	if len(f.Left) > 0 {
		s += "; left out: " + terminal.Clean(strings.Join(f.Left, ", "))
	}
	return s
}

func describe(b *bytes.Buffer, f *intel.Feed) {
	if f.Format == "" { // it could not be opened, which was said
		return
	}
	fmt.Fprintf(b, "%s: %s, ", terminal.Clean(f.Name), f.Format)
	if f.Files > 1 {
		fmt.Fprintf(b, "%d files, ", f.Files)
	}
	fmt.Fprintf(b, "%d records, %d indicators", f.Records, f.Indicators())
	if !f.Newest().IsZero() {
		fmt.Fprintf(b, ", last seen %s to %s", f.Oldest().Format("2006-01-02"), f.Newest().Format("2006-01-02"))
	}
	b.WriteString("\n")
	for k, n := range f.Added {
		if n > 0 {
			fmt.Fprintf(b, "  %9d  %s\n", n, intel.Kind(k))
		}
	}
	if f.NShared > 0 {
		fmt.Fprintf(b, "  %9d  of them services that many share, rated info:", f.NShared)
		for i, s := range f.Shared {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(" " + terminal.Clean(s))
		}
		b.WriteString("\n")
	}
	if f.Ended > 0 {
		fmt.Fprintf(b, "  %9d  of them have ended\n", f.Ended)
	}
	if f.Over > 0 {
		fmt.Fprintf(b, "  %9d  beyond the %d of one feed left out\n", f.Over, intel.MaxPerFeed)
	}
	for _, s := range f.Skipped {
		fmt.Fprintf(b, "  %9d  skipped: %s", s.Count, s.Reason)
		for i, e := range s.Examples {
			sep := ";"
			if i == 0 {
				sep = ":"
			}
			fmt.Fprintf(b, "%s %d %s", sep, e.Line, terminal.Clean(e.Value))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}
