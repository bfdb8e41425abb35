// Package test holds the tests over whole runs: labelled captures, agreement with Zeek, documents, and what the parts are to
// each other. Their paths are relative to the root of the repository.
package test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/capture/capturetest"
	"github.com/raytap/raytap/engine"
)

type columns = capturetest.Columns

// run is engine.Run, in which a panic is one.
func run(ctx context.Context, cfg engine.Config, src capture.Source, sinks ...engine.Sink) (engine.Stats, error) {
	cfg.Fragile = true
	return engine.Run(ctx, cfg, src, sinks...)
}

// configFile writes a configuration.
func configFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "raytap.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
