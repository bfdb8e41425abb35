package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/sinks/export"
	"github.com/raytap/raytap/sinks/report"
)

const reportSynopsis = `report [flags] LOGDIR...

Reads logs that raytap wrote (replay or sensor, tab-separated or JSON) and writes one self-contained HTML file: what
happened, in words and graphs, with the evidence. A directory is read as a whole: current files, daily directories, rotated
and compressed files; several directories are read together. What could not be read is reported before the verdict and on
standard error. With --export it also writes the following (without -o, only these):

  findings.jsonl, incidents.jsonl   the rows of notice.log and incidents.log, one JSON object a line
  indicators.csv                    what to look for elsewhere, from findings of medium severity and above
  stix.json                         a STIX 2.1 bundle: indicators, attack patterns, observed data

Exit status: 0 written; 1 a log could not be read (the report has the others), or the report could not be written; 2 wrong
usage.
`

func makeReport(args []string, stdout, stderr *os.File) int {
	f := newFlags("report", reportSynopsis)
	var home []string
	out := f.String("o", "", "write the report to `FILE` (default raytap-report.html, none with --export)")
	exports := f.String("export", "", "write findings, incidents and indicators to `DIR`, for other programs")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated, or several with commas (default: private, loopback, link-local, CGNAT, ULA)",
		list(&home))
	configFile := f.String("config", "", "take home from `FILE` (YAML)")
	asked := f.window("since", "until", "what was")
	rest, err := f.parse(args)
	if err == nil && len(rest) == 0 {
		err = errors.New("takes folders of logs")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	cfg, err := f.settings(*configFile, home)
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	guard(&cfg, stderr)
	if *out == "" && *exports == "" {
		*out = "raytap-report.html"
	}
	unread, err := tellLogs(rest, nameOf(rest)+asked.String(), *asked, cfg, *out, *exports)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	if tellUnread(unread, stderr) {
		return exitInput
	}
	return exitOK
}

// settings are the configuration's, if there is one, with the flags that were given above them.
func (f *flags) settings(configFile string, home []string) (config.Config, error) {
	cfg := config.Default()
	if configFile != "" {
		var err error
		if cfg, err = config.Load(configFile); err != nil {
			return cfg, err
		}
	}
	f.override(&cfg, home)
	return cfg, cfg.Check()
}

// tellLogs makes what was asked for of logs: a report, exports, or both. It says what could not be read.
func tellLogs(dirs []string, source string, asked window, cfg config.Config, html, exports string) (unread []string, err error) {
	home, err := homeOf(cfg)
	if err != nil {
		return nil, err
	}
	r, err := report.Read(report.Options{Source: source, Home: home, Since: asked.since, Until: asked.until}, dirs...)
	if err != nil {
		return nil, err
	}
	modes := cfg.Modes()
	if html != "" {
		if err := modes.Replace(html, r.HTML); err != nil {
			return r.Unread, err
		}
	}
	if exports == "" {
		return r.Unread, nil
	}
	if err := modes.Folder(exports); err != nil {
		return r.Unread, err
	}
	for _, f := range export.Files {
		if err := modes.Replace(filepath.Join(exports, f.Name), func(w io.Writer) error { return f.Write(r, w) }); err != nil {
			return r.Unread, err
		}
	}
	return r.Unread, nil
}

// homeOf gives what counts as inside.
func homeOf(cfg config.Config) (*detectors.Networks, error) {
	nets := cfg.Home
	if len(nets) == 0 {
		nets = detectors.DefaultHome
	}
	return detectors.ParseNetworks(nets)
}
