package hub

import (
	"context"
	"errors"
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

// dead is a bucket that answers no longer.
type dead struct{ jetstream.KeyValue }

func (dead) Update(context.Context, string, []byte, uint64) (uint64, error) {
	return 0, errors.New("no answer")
}
func (dead) Create(context.Context, string, []byte, ...jetstream.KVCreateOpt) (uint64, error) {
	return 0, errors.New("no answer")
}
