package decoders

import "github.com/raytap/raytap/capture"

// Expect registers a reader of connections that conversations of another flow announce. The decoder of the conversation emits
// *capture.Expected, for each connection. Flows that could be one are read by the Watcher, which emits what it reads as
// *capture.Awaited: it counts if the flow turns out to be announced. docs/architecture.md has the whole way.
type Expect struct {
	// Hint reports whether a packet looks as if a connection was announced in it. It is asked about every packet of a run, in
	// order, before its flow is known, so it must be quick and may be wrong. For capture.ExpectFor after such a packet flows
	// are opened as ones that may be announced.
	Hint func(p *capture.Packet) bool
	// Open makes the Watcher of a shard: what it limits must not depend on the number of workers.
	Open func() Watcher
}

// Watcher is asked when a flow opens. It returns a stream that reads the flow alongside m, which it feeds, or nil if the flow
// cannot be one that it reads. mid says that the beginning was not seen, announced that a Hint was lately.
type Watcher func(h capture.Host, m *Mux, mid, announced bool) capture.Stream
