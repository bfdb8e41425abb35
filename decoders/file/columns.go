package file

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "files",
		When: "When a file carried by HTTP, HTTP/2, mail, SMB, FTP or TLS ends, or has been idle for minutes.",
		Row:  &File{},
		Columns: slices.Concat([]capture.Column{
			{Name: "ts", Doc: "Time of its first byte."},
			{Name: "fuid", Doc: "ID of the file; `orig_fuids` and `resp_fuids` in http.log refer to it."},
		}, capture.FlowColumns(), []capture.Column{
			{Name: "source", Doc: "Protocol that carried it: `HTTP`, `HTTP2`, `SSL`, `SMB`, `SMTP`, `POP3`, `FTP_DATA`."},
			{Name: "depth", Doc: "Nesting depth in its carrier; for mail, the number of the part in the connection."},
			{Name: "analyzers", Doc: "Digests that were computed."},
			{Name: "mime_type", Doc: "Type by its first bytes, whatever the sender calls it."},
			{Name: "filename", Doc: "Name given by the sender."},
			{Name: "duration", Doc: "Time from its first to its last byte."},
			{Name: "local_orig", Doc: "Whether the sender is in the home networks."},
			{Name: "is_orig", Doc: "Whether the originator of the connection sent it."},
			{Name: "seen_bytes", Unit: "bytes", Doc: "Bytes of it that were seen."},
			{Name: "total_bytes", Unit: "bytes", Doc: "Announced length."},
			{Name: "missing_bytes", Unit: "bytes", Doc: "Bytes of it that were lost."},
			{Name: "overflow_bytes", Unit: "bytes", Doc: "Of these, the ones no longer waited for."},
			{Name: "timedout", Doc: "Its end was never seen."},
			{Name: "parent_fuid", Doc: "Never set."},
			{Name: "md5", Doc: "MD5 in hexadecimal. Digests are unset if a part is missing, and for files over 64 MiB."},
			{Name: "sha1", Doc: "SHA-1."},
			{Name: "sha256", Doc: "SHA-256."},
			{Name: "extracted", Doc: "Path in the folder of extracted files: the first two digits of its SHA-256, a slash, and the full digest."},
			{Name: "extracted_cutoff", Doc: "Whether the stored part is truncated."},
			{Name: "extracted_size", Unit: "bytes", Doc: "Length of the stored part."},
		}),
	}}
}
