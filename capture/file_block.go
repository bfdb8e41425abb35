package capture

import (
	"encoding/binary"
	"strings"
)

// Blocks of pcapng, one after the other in a buffer (draft-ietf-opsawg-pcapng, little-endian). Times have nanoseconds.

// beginBlock appends the head of a block; endBlock, which gets where that is, closes it.
func beginBlock(b []byte, kind uint32) []byte {
	b = binary.LittleEndian.AppendUint32(b, kind)
	return append(b, 0, 0, 0, 0) // length, when it is known
}

func endBlock(b []byte, at int) []byte {
	n := uint32(len(b) - at + 4)
	binary.LittleEndian.PutUint32(b[at+4:], n)
	return binary.LittleEndian.AppendUint32(b, n)
}

func padBlock(b []byte, at int) []byte {
	for (len(b)-at)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// appendOption appends an option of text, if there is any.
func appendOption(b []byte, at int, code uint16, text string) []byte {
	if text == "" {
		return b
	}
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) > maxComment {
		text = strings.ToValidUTF8(text[:maxComment], "")
	}
	b = binary.LittleEndian.AppendUint16(b, code)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(text)))
	b = append(b, text...)
	return padBlock(b, at)
}

// Options that are written.
const (
	optComment     = 1
	optName        = 2 // of an interface
	optApplication = 4
	optResolution  = 9 // of an interface's times
)

// AppendSection appends the block that begins a file, with a comment for the whole of it, which may be empty.
func AppendSection(b []byte, application, comment string) []byte {
	at := len(b)
	b = beginBlock(b, ngSection)
	b = binary.LittleEndian.AppendUint32(b, 0x1a2b3c4d)
	b = append(b, 1, 0, 0, 0)
	b = append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // length of the section: not said
	b = appendOption(b, at, optComment, comment)
	b = appendOption(b, at, optApplication, application)
	return endBlock(append(b, 0, 0, 0, 0), at) // end of options
}

// AppendInterface appends the description of an interface, which may have no name. They are numbered from 0 as they come.
func AppendInterface(b []byte, link uint16, name string) []byte {
	at := len(b)
	b = beginBlock(b, ngDescription)
	b = binary.LittleEndian.AppendUint16(b, link)
	b = append(b, 0, 0, 0, 0, 0, 0) // no snap length
	b = appendOption(b, at, optName, name)
	b = append(b, optResolution, 0, 1, 0, 9, 0, 0, 0)
	return endBlock(append(b, 0, 0, 0, 0), at)
}

// AppendPacket appends the first keep bytes of a frame of interface number id, with a comment that may be empty.
func AppendPacket(b []byte, id uint32, f *Frame, keep int, comment string) []byte {
	at := len(b)
	data := f.Data[:min(keep, len(f.Data))]
	b = beginBlock(b, ngEnhanced)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint32(b, uint32(uint64(f.Time)>>32))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.Time))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(max(f.WireLen, len(f.Data))))
	b = append(b, data...)
	b = padBlock(b, at)
	if comment != "" {
		b = appendOption(b, at, optComment, comment)
		b = append(b, 0, 0, 0, 0)
	}
	return endBlock(b, at)
}
