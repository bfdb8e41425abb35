package capture

// What a flow may cost. A few bytes on the wire can ask for hours of decompression and for gigabytes to do it in, so
// decoders that make much of little ask first. There are two budgets, of work and of room. Both belong to a shard, and are
// counted in bytes and packet time alone: what they refuse is the same in every run and for any number of workers.
//
// Work is counted in units: one is what it takes to decode a byte of a compressed body, to digest it and to look at it,
// about 4 ns. Whatever a flow asks for, it gets workFirst units and workRate for each byte of payload that it has on the
// wire. What goes beyond is taken from what its shard has in common, which fills with time: so a large body of zeros is
// read, and a thousand of them are not. A flow takes no more of that than it leaves for others: one that has taken nothing
// yet may take all that is there, and few that want much do not take it from many that want little.
//
// Events are charged, too, in an account of their own: a request of 18 bytes makes an event, a row and a look of each
// detector. Those beyond the budget have no row, and where one says what the last one said, it is not told at all. Detectors
// look at all others: what a command is must not hang on what came before it.
//
// The bound for everything that asks is so workRate units a byte on the wire (65 us a kilobyte), workFirst units a flow
// (65 us), and workRefill units a second of packet time and shard (64 MiB, or a quarter of one processor, for all).

const (
	workFirst = 16 << 10
	workRate  = 16
	// The common part of a shard: as much at most, and as much more in a second. Shards do not know of each other, so that
	// who reaches all of them gets all of their parts at once: one second of a processor.
	workCommon = 4 << 20
	workRefill = 1 << 20
	// An event, with its row, costs up to 3 us. One for each 32 bytes of payload is what the densest honest protocol has.
	eventUnits = 512
	freeEvents = 64 // of a flow, whatever they cost

	// Bytes that decoders of a shard keep for what is under way in flows: 256 MiB for all. What connections of many streams keep of
	// those is apart, as much again: there are few, and in an honest one thousands of calls may be under way. With twice that a flood
	// of such calls costs twice the CPU time, in the collector of garbage.
	shardRoom = 256 << 20 / ShardCount
)

// Worker is a Host with budgets.
type Worker interface {
	// Spend reports whether the flow may do so many units of work. If not, that is said once a flow, and counted.
	Spend(units int) bool
	// Room is where what is kept for the flow is accounted for.
	Room() *Room
}

// common is what the flows of a shard may spend beyond what their bytes are worth.
type common struct {
	spent int64 // of workCommon; time makes it less
	at    Time
}

// refill lets the time up to now count.
func (c *common) refill(now Time) {
	c.spent = refilled(c.spent, c.at, now)
	c.at = now
}

// refilled is what is left of spent, units as they were at a time, now.
func refilled(spent int64, at, now Time) int64 {
	const full = Time(workCommon / workRefill * 1e9)
	gone := now - at
	if spent == 0 || gone >= full {
		return 0
	}
	return max(spent-int64(gone)*workRefill/1e9, 0)
}

// account is what a flow has spent.
type account struct {
	own    uint64 // units that its bytes were worth
	common int64  // and beyond; time makes it less
	at     Time
	denied bool // and that was said

	events   uint64 // beyond the first
	overtold bool   // and that there were too many was said
	last     Repeater
}

// Spend implements Worker.
func (f *flow) Spend(units int) bool {
	s := f.sh
	a := &f.extra().account
	if a.own+uint64(units) <= workFirst+workRate*(f.payload[0]+f.payload[1]) {
		a.own += uint64(units)
		s.Counters.Work += uint64(units)
		return true
	}
	if f.share(a, units) {
		s.Counters.Work += uint64(units)
		return true
	}
	s.Counters.WorkDenied++
	if !a.denied {
		a.denied = true
		s.Counters.Overworked++
		f.weird("flow_work_limit", "", "")
	}
	return false
}

// share takes units of what all flows of the shard have in common, if there are so many for this one.
func (f *flow) share(a *account, units int) bool {
	s := f.sh
	s.common.refill(s.now)
	a.common = refilled(a.common, a.at, s.now)
	a.at = s.now
	if int64(units)+a.common > workCommon-s.common.spent {
		return false
	}
	a.common += int64(units)
	s.common.spent += int64(units)
	return true
}

// Repeater is an event that knows whether it says what an earlier one of the same flow said, and nothing else.
type Repeater interface {
	Repeats(earlier any) bool
}

// overtold counts an event of the flow's stream, and reports whether there were more than its bytes are worth.
func (f *flow) overtold() bool {
	if f.events < freeEvents {
		f.events++
		return false
	}
	a := &f.extra().account
	if (a.events+1)*eventUnits <= workRate*(f.payload[0]+f.payload[1]) {
		a.events++
		return false
	}
	if f.share(a, eventUnits) {
		return false
	}
	s := f.sh
	s.Counters.RowsCut++
	if !a.overtold {
		a.overtold = true
		s.Counters.Overtold++
		f.weird("flow_row_limit", "", "")
	}
	return true
}

// repeats reports whether ev, which is beyond the budget, says what the one before it said.
func (f *flow) repeats(ev any) bool {
	r, ok := ev.(Repeater)
	if !ok {
		return false
	}
	a := &f.more.account
	if a.last != nil && r.Repeats(a.last) {
		f.sh.Counters.Repeated++
		return true
	}
	if a.last = nil; r.Repeats(r) { // others may be large
		a.last = r
	}
	return false
}

// Room implements Worker.
func (f *flow) Room() *Room { return &f.sh.room }

// Room accounts for what decoders keep in the flows of a shard. Who wants more than there is gets it all the same: then
// whoever was served the longest ago gives up what it keeps. A thousand bodies that never go on do not keep out the next.
type Room struct {
	used    int
	limit   int // 0: shardRoom
	root    Tenant
	denied  *uint64
	streams *Room
}

// Streams is the room for what connections keep of the streams in them.
func (r *Room) Streams() *Room {
	if r.streams == nil {
		return r
	}
	return r.streams
}

// Tenant keeps something. It is part of its Keeper, which leaves the Room before it is used for something else.
type Tenant struct {
	room       *Room
	keeper     Keeper
	size       int
	prev, next *Tenant
}

// Keeper is who keeps something.
type Keeper interface {
	// Yield gives up all of it. The Tenant has left the Room already.
	Yield()
}

// Keep says that k, of which t is part, keeps size bytes now, and is the last that was served.
func (r *Room) Keep(t *Tenant, k Keeper, size int) {
	if t.room == r && t.size == size && r.root.next == t {
		return
	}
	t.Leave()
	if size <= 0 {
		return
	}
	if r.root.next == nil {
		r.root.next, r.root.prev = &r.root, &r.root
	}
	limit := r.limit
	if limit == 0 {
		limit = shardRoom
	}
	for r.used+size > limit && r.root.prev != &r.root {
		old := r.root.prev
		who := old.keeper
		old.Leave()
		if r.denied != nil {
			*r.denied++
		}
		who.Yield()
	}
	*t = Tenant{room: r, keeper: k, size: size, prev: &r.root, next: r.root.next}
	t.next.prev, r.root.next = t, t
	r.used += size
}

// Used is how many bytes are kept.
func (r *Room) Used() int { return r.used }

// Leave says that nothing is kept any more.
func (t *Tenant) Leave() {
	if t.room == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.room.used -= t.size
	*t = Tenant{}
}
