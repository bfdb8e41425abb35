package file

import (
	"bytes"
	"compress/bzip2"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
)

const (
	// InsideLen is how much of an archive is looked into: what a dropper packs stands first, and a release of a miner has
	// its program within the first entries.
	InsideLen = 64 << 10
	// maxUnpacked is how much of what that holds is looked at. A bomb gets no further.
	maxUnpacked = 512 << 10
	// maxEntries is how many entries of an archive are looked at.
	maxEntries = 64
	// entryHead is how much of an entry says what it is.
	entryHead = 1 << 10
)

// Inside is what stands inside of a file that is a container: the most telling of what was found.
type Inside struct {
	Kind Kind   // Script, Executable, a kind of model, or Pickle for one that runs something
	Form string // what it stands in: "tar", "gzip", "xz", "zip", "Debian package", "RPM package", "base64"
	Name string // the entry's; "" if it has none
	Head []byte // the entry's beginning
}

// weight orders what is found.
func (i *Inside) weight() int {
	switch {
	case i == nil:
		return 0
	case i.Kind == Executable:
		return 4
	case i.Kind == Script, i.Kind == Pickle:
		return 3
	case i.Kind.Artefact():
		return 2
	}
	return 1
}

// look opens a container by one level, of which b is the beginning; nil if it is none or nothing of interest is in it.
// A compressed tar is one container, and so is the tar in a package.
func look(b []byte, mime string, kind Kind) *Inside {
	switch {
	case kind == Archive || kind == PyTorch || kind == NumPy:
	case mime == "application/x-debian-package" || mime == "application/x-rpm":
	case kind == None && strings.HasPrefix(mime, "text/plain"):
		return inBase64(b)
	default:
		return nil
	}
	switch {
	case mime == "application/x-debian-package":
		return inAr(b)
	case mime == "application/x-rpm":
		return &Inside{Kind: Executable, Form: "RPM package"}
	case bytes.HasPrefix(b, []byte("PK")):
		return inZip(b)
	case isTar(b):
		return inTar(b, "tar")
	}
	if u, form := unpack(b); u != nil {
		if isTar(u) {
			return inTar(u, "tar")
		}
		return entry(u, form, "")
	}
	return nil
}

// unpack takes the outer compression off.
func unpack(b []byte) (u []byte, form string) {
	var r io.Reader
	switch {
	case bytes.HasPrefix(b, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, ""
		}
		r, form = z, "gzip"
	case bytes.HasPrefix(b, []byte("BZh")):
		r, form = bzip2.NewReader(bytes.NewReader(b)), "bzip2"
	case bytes.HasPrefix(b, []byte(xzMagic)):
		return unxz(b), "xz"
	case bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(16<<20))
		if err != nil {
			return nil, ""
		}
		defer z.Close()
		r, form = z, "zstd"
	default:
		return nil, ""
	}
	u, _ = io.ReadAll(io.LimitReader(r, maxUnpacked)) // b may have been cut: its beginning counts
	if len(u) == 0 {
		return nil, ""
	}
	return u, form
}

const (
	xzMagic = "\xfd7zXZ\x00"
	// Dictionaries by which xz is read. The dictionary that a block asks for, up to 4 GiB, is no matter: what a match refers to
	// lies in what is unpacked here, and that is bounded. A stream that is cut short loses as much as the dictionary holds
	// at its end, so that a small one reads it: its first 64 KiB are there, in which no match reaches further back.
	xzWhole, xzCut, xzShort = maxUnpacked, 64 << 10, lzma.MinDictCap
	// maxChunks is how many LZMA2 chunks are read: an encoder fills 64 KiB of them or 2 MiB of what they stand for, and each may
	// ask for a new state of 24 KiB.
	maxChunks = 64
)

