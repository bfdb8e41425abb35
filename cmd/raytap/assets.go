package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/sinks/inventory"
	"github.com/raytap/raytap/sinks/logs"
)

const assetsSynopsis = `assets [flags] FILE...
       raytap assets [flags] LOGDIR...
       raytap assets --state FILE

Lists the Ray clusters and other AI servers in captures (read as by replay), in the assets.log of sensors (all days and
rotated files), or in a sensor's inventory (its --state, also while it runs): machines, ports, version, authentication,
proxies, clients, known CVEs and a grade of exposure. Sends no packets.

Grades: A requires a token, inside only, over TLS; B the same, in clear text; C open to everybody inside, or requires a
token and has clients outside; D open inside, with vulnerabilities that outsiders can use; E outsiders reach it and some
of it is open; F answered outsiders without a token; ? not seen; - not ours.

Exit status: 0 read to the end; 1 an input could not be read or is damaged; 2 wrong usage.

`

func listAssets(args []string, stdout, stderr *os.File) int {
	f := newFlags("assets", assetsSynopsis)
	cfg := config.Default()
	var home []string
	asJSON := f.Bool("json", false, "as JSON, for scripts")
	state := f.String("state", "", "keep the inventory across runs in `FILE`")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated, or several with commas (default: private, loopback, link-local, CGNAT, ULA)",
		list(&home))
	f.String("filter", cfg.Filter, "only packets that match `BPF`, in tcpdump's language")
	f.String("checksums", "auto", "how to treat wrong checksums: `MODE` auto, strict (as Zeek) or ignore")
	f.Bool("ignore-checksums", false, "the same as --checksums ignore")
	configFile := f.String("config", "", "read settings from `FILE` (YAML)")
	asked := f.window("since", "until", "of logs: what was reported")
	files, err := f.parse(args)
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	if *configFile != "" {
		if cfg, err = config.Load(*configFile); err != nil {
			complain(stderr, err)
			return exitUsage
		}
	}
	f.override(&cfg, home)
	if err := cfg.Check(); err != nil {
		complain(stderr, err)
		return exitUsage
	}
	folders := 0
	for _, name := range files {
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			folders++
		}
	}
	switch {
	case len(files) == 0 && *state == "":
		return f.fail(errors.New("no capture given, and no folder of logs or --state"), stdout, stderr)
	case folders > 0 && (folders < len(files) || *state != ""):
		return f.fail(errors.New("takes captures, folders of logs or --state, not several of these"), stdout, stderr)
	case folders == 0 && asked.String() != "":
		return f.fail(errors.New("--since and --until are for folders of logs; captures have --filter"), stdout, stderr)
	}

	guard(&cfg, stderr)
	code := exitOK
	fail := func(err error) {
		if err != nil {
			complain(stderr, err)
			code = exitInput
		}
	}
	if folders > 0 {
		return loggedAssets(files, asked, *asJSON, stdout, stderr)
	}
	list := inventory.Print
	if *asJSON {
		list = inventory.PrintJSON
	}
	inside, err := homeOf(cfg)
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	if len(files) == 0 {
		store, err := inventory.Load(*state)
		if err != nil {
			complain(stderr, err)
			return exitInput
		}
		fail(list(stdout, store.Rows(inside)))
		return code
	}
	store, err := inventory.Open(*state)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	detectors.Change(&cfg.Sections, func(s *assets.Config) { s.Known = store.Known() })
	srcs := openFiles(files, fail, func(text string) { complain(stderr, errors.New(text)) })
	for _, src := range srcs {
		defer src.Close()
	}
	if len(srcs) == 0 {
		return code
	}
	run, err := cfg.Engine()
	if err == nil {
		_, err = engine.Run(context.Background(), run, capture.Merge(srcs...), store)
	}
	fail(err)
	fail(store.Close())
	fail(list(stdout, store.Rows(inside)))
	return code
}

// loggedAssets prints the inventory that the logs of sensors have.
func loggedAssets(dirs []string, asked *window, asJSON bool, stdout, stderr *os.File) int {
	folder, err := logs.Open(asked.options(), dirs...)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	defer folder.Close()
	if len(folder.Logs()) == 0 {
		tellUnread(folder.Unread(), stderr)
		complain(stderr, fmt.Errorf("no logs in %s", strings.Join(dirs, ", ")))
		return exitInput
	}
	var all inventory.Log
	folder.Read("assets", all.Add)
	code := exitOK
	if tellUnread(folder.Unread(), stderr) { // before a table that may be empty
		code = exitInput
	}
	list := all.Print
	if asJSON {
		list = all.PrintJSON
	}
	if err := list(stdout); err != nil {
		complain(stderr, err)
		return exitInput
	}
	return code
}
