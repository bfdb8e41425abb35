// Package detectors is the contract between events and findings.
//
// In: every event of a run, in order, on one goroutine, which others may run beside. Out: findings, each a sentence that says who did what to whom
// and carries its evidence. Each detector is a folder below this one; one line in the engine's registry turns it on.
// The Go type of an event is its topic: a detector says On(bus, func(t *http.Transaction) {...}) and keeps whatever
// state it needs in plain, bounded tables.
package detectors

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
)

// Severity orders findings.
type Severity uint8

// Severities, ascending.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

var severityNames = [...]string{"info", "low", "medium", "high", "critical"}

func (s Severity) String() string { return severityNames[min(int(s), len(severityNames)-1)] }

// ParseSeverity reads a severity's name.
func ParseSeverity(s string) (Severity, error) {
	for i, n := range severityNames {
		if s == n {
			return Severity(i), nil
		}
	}
	return 0, fmt.Errorf("detectors: unknown severity %q (info, low, medium, high, critical)", s)
}

// Outcome says what came of what was tried.
type Outcome string

// Outcomes. An attempt is rated at least one severity below a success.
const (
	Succeeded Outcome = "succeeded" // the answer shows that it worked
	Attempted Outcome = "attempted" // refused, failed, or blocked
	Unknown   Outcome = "unknown"   // no answer was seen
	Observed  Outcome = "observed"  // nothing to succeed or fail: a fact of the traffic
)

// Evidence is one thing that a finding rests on.
type Evidence struct {
	Field  string // where it was: "entrypoint", "request", "share"
	Value  string // bounded excerpt, secrets masked
	Packet uint64 // ordinal of the packet that carried it
}

// Finding is what a detector says.
type Finding struct {
	capture.At
	Rule       string // detector/claim
	Severity   Severity
	Confidence int // 0..100
	Outcome    Outcome
	Msg        string // the sentence
	Sub        string // one line of detail, may be empty
	Src, Dst   netip.Addr
	Port       uint16        // port at Dst, 0 if none
	Flow       *capture.Flow // the flow it was seen in; nil for findings over many
	Evidence   []Evidence
	Count      int // how often it was said in the suppression window, 1 for the first
	Revision   int // of what is told under its ID: 0 or 1 for the finding, more for an Update
	// Key overrides what makes two findings the same (default: rule, src, dst); what is said again within
	// SuppressFor is counted, not repeated, unless it is more severe than before.
	Key string
	// Many says that it is of many flows, of which Flow is but the one that made them enough. Which that is hangs on the
	// order in which flows end, so nothing of it is in the finding's name.
	Many     bool
	Incident string // id of the incident that it tells of, may be empty
	File     string // with its packets, of a run that records; may be empty
	Name     string // what ID gave, of one that was read back from a log, which does not know all that its name rests on

	of    *Finding // that was said before and counts it, if there is one
	rated bool     // Severity is what it is said with,
	own   Severity // and this its own, by which it has its name

	// What a Suppressor knows of one that was said: when it was seen last, the Count that was told last, and when; whether it
	// was seen since.
	last   capture.At
	told   int
	toldAt capture.Time
	waits  bool
}

// Rule describes one claim of a detector, for `raytap rules`, the logs and the documents. Techniques are ids of the
// data file.
type Rule struct {
	Name           string // "jobsubmit/external"
	Note           string // Zeek notice type after Raytap::, "Job_Submit_External"
	Severity       Severity
	Says           string   // what it claims, one sentence
	ATLAS, ATTACK  []string // technique ids
	Needs          string   // what it must see on the wire
	FalsePositives string   // known ones
	Story          Story    // what its findings mean in an incident
}

// Spec registers a detector.
type Spec struct {
	Name     string
	Settings *Settings // its section of the configuration; nil: it has none
	Rules    []Rule
	New      func(env *Env, bus *Bus)
	// Late says that it hears what other detectors find, or what the run says of itself, and so comes after what the others
	// made of an event. A run may call those that are not beside each other, each of them on one goroutine, with an Env and a
	// Bus of their own.
	Late bool
}

// Env is what all detectors share.
type Env struct {
	Home     *Networks
	Users    *Networks      // outside Home, whose jobs count as jobs from inside; may be nil
	Settings map[string]any // a detector's settings by its name; nil: its defaults
	Rules    []Rule         // of all detectors of the run

	shared map[reflect.Type]any
}

// Shared gives what detectors have in common, of which there is one of each type: who asks first has it made.
func Shared[T any](env *Env, make func() T) T {
	t := reflect.TypeFor[T]()
	if x, ok := env.shared[t].(T); ok {
		return x
	}
	x := make()
	if env.shared == nil {
		env.shared = map[reflect.Type]any{}
	}
	env.shared[t] = x
	return x
}

