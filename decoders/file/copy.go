package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"slices"
)

// Class is what a file is to somebody who asks for its bytes. A file may be of several classes.
type Class uint16

// The classes. Every file is of Other as well, so that All takes everything.
const (
	Executables Class = 1 << iota // ELF, PE, Mach-O, WebAssembly, byte code of Java and Python
	Scripts
	Archives // packages and compressed files too; wheels are zip archives
	Pickles
	RayPackages // by the place that they were sent to or taken from: see Reader.Label
	Models
	Notebooks
	Other

	All = Other<<1 - 1
)

var classNames = [...]struct {
	name  string
	class Class
}{
	{"executable", Executables}, {"script", Scripts}, {"archive", Archives}, {"pickle", Pickles}, {"ray_package", RayPackages},
	{"model", Models}, {"notebook", Notebooks}, {"all", All},
}

// ClassNames lists the names that ParseClass knows.
func ClassNames() []string {
	var all []string
	for _, c := range classNames {
		all = append(all, c.name)
	}
	return all
}

// ParseClass gives the class of a name, 0 if there is none.
func ParseClass(name string) Class {
	for _, c := range classNames {
		if c.name == name {
			return c.class
		}
	}
	return 0
}

// Copies says which files are copied and where to. It is shared by all workers and not changed.
type Copies struct {
	Classes Class
	Max     int64 // bytes of one copy; the rest of a longer file is left out
	New     func() Spool
}

// Spool takes the bytes of one copy that do not fit into memory. Whoever makes it also ends it, with what the Copy says.
type Spool interface {
	// Put takes the next bytes, which are the Spool's from then on, and reports whether it could. When it could not the
	// copy is given up.
	Put(b []byte) bool
	// Drop forgets them all.
	Drop()
}

const (
	// Bytes that are collected before they go to the Spool.
	copyStep = 64 << 10
	// Bytes that are collected in all copies of one worker. Beyond it they go to the Spool in smaller steps.
	maxCopying = 8 << 20
	// A hole up to this long is filled with zeros, so that what follows stands in its place: a lost segment or a few. A
	// copy ends at a longer one, and when this much was filled, because two packets can claim any length.
	maxHole  = 64 << 10
	maxHoles = 1 << 20
)

// Copy is the bytes of one file, as its receiver has them: the content coding is taken off.
type Copy struct {
	of             *Copies
	c              *Cache
	spool          Spool // nil: all there is is in rest
	rest           []byte
	sum            hash.Hash // nil: name is known
	name           string
	holes          int64
	ended, dropped bool

	Class Class // what the file was taken for
	Size  int64 // bytes, those that fill holes too
	// Kept is what whoever the copy is for keeps it by, "" as long as it is not kept. Files that came over several
	// connections at once share a copy.
	Kept string
	// Cut says that the file is longer than Copies.Max, Holed that bytes are missing in it or at its end, Failed that the
	// Spool did not take it.
	Cut, Holed, Failed bool
}

// Spool gives where the beginning went, nil if Rest is everything.
func (c *Copy) Spool() Spool { return c.spool }

// Rest is the bytes that did not go to the Spool. They are not to be changed.
func (c *Copy) Rest() []byte { return c.rest }

// SHA256 is that of the copy, in hexadecimal.
func (c *Copy) SHA256() string {
	if c.name == "" {
		c.name = hex.EncodeToString(c.sum.Sum(nil))
	}
	return c.name
}

// Dropped reports whether it was forgotten.
func (c *Copy) Dropped() bool { return c.dropped }

// Taken says that Spool and Rest have a new owner.
func (c *Copy) Taken() { c.spool, c.rest = nil, nil }

// Drop forgets the copy, of which there may be none.
func (c *Copy) Drop() {
	if c == nil {
		return
	}
	c.collected(-len(c.rest))
	c.rest, c.ended, c.dropped = nil, true, true
	if c.spool != nil {
		c.spool.Drop()
		c.spool = nil
	}
}

func (c *Copy) collected(n int) {
	if c.c != nil {
		c.c.copying += n
	}
}

// write takes the next bytes, borrowed.
func (c *Copy) write(b []byte) {
	if c.ended {
		return
	}
	if n := c.of.Max - c.Size; int64(len(b)) > n {
		b, c.Cut = b[:n], true
	}
	c.Size += int64(len(b))
	c.sum.Write(b)
	for len(b) > 0 {
		n := min(len(b), copyStep-len(c.rest))
		c.rest = append(c.rest, b[:n]...)
		c.collected(n)
		if b = b[n:]; len(c.rest) < copyStep && c.c.copying <= maxCopying {
			continue
		}
		if !c.put() {
			return
		}
	}
	c.ended = c.Cut
}

// put hands on what was collected.
func (c *Copy) put() bool {
	if c.spool == nil {
		c.spool = c.of.New()
	}
	b := c.rest
	c.collected(-len(b))
	if c.rest = nil; !c.spool.Put(b) {
		c.Failed, c.ended = true, true
		return false
	}
	return true
}

var zeros [4 << 10]byte

// gap says that n bytes are missing.
func (c *Copy) gap(n int64) {
	if c.ended {
		return
	}
	if c.Holed = true; n > maxHole || c.holes+n > maxHoles {
		c.ended = true
		return
	}
	c.holes += n
	for n > 0 && !c.ended {
		step := min(n, int64(len(zeros)))
		c.write(zeros[:step])
		n -= step
	}
}

// newCopy begins one.
func (c *Cache) newCopy(class Class) *Copy {
	return &Copy{of: c.opt.Copies, c: c, sum: sha256.New(), Class: class}
}

