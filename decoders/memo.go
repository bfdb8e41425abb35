package decoders

// Memo remembers numbers that stand for something in which nothing was found: heads of HTTP, names. What said nothing once
// says nothing again. It forgets; what it has was added. It belongs to one goroutine, and the zero value is ready.
type Memo [4096]uint64

// Has says whether id was added. 0 stands for nothing and never was.
func (m *Memo) Has(id uint64) bool { return id != 0 && m[id%uint64(len(m))] == id }

// Add remembers id.
func (m *Memo) Add(id uint64) {
	if id != 0 {
		m[id%uint64(len(m))] = id
	}
}
