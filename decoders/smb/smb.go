// Package smb reads the files that clients read from and write to SMB shares.
//
// In: a conversation of SMB 1, 2 or 3 over TCP, which package services has recognised (New makes a
// decoders.Follower). Out: *file.File with the source SMB, for each file that was read or written, when it is whole, is
// closed or does not move for two minutes.
//
// A file is what Zeek takes for one: a share, a name and a time of modification, whoever has it open. Its name is that
// of the client's create or rename; its length is the server's answer to the create. Pieces come by place, in any
// order; what is read twice counts once, but a file that is whole begins anew. Pipes are no files.
//
// It does not see what is encrypted or compressed, files over several connections (SMB 3 multichannel) as one, raw and
// multiplexed reads of SMB 1, nor SMB over UDP or QUIC. Behind a loss it goes on at the next segment that begins with a
// message; a file of which all pieces came in messages with a hole, of which Zeek reads nothing, is marked as AfterGap.
package smb

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// Messages without an answer, of one connection; Zeek's SMB::max_pending_messages.
	maxPending = 1000
	// Handles of one connection. Clients cache some hundreds; a crawler that never closes loses names.
	maxHandles = 4096
	maxTrees   = 256
	// Files of one connection of which pieces were seen and more may come. Explorer previews a dozen at once.
	maxOpen = 64
	// Behind so many encrypted messages without one that is not, there is nothing more to see: sessions are encrypted as
	// a whole, and a connection rarely has two.
	maxSealed = 64
	// As much of a name as is kept; Windows has 32,767 characters, most clients 260.
	maxName = 1 << 10
)

// info is what is known of a handle: an SMB::FileInfo of Zeek.
type info struct {
	name, path       string
	hasName, hasPath bool
	size             uint64
	modified         uint64
}

type tree struct {
	path    string
	hasPath bool
}

// command is a request that waits for its answer.
type command struct {
	file   *info
	tree   *tree
	offset uint64 // of a read
}

// identity tells files apart.
type identity struct {
	path, name string
	modified   uint64
}

// transfer is a file that is being read or written.
type transfer struct {
	id    identity
	n     uint32
	from  capture.Dir
	first capture.At
	last  capture.At
	begun bool
	total int64
	name  string
	named bool
	whole bool // a piece came in a message that nothing is missing of: Zeek reads no others
	data  file.Assembler
}

type reader struct {
	ctx    decoders.Context
	cache  *file.Cache
	spare  *spare
	half   [2]half
	ended  [2]bool
	sealed int // encrypted messages in a row

	pending map[uint64]*command
	handles map[uint64]*info
	trees   map[uint32]*tree
	pipes   map[uint32]bool
	cmd     *command
	current *info // the file that the last request or answer was about
	tree    *tree

	open    []*transfer // by age
	count   uint32
	waiting file.Scattered
}

// New makes what reads a conversation.
func New(files *file.Cache) func(decoders.Context) decoders.Follower {
	buffers := &spare{}
	return func(ctx decoders.Context) decoders.Follower {
		return &reader{
			ctx: ctx, cache: files, spare: buffers, pending: map[uint64]*command{}, handles: map[uint64]*info{}, trees: map[uint32]*tree{},
			pipes: map[uint32]bool{}, current: &info{}, tree: &tree{},
		}
	}
}

// Done implements decoders.Follower.
func (r *reader) Done() bool { return r.sealed >= maxSealed }

// Gap implements decoders.Follower.
func (r *reader) Gap(dir capture.Dir, n int64) {
	h := &r.half[dir]
	if n <= h.pad+h.run+h.skip { // a hole in a file, or nothing at all
		for d := range r.half {
			r.half[d].holed = true
		}
		k := min(n, h.pad)
		h.pad, n = h.pad-k, n-k
		k = min(n, h.run)
		h.run, h.off, n = h.run-k, h.off+k, n-k
		h.skip -= n
		if t := h.to; t != nil && h.run == 0 {
			h.to = nil
			r.wrote(t, false)
		}
		return
	}
	// Zeek drops what both directions have begun.
	for d := range r.half {
		r.half[d].lose(r)
	}
}

// End implements decoders.Follower.
func (r *reader) End(dir capture.Dir) {
	r.ended[dir] = true
	if !r.ended[0] || !r.ended[1] {
		return
	}
	for _, h := range r.half {
		if h.to != nil {
			r.wrote(h.to, false)
		}
	}
	for len(r.open) > 0 {
		r.close(0, true)
	}
}

// message makes the command current, as Zeek's smb1_message and smb2_message do.
func (r *reader) message(mid uint64) {
	r.sealed = 0
	c := r.pending[mid]
	if c == nil {
		if len(r.pending) >= maxPending {
			r.ctx.Weird("SMB_discarded_messages_state", "")
			clear(r.pending)
			clear(r.handles)
		}
		c = &command{file: &info{}}
		r.pending[mid] = c
	}
	r.cmd = c
}

