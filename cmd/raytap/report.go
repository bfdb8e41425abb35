package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/export"
	"github.com/raytap/raytap/sinks/report"
)

const reportSynopsis = `report [flags] LOGDIR

Reads logs that raytap wrote, of a replay or a sensor, tab-separated or JSON, rotated and compressed or not, and makes
one HTML file of them that stands alone: what happened, in words and pictures, with the evidence. With --export also, or
without -o instead:

  findings.jsonl, incidents.jsonl   the rows of notice.log and incidents.log, one JSON object a line
  indicators.csv                    what to look for elsewhere, from findings of medium severity and above
  stix.json                         a STIX 2.1 bundle: indicators, attack patterns, observed data

Exit status: 0 written; 1 a log could not be read or the report could not be written; 2 wrong usage.
`

func makeReport(args []string, stdout, stderr *os.File) int {
	f := newFlags("report", reportSynopsis)
	var home []string
	out := f.String("o", "", "write the report to `FILE` (default raytap-report.html, none with --export)")
	exports := f.String("export", "", "write findings, incidents and indicators to `DIR`, for other programs")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated (default: private, loopback, link-local, CGNAT, ULA)",
		func(s string) error { home = append(home, s); return nil })
	config := f.String("config", "", "take home from `FILE` (YAML)")
	rest, err := f.parse(args)
	if err == nil && len(rest) != 1 {
		err = errors.New("takes one folder of logs")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	cfg, err := f.settings(*config, home)
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	guard(&cfg, stderr)
	abs, err := filepath.Abs(rest[0])
	if err != nil {
		abs = rest[0]
	}
	if *out == "" && *exports == "" {
		*out = "raytap-report.html"
	}
	if err := tellLogs(rest[0], filepath.Base(abs), cfg, *out, *exports); err != nil {
		complain(stderr, err)
		return exitInput
	}
	return exitOK
}

// settings are the configuration's, if there is one, with the flags that were given above them.
func (f *flags) settings(config string, home []string) (raytap.Config, error) {
	cfg := raytap.DefaultConfig()
	if config != "" {
		var err error
		if cfg, err = raytap.LoadConfig(config); err != nil {
			return cfg, err
		}
	}
	f.override(&cfg, home)
	return cfg, cfg.Check()
}

// tellLogs makes what was asked for of the logs in dir: a report, exports, or both.
func tellLogs(dir, source string, cfg raytap.Config, html, exports string) error {
	nets := cfg.Home
	if len(nets) == 0 {
		nets = detectors.DefaultHome
	}
	home, err := detectors.ParseNetworks(nets)
	if err != nil {
		return err
	}
	r, err := report.Read(dir, report.Options{Source: source, Home: home})
	if err != nil {
		return err
	}
	modes := cfg.Modes()
	if html != "" {
		if err := modes.Replace(html, r.HTML); err != nil {
			return err
		}
	}
	if exports == "" {
		return nil
	}
	if err := modes.Folder(exports); err != nil {
		return err
	}
	for _, f := range export.Files {
		if err := modes.Replace(filepath.Join(exports, f.Name), func(w io.Writer) error { return f.Write(r, w) }); err != nil {
			return err
		}
	}
	return nil
}
