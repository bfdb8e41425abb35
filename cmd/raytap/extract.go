package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/logs"
	"github.com/raytap/raytap/sinks/terminal"
)

const extractSynopsis = `extract WHAT [flags] FILE|DIR...
       raytap extract WHAT [flags] RECORD-DIR...

Writes packets to a pcapng file. Comments mark the evidence, so that Wireshark finds it. WHAT is one of

  --finding ID        a finding: the id on the screen, in notice.log (finding_id), syslog, webhook and report
  --incident ID       an incident: the flows of its steps, and the traffic between its parties from first to last
  --uid UID           a flow, by raytap's UID
  --community-id CID  flows, by Community ID, which other tools use too

--host, --from, --to and --filter narrow this down, or select packets by themselves.

To locate a finding, incident or flow, raytap analyzes the captures again: use the same --home and --config as the run
that reported it. A sensor's findings are located in a capture that was recorded alongside it, with nanoseconds or
microseconds, if that began before the flow. Otherwise name the sensor's logs (--logs DIR): they have endpoints and times,
and no other settings are needed.

In a directory that a sensor records into (--record), raytap reads only what is needed, by its index, also while the sensor
writes. Such a directory has findings and incidents itself.

For a finding over many flows these are the packets between its two endpoints, and the packets it names. Of a fragmented
datagram only the last fragment is found.

Exit status: 0 written; 1 nothing matched, or an input is damaged, or the output could not be written; 2 wrong
usage.

`

// extractFlags are what raytap extract is told.
type extractFlags struct {
	*flags
	wanted               *wanted
	home, hosts, folders []string
	asked                *window
	filter, out, config  *string
	names                int // how many of finding, incident, uid and community-id
}

// newExtractFlags declares the flags of raytap extract, which say what w is.
func newExtractFlags(w *wanted) *extractFlags {
	f := newFlags("extract", extractSynopsis)
	o := &extractFlags{flags: f, wanted: w}
	f.StringVar(&w.id, "finding", "", "packets of the finding `ID`")
	f.StringVar(&w.story, "incident", "", "packets of the incident `ID`")
	f.StringVar(&w.uid, "uid", "", "packets of the flow `UID`")
	f.StringVar(&w.community, "community-id", "", "packets of flows with the Community ID `CID`")
	f.Func("host", "only packets to or from `ADDR`; two of them, or ADDR,ADDR: between these; NET/BITS is a network", list(&o.hosts))
	o.asked = f.window("from", "to", "packets")
	o.filter = f.String("filter", "", "only packets that match `BPF`, in tcpdump's language")
	f.Func("logs", "look up the finding, incident or flow in the logs in `DIR`, such as a sensor's; may be repeated", list(&o.folders))
	o.out = f.String("o", "", "write to `FILE` (default: the ID, with .pcapng, or raytap-extract.pcapng)")
	f.Func("home", "a network or address that counts as inside, `CIDR`; may be repeated, or several with commas", list(&o.home))
	f.Int("workers", 0, "decode on `N` goroutines (default: GOMAXPROCS)")
	f.String("checksums", "auto", "how to treat wrong checksums: `MODE` auto, strict (as Zeek) or ignore")
	f.Bool("ignore-checksums", false, "the same as --checksums ignore")
	o.config = f.String("config", "", "read settings from `FILE` (YAML)")
	return o
}

