package smb

import (
	"encoding/binary"
	"slices"

	"github.com/raytap/raytap/capture"
)

const (
	frameLen   = 4 // RFC 1002, 4.3.1
	headerOne  = 32
	headerTwo  = 64
	maxMessage = 16 << 20
	// Messages up to this long are held until they are whole, as Zeek holds them: behind a loss none of one counts.
	// Reads and writes of SMB 1 have 64 KiB, those of Samba 127 KiB; SMB 2 has up to 8 MiB in one, whose data is taken
	// as it comes.
	maxHeld = 132 << 10
	// As much of a name of SMB 2 as is read: 64 KiB in theory.
	maxTwo = 4 << 10
	// Buffers that are kept for the next message.
	maxSpare = 16
)

// half is the reading of one direction.
type half struct {
	buf  []byte // of the message, or of the part of it that is being read
	left int64  // of the message, behind buf, to and skip
	skip int64  // bytes that nobody wants
	size int    // of the part that buf begins with, with SMB 2
	want int    // buf is read when it has so much; 0: a frame begins
	two  bool   // the message is of SMB 2
	lost bool   // looks for the beginning of a message
	// holed: a loss within a message was passed by, behind which Zeek looks for the beginning of one
	holed bool

	pad int64     // bytes that come before run
	to  *transfer // takes the next run bytes, which come before skip; nil if nobody wants them
	off int64     // at this place
	run int64
}

// lose forgets what was begun.
func (h *half) lose(r *reader) {
	if t := h.to; t != nil {
		h.to = nil
		r.wrote(t, false)
	}
	*h = half{buf: h.buf[:0], lost: true}
}

// Data implements decoders.Follower.
func (r *reader) Data(dir capture.Dir, b []byte) {
	h := &r.half[dir]
	if (h.lost || h.holed) && len(b) >= frameLen+4 && string(b[5:8]) == "SMB" && (b[4] == 0xff || b[4] == 0xfe) {
		h.lost, h.holed = false, false
	}
	if h.lost {
		return
	}
	for len(b) > 0 {
		switch {
		case h.pad > 0:
			n := int(min(h.pad, int64(len(b))))
			h.pad -= int64(n)
			b = b[n:]
			continue
		case h.run > 0:
			n := int(min(h.run, int64(len(b))))
			if h.to != nil {
				h.to.data.WriteAt(r.ctx.At(), h.off, b[:n])
			}
			h.off, h.run = h.off+int64(n), h.run-int64(n)
			b = b[n:]
			if t := h.to; h.run == 0 && t != nil {
				h.to = nil
				r.wrote(t, !h.holed)
			}
			continue
		case h.skip > 0:
			n := int(min(h.skip, int64(len(b))))
			h.skip -= int64(n)
			b = b[n:]
			continue
		}
		if h.want == 0 {
			h.want = frameLen
		}
		// What is there as a whole is read where it is.
		if len(h.buf) == 0 && len(b) >= h.want {
			m := b[:h.want]
			b = b[h.want:]
			r.part(dir, h, m)
			continue
		}
		n := min(h.want-len(h.buf), len(b))
		if h.buf == nil {
			h.buf = r.spare.get()
		}
		h.buf = append(h.buf, b[:n]...)
		b = b[n:]
		if len(h.buf) == h.want {
			r.part(dir, h, h.buf)
		}
		if h.lost {
			return
		}
	}
	if len(h.buf) == 0 {
		r.spare.put(h.buf)
		h.buf = nil
	}
}

// spare is what the conversations of one worker share.
type spare struct{ list [][]byte }

func (s *spare) get() []byte {
	n := len(s.list)
	if n == 0 {
		return make([]byte, 0, maxTwo)
	}
	b := s.list[n-1]
	s.list = s.list[:n-1]
	return b
}

func (s *spare) put(b []byte) {
	if cap(b) > 0 && len(s.list) < maxSpare {
		s.list = append(s.list, b[:0])
	}
}

