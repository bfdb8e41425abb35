package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/registry"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
	"github.com/raytap/raytap/sinks/zeek"
)

const replaySynopsis = `replay [flags] FILE|DIR...

Reads captures (pcap, pcapng; plain, gzip or zstd). Several are read as one, in order of time; - is standard input. For a
directory, the captures directly in it are read. Writes Zeek logs to a directory, and findings and totals to the terminal.

Exit status: 0 read to the end; 1 an input could not be read, was cut short or is damaged (what came before is
written), or the output could not be written; 2 wrong usage; 3 a finding reached --fail-on, whatever else happened;
130 interrupted (what came before is written).

Flags may appear anywhere, and override the configuration file.
`

func replay(args []string, stdout, stderr *os.File) int {
	f := newFlags("replay", replaySynopsis)
	cfg := config.Default()
	var home, given, only, files, extract []string
	f.Func("r", "read the capture `FILE`, the same as an argument; may be repeated", func(s string) error { files = append(files, s); return nil })
	f.String("out", cfg.Out, "write logs to `DIR`; logs of an earlier run are replaced, other files are not (default "+cfg.Out+")")
	f.String("format", cfg.Format, "`FORMAT` of the logs: zeek (tab-separated) or json (default "+cfg.Format+")")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated, or several with commas (default: private, loopback, link-local, CGNAT, ULA)",
		list(&home))
	f.Func("intel", "a `FILE` with indicators, a directory or a pattern, in addition to the built-in ones; may be repeated", list(&given))
	f.Func("logs", "write only these logs, `NAMES` separated by commas: conn,http,notice (default: all)",
		list(&only))
	f.Int("workers", cfg.Workers, "decode on `N` goroutines (default: GOMAXPROCS); the output is the same for any number")
	f.String("filter", cfg.Filter, "only packets that match `BPF`, in tcpdump's language")
	f.String("fail-on", cfg.FailOn, "exit with 3 if a finding reaches `SEVERITY`: info, low, medium, high, critical")
	f.Bool("mask-logs", false, "mask credentials also in the columns that Zeek defines (uri, referrer, username)")
	f.Bool("quiet", false, "print only errors")
	f.String("checksums", "auto", "how to treat wrong checksums: `MODE` auto, strict (as Zeek) or ignore")
	f.Bool("ignore-checksums", false, "the same as --checksums ignore")
	f.Bool("seccomp", true, "block system calls that raytap does not need; --seccomp=false disables this")
	offline := f.Bool("offline", false, "do not fetch feeds from servers; use only the cache")
	f.String("record", "", "record packets to `DIR`, as a sensor does")
	f.String("evidence", "", "save the packets of each finding to a file in `DIR`")
	observed := f.Bool("observations", false, "also write observations.log, from which a hub joins this with what other sensors saw")
	stages := f.Bool("stages", false, "print the CPU time of each stage, and what it allows with more processors")
	html := f.String("report", "", "also write an HTML report to `FILE`")
	exports := f.String("export", "", "also write findings, incidents and indicators for other programs to `DIR` (see raytap help report)")
	folder := f.String("files", "", "keep files from the traffic in `DIR`, by SHA-256")
	f.Func("extract", "which files to keep: `TYPES` executable, script, archive, pickle, ray_package (these are the default with --files), model, notebook, all", list(&extract))
	force := f.Bool("force", false, "replace logs in --out even if raytap did not write them")
	f.String("file-mode", cfg.FileMode, "file `MODE` of logs and reports (default "+cfg.FileMode+")")
	configFile := f.String("config", "", "read settings from `FILE` (YAML)")
	cpuprofile := f.String("cpuprofile", "", "")
	memprofile := f.String("memprofile", "", "")
	tracefile := f.String("trace", "", "")
	f.hidden["cpuprofile"], f.hidden["memprofile"], f.hidden["trace"] = true, true, true

	more, err := f.parse(args)
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	files = append(files, more...)
	if *configFile != "" {
		if cfg, err = config.Load(*configFile); err != nil {
			complain(stderr, err)
			return exitUsage
		}
	}
	f.override(&cfg, home)
	if len(given) > 0 {
		if err := cfg.Set("intel", given...); err != nil {
			complain(stderr, fmt.Errorf("flag --intel: %s", strings.TrimPrefix(err.Error(), "raytap: ")))
			return exitUsage
		}
	}
	if len(only) > 0 {
		cfg.Logs = only
	}
	keepFiles(&cfg, *folder, extract)
	if err := cfg.Check(); err != nil {
		complain(stderr, err)
		return exitUsage
	}
	if len(files) == 0 {
		return f.fail(errors.New("no capture given"), stdout, stderr)
	}

	if err := openIntel(&cfg, *offline, stderr); err != nil {
		complain(stderr, err)
		return exitInput
	}
	stop, err := profile(*cpuprofile, *memprofile, *tracefile)
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	guard(&cfg, stderr)
	if *observed || cfg.Publish.On() {
		cfg.Observer = observe.New(runOf(files), observe.Config{})
	}
	if *stages {
		cfg.Stages = &engine.Stages{}
	}
	code := replayFiles(cfg, files, *html, *exports, *force, stdout, stderr)
	if err := stop(); err != nil {
		complain(stderr, err)
		code = max(code, exitInput)
	}
	return code
}

