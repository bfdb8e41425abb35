package detectors

import (
	"net/netip"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
)

// maxEntries is how many machines are remembered that somebody got into.
const maxEntries = 4096

// Entry is how somebody from outside got to run something on a home machine.
type Entry struct {
	At   capture.At
	By   netip.Addr
	Into netip.Addr
	Rule string // that said so
}

// How tells of it in the words of a sentence about the machine: "203.0.113.66 had sent it a job".
func (e *Entry) How() string {
	what := "got in"
	switch rule, claim, _ := strings.Cut(e.Rule, "/"); {
	case rule == "jobsubmit":
		what = "sent it a job"
	case rule == "rayclient":
		what = "sent it code over Ray Client"
	case rule == "gcs":
		what = "written to its control store"
	case rule == "redis":
		what = "taken its Redis"
	case rule == "spark":
		what = "submitted a program to its Spark"
	case rule == "rayapi" && claim == "serve_deploy":
		what = "deployed an application on it"
	case rule == "rayapi":
		what = "used a hole of its Ray"
	}
	return e.By.String() + " had " + what
}

// Entries remembers, from what all detectors find, by which machine somebody got into which home machine last.
type Entries struct {
	env   *Env
	table Table[netip.Addr, Entry]
}

// letIn are the rules by which code of others runs, with the severity from which on that is so.
var letIn = map[string]Severity{
	"jobsubmit/external": Medium, "jobsubmit/dropper": High, "jobsubmit/browser": High, "rayapi/serve_deploy": Medium, "rayapi/exploit": High,
	"rayclient/external": Critical, "rayclient/dropper": High, "gcs/external": Critical, "raynode/foreign": High, "rayagent/direct": High,
	"redis/takeover": High, "spark/submission": High,
}

// NewEntries makes Entries that listen on bus.
func NewEntries(env *Env, bus *Bus) *Entries {
	x := &Entries{env: env, table: Table[netip.Addr, Entry]{Limit: maxEntries}}
	On(bus, x.finding)
	return x
}

func (x *Entries) finding(f *Finding) {
	least, ok := letIn[f.Rule]
	if !ok || f.Severity < least || f.Outcome == Attempted || x.env.Inside(f.Src) || !x.env.Home.Contains(f.Dst) {
		return
	}
	x.table.Store(f.Dst, Entry{f.At, f.Src, f.Dst, f.Rule})
}

// Last gives the last entry into a machine within a time before at; nil if there was none.
func (x *Entries) Last(into netip.Addr, at capture.Time, within time.Duration) *Entry {
	e := x.table.Peek(into)
	if e == nil || at < e.At.Time || at.Sub(e.At.Time) > within {
		return nil
	}
	return e
}
