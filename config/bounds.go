package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/record"
)

// bound is what a numeric key takes: from least to most, and 0 where that means something of its own. Values are those of
// the key, durations in nanoseconds. Whatever multiplies two of them saturates.
type bound struct {
	least, most float64
	zero        bool
}

const (
	second = float64(time.Second)
	minute = float64(time.Minute)
	hour   = float64(time.Hour)
	// Nothing that a detector remembers is of use for longer: its tables have forgotten it.
	month = 30 * 24 * hour
	// More than any window or disk holds.
	petabyte = 1e15
	// The greatest count that says anything of machines, ports, connections.
	many = 1e6
)

// bounds has a line for every key that is a number or a list of numbers; a test holds it to that. What else check knows of
// a key holds, too.
var bounds = map[string]bound{
	"workers":       {0, maxWorkers, true},
	"max_flows":     {minMaxFlows, maxMaxFlows, true},
	"snaplen":       {minSnapLen, 1 << 20, true},
	"ring":          {minRingBlock, maxRing, true},
	"block":         {minRingBlock, maxRingBlock, true},
	"rings":         {1, maxRings, false},
	"order.wait":    {0, float64(maxOrderWait), true},
	"order.packets": {1, maxOrderPackets, false},

	"campaign.quiet":        {minute, month, false},
	"campaign.follow":       {second, month, false},
	"egress.bytes":          {1, petabyte, false},
	"egress.window":         {second, month, false},
	"egress.serving":        {1, many, false},
	"egress.public_serving": {1, many, false},
	"egress.long_used":      {1, many, false},
	"egress.day":            {1, petabyte, true},
	"egress.deviations":     {0, many, true},
	"model.bytes":           {1, petabyte, false},
	"payload.job_for":       {second, month, false},
	"assets.refresh":        {minute, month, true},
	"sensor.loss":           {0.001, 100, false},
	"beacon.score":          {0.01, 1, false},
	"beacon.time":           {0, 1, true},
	"beacon.calls":          {1, many, false},
	"beacon.span":           {second, month, false},
	"beacon.answer":         {1, petabyte, false},
	"beacon.request":        {1, petabyte, false},
	"beacon.prevalence":     {2, many, false},
	"beacon.after_job":      {second, month, false},
	"beacon.short_every":    {second, month, false},
	"dns_tunnel.bytes":      {1, petabyte, false},
	"dns_tunnel.length":     {1, 253, false}, // of a name, RFC 1035 section 2.3.4
	"dns_tunnel.names":      {1, many, false},
	"dns_tunnel.window":     {second, month, false},
	"scan.benign":           {0.001, 0.999999, false},
	"scan.scanner":          {0.001, 0.999999, false},
	"scan.detect":           {0.001, 0.999999, false},
	"scan.false_alarm":      {1e-9, 0.999999, false},
	"scan.window":           {second, month, false},
	"scan.hosts":            {1, many, false},
	"scan.ray_hosts":        {1, many, false},
	"scan.home_hosts":       {1, many, false},
	"scan.home_many":        {1, many, false},
	"scan.outside_hosts":    {1, many, false},
	"scan.ports":            {1, 65536, false},
	"scan.home_ports":       {1, 65536, false},
	"scan.ray_ports":        {1, 65535, false},
	"tunnel.job_for":        {second, month, false},
	"flood.connections":     {1, 1e9, false},
	"flood.datagrams":       {1, 1e12, false},

	"record.size":         {record.MinSize, petabyte, false},
	"record.keep":         {minute, 1000 * month, true},
	"record.cutoff":       {1, petabyte, true},
	"record.whole_cutoff": {1, petabyte, true},
	"record.encrypted":    {1, petabyte, true},
	"evidence.size":       {record.MinSize, petabyte, false},
	"evidence.keep":       {minute, 1000 * month, true},
	"evidence.bound":      {64 << 10, math.MaxInt32, false},

	"rotate.interval":      {float64(minInterval), month, true},
	"rotate.size":          {minRotateSize, petabyte, true},
	"rotate.keep":          {minute, 1000 * month, true},
	"rotate.keep_findings": {minute, 1000 * month, true},
	"rotate.keep_size":     {minRotateSize, petabyte, true},
	"rotate.reserve":       {0, maxReserve, true},
	"syslog.enterprise":    {1, 1<<31 - 1, true},
	"webhook.spool_files":  {1, maxSpoolFiles, false},
	"webhook.spool_size":   {minSpoolSize, 1 << 40, false},
	"files.max_file":       {minMaxFile, maxMaxFile, false},
	"files.max_memory":     {minMaxMemory, maxMaxMemory, false},
	"files.size":           {minMaxFile, petabyte, true},
	"files.free":           {0, petabyte, true},
	"metrics.quiet":        {second, month, true},
}

