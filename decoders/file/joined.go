package file

import (
	"slices"
	"time"

	"github.com/raytap/raytap/capture"
)

const (
	// Zeek looks after a file every so often, and gives up on one of which nothing came since it looked last.
	joinFor = 2 * time.Minute
	// Files that are put together at once; the oldest gives way. Each has at most two buffers of 32 KiB and what waits.
	maxJoined = 512
	// Bytes that wait in all of them.
	maxJoinedBytes = 16 << 20
	// Connections that one file has rows of. Clients that fetch in parallel use up to a few dozen.
	maxJoinedFlows = 1024
)

// Piece is a part of a file that comes in parts, over one connection or several. Joined puts them together.
type Piece struct {
	capture.At              // of the first bytes of Data
	Last       capture.Time // of the last
	Key        string       // what is equal in all parts of a file
	Of         File         // what the file's row says of the connection and its message; Total may be 0
	Off        int64        // where Data belongs
	Data       []byte       // not borrowed
	Missing    int64        // bytes lost behind Data
	LostAt     int64        // where, as Zeek has it: from the beginning of the message's body
	Message    uint32       // tells the messages of a connection apart
	// Row, of the last piece of a message, is the file as the message's row has it. It is named here, if the message
	// is the first over the last connection that came to the file, and the file's beginning became known with it.
	Row *File
}

// Beginning is how much of a file must be there to name it, unless it is whole.
const Beginning = sniffLen

// Joined makes files of pieces. It sees the pieces of all flows in order, so what comes out does not depend on who read
// which flow. A file is told once for each connection that it came over, as in Zeek: when it is whole, when nothing came
// for a while, or at the end. The zero value is not ready.
type Joined struct {
	cache *Cache
	tell  func(ev any, from capture.Provenance)
	files map[string]*joint
	order []*joint // by age
	all   Scattered
	due   capture.Time // when to look after one, at the earliest
}

// joint is a file in the making.
type joint struct {
	key         string
	a           Assembler
	first, last capture.At
	look        capture.Time
	flows       []jointFlow
	total       int64
	name        string
	named       bool
	mime        string // what it looked like when that became known,
	by          jointFlow
}

type jointFlow struct {
	of      File
	message uint32
	from    capture.Provenance
}

// NewJoined makes one, which gives tell the files and the weirds that say when they are too many, with what was said of
// the piece that first came over their connection.
func NewJoined(c *Cache, tell func(ev any, from capture.Provenance)) *Joined {
	return &Joined{cache: c, tell: tell, files: map[string]*joint{}, all: Scattered{limit: maxJoinedBytes}}
}

// Take adds a piece. A piece that is doubted belongs to a file of its own.
func (j *Joined) Take(p *Piece, from capture.Provenance) {
	j.Advance(p.Time)
	key := p.Key
	if from.Has(capture.Doubted) {
		key += " doubted"
	}
	f := j.files[key]
	if f == nil {
		if len(j.order) >= maxJoined {
			j.tell(&capture.Weird{At: p.At, Flow: p.Of.Flow, Name: "files_in_pieces_limit"}, 0)
			j.close(j.order[0])
		}
		f = &joint{key: key, first: p.At, look: p.Time.Add(joinFor)}
		f.a.Open(j.cache, &j.all)
		j.files[key] = f
		j.order = append(j.order, f)
		if len(j.order) == 1 || f.look < j.due {
			j.due = f.look
		}
	}
	f.over(j, p, from)
	if p.Of.HasName {
		f.name, f.named = p.Of.Name, true
	}
	f.total = max(f.total, p.Of.Total)
	if p.Time < f.first.Time {
		f.first = p.At
	}
	f.last.Time = max(f.last.Time, p.Last)
	before := f.a.Next()
	if len(p.Data) > 0 {
		f.a.WriteAt(p.At, p.Off, p.Data)
	}
	if p.Missing > 0 {
		f.a.GapAt(p.At, p.LostAt, p.Missing)
	}
	whole := f.whole()
	if before < Beginning && (whole || f.a.Next() >= Beginning) {
		f.mime, f.by = f.a.SoFar()[0].MIME, f.flows[len(f.flows)-1]
	}
	if p.Row != nil && f.mime != "" && f.by.of.Flow == p.Of.Flow && f.by.message == p.Message {
		p.Row.MIME, p.Row.Unnamed = f.mime, false
	}
	if whole {
		j.close(f)
	}
}

// over notes the connection that a piece came over.
func (f *joint) over(j *Joined, p *Piece, from capture.Provenance) {
	for i := len(f.flows) - 1; i >= 0; i-- {
		if f.flows[i].of.Flow == p.Of.Flow {
			return
		}
	}
	switch {
	case len(f.flows) < maxJoinedFlows:
		f.flows = append(f.flows, jointFlow{p.Of, p.Message, from})
	default:
		j.tell(&capture.Weird{At: p.At, Flow: p.Of.Flow, Name: "files_in_pieces_limit", Addl: "connections"}, 0)
	}
}

func (f *joint) whole() bool { return f.total > 0 && f.a.Next() >= f.total }

// Advance tells the files of which nothing came for long.
func (j *Joined) Advance(now capture.Time) {
	if len(j.order) == 0 || now < j.due {
		return
	}
	var late []*joint
	j.due = 0
	for _, f := range j.order {
		for now >= f.look && f.look.Sub(f.last.Time) < joinFor {
			f.look = f.look.Add(joinFor)
		}
		if now >= f.look {
			late = append(late, f)
		} else if j.due == 0 || f.look < j.due {
			j.due = f.look
		}
	}
	for _, f := range late {
		j.close(f)
	}
}

// End tells what there is.
func (j *Joined) End() {
	for len(j.order) > 0 {
		j.close(j.order[0])
	}
}

func (j *Joined) close(f *joint) {
	delete(j.files, f.key)
	i := slices.Index(j.order, f)
	j.order = slices.Delete(j.order, i, i+1)
	whole := f.whole()
	list := f.a.Close(f.last)
	if list == nil {
		return
	}
	for i := range f.flows {
		c := &f.flows[i]
		row := *list[0]
		row.At, row.Last = f.first, f.last.Time
		row.Flow, row.ID, row.Source, row.Sender, row.Depth, row.From = c.of.Flow, c.of.ID, c.of.Source, c.of.Sender, c.of.Depth, c.of.From|c.from&capture.Doubted
		row.Total, row.Name, row.HasName, row.TimedOut, row.Unfinished = f.total, f.name, f.named, !whole, !whole
		j.tell(&row, c.from)
	}
}
