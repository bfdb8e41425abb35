package file

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"hash/maphash"

	"github.com/raytap/raytap/capture"
)

const (
	// Files up to this long are held, so that one that was seen before is not digested again. What is asked for over
	// and over (health checks, polls, small assets) is shorter; a longer one costs a buffer for little.
	maxHeld = 32 << 10
	// Files that are held at once, by one worker: 32 MiB. Those beyond are digested as they come.
	maxHolding = 1024
	// Containers that are looked into at once, by one worker, beside those that are held: 4 MiB.
	maxOpen = 64
	// Digests that one worker remembers: 2 x 4,096 of 100 bytes.
	maxKnown = 4096
	// Contents that are kept whole, by their length and first bytes, and the memory for them: what comes again is compared
	// with them as it comes, and is neither copied nor hashed. That is a seventh of the time of a kept-alive transaction.
	startSlots = 1 << 10
	startLen   = 64
	maxKept    = 8 << 20
	// First bytes that a file is named by, as many as Zeek looks at: Office documents need them.
	sniffLen = 4 << 10
)

// Options say how much is done for a file. The zero value names files and digests none.
type Options struct {
	// HashLimit is the length in bytes beyond which a file is not digested.
	HashLimit int64
	// Copies, if set, has the bytes of some files copied.
	Copies *Copies
}

// Cache is what readers share. It belongs to one goroutine.
type Cache struct {
	opt        Options
	seed       maphash.Seed
	young, old map[identity]*content // what is asked for moves to the young; when they are many, the old are forgotten
	holding    int
	open       int // containers that are kept for a look
	buffers    [][]byte
	digests    []*digests
	starts     [startSlots]*content // that are kept, by how they begin
	kept       int                  // bytes of those
	copying    int                  // bytes that copies have collected
}

// identity is 64 bits of a keyed hash, and the length. The key is made anew in every process and nothing tells of it, so
// nobody can make a content that is taken for another; by chance it happens once in 2e15 files.
type identity struct {
	sum uint64
	n   int
}

// content is what there is to know of one.
type content struct {
	Digests
	mime  string
	kind  Kind
	plain bool // Unmarked
	lines bool // Lines
	coded bool // a text that may be a program in base64
	in    *Inside
	bytes []byte // itself, of one that came twice and is kept in starts; never changed
	used  bool   // since another one wanted its slot
}

type digests struct{ md5, sha1, sha256 hash.Hash }

// NewCache makes one.
func NewCache(opt Options) *Cache {
	return &Cache{opt: opt, seed: maphash.MakeSeed(), young: map[identity]*content{}}
}

// Reader takes the bytes of one file. The zero value is for use with Open.
type Reader struct {
	c      *Cache
	f      File
	held   []byte // the beginning; all of it while holds
	holds  bool   // held is one of the cache's buffers, and the file is whole in it
	stream *digests
	begun  bool
	named  bool
	undone bool // cannot be digested any more
	total  int64
	deep   []byte   // the beginning of a container that is not held
	opens  bool     // and there is more to come of it
	like   *content // as far as the file is there it is this, and nothing of it is held
	bytes  []byte   // of like

	// Where copies are made.
	copy   *Copy
	label  Class // see Label
	class  Class // of a file that was named and whose copy is to begin, 0 otherwise
	maybe  Class // what it may be by what is inside
	nocopy bool
}

// Open begins a file.
func (r *Reader) Open(c *Cache) {
	r.shut()
	r.copy.Drop()
	held := r.held[:0]
	*r = Reader{}
	r.c, r.held, r.undone = c, held, c.opt.HashLimit <= 0
}

// Expect says, before the first byte, how long the file was announced to be.
func (r *Reader) Expect(total int64) { r.total = total }

// Like gives a content that the file has shown itself to be the beginning of, so far; nil if there is none. It is not
// to be changed.
func (r *Reader) Like() []byte {
	return r.bytes
}

// NoDigest says, before the first byte, that the file is to be counted and named only.
func (r *Reader) NoDigest() { r.undone = true }

// Digests says whether the file is digested, as far as is known.
func (r *Reader) Digests() bool { return !r.undone }

// Seen is how many bytes came so far.
func (r *Reader) Seen() int64 { return r.f.Seen }

