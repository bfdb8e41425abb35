package file

import (
	"slices"

	"github.com/raytap/raytap/capture"
)

// Logs tells of the log of this package.
func Logs() []capture.LogSpec {
	return []capture.LogSpec{{
		Name: "files",
		When: "When a file that was carried by HTTP, HTTP/2, mail, SMB, FTP or TLS is over, or nothing more of it came for minutes.",
		Row:  &File{},
		Columns: slices.Concat([]capture.Column{
			{Name: "ts", Doc: "Time of its first bytes."},
			{Name: "fuid", Doc: "Id of the file, to which `orig_fuids` and `resp_fuids` of http.log refer."},
		}, capture.FlowColumns(), []capture.Column{
			{Name: "source", Doc: "What carried it: `HTTP`, `HTTP2`, `SSL`, `SMB`, `SMTP`, `POP3`, `FTP_DATA`."},
			{Name: "depth", Doc: "How deep it stands in what carried it; of mail, which part of the connection it is."},
			{Name: "analyzers", Doc: "Digests that are made."},
			{Name: "mime_type", Doc: "What it is by its first bytes, whatever its sender calls it."},
			{Name: "filename", Doc: "Name that its sender gives it."},
			{Name: "duration", Doc: "From its first bytes to its last."},
			{Name: "local_orig", Doc: "Whether the sender is in the home networks."},
			{Name: "is_orig", Doc: "Whether the originator of the connection sent it."},
			{Name: "seen_bytes", Unit: "bytes", Doc: "What was seen of it."},
			{Name: "total_bytes", Unit: "bytes", Doc: "Length that was announced."},
			{Name: "missing_bytes", Unit: "bytes", Doc: "What was lost of it."},
			{Name: "overflow_bytes", Unit: "bytes", Doc: "Of these, what was not waited for any longer."},
			{Name: "timedout", Doc: "Its end was never seen."},
			{Name: "parent_fuid", Doc: "Never set."},
			{Name: "md5", Doc: "MD5 in hexadecimal. Digests are unset where a part is missing, and of files beyond 64 MiB."},
			{Name: "sha1", Doc: "SHA-1."},
			{Name: "sha256", Doc: "SHA-256."},
			{Name: "extracted", Doc: "Name in the folder of files, where it was kept: the first two digits of its SHA-256, a slash, and the whole."},
			{Name: "extracted_cutoff", Doc: "Whether what was kept is cut."},
			{Name: "extracted_size", Unit: "bytes", Doc: "Length of what was kept."},
		}),
	}}
}