// unxz gives the beginning of an xz stream's first block (the .xz file format, 1.2.1); nil if there is nothing to be read.
// Checks are not checked. A filter for a machine's code (BCJ) in front of LZMA2 changes addresses of jumps only, so that
// what it leaves says what it is; one for differences (Delta) is not undone.
func unxz(b []byte) []byte {
	const stream = 12
	if len(b) < stream+2 {
		return nil
	}
	whole := bytes.HasSuffix(bytes.TrimRight(b[stream:], "\x00"), []byte("YZ"))
	head := (int(b[stream]) + 1) * 4 // an index, for 0, has none
	if b[stream] == 0 || len(b) <= stream+head || !lzma2(b[stream+1:stream+head-4]) {
		return nil
	}
	b = chunks(b[stream+head:])
	for _, dict := range [...]int{xzWhole, xzCut, xzShort} {
		if dict == xzWhole && !whole {
			continue
		}
		r, err := lzma.Reader2Config{DictCap: dict}.NewReader2(bytes.NewReader(b))
		if err != nil {
			return nil
		}
		if u, _ := io.ReadAll(io.LimitReader(r, maxUnpacked)); len(u) > 0 {
			return u
		}
	}
	return nil
}

// chunks gives the beginning of a sequence of LZMA2 chunks that is worth reading: so many of them, none of which asks for
// more literal contexts than LZMA2 has (lc + lp is 4 at the most), for which the library has no bound of its own.
func chunks(b []byte) []byte {
	for n, at := 0, 0; at < len(b) && b[at] != 0; n++ {
		if n == maxChunks {
			return b[:at]
		}
		size := 3 // of the head: control, and two octets of length
		if b[at] >= 0x80 {
			if size = 5; b[at] >= 0xc0 {
				size++
			}
		}
		if len(b) < at+size {
			return b[:at]
		}
		if size == 3 {
			size += int(binary.BigEndian.Uint16(b[at+1:])) + 1
		} else {
			if size == 6 {
				if p := b[at+5] % 45; b[at+5] >= 225 || p%9+p/9 > 4 { // (pb * 5 + lp) * 9 + lc
					return b[:at]
				}
			}
			size += int(binary.BigEndian.Uint16(b[at+3:])) + 1
		}
		at += size
	}
	return b
}

// lzma2 reports whether a block header, from its flags on (section 3.1), ends with LZMA2 behind filters that leave a file
// recognisable.
func lzma2(b []byte) bool {
	const lzma2, bcjFirst, bcjLast = 0x21, 0x04, 0x0b // section 5.3
	flags, b := b[0], b[1:]
	number := func() uint64 {
		n, used := binary.Uvarint(b[:min(len(b), 9)])
		b = b[max(used, 0):]
		return n
	}
	if flags&0x40 != 0 { // the compressed size
		number()
	}
	if flags&0x80 != 0 { // the uncompressed size
		number()
	}
	for range flags&3 + 1 {
		id, n := number(), number()
		if n > uint64(len(b)) {
			return false
		}
		b = b[n:]
		if id == lzma2 {
			return true
		}
		if id < bcjFirst || id > bcjLast {
			return false
		}
	}
	return false
}

// entry judges the beginning of what a container holds.
func entry(b []byte, form, name string) *Inside {
	if len(b) == 0 {
		return nil
	}
	head := b[:min(len(b), sniffLen)]
	kind := kindOf(head, Sniff(head))
	switch {
	case kind == Script, kind == Executable:
	case kind == Pickle:
		if Runs(b) == "" {
			return nil
		}
	case kind.Artefact():
	case strings.HasSuffix(name, ".pkl") && Runs(b) != "":
		kind = Pickle
	case name == "setup.py" || strings.HasSuffix(name, "/setup.py"):
		kind = Script // pip runs it
	default:
		return nil
	}
	return &Inside{Kind: kind, Form: form, Name: strings.Clone(name), Head: bytes.Clone(b[:min(len(b), entryHead)])}
}

func isTar(b []byte) bool { return len(b) >= 512 && string(b[257:262]) == "ustar" }

