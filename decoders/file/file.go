// Package file is what decoders share about files: bodies, attachments and transfers that other protocols carry.
//
// In: the bytes of a file in order, as the decoder of the protocol around it frees them of its framing (Reader). Out:
// *File, which is also the row of files.log: what it looks like by its first bytes, how large it is, what of it is
// missing, and its MD5, SHA-1 and SHA-256.
//
// Three digests cost 3 ns a byte, ten times what everything else does to it. So files of up to 32 KiB are held until
// they are whole and looked up by a keyed hash that costs 0.1 ns a byte: what a server sends a thousand times is named and
// digested once. Longer ones are digested as they come, up to Options.HashLimit.
//
// A file that comes in pieces over several flows is one, as far as the decoder says what they belong to (Piece, Joined).
// Archives are looked into by one level (Inside), as far as their first 64 KiB go.
package file

import (
	"encoding/binary"
	"time"

	"github.com/raytap/raytap/capture"
)

// HeadLen is how much of a file File.Head holds at the most.
const HeadLen = 1 << 10

// File is one file that was carried by another protocol.
type File struct {
	capture.At              // of its first bytes
	Last       capture.Time // of its last
	Flow       *capture.Flow
	ID         string // made from the place in the flow
	Source     string // "HTTP", "HTTP2", "SSL", "SMB", "SMTP", "POP3", "FTP_DATA", as Zeek has it
	Depth      int    // of a part within its message
	Sender     capture.Dir
	Local      bool   // the sender is in the local networks
	MIME       string // by its first bytes, as Zeek's signatures say; "" if they look like nothing known
	Kind       Kind   // by its first bytes, for detectors
	Name       string
	HasName    bool
	Seen       int64 // bytes
	Total      int64 // announced; 0 if it was not
	Missing    int64 // bytes lost to gaps
	Overflow   int64 // of these, bytes that were not waited for any longer
	TimedOut   bool  // its end was never seen
	// From is what is known of the packets that it began in, of HTTP and data connections of FTP; elsewhere nothing says so.
	From       capture.Provenance
	Inner      bool    // it is a part of another file of the same message
	Unnamed    bool    // what it looks like is not known yet when the message that it came in is logged, as Zeek has it
	Head       []byte  // the beginning, of files with a Kind only, or with Lines
	Lines      bool    // a text without a Kind that begins with a word that scripts of a shell begin with
	Unmarked   bool    // a Script by what it does: it has no first line that says so
	Unfinished bool    // its end was not seen, as the decoder knows; TimedOut is what Zeek thinks
	Copy       *Copy   // of its bytes, if one was wanted; nil otherwise
	Inside     *Inside // what stands in a container; nil if it is none or holds nothing of interest
	Digests
}

// Stale says whether Zeek had given up on a file: from its first bytes on, it looks every two minutes whether any came
// in the last two.
func Stale(first, last, now capture.Time) bool {
	const idle = capture.Time(joinFor)
	if now-last < idle {
		return false
	}
	rounds := (last + idle - first + idle - 1) / idle
	return first+rounds*idle <= now
}

// NewID names a file in Zeek's manner, by where it was seen: its flow, and its place there.
func NewID(f *capture.Flow, message uint32, place ...byte) string {
	b := append(binary.BigEndian.AppendUint32(make([]byte, 0, 8), message), place...)
	uid := ""
	if f != nil {
		uid = f.UID
	}
	return capture.NewUID('F', []byte(uid), b)
}

// Digests are a file's, in hexadecimal; empty where there is a gap, or more than Options.HashLimit.
type Digests struct{ MD5, SHA1, SHA256 string }

// Hashed says whether there are any.
func (d *Digests) Hashed() bool { return d.SHA256 != "" }

var (
	analyzers = []string{"MD5", "SHA1", "SHA256"}
	extracted = []string{"EXTRACT", "MD5", "SHA1", "SHA256"}
)

// Kept is the name that the copy is kept by, "" if there is none or it is not kept.
func (f *File) Kept() string {
	if f.Copy == nil {
		return ""
	}
	return f.Copy.Kept
}

// size is that of the copy.
func (f *File) size() uint64 {
	if f.Copy == nil {
		return 0
	}
	return uint64(f.Copy.Size)
}

// Log implements capture.Record.
func (f *File) Log() string { return "files" }

// Row implements capture.Record with the columns of Zeek's files.log.
func (f *File) Row(w capture.Fields) {
	w.Time("ts", f.Time, f.Time != 0)
	w.String("fuid", f.ID, f.ID != "")
	f.Flow.ID(w)
	w.String("source", f.Source, f.Source != "")
	w.Count("depth", uint64(f.Depth), true)
	kept := f.Kept()
	if kept != "" {
		w.Set("analyzers", "string", extracted, true)
	} else {
		w.Set("analyzers", "string", analyzers, true)
	}
	w.String("mime_type", f.MIME, f.MIME != "")
	w.String("filename", f.Name, f.HasName)
	w.Interval("duration", time.Duration(f.Last-f.Time), true)
	w.Bool("local_orig", f.Local, true)
	w.Bool("is_orig", f.Sender == capture.Orig, true)
	w.Count("seen_bytes", uint64(f.Seen), true)
	w.Count("total_bytes", uint64(f.Total), f.Total > 0)
	w.Count("missing_bytes", uint64(f.Missing), true)
	w.Count("overflow_bytes", uint64(f.Overflow), true)
	w.Bool("timedout", f.TimedOut, true)
	w.String("parent_fuid", "", false)
	w.String("md5", f.MD5, f.MD5 != "")
	w.String("sha1", f.SHA1, f.SHA1 != "")
	w.String("sha256", f.SHA256, f.SHA256 != "")
	w.String("extracted", kept, kept != "")
	w.Bool("extracted_cutoff", kept != "" && f.Copy.Cut, kept != "")
	w.Count("extracted_size", f.size(), kept != "")
}