// part takes a part of a message that is there as it was wanted, and says what is wanted next. When more of the same
// part is needed, what came stays in buf.
func (r *reader) part(dir capture.Dir, h *half, m []byte) {
	more := func(n int) { // wants the part again when it has n bytes
		if len(h.buf) == 0 {
			if h.buf == nil {
				h.buf = r.spare.get()
			}
			h.buf = append(h.buf, m...)
		}
		h.buf = slices.Grow(h.buf, n-len(h.buf))
		h.want = n
	}
	next := func() { // goes on behind the part
		h.buf = h.buf[:0]
		if h.want = 0; h.two && h.left >= headerTwo {
			h.want = headerTwo
		} else {
			h.skip += h.left
			h.left, h.two = 0, false
		}
	}
	switch {
	case h.two:
		r.partTwo(dir, h, m, more, next)
	case len(m) == frameLen:
		n := int(m[1])<<16 | int(m[2])<<8 | int(m[3])
		switch {
		case n > maxMessage || m[0] != 0 && (m[0] < 0x81 || m[0] > 0x85):
			h.lose(r)
		case m[0] != 0 || n < headerOne:
			h.left = int64(n)
			next()
		default:
			more(frameLen + 4)
			h.left = int64(n)
		}
	case len(m) == frameLen+4:
		switch id := string(m[4:]); {
		case id == "\xffSMB" && h.left >= headerOne+3 && h.left <= maxHeld:
			more(frameLen + int(h.left))
		case id == "\xfeSMB" && h.left >= headerTwo:
			h.two = true
			m = m[frameLen:]
			h.buf = append(h.buf[:0], m...)
			h.want = headerTwo
		default: // encrypted, compressed, or nothing
			if id == "\xfdSMB" {
				r.sealed++
			}
			h.left -= 4
			next()
		}
	default:
		h.left = 0
		r.one(dir, m[frameLen:])
		next()
	}
}

var le = binary.LittleEndian

// one reads a message of SMB 1 (MS-CIFS, 2.2.3 and 2.2.4).
func (r *reader) one(dir capture.Dir, m []byte) {
	mid, tid := uint64(le.Uint16(m[30:])), uint32(le.Uint16(m[24:]))
	if r.trees[tid] == nil {
		r.plant(tid, &tree{})
	}
	r.tree = r.trees[tid]
	r.message(mid)
	if r.cmd.tree == nil {
		r.cmd.tree = r.tree
	}
	// Further commands of the message follow one another at growing places.
	for cmd, at := m[4], headerOne; at < len(m); {
		words := int(m[at])
		data := at + 1 + 2*words + 2
		if data > len(m) {
			break
		}
		w := m[at+1 : at+1+2*words]
		if dir == capture.Orig {
			r.askOne(cmd, tid, m, w, data)
		} else if words > 0 {
			r.answerOne(cmd, tid, m, w, data)
		}
		if !andX(cmd) || words < 2 || w[0] == 0xff {
			break
		}
		next := int(le.Uint16(w[2:]))
		if next <= at {
			break
		}
		cmd, at = w[0], next
	}
	if dir == capture.Resp {
		delete(r.pending, mid)
	}
}

const (
	closeOne, readAndX, writeAndX, treeAndX, createAndX = 0x04, 0x2e, 0x2f, 0x75, 0xa2
)

func andX(cmd byte) bool {
	switch cmd {
	case 0x24, 0x2d, readAndX, writeAndX, 0x73, 0x74, treeAndX, createAndX:
		return true
	}
	return false
}

func (r *reader) askOne(cmd byte, tid uint32, m, w []byte, data int) {
	unicode := m[11]&0x80 != 0
	text := func(i int) string {
		if i >= len(m) {
			return ""
		}
		if unicode {
			return utf16(m[i+i&1:])
		}
		return oem(m[i:])
	}
	switch {
	case cmd == treeAndX && len(w) >= 8:
		i := data + int(le.Uint16(w[6:])) // behind the password
		r.cmd.tree = &tree{text(i), true}
	case cmd == createAndX && len(w) >= 48:
		r.cmd.file = &info{name: text(data), hasName: true}
		r.current = r.cmd.file
		if pipeName(r.current.name) {
			r.pipe(tid)
		}
	case cmd == readAndX && len(w) >= 20:
		r.fileOne(le.Uint16(w[4:]))
		r.cmd.offset = uint64(le.Uint32(w[6:]))
		if len(w) >= 24 {
			if high := le.Uint32(w[20:]); high != 0xffffffff {
				r.cmd.offset |= uint64(high) << 32
			}
		}
	case cmd == writeAndX && len(w) >= 24:
		r.fileOne(le.Uint16(w[4:]))
		off := uint64(le.Uint32(w[6:]))
		if len(w) >= 28 {
			off |= uint64(le.Uint32(w[24:])) << 32
		}
		r.dataOne(capture.Orig, tid, m, int(le.Uint16(w[22:])), int(le.Uint16(w[20:]))|int(le.Uint16(w[18:]))<<16, off)
	case cmd == closeOne && len(w) >= 6:
		fid := uint64(le.Uint16(w))
		r.handle(fid)
		if r.tree.hasPath {
			r.current.path, r.current.hasPath = r.tree.path, true
		}
		delete(r.handles, fid)
		r.closed()
	}
}