// check reports what is wrong with the command line, whose arguments are files, and reads the networks on it.
func (o *extractFlags) check(files []string) (err error) {
	w, hosts := o.wanted, o.hosts
	for _, name := range [...]string{w.id, w.story, w.uid, w.community} {
		if name != "" {
			o.names++
		}
	}
	switch {
	case o.names > 1 || o.names == 0 && len(hosts) == 0 && *o.filter == "" && o.asked.String() == "":
		return errors.New("one of --finding, --incident, --uid and --community-id is needed, or --host, --from, --to or --filter")
	case len(hosts) > 2:
		return errors.New("--host takes one address or two")
	case len(o.folders) > 0 && o.names == 0:
		return errors.New("--logs is for --finding, --incident, --uid and --community-id")
	case len(files) == 0:
		return errors.New("no capture given")
	case slices.Contains(files, "-"):
		return errors.New("standard input cannot be read twice")
	}
	if w.hosts, err = detectors.ParseNetworks(hosts[:min(1, len(hosts))]); err != nil {
		return err
	}
	if len(hosts) > 1 {
		if w.peers, err = detectors.ParseNetworks(hosts[1:]); err != nil {
			return err
		}
	}
	if *o.filter != "" {
		if _, err = capture.CompileFilter(*o.filter, 1); err != nil {
			return err
		}
	}
	if len(hosts) == 0 {
		w.hosts = nil
	}
	// The filter is for what is written: what is found takes all packets.
	w.all, w.window, w.filter = o.names == 0, *o.asked, *o.filter
	return nil
}

func extract(args []string, stdout, stderr *os.File) int {
	w := wanted{flows: map[ends][]span{}, pairs: map[[2]netip.Addr]span{}, notes: map[uint64][]string{}, evidence: map[uint64]bool{}}
	f := newExtractFlags(&w)
	files, err := f.parse(args)
	if err == nil {
		err = f.check(files)
	}
	if err != nil {
		return f.fail(err, stdout, stderr)
	}
	cfg, err := f.settings(*f.config, f.home)
	if err != nil {
		complain(stderr, err)
		return exitUsage
	}
	cfg.Filter = ""
	out := cmp.Or(*f.out, cmp.Or(w.id, w.story, w.uid, strings.NewReplacer("/", "_", "+", "-", ":", "-").Replace(w.community), "raytap-extract")+".pcapng")

	guard(&cfg, stderr)
	recs := 0
	for _, name := range files {
		if record.IsFolder(name) {
			recs++
		}
	}
	switch {
	case recs == len(files):
		return extractRecorded(&w, files, f.hosts, f.folders, out, cfg, stdout, stderr)
	case recs > 0:
		return f.fail(errors.New("captures and folders of a recorder at once cannot be"), stdout, stderr)
	}
	code := exitOK
	if !w.all {
		all, err := w.find(files, f.folders, cfg, stderr)
		if err != nil {
			complain(stderr, err)
			return exitInput
		}
		if !all {
			code = exitInput
		}
	}
	if len(w.steps) > 0 { // of which flows the packets are that the steps of an incident name
		if err := eachSource(files, func(src capture.Source) error { return w.follow(src, cfg) }); err != nil {
			complain(stderr, err)
			code = exitInput
		}
	}
	var n uint64
	err = disk.Private().Replace(out, func(file io.Writer) error {
		return eachSource(files, func(src capture.Source) error {
			n, err = w.copy(src, file, cfg)
			return err
		})
	})
	if err != nil {
		complain(stderr, err)
		return exitInput
	}
	fmt.Fprintf(stdout, "%s: %s packets\n", terminal.Clean(out), terminal.Number(n))
	if n == 0 {
		complain(stderr, errors.New("no packet of these captures belongs to it"))
		return exitInput
	}
	return code
}

// find finds what is wanted in the logs in folders or, if there are none, by a run over the captures. It is not all if
// something could not be read, which has been said then.
func (w *wanted) find(files, folders []string, cfg config.Config, stderr *os.File) (all bool, err error) {
	all = true
	where, hint := strings.Join(folders, ", "), ""
	if len(folders) > 0 {
		unread, err := w.lookUp(folders)
		if err != nil {
			return false, err
		}
		all = !tellUnread(unread, stderr)
	} else {
		where = strings.Join(files, ", ") + " with these settings"
		hint = "; --logs DIR takes it from the logs of who found it"
		run, err := cfg.Engine()
		if err == nil {
			err = eachSource(files, func(src capture.Source) error {
				_, err := engine.Run(context.Background(), run, src, w)
				return err
			})
		}
		if err != nil {
			complain(stderr, err)
			all = false
		}
		w.settle()
	}
	if !w.found() {
		return false, fmt.Errorf("there is no %s in %s%s", w.what(), where, hint)
	}
	return all, nil
}