// inTar goes through the entries of a tar (POSIX.1-1988 ustar, pax, GNU), as far as they are there.
func inTar(b []byte, form string) (best *Inside) {
	const block = 512
	for range maxEntries {
		if len(b) < block || b[0] == 0 {
			break
		}
		size, ok := octal(b[124:136])
		if !ok || size < 0 {
			break
		}
		name, typ := text0(b[:100]), b[156]
		if p := text0(b[345:500]); p != "" && string(b[257:263]) == "ustar\x00" {
			name = p + "/" + name
		}
		b = b[block:]
		if typ == '0' || typ == 0 {
			if e := entry(b[:min(int64(len(b)), size)], form, name); e.weight() > best.weight() {
				best = e
			}
		}
		next := (size + block - 1) / block * block
		if next >= int64(len(b)) {
			break
		}
		b = b[next:]
	}
	return best
}

// octal reads a number of a tar's head, which ends with a space or a zero byte; GNU has large ones in base 256.
func octal(b []byte) (int64, bool) {
	if b[0]&0x80 != 0 {
		return int64(binary.BigEndian.Uint64(b[len(b)-8:]) & (1<<62 - 1)), true
	}
	s := strings.Trim(string(b), " \x00")
	if s == "" {
		return 0, true
	}
	n, err := strconv.ParseInt(s, 8, 64)
	return n, err == nil
}

