package decoders

// Memos remember numbers that stand for something that many ask about: heads of HTTP, names. They are one table with a bit
// for each who asks, so that the second who asks about the same message finds it in the cache. They belong to one goroutine,
// and the zero value is ready.
type Memos struct {
	slots [4096]memoSlot
	given uint
}

type memoSlot struct{ id, said uint64 }

// Memo remembers numbers in which nothing was found. What said nothing once says nothing again. It forgets; what it has was
// added.
type Memo struct {
	of  *Memos
	bit uint64
}

// Memo makes one more of at most 64.
func (m *Memos) Memo() Memo {
	if m.given == 64 {
		panic("decoders: more than 64 memos in one table")
	}
	m.given++
	return Memo{m, 1 << (m.given - 1)}
}

// Has reports whether id was added. 0 stands for nothing and never was.
func (m Memo) Has(id uint64) bool {
	s := &m.of.slots[id%uint64(len(m.of.slots))]
	return s.id == id && s.said&m.bit != 0
}

// Add remembers id.
func (m Memo) Add(id uint64) {
	if id == 0 {
		return
	}
	s := &m.of.slots[id%uint64(len(m.of.slots))]
	if s.id != id {
		*s = memoSlot{id: id}
	}
	s.said |= m.bit
}

// Forget makes m empty.
func (m Memo) Forget() {
	for i := range m.of.slots {
		m.of.slots[i].said &^= m.bit
	}
}
