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
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/detectors/intel"
	watcher "github.com/raytap/raytap/detectors/sensor"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/ask"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/record"
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

// sensorFlags are the settings of a sensor: what stands on the command line, over those of the configuration file.
type sensorFlags struct {
	*flags
	keys                      *keyFlags
	home, interfaces, extract []string
	folder                    *string // --files
	configFile, cpuprofile    *string
	hub                       *hubSettings
	follow                    *bool  // --watch-config
	dir                       string // the folder of raytap watch
}

// newSensorFlags declares the flags of raytap sensor and raytap watch.
func newSensorFlags(f *flags, isWatch bool) *sensorFlags {
	o := &sensorFlags{flags: f, hub: newHubSettings()}
	def := config.Default()
	f.Func("i", "capture from `IFACE`; may be repeated, or several with commas; veth*, any and default (of the default route) are resolved while it runs, and -lo excludes one", list(&o.interfaces))
	f.String("read-fifo", "", "read pcap or pcapng from `PIPE` instead; a named pipe is reopened when its writer closes it")
	f.String("out", def.Out, "write logs to `DIR` (default "+def.Out+")")
	f.String("format", def.Format, "`FORMAT` of the logs: zeek (tab-separated) or json (default "+def.Format+")")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated, or several with commas (default: private, loopback, link-local, CGNAT, ULA)", list(&o.home))
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
	o.folder = f.String("files", "", "keep files from the traffic in `DIR`, by SHA-256")
	f.Func("extract", "which files to keep: `TYPES` executable, script, archive, pickle, ray_package (these are the default with --files), model, notebook, all", list(&o.extract))
	o.configFile = f.String("config", "", "read settings from `FILE` (YAML)")
	o.follow = f.Bool("watch-config", false, "reload the configuration file and indicators when they change, as on SIGHUP")
	o.cpuprofile = f.String("cpuprofile", "", "")
	f.hidden["cpuprofile"] = true
	o.keys = f.keys(func(key string) bool { return key != "fail_on" })
	f.show("intel", "a `FILE` with indicators, a directory or a pattern of files, in addition to the built-in ones; may be repeated")
	f.show("logs", "write only these logs, `NAMES`; may be repeated (default: all)")
	f.show("state", "keep the inventory of assets from one run to the next in `FILE`")
	if isWatch {
		for _, name := range [...]string{"i", "read-fifo", "snaplen", "no-promisc", "hardware-timestamps"} {
			f.hidden[name] = true
		}
	}
	f.show("metrics-listen", "answer /metrics, /healthz and /readyz at `HOST:PORT`")
	return o
}

// read takes the command line.
func (o *sensorFlags) read(args []string, isWatch bool) error {
	rest, err := o.parse(args)
	switch {
	case err != nil:
		return err
	case isWatch && (len(rest) != 1 || o.interfaces != nil):
		return errors.New("takes one folder")
	case isWatch:
		if info, err := os.Stat(rest[0]); err != nil || !info.IsDir() {
			return fmt.Errorf("%s is not a directory", rest[0])
		}
		o.dir = rest[0]
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %s; use 'raytap replay' to read capture files", rest[0])
	}
	if *o.follow && *o.configFile == "" {
		return errors.New("--watch-config goes with --config")
	}
	return nil
}

// load reads the configuration file, if there is one, and puts the flags over it.
func (o *sensorFlags) load() (*config.Config, error) {
	cfg := config.Default()
	if *o.configFile != "" {
		var err error
		if cfg, err = config.Load(*o.configFile); err != nil {
			return nil, err
		}
	}
	o.override(&cfg, o.home)
	if o.interfaces != nil {
		cfg.Interfaces = o.interfaces
	}
	if err := o.keys.apply(&cfg); err != nil {
		return nil, err
	}
	keepFiles(&cfg, *o.folder, o.extract)
	if o.dir != "" {
		cfg.ReadFIFO, cfg.Interfaces = o.dir, nil
	}
	detectors.Change(&cfg.Sections, func(a *assets.Config) {
		if a.Refresh == 0 {
			a.Refresh = assetsEvery // its end may be a year away
		}
	})
	detectors.Change(&cfg.Sections, func(s *watcher.Config) {
		if s.Name == "" {
			s.Name = sensorName()
		}
	})
	if err := cfg.Check(); err != nil {
		return &cfg, err
	}
	return &cfg, o.hub.over(&cfg)
}

