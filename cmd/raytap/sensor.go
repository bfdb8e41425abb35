package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/sinks/inventory"
	"github.com/raytap/raytap/sinks/metrics"
	"github.com/raytap/raytap/sinks/terminal"
)

const sensorSynopsis = `sensor -i IFACE [-i IFACE...] [flags]
       raytap sensor --read-fifo PIPE [flags]

Watches interfaces, or pcap from a named pipe, until it is stopped. Writes Zeek logs to a directory, each row within a
second, and prints each finding as it is made. Changes of links and settings are reported on standard error.

Signals: TERM and INT stop it, after everything captured so far is analyzed and written. HUP reloads the configuration file
and the indicators (home networks and the sections of detectors; a file with a mistake changes nothing) and reopens the logs.
With --watch-config it reloads them by itself, some seconds after they change.

It needs root or CAP_NET_RAW. While capturing it keeps only that capability, to reopen an interface that was removed and
returns; without --user also the right to write where it was started. Where the kernel has Landlock, it can then read only
the directories of the configuration and of indicators, and write only to those of logs, state and spool. A seccomp filter
blocks system calls it does not need: starting programs, inspecting other processes, mounting.

Flags may appear anywhere, and override the configuration file. Every key of the configuration is also a flag: --ring for
ring, --rotate-interval for rotate.interval; raytap.yaml explains them.

Exit status: 0 it was told to stop; 1 it could not begin, or its source ended or failed, or an output could not be written
to its end; 2 wrong usage or configuration.
`

const watchSynopsis = `watch DIR [flags]

Reads the captures in a directory and those added later, as tcpdump -G and -C write them: each while it is written, until a
newer one appears, in order of last modification. The directory must have one writer. A file that is compressed later
(-z gzip) is not read again. Logs, findings, signals and configuration are as for raytap sensor. It needs no privileges.

Flags may appear anywhere, and override the configuration file. Every key of the configuration is also a flag.

Exit status: 0 it was told to stop; 1 it could not begin, or the directory could not be read, or an output could not be written
to its end; 2 wrong usage or configuration.
`

func sensor(args []string, stdout, stderr *os.File) int {
	return sense(newFlags("sensor", sensorSynopsis), args, stdout, stderr)
}

func watchFolder(args []string, stdout, stderr *os.File) int {
	return sense(newFlags("watch", watchSynopsis), args, stdout, stderr)
}

