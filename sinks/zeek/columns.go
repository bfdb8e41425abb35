package zeek

import (
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
)

// NoticeLog tells of notice.log.
func NoticeLog() capture.LogSpec {
	n := &notice{}
	n.set(&detectors.Finding{}, nil)
	return capture.LogSpec{
		Name: "notice",
		When: "When a detector says something. What it says again within the hour is counted, and told in further rows with the same `finding_id`, `update` and a higher `n` and `revision`: when it was seen twice as often, a minute later at the earliest, and at the end of the hour or of the run. What is worse is a new finding; of an incident, an update.",
		Row:  n,
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the packet that made it certain."}}, capture.FlowColumns(), []capture.Column{
			{Name: "fuid", Doc: "Never set."},
			{Name: "file_mime_type", Doc: "Never set."},
			{Name: "file_desc", Doc: "Never set."},
			{Name: "proto", Doc: "Transport. Unset, like `uid` and `id`, of a finding about no single connection.", Values: []string{"tcp", "udp", "icmp", "unknown_transport"}},
			{Name: "note", Doc: "The rule as a notice type of Zeek: `Raytap::Job_Submit_External`."},
			{Name: "msg", Doc: "What happened, in a sentence, with credentials masked."},
			{Name: "sub", Doc: "A line of detail."},
			{Name: "src", Doc: "Who did it."},
			{Name: "dst", Doc: "To whom."},
			{Name: "p", Doc: "Port at `dst`."},
			{Name: "n", Unit: "times", Doc: "How often it was seen by the time of the row, 1 and more."},
			{Name: "peer_descr", Doc: "Name of the sensor (`sensor.name`)."},
			{Name: "actions", Doc: "Always `Notice::ACTION_LOG`."},
			{Name: "email_dest", Doc: "Always empty."},
			{Name: "suppress_for", Doc: "For how long the same is counted and is no new finding."},
			{Name: "rule", Doc: "Name of the rule: [rules.md](rules.md) has them."},
			{Name: "severity", Doc: "How bad it is.", Values: detectors.Severities()},
			{Name: "confidence", Unit: "percent", Doc: "How certain it is, 0 to 100."},
			{Name: "outcome", Doc: "`succeeded` the answer shows that it worked; `attempted` refused, failed or blocked; `unknown` no answer was seen; `observed` a fact of the traffic, with nothing to succeed.",
				Values: []string{string(detectors.Succeeded), string(detectors.Attempted), string(detectors.Unknown), string(detectors.Observed)}},
			{Name: "atlas", Doc: "Techniques of MITRE ATLAS: `AML.T0049 Exploit Public-Facing Application`.", Fields: capture.Techniques()},
			{Name: "attack", Doc: "Techniques of MITRE ATT&CK: `T1190 Exploit Public-Facing Application`.", Fields: capture.Techniques()},
			{Name: "evidence", Doc: "What it rests on: `field=value @147`, with the number of the packet behind the at sign if one shows it.", Fields: []capture.Field{
				{Name: "field", Type: "string", Doc: "What it is: `entrypoint`, `status`."},
				{Name: "value", Type: "string", Doc: "What was seen, with credentials masked."},
				{Name: "packet", Type: "count", Optional: true, Doc: "Number of the packet that shows it, from 1."},
			}},
			{Name: "community_id", Doc: "Community ID of the connection."},
			{Name: "finding_id", Doc: "Id of the finding, the same in each run over the same traffic and in each of its rows."},
			{Name: "incident_id", Doc: "Of `campaign/chain`: the incident that it tells of, `incident_id` of incidents.log."},
			{Name: "revision", Doc: "Which row of this `finding_id` it is, from 1. The highest stands."},
			{Name: "update", Doc: "An earlier row has this `finding_id`: no new finding, and no reason for an alarm."},
			{Name: "evidence_file", Doc: "File with the packets of the finding (`evidence` in the configuration, `replay --evidence`)."},
		}),
	}
}
