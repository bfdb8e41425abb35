package zeekview

import (
	"net/netip"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/decoders/socks"
)

// tunnelLog keeps Zeek's tunnel.log (base/frameworks/tunnels): a row when a tunnel is first seen to carry a flow, and one
// when its own flow ends or nothing new came through it for an hour. The proxies of HTTP and SOCKS are tunnels too, one
// for each pair of hosts. It says an expiry when the tunnel is used again, or when it makes room.
type tunnelLog struct {
	say    func(row capture.Record)
	active map[tunnelKey]*tunnelRow
	order  []tunnelKey // as they were discovered; some have gone
	byFlow map[string]tunnelKey
}

const (
	// Tunnels that are remembered: as many as the dissector knows.
	maxTunnelRows = 1 << 16
	// Tunnel::expiration_interval.
	tunnelIdle = time.Hour
)

type tunnelKey struct {
	orig, resp netip.AddrPort
	kind       string
}

// tunnelRow is a row of tunnel.log.
type tunnelRow struct {
	at         capture.Time
	uid        string
	orig, resp netip.AddrPort
	kind       string
	action     string
	used       capture.Time
}

// Log implements capture.Record.
func (r *tunnelRow) Log() string { return "tunnel" }

// Row implements capture.Record.
func (r *tunnelRow) Row(w capture.Fields) {
	w.Time("ts", r.at, true)
	w.String("uid", r.uid, r.uid != "")
	capture.Endpoints(w, r.orig, r.resp)
	w.Enum("tunnel_type", "Tunnel::"+r.kind, true)
	w.Enum("action", "Tunnel::"+r.action, true)
}

func newTunnelLog(say func(row capture.Record)) *tunnelLog {
	return &tunnelLog{say: say, active: map[tunnelKey]*tunnelRow{}, byFlow: map[string]tunnelKey{}}
}

// event looks at what a worker said.
func (l *tunnelLog) event(ev any) {
	switch ev := ev.(type) {
	case *capture.Entered:
		l.enter(ev.Time, ev.Tunnel)
	case *capture.Conn:
		if k, ok := l.byFlow[ev.Flow.UID]; ok {
			l.close(k, ev.Time, "CLOSE")
		}
	case *http.Transaction:
		if p := ev.Response; p != nil && p.Status == 200 && ev.Request != nil && ev.Request.Method == "CONNECT" && !ev.Flow.Mid {
			l.proxy(p.Time, ev.Flow, "HTTP")
		}
	case *socks.Request:
		l.proxy(ev.Time, ev.Flow, "SOCKS")
	}
}

// enter registers a tunnel and those around it, the outermost first.
func (l *tunnelLog) enter(at capture.Time, t *capture.Tunnel) {
	if t.Outer != nil {
		l.enter(at, t.Outer)
	}
	l.register(at, tunnelKey{t.Orig, t.Resp, t.Kind}, t.UID)
}

func (l *tunnelLog) proxy(at capture.Time, f *capture.Flow, kind string) {
	l.register(at, tunnelKey{netip.AddrPortFrom(f.Orig.Addr(), 0), f.Resp, kind}, "")
}

func (l *tunnelLog) register(at capture.Time, k tunnelKey, uid string) {
	if r := l.active[k]; r != nil {
		if at.Sub(r.used) < tunnelIdle {
			r.used = at
			return
		}
		l.close(k, at, "EXPIRE")
	}
	for len(l.order) >= maxTunnelRows {
		if l.active[l.order[0]] != nil {
			l.close(l.order[0], at, "EXPIRE")
		}
		l.order = l.order[1:]
	}
	r := &tunnelRow{at: at, uid: uid, orig: k.orig, resp: k.resp, kind: k.kind, action: "DISCOVER", used: at}
	l.active[k] = r
	l.order = append(l.order, k)
	if k.orig.Port() != 0 {
		l.byFlow[uid] = k // on IP alone there is no flow that could end
	}
	l.say(r)
}

func (l *tunnelLog) close(k tunnelKey, at capture.Time, action string) {
	r := *l.active[k]
	r.at, r.action = at, action
	delete(l.active, k)
	delete(l.byFlow, r.uid)
	l.say(&r)
}