// handle makes the file of a handle current.
func (r *reader) handle(fid uint64) {
	f := r.handles[fid]
	if f == nil {
		f = r.cmd.file
		r.keep(fid, f)
	}
	r.cmd.file, r.current = f, f
}

func (r *reader) keep(fid uint64, f *info) {
	if _, ok := r.handles[fid]; !ok && len(r.handles) >= maxHandles {
		r.ctx.Weird("SMB_discarded_messages_state", "")
		clear(r.handles)
	}
	r.handles[fid] = f
}

func (r *reader) plant(tid uint32, t *tree) {
	if _, ok := r.trees[tid]; !ok && len(r.trees) >= maxTrees {
		r.ctx.Weird("SMB_discarded_messages_state", "")
		clear(r.trees)
	}
	r.trees[tid] = t
}

func (r *reader) pipe(tid uint32) {
	if len(r.pipes) >= maxTrees {
		clear(r.pipes)
	}
	r.pipes[tid] = true
}

// find gives the place in open of the current file, -1 if it is not there; ok is false if it is not known what it is.
func (r *reader) find() (id identity, i int, ok bool) {
	f := r.current
	if !f.hasName && !f.hasPath {
		return id, -1, false
	}
	id = identity{f.path, f.name, f.modified}
	for i, t := range r.open {
		if t.id == id {
			return id, i, true
		}
	}
	return id, -1, true
}

// begin gives the transfer of the current file, of which a piece comes; nil if nobody knows which file it is.
func (r *reader) begin(dir capture.Dir) *transfer {
	id, i, ok := r.find()
	if !ok {
		return nil
	}
	if i >= 0 {
		t := r.open[i]
		if !t.stale(r.ctx.At().Time) {
			return t
		}
		r.close(i, true)
	}
	if len(r.open) >= maxOpen {
		r.ctx.Weird("SMB_too_many_files", "")
		r.close(0, true)
	}
	t := &transfer{id: id, n: r.count, from: dir, name: r.current.name, named: r.current.hasName}
	r.count++
	if s := r.current.size; s <= math.MaxInt64 {
		t.total = int64(s)
	}
	t.data.Open(r.cache, &r.waiting)
	r.open = append(r.open, t)
	return t
}

// stale says whether Zeek's timer, which looks every two minutes, has found the file idle.
func (t *transfer) stale(now capture.Time) bool {
	return t.begun && file.Stale(t.first.Time, t.last.Time, now)
}

// wrote ends a piece, which came in a message that was whole or not.
func (r *reader) wrote(t *transfer, whole bool) {
	t.whole = t.whole || whole
	t.last = r.ctx.At()
	if !t.begun {
		t.begun, t.first = true, t.last
	}
	if t.total > 0 && t.data.Next() >= t.total {
		for i, o := range r.open {
			if o == t {
				r.close(i, false)
				return
			}
		}
	}
}

// closed is a client's close of the current file.
func (r *reader) closed() {
	if _, i, ok := r.find(); ok && i >= 0 {
		t := r.open[i]
		r.close(i, t.stale(r.ctx.At().Time))
	}
}

// close ends the i-th of the open files.
func (r *reader) close(i int, late bool) {
	t := r.open[i]
	copy(r.open[i:], r.open[i+1:])
	r.open[len(r.open)-1] = nil
	r.open = r.open[:len(r.open)-1]
	for d := range r.half {
		if r.half[d].to == t {
			r.half[d].to = nil
		}
	}
	list := t.data.Close(t.last)
	if list == nil {
		return
	}
	f := list[0]
	f.Flow = r.ctx.Flow()
	f.ID, f.Source, f.Sender, f.TimedOut = file.NewID(f.Flow, t.n, 's'), "SMB", t.from, late
	f.Name, f.HasName, f.Total, f.From = t.name, t.named, t.total, capture.AfterGap.When(!t.whole)
	if t.begun {
		f.At, f.Last = t.first, t.last.Time
	}
	r.ctx.Emit(f)
}

// utf16 reads a name in UTF-16, little endian, without a NUL at its end.
func utf16(b []byte) string {
	b = b[:min(len(b), 2*maxName)&^1]
	out := make([]byte, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		c := rune(binary.LittleEndian.Uint16(b[i:]))
		if c >= 0xd800 && c < 0xdc00 && i+3 < len(b) {
			if d := rune(binary.LittleEndian.Uint16(b[i+2:])); d >= 0xdc00 && d < 0xe000 {
				c = 0x10000 + (c-0xd800)<<10 + d - 0xdc00
				i += 2
			}
		}
		if c == 0 {
			break
		}
		out = append(out, string(c)...)
	}
	return string(out)
}

func oem(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b[:min(len(b), maxName)])
}

// pipeNames are names that make a tree one of pipes; Zeek's SMB::pipe_filenames.
func pipeName(name string) bool {
	switch name {
	case "spoolss", "winreg", "samr", "srvsvc", "netdfs", "lsarpc", "wkssvc", "MsFteWds":
		return true
	}
	return false
}