// openIntel fetches the feeds that are not in the cache, reads all indicators, and says what is odd about their sources.
func openIntel(cfg *config.Config, offline bool, stderr *os.File) error {
	if err := fetchMissing(cfg, offline, stderr); err != nil {
		return err
	}
	set, read, err := cfg.LoadIntel()
	if err != nil {
		return err
	}
	for _, feed := range read {
		switch {
		case feed.Remote && !cfg.Quiet:
			fmt.Fprintf(stderr, "raytap: feed %s: %d indicators of %s\n", terminal.Clean(feed.Name), feed.Indicators(), feed.At.UTC().Format("2006-01-02 15:04 UTC"))
		case feed.Remote:
		case feed.Folder && (feed.Files == 0 || len(feed.Left) > 0):
			fmt.Fprintf(stderr, "raytap: %s: %s\n", terminal.Clean(feed.Name), inFolder(feed))
		case !feed.Folder && feed.Indicators() == 0:
			fmt.Fprintf(stderr, "raytap: %s: no indicators; raytap intel tells why\n", terminal.Clean(feed.Name))
		}
	}
	cfg.Indicators = intel.NewLive(set)
	return nil
}

// guard refuses the process the system calls that reading what others wrote does not need, before it reads any. Where that
// is not possible it reads all the same.
func guard(cfg *config.Config, stderr *os.File) {
	if cfg.Seccomp {
		if _, err := restrict(false); err != nil {
			complain(stderr, err)
		}
	}
}

// override puts the flags that were given over the configuration.
func (f *flags) override(cfg *config.Config, home []string) {
	f.given(func(name, s string, v any) {
		switch name {
		case "out":
			cfg.Out = s
		case "format":
			cfg.Format = s
		case "home":
			cfg.Home = home
		case "workers":
			cfg.Workers = v.(int)
		case "filter":
			cfg.Filter = s
		case "fail-on":
			cfg.FailOn = s
		case "quiet":
			cfg.Quiet = v.(bool)
		case "mask-logs":
			cfg.MaskLogs = v.(bool)
		case "seccomp":
			if on, ok := v.(bool); ok { // a sensor's is a flag of its key
				cfg.Seccomp = on
			}
		case "file-mode":
			if s != "" {
				cfg.FileMode = s
			}
		case "ignore-checksums":
			if v.(bool) {
				cfg.Checksums = "ignore"
			}
		case "checksums":
			cfg.Checksums = s
		case "read-fifo":
			cfg.ReadFIFO = s
		case "snaplen":
			cfg.SnapLen = v.(int)
		case "no-promisc":
			cfg.NoPromisc = v.(bool)
		case "hardware-timestamps":
			cfg.HardwareTS = v.(bool)
		case "user":
			cfg.User = s
		case "record":
			cfg.Record.Folder = s
		case "evidence":
			cfg.Evidence.Folder = s
		}
	})
}

