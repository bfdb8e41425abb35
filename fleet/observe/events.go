package observe

import (
	"reflect"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/bare"
	"github.com/raytap/raytap/decoders/dns"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/http2"
	"github.com/raytap/raytap/decoders/rayredis"
	"github.com/raytap/raytap/decoders/relay"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/decoders/services"
	"github.com/raytap/raytap/decoders/shell"
	"github.com/raytap/raytap/decoders/socks"
	"github.com/raytap/raytap/decoders/stratum"
	"github.com/raytap/raytap/decoders/tls"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/interpreters/aiservices"
	"github.com/raytap/raytap/interpreters/ray"
	"github.com/raytap/raytap/interpreters/raygrpc"
)

// observed are the types of events that are written, by the name they have there: those that a detector subscribes to which a hub runs.
// A test holds them against the detectors.
var observed = map[string]reflect.Type{
	"conn":      reflect.TypeFor[*capture.Conn](),
	"progress":  reflect.TypeFor[*capture.Progress](),
	"entered":   reflect.TypeFor[*capture.Entered](),
	"http":      reflect.TypeFor[*http.Transaction](),
	"h2_call":   reflect.TypeFor[*http2.Call](),
	"h2_part":   reflect.TypeFor[*http2.Part](),
	"dns":       reflect.TypeFor[*dns.Transaction](),
	"tls":       reflect.TypeFor[*tls.Session](),
	"rhythm":    reflect.TypeFor[*tls.Rhythm](),
	"bare":      reflect.TypeFor[*bare.Transfer](),
	"ssh":       reflect.TypeFor[*services.SSH](),
	"socks":     reflect.TypeFor[*socks.Request](),
	"mining":    reflect.TypeFor[*stratum.Start](),
	"mined":     reflect.TypeFor[*stratum.Session](),
	"redis":     reflect.TypeFor[*rayredis.Call](),
	"relay":     reflect.TypeFor[*relay.Session](),
	"shell":     reflect.TypeFor[*shell.Session](),
	"half":      reflect.TypeFor[*shell.OneWay](),
	"secrets":   reflect.TypeFor[*secrets.Seen](),
	"ray":       reflect.TypeFor[*ray.Call](),
	"ray_grpc":  reflect.TypeFor[*raygrpc.Call](),
	"ai_banner": reflect.TypeFor[*aiservices.Banner](),
	"finding":   reflect.TypeFor[*detectors.Finding](),
}

type kind struct {
	name string
	plan *plan
}

// kinds has what is observed by its type, byName the same by its name.
var kinds, byName = func() (map[reflect.Type]kind, map[string]kind) {
	kinds, byName := map[reflect.Type]kind{}, map[string]kind{}
	for name, t := range observed {
		k := kind{name, planOf(t)}
		kinds[t], byName[name] = k, k
	}
	return kinds, byName
}()

// Passed are the detectors whose findings rest on one flow, or on what a sensor alone knows (its indicators, its own losses). A hub takes
// their findings from the sensors as they are; all other detectors it runs itself.
var Passed = map[string]bool{"intel": true, "sensor": true, "evasion": true, "redis": true, "spark": true}

// flowOf is the flow of an event, nil if it has none.
func flowOf(ev any) *capture.Flow {
	switch x := ev.(type) {
	case *capture.Conn:
		return x.Flow
	case *capture.Progress:
		return x.Flow
	case *http.Transaction:
		return x.Flow
	case *http2.Call:
		return x.Flow
	case *http2.Part:
		return x.Call.Flow
	case *dns.Transaction:
		return x.Flow
	case *tls.Session:
		return x.Flow
	case *tls.Rhythm:
		if x.Session != nil {
			return x.Session.Flow
		}
	case *bare.Transfer:
		if x.File != nil {
			return x.File.Flow
		}
	case *services.SSH:
		return x.Flow
	case *socks.Request:
		return x.Flow
	case *stratum.Start:
		return x.Session.Flow
	case *stratum.Session:
		return x.Flow
	case *rayredis.Call:
		return x.Flow
	case *relay.Session:
		return x.Flow
	case *shell.Session:
		return x.Flow
	case *shell.OneWay:
		return x.Flow
	case *secrets.Seen:
		return x.Flow
	case *ray.Call:
		return x.Flow
	case *raygrpc.Call:
		return x.Flow
	case *aiservices.Banner:
		return x.Flow
	case *detectors.Finding:
		return x.Flow
	}
	return nil
}

// whole reports whether an event has what detectors take for granted of its type.
func whole(ev any) bool {
	switch x := ev.(type) {
	case *capture.Entered:
		return x.Tunnel != nil
	case *detectors.Finding:
		return x.Rule != "" && x.Severity <= detectors.Critical
	case *bare.Transfer:
		return x.File != nil && x.File.Flow != nil
	case *tls.Rhythm:
		return x.Session != nil && x.Session.Flow != nil
	case *ray.Call:
		return x.Flow != nil && x.Tx != nil && (x.Tx.Request != nil || x.Tx.Response != nil)
	case *raygrpc.Call:
		return x.Flow != nil && x.GRPC != nil
	case *http.Transaction:
		return x.Flow != nil && (x.Request != nil || x.Response != nil)
	}
	return flowOf(ev) != nil
}