func sense(f *flags, args []string, stdout, stderr *os.File) int {
	isWatch := f.Name() == "watch"
	def := config.Default()
	var home, interfaces []string
	f.Func("i", "capture from `IFACE`; may be repeated, or several with commas; veth*, any and default (of the default route) are resolved while it runs, and -lo excludes one", list(&interfaces))
	f.String("read-fifo", "", "read pcap or pcapng from `PIPE` instead; a named pipe is reopened when its writer closes it")
	f.String("out", def.Out, "write logs to `DIR` (default "+def.Out+")")
	f.String("format", def.Format, "`FORMAT` of the logs: zeek (tab-separated) or json (default "+def.Format+")")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated, or several with commas (default: private, loopback, link-local, CGNAT, ULA)", list(&home))
	f.Int("workers", def.Workers, "decode on `N` goroutines (default: GOMAXPROCS); the output is the same for any number")
	f.String("filter", def.Filter, "only packets that match `BPF`, in tcpdump's language")
	f.Int("snaplen", def.SnapLen, "keep `N` bytes of each frame (default: all)")
	f.Bool("no-promisc", false, "do not put the interface into promiscuous mode")
	f.Bool("hardware-timestamps", false, "use the network card's time stamps where it has them")
	f.String("record", "", "record packets to `DIR`, within the budget of the record section of raytap.yaml")
	f.String("user", "", "drop privileges to `USER` (or UID:GID) after opening the interfaces")
	f.Bool("mask-logs", false, "mask credentials also in the columns that Zeek defines (uri, referrer, username)")
	f.Bool("quiet", false, "print only errors")
	f.String("checksums", "auto", "how to treat wrong checksums: `MODE` auto, strict (as Zeek) or ignore")
	f.Bool("ignore-checksums", false, "the same as --checksums ignore")
	var extract []string
	folder := f.String("files", "", "keep files from the traffic in `DIR`, by SHA-256")
	f.Func("extract", "which files to keep: `TYPES` executable, script, archive, pickle, ray_package (these are the default with --files), model, notebook, all", list(&extract))
	configFile := f.String("config", "", "read settings from `FILE` (YAML)")
	follow := f.Bool("watch-config", false, "reload the configuration file and indicators when they change, as on SIGHUP")
	cpuprofile := f.String("cpuprofile", "", "")
	f.hidden["cpuprofile"] = true
	keys := f.keys(func(key string) bool { return key != "fail_on" })
	f.show("intel", "a `FILE` with indicators, a directory or a pattern of files, in addition to the built-in ones; may be repeated")
	f.show("logs", "write only these logs, `NAMES`; may be repeated (default: all)")
	f.show("state", "keep the inventory of assets from one run to the next in `FILE`")
	if isWatch {
		for _, name := range [...]string{"i", "read-fifo", "snaplen", "no-promisc", "hardware-timestamps"} {
			f.hidden[name] = true
		}
	}
	f.show("metrics-listen", "answer /metrics, /healthz and /readyz at `HOST:PORT`")

	rest, err := f.parse(args)
	dir := ""
	if err == nil && isWatch {
		if len(rest) != 1 || interfaces != nil {
			err = errors.New("takes one folder")
		} else if info, serr := os.Stat(rest[0]); serr != nil || !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", rest[0])
		} else {
			dir = rest[0]
		}
	} else if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unexpected argument %s; use 'raytap replay' to read capture files", rest[0])
	}
	if err == nil && *follow && *configFile == "" {
		err = errors.New("--watch-config goes with --config")
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	load := func() (*config.Config, error) {
		cfg := config.Default()
		if *configFile != "" {
			var err error
			if cfg, err = config.Load(*configFile); err != nil {
				return nil, err
			}
		}
		f.override(&cfg, home)
		if interfaces != nil {
			cfg.Interfaces = interfaces
		}
		if err := keys.apply(&cfg); err != nil {
			return nil, err
		}
		keepFiles(&cfg, *folder, extract)
		if dir != "" {
			cfg.ReadFIFO, cfg.Interfaces = dir, nil
		}
		if cfg.Assets.Refresh == 0 {
			cfg.Assets.Refresh = assetsEvery // its end may be a year away
		}
		if cfg.Sensor.Name == "" {
			cfg.Sensor.Name = sensorName()
		}
		return &cfg, cfg.Check()
	}
	cfg, err := load()
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	switch {
	case len(cfg.Interfaces) == 0 && cfg.ReadFIFO == "":
		return f.fail(errors.New("no interface given"), stdout, stderr)
	case onlyLeavesOut(cfg.Interfaces):
		return f.fail(fmt.Errorf("no interface given that %s is left out of (any?)", strings.Join(cfg.Interfaces, ", ")), stdout, stderr)
	case len(cfg.Interfaces) > 0 && cfg.ReadFIFO != "":
		return f.fail(errors.New("-i and --read-fifo are mutually exclusive"), stdout, stderr)
	}
	stop, err := profile(*cpuprofile, "", "")
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	code := watch(cfg, *configFile, *follow, load, stdout, stderr)
	if err := stop(); err != nil {
		complain(stderr, err)
		return exitInput
	}
	return code
}

// nameVariable names the sensor where no configuration does: of the sensors of a cluster each has a node of its own, and
// all have one file.
const nameVariable = "RAYTAP_SENSOR"

// sensorName is the sensor's name if nothing else is said.
func sensorName() string {
	if name := os.Getenv(nameVariable); name != "" {
		return name
	}
	host, _ := os.Hostname()
	return strings.Map(func(r rune) rune { // a kernel takes any bytes for one
		if r <= ' ' || r > '~' {
			return -1
		}
		return r
	}, host)
}

// assetsEvery is how often a sensor tells of each asset that it sees, if nothing else is said. News comes at once.
const assetsEvery = time.Hour