// what names what is looked for.
func (w *wanted) what() string {
	switch {
	case w.id != "":
		return "finding " + w.id
	case w.story != "":
		return "incident " + w.story
	case w.community != "":
		return "flow with the Community ID " + w.community
	}
	return "flow " + w.uid
}

// eachSource opens the captures as one and closes them again.
func eachSource(files []string, fn func(capture.Source) error) error {
	var failed error
	srcs := openFiles(files, func(err error) { failed = errors.Join(failed, err) }, func(string) {})
	for _, src := range srcs {
		defer src.Close()
	}
	if failed != nil {
		return failed
	}
	return fn(capture.Merge(srcs...))
}

// ends are those of a flow, in either direction, as on the wire.
type ends struct {
	proto uint8
	a, b  netip.AddrPort
}

func endsOf(proto uint8, a, b netip.AddrPort) ends {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return ends{proto, a, b}
}

// span is a time; a bound of 0 is none.
type span struct{ from, until capture.Time }

func (s span) has(t capture.Time) bool { return t >= s.from && (s.until == 0 || t <= s.until) }

// wanted is what to look for, and then what was found: a sink of the first reading.
type wanted struct {
	id, story, uid, community string
	// What narrows it down.
	all          bool // nothing else is asked for
	hosts, peers *detectors.Networks
	window       window
	filter       string

	finding  *detectors.Finding
	incident *detectors.Incident
	flows    map[ends][]span
	pairs    map[[2]netip.Addr]span
	conns    bool // a flow was found
	said     []*detectors.Finding
	mine     map[string]bool     // uids whose findings get comments
	steps    map[uint64]bool     // packets whose flows are wanted
	evidence map[uint64]bool     // packets that are wanted wherever they belong
	notes    map[uint64][]string // comments by ordinal
}

// Findings of other flows that are remembered until it is known which flow is meant; a capture has tens.
const maxSaid = 1 << 14

// Event implements engine.Sink.
func (w *wanted) Event(ev any) {
	switch ev := ev.(type) {
	case *detectors.Update: // it has more evidence
		if w.finding != nil && ev.ID() == w.id {
			f := *ev.Finding
			f.Name = "" // it is of no log
			w.said[slices.Index(w.said, w.finding)], w.finding = &f, &f
		}
	case *detectors.Finding:
		if w.id != "" && w.finding == nil && ev.ID() == w.id {
			w.finding = ev
			if ev.Flow != nil {
				w.uid = ev.Flow.UID
			}
		}
		if len(w.said) < maxSaid || ev == w.finding {
			w.said = append(w.said, ev)
		}
	case *detectors.Incident:
		if w.story != "" && ev.ID == w.story { // the last word on it
			w.incident = ev
			w.story = cmp.Or(ev.Into, w.story)
		}
	case *capture.Conn:
		if w.uid != "" && ev.Flow.UID == w.uid || w.community != "" && ev.Flow.CommunityID() == w.community {
			w.flow(ev.Flow, span{ev.Flow.Start, ev.Time})
		}
	}
}

func (w *wanted) flow(f *capture.Flow, s span) {
	wire := f.Wire()
	e := endsOf(wire.Proto, wire.Orig, wire.Resp)
	w.flows[e] = append(w.flows[e], s)
	w.conns = true
	if w.mine == nil {
		w.mine = map[string]bool{}
	}
	w.mine[f.UID] = true
}

func (w *wanted) pair(a, b netip.Addr, s span) {
	if a.IsValid() && b.IsValid() {
		w.pairs[[2]netip.Addr{a, b}], w.pairs[[2]netip.Addr{b, a}] = s, s
	}
}

func (w *wanted) found() bool { return w.all || w.conns || w.finding != nil || w.incident != nil }