func sense(f *flags, args []string, stdout, stderr *os.File) int {
	isWatch := f.Name() == "watch"
	o := newSensorFlags(f, isWatch)
	if err := o.read(args, isWatch); err != nil {
		return f.fail(err, stdout, stderr)
	}
	cfg, err := o.load()
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
	stop, err := profile(*o.cpuprofile, "", "")
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	code := watch(cfg, *o.configFile, *o.follow, o.load, o.hub, stdout, stderr)
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

// sensorRun is a sensor from its start to its end.
type sensorRun struct {
	configFile string
	load       func() (*config.Config, error) // the configuration again, from the file and flags
	stderr     *os.File
	code       int

	src        capture.LiveSource
	health     health
	indicators *intel.Live
	servers    *feedKeeper
	known      *inventory.Store
	rec        *record.Recorder // nil without
	logs       *outputs
	out        *printer
	people     *terminal.Sink
	links      *linkNotice
	manager    *manager
	hub        *hubSettings
	pub        *publisher // nil before it is open

	inForce atomic.Pointer[config.Config]
	reload  chan *engine.Config
	up      atomic.Bool // a link is
	unsaved error       // why the inventory is not kept
	doubted bool        // that home is right, which is said once
}

func (s *sensorRun) fail(err error) {
	complain(s.stderr, err)
	s.code = exitInput
}

func (s *sensorRun) notice(text string) { complain(s.stderr, errors.New(text)) }

// watch runs the sensor. load reads the configuration again, from the file config, if there is one, and flags; follow says
// that it is to be read when it changes.
func watch(cfg *config.Config, configFile string, follow bool, load func() (*config.Config, error), hub *hubSettings, stdout, stderr *os.File) int {
	signal.Ignore(syscall.SIGPIPE) // that nobody reads what is printed must not end it
	s := &sensorRun{configFile: configFile, load: load, stderr: stderr, hub: hub, code: exitOK, reload: make(chan *engine.Config, 1)}
	defer s.release()
	cfg, err := s.open(cfg)
	if err != nil {
		s.fail(err)
		return s.code
	}
	s.pub.start()
	s.out = newPrinter(stdout)
	opt := terminal.Options{Width: terminal.Width(stdout), Live: s.out}
	opt.Color = opt.Width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if cfg.Quiet {
		opt.Live = io.Discard
	}
	s.people = terminal.New(opt)
	s.links = newLinkNotice(s.notice)
	s.manager = newManager()
	s.inForce.Store(cfg)

	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := hub.done
	var changed <-chan struct{} // nil: never
	if follow {
		changed = changes(func() string { return lookAt(configFile, filesOfIntel(s.inForce.Load())) }, done)
	}
	go s.obey(signals, changed, done)
	if len(cfg.Interfaces) > 0 {
		s.notice(capturing(cfg.Interfaces, s.health.interfaces))
	} else {
		s.notice("reading " + cfg.ReadFIFO)
	}
	s.manager.say("READY=1")
	s.servers.start()
	start := time.Now()
	stats, err := s.run()
	for errors.Is(err, capture.ErrClockStep) {
		// Flows and what detectors remember are by a time that is no more. What is known of them has been written.
		s.notice("flows and detectors start over")
		stats, err = s.run()
	}
	close(done)
	if err != nil {
		s.fail(err)
	}
	s.finish(cfg, &stats, time.Since(start))
	return s.code
}

// open opens the source, drops what privileges it took, and opens the outputs. It returns the configuration to begin with, over
// which what a hub has set is.
func (s *sensorRun) open(cfg *config.Config) (*config.Config, error) {
	set, read, err := cfg.LoadIntel()
	if err != nil {
		return nil, err
	}
	noteEmpty(read, s.notice)
	s.indicators = intel.NewLive(set)
	if err := s.openSource(cfg); err != nil {
		return nil, err
	}
	if err := dropPrivileges(cfg); err != nil {
		return nil, err
	}
	if cfg, err = s.hub.begin(cfg, s.load, s.indicators, s.notice); err != nil {
		return nil, err
	}
	if s.servers, err = newFeedKeeper(cfg, s.indicators, s.notice); err != nil {
		return nil, err
	}
	s.health.feeds = s.servers.status
	if s.known, err = inventory.Open(cfg.State); err != nil {
		return nil, err
	}
	if s.rec, err = cfg.OpenRecorder("raytap "+buildVersion(), true, s.notice); err != nil {
		return nil, err
	}
	if s.rec != nil {
		s.health.recorder = s.rec.Failing
		sayKept(s.rec, s.notice)
	}
	if s.pub, err = openPublisher(cfg, s.hub, s.notice); err != nil {
		return nil, err
	}
	paceMemory(s.pub.holds)
	if s.logs, err = openOutputs(cfg, s.health, s.notice, time.Now()); err != nil {
		return nil, err
	}
	s.logs.published = s.pub
	if err := openStore(cfg, false, s.notice); err != nil {
		return nil, err
	}
	says, err := protect(cfg, s.configFile)
	if err == nil && says != "" {
		s.notice(says)
	}
	return cfg, err
}

// openSource opens the interfaces, or the pipe or folder that is read instead.
func (s *sensorRun) openSource(cfg *config.Config) (err error) {
	if cfg.ReadFIFO != "" {
		s.src, err = capture.FollowPipe(cfg.ReadFIFO, s.notice)
	} else {
		s.src, err = capture.OpenLive(capture.LiveConfig{
			Interfaces: cfg.Interfaces, Filter: cfg.Filter, SnapLen: cfg.SnapLen, Ring: int(cfg.Ring), Block: int(cfg.Block),
			Rings: cfg.Rings, NoPromisc: cfg.NoPromisc, Hardware: cfg.HardwareTS, Shunt: cfg.Shunt != "off", Mirror: cfg.Mirror, Notice: s.notice,
		})
	}
	if err != nil {
		s.src = nil
		return err
	}
	s.up.Store(true)
	s.health.up = s.up.Load
	if src, ok := s.src.(interface{ Interfaces() []capture.Interface }); ok {
		s.health.interfaces = func() (all []metrics.Interface) {
			for _, i := range src.Interfaces() {
				all = append(all, metrics.Interface{Name: i.Name, Packets: i.Received - i.Dropped, Drops: i.Dropped, Freezes: i.Freezes, Up: i.Up})
			}
			return all
		}
	}
	return nil
}

// release closes what has no output to lose.
func (s *sensorRun) release() {
	s.pub.close(0)
	if s.servers != nil {
		s.servers.close()
	}
	if s.src != nil {
		s.src.Close()
	}
}

// run runs the engine with the configuration in force.
func (s *sensorRun) run() (engine.Stats, error) {
	c := *s.inForce.Load()
	c.Reload, c.Progress, c.Indicators = s.reload, s.progress, s.indicators
	detectors.Change(&c.Sections, func(a *assets.Config) { a.Known = s.known.Known() })
	c.Recorder = s.rec
	if c.Publish.On() {
		c.Observer = observe.New(strconv.FormatInt(time.Now().UnixNano(), 36), observe.Config{})
	}
	return engine.Run(context.Background(), c.Config, s.src, s.logs, s.known, s.people, s.links)
}

// progress is called by the engine now and then.
func (s *sensorRun) progress(stats engine.Stats) {
	now := time.Now()
	if len(stats.Outsiders) > 0 && !s.doubted {
		s.doubted = true
		s.notice(stats.Outsiders[0].String())
	}
	s.up.Store(stats.Live.Down < stats.Live.Links)
	s.logs.tick(now, &stats)
	s.manager.alive(now)
	err := s.known.Err()
	if err != nil && s.unsaved == nil {
		complain(s.stderr, err)
	} else if err == nil && s.unsaved != nil {
		s.notice("the inventory is kept again")
	}
	s.unsaved = err
}

// obey stops the source, or reloads the configuration, as signals and changed files ask for, until done.
func (s *sensorRun) obey(signals chan os.Signal, changed, done <-chan struct{}) {
	for {
		var asked hubRequest
		select {
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				s.manager.say("STOPPING=1")
				signal.Stop(signals) // a second one kills
				s.src.Stop()
				return
			}
			s.logs.reopenLogs()
		case <-changed:
		case asked = <-s.hub.requests:
		case <-done:
			return
		}
		s.manager.reloading()
		s.reread(asked)
		s.manager.say("READY=1")
	}
}

