package file

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Kind is what a file is for those who look for attacks: finer than a MIME type where models are concerned, coarser
// elsewhere.
type Kind uint8

// The kinds. Those from Safetensors on are what models and data sets are kept in.
const (
	None Kind = iota
	Script
	Executable
	Archive
	Safetensors
	GGUF
	PyTorch
	ONNX
	HDF5
	Parquet
	Pickle
	NumPy
	TFLite
	Arrow
)

var kindNames = [...]string{
	"", "script", "executable", "archive", "safetensors", "GGUF", "PyTorch", "ONNX", "HDF5", "Parquet", "pickle", "NumPy", "TensorFlow Lite", "Arrow",
}

func (k Kind) String() string { return kindNames[min(int(k), len(kindNames)-1)] }

// Artefact says whether the kind is one that models and data sets are kept in.
func (k Kind) Artefact() bool { return k >= Safetensors }

// kindOf tells the kind by the first bytes, of which mime was made.
func kindOf(b []byte, mime string) Kind {
	switch mime {
	case "text/x-shellscript", "text/x-python", "text/x-perl", "text/x-ruby", "text/x-php", "text/x-lua", "text/x-awk", "text/x-msdos-batch":
		return Script
	case "application/x-executable", "application/x-sharedlib", "application/x-dosexec", "application/x-mach-o-executable", "application/x-object":
		return Executable
	case "application/zip":
		return zipKind(b)
	case "application/x-gzip", "application/x-xz", "application/x-bzip2", "application/x-7z-compressed", "application/x-rar", "application/x-tar":
		return Archive
	}
	switch {
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return Executable // of a machine that Zeek has no signature for
	case bytes.HasPrefix(b, []byte("#!")):
		return Script
	case len(b) >= 262 && string(b[257:262]) == "ustar", bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")):
		return Archive
	case len(b) >= 8 && (string(b[:4]) == "GGUF" || string(b[:4]) == "FUGG") && (b[4] != 0 || b[7] != 0): // version follows; ggml docs/gguf.md
		return GGUF
	case bytes.HasPrefix(b, []byte("\x89HDF\r\n\x1a\n")):
		return HDF5
	case bytes.HasPrefix(b, []byte("PAR1")):
		return Parquet
	case bytes.HasPrefix(b, []byte("\x93NUMPY")):
		return NumPy
	case bytes.HasPrefix(b, []byte("ARROW1\x00\x00")):
		return Arrow
	case len(b) >= 8 && string(b[4:8]) == "TFL3":
		return TFLite
	case safetensors(b):
		return Safetensors
	case onnx(b):
		return ONNX
	case mime == "" && behind(b) != None:
		return behind(b)
	case pickle(b), b0(b) == 'c' && Runs(b[:min(len(b), 256)]) != "": // of protocol 0: GLOBAL comes first where something is run
		return Pickle
	}
	return None
}

// zipKind looks at the name of the first entry: torch.save writes NAME/data.pkl first, numpy.savez NAME.npy.
func zipKind(b []byte) Kind {
	if len(b) < 30 {
		return Archive
	}
	n := int(binary.LittleEndian.Uint16(b[26:28]))
	name := string(b[30:min(30+n, len(b))])
	switch {
	case strings.HasSuffix(name, "/data.pkl"), strings.HasSuffix(name, "/byteorder"), strings.HasSuffix(name, "/.format_version"):
		return PyTorch
	case strings.HasSuffix(name, ".npy"):
		return NumPy
	}
	return Archive
}

// safetensors: eight bytes of length, then that much JSON (safetensors format, README of the library). The library
// takes at most 100 MB of it.
func safetensors(b []byte) bool {
	if len(b) < 16 || b[8] != '{' {
		return false
	}
	n := binary.LittleEndian.Uint64(b)
	rest := b[9:]
	return n >= 2 && n <= 100_000_000 && (rest[0] == '"' || rest[0] == ' ' || rest[0] == '}') &&
		(bytes.Contains(rest, []byte(`"dtype"`)) || bytes.HasPrefix(bytes.TrimLeft(rest, " "), []byte(`"__metadata__"`)))
}

// onnx: a ModelProto begins with ir_version (field 1, 3 to 13 today), then the producer's name or what follows it
// (onnx.proto).
func onnx(b []byte) bool {
	if len(b) < 12 || b[0] != 0x08 || b[1] < 3 || b[1] > 32 {
		return false
	}
	if b[2] == 0x12 && b[3] > 0 && b[3] < 64 && len(b) > 4+int(b[3]) {
		name := b[4 : 4+int(b[3])]
		for _, c := range name {
			if c < ' ' || c > '~' {
				return false
			}
		}
		next := b[4+int(b[3])]
		return next == 0x1a || next == 0x22 || next == 0x28 || next == 0x32 || next == 0x3a || next == 0x42
	}
	return false
}

// pickle of protocol 2 to 5 (pickletools): PROTO, and then a frame or an opcode that objects begin with.
func pickle(b []byte) bool {
	if len(b) < 12 || b[0] != 0x80 || b[1] < 2 || b[1] > 5 {
		return false
	}
	if b[1] >= 4 {
		// FRAME has the length of what follows; pickles too short for a frame are too short to matter.
		return b[2] == 0x95 && binary.LittleEndian.Uint64(b[3:]) < 1<<40
	}
	return bytes.IndexByte([]byte("}](cX\x8a\x8c"), b[2]) >= 0
}

func b0(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// maxBefore is how much may stand before a model that somebody hides by it.
const maxBefore = 64

// behind tells a model behind some bytes that mean nothing, by marks that are long enough not to come by chance.
func behind(b []byte) Kind {
	if len(b) < 2 {
		return None
	}
	head := b[1:min(len(b), maxBefore+32)]
	if i := bytes.Index(head, []byte("GGUF")); i >= 0 && len(head) >= i+8 && head[i+4] >= 1 && head[i+4] <= 3 && string(head[i+5:i+8]) == "\x00\x00\x00" {
		return GGUF
	}
	if i := bytes.Index(head, []byte("\x00\x00\x00\x00{\"")); i >= 4 && safetensors(b[1+i-4:]) {
		return Safetensors
	}
	return None
}
