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
		When: "When a detector says something. What it says again within the hour is counted and not repeated, unless it is worse.",
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
			{Name: "n", Unit: "times", Doc: "How often it was said, if more than once."},
			{Name: "peer_descr", Doc: "Name of the sensor (`sensor.name`)."},
			{Name: "actions", Doc: "Always `Notice::ACTION_LOG`."},
			{Name: "email_dest", Doc: "Always empty."},
			{Name: "suppress_for", Doc: "For how long the same is counted and not repeated."},
			{Name: "rule", Doc: "Name of the rule: [rules.md](rules.md) has them."},
			{Name: "severity", Doc: "How bad it is.", Values: detectors.Severities()},
			{Name: "confidence", Unit: "percent", Doc: "How certain it is, 0 to 100."},
			{Name: "outcome", Doc: "`succeeded` the answer shows that it worked; `attempted` refused, failed or blocked; `unknown` no answer was seen; `observed` a fact of the traffic, with nothing to succeed.",
				Values: []string{string(detectors.Succeeded), string(detectors.Attempted), string(detectors.Unknown), string(detectors.Observed)}},
			{Name: "atlas", Doc: "Techniques of MITRE ATLAS, id and name."},
			{Name: "attack", Doc: "Techniques of MITRE ATT&CK, id and name."},
			{Name: "evidence", Doc: "What it rests on: `field=value`, and behind `#` the number of the packet, from 1, if one shows it."},
			{Name: "community_id", Doc: "Community ID of the connection."},
			{Name: "finding_id", Doc: "Id of the finding, the same in each run over the same traffic."},
			{Name: "incident_id", Doc: "Incident that it tells of: `incident_id` of incidents.log."},
		}),
	}
}