// fileOne is what reads and writes say of their file.
func (r *reader) fileOne(fid uint16) {
	r.handle(uint64(fid))
	if f := r.current; r.tree.hasPath && !f.hasPath {
		f.path, f.hasPath = r.tree.path, true
	}
}

func (r *reader) answerOne(cmd byte, tid uint32, m, w []byte, data int) {
	switch {
	case cmd == treeAndX:
		r.tree = r.cmd.tree
		r.plant(tid, r.tree)
		if oem(m[data:]) == "IPC" {
			r.pipe(tid)
		}
	case cmd == createAndX && len(w) >= 68:
		f := r.cmd.file
		f.size = le.Uint64(w[55:])
		if t := le.Uint64(w[27:]); t > epoch {
			f.modified = t
		}
		r.keep(uint64(le.Uint16(w[5:])), f)
		r.current = f
	case cmd == readAndX && len(w) >= 24:
		r.dataOne(capture.Resp, tid, m, int(le.Uint16(w[12:])), int(le.Uint16(w[10:]))|int(le.Uint16(w[14:]))<<16, r.cmd.offset)
	}
}

// dataOne takes n bytes at offset at of a message.
func (r *reader) dataOne(dir capture.Dir, tid uint32, m []byte, at, n int, off uint64) {
	if r.pipes[tid] || n <= 0 || at < headerOne || at >= len(m) || n > len(m)-at || off > 1<<62 {
		return
	}
	if t := r.begin(dir); t != nil {
		t.data.WriteAt(r.ctx.At(), int64(off), m[at:at+n])
		r.wrote(t, !r.half[dir].holed)
	}
}

// Commands of SMB 2 (MS-SMB2, 2.2.1.2).
const (
	treeConnect, treeDisconnect, create, closeTwo, read, write, setInfo = 3, 4, 5, 6, 8, 9, 17
)

// wanted is how much of a request or an answer is read at first, header excluded.
var wanted = [2][18]int{
	capture.Orig: {treeConnect: 8, treeDisconnect: 4, create: 56, closeTwo: 24, read: 48, write: 48, setInfo: 32},
	capture.Resp: {treeConnect: 16, create: 88, read: 16},
}

// carries says whether a message has a file's bytes.
func carries(dir capture.Dir, cmd int) bool {
	return dir == capture.Orig && cmd == write || dir == capture.Resp && cmd == read
}

// partTwo reads one of the messages of SMB 2 or 3 that stand in a frame (MS-SMB2, 2.2.1, 3.2.4.1.4).
func (r *reader) partTwo(dir capture.Dir, h *half, m []byte, more func(int), next func()) {
	cmd, status := int(le.Uint16(m[12:])), uint32(0)
	if dir == capture.Resp { // requests have a channel's number there
		status = le.Uint32(m[8:])
	}
	need := headerTwo
	if cmd < len(wanted[dir]) && good(status) {
		need += wanted[dir][cmd]
	}
	if len(m) == headerTwo {
		if string(m[:4]) != "\xfeSMB" {
			h.skip, h.left, h.two = h.left-headerTwo, 0, false
			next()
			return
		}
		// The next message begins at a place that this one names, or there is none.
		n := int64(le.Uint32(m[20:]))
		if n < headerTwo || n > h.left {
			n = h.left
		}
		h.left -= n
		h.size = int(n)
		if need > h.size {
			need = headerTwo
		}
		if carries(dir, cmd) && need > headerTwo && h.size <= maxHeld {
			more(h.size)
			return
		}
		if need > headerTwo {
			more(need)
			return
		}
	}
	if len(m) == need && !carries(dir, cmd) { // names stand behind the fixed part
		p := m[headerTwo:]
		end := 0
		switch {
		case need == headerTwo:
		case dir == capture.Orig && cmd == treeConnect:
			end = int(le.Uint16(p[4:])) + int(le.Uint16(p[6:]))
		case dir == capture.Orig && cmd == create:
			end = int(le.Uint16(p[44:])) + int(le.Uint16(p[46:]))
		case dir == capture.Orig && cmd == setInfo && p[2] == 1 && p[3] == 10:
			end = int(min(le.Uint32(p[4:]), maxTwo)) + int(le.Uint16(p[8:]))
		}
		if end = min(end, h.size, maxTwo); end > need {
			more(end)
			return
		}
	}
	h.skip += int64(h.size - len(m))
	r.two(dir, h, cmd, status, m)
	next()
}

func good(status uint32) bool {
	const overflow, moreProcessing = 0x80000005, 0xc0000016
	return status == 0 || status == overflow || status == moreProcessing
}