// From says that what came so far counts as having come now.
func (r *Reader) From(at capture.At) {
	if r.begun {
		r.f.At, r.f.Last = at, at.Time
	}
}

// Indifferent reports whether further bytes are only counted: the file has its name and no digest any more, and nobody
// wants a copy or a look inside.
func (r *Reader) Indifferent() bool {
	return r.begun && r.named && r.undone && r.stream == nil && !r.holds && r.like == nil && r.copy == nil && r.class == 0 && r.maybe == 0 && !r.opens
}

// Pass says that n bytes have passed of a file that is Indifferent.
func (r *Reader) Pass(at capture.At, n int64) {
	r.touch(at)
	r.f.Seen += n
}

func (r *Reader) touch(at capture.At) {
	if !r.begun {
		r.begun, r.f.At = true, at
	}
	r.f.Last = at.Time
}

// Whole takes a file that is there at once. b is borrowed.
func (r *Reader) Whole(at capture.At, b []byte) {
	if r.begun || len(b) == 0 || len(b) > maxHeld {
		r.Write(at, b)
		return
	}
	r.touch(at)
	r.f.Seen = int64(len(b))
	if !r.undone && r.f.Seen <= r.c.opt.HashLimit {
		r.take(b)
	}
	r.name(b)
	r.wholly(b)
	r.undone = true
}

// Write takes the next bytes, borrowed.
func (r *Reader) Write(at capture.At, b []byte) {
	if len(b) == 0 {
		return
	}
	r.touch(at)
	if r.f.Seen == 0 && r.total > int64(len(b)) && r.total <= maxHeld && !r.undone {
		r.like, r.bytes = r.c.starting(b, r.total)
	}
	if r.like != nil {
		n := int(r.f.Seen)
		if n+len(b) <= len(r.bytes) && bytes.Equal(b, r.bytes[n:n+len(b)]) {
			r.f.Seen += int64(len(b))
			return
		}
		r.unlike()
	}
	r.add(b)
}

// unlike takes up what was compared only.
func (r *Reader) unlike() {
	if b, n := r.bytes, r.f.Seen; r.like != nil {
		r.like, r.bytes, r.f.Seen = nil, nil, 0
		r.add(b[:n])
	}
}

func (r *Reader) add(b []byte) {
	first := r.f.Seen == 0
	r.f.Seen += int64(len(b))
	if !r.undone && r.f.Seen > r.c.opt.HashLimit {
		r.stop()
	}
	if first && !r.undone && r.c.holding < maxHolding {
		r.hold()
	}
	if r.holds {
		if len(r.held)+len(b) <= maxHeld {
			r.held = append(r.held, b...)
			return
		}
		if len(r.held) >= sniffLen {
			r.name(r.held)
			r.begin(r.held)
		}
		r.spill()
	} else if !r.undone && r.stream == nil {
		r.stream = r.c.newDigests()
	}
	if !r.named {
		before := len(r.held)
		if before == 0 && len(b) >= sniffLen {
			r.name(b)
		} else {
			r.held = append(r.held, b[:min(len(b), max(sniffLen-len(r.held), 0))]...)
			if len(r.held) >= sniffLen {
				r.name(r.held)
			}
		}
		r.begin(r.held[:before])
	}
	if r.stream != nil {
		r.stream.write(b)
	}
	if r.copy != nil {
		r.copy.write(b)
	}
	if r.opens {
		r.deepen(b)
	}
}

// deepen keeps the next bytes of a container, the last of what was seen, unless they are kept already.
func (r *Reader) deepen(b []byte) {
	at := int64(len(r.deep)) - (r.f.Seen - int64(len(b)))
	if at < 0 || r.f.Missing > 0 {
		r.opens = false // something is missing before it
		return
	}
	if at < int64(len(b)) {
		r.deep = append(r.deep, b[at:min(at+int64(InsideLen-len(r.deep)), int64(len(b)))]...)
	}
	r.opens = len(r.deep) < InsideLen
}

// Gap says that the next n bytes are missing.
func (r *Reader) Gap(at capture.At, n int64) {
	r.touch(at)
	r.Skip(n)
}

// Skip says that the next n bytes come elsewhere, if at all.
func (r *Reader) Skip(n int64) {
	r.unlike()
	r.f.Missing += n
	r.unnamed()
	if r.copy != nil {
		r.copy.gap(n)
	}
	r.stop()
}