// checkBound says whether a number is out of its key's bounds. What is no number has none.
func checkBound(key string, v any) error {
	b, ok := bounds[key]
	if !ok {
		return nil
	}
	var n float64
	show := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	switch x := v.(type) {
	case int:
		n = float64(x)
	case uint64:
		n = float64(x)
	case float64:
		n = x
	case time.Duration:
		n = float64(x)
		show = func(n float64) string { return time.Duration(n).String() }
	}
	switch {
	case n >= b.least && n <= b.most || b.zero && n == 0:
		return nil
	case b.zero && b.least > 0:
		return fmt.Errorf("%s is neither 0 nor between %s and %s", show(n), show(b.least), show(b.most))
	}
	return fmt.Errorf("%s is not between %s and %s", show(n), show(b.least), show(b.most))
}

// places says of each list of addresses and names what else than networks and addresses stands in it.
var places = map[string]struct{ nets, domains bool }{
	"home":                    {nets: true},
	"proxy_protocol.trust":    {nets: true},
	"record.exclude":          {nets: true},
	"campaign.allow":          {nets: true},
	"model.allow":             {nets: true},
	"payload.allow":           {nets: true},
	"oast.allow":              {nets: true},
	"scan.allow":              {nets: true},
	"shell.allow":             {nets: true},
	"flood.allow":             {nets: true},
	"rules.suppress.src":      {nets: true},
	"rules.suppress.dst":      {nets: true},
	"rules.suppress.networks": {nets: true},
	"egress.allow":            {true, true},
	"secrets.allow":           {true, true},
	"beacon.allow":            {true, true},
	"dns_tunnel.allow":        {domains: true},
	"oast.domains":            {domains: true},
}

// checkPlace says what is wrong with an element of such a list. Of tunnel.allow, whose services have names of their own,
// it sees to what is meant as a network.
func checkPlace(key, s string) error {
	kind, ok := places[key]
	switch {
	case key == "tunnel.allow" && strings.TrimSpace(s) == "":
		return errors.New("is empty")
	case key == "tunnel.allow" && strings.ContainsAny(s, "/:"):
		return checkNetwork(s)
	case !ok:
		return nil
	case s == "" && kind.domains:
		return errors.New("an empty name would allow everything")
	case !kind.domains:
		return checkNetwork(s)
	case !kind.nets && checkNetwork(s) == nil:
		return fmt.Errorf("%q is an address, not a domain", s)
	case kind.nets && (strings.ContainsAny(s, "/:") || checkNetwork(s) == nil):
		return checkNetwork(s)
	case isDomain(s):
		return nil
	case kind.nets:
		return fmt.Errorf("%q is neither a network nor a domain", s)
	}
	return fmt.Errorf("%q is not a domain", s)
}

// checkNetwork refuses what is neither a network nor an address, and a network that reads as another one.
func checkNetwork(s string) error {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, err := netip.ParseAddr(s)
		switch {
		case err != nil:
			return fmt.Errorf("%q is neither a network nor an address", s)
		case a.Zone() != "":
			return fmt.Errorf("%q has a zone; packets have none", s)
		}
		return nil
	}
	if m := p.Masked(); m != p {
		return fmt.Errorf("%s has bits after its first %d: write %s for the network, or %s for the one address", s, p.Bits(), m, p.Addr())
	}
	return nil
}

// isDomain reports whether s can be a domain name: labels of up to 63 letters, digits, hyphens and underscores (RFC 1035,
// RFC 2181), the last of which is no number. Letters beyond ASCII stand in a name as Punycode.
func isDomain(s string) bool {
	s = strings.Trim(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.Trim(strings.ToLower(l), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}
