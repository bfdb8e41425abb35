package ray

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/raytap/raytap/decoders/http"
)

// readCluster takes what an answer tells of the cluster: its nodes and their ports, Python's version, whether it asks
// for a token.
func (c *Call) readCluster(p *http.Response) {
	if v, ok := strings.CutPrefix(p.Header.Get("Server"), "Python/"); ok {
		v, _, _ = strings.Cut(v, " ")
		c.Python = bound(v, 16)
	}
	if p.Status != 200 {
		return
	}
	r := &jsonReader{b: p.Body.Data}
	switch c.Route {
	case "/api/authentication_mode":
		r.member("authentication_mode", func() { c.AuthMode, _ = r.str(16) })
	case "/cluster_id":
		r.member("data", func() { r.member("cluster_id", func() { c.ClusterID, _ = r.str(maxID) }) })
	case "/api/v0/cluster_metadata":
		r.member("data", func() { r.member("pythonVersion", func() { c.Python, _ = r.str(16) }) })
	case "/nodes":
		r.member("data", func() { r.member("summary", func() { r.array(func(int) { c.summary(r) }) }) })
	case "/api/v0/nodes":
		r.member("data", func() {
			r.member("result", func() { r.member("result", func() { r.array(func(int) { c.state(r) }) }) })
		})
	case "/api/jobs/":
		r.array(func(int) { r.member("driver_agent_http_address", func() { c.agentOf(r) }) })
	case "/api/jobs/{id}":
		r.member("driver_agent_http_address", func() { c.agentOf(r) })
	case "/api/serve/applications/":
		c.serve(r)
	}
}

// member calls f with the reader at the value of one key of the object that comes next.
func (r *jsonReader) member(name string, f func()) {
	r.object(func(key string, _ text) {
		if key == name {
			f()
		}
	})
}

// summary reads one node of GET /nodes?view=summary.
func (c *Call) summary(r *jsonReader) {
	var n Node
	said, dead := false, false
	r.object(func(key string, _ text) {
		switch key {
		case "ip":
			n.Addr = r.addr()
		case "hostname":
			n.Host, _ = r.str(maxID)
		case "raylet":
			r.object(func(key string, _ text) {
				switch key {
				case "nodeId":
					n.ID, _ = r.str(maxID)
				case "isHeadNode":
					said, n.Head = true, r.peek() == 't'
				case "state":
					s, _ := r.str(maxKey)
					dead = s == "DEAD"
				case "rayletSocketName":
					s, _ := r.str(maxItem)
					if _, s, ok := strings.Cut(s, "/session_"); ok {
						s, _, _ = strings.Cut(s, "/")
						c.Session = bound("session_"+s, maxID)
					}
				case "nodeManagerPort":
					n.port(r, "raylet")
				case "objectManagerPort":
					n.port(r, "objects")
				case "metricsExportPort":
					n.port(r, "metrics")
				case "runtimeEnvAgentPort":
					n.port(r, "runtime_env")
				case "metricsAgentPort":
					n.port(r, "agent")
				case "dashboardAgentListenPort":
					n.port(r, "job_agent")
				}
			})
		}
	})
	n.Other = said && !n.Head
	if !dead {
		c.node(n)
	}
}

// state reads one node of GET /api/v0/nodes.
func (c *Call) state(r *jsonReader) {
	var n Node
	said, dead := false, false
	r.object(func(key string, _ text) {
		switch key {
		case "node_id":
			n.ID, _ = r.str(maxID)
		case "node_ip":
			n.Addr = r.addr()
		case "is_head_node":
			said, n.Head = true, r.peek() == 't'
		case "state":
			s, _ := r.str(maxKey)
			dead = s == "DEAD"
		}
	})
	n.Other = said && !n.Head
	if !dead {
		c.node(n)
	}
}

// agentOf reads the address of the agent that runs a job: http://10.20.0.10:52365.
func (c *Call) agentOf(r *jsonReader) {
	if r.peek() != '"' {
		return // null before it runs
	}
	s, _ := r.str(maxItem)
	if a, err := netip.ParseAddrPort(strings.TrimPrefix(s, "http://")); err == nil {
		c.node(Node{Addr: a.Addr().Unmap(), Ports: []Port{{"job_agent", a.Port()}}})
	}
}

// serve reads where Serve's proxies listen.
func (c *Call) serve(r *jsonReader) {
	var port Node
	var at []netip.Addr
	r.object(func(key string, _ text) {
		switch key {
		case "http_options":
			r.member("port", func() { port.port(r, "serve") })
		case "proxies":
			r.object(func(string, text) {
				r.member("node_ip", func() {
					if a := r.addr(); len(at) < maxNodes {
						at = append(at, a)
					}
				})
			})
		}
	})
	for _, a := range at {
		c.node(Node{Addr: a, Ports: port.Ports})
	}
}

// node adds one to the list, or what it says to the one of its address.
func (c *Call) node(n Node) {
	if !n.Addr.IsValid() {
		return
	}
	for i := range c.Nodes {
		if o := &c.Nodes[i]; o.Addr == n.Addr && (n.ID == "" || o.ID == n.ID) {
			for _, p := range n.Ports {
				if len(o.Ports) < maxSegments && !hasPort(o.Ports, p) {
					o.Ports = append(o.Ports, p)
				}
			}
			return
		}
	}
	if len(c.Nodes) < maxNodes {
		c.Nodes = append(c.Nodes, n)
	}
}

func hasPort(ports []Port, p Port) bool {
	for _, o := range ports {
		if o == p {
			return true
		}
	}
	return false
}

func (n *Node) port(r *jsonReader, role string) {
	if v, err := strconv.ParseUint(r.number(), 10, 16); err == nil && v > 0 {
		n.Ports = append(n.Ports, Port{role, uint16(v)})
	}
}

func (r *jsonReader) addr() netip.Addr {
	if r.peek() != '"' {
		return netip.Addr{}
	}
	s, _ := r.str(maxKey)
	a, _ := netip.ParseAddr(s)
	return a.Unmap()
}

// number gives the digits that come next.
func (r *jsonReader) number() string {
	r.space()
	from := r.i
	for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' {
		r.i++
	}
	return string(r.b[from:min(r.i, from+20)])
}
