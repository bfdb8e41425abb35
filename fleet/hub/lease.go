package hub

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The lease. The one hub that has it speaks: it writes the log and posts findings, trims the stream and lets the clock tick. All
// hubs apply the stream and answer.
const (
	leaseBucket = "raytap-lease" // its entries end by themselves
	stateBucket = "raytap-hubs"
	leaseKey    = "speaker"
	spokenKey   = "spoken" // up to which message of the stream the log was written

	leaseLife  = 6 * time.Second // after the last renewal another hub may take it
	leaseRenew = 1500 * time.Millisecond
	leaseTrust = 4 * time.Second        // after the last renewal its holder no longer relies on it
	leaseLook  = 500 * time.Millisecond // how often others look
	callTime   = 2 * time.Second
)

type lease struct {
	id   string
	kv   jetstream.KeyValue
	said func(string)
	took chan struct{} // a word when it was taken

	mu      sync.Mutex
	rev     uint64
	renewed time.Time
}

// has reports whether this hub speaks.
func (l *lease) has() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rev != 0 && time.Since(l.renewed) < leaseTrust
}

func (l *lease) set(rev uint64, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rev, l.renewed = rev, at
}

// run holds the lease, or waits for it, until ctx ends; then it lets go.
func (l *lease) run(ctx context.Context) {
	t := time.NewTicker(leaseLook)
	defer t.Stop()
	var rev uint64
	var renewed time.Time
	for {
		now := time.Now() // before the server knows: it counts from later
		call, cancel := context.WithTimeout(ctx, callTime)
		switch {
		case rev == 0:
			if n, err := l.kv.Create(call, leaseKey, []byte(l.id)); err == nil {
				rev, renewed = n, now
				l.set(rev, now)
				l.said("this hub speaks: it writes the log and sends findings")
				select {
				case l.took <- struct{}{}:
				default:
				}
			}
		case now.Sub(renewed) >= leaseRenew:
			n, err := l.kv.Update(call, leaseKey, []byte(l.id), rev)
			var api *jetstream.APIError
			switch {
			case err == nil:
				rev, renewed = n, now
				l.set(rev, now)
			case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence, now.Sub(renewed) > leaseLife:
				// Another hub has it, or it ended. Of an update whose answer was lost the entry ends, too.
				rev = 0
				l.set(0, now)
				l.said("this hub speaks no longer: the lease is gone")
			}
		}
		cancel()
		select {
		case <-ctx.Done():
			if rev != 0 {
				call, cancel := context.WithTimeout(context.Background(), callTime)
				_ = l.kv.Delete(call, leaseKey, jetstream.LastRevision(rev))
				cancel()
			}
			l.set(0, now)
			return
		case <-t.C:
		}
	}
}

// number reads a number of the state bucket; 0 without.
func number(ctx context.Context, kv jetstream.KeyValue, key string) (uint64, error) {
	e, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("hub: %w", err)
	}
	n, err := strconv.ParseUint(string(e.Value()), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("hub: %s: %w", key, err)
	}
	return n, nil
}

func putNumber(ctx context.Context, kv jetstream.KeyValue, key string, n uint64) error {
	_, err := kv.PutString(ctx, key, strconv.FormatUint(n, 10))
	if err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	return nil
}
