package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/sinks/inventory"
	"github.com/raytap/raytap/sinks/logs"
)

const assetsSynopsis = `assets [flags] FILE...
       raytap assets [flags] LOGDIR...
       raytap assets --state FILE

Reads captures as replay does, or the assets.log of sensors, with all days and rotated files; or of a sensor the file that
it keeps its inventory in (its --state), while it runs, too. Prints which Ray clusters and other AI servers they show: machines, ports, version,
authentication, proxies, clients, known CVEs and a grade of exposure. No packet is sent.

Grades: A asks for a token, inside only, over TLS; B likewise, in clear; C open to everybody inside, or asks for a token
and outsiders come; D open inside and with holes that outsiders get through; E outsiders reach it and something is open;
F it answered outsiders without asking for a token; ? not seen; - not ours.

Exit status: 0 read to the end; 1 an input could not be read or is damaged; 2 wrong usage.

`

func listAssets(args []string, stdout, stderr *os.File) int {
	f := newFlags("assets", assetsSynopsis)
	cfg := config.Default()
	var home []string
	asJSON := f.Bool("json", false, "as JSON, for scripts")
	state := f.String("state", "", "know what earlier runs saw, and keep it, in `FILE`")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated, or several with commas (default: private, loopback, link-local, CGNAT, ULA)",
		list(&home))
	f.String("filter", cfg.Filter, "only packets that match `BPF`, in tcpdump's language")
	f.String("checksums", "auto", "what becomes of wrong ones: `MODE` auto, strict (as Zeek), ignore")
	f.Bool("ignore-checksums", false, "the same as --checksums ignore")
	configFile := f.String("config", "", "read settings from `FILE` (YAML)")
	asked := f.window("since", "until", "of logs: what was told")
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
	cfg.Assets.Known = store.Known()
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
