package main

import (
	"fmt"
	"strings"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/record"
	"github.com/raytap/raytap/sinks/terminal"
)

// ownFolder is one that a sensor writes to and that belongs to the user that it becomes.
type ownFolder struct {
	name  string
	of    string // what is in it
	modes disk.Modes
}

// ownFolders lists them: that of the logs, then those of packets, if there are any.
func ownFolders(cfg *raytap.Config) []ownFolder {
	all := []ownFolder{{cfg.Out, "the logs", cfg.Modes()}}
	if cfg.Record.Folder != "" {
		all = append(all, ownFolder{cfg.Record.Folder, "packets", disk.Private()})
		if cfg.Evidence.Folder != "" && cfg.Evidence.Severity != "" {
			all = append(all, ownFolder{cfg.Evidence.Folder, "evidence", disk.Private()})
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
