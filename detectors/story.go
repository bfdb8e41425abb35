package detectors

import "reflect"

// Story says what a rule's findings mean in an incident, for detectors/campaign, which derives its table from the rules that
// are registered (Env.Rules). A rule that leaves it out counts for little there: its findings are listed in an incident that
// others make, as "was found in connection with", and prove nothing.
type Story struct {
	Role  Role
	Group Group
	// Least is the severity from which on a finding is a step at all.
	Least Severity
	// Runs: a success of the rule means that code ran. Without it only a critical success does.
	Runs bool
	// Sure: it has no place on a machine that was not got into. Others happen on honest ones, too.
	Sure bool
	// Grave: it is what an attack is for, so that it counts after a job from inside as well.
	Grave bool
	// Peer: whoever got in is a peer then, which the machine calls by nature.
	Peer bool
	// Page: the source is a browser at home, and whoever got in stands behind the page that it shows.
	Page bool
	// Fetches: it says of a job, which another rule tells of in plainer words, that it fetches or hides code.
	Fetches bool
	// Named: the first piece of evidence is what the other side was called.
	Named bool
	// Does is what the one who acts did, as the part of a sentence behind his name; % is the other side and stands in it
	// once: "scanned %". An Aside needs none.
	Does string
	// Other is what a host outside is to the incident then: "payload host". Empty: nothing new.
	Other string
	// Techniques are the ids that a step shows. nil: the rule's own, ATLAS before ATT&CK. A step is told for what was done in
	// it, so that a list is often narrower than that of the rule, which says what the finding may be a part of.
	Techniques []string
}

// Told reports whether the rule says anything of its story.
func (s Story) Told() bool { return !reflect.ValueOf(s).IsZero() }

// Role says what a finding is in a story.
type Role uint8

// Roles.
const (
	RoleLater  Role = iota // what a machine does that somebody has got into; the machine is the one at home
	RoleEntry              // somebody gets in or tries to; the machine is the destination
	RoleBefore             // somebody looks around first
	RoleAside              // belongs to the incident, but is no step of its own
	RoleNone               // no part of any incident, such as what the sensor says of itself
)

// Group is what counts once towards an incident's score, and what counts as different from each other. The parts of a score
// are listed in this order.
type Group uint8

// Groups.
const (
	GroupOther   Group = iota // none of these: proves nothing and adds nothing
	GroupLink                 // a host was contacted that the job names
	GroupFetch                // a payload came
	GroupCall                 // a call-back
	GroupShell                // a shell
	GroupMining               // mining
	GroupTheft                // credentials or data left
	GroupSpread               // attacks on others
	GroupScan                 // looks for others
	GroupBeacon               // calls home regularly
	GroupIntel                // a host of bad repute
	GroupHint                 // weak alone
	GroupLook                 // reconnaissance
	GroupEntry                // entry itself
	GroupEvasion              // evasion
	Groups       = iota
)