func (r *reader) two(dir capture.Dir, h *half, cmd int, status uint32, m []byte) {
	mid, tid := le.Uint64(m[24:]), le.Uint32(m[36:])
	r.message(mid)
	c := r.cmd
	switch {
	case tid == 0:
		c.tree = &tree{}
	case c.tree != nil:
		r.plant(tid, c.tree)
	default:
		if r.trees[tid] == nil {
			r.plant(tid, &tree{})
		}
		c.tree = r.trees[tid]
	}
	r.current, r.tree = c.file, c.tree
	if p := m[headerTwo:]; good(status) && cmd < len(wanted[dir]) && wanted[dir][cmd] > 0 && len(p) >= wanted[dir][cmd] {
		if dir == capture.Orig {
			r.askTwo(h, cmd, tid, m, p)
		} else {
			r.answerTwo(h, cmd, tid, m, p)
		}
	}
	const pending = 0x103
	if dir == capture.Resp && status != pending {
		delete(r.pending, mid)
	}
}

// fileID is what Zeek makes of the two halves of a handle.
func fileID(b []byte) uint64 { return le.Uint64(b) + le.Uint64(b[8:]) }

func (r *reader) askTwo(h *half, cmd int, tid uint32, m, p []byte) {
	switch cmd {
	case treeConnect:
		r.tree.path, r.tree.hasPath = textTwo(m, int(le.Uint16(p[4:])), int(le.Uint16(p[6:]))), true
	case treeDisconnect:
		if r.trees[tid] != nil {
			delete(r.trees, tid)
			r.cmd.tree = nil
		}
	case create:
		name := textTwo(m, int(le.Uint16(p[44:])), int(le.Uint16(p[46:])))
		if pipeName(name) {
			r.pipe(tid)
			r.tree.path, r.tree.hasPath = "<unknown>", true
		}
		if name == "" {
			name = "<share_root>"
		}
		r.current.name, r.current.hasName = name, true
	case closeTwo:
		fid := fileID(p[8:])
		r.handle(fid)
		if r.tree.hasPath {
			r.current.path, r.current.hasPath = r.tree.path, true
		}
		delete(r.handles, fid)
		r.closed()
	case read:
		r.handle(fileID(p[16:]))
		r.cmd.offset = le.Uint64(p[8:])
	case write:
		r.handle(fileID(p[16:]))
		r.dataTwo(capture.Orig, h, tid, m, int64(le.Uint16(p[2:])), int64(le.Uint32(p[4:])), le.Uint64(p[8:]))
	case setInfo:
		if p[2] != 1 {
			return
		}
		r.handle(fileID(p[16:]))
		if i := int(le.Uint16(p[8:])); p[3] == 10 && i >= headerTwo+32 && i+20 <= len(m) {
			r.current.name, r.current.hasName = textTwo(m, i+20, int(min(le.Uint32(m[i+16:]), 2*maxName))), true
		}
	}
}

func (r *reader) answerTwo(h *half, cmd int, tid uint32, m, p []byte) {
	switch cmd {
	case treeConnect:
		if pipe := byte(2); p[2] == pipe {
			r.pipe(tid)
		}
	case create:
		fid := fileID(p[64:])
		r.handle(fid)
		f := r.current
		f.size = le.Uint64(p[48:])
		if r.tree.hasPath {
			f.path, f.hasPath = r.tree.path, true
		}
		if t := le.Uint64(p[24:]); t > epoch {
			f.modified = t
		}
	case read:
		r.dataTwo(capture.Resp, h, tid, m, int64(p[2]), int64(le.Uint32(p[4:])), r.cmd.offset)
	}
}

// epoch is 1970 in the time of Windows: 100 ns since 1601.
const epoch = 116444736000000000

// dataTwo gives n bytes at offset at of the message, of which m is there, to a file.
func (r *reader) dataTwo(dir capture.Dir, h *half, tid uint32, m []byte, at, n int64, off uint64) {
	if r.pipes[tid] || n <= 0 || at < headerTwo || at+n > int64(h.size) || off > 1<<62 {
		return
	}
	if have := int64(len(m)); have == int64(h.size) {
		if t := r.begin(dir); t != nil {
			t.data.WriteAt(r.ctx.At(), int64(off), m[at:at+n])
			r.wrote(t, !h.holed)
		}
		return
	} else if at < have {
		return
	}
	have := int64(len(m))
	h.pad, h.run = at-have, n
	h.skip -= h.pad + h.run
	h.to, h.off = r.begin(dir), int64(off)
}

func textTwo(m []byte, at, n int) string {
	if at < headerTwo || at >= len(m) {
		return ""
	}
	return utf16(m[at:min(len(m), at+n)])
}
