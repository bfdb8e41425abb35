package hub

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/raytap/raytap/fleet"
)

func mustStream(t *testing.T, h *Hub) jetstream.StreamConfig {
	t.Helper()
	s, err := h.js.Stream(context.Background(), fleet.Stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().Config
}

func mustInfo(t *testing.T, h *Hub) jetstream.StreamState {
	t.Helper()
	s, err := h.js.Stream(context.Background(), fleet.Stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}