// settle makes packets to look for of what was found in captures.
func (w *wanted) settle() {
	if f := w.finding; f != nil && f.Flow == nil {
		w.pair(f.Src, f.Dst, span{})
	}
	for _, f := range w.said {
		if f == w.finding || f.Flow != nil && w.mine[f.Flow.UID] {
			w.note(f)
		}
	}
	if x := w.incident; x != nil {
		w.parties(x, 0)
		w.steps = map[uint64]bool{}
		for _, st := range x.Steps {
			if st.Packet != 0 {
				w.steps[st.Packet] = true
				w.comment(st.Packet, "raytap incident "+x.ID+": "+st.String())
			}
		}
	}
}

// parties wants what passed between those who did something and those to whom it was done, while it lasted. What
// victims say to each other is the cluster's own, but for what steps name.
func (w *wanted) parties(x *detectors.Incident, slack capture.Time) {
	s := span{x.First.Time - slack, x.Last.Time + slack}
	for _, victim := range x.Victims {
		for _, a := range x.Attackers {
			w.pair(a, victim, s)
		}
		for _, p := range x.Others {
			w.pair(p.Addr, victim, s)
		}
	}
}

// lookUp finds what is wanted in logs. Packets have no ordinals there that would hold for these captures.
func (w *wanted) lookUp(dirs []string) (unread []string, err error) {
	folder, err := logs.Open(logs.Options{}, dirs...)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if len(folder.Logs()) == 0 {
		return folder.Unread(), fmt.Errorf("no logs in %s", strings.Join(dirs, ", "))
	}
	var loose *detectors.Finding
	if w.id != "" {
		folder.Read("notice", func(r *logs.Row) {
			if f := r.Finding(); f != nil && f.ID() == w.id {
				w.finding, loose = f, f
				if f.Flow != nil {
					w.uid = f.Flow.UID
				} else {
					w.pair(f.Src, f.Dst, span{})
				}
			}
		})
	}
	// A row has microseconds, and durations are rounded; they end before the last acknowledgements of a connection.
	const slack, lingers = capture.Time(2000), capture.Time(5e9)
	if w.story != "" {
		folder.Read("incidents", func(r *logs.Row) {
			if x := r.Incident(); x != nil && x.ID == w.story {
				w.incident = x
				w.story = cmp.Or(x.Into, w.story)
			}
		})
		if w.incident != nil {
			w.parties(w.incident, slack)
		}
	}
	if w.uid != "" || w.community != "" {
		folder.Read("conn", func(r *logs.Row) {
			if w.uid != "" && r.Get("uid") == w.uid || w.community != "" && r.Get("community_id") == w.community {
				start := r.Time("ts")
				w.flow(r.Flow(), span{start - slack, start + r.Time("duration") + lingers})
			}
		})
	}
	if loose != nil && loose.Flow != nil && !w.conns { // it goes on still
		w.flow(loose.Flow, span{})
	}
	return folder.Unread(), nil
}

func (w *wanted) comment(packet uint64, text string) {
	w.notes[packet] = append(w.notes[packet], terminal.Clean(text))
}

// note makes comments of a finding's evidence.
func (w *wanted) note(f *detectors.Finding) { w.noteAll(record.Comments(f)) }

func (w *wanted) noteAll(notes map[uint64][]string) {
	for packet, text := range notes {
		w.evidence[packet] = true
		w.notes[packet] = append(w.notes[packet], text...)
	}
}

// takes says whether p belongs to what was found.
func (w *wanted) takes(p *capture.Packet) bool {
	if w.all {
		return true
	}
	src, dst := p.SrcAddr(), p.DstAddr()
	if len(w.pairs) > 0 {
		if s, ok := w.pairs[[2]netip.Addr{src, dst}]; ok && s.has(p.Time) {
			return true
		}
	}
	for _, s := range w.flows[endsOf(p.Proto, netip.AddrPortFrom(src, p.SrcPort), netip.AddrPortFrom(dst, p.DstPort))] {
		if s.has(p.Time) {
			return true
		}
	}
	return false
}

