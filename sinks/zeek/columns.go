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
		When: "When a detector reports a finding. Repetitions within the hour are counted and reported in further rows with the same `finding_id`, `update` set, and a higher `n` and `revision`: whenever the count has doubled, at least a minute apart, and at the end of the hour or of the run. A worse repetition is a new finding; for an incident it is an update.",
		Row:  n,
		Columns: slices.Concat([]capture.Column{{Name: "ts", Doc: "Time of the packet that made it certain."}}, capture.FlowColumns(), []capture.Column{
			{Name: "fuid", Doc: "Never set."},
			{Name: "file_mime_type", Doc: "Never set."},
			{Name: "file_desc", Doc: "Never set."},
			{Name: "proto", Doc: "Transport. Unset, like `uid` and `id`, if the finding is not about a single connection.", Values: []string{"tcp", "udp", "icmp", "unknown_transport"}},
			{Name: "note", Doc: "The rule as a notice type of Zeek: `Raytap::Job_Submit_External`."},
			{Name: "msg", Doc: "What happened, in a sentence, with credentials masked."},
			{Name: "sub", Doc: "One line of detail."},
			{Name: "src", Doc: "Address of the actor."},
			{Name: "dst", Doc: "Address of the target."},
			{Name: "p", Doc: "Port at `dst`."},
			{Name: "n", Unit: "times", Doc: "Occurrences up to the time of the row, at least 1."},
			{Name: "peer_descr", Doc: "Name of the sensor (`sensor.name`)."},
			{Name: "actions", Doc: "Always `Notice::ACTION_LOG`."},
			{Name: "email_dest", Doc: "Always empty."},
			{Name: "suppress_for", Doc: "Period during which repetitions are counted instead of reported as a new finding."},
			{Name: "rule", Doc: "Name of the rule: [rules.md](rules.md) has them."},
			{Name: "severity", Doc: "Severity.", Values: detectors.Severities()},
			{Name: "confidence", Unit: "percent", Doc: "Confidence, 0 to 100."},
			{Name: "outcome", Doc: "`succeeded` the response shows that it worked; `attempted` refused, failed or blocked; `unknown` no response was seen; `observed` a fact of the traffic that cannot fail.",
				Values: []string{string(detectors.Succeeded), string(detectors.Attempted), string(detectors.Unknown), string(detectors.Observed)}},
			{Name: "atlas", Doc: "Techniques of MITRE ATLAS: `AML.T0049 Exploit Public-Facing Application`.", Fields: capture.Techniques()},
			{Name: "attack", Doc: "Techniques of MITRE ATT&CK: `T1190 Exploit Public-Facing Application`.", Fields: capture.Techniques()},
			{Name: "evidence", Doc: "Evidence: `field=value @147`, with the number of the packet after the at sign if one shows it.", Fields: []capture.Field{
				{Name: "field", Type: "string", Doc: "Field: `entrypoint`, `status`."},
				{Name: "value", Type: "string", Doc: "Observed value, with credentials masked."},
				{Name: "packet", Type: "count", Optional: true, Doc: "Number of the packet that shows it, from 1."},
			}},
			{Name: "community_id", Doc: "Community ID of the connection."},
			{Name: "finding_id", Doc: "ID of the finding, the same in all its rows and in every run over the same traffic."},
			{Name: "incident_id", Doc: "For `campaign/chain`: `incident_id` of the incident in incidents.log."},
			{Name: "revision", Doc: "Number of the row for this `finding_id`, from 1. The highest is current."},
			{Name: "update", Doc: "An earlier row has this `finding_id`: it is not a new finding and should not raise an alert."},
			{Name: "evidence_file", Doc: "File with the packets of the finding (`evidence` in the configuration, `replay --evidence`)."},
		}),
	}
}