// watch runs the sensor. load reads the configuration again, from the file config, if there is one, and flags; follow says
// that it is to be read when it changes.
func watch(cfg *config.Config, configFile string, follow bool, load func() (*config.Config, error), stdout, stderr *os.File) int {
	code := exitOK
	fail := func(err error) int {
		complain(stderr, err)
		code = exitInput
		return code
	}
	signal.Ignore(syscall.SIGPIPE) // that nobody reads what is printed must not end it
	notice := func(text string) { complain(stderr, errors.New(text)) }
	set, read, err := cfg.LoadIntel()
	if err != nil {
		return fail(err)
	}
	noteEmpty(read, notice)
	indicators := intel.NewLive(set)
	var src capture.LiveSource
	if cfg.ReadFIFO != "" {
		src, err = capture.FollowPipe(cfg.ReadFIFO, notice)
	} else {
		src, err = capture.OpenLive(capture.LiveConfig{
			Interfaces: cfg.Interfaces, Filter: cfg.Filter, SnapLen: cfg.SnapLen, Ring: int(cfg.Ring), Block: int(cfg.Block),
			Rings: cfg.Rings, NoPromisc: cfg.NoPromisc, Hardware: cfg.HardwareTS, Notice: notice,
		})
	}
	if err != nil {
		return fail(err)
	}
	defer src.Close()
	if err := dropPrivileges(cfg); err != nil {
		return fail(err)
	}
	var up atomic.Bool
	up.Store(true)
	h := health{up: up.Load}
	if s, ok := src.(interface{ Interfaces() []capture.Interface }); ok {
		h.interfaces = func() (all []metrics.Interface) {
			for _, i := range s.Interfaces() {
				all = append(all, metrics.Interface{Name: i.Name, Packets: i.Received - i.Dropped, Drops: i.Dropped, Freezes: i.Freezes, Up: i.Up})
			}
			return all
		}
	}
	servers, err := newFeedKeeper(cfg, indicators, notice)
	if err != nil {
		return fail(err)
	}
	defer servers.close()
	h.feeds = servers.status
	known, err := inventory.Open(cfg.State)
	if err != nil {
		return fail(err)
	}
	rec, err := cfg.OpenRecorder("raytap "+buildVersion(), true, notice)
	if err != nil {
		return fail(err)
	}
	if rec != nil {
		h.recorder = rec.Failing
		sayKept(rec, notice)
	}
	logs, err := openOutputs(cfg, h, notice, time.Now())
	if err != nil {
		return fail(err)
	}
	if err := openStore(cfg, false, notice); err != nil {
		return fail(err)
	}
	if says, err := protect(cfg, configFile); err != nil {
		return fail(err)
	} else if says != "" {
		notice(says)
	}
	out := newPrinter(stdout)
	opt := terminal.Options{Width: terminal.Width(stdout), Live: out}
	opt.Color = opt.Width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if cfg.Quiet {
		opt.Live = io.Discard
	}
	people := terminal.New(opt)
	links := newLinkNotice(notice)

	reload := make(chan *engine.Config, 1)
	manager := newManager()
	var unsaved error
	doubted := false
	progress := func(s engine.Stats) {
		now := time.Now()
		if len(s.Outsiders) > 0 && !doubted {
			doubted = true
			notice(s.Outsiders[0].String())
		}
		up.Store(s.Live.Down < s.Live.Links)
		logs.tick(now, &s)
		manager.alive(now)
		err := known.Err()
		if err != nil && unsaved == nil {
			complain(stderr, err)
		} else if err == nil && unsaved != nil {
			notice("the inventory is kept again")
		}
		unsaved = err
	}
	var inForce atomic.Pointer[config.Config]
	inForce.Store(cfg)
	run := func() (engine.Stats, error) {
		c := *inForce.Load()
		c.Reload, c.Progress, c.Indicators, c.Assets.Known = reload, progress, indicators, known.Known()
		c.Recorder = rec
		return engine.Run(context.Background(), c.Config, src, logs, known, people, links)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	var changed <-chan struct{} // nil: never
	if follow {
		changed = changes(func() string { return lookAt(configFile, filesOfIntel(inForce.Load())) }, done)
	}
	go func() {
		for {
			select {
			case s := <-signals:
				if s != syscall.SIGHUP {
					manager.say("STOPPING=1")
					signal.Stop(signals) // a second one kills
					src.Stop()
					return
				}
				logs.reopenLogs()
			case <-changed:
			case <-done:
				return
			}
			manager.reloading()
			if next := again(inForce.Load(), configFile, load, servers, notice); next != nil {
				inForce.Store(next)
				select {
				case <-reload: // one that the run has not come to yet
				default:
				}
				reload <- &next.Config
			}
			manager.say("READY=1")
		}
	}()
	if len(cfg.Interfaces) > 0 {
		notice(capturing(cfg.Interfaces, h.interfaces))
	} else {
		notice("reading " + cfg.ReadFIFO)
	}
	manager.say("READY=1")
	servers.start()
	start := time.Now()
	stats, err := run()
	for errors.Is(err, capture.ErrClockStep) {
		// Flows and what detectors remember are by a time that is no more. What is known of them has been written.
		notice("flows and detectors start over")
		stats, err = run()
	}
	close(done)
	if err != nil {
		fail(err)
	}
	if rec != nil {
		if err := rec.Close(); err != nil {
			fail(err)
		}
		sayRecorded(rec, notice)
	}
	if err := errors.Join(logs.close(time.Now()), known.Close()); err != nil {
		fail(err)
	}
	kept, _, err := closeStore(cfg)
	if err != nil {
		fail(err)
	}
	if !cfg.Quiet {
		if err := people.Report(out, totals(&stats, cfg.Checksums, time.Since(start))); err != nil {
			fail(fmt.Errorf("cannot print the findings: %w", err))
		}
	}
	if kept != "" {
		notice(kept)
	}
	out.close()
	if n := out.dropped.Load(); n > 0 {
		notice(fmt.Sprintf("%d findings were not printed because nothing read the output; notice.log has them", n))
	}
	return code
}

// capturing says what is captured from, of what was asked for.
func capturing(asked []string, now func() []metrics.Interface) string {
	if !slices.ContainsFunc(asked, capture.IsPattern) || now == nil {
		return "capturing from " + strings.Join(asked, ", ")
	}
	var names []string
	for _, i := range now() {
		names = append(names, i.Name)
	}
	const most = 16
	n := len(names)
	switch {
	case n == 0:
		return "waiting for an interface that fits " + strings.Join(asked, ", ")
	case n > most:
		names = append(names[:most], strconv.Itoa(n-most)+" more")
	}
	return "capturing from " + strings.Join(names, ", ") + " (" + strings.Join(asked, ", ") + ")"
}

// protect takes from the process what it will not need any more, and says what.
func protect(cfg *config.Config, configFile string) (string, error) {
	var all []string
	take := func(says string, err error) error {
		if says != "" {
			all = append(all, says)
		}
		return err
	}
	if cfg.Confine {
		if err := take(confine(cfg, configFile)); err != nil {
			return "", err
		}
	}
	if cfg.Seccomp {
		if err := take(restrict()); err != nil {
			return "", err
		}
	}
	return strings.Join(all, "; "), nil
}

// again reads configuration and indicators anew, puts the latter in place, and returns what is to be in force from now
// on: all that can be exchanged while a run goes on. If nothing can be, or something is wrong, it returns nil.
func again(cfg *config.Config, configFile string, load func() (*config.Config, error), servers *feedKeeper, notice func(string)) *config.Config {
	if configFile == "" && len(cfg.Intel) == 0 {
		notice("there is no configuration file to reload")
		return nil
	}
	next, err := load()
	var set *intel.Set
	var read []*intel.Feed
	if err == nil {
		set, read, err = servers.reload(next)
	}
	if err != nil {
		notice(strings.TrimPrefix(err.Error(), "raytap: "))
		notice("the configuration that was in force stays in force")
		return nil
	}
	noteEmpty(read, notice)
	now, later := cfg.Changes(next)
	says := "the configuration has not changed"
	if len(now)+len(later) > 0 {
		says = "the configuration was read again: "
	}
	if len(now) > 0 {
		says += "new " + strings.Join(now, ", ")
		if len(later) > 0 {
			says += "; "
		}
	}
	if len(later) > 0 {
		says += strings.Join(later, ", ") + " will change with the next start"
	}
	if len(read) > 0 {
		says += fmt.Sprintf("; %d indicators are in force", set.Len())
	}
	notice(says)
	return cfg.Adopt(next)
}

// noteEmpty says which feeds have nothing in them, and what of folders was left out: they are valid, and yet hardly what is
// meant.
func noteEmpty(read []*intel.Feed, notice func(string)) {
	for _, f := range read {
		switch {
		case f.Remote && f.At.IsZero():
			notice(fmt.Sprintf("feed %s: nothing of it is in the cache yet", terminal.Clean(f.Name)))
		case f.Remote:
			notice(fmt.Sprintf("feed %s: %d indicators of %s are in the cache", terminal.Clean(f.Name), f.Indicators(), f.At.UTC().Format("2006-01-02 15:04 UTC")))
		case f.Folder && (f.Files == 0 || len(f.Left) > 0):
			notice(terminal.Clean(f.Name) + ": " + inFolder(f))
		case !f.Folder && f.Indicators() == 0:
			notice(f.Name + " has no indicators")
		}
	}
}

// printer writes to a terminal or a pipe on a goroutine of its own: whoever stops reading stops nothing else.
type printer struct {
	lines   chan []byte
	done    chan struct{}
	dropped atomic.Uint64
}

// Findings that may wait for a slow reader.
const printQueue = 1024

func newPrinter(w io.Writer) *printer {
	p := &printer{lines: make(chan []byte, printQueue), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		for b := range p.lines {
			if _, err := w.Write(b); err != nil {
				p.dropped.Add(1)
			}
		}
	}()
	return p
}

// Write implements io.Writer. b is copied.
func (p *printer) Write(b []byte) (int, error) {
	select {
	case p.lines <- append([]byte(nil), b...):
	default:
		p.dropped.Add(1)
	}
	return len(b), nil
}

// close waits for what is to be written, not for ever.
func (p *printer) close() {
	close(p.lines)
	select {
	case <-p.done:
	case <-time.After(time.Second):
	}
}
