package feeds

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// A server that is away is asked again after the first, and after twice as long each time, up to the interval. Many sensors
// do not ask at once: pauses vary by a quarter.
const firstPause = time.Minute

// KeeperOptions say what a Keeper does. All are required.
type KeeperOptions struct {
	Dir     string       // of the cache
	Check   Check        // see Fetch
	Changed func()       // a cache has new content; it may take as long as it needs, and is called once at a time
	Say     func(string) // is told, in a sentence, when a server goes away and when it is back

	pause time.Duration // 0: firstPause
}

// Keeper asks servers again and again, each on a goroutine of its own.
type Keeper struct {
	opt     KeeperOptions
	ctx     context.Context
	cancel  context.CancelFunc
	changed sync.Mutex
	wg      sync.WaitGroup

	mu  sync.Mutex
	all []*kept
}

type kept struct {
	src    Source
	cancel context.CancelFunc

	mu   sync.Mutex
	away bool
}

// NewKeeper makes one that asks nobody yet.
func NewKeeper(opt KeeperOptions) *Keeper {
	k := &Keeper{opt: opt}
	if k.opt.pause == 0 {
		k.opt.pause = firstPause
	}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// Configure says whom to ask from now on. Those who are asked already go on.
func (k *Keeper) Configure(sources []Source) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.all
	k.all = nil
next:
	for _, s := range sources {
		if !s.Remote() {
			continue
		}
		for _, x := range k.all {
			if x.src == s {
				continue next
			}
		}
		for i, x := range old {
			if x != nil && x.src == s {
				k.all = append(k.all, x)
				old[i] = nil
				continue next
			}
		}
		ctx, cancel := context.WithCancel(k.ctx)
		x := &kept{src: s, cancel: cancel}
		k.all = append(k.all, x)
		k.wg.Add(1)
		go k.keep(ctx, x)
	}
	for _, x := range old {
		if x != nil {
			x.cancel()
		}
	}
}

// keep asks one server until it is told to stop.
func (k *Keeper) keep(ctx context.Context, x *kept) {
	defer k.wg.Done()
	s := &x.src
	wait := time.Duration(0)
	if c, err := Open(s, k.opt.Dir); err == nil {
		c.Close()
		wait = min(max(time.Until(c.At.Add(s.every())), 0), s.every())
	}
	pause := k.opt.pause
	for {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		changed, err := Fetch(ctx, s, k.opt.Dir, k.opt.Check, time.Now())
		if ctx.Err() != nil {
			return
		}
		x.mu.Lock()
		was := x.away
		x.away = err != nil
		x.mu.Unlock()
		if err != nil {
			if !was {
				k.opt.Say(fmt.Sprintf("feed %s: %v; %s", s.Title(), err, k.has(s)))
			}
			wait = vary(min(pause, s.every()))
			pause = min(2*pause, s.every())
			if e := (*statusError)(nil); errors.As(err, &e) && e.wait > wait {
				wait = e.wait
			}
			continue
		}
		if was {
			k.opt.Say(fmt.Sprintf("feed %s is back", s.Title()))
		}
		if changed {
			k.changed.Lock()
			k.opt.Changed()
			k.changed.Unlock()
		}
		pause, wait = k.opt.pause, vary(s.every())
	}
}

func vary(d time.Duration) time.Duration { return d*7/8 + rand.N(d/4+1) }

// has says what there is without the server.
func (k *Keeper) has(s *Source) string {
	c, err := Open(s, k.opt.Dir)
	if err != nil {
		return "there is nothing of it in the cache"
	}
	c.Close()
	return fmt.Sprintf("what it had on %s stays in force", c.At.UTC().Format("2006-01-02 15:04 UTC"))
}

// Status is how a source does.
type Status struct {
	Name       string
	At         time.Time // when the server confirmed last what is in the cache; zero: never
	Indicators int
	Away       bool
}

// Status may be called from any goroutine.
func (k *Keeper) Status() (all []Status) {
	k.mu.Lock()
	defer k.mu.Unlock()
	names := map[string]int{}
	for _, x := range k.all {
		x.mu.Lock()
		st := Status{Name: x.src.Title(), Away: x.away}
		x.mu.Unlock()
		if names[st.Name]++; names[st.Name] > 1 {
			st.Name += fmt.Sprintf(" %d", names[st.Name])
		}
		if c, err := Open(&x.src, k.opt.Dir); err == nil {
			st.At, st.Indicators = c.At, c.Indicators
			c.Close()
		}
		all = append(all, st)
	}
	return all
}

// Close stops asking; what is under way is given up.
func (k *Keeper) Close() {
	k.cancel()
	k.wg.Wait()
}
