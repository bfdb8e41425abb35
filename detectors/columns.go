package detectors

import "github.com/raytap/raytap/capture"

// Severities lists the names of severities, ascending.
func Severities() []string { return severityNames[:] }

// Logs tells of the log of incidents.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "incidents",
		When: "When an intrusion, which several findings tell of, has been silent for a while, and at the end of a run.",
		Row:  &Incident{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "When the row was written."},
			{Name: "incident_id", Doc: "Id of the incident, the same in each run over the same traffic."},
			{Name: "first", Doc: "Time of the first step."},
			{Name: "last", Doc: "Time of the last step."},
			{Name: "duration", Doc: "From the first step to the last."},
			{Name: "chain", Doc: "The steps follow from each other: `campaign/chain` said so."},
			{Name: "severity", Doc: "The worst of its findings, or what the chain is rated.", Values: Severities()},
			{Name: "score", Doc: "How bad it is, 0 to 100."},
			{Name: "score_parts", Doc: "What the score is made of: `job accepted from outside 35`."},
			{Name: "attackers", Doc: "Addresses of who did it."},
			{Name: "victims", Doc: "Addresses of who suffered it."},
			{Name: "others", Doc: "Who else took part: role, name and address, `payload host evil.example 198.51.100.7`."},
			{Name: "steps", Doc: "What happened, in order of time: time, who, what, how often."},
			{Name: "more_steps", Unit: "steps", Doc: "Steps beyond those, which were counted only."},
			{Name: "tactics", Doc: "Tactics of MITRE ATLAS, id and name, in the order of an attack."},
			{Name: "techniques", Doc: "Ids of techniques, of ATLAS and of ATT&CK."},
			{Name: "findings", Unit: "findings", Doc: "Findings that it is made of."},
			{Name: "summary", Doc: "The story as a paragraph."},
			{Name: "merged", Doc: "Ids of incidents that turned out to be this one."},
			{Name: "uids", Doc: "Connections of the steps: `uid` of the other logs."},
			{Name: "packets", Doc: "For each of `steps`, the number of the packet that showed it, from 1."},
		},
	}}
}
