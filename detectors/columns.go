package detectors

import "github.com/raytap/raytap/capture"

// Severities lists the names of severities, ascending.
func Severities() []string { return severityNames[:] }

// Logs tells of the log of incidents.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "incidents",
		When: "For an intrusion made of several findings: when it begins, when it grows (after one minute, two, four and so on up to an hour; at once if it gets worse), and when it is over. Each row describes the whole incident; the last row of an `incident_id` is current.",
		Row:  &Incident{},
		Columns: []capture.Column{
			{Name: "ts", Doc: "Time the row was written, by the traffic's clock."},
			{Name: "incident_id", Doc: "ID of the incident, the same in every run over the same traffic."},
			{Name: "first", Doc: "Time of the first step."},
			{Name: "last", Doc: "Time of the last step."},
			{Name: "duration", Doc: "Time from the first to the last step."},
			{Name: "chain", Doc: "The steps follow from each other, as reported by `campaign/chain`."},
			{Name: "severity", Doc: "The highest severity of its findings, or that of the chain.", Values: Severities()},
			{Name: "score", Doc: "Severity score, 0 to 100."},
			{Name: "score_parts", Doc: "Parts of the score: `job accepted from outside 35`.", Fields: []capture.Field{
				{Name: "what", Type: "string", Doc: "Reason for the points."},
				{Name: "points", Type: "count", Unit: "points", Doc: "Points it adds to `score`."},
			}},
			{Name: "attackers", Doc: "Addresses of the attackers."},
			{Name: "victims", Doc: "Addresses of the victims."},
			{Name: "others", Doc: "Other participants: role, name and address, `payload host evil.example 198.51.100.7`.", Fields: []capture.Field{
				{Name: "role", Type: "string", Doc: "Its role: `payload host`, `pool`."},
				{Name: "name", Type: "string", Optional: true, Doc: "Name by which it was looked up or contacted."},
				{Name: "addr", Type: "addr", Optional: true, Doc: "Its address, if it is known."},
			}},
			{Name: "steps", Doc: "What happened, in order of time: `2026-11-29T22:58:03.120000Z 203.0.113.66 ran a job on 10.20.0.10:8265, 3 times`.", Fields: []capture.Field{
				{Name: "ts", Type: "time", Doc: "Time of the first occurrence."},
				{Name: "actor", Type: "addr", Optional: true, Doc: "Address of the actor."},
				{Name: "what", Type: "string", Doc: "What it did, with credentials masked."},
				{Name: "n", Type: "count", Unit: "times", Doc: "Number of occurrences."},
				{Name: "uid", Type: "string", Optional: true, Doc: "Connection: `uid` in the other logs."},
				{Name: "finding_id", Type: "string", Optional: true, Doc: "Finding that reports it; if several do, the most significant."},
				{Name: "packet", Type: "count", Optional: true, Doc: "Number of the packet that shows it, from 1."},
			}},
			{Name: "more_steps", Unit: "steps", Doc: "Further steps, which were only counted."},
			{Name: "tactics", Doc: "Tactics of MITRE ATLAS, in the order of an attack: `AML.TA0011 Impact`.", Fields: capture.Techniques()},
			{Name: "techniques", Doc: "Techniques of MITRE ATLAS and ATT&CK, as in notice.log.", Fields: capture.Techniques()},
			{Name: "findings", Unit: "findings", Doc: "Findings in the incident, each `finding_id` once."},
			{Name: "summary", Doc: "The incident as a paragraph of text."},
			{Name: "merged", Doc: "IDs of incidents merged into this one."},
			{Name: "uids", Doc: "Connections of the steps: `uid` in the other logs."},
			{Name: "packets", Doc: "The number of the packet that shows each entry of `steps`, in the same order, from 1; 0 if there is none."},
			{Name: "finding_ids", Doc: "`finding_id` in notice.log of the first 64 findings."},
			{Name: "revision", Doc: "Number of the row for this `incident_id`, from 1."},
			{Name: "state", Doc: "`open` more may follow; `closed` it is over; `merged` it became part of another.", Values: []string{Open, Closed, Merged}},
			{Name: "merged_into", Doc: "If `merged`: the `incident_id` of the other incident."},
			{Name: "step_uids", Doc: "The connection of each entry of `steps`, in the same order; empty if it has none."},
			{Name: "step_findings", Doc: "The `finding_id` of each entry of `steps`, in the same order; empty if it has none."},
			{Name: "peer_descr", Doc: "Name of the sensor that saw it (`sensor.name`)."},
		},
	}}
}
