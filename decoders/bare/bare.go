// Package bare reads files that are sent over a connection without any protocol around them, as netcat and /dev/tcp do.
//
// In: the bytes of a stream in which one side alone speaks and that begins with the mark of a program, a script, an archive
// or a model. Out: *Transfer at its end, with what file.Reader knows of the file. It is no row of files.log: Zeek has none.
//
// The mark must stand in the first bytes and be one that no protocol begins with. It does not see: text without #!, which
// services and secrets read; a file behind a line that says what it is; what is sent in both directions.
package bare

import (
	"bytes"
	"errors"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

// Transfer is a file that made up one direction of a connection.
type Transfer struct {
	capture.At // of its end
	File       *file.File
}

// maxAnswer is how much the other side may say all the same: a line that says thanks.
const maxAnswer = 256

// marks are how such files begin: ELF, scripts, Mach-O, gzip, xz, bzip2, zstd, zip, ar, RPM, GGUF, HDF5, NumPy, Parquet, Arrow.
var marks = [...]string{
	"\x7fELF\x01", "\x7fELF\x02", "#!/", "\xcf\xfa\xed\xfe", "\x1f\x8b\x08", "\xfd7zXZ\x00", "BZh91AY&SY", "\x28\xb5\x2f\xfd", "PK\x03\x04", "!<arch>\n",
	"\xed\xab\xee\xdb", "GGUF\x02\x00", "GGUF\x03\x00", "\x89HDF\r\n\x1a\n", "\x93NUMPY", "PAR1\x15", "ARROW1\x00\x00",
}

// Spec registers the decoder, before those that take any text.
func Spec(files *file.Cache) decoders.Spec {
	return decoders.Spec{Name: "bare", Any: true, Stream: probe, New: func(ctx decoders.Context) decoders.Decoder {
		d := &decoder{ctx: ctx}
		d.r.Open(files)
		return d
	}}
}

func probe(orig, resp []byte, mid bool) decoders.Verdict {
	b := orig
	if len(b) == 0 {
		b = resp
	}
	if mid || len(orig) > 0 && len(resp) > 0 {
		return decoders.No
	}
	return marked(b)
}

func marked(b []byte) decoders.Verdict {
	v := decoders.No
	for _, m := range marks {
		n := min(len(b), len(m))
		if string(b[:n]) != m[:n] {
			continue
		}
		if n == len(m) {
			return decoders.Yes
		}
		v = decoders.Maybe
	}
	if v == decoders.No {
		v = safetensors(b)
	}
	return v
}

// safetensors: the length of the JSON behind it in eight bytes, and its first ones. A pickle has its own first bytes.
func safetensors(b []byte) decoders.Verdict {
	const head = "\x00\x00\x00\x00{\""
	switch {
	case len(b) >= 2 && b[0] == 0x80 && b[1] >= 3 && b[1] <= 5:
		if len(b) < 11 {
			return decoders.Maybe
		}
		if b[2] == 0x95 && bytes.Equal(b[7:11], []byte{0, 0, 0, 0}) {
			return decoders.Yes // FRAME, shorter than 4 GiB
		}
		return decoders.No
	case len(b) < 10: // too little to make others wait for
	case string(b[4:10]) == head && b[3] <= 5:
		return decoders.Yes
	}
	return decoders.No
}

var errBoth = errors.New("bare: both sides speak")

type decoder struct {
	ctx   decoders.Context
	r     file.Reader
	dir   capture.Dir
	begun bool
	said  int // by the other side
	done  bool
}

// Doubtful implements decoders.Doubtful: another protocol may follow all the same.
func (d *decoder) Doubtful() bool { return true }

func (d *decoder) Decode(dir capture.Dir, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if !d.begun {
		d.begun, d.dir = true, dir
		d.r.NoDigest()
	}
	if dir != d.dir {
		if d.said += len(b); d.said > maxAnswer {
			d.r.Drop()
			d.done = true
			return len(b), errBoth
		}
		return len(b), nil
	}
	d.r.Write(d.ctx.At(), b)
	return len(b), nil
}

func (d *decoder) Gap(dir capture.Dir, n int64) bool {
	if d.begun && dir == d.dir && !d.done {
		d.r.Gap(d.ctx.At(), n)
	}
	return true
}

func (d *decoder) End(dir capture.Dir) {
	if !d.begun || d.done || dir != d.dir {
		return
	}
	d.done = true
	if list := d.r.Close(); list != nil {
		f := list[0]
		f.Flow, f.Source, f.Sender = d.ctx.Flow(), "TCP", dir
		f.ID = file.NewID(f.Flow, 0, byte(dir), 'b')
		d.ctx.Emit(&Transfer{At: d.ctx.At(), File: f})
	}
}