// reread reads the configuration again, with the settings that a hub asks for, if it does, and has the run take it over.
func (s *sensorRun) reread(asked hubRequest) {
	var before *ask.Bundle
	var files []string
	if asked.bundle != nil {
		s.notice(fmt.Sprintf("the hub sent version %d of its settings", asked.bundle.Version))
		before, files = s.hub.set(asked.bundle, asked.intel)
	}
	next, err := again(s.inForce.Load(), s.configFile, s.load, s.servers, s.hub, s.notice)
	if asked.bundle != nil {
		if err != nil {
			s.hub.set(before, files)
		}
		asked.answer <- err
	}
	if next == nil {
		return
	}
	// A hub's settings change nothing there, and came through its connection.
	if err := s.pub.reload(next, asked.bundle != nil); err != nil { // what was published goes on being so
		s.notice(strings.TrimPrefix(err.Error(), "raytap: "))
		next.Publish = s.inForce.Load().Publish
	}
	s.inForce.Store(next)
	select {
	case <-s.reload: // one that the run has not come to yet
	default:
	}
	s.reload <- &next.Config
}

// finish closes the outputs and prints the summary.
func (s *sensorRun) finish(cfg *config.Config, stats *engine.Stats, elapsed time.Duration) {
	if s.rec != nil {
		if err := s.rec.Close(); err != nil {
			s.fail(err)
		}
		sayRecorded(s.rec, s.notice)
	}
	if err := errors.Join(s.logs.close(time.Now()), s.known.Close()); err != nil {
		s.fail(err)
	}
	if err := s.pub.close(publishAtEnd); err != nil {
		complain(s.stderr, fmt.Errorf("%w; the next start goes on there", err))
	}
	kept, _, err := closeStore(cfg)
	if err != nil {
		s.fail(err)
	}
	if !cfg.Quiet {
		if err := s.people.Report(s.out, totals(stats, cfg.Checksums, elapsed)); err != nil {
			s.fail(fmt.Errorf("cannot print the findings: %w", err))
		}
	}
	if kept != "" {
		s.notice(kept)
	}
	s.out.close()
	if n := s.out.dropped.Load(); n > 0 {
		s.notice(fmt.Sprintf("%d findings were not printed because nothing read the output; notice.log has them", n))
	}
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
		if err := take(restrict(cfg.Shunt != "off")); err != nil {
			return "", err
		}
	}
	return strings.Join(all, "; "), nil
}

// again reads configuration and indicators anew, puts the latter in place, and returns what is to be in force from now
// on: all that can be exchanged while a run goes on. If nothing can be, or something is wrong, it returns nil.
func again(cfg *config.Config, configFile string, load func() (*config.Config, error), servers *feedKeeper, hub *hubSettings, notice func(string)) (*config.Config, error) {
	if configFile == "" && len(cfg.Intel) == 0 && !hub.has() {
		notice("there is no configuration file to reload")
		return nil, nil
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
		return nil, err
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
	return cfg.Adopt(next), nil
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