func text0(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// inZip goes through the local file headers of a zip (APPNOTE.TXT, 4.3.7): wheels, Java and model archives, and what
// torch.save writes.
func inZip(b []byte) (best *Inside) {
	const head = 30
	left := maxUnpacked
	for range maxEntries {
		if len(b) < head || string(b[:4]) != "PK\x03\x04" {
			break
		}
		le := binary.LittleEndian
		flags, method := le.Uint16(b[6:]), le.Uint16(b[8:])
		size := int64(le.Uint32(b[18:]))
		n, extra := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
		if len(b) < head+n+extra {
			break
		}
		name := string(b[head : head+n])
		b = b[head+n+extra:]
		known := flags&8 == 0 && size != 1<<32-1
		data := b
		if known {
			data = b[:min(int64(len(b)), size)]
		}
		var in []byte
		switch {
		case flags&1 != 0: // encrypted
		case method == 0:
			in = data
		case method == 8 && left > 0:
			src := bytes.NewReader(data)
			in, _ = io.ReadAll(io.LimitReader(flate.NewReader(src), int64(left)))
			left -= len(in)
			if !known {
				size = int64(len(data) - src.Len())
			}
		}
		if e := entry(in, "zip", name); e.weight() > best.weight() {
			best = e
		}
		if !known {
			// Behind the data stands a descriptor, with or without a signature; where it ends the next header begins.
			if method != 8 {
				size = 0
			}
			i := bytes.Index(b[min(size, int64(len(b))):], []byte("PK\x03\x04"))
			if i < 0 {
				break
			}
			size += int64(i)
		}
		if size >= int64(len(b)) {
			break
		}
		b = b[size:]
	}
	return best
}

// inAr goes through the members of a Debian package (deb(5)): the scripts of control.tar run as root, and it is a program
// in any case.
func inAr(b []byte) *Inside {
	const magic, head = 8, 60
	best := &Inside{Kind: Executable, Form: "Debian package"}
	b = b[min(magic, len(b)):]
	for range 4 {
		if len(b) < head {
			break
		}
		name := strings.TrimRight(string(b[:16]), " /")
		size, err := strconv.ParseInt(strings.TrimSpace(string(b[48:58])), 10, 64)
		if err != nil || size < 0 {
			break
		}
		b = b[head:]
		if strings.HasPrefix(name, "control.tar") || strings.HasPrefix(name, "data.tar") {
			in := b[:min(int64(len(b)), size)]
			if u, _ := unpack(in); u != nil {
				in = u
			}
			if isTar(in) {
				if e := inTar(in, "Debian package"); e.weight() >= best.weight() || e != nil && best.Name == "" {
					best = e
				}
			}
		}
		size += size & 1
		if size >= int64(len(b)) {
			break
		}
		b = b[size:]
	}
	return best
}

// coded says that a text may be base64 of ELF, #!/, MZ, gzip, xz or zip.
func coded(b []byte) bool {
	if b = armoured(b); len(b) < 24 {
		return false
	}
	switch string(b[:4]) {
	case "f0VM", "IyEv", "IyEg", "TVqQ", "TVoA", "TVpQ", "H4sI", "UEsD", "/Td6":
		return true
	}
	return false
}

// armoured gives what stands behind a line that certutil and its kin put before base64.
func armoured(b []byte) []byte {
	b = bytes.TrimLeft(b, " \t\r\n")
	if bytes.HasPrefix(b, []byte("-----BEGIN ")) {
		if _, rest, ok := bytes.Cut(b, []byte("\n")); ok {
			b = rest
		}
	}
	return b
}

// inBase64 looks at what a text that is base64 stands for.
func inBase64(b []byte) *Inside {
	if !coded(b) {
		return nil
	}
	b = armoured(b)
	in := make([]byte, 0, min(len(b), InsideLen))
	for _, c := range b[:min(len(b), InsideLen)] {
		switch {
		case c == '\r' || c == '\n':
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/':
			in = append(in, c)
		case c == '=', c == '-': // the end
		default:
			return nil
		}
	}
	out := make([]byte, base64.RawStdEncoding.DecodedLen(len(in)))
	n, _ := base64.RawStdEncoding.Decode(out, in[:len(in)/4*4])
	out = out[:n]
	if e := entry(out, "base64", ""); e != nil {
		return e
	}
	head := out[:min(len(out), sniffLen)]
	if mime := Sniff(head); mime == "application/x-gzip" || mime == "application/x-xz" || mime == "application/zip" {
		if e := look(out, mime, kindOf(head, mime)); e != nil {
			e.Form = "base64 and " + e.Form
			return e
		}
	}
	return nil
}

const (
	// How far into a text what is coded may begin: behind the names of a few fields.
	codedWithin = 512
	// So much of it says what it is.
	codedHead = 4 << 10
)

// Coded gives the model, program or script that a text holds in base64 or hexadecimal, from one of its first fields on; nil
// if there is none. b is the beginning of the text.
func Coded(b []byte) *Inside {
	for i := 0; i < min(len(b), codedWithin); {
		n := run(b[i:])
		if n >= 1<<10 {
			return coding(b[i : i+min(n, codedHead)])
		}
		i += n + 1
	}
	return nil
}

// run is how many characters of base64 b begins with, line ends and their escapes among them, up to what is needed.
func run(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c|0x20 >= 'a' && c|0x20 <= 'z', c >= '0' && c <= '9', c == '+', c == '/', c == '-', c == '_':
		case c == '\n' && i > 0, c == '\r' && i > 0, c == '\\' && i > 0 && i+1 < len(b) && b[i+1] == 'n':
		default:
			return i
		}
		if i >= codedHead {
			return i
		}
	}
	return len(b)
}

func coding(b []byte) *Inside {
	in := make([]byte, 0, len(b))
	hexa := true
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n', c == '\r':
		case c == '\\':
			i++ // and its letter
		case c == '-':
			in, hexa = append(in, '+'), false
		case c == '_':
			in, hexa = append(in, '/'), false
		default:
			in = append(in, c)
			hexa = hexa && (c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f')
		}
	}
	out := make([]byte, len(in))
	form, n := "base64", 0
	if hexa {
		form = "hexadecimal"
		n, _ = hex.Decode(out, in[:len(in)/2*2])
	} else {
		n, _ = base64.RawStdEncoding.Decode(out, in[:len(in)/4*4])
	}
	out = out[:n]
	if e := entry(out, form, ""); e != nil {
		return e
	}
	head := out[:min(len(out), sniffLen)]
	if mime := Sniff(head); mime == "application/x-gzip" || mime == "application/x-xz" || mime == "application/zip" {
		if e := look(out, mime, kindOf(head, mime)); e != nil {
			e.Form = form + " and " + e.Form
			return e
		}
	}
	return nil
}
