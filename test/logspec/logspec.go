// Package logspec lists the logs with their columns, for the documents and schemas that are written from them.
package logspec

import (
	"cmp"
	"slices"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/assets"
	"github.com/raytap/raytap/engine"
	"github.com/raytap/raytap/engine/zeekview"
	"github.com/raytap/raytap/fleet/observe"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
	"github.com/raytap/raytap/sinks/zeek"
)

// All tells of every log, by name.
func All() []capture.LogSpec {
	all := slices.Concat(capture.Logs(), dns.Logs(), file.Logs(), http.Logs(), http2.Logs(), ray.Logs(), raygrpc.Logs(), rayredis.Logs(),
		socks.Logs(), stratum.Logs(), tls.Logs(), detectors.Logs(), assets.Logs(), zeekview.Logs(), observe.Logs(), []capture.LogSpec{zeek.NoticeLog(), engine.StatsLog()})
	slices.SortFunc(all, func(a, b capture.LogSpec) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