// Inside reports whether what a asks of Ray counts as asked from inside: a is at home, or one of the users outside whose
// jobs are the site's own. What is not asked of Ray goes by Home alone.
func (e *Env) Inside(a netip.Addr) bool { return e.Home.Contains(a) || e.Users.Contains(a) }

// Reload says that the settings in Env were replaced while events go on; see Configure. Home and Users are the same sets
// with other ranges in them.
type Reload struct{ Env *Env }

// Configure hands a detector its settings, of type T, or def where Env has none for its name: now, and again whenever
// they are replaced. What the detector knows it keeps.
func Configure[T any](env *Env, bus *Bus, name string, def T, set func(T)) {
	f := func(r *Reload) {
		if c, ok := r.Env.Settings[name].(*T); ok {
			set(*c)
		} else {
			set(def)
		}
	}
	f(&Reload{env})
	On(bus, f)
	bus.configured = append(bus.configured, name)
}

// Bus carries events to detectors, and their findings and rows out. It belongs to one goroutine.
type Bus struct {
	Rows func(capture.Record) // takes what detectors emit; nil: nobody
	// Names and Heads hold what detectors remember of dns.Transaction.NameID and http.Request.FieldsID.
	Names, Heads decoders.Memos
	// Said, if set, gives the finding that counts a repetition of it; Suppressor.Said.
	Said func(*Finding) *Finding
	// Again, if set, takes what Revise says; Suppressor.Revise.
	Again func(f *Finding, was Severity)
	// Drop, if set, is asked of every finding before anybody hears of it, and reports whether nobody shall.
	Drop func(*Finding) bool
	// Add, if set, may add evidence to a finding whose texts were written.
	Add func(*Finding)
	// Reading is that of the event at hand, in a flow whose segments can be read in two ways: 1 or 2, see capture.Aside.
	Reading uint8
	// LooksCut is how many commands detectors did not read to their end, for the work that they asked for.
	LooksCut uint64
	// LookWork is how much work looks at commands were, in units of capture.Worker, and Written how many findings had their
	// texts made.
	LookWork, Written uint64
	// Defer, if set, takes what detectors report instead of the bus: it is said elsewhere, in its turn, by Draft of another bus.
	Defer func(Draft)
	// Before, if set, is called before each call of a subscriber with the number of its detector (see Enter), and with After
	// behind the last; clock says that the call is for the time, and not for an event. It is not called for what is published
	// during such a call.
	Before func(number int, clock bool)

	subs   map[reflect.Type][]subscriber
	find   func(*Finding)
	gather *gatherer
	ticks  []ticker
	ends   []ender
	now    capture.At
	number int // of who subscribes now
	depth  int

	configured []string
}

// Configured lists the sections of settings that a Reload brings into effect.
func (b *Bus) Configured() []string { return b.configured }

// After is a number beyond those of all detectors.
const After = 1 << 30

// subscriber is somebody who asked for events of a type, ticker for the time, and ender for the end.
type (
	subscriber struct {
		number int
		f      func(any)
	}
	ticker struct {
		number int
		every  time.Duration
		f      func(capture.At)
	}
	ender struct {
		number int
		f      func(capture.At)
	}
)

// NewBus makes a bus that hands findings to find.
func NewBus(find func(*Finding)) *Bus {
	return &Bus{subs: map[reflect.Type][]subscriber{}, find: find}
}

// Enter numbers the detector that subscribes from here on. Numbers do not fall.
func (b *Bus) Enter(number int) { b.number = number }

// On subscribes f to events of type T.
func On[T any](b *Bus, f func(T)) {
	t := reflect.TypeFor[T]()
	b.subs[t] = append(b.subs[t], subscriber{b.number, func(ev any) { f(ev.(T)) }})
}

// OnTick calls f whenever the time of the events has passed a multiple of every, before the event that passed it is
// handed out. The time that f gets is that multiple, the last one if several were passed at once. It is made of the
// events alone, so it falls between the same two events in every run.
func (b *Bus) OnTick(every time.Duration, f func(capture.At)) {
	b.ticks = append(b.ticks, ticker{b.number, every, f})
}

// OnEnd calls f when the run is over and every event was handed out. What it reports and emits is still taken.
func (b *Bus) OnEnd(f func(capture.At)) { b.ends = append(b.ends, ender{b.number, f}) }

// Emit hands out a row that a detector keeps a log of.
func (b *Bus) Emit(r capture.Record) {
	if b.Rows != nil {
		b.Rows(r)
	}
}

// End says that the run is over. at is its last packet.
func (b *Bus) End(at capture.At) {
	b.depth++
	for i := range b.ends {
		b.turn(b.ends[i].number, false)
		b.ends[i].f(at)
	}
	b.turn(After, false)
	b.depth--
}

// turn says whose turn it is.
func (b *Bus) turn(number int, clock bool) {
	if b.depth == 1 && b.Before != nil {
		b.Before(number, clock)
	}
}

