package config

import (
	"maps"
	"math"
	"sync"

	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/registry"
)

const (
	second   = detectors.Second
	minute   = detectors.Minute
	month    = detectors.Month
	petabyte = detectors.Petabyte
)

// ownKeys has a line for every key outside the sections of detectors that is a number or a list of numbers, and for the lists of
// addresses. Tests hold it to that.
var ownKeys = map[string]detectors.Key{
	"workers":              {Least: 0, Most: maxWorkers, Zero: true},
	"max_flows":            {Least: minMaxFlows, Most: maxMaxFlows, Zero: true, Why: "flows would be forgotten on any real network"},
	"snaplen":              {Least: minSnapLen, Most: 1 << 20, Zero: true, Why: "headers would be cut"},
	"ring":                 {Least: minRingBlock, Most: maxRing, Zero: true},
	"block":                {Least: minRingBlock, Most: maxRingBlock, Zero: true, Power: true},
	"rings":                {Least: 1, Most: maxRings},
	"order.wait":           {Least: 0, Most: float64(maxOrderWait), Zero: true},
	"order.packets":        {Least: 1, Most: maxOrderPackets},
	"record.size":          {Least: record.MinSize, Most: petabyte},
	"record.keep":          {Least: minute, Most: 1000 * month, Zero: true},
	"record.cutoff":        {Least: 1, Most: petabyte, Zero: true},
	"record.whole_cutoff":  {Least: 1, Most: petabyte, Zero: true},
	"record.encrypted":     {Least: 1, Most: petabyte, Zero: true},
	"evidence.size":        {Least: record.MinSize, Most: petabyte},
	"evidence.keep":        {Least: minute, Most: 1000 * month, Zero: true},
	"evidence.bound":       {Least: 64 << 10, Most: math.MaxInt32},
	"rotate.interval":      {Least: minInterval, Most: month, Zero: true, Why: "there would be too many files"},
	"rotate.size":          {Least: minRotateSize, Most: petabyte, Zero: true, Why: "there would be too many files"},
	"rotate.keep":          {Least: minute, Most: 1000 * month, Zero: true},
	"rotate.keep_findings": {Least: minute, Most: 1000 * month, Zero: true},
	"rotate.keep_size":     {Least: minRotateSize, Most: petabyte, Zero: true},
	"rotate.reserve":       {Least: 0, Most: maxReserve, Zero: true},
	"syslog.enterprise":    {Least: 1, Most: 1<<31 - 1, Zero: true},
	"webhook.spool_files":  {Least: 1, Most: maxSpoolFiles},
	"webhook.spool_size":   {Least: minSpoolSize, Most: 1 << 40},
	"files.max_file":       {Least: minMaxFile, Most: maxMaxFile},
	"files.max_memory":     {Least: minMaxMemory, Most: maxMaxMemory},
	"files.size":           {Least: minMaxFile, Most: petabyte, Zero: true},
	"files.free":           {Least: 0, Most: petabyte, Zero: true},
	"metrics.quiet":        {Least: second, Most: month, Zero: true},

	"home":                    {Nets: true},
	"proxy_protocol.trust":    {Nets: true},
	"record.exclude":          {Nets: true},
	"rules.suppress.src":      {Nets: true},
	"rules.suppress.dst":      {Nets: true},
	"rules.suppress.networks": {Nets: true},
}

// keys returns what each key takes, those of detectors among them. It is made once.
var keys = sync.OnceValue(func() map[string]detectors.Key {
	all := maps.Clone(ownKeys)
	for _, d := range registry.Detectors() {
		if d.Settings != nil {
			for name, k := range d.Settings.Keys {
				all[d.Settings.Name+"."+name] = k
			}
		}
	}
	return all
})