// runOf names a run over files for a hub: the same files make the same run, so that one that is published again is known.
func runOf(files []string) string {
	h := xxhash.New()
	for _, name := range files {
		var size int64
		if info, err := os.Stat(name); err == nil {
			size = info.Size()
		}
		fmt.Fprintf(h, "%q %d\n", filepath.Base(name), size)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// replayRun is a run over files.
type replayRun struct {
	cfg            config.Config
	files          []string
	stdout, stderr *os.File
	code           int

	logs     *zeek.Sink
	rec      *record.Recorder // nil without
	saves    *savedEvidence   // nil without
	people   *terminal.Sink
	progress *terminal.Progress // nil if nobody watches it
}

func (r *replayRun) fail(err error) {
	complain(r.stderr, err)
	r.code = exitInput
}

func (r *replayRun) say(text string) { complain(r.stderr, errors.New(text)) }

func replayFiles(cfg config.Config, files []string, html, exports string, force bool, stdout, stderr *os.File) int {
	r := &replayRun{cfg: cfg, files: files, stdout: stdout, stderr: stderr, code: exitOK}
	until := onInterrupt()
	defer until.cancel()
	srcs, err := openUntil(until.ctx, files, r.fail, r.say)
	if err != nil {
		return until.end(stderr)
	}
	if len(srcs) == 0 {
		return r.code
	}
	together := capture.Merge(srcs...)
	src := untilDone(until.ctx, files, together)
	defer src.Close()
	if err := r.open(force); err != nil {
		r.fail(err)
		return r.code
	}
	start := time.Now()
	stats, err := r.run(until.ctx, src, start)
	elapsed := time.Since(start)
	caught := until.caught()
	if r.progress != nil {
		r.progress.Clear()
	}
	sayRepeated(together, r.say)
	interrupted := caught && errors.Is(err, context.Canceled)
	if err != nil && !interrupted {
		r.fail(err)
	}
	kept := r.close(stats.Last)
	if html != "" || exports != "" {
		unread, err := tellLogs([]string{r.cfg.Out}, sourceOf(files), window{}, r.cfg, html, exports)
		if err != nil {
			r.fail(err)
		}
		if tellUnread(unread, stderr) {
			r.code = exitInput
		}
	}
	if !r.cfg.Quiet {
		if err := r.people.Report(stdout, totals(&stats, r.cfg.Checksums, elapsed)); err != nil {
			r.fail(fmt.Errorf("cannot print the findings: %w", err))
		}
		if kept != "" {
			fmt.Fprintln(stdout, kept)
		}
	}
	if cfg.Stages != nil && stats.Packets > 0 {
		fmt.Fprint(stdout, stageTimes(cfg.Stages, stats.Packets))
	}
	if interrupted {
		r.code = until.end(stderr)
	}
	if r.cfg.FailOn != "" {
		if at, err := detectors.ParseSeverity(r.cfg.FailOn); err == nil && r.people.Reached(at) {
			r.code = exitFinding
		}
	}
	return r.code
}

// open opens the outputs.
func (r *replayRun) open(force bool) (err error) {
	cfg := &r.cfg
	r.logs, err = zeek.New(cfg.Out, zeek.Options{Format: cfg.Format, Rules: registry.Rules(), Logs: cfg.WrittenLogs(), Mask: cfg.MaskLogs, Modes: cfg.Modes(), Peer: cfg.Peer(), Force: force})
	if err != nil {
		return err
	}
	if err := openStore(cfg, true, r.say); err != nil {
		return errors.Join(err, r.logs.Close(0))
	}
	if r.rec, err = cfg.OpenRecorder("raytap "+buildVersion(), false, r.say); err != nil {
		return err
	}
	cfg.Recorder = r.rec
	if dir := cfg.Evidence.Folder; dir != "" && r.rec == nil {
		if slices.Contains(r.files, "-") {
			return errors.New("--evidence reads captures again, which standard input cannot be; with --record it need not")
		}
		if r.saves, err = newSavedEvidence(dir, cfg); err != nil {
			return err
		}
		cfg.SavedAs = r.saves.name
	}
	return nil
}

// run runs the engine over src.
func (r *replayRun) run(ctx context.Context, src capture.Source, start time.Time) (engine.Stats, error) {
	r.people = terminal.New(terminalOptions(r.stdout))
	if !r.cfg.Quiet && terminal.Width(r.stderr) > 0 {
		r.progress = terminal.NewProgress(r.stderr, start)
		r.cfg.Progress = func(s engine.Stats) { r.progress.Show(time.Now(), s.Packets, s.Bytes) }
	}
	links := newLinkNotice(func(text string) {
		if r.progress != nil {
			r.progress.Clear()
		}
		r.say(text)
	})
	sinks := []engine.Sink{r.logs, r.people, links}
	if r.saves != nil {
		sinks = append(sinks, r.saves)
	}
	return engine.Run(ctx, r.cfg.Config, src, sinks...)
}

// close ends the outputs of a run whose last packet was at last. It returns what to say of files that were kept.
func (r *replayRun) close(last capture.Time) (kept string) {
	if r.rec != nil {
		if err := r.rec.Close(); err != nil {
			r.fail(err)
		}
		sayRecorded(r.rec, r.say)
	}
	if err := r.logs.Close(last); err != nil {
		r.fail(err)
	}
	kept, all, err := closeStore(&r.cfg)
	if err != nil {
		r.fail(err)
	} else if !all {
		r.code = exitInput
	}
	if r.saves != nil {
		says, err := r.saves.write(r.files, r.cfg)
		for _, s := range says {
			r.say(s)
		}
		if err != nil {
			r.fail(err)
		}
	}
	return kept
}

// stageTimes tells what the stages of a run took for each packet, and how many packets a second that allows.
func stageTimes(s *engine.Stages, packets uint64) string {
	var b strings.Builder
	ns := func(d time.Duration) float64 { return float64(d) / float64(packets) }
	b.WriteString("CPU time per packet\n")
	for _, row := range []struct {
		what string
		d    time.Duration
		how  string
	}{
		{"read", s.Read, "serial, with dissect"},
		{"dissect", s.Dissect, "serial, with read"},
		{"workers", s.Work, "parallel"},
		{"order", s.Order, "serial"},
		{"detect", s.Detect, fmt.Sprintf("parallel in lanes, the longest %.0f ns", ns(s.Lane))},
		{"collect", s.Collect, "serial"},
		{"rest", s.Rest, "garbage collection, hand-over between stages"},
		{"total", s.Total(), ""},
	} {
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("  %-8s %6.0f ns  %s", row.what, ns(row.d), row.how), " "))
	}
	b.WriteString("Packets per second by this\n")
	for _, n := range []int{1, 2, 4, 8, 16} {
		each := max(ns(s.Total())/float64(n), ns(s.Serial()))
		if each <= 0 {
			break
		}
		by := ""
		if each == ns(s.Serial()) {
			by = "  (serial stages)"
		}
		fmt.Fprintf(&b, "  %2d cores %11.0f%s\n", n, 1e9/each, by)
	}
	return b.String()
}

