package main

import (
	"context"
	"errors"
	"os"

	"github.com/raytap/raytap"
	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/sinks/inventory"
)

const assetsSynopsis = `assets [flags] FILE...

Reads captures as replay does, and prints which Ray clusters and other AI servers they show: machines, ports, version,
authentication, proxies, clients, known CVEs and a grade of exposure. No packet is sent.

Grades: A asks for a token, inside only, over TLS; B likewise, in clear; C open to everybody inside, or asks for a token
and outsiders come; D open inside and with holes that outsiders get through; E outsiders reach it and something is open;
F it answered outsiders without asking for a token; ? not seen; - not ours.

Exit status: 0 read to the end; 1 an input could not be read or is damaged; 2 wrong usage.

`

func listAssets(args []string, stdout, stderr *os.File) int {
	f := newFlags("assets", assetsSynopsis)
	cfg := raytap.DefaultConfig()
	var home []string
	asJSON := f.Bool("json", false, "as JSON, for scripts")
	state := f.String("state", "", "know what earlier runs saw, and keep it, in `FILE`")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated (default: private, loopback, link-local, CGNAT, ULA)",
		func(s string) error { home = append(home, s); return nil })
	f.String("filter", cfg.Filter, "only packets that match `BPF`, in tcpdump's language")
	f.String("checksums", "auto", "what becomes of wrong ones: `MODE` auto, strict (as Zeek), ignore")
	f.Bool("ignore-checksums", false, "the same as --checksums ignore")
	config := f.String("config", "", "read settings from `FILE` (YAML)")
	files, err := f.parse(args)
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	if *config != "" {
		if cfg, err = raytap.LoadConfig(*config); err != nil {
			complain(stderr, err)
			return exitUsage
		}
	}
	f.override(&cfg, home)
	if err := cfg.Check(); err != nil {
		complain(stderr, err)
		return exitUsage
	}
	if len(files) == 0 {
		return f.fail(errors.New("no capture given"), stdout, stderr)
	}

	guard(&cfg, stderr)
	code := exitOK
	fail := func(err error) {
		if err != nil {
			complain(stderr, err)
			code = exitInput
		}
	}
	store, err := inventory.Open(*state)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	cfg.Assets.Known = store.Known()
	srcs := openFiles(files, fail)
	for _, src := range srcs {
		defer src.Close()
	}
	if len(srcs) == 0 {
		return code
	}
	_, err = raytap.Run(context.Background(), cfg, capture.Merge(srcs...), store)
	fail(err)
	fail(store.Close())
	list := inventory.Print
	if *asJSON {
		list = inventory.PrintJSON
	}
	fail(list(stdout, store.Rows()))
	return code
}
