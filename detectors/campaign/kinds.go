package campaign

import "strings"

// role says what a finding is in a story.
type role uint8

const (
	later  role = iota // what a machine does that somebody has got into; the machine is the one at home
	entry              // somebody gets in or tries to; the machine is the destination
	before             // somebody looks around first
	aside              // belongs to the incident, but is no step of its own
)

// group is what counts once towards the score, and what counts as different from each other.
type group uint8

const (
	gLink   group = iota // a host was contacted that the job names
	gFetch               // a payload came
	gCall                // a call-back
	gShell               // a shell
	gMining              // mining
	gTheft               // credentials or data left
	gSpread              // attacks on others
	gScan                // looks for others
	gBeacon              // calls home regularly
	gIntel               // a host of bad repute
	gHint                // weak alone
	gLook                // reconnaissance
	gEntry               // entry itself
	gHide                // evasion
	gOther               // a rule that the table does not know
	groups  = iota
)

// parts of the score: what a group adds, once, and its name. An entry adds by its outcome instead. What proves that the machine
// was taken (a shell, mining, spread, theft) weighs more than what prepares it.
var parts = [groups]struct {
	points int
	name   string
}{
	gLink:   {25, "host named in the job contacted"},
	gFetch:  {10, "payload fetched"},
	gCall:   {15, "call-back"},
	gShell:  {20, "shell"},
	gMining: {20, "mining"},
	gTheft:  {20, "data or credentials leave"},
	gSpread: {20, "attacks others"},
	gScan:   {10, "scans"},
	gBeacon: {5, "calls home regularly"},
	gIntel:  {10, "host of bad repute"},
	gHint:   {3, "weak signs"},
	gLook:   {5, "reconnaissance before"},
	gHide:   {5, "evasion"},
}

// kind is what a rule means in a story.
type kind struct {
	role  role
	group group
	// runs: a success of the rule means that code ran. Without it only a critical success does.
	runs bool
	// sure: it has no place on a machine that was not got into. Others happen on honest ones, too.
	sure bool
	// grave: it is what an attack is for, so that it counts after a job from inside as well.
	grave bool
	// peer: whoever got in is a peer then, which the machine calls by nature.
	peer  bool
	does  string // what who did; % is the other side
	role2 string // what the other side is then
	ids   string // techniques
}

