// Package redis finds who takes over a Redis at home, and through it its machine.
//
// In: *rayredis.Takeover. Out: findings of redis/takeover. Src is who sent the command, Dst the machine with the Redis.
//
//	high    a machine outside made a Redis at home load a module, copy itself from another machine, or write its files
//	        elsewhere; or a Redis at home copies itself from a machine outside
//	medium  it was tried, and refused or not answered
//
// It does not see: commands as a person types them behind others than those that decoders/rayredis begins with; what goes on between two machines at home, which is how
// replicas are made; Redis over TLS.
package redis

import (
	"fmt"
	"strings"

	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/detectors"
)

const rule = "redis/takeover"

// Spec registers the detector.
func Spec() detectors.Spec {
	return detectors.Spec{
		Name: "redis",
		Rules: []detectors.Rule{{
			Name: rule, Note: "Redis_Takeover", Severity: detectors.High,
			Says: "A machine outside made a Redis server at home run code or write files, or such a server " +
				"replicates from outside.",
			ATLAS:          []string{"AML.T0049"},
			ATTACK:         []string{"T1190", "T1210"},
			Needs:          "Redis in clear text, both directions: SLAVEOF, CONFIG SET dir, MODULE LOAD, PSYNC.",
			FalsePositives: "Replication over the Internet without TLS; administrators who manage Redis that way.",
			Story: detectors.Story{Role: detectors.RoleEntry, Group: detectors.GroupEntry, Runs: true,
				Does: "took over the Redis of %",
			},
		}},
		New: func(env *detectors.Env, bus *detectors.Bus) {
			detectors.On(bus, func(t *rayredis.Takeover) {
				if t.Flow == nil {
					return
				}
				src, dst := t.Flow.Orig.Addr(), t.Flow.Resp.Addr()
				in, out := env.Home.Contains(dst) && !env.Home.Contains(src), env.Home.Contains(src) && !env.Home.Contains(dst)
				copies := strings.HasSuffix(t.Command, "SYNC")
				if copies && !out || !copies && !in {
					return
				}
				f := &detectors.Finding{
					At: t.At, Rule: rule, Severity: detectors.High, Confidence: 90, Outcome: detectors.Succeeded,
					Src: src, Dst: dst, Port: t.Flow.Resp.Port(), Flow: t.Flow,
					Evidence: []detectors.Evidence{{Field: "command", Value: detectors.Clip(t.Command, 160), Packet: t.Packet}},
					Msg:      fmt.Sprintf("%s commanded the Redis at %s: %s", src, t.Flow.Resp, detectors.Clip(t.Command, 120)),
				}
				switch {
				case copies:
					f.Outcome = detectors.Observed
					f.Msg = fmt.Sprintf("the Redis at %s copies itself from %s", src, t.Flow.Resp)
				case t.Outcome == rayredis.Rejected || t.Outcome == rayredis.NoToken:
					f.Severity, f.Outcome = detectors.Medium, detectors.Attempted
				case t.Outcome != rayredis.Executed && t.Outcome != rayredis.Answered:
					f.Severity, f.Outcome = detectors.Medium, detectors.Unknown
				}
				f.Key = rule + "|" + src.String() + "|" + dst.String() + "|" + t.Command
				bus.Report(f)
			})
		},
	}
}