// unnamed names the file by what there is before a hole.
func (r *Reader) unnamed() {
	if !r.named && len(r.held) > 0 {
		r.name(r.held)
	} else if !r.named && r.c != nil && r.c.opt.Copies != nil {
		r.classify(nil, &content{})
	}
	r.begin(r.held)
	r.named = true
}

// Close ends the file, and gives what is known of it, or nil if there was nothing. What the decoder knows (flow,
// source, name, length) it adds. The list has one element and is one allocation with it.
func (r *Reader) Close() []*File {
	if !r.begun {
		r.Drop()
		return nil
	}
	if r.like != nil && r.f.Seen < int64(len(r.bytes)) {
		r.unlike()
	}
	switch {
	case r.undone:
	case r.like != nil:
		r.is(r.like, r.bytes)
	case r.holds:
		r.take(r.held)
	case r.stream != nil:
		r.stream.sums(&r.f)
	}
	if len(r.held) > 0 {
		r.name(r.held)
	}
	if r.like != nil {
		r.wholly(r.bytes)
	} else {
		r.wholly(r.held)
	}
	if r.deep != nil {
		r.f.Inside = look(r.deep, r.f.MIME, r.f.Kind)
		r.shut()
	}
	r.f.Copy = r.copied()
	r.stop()
	r.begun, r.like, r.bytes = false, nil, nil
	one := &struct {
		f    File
		list [1]*File
	}{f: r.f}
	one.list[0] = &one.f
	return one.list[:]
}

// SoFar gives what is known of a file that goes on, without digests; nil if there is nothing yet.
func (r *Reader) SoFar() []*File {
	if !r.begun {
		return nil
	}
	r.unlike()
	f := r.f
	if !r.named && len(r.held) > 0 {
		f.MIME = Sniff(r.held[:min(len(r.held), sniffLen)])
	}
	return []*File{&f}
}

// Drop forgets the file and gives back what it holds.
func (r *Reader) Drop() {
	r.shut()
	r.stop()
	r.copy.Drop()
	r.copy, r.class = nil, 0
	r.begun, r.like, r.bytes = false, nil, nil
}

// stop ends the digests.
func (r *Reader) stop() {
	if r.holds {
		r.release(nil)
	}
	if r.stream != nil {
		r.c.digests = append(r.c.digests, r.stream)
		r.stream = nil
	}
	r.undone = true
}

func (r *Reader) hold() {
	c := r.c
	c.holding++
	r.holds = true
	if n := len(c.buffers); n > 0 {
		r.held, c.buffers = c.buffers[n-1], c.buffers[:n-1]
	} else {
		r.held = make([]byte, 0, 4<<10)
	}
}

// release gives the buffer back, and keeps what is needed to name the file.
func (r *Reader) release(keep []byte) {
	b := r.held
	r.held, r.holds = nil, false
	if !r.named && len(keep) > 0 {
		r.held = append(r.held, keep[:min(len(keep), sniffLen)]...)
	}
	r.c.holding--
	r.c.buffers = append(r.c.buffers, b[:0])
}

// spill turns a file that is held into one that is digested as it comes.
func (r *Reader) spill() {
	r.stream = r.c.newDigests()
	r.stream.write(r.held)
	r.release(r.held)
}

// name names the file by its first bytes.
func (r *Reader) name(b []byte) {
	if r.named {
		return
	}
	k := known(b)
	r.called(b, &k)
	if k.container() && r.c != nil && r.c.open < maxOpen {
		r.c.open++
		r.deep, r.opens = append([]byte(nil), b[:min(len(b), InsideLen)]...), len(b) < InsideLen
	}
}

// shut gives up the look into a container.
func (r *Reader) shut() {
	if r.deep != nil {
		r.c.open--
		r.deep, r.opens = nil, false
	}
}

// known says what a file is by its first bytes.
func known(b []byte) (k content) {
	b = b[:min(len(b), sniffLen)]
	k.mime = Sniff(b)
	if k.kind = kindOf(b, k.mime); k.kind == None && k.mime == "text/plain" && unmarked(b) {
		k.kind, k.plain = Script, true
	}
	k.lines = k.kind == None && k.mime == "text/plain" && commandLines(b)
	k.coded = k.kind == None && k.mime == "text/plain" && coded(b)
	return k
}

