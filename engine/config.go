package engine

import (
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/detectors/campaign"
	"github.com/raytap/raytap/detectors/intel"
	"github.com/raytap/raytap/detectors/sensor"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/registry"
)

// Config says how to read, decode and detect. Default gives the defaults; the zero value runs too. The tags are the keys of
// raytap's configuration file, which package config reads and checks: Run takes values as they are.
type Config struct {
	// Home lists the networks (192.0.2.0/24) and addresses that count as inside; none: detectors.DefaultHome.
	Home []string `yaml:"home"`
	// Workers is how many goroutines decode, up to capture.ShardCount; 0: as many as there are processors. The output is the
	// same for any number.
	Workers int `yaml:"workers"`
	// Filter leaves out packets that do not match it, in the language of tcpdump; "": none.
	Filter string `yaml:"filter"`
	// Checksums says what becomes of a wrong one: auto, strict (as in Zeek) or ignore (as with Zeek's -C); "": auto. See
	// capture.Checksums.
	Checksums string `yaml:"checksums"`
	// MaxFlows is how many flows are followed at once; 0: capture.DefaultMaxFlows. Beyond it the flow that is known least of
	// makes room.
	MaxFlows int `yaml:"max_flows"`
	// LogMore gives rows of Zeek's logs also of what Zeek would not read: see package zeekview.
	LogMore bool `yaml:"log_more"`

	Order         Order         `yaml:"order"`
	ProxyProtocol ProxyProtocol `yaml:"proxy_protocol"`

	// Rules are switched off, rated and suppressed by this.
	Rules detectors.RulesConfig `yaml:"rules"`
	// Sections are the settings of detectors: detectors.In[campaign.Config](c.Sections).Quiet. Default has all of them.
	Sections detectors.Sections `yaml:",inline"`

	// Files are kept out of the traffic in Store, if both are set. Who made the store closes it after the run.
	Files Files     `yaml:"files"`
	Store FileStore `yaml:"-"`

	// Recorder, if set, keeps packets. Who made it closes it after the run.
	Recorder *record.Recorder `yaml:"-"`
	// SavedAs, if set and nothing is recorded, names the file that will have the packets of a finding; "": none will.
	SavedAs func(*detectors.Finding) string `yaml:"-"`

	// Observer, if set, sees what the detectors see.
	Observer Observer `yaml:"-"`

	// Detectors run besides those of the registry, after them and before the one that makes incidents of findings.
	Detectors []detectors.Spec `yaml:"-"`
	// Indicators are what the detector of indicators looks for, and may be exchanged while the run goes on; nil: those that
	// are built in.
	Indicators *intel.Live `yaml:"-"`
	// Reload, if set, brings configurations to go on with. Networks, rules and the detectors' sections take effect; the rest
	// stays as it was.
	Reload <-chan *Config `yaml:"-"`
	// Shunting says which flows a live source counts without delivering them, if it can; nil: what is usual.
	Shunting *capture.ShuntConfig `yaml:"-"`
	// Progress, if set, is told how far the run is, after each batch of packets and on the goroutine that called Run.
	Progress func(Stats) `yaml:"-"`
	// Stages, if set, gets what each stage took. They have threads of their own then, also with one worker.
	Stages *Stages `yaml:"-"`
	// Fragile lets a panic of a decoder end the program, for tests and fuzzing. Otherwise it is counted, and costs the flow
	// its decoder.
	Fragile bool `yaml:"-"`
}

// Default gives the settings of a run for which nothing is said.
func Default() Config {
	return Config{
		Home:      append([]string(nil), detectors.DefaultHome...),
		MaxFlows:  capture.DefaultMaxFlows,
		Checksums: "auto",
		Order:     Order{Wait: capture.DefaultWait, Packets: capture.DefaultWaitPackets},
		Sections:  detectors.DefaultSections(registry.Detectors()),
		Files:     Files{MaxFile: 256 << 20, MaxMemory: 64 << 20, Size: 10e9, Free: 512 << 20},
	}
}

// ProxyProtocol says what to make of connections that begin with a header of the PROXY protocol, in which a load balancer
// names the client. Where the header is believed, findings are about that client. A header is believed of an address in
// Trust that connects to the home networks; an empty Trust stands for the home networks. One of anybody else, and one on
// the way out, is shown in the evidence and changes nothing.
type ProxyProtocol struct {
	Trust []string `yaml:"trust"`
}

// settings gives each detector its section, by its name.
func (c *Config) settings() map[string]any {
	all := map[string]any{"intel": c.Indicators}
	for _, s := range c.Sections {
		all[s.Name] = s.Value
	}
	return all
}

// Peer is the sensor's name, "" if it has none.
func (c *Config) Peer() string { return detectors.In[sensor.Config](c.Sections).Name }

// Order says how long packets of TCP that came too early wait for what they acknowledge: see capture.FlowConfig.
type Order struct {
	Wait    time.Duration `yaml:"wait"`
	Packets int           `yaml:"packets"`
}

// checksums gives the setting as the flow table has it.
func (c *Config) checksums() capture.Checksums {
	switch c.Checksums {
	case "strict":
		return capture.ChecksumsStrict
	case "ignore":
		return capture.ChecksumsIgnore
	}
	return capture.ChecksumsAuto
}

// home gives the networks that count as inside.
func (c *Config) home() (*detectors.Networks, error) {
	if len(c.Home) == 0 {
		return detectors.ParseNetworks(detectors.DefaultHome)
	}
	return detectors.ParseNetworks(c.Home)
}

// users gives those outside whose jobs count as jobs from inside.
func (c *Config) users() *detectors.Networks {
	users, err := detectors.ParseNetworks(detectors.In[campaign.Config](c.Sections).Allow)
	if err != nil { // it was checked
		users = &detectors.Networks{}
	}
	return users
}

// zeekLocal is what Zeek takes for local when nobody says otherwise (Site::private_address_space): what the IANA
// registries of special-purpose addresses (RFC 6890) keep off the Internet, documentation and benchmarks included.
var zeekLocal = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/24", "239.0.0.0/8",
	"240.0.0.0/4", "255.255.255.255/32",
	"::/128", "::1/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:2::/48", "2001:db8::/32", "fc00::/7", "fe80::/10", "fec0::/10",
	// The same in 6to4 (RFC 3056).
	"2002::/24", "2002:a00::/24", "2002:6440::/26", "2002:7f00::/24", "2002:a9fe::/32", "2002:ac10::/28", "2002:c000::/40",
	"2002:c000:200::/40", "2002:c0a8::/32", "2002:c612::/31", "2002:c633:6400::/40", "2002:cb00:7100::/40", "2002:e000::/40",
	"2002:ef00::/24", "2002:f000::/20", "2002:ffff:ffff::/48",
}

// local gives what tells local_orig and local_resp of conn.log: the home networks where they were given, otherwise
// what Zeek would say. Findings go by home alone, to which documentation addresses do not belong.
func (c *Config) local() *detectors.Networks {
	nets := c.Home
	if len(nets) == 0 || slices.Equal(nets, detectors.DefaultHome) {
		nets = zeekLocal
	}
	local, err := detectors.ParseNetworks(nets)
	if err != nil { // home was parsed before
		local = &detectors.Networks{}
	}
	return local
}