// narrow says whether p is between the hosts that were asked for.
func (w *wanted) narrow(p *capture.Packet) bool {
	src, dst := p.SrcAddr(), p.DstAddr()
	switch {
	case w.hosts == nil:
		return true
	case w.peers == nil:
		return w.hosts.Contains(src) || w.hosts.Contains(dst)
	}
	return w.hosts.Contains(src) && w.peers.Contains(dst) || w.hosts.Contains(dst) && w.peers.Contains(src)
}

// packets calls fn for each frame of a capture with the packets in it.
func packets(src capture.Source, cfg config.Config, fn func(f *capture.Frame, all []capture.Packet) error) error {
	dissect := capture.NewDissector(capture.DissectConfig{IgnoreChecksums: cfg.Checksums == "ignore"})
	var b capture.Batch
	var all []capture.Packet
	for {
		err := src.ReadBatch(&b)
		for i := range b.Frames {
			f := &b.Frames[i]
			all = dissect.Dissect(f, all[:0])
			if err := fn(f, all); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// follow wants the flows of the packets that steps name.
func (w *wanted) follow(src capture.Source, cfg config.Config) error {
	return packets(src, cfg, func(f *capture.Frame, all []capture.Packet) error {
		if !w.steps[f.Ordinal] {
			return nil
		}
		for i := range all {
			p := &all[i]
			e := endsOf(p.Proto, netip.AddrPortFrom(p.SrcAddr(), p.SrcPort), netip.AddrPortFrom(p.DstAddr(), p.DstPort))
			w.flows[e] = append(w.flows[e], span{})
		}
		return nil
	})
}

// copy writes the packets, and those of the evidence wherever they belong.
func (w *wanted) copy(src capture.Source, file io.Writer, cfg config.Config) (n uint64, err error) {
	about := "packets"
	switch {
	case w.finding != nil:
		about = fmt.Sprintf("finding %s: %s", w.id, w.finding.Msg)
	case w.incident != nil:
		about = fmt.Sprintf("incident %s: %s", w.story, w.incident.Summary)
	case w.community != "":
		about = "flow " + w.community
	case w.uid != "":
		about = "flow " + w.uid
	}
	buffered := bufio.NewWriter(file)
	out, err := capture.NewPcapngWriter(buffered, "raytap "+buildVersion(), terminal.Clean(about))
	if err != nil {
		return 0, err
	}
	filters := map[uint16]*capture.Filter{}
	written := packets(src, cfg, func(f *capture.Frame, all []capture.Packet) error {
		if w.window.since != 0 && f.Time < w.window.since || w.window.until != 0 && f.Time > w.window.until {
			return nil
		}
		take, near := w.evidence[f.Ordinal] || w.all, w.hosts == nil
		for i := range all {
			take, near = take || w.takes(&all[i]), near || w.narrow(&all[i])
		}
		if !take || !near {
			return nil
		}
		if w.filter != "" {
			c := filters[f.Link]
			if c == nil {
				var err error
				if c, err = capture.CompileFilter(w.filter, f.Link); err != nil {
					return &writeError{err}
				}
				filters[f.Link] = c
			}
			if !c.Match(f) {
				return nil
			}
		}
		notes := w.notes[f.Ordinal]
		comment := strings.Join(notes, "\n")
		if notes != nil {
			comment += fmt.Sprintf("\npacket %d of the capture", f.Ordinal)
		}
		if err := out.Write(f, comment); err != nil {
			return &writeError{err}
		}
		return nil
	})
	var failed *writeError
	if errors.As(written, &failed) {
		return out.Frames(), failed.error
	}
	if err := buffered.Flush(); err != nil {
		return out.Frames(), err
	}
	if w.all || w.finding != nil && w.finding.Name != "" || w.incident != nil && len(w.steps) == 0 {
		return out.Frames(), written // nobody has read the captures before, and told of it
	}
	return out.Frames(), nil
}

// writeError is one of the output, not of a capture that ends early.
type writeError struct{ error }
