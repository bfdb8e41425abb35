// Package raytap is the front of the library: it reads frames, finds what is done to Ray clusters in them, and hands findings
// and the rows of Zeek-style logs to sinks.
//
//	src, err := capture.OpenFile("x.pcap")
//	stats, err := raytap.Run(ctx, raytap.DefaultConfig(), src, sink)
//
// A Sink is anything with a method Event. Detectors of one's own are listed in Config.Detectors; they hear what the built-in
// ones hear, and their rules are tuned and suppressed like the others. See the examples, and docs/adding.md for how to write
// a detector. The program raytap is in cmd/raytap; its configuration file, its logs and its other outputs are not linked in.
package raytap

import (
	"context"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/engine"
)

type (
	// Config says how to read, decode and detect.
	Config = engine.Config
	// Stats say what a run saw, and what it lost, by cause.
	Stats = engine.Stats
	// Sink takes findings and rows in order.
	Sink = engine.Sink
)

// DefaultConfig gives the settings of a run for which nothing is said.
func DefaultConfig() Config { return engine.Default() }

// Run reads src to its end, or until ctx is done, and hands everything that is said to the sinks. Rows and findings up to
// an error of the source are all written before it is returned; it does not close src.
func Run(ctx context.Context, cfg Config, src capture.Source, sinks ...Sink) (Stats, error) {
	return engine.Run(ctx, cfg, src, sinks...)
}
