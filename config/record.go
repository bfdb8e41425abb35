package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/record"
)

// Record says what is kept of the packets, and where: see record.Policy.
type Record struct {
	Folder      string        `yaml:"folder"`       // "": nothing is
	Size        uint64        `yaml:"size"`         // of all segments; the oldest goes first
	Keep        time.Duration `yaml:"keep"`         // how old a segment gets; 0: without bound
	Cutoff      uint64        `yaml:"cutoff"`       // bytes kept of a flow and direction; 0: all
	Whole       []string      `yaml:"whole"`        // of what more is: ray, shell, and services as conn.log has them
	WholeCutoff uint64        `yaml:"whole_cutoff"` // and how much; 0: all
	Encrypted   uint64        `yaml:"encrypted"`    // bytes kept of what is encrypted, before headers alone; 0: as of others
	Snap        string        `yaml:"snap"`         // bytes of a frame, or headers; "": all
	Filter      string        `yaml:"filter"`       // only what it matches; tcpdump's language
	Exclude     []string      `yaml:"exclude"`      // networks of which nothing is kept
	Compress    string        `yaml:"compress"`     // none, zstd
}

// Evidence says of which findings the packets are saved for themselves, where a run records.
type Evidence struct {
	Severity string        `yaml:"severity"` // the least; "": of none
	Folder   string        `yaml:"folder"`   // "": evidence in record.folder
	Size     uint64        `yaml:"size"`     // of all files; the oldest goes first
	Keep     time.Duration `yaml:"keep"`     // 0: without bound
	Bound    uint64        `yaml:"bound"`    // of one file
}

func defaultRecord() Record {
	return Record{
		Size: 20e9, Keep: 7 * 24 * time.Hour, Cutoff: 64 << 10, Whole: []string{record.Ray, "grpc", "stratum", record.Shell, "dns"},
		WholeCutoff: 64 << 20, Encrypted: 16 << 10, Compress: "none",
	}
}

func defaultEvidence() Evidence {
	return Evidence{Severity: "high", Size: 2e9, Keep: 90 * 24 * time.Hour, Bound: 64 << 20}
}

const headersOnly = "headers"

// checkRecord is check for the keys of these sections.
func checkRecord(key string, v any) error {
	switch key {
	case "record.snap":
		_, _, err := parseSnap(v.(string))
		return err
	case "record.compress":
		if s := v.(string); s != "none" && s != "zstd" {
			return fmt.Errorf("%q is not one of none, zstd", s)
		}
	case "record.whole":
		if s := v.(string); s == "" || strings.ToLower(s) != s {
			return fmt.Errorf("%q is neither ray, shell nor a service of conn.log", s)
		}
	}
	return nil
}

// parseSnap reads record.snap.
func parseSnap(s string) (bytes int, headers bool, err error) {
	if s == "" || s == headersOnly {
		return 0, s == headersOnly, nil
	}
	n, err := parseSize(s)
	if err == nil && (n < minSnapLen || n > math.MaxInt32) {
		err = fmt.Errorf("%s is less than %d bytes: headers would be cut", s, minSnapLen)
	}
	if err != nil {
		return 0, false, fmt.Errorf("%q is neither a size nor headers: %w", s, err)
	}
	return int(n), false, nil
}

// OpenRecorder makes the recorder that cfg asks for; nil if it asks for none. live says that packets are lost where they
// are not taken; they wait for the disk otherwise. say is told in a sentence what happens to it, from any goroutine.
func (c *Config) OpenRecorder(application string, live bool, say func(string)) (*record.Recorder, error) {
	r, e := &c.Record, &c.Evidence
	if r.Folder == "" {
		return nil, nil
	}
	snap, headers, err := parseSnap(r.Snap)
	if err != nil {
		return nil, err
	}
	opt := record.Options{
		Folder: r.Folder, Size: r.Size, Keep: r.Keep, Compress: r.Compress == "zstd", Interface: strings.Join(c.Interfaces, ", "),
		Application: application, Wait: !live, Say: say,
		Policy: record.Policy{
			Cutoff: r.Cutoff, Whole: slices.Clone(r.Whole), WholeCutoff: r.WholeCutoff, Encrypted: r.Encrypted, Snap: snap, Headers: headers, Filter: r.Filter,
		},
	}
	if len(r.Exclude) > 0 {
		if opt.Policy.Exclude, err = detectors.ParseNetworks(r.Exclude); err != nil {
			return nil, err
		}
	}
	if e.Severity != "" {
		least, err := detectors.ParseSeverity(e.Severity)
		if err != nil {
			return nil, err
		}
		opt.Evidence = record.Evidence{On: true, Severity: least, Folder: e.Folder, Size: e.Size, Keep: e.Keep, Bound: e.Bound}
	}
	return record.New(opt)
}