// tick moves the clock to at. It never runs backwards: many events tell of a beginning that is long past.
func (b *Bus) tick(at capture.At) {
	if at.Time <= b.now.Time {
		return
	}
	before := b.now.Time
	b.now = at
	if before == 0 {
		return // the first event: nothing has passed
	}
	for i := range b.ticks {
		t := &b.ticks[i]
		every := capture.Time(t.every)
		if last := at.Time - at.Time%every; last > before {
			b.turn(t.number, true)
			t.f(capture.At{Time: last, Packet: at.Packet})
		}
	}
	b.turn(After, true)
}

// Publish hands ev to everyone who asked for its type, in the order they asked.
func (b *Bus) Publish(ev any) {
	b.depth++
	if e, ok := ev.(interface{ When() capture.At }); ok && len(b.ticks) > 0 {
		b.tick(e.When())
	}
	subs := b.subs[reflect.TypeOf(ev)]
	for i := range subs {
		b.turn(subs[i].number, false)
		subs[i].f(ev)
	}
	b.turn(After, false)
	b.depth--
}

// Topics lists the types that anyone asked for.
func (b *Bus) Topics() []reflect.Type { return slices.Collect(maps.Keys(b.subs)) }

// Wants says whether anyone asked for events of ev's type.
func (b *Bus) Wants(ev any) bool { return len(b.subs[reflect.TypeOf(ev)]) > 0 }

// proxied tells of a finding's flow whom its sender named, and of whoever that named in turn.
func proxied(f *capture.Flow) (list []Evidence) {
	for ; f != nil && f.Via != nil; f = f.Via.Wire {
		e := Evidence{Field: "proxy", Value: fmt.Sprintf("%s speaks for %s (PROXY protocol)", f.Via.Wire.Orig, f.Via.Client)}
		if !f.Via.Believed {
			e = Evidence{Field: "claim", Value: fmt.Sprintf("%s says that it speaks for %s (PROXY protocol, not believed)", f.Via.Wire.Orig, f.Via.Client)}
		}
		e.Packet = f.Via.Packet
		list = append(list, e)
	}
	return list
}

// Draft is a finding of which somebody may ask for very many. What it is and whom it concerns is known (rule, severity,
// outcome, Src, Dst, Flow, Key, Count), its texts are made only where they are told.
type Draft struct {
	*Finding
	Write func(*Finding)  // makes message, details and evidence; nil: they are there
	Tells func() Evidence // makes what tells it from others of its kind; nil: that is found in what Write makes
}

// tells is what d has in a line that it shares with others.
func (d *Draft) tells() Evidence {
	if d.Tells != nil {
		return d.Tells()
	}
	if d.Write != nil {
		d.Write(d.Finding)
	}
	return telling(d.Finding)
}

// Report says f: it is published to whoever subscribed to *Finding, and handed out.
func (b *Bus) Report(f *Finding) { b.Draft(Draft{Finding: f}) }

// Draft says d as Report does, and has it written only if it stands alone or at the head of a bundle.
func (b *Bus) Draft(d Draft) {
	if b.Defer != nil {
		b.Defer(d)
		return
	}
	f := d.Finding
	if b.Drop != nil && b.Drop(f) {
		return
	}
	if b.gather != nil && b.gather.take(d, b.write) {
		return
	}
	b.write(d)
	b.tell(f)
}

// write makes the texts of d, with what the event at hand says of all that is found in it.
func (b *Bus) write(d Draft) {
	f := d.Finding
	b.Written++
	if d.Write != nil {
		d.Write(f)
	}
	f.Evidence = append(f.Evidence, proxied(f.Flow)...)
	if b.Reading > 0 {
		f.Evidence = append(f.Evidence, Evidence{Field: "reading", Packet: f.Packet, Value: [...]string{
			"", "of the first copy of bytes that were sent twice and differ: the receiver may have taken the other",
			"of the last copy of bytes that were sent twice and differ: the receiver may have taken the first",
			"of other copies than the first and the last of bytes that were sent more than twice and differ",
		}[b.Reading]})
	}
	if b.Add != nil {
		b.Add(f)
	}
}

func (b *Bus) tell(f *Finding) {
	if b.Said != nil {
		f.of = b.Said(f)
	}
	b.Publish(f)
	b.find(f)
}

// Gather has findings said in bundles where they are many. fold is Suppressor.Fold.
func (b *Bus) Gather(fold func(*Finding) bool) {
	b.gather = newGatherer(fold, b.tell)
	b.OnTick(bundleWait, b.gather.flushAll)
	b.OnEnd(b.gather.flushAll)
}

// Bundled is how many findings were said in a bundle.
func (b *Bus) Bundled() uint64 {
	if b.gather == nil {
		return 0
	}
	return b.gather.bundled
}
