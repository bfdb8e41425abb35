package mining

import (
	"testing"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/tls"
)

// session is a TLS session with records: positive lengths are the client's.
func session(name string, lens ...int) *tls.Rhythm {
	r := &tls.Rhythm{
		At: capture.At{Time: 5e9, Packet: 9}, Last: capture.At{Time: 65e9, Packet: 99},
		Session: &tls.Session{At: capture.At{Time: 4e9, Packet: 4}, Flow: flow("10.20.0.11:40000", "198.51.100.44:443"), Hello: true, Answered: true, ServerName: name, JA4: "t13i310900_e8f1e7e78f70_1f22a2ca17c4"},
	}
	for i, n := range lens {
		r.Records = append(r.Records, tls.Record{FromClient: n > 0, Len: max(n, -n), After: time.Duration(i) * time.Second})
	}
	return r
}

func TestShapeOfMining(t *testing.T) {
	// XMRig's lengths, TLS 1.3: login, tickets, its answer, then shares with their answers, and work.
	xmrig := []int{572, -250, -250, -515, 238, -80, -381, 238, -80, 238, -80, -383, 239, -80, 119, -88}
	bitcoin := []int{140, -220, 130, -120, -900, 150, -62, 150, -62, -897, 151, -62, 150, -62}
	for _, tt := range []struct {
		name, server string
		lens         []int
		severity     string // "" for silence
	}{
		{"XMRig without a name", "", xmrig, "medium"},
		{"XMRig by a name", "miners.example", xmrig, "low"},
		{"XMRig by a pool's name", "pool.hashvault.pro", xmrig, "medium"},
		{"Bitcoin's dialect", "", bitcoin, "medium"},
		{"two shares", "", []int{572, -515, 238, -80, -381, 238, -80, -383}, ""},
		{"no work unasked", "", []int{572, -515, 238, -80, 238, -80, 238, -80, 238, -80}, ""},
		{"no login", "", []int{60, -515, 238, -80, -381, 238, -80, 238, -80, -383, 239, -80}, ""},
		{"requests of many lengths", "", []int{572, -515, 138, -80, -381, 238, -80, 308, -80, -383, 419, -80, 170, -80, 270, -80}, ""},
		{"answers of many lengths", "", []int{572, -515, 238, -180, -381, 238, -480, 238, -380, -583, 239, -780, 238, -980}, ""},
		{"chat", "", []int{300, -90, 60, -60, -160, -210, 75, -60, -340, 140, -60, -95, -130, 90, -60}, ""},
		{"MQTT with its keep-alive", "", []int{180, -41, 140, -41, 140, -41, 140, -41, 39, -39, 140, -41}, ""},
		{"a database over TLS", "", []int{250, -700, 160, -1100, 160, -300, 160, -140, 160, -90, 160, -600, 160, -350}, ""},
		{"nothing", "", nil, ""},
	} {
		b := setup(t)
		b.bus.Publish(session(tt.server, tt.lens...))
		switch {
		case tt.severity == "" && len(b.out) > 0:
			t.Errorf("%s: said %s", tt.name, b.out[0].Msg)
		case tt.severity != "" && (len(b.out) != 1 || b.out[0].Severity.String() != tt.severity || b.out[0].Rule != ruleTLS):
			t.Errorf("%s: %v", tt.name, b.take())
		}
	}
}

func TestServerNames(t *testing.T) {
	for _, tt := range []struct {
		name     string
		offered  []string
		answered bool
		severity string
	}{
		{"pool.supportxmr.com", nil, true, "medium"},
		{"www.supportxmr.com", []string{"h2", "http/1.1"}, true, "low"},
		{"notsupportxmr.com", nil, true, ""},
		{"", nil, true, ""},
	} {
		b := setup(t)
		b.bus.Publish(&tls.Session{At: capture.At{Time: 4e9, Packet: 4}, Flow: flow("10.20.0.11:40000", "198.51.100.44:443"), Hello: true, Answered: tt.answered, ServerName: tt.name, Offered: tt.offered})
		switch {
		case tt.severity == "" && len(b.out) > 0:
			t.Errorf("%s: said %s", tt.name, b.out[0].Msg)
		case tt.severity != "" && (len(b.out) != 1 || b.out[0].Severity.String() != tt.severity || b.out[0].Rule != rulePool):
			t.Errorf("%s: %v", tt.name, b.take())
		}
	}
}

// TestShapesOfGPUs has the lengths of ethminer's ETHPROXY and of KawPow over TLS 1.3, and a miner whose shares are rare; and
// programs that are told tasks and report on them.
func TestShapesOfGPUs(t *testing.T) {
	ethproxy, agent, poller, kawpow, rare := []int{149, -56}, []int{149, -56}, []int{300, -56}, []int{93, -64, 108, -53, -136, -301}, []int{454, -513}
	for i := range 4 {
		ethproxy = append(ethproxy, 89, -260, 89, -260, 238, -56)
		agent = append(agent, 89, -260-90*i, 89, -300+60*i, 238, -56)     // tasks differ in length
		poller = append(poller, 89, -260, 89, -260, 150+70*i, -56)        // results do
		kawpow = append(kawpow, 238, -53, -136, -301)                     // a share, then a target and work
		rare = append(rare, -381, -381, -381, -381, -381, -381, 239, -81) // in each half hour one
	}
	for _, tt := range []struct {
		name, server string
		lens         []int
		severity     string
	}{
		{"ETHPROXY", "", ethproxy, "low"},
		{"ETHPROXY at a pool", "pool.hashvault.pro", ethproxy, "medium"},
		{"KawPow", "", kawpow, "medium"},
		{"rare shares", "", rare, "medium"},
		{"an agent with tasks", "", agent, ""},
		{"a poller with results", "", poller, ""},
		{"a poller without results", "", append([]int{149, -56}, ethproxy[2:6]...), ""},
		{"a monitor that is pushed to", "", []int{93, -64, 108, -53, -136, -301, -90, -301, -170, -136, 238, -53, -301, -136, -136, -136}, ""},
	} {
		b := setup(t)
		b.bus.Publish(session(tt.server, tt.lens...))
		switch {
		case tt.severity == "" && len(b.out) > 0:
			t.Errorf("%s: said %s", tt.name, b.out[0].Msg)
		case tt.severity != "" && (len(b.out) != 1 || b.out[0].Severity.String() != tt.severity || b.out[0].Rule != ruleTLS):
			t.Errorf("%s: %v", tt.name, b.take())
		}
	}
}
