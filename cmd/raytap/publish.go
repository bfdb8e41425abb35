package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	watcher "github.com/raytap/raytap/detectors/sensor"
	"github.com/raytap/raytap/fleet"
	"github.com/raytap/raytap/fleet/ship"
	"github.com/raytap/raytap/sinks/terminal"
)

const publishSynopsis = `publish [flags] DIR
       raytap publish --status DIR

Sends the rows of a directory of logs (of a replay or a sensor; tab-separated or JSON, rotated, compressed or running) to a hub
over NATS JetStream, or to Kafka: each row as its JSON log has it, with _path, _system_name and _write_ts. notice, incidents,
assets, stats and observations are always sent, other logs by name. It ends when everything is sent; with --follow it goes on.

A file in the directory (.raytap.publish.nats, .raytap.publish.kafka) keeps how far each log was sent, so that nothing is sent
twice: not after an interruption, a rotation, or another replay of the same capture. Deleting that file sends everything again.
A sensor publishes its own logs by itself: see the publish section of raytap.yaml, whose keys are also flags.

Exit status: 0 everything was sent; 1 it was not, or a row was refused, or a file was deleted before it was sent; 2 wrong usage
or configuration; 130 interrupted.
`

func publishLogs(args []string, stdout, stderr *os.File) int {
	f := newFlags("publish", publishSynopsis)
	file := f.String("config", "", "read settings from `FILE` (YAML)")
	follow := f.Bool("follow", false, "go on when everything is sent")
	status := f.Bool("status", false, "print how far each log was sent, and what waits; send nothing")
	name := f.String("sensor", "", "publish as sensor `NAME` (default: the one in the credentials, sensor.name, or the host's)")
	keys := f.keys(func(key string) bool { return strings.HasPrefix(key, "publish.") })
	f.show("publish-creds", "file of credentials, `FILE`, from raytap hub enroll")
	f.show("publish-nats", "`URL` of a server instead of those in the credentials; may be repeated, or several with commas")
	f.show("publish-kafka", "broker `HOST:PORT`; may be repeated, or several with commas")
	f.show("publish-logs", "also send these logs, `NAMES`, or all; may be repeated")
	rest, err := f.parse(args)
	if err == nil && len(rest) != 1 {
		err = errors.New("takes one folder of logs")
	}
	if err == nil && *status && *follow {
		err = errors.New("--status and --follow are mutually exclusive")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	cfg := config.Default()
	if *file != "" {
		if cfg, err = config.Load(*file); err != nil {
			complain(stderr, err)
			return exitUsage
		}
	}
	err = keys.apply(&cfg)
	cfg.Out = rest[0]
	if err == nil {
		err = cfg.Check()
	}
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	if *status {
		return publishStatus(cfg.Out, stdout, stderr)
	}
	if !cfg.Publish.On() {
		return f.fail(errors.New("where to? --publish-creds names a hub, --publish-kafka brokers"), stdout, stderr)
	}
	if info, err := os.Stat(cfg.Out); err != nil || !info.IsDir() {
		complain(stderr, fmt.Errorf("%s is not a directory", cfg.Out))
		return exitInput
	}
	if *name != "" {
		nameSensor(&cfg, *name)
	}
	if cfg.Peer() == "" && cfg.Publish.Creds != "" {
		if c, err := fleet.ReadCredentials(cfg.Publish.Creds); err == nil {
			nameSensor(&cfg, c.Sensor)
		}
	}
	if cfg.Peer() == "" {
		nameSensor(&cfg, sensorName())
	}
	return publishFolder(&cfg, *follow, stdout, stderr)
}

// nameSensor gives the sensor of a configuration its name.
func nameSensor(cfg *config.Config, name string) {
	detectors.Change(&cfg.Sections, func(s *watcher.Config) { s.Name = name })
}

// publishFolder sends to each place until all is sent, or a signal comes.
func publishFolder(cfg *config.Config, follow bool, stdout, stderr *os.File) int {
	say := func(text string) { complain(stderr, errors.New(terminal.Clean(text))) }
	transports, err := openTransports(cfg)
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	p := &publisher{say: say}
	var ships []shipping
	if ships, err = p.open(cfg, transports, follow); err != nil {
		complain(stderr, err)
		return exitInput
	}
	before := map[string]ship.Lost{}
	done := make(chan error, len(ships))
	for _, s := range ships {
		before[s.kind] = s.Status().Lost
		s.Start()
		go func() { done <- s.Wait() }()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	code := exitOK
	for left := len(ships); left > 0; {
		select {
		case err := <-done:
			if left--; err != nil && code < exitSignal {
				complain(stderr, err)
				code = exitInput
			}
		case s := <-signals:
			code = exitSignal
			if n, ok := s.(syscall.Signal); ok {
				code += int(n)
			}
			for _, s := range ships {
				if err := s.Close(0); err != nil {
					complain(stderr, err)
				}
			}
		}
	}
	for _, s := range ships {
		st := s.Status()
		if !cfg.Quiet {
			fmt.Fprintf(stdout, "%s: %d rows were published", s.kind, st.Sent)
			for _, x := range []struct {
				n    uint64
				says string
			}{{st.Repeated, "were there already"}, {st.Refused, "were refused"}, {st.Damaged, "lines were damaged"}, {st.Lost.Files - before[s.kind].Files, "files were deleted before they were published"}} {
				if x.n > 0 {
					fmt.Fprintf(stdout, "; %d %s", x.n, x.says)
				}
			}
			fmt.Fprintln(stdout)
		}
		if code == exitOK && (st.Refused > 0 || st.Lost.Files > before[s.kind].Files) {
			code = exitInput
		}
	}
	return code
}

// publishStatus prints how far the logs of a folder were sent.
func publishStatus(dir string, stdout, stderr *os.File) int {
	found := false
	for _, kind := range []string{ship.NATS, ship.Kafka} {
		x, err := ship.Look(dir, kind)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			complain(stderr, err)
			return exitInput
		}
		found = true
		if err := printPlaces(stdout, kind, x); err != nil {
			complain(stderr, err)
			return exitInput
		}
	}
	if !found {
		complain(stderr, fmt.Errorf("nothing of %s was published", dir))
		return exitInput
	}
	return exitOK
}

func printPlaces(w io.Writer, kind string, x ship.Outlook) error {
	fmt.Fprintf(w, "%s: as sensor %s, since %s", kind, terminal.Clean(x.Sensor), x.Made.UTC().Format(time.RFC3339))
	if x.Lost.Files > 0 {
		fmt.Fprintf(w, "; %d files with %d bytes were deleted before they were published", x.Lost.Files, x.Lost.Bytes)
	}
	fmt.Fprintln(w)
	slices.SortFunc(x.Logs, func(a, b ship.LogOutlook) int { return strings.Compare(a.Log, b.Log) })
	for _, l := range x.Logs {
		fmt.Fprintf(w, "  %-14s %12d bytes of %d files wait", terminal.Clean(l.Log), l.Waiting, l.Files)
		if l.Place.Generation != 0 {
			fmt.Fprintf(w, "; place %s", l.Place)
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	return nil
}