// container says that it may be worth a look inside.
func (k *content) container() bool {
	switch k.kind {
	case Archive, PyTorch:
		return true
	case None:
		return k.coded || k.mime == "application/x-debian-package" || k.mime == "application/x-rpm"
	}
	return false
}

func (r *Reader) called(b []byte, k *content) {
	kind := k.kind
	r.named, r.f.MIME, r.f.Kind, r.f.Unmarked, r.f.Inside = true, k.mime, kind, k.plain, k.in
	r.f.Lines = k.lines
	if kind != None || k.lines {
		r.f.Head = append([]byte(nil), b[:min(len(b), HeadLen)]...)
	}
	if r.c != nil && r.c.opt.Copies != nil {
		r.classify(b, k)
	}
}

// take digests a file that is there as a whole, or remembers it.
func (r *Reader) take(b []byte) {
	r.is(r.c.known(b), b)
}

// is says that the file is a content that is known.
func (r *Reader) is(k *content, b []byte) {
	r.f.Digests = k.Digests
	if !r.named {
		r.called(b, k)
	}
}

// inHex writes three digests as one text, which its parts share.
func inHex(m, s1, s256 []byte) Digests {
	b := make([]byte, 0, 2*(md5.Size+sha1.Size+sha256.Size))
	b = hex.AppendEncode(hex.AppendEncode(hex.AppendEncode(b, m), s1), s256)
	const at1, at256 = 2 * md5.Size, 2 * (md5.Size + sha1.Size)
	text := string(b)
	return Digests{text[:at1], text[at1:at256], text[at256:]}
}

// known gives what there is to know of a content, remembered or found out.
func (c *Cache) known(b []byte) *content {
	id := identity{maphash.Bytes(c.seed, b), len(b)}
	if k := c.young[id]; k != nil {
		c.keep(k, b)
		return k
	}
	k := c.old[id]
	if k == nil {
		m, s1, s256 := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b)
		is := known(b)
		is.Digests = inHex(m[:], s1[:], s256[:])
		if is.container() {
			is.in = look(b, is.mime, is.kind)
		}
		k = &is
	}
	if len(c.young) >= maxKnown {
		c.young, c.old = map[identity]*content{}, c.young
	}
	c.young[id] = k
	return k
}

// keep keeps a content that came again.
func (c *Cache) keep(k *content, b []byte) {
	if k.bytes != nil || len(b) <= startLen {
		return
	}
	at := &c.starts[c.start(b, int64(len(b)))]
	before := 0
	if *at != nil {
		if (*at).used {
			(*at).used = false
			return
		}
		before = len((*at).bytes)
	}
	if c.kept+len(b)-before > maxKept {
		return
	}
	if *at != nil {
		(*at).bytes = nil
	}
	c.kept += len(b) - before
	k.bytes = bytes.Clone(b)
	*at = k
}

// start is the slot of contents that begin with b.
func (c *Cache) start(b []byte, total int64) uint64 {
	return (maphash.Bytes(c.seed, b[:startLen]) + uint64(total)) % startSlots
}

// starting gives the content that begins with b and is as long as announced, if one is kept.
func (c *Cache) starting(b []byte, total int64) (k *content, all []byte) {
	if len(b) < startLen {
		return nil, nil
	}
	if k = c.starts[c.start(b, total)]; k == nil || int64(len(k.bytes)) != total {
		return nil, nil
	}
	k.used = true
	return k, k.bytes
}

func (c *Cache) newDigests() *digests {
	if n := len(c.digests); n > 0 {
		d := c.digests[n-1]
		c.digests = c.digests[:n-1]
		d.md5.Reset()
		d.sha1.Reset()
		d.sha256.Reset()
		return d
	}
	return &digests{md5.New(), sha1.New(), sha256.New()}
}

func (d *digests) write(b []byte) {
	d.md5.Write(b)
	d.sha1.Write(b)
	d.sha256.Write(b)
}

func (d *digests) sums(f *File) {
	var m [md5.Size]byte
	var s1 [sha1.Size]byte
	var s256 [sha256.Size]byte
	f.Digests = inHex(d.md5.Sum(m[:0]), d.sha1.Sum(s1[:0]), d.sha256.Sum(s256[:0]))
}
