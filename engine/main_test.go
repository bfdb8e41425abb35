package engine

import (
	"context"
	"os"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/capture/capturetest"
)

// TestMain goes to the root of the repository, where the captures are.
func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

type columns = capturetest.Columns

// run is Run, in which a panic is one.
func run(ctx context.Context, cfg Config, src capture.Source, sinks ...Sink) (Stats, error) {
	cfg.Fragile = true
	return Run(ctx, cfg, src, sinks...)
}