// close ends the copy: what is left of it may be read by anybody.
func (c *Copy) close() *Copy {
	if c != nil {
		c.collected(-len(c.rest))
		c.c, c.ended = nil, true
	}
	return c
}

// Copying reports whether files of a class are copied.
func (c *Cache) Copying(class Class) bool {
	return c.opt.Copies != nil && c.opt.Copies.Classes&class != 0
}

// Label says that the file is of a class whatever it looks like, before its first byte.
func (r *Reader) Label(class Class) { r.label |= class }

// NoCopy says, before its first byte, that the file is not copied: somebody else does that.
func (r *Reader) NoCopy() { r.nocopy = true }

// EndCopy says that what follows is not what the receiver has.
func (r *Reader) EndCopy() {
	if r.copy != nil {
		r.copy.ended, r.copy.Holed = true, true
	}
}

// classify notes what the file is to those who want copies; b is its beginning, of which k is known.
func (r *Reader) classify(b []byte, k *content) {
	if r.nocopy || r.copy != nil {
		return
	}
	r.class, r.maybe = classOf(b, k, r.c.opt.Copies.Classes)
	r.class |= r.label | Other
	if (r.class|r.maybe)&r.c.opt.Copies.Classes == 0 {
		r.class, r.maybe = 0, 0
	}
}

// begin begins the copy of a file that is wanted; b is all that came of it so far.
func (r *Reader) begin(b []byte) {
	if r.class == 0 {
		return
	}
	r.copy, r.class = r.c.newCopy(r.class), 0
	if len(b) > 0 {
		r.copy.write(b)
	}
}

// wholly copies a file that is here at once, and whose digests are known if it has any.
func (r *Reader) wholly(b []byte) {
	class := r.class
	if r.class = 0; class == 0 {
		return
	}
	if r.f.SHA256 == "" || int64(len(b)) > r.c.opt.Copies.Max || len(b) > copyStep {
		r.copy = r.c.newCopy(class)
		r.copy.write(b)
		return
	}
	r.copy = &Copy{of: r.c.opt.Copies, Class: class, rest: bytes.Clone(b), name: r.f.SHA256, Size: int64(len(b)), ended: true}
}

// copied gives the copy of the file that ends, nil if there is none.
func (r *Reader) copied() *Copy {
	c := r.copy.close()
	r.copy = nil
	if c == nil || r.maybe == 0 {
		return c
	}
	if in := r.f.Inside; in != nil && (in.Kind == Script || in.Kind == Executable) {
		c.Class |= r.maybe
	}
	if c.Class&c.of.Classes == 0 {
		c.Drop()
		return nil
	}
	return c
}

// classOf tells the classes of a file by what is known of its beginning b. maybe is what it may turn out to be by what
// is inside of it.
func classOf(b []byte, k *content, wanted Class) (is, maybe Class) {
	switch {
	case k.kind == Executable:
		is = Executables
	case k.kind == Script, k.lines:
		is = Scripts
	case k.kind == Archive:
		is = Archives
	case k.kind == Pickle:
		is = Pickles
	case k.kind.Artefact():
		is = Models
	case k.coded:
		maybe = Scripts
	}
	switch {
	case is != 0:
	case k.mime == "application/x-java-applet", // or Mach-O for several machines, which begins with the same four bytes
		k.mime == "application/x-python-bytecode",
		bytes.HasPrefix(b, []byte("\x00asm")),                                                          // WebAssembly
		bytes.HasPrefix(b, []byte("dex\n")),                                                            // Dalvik
		bytes.HasPrefix(b, []byte("\xfe\xed\xfa\xce")), bytes.HasPrefix(b, []byte("\xfe\xed\xfa\xcf")): // Mach-O, big endian
		is = Executables
	case slices.Contains(archiveMIME[:], k.mime):
		is = Archives
	case wanted&Notebooks != 0 && notebook(b):
		is = Notebooks
	}
	return is, maybe
}

// archiveMIME are archives and packages that have no Kind of their own.
var archiveMIME = [...]string{
	"application/x-debian-package", "application/x-rpm", "application/vnd.ms-cab-compressed", "application/x-lzma", "application/x-lz4",
	"application/x-archive", "application/x-xar", "application/x-compress", "application/x-arj",
}

// notebook tells a Jupyter notebook (nbformat 4: an object with a list of cells), also within what Jupyter's contents
// API takes.
func notebook(b []byte) bool {
	b = bytes.TrimLeft(b[:min(len(b), sniffLen)], "\xef\xbb\xbf \t\r\n")
	if b0(b) != '{' {
		return false
	}
	i := bytes.Index(b, []byte(`"cells"`))
	if i < 0 {
		return false
	}
	rest := bytes.TrimLeft(b[i+len(`"cells"`):], " \t\r\n")
	return b0(rest) == ':' && b0(bytes.TrimLeft(rest[1:], " \t\r\n")) == '[' &&
		(bytes.Contains(b, []byte(`"cell_type"`)) || bytes.Contains(b, []byte(`"nbformat"`)))
}

// Partial reports whether the copy is not the whole file, as far as is known.
func (f *File) Partial() bool {
	c := f.Copy
	return c.Cut || c.Holed || f.Unfinished || f.Missing > 0 || f.Seen < f.Total
}

// Counts are what became of copies.
type Counts struct {
	Kept, Bytes uint64 // files that were written, and their bytes
	Again       uint64 // that were there already
	Partial     uint64 // of those kept
	Removed     uint64 // that made room
	Slow        uint64 // dropped: too much waited for the disk
	Full        uint64 // dropped: the disk is full, or the folder's bound less than the file
	Failed      uint64 // dropped: another error
}
