package services

import (
	"encoding/binary"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders"
	"github.com/raytap/raytap/decoders/file"
)

const (
	// As much as is read of a flow that may be a data connection. Digests cost 3 ns a byte, so a flow that is none
	// costs 3 ms at the most.
	maxUnannounced = 1 << 20
	// Flows that are read so at once, of those that a transfers watches. A flow costs 5 KiB.
	maxTransfers = 256
	// RFC 959, 3.2: where servers open data connections from. Whatever does is read to its end.
	ftpDataPort = 20
	// The name of a data connection.
	ftpData = "ftp-data"
)

// Expect reads files out of the data connections that FTP announces (*capture.Expected). Out: *capture.Awaited with a *file.File.
func Expect(files *file.Cache) decoders.Expect {
	return decoders.Expect{Hint: arranges, Open: func() decoders.Watcher { return newTransfers(files).watch }}
}

// arranges reports whether p looks as if FTP arranged data connections. What the packet really says is for the reader of its
// flow; this is only to tell that there is FTP at all.
func arranges(p *capture.Packet) bool {
	if p.Proto != capture.ProtoTCP {
		return false
	}
	if p.SrcPort == 21 || p.DstPort == 21 {
		return true
	}
	b := p.Payload()
	if len(b) < 4 {
		return false
	}
	const lower = 0x20202020
	switch v := binary.BigEndian.Uint32(b); v {
	case '2'<<24 | '2'<<16 | '7'<<8 | ' ', '2'<<24 | '2'<<16 | '9'<<8 | ' ':
		return true
	default:
		switch v | lower {
		case 'p'<<24 | 'o'<<16 | 'r'<<8 | 't', 'e'<<24 | 'p'<<16 | 'r'<<8 | 't', 'p'<<24 | 'a'<<16 | 's'<<8 | 'v', 'e'<<24 | 'p'<<16 | 's'<<8 | 'v':
			return true
		}
	}
	return false
}

// transfers makes what reads files out of data connections of FTP. They are announced in another flow, which another
// worker may read, and are bare bytes. So each flow that could be one is read until it turns out not to be: when both
// sides speak, a decoder knows its bytes, or there are too many of them. Where nothing arranges any (arranges) that is a
// waste: an eighth of what bulk traffic costs.
type transfers struct {
	files *file.Cache
	count int
}

// newTransfers makes one, for a part of the flows that does not depend on the number of workers: the bound would.
func newTransfers(files *file.Cache) *transfers { return &transfers{files: files} }

// watch puts itself before m, if the flow could be a data connection: it is a decoders.Watcher.
func (t *transfers) watch(h capture.Host, m *decoders.Mux, mid, announced bool) capture.Stream {
	orig, resp := h.Ports()
	if mid || resp < 1024 || orig < 1024 && orig != ftpDataPort || !announced && orig != ftpDataPort {
		return nil
	}
	w := &watched{Mux: m, all: t, host: h, limit: maxUnannounced, on: true}
	if orig == ftpDataPort {
		w.limit = 1 << 62
	}
	return w
}

// watched is a flow that may be a data connection.
type watched struct {
	*decoders.Mux
	all   *transfers
	host  capture.Host
	limit int64
	file  *file.Reader // nil before the first bytes
	dir   capture.Dir
	on    bool
	doubt bool // some of it came in packets whose checksum is wrong and which were believed
}

// Idle implements capture.Stream.
func (w *watched) Idle() bool { return w.file == nil && w.Mux.Idle() }

// Data implements capture.Stream.
func (w *watched) Data(dir capture.Dir, b []byte) {
	w.Mux.Data(dir, b)
	if w.goesOn(dir) {
		w.doubt = w.doubt || w.host.Doubted()
		if w.file.Write(w.host.At(), b); w.file.Seen() > w.limit {
			w.drop()
		}
	}
}

// Gap implements capture.Stream.
func (w *watched) Gap(dir capture.Dir, n int64) {
	w.Mux.Gap(dir, n)
	if w.goesOn(dir) {
		w.file.Gap(w.host.At(), n)
	}
}

// goesOn says whether this may still be a data connection.
func (w *watched) goesOn(dir capture.Dir) bool {
	if !w.on {
		return false
	}
	if w.Mux.Known() {
		w.drop()
		return false
	}
	if w.file != nil {
		if dir != w.dir {
			w.drop()
		}
		return w.on
	}
	if w.all.count >= maxTransfers {
		w.on = false
		w.host.Emit(&capture.Weird{At: w.host.At(), Name: "ftp_data_limit"})
		return false
	}
	w.all.count++
	w.dir, w.file = dir, &file.Reader{}
	w.file.Open(w.all.files)
	return true
}

func (w *watched) drop() {
	if w.file != nil {
		w.file.Drop()
		w.file = nil
		w.all.count--
	}
	w.on = false
}

// End implements capture.Stream.
func (w *watched) End(dir capture.Dir) {
	w.Mux.End(dir)
	if w.file != nil && dir == w.dir {
		w.done(true)
	}
}

// Finish implements capture.Stream.
func (w *watched) Finish() {
	w.Mux.Finish()
	if w.file != nil {
		w.done(false)
	}
}

// done ends the file; whole says that its end was seen.
func (w *watched) done(whole bool) {
	if list := w.file.Close(); list != nil {
		f := list[0]
		f.Flow, f.Source, f.Sender, f.From = w.host.Flow(), "FTP_DATA", w.dir, capture.Doubted.When(w.doubt)
		f.ID = file.NewID(f.Flow, 0, byte(w.dir), 'd')
		f.Unfinished = !whole
		w.host.Emit(&capture.Awaited{At: w.host.At(), Flow: f.Flow, Service: ftpData, Event: f})
	}
	w.drop()
}
