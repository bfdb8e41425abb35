package detectors

import "github.com/raytap/raytap/capture"

// Severities lists the names of severities, ascending.
func Severities() []string { return severityNames[:] }

// Logs tells of the log of incidents.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "incidents",
		When: "Of an intrusion that several findings tell of: when it begins, when it has grown (after a minute, two, four and so on up to an hour; at once if it is worse), and when it is over. Each row tells all of it: the last of an `incident_id` stands.",
		Row:  &Incident{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "When the row was written, by the clock of the traffic."},
			{Name: "incident_id", Doc: "Id of the incident, the same in each run over the same traffic."},
			{Name: "first", Doc: "Time of the first step."},
			{Name: "last", Doc: "Time of the last step."},
			{Name: "duration", Doc: "From the first step to the last."},
			{Name: "chain", Doc: "The steps follow from each other: `campaign/chain` said so."},
			{Name: "severity", Doc: "The worst of its findings, or what the chain is rated.", Values: Severities()},
			{Name: "score", Doc: "How bad it is, 0 to 100."},
			{Name: "score_parts", Doc: "What the score is made of: `job accepted from outside 35`.", Fields: []capture.Field{
				{Name: "what", Type: "string", Doc: "What is rated."},
				{Name: "points", Type: "count", Unit: "points", Doc: "What it adds to `score`."},
			}},
			{Name: "attackers", Doc: "Addresses of who did it."},
			{Name: "victims", Doc: "Addresses of who suffered it."},
			{Name: "others", Doc: "Who else took part: role, name and address, `payload host evil.example 198.51.100.7`.", Fields: []capture.Field{
				{Name: "role", Type: "string", Doc: "Its part: `payload host`, `pool`."},
				{Name: "name", Type: "string", Optional: true, Doc: "Name by which it was looked up or called."},
				{Name: "addr", Type: "addr", Optional: true, Doc: "Its address, if it is known."},
			}},
			{Name: "steps", Doc: "What happened, in order of time: `2026-11-29T22:58:03.120000Z 203.0.113.66 ran a job on 10.20.0.10:8265, 3 times`.", Fields: []capture.Field{
				{Name: "ts", Type: "time", Doc: "When, the first time."},
				{Name: "actor", Type: "addr", Optional: true, Doc: "Who."},
				{Name: "what", Type: "string", Doc: "Did what, with credentials masked."},
				{Name: "n", Type: "count", Unit: "times", Doc: "How often."},
				{Name: "uid", Type: "string", Optional: true, Doc: "Connection in which it was: `uid` of the other logs."},
				{Name: "finding_id", Type: "string", Optional: true, Doc: "Finding that says so; of several, the one that says most."},
				{Name: "packet", Type: "count", Optional: true, Doc: "Number of the packet that shows it, from 1."},
			}},
			{Name: "more_steps", Unit: "steps", Doc: "Steps beyond those, which were counted only."},
			{Name: "tactics", Doc: "Tactics of MITRE ATLAS, in the order of an attack: `AML.TA0011 Impact`.", Fields: capture.Techniques()},
			{Name: "techniques", Doc: "Techniques of MITRE ATLAS and ATT&CK, as in notice.log.", Fields: capture.Techniques()},
			{Name: "findings", Unit: "findings", Doc: "Findings that it is made of, each `finding_id` once."},
			{Name: "summary", Doc: "The story as a paragraph."},
			{Name: "merged", Doc: "Ids of incidents that turned out to be this one."},
			{Name: "uids", Doc: "Connections of the steps: `uid` of the other logs."},
			{Name: "packets", Doc: "By place in `steps`: the number of the packet that shows it, from 1; 0 without one."},
			{Name: "finding_ids", Doc: "`finding_id` in notice.log of the first 64 of them."},
			{Name: "revision", Doc: "Which row of this `incident_id` it is, from 1."},
			{Name: "state", Doc: "`open` there may be more; `closed` it is over; `merged` it has turned out to be a part of another.", Values: []string{Open, Closed, Merged}},
			{Name: "merged_into", Doc: "If it is `merged`: the `incident_id` of that other."},
			{Name: "step_uids", Doc: "By place in `steps`: the connection of each, empty without one."},
			{Name: "step_findings", Doc: "By place in `steps`: the `finding_id` of each, empty without one."},
			{Name: "peer_descr", Doc: "Name of the sensor that saw it (`sensor.name`)."},
		},
	}}
}