// kinds has what each rule means, by its whole name or by its detector's for all that are not named. It works by name,
// so that a detector needs to know nothing of this one.
var kinds = map[string]kind{
	"jobsubmit/external":  {role: entry, group: gEntry, runs: true, does: "ran a job on %", ids: "AML.T0049 AML.T0050 AML.T0132 T1190 T1059.004"},
	"jobsubmit/dropper":   {role: entry, group: gEntry, runs: true, does: "ran a job that fetches or hides code on %", ids: "AML.T0049 AML.T0050 T1190 T1059.004"},
	"jobsubmit/browser":   {role: entry, group: gEntry, runs: true, does: "was made by a foreign page to run a job on %", ids: "AML.T0049 AML.T0050 T1189 T1190"},
	"jobsubmit/evasive":   {role: aside, group: gHide, ids: "T1027"},
	"jobsubmit/outbound":  {group: gSpread, sure: true, grave: true, does: "ran a job on %", role2: "further target", ids: "AML.T0122 T1210 T1570"},
	"rayapi/serve_deploy": {role: entry, group: gEntry, runs: true, does: "deployed an application on %", ids: "AML.T0049 AML.T0050 T1190 T1059.006"},
	"rayapi/package":      {role: entry, group: gEntry, does: "uploaded a package to %", ids: "AML.T0049 T1190"},
	"rayapi/control":      {role: entry, group: gEntry, does: "stopped or deleted something on %", ids: "AML.T0049 T1190 T1489"},
	"rayapi/exploit":      {role: entry, group: gEntry, does: "used a hole of %", ids: "AML.T0049 T1190"},
	"rayapi/recon":        {role: before, group: gLook, does: "read the Ray API of %", ids: "AML.T0006.002 T1595.002"},
	"rayapi/exposed":      {role: aside, group: gEntry, ids: "AML.T0132"},
	"rayclient/external":  {role: entry, group: gEntry, does: "used Ray Client of %", ids: "AML.T0049 AML.T0132 T1190"},
	"rayclient/dropper":   {role: entry, group: gEntry, runs: true, does: "ran a command through Ray Client on %", ids: "AML.T0049 AML.T0050 T1190 T1059.006"},
	"gcs/external":        {role: entry, group: gEntry, does: "used the control store of %", ids: "AML.T0049 T1190"},
	"gcs/stranger":        {role: before, group: gLook, does: "used the control store of %", ids: "AML.T0075 T1613"},
	"raynode/foreign":     {role: entry, group: gEntry, peer: true, does: "joined a node to %", ids: "AML.T0049 T1190"},
	"rayagent/direct":     {role: entry, group: gEntry, does: "called the agent of %", ids: "AML.T0049 T1190"},
	"raytoken/guessing":   {role: before, group: gLook, does: "guessed tokens of %", ids: "T1110"},
	"ray/worm":            {group: gSpread, sure: true, grave: true, does: "turned client to many Rays, % among them", role2: "further target", ids: "AML.T0122 T1210 T1570"},
	"scan/hosts":          {group: gScan, sure: true, does: "scanned for hosts, % among them", role2: "further target", ids: "T1018 T1046"},
	"scan":                {group: gScan, sure: true, does: "scanned %", role2: "further target", ids: "T1046"},
	"oast":                {group: gCall, sure: true, grave: true, does: "looked up or called %, which tells an attacker of callbacks", ids: "AML.T0072 T1071"},
	"mining/stratum":      {group: gMining, sure: true, grave: true, does: "mined at %", role2: "pool", ids: "AML.T0048.000 T1496.001"},
	"mining/pool":         {group: gMining, sure: true, grave: true, does: "looked up or called the mining pool %", role2: "pool", ids: "AML.T0048.000 T1496.001"},
	"mining":              {group: gMining, does: "mined at %", role2: "pool", ids: "AML.T0048.000 T1496.001"},
	"shell":               {group: gShell, sure: true, grave: true, does: "had a command session with %", role2: "command host", ids: "AML.T0072 T1571"},
	"payload/executable":  {group: gFetch, sure: true, does: "fetched a program from %", role2: "payload host", ids: "T1105"},
	"payload/script":      {group: gFetch, sure: true, does: "fetched a script from %", role2: "payload host", ids: "T1105"},
	"payload/archive":     {group: gFetch, sure: true, does: "fetched code in an archive from %", role2: "payload host", ids: "T1105"},
	"payload":             {group: gFetch, sure: true, does: "fetched code from %", role2: "payload host", ids: "T1105"},
	"secrets":             {group: gTheft, sure: true, grave: true, does: "sent credentials to %", role2: "exfiltration host", ids: "AML.T0055 AML.T0025 T1552.001 T1041"},
	"egress/dns_tunnel":   {group: gTheft, sure: true, grave: true, does: "sent data in DNS queries through %", role2: "exfiltration host", ids: "AML.T0025 T1048.003"},
	"egress/model":        {group: gTheft, does: "sent a model or data to %", role2: "exfiltration host", ids: "AML.T0025 AML.T0035 T1041"},
	"egress":              {group: gTheft, does: "sent much data to %", role2: "exfiltration host", ids: "AML.T0025 T1041"},
	"spark/submission":    {role: entry, group: gEntry, runs: true, does: "submitted a program to the Spark of %", ids: "AML.T0049 T1190"},
	"redis/takeover":      {role: entry, group: gEntry, runs: true, does: "took over the Redis of %", ids: "AML.T0049 T1190 T1210"},
	"tunnel":              {group: gBeacon, does: "opened a tunnel to %", role2: "command host", ids: "AML.T0072 T1572"},
	"shell/encrypted":     {group: gHint, does: "answers over TLS to what is typed at %", role2: "command host", ids: "AML.T0072 T1573"},
	"flood":               {group: gSpread, sure: true, grave: true, does: "floods %", role2: "further target", ids: "T1498 T1499"},
	"probe/logins":        {group: gScan, does: "guesses passwords of %", role2: "further target", ids: "T1110"},
	"probe/rebind":        {role: before, group: gLook, does: "had a name that moved to %", ids: "AML.T0049 T1189"},
	"probe":               {role: before, group: gLook, does: "tried things at %", ids: "AML.T0006 T1595.002"},
	"beacon":              {group: gBeacon, does: "called % at regular intervals", role2: "command host", ids: "AML.T0072 T1071"},
	"intel":               {group: gIntel, does: "was in touch with %, which is on a list", role2: "listed host", ids: "T1071"},
}

// stranger is a rule that nobody has told the table of.
var stranger = kind{group: gOther, does: "was found in connection with %"}

// kindOf looks a rule up.
func kindOf(rule string) kind {
	if k, ok := kinds[rule]; ok {
		return k
	}
	det, _, _ := strings.Cut(rule, "/")
	if k, ok := kinds[det]; ok {
		return k
	}
	return stranger
}