// sourceOf names the captures of a run, without the folders that they are in.
func sourceOf(files []string) string {
	name := filepath.Base(files[0])
	if files[0] == "-" {
		name = "standard input"
	}
	if n := len(files) - 1; n > 0 {
		name = fmt.Sprintf("%s and %d more", name, n)
	}
	return name
}

func totals(s *engine.Stats, checksums string, elapsed time.Duration) terminal.Totals {
	t := terminal.Totals{Packets: s.Packets, Bytes: s.Bytes, Flows: s.Flow.Flows, First: s.First, Last: s.Last, Elapsed: elapsed}
	t.Offloaded, t.OffloadedAside = s.Flow.Offloaded, checksums == "strict"
	for _, o := range s.Outsiders {
		t.Doubts = append(t.Doubts, o.String())
	}
	for _, l := range s.Losses() {
		t.Losses = append(t.Losses, terminal.Loss(l))
	}
	for _, k := range s.KeptBackBy {
		t.KeptBack = append(t.KeptBack, fmt.Sprintf("%s %d", k.Rule, k.N))
	}
	return t
}

// profile starts what the hidden flags ask for; what it returns writes it.
func profile(cpu, mem, traces string) (stop func() error, err error) {
	var ends []func() error
	begin := func(name string, start func(io.Writer) error, end func(io.Writer) error) error {
		if name == "" {
			return nil
		}
		w, err := disk.Private().Renew(name)
		if err != nil {
			return err
		}
		ends = append(ends, func() error { return errors.Join(end(w), w.Close()) })
		return start(w)
	}
	err = errors.Join(
		begin(cpu, pprof.StartCPUProfile, func(io.Writer) error { pprof.StopCPUProfile(); return nil }),
		begin(traces, trace.Start, func(io.Writer) error { trace.Stop(); return nil }),
		begin(mem, func(io.Writer) error { return nil }, func(w io.Writer) error { runtime.GC(); return pprof.WriteHeapProfile(w) }),
	)
	return func() error {
		var errs []error
		for _, end := range ends {
			errs = append(errs, end())
		}
		return errors.Join(errs...)
	}, err
}
