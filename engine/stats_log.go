package engine

import (
	"cmp"
	"slices"

	"github.com/raytap/raytap/capture"
)

// StatsLog tells of stats.log. The units of what is a loss or a note are told with them.
//
// It is whole because it is one table of the columns, in the order of the log.
func StatsLog() capture.LogSpec {
	all := []capture.Column{
		{Name: "ts", Doc: "Time of the last packet counted."},
		{Name: "peer", Doc: "Name of the sensor (`sensor.name`), or `raytap`."},
		{Name: "pkts_proc", Unit: "packets", Doc: "Frames read."},
		{Name: "bytes_recv", Unit: "bytes", Doc: "Their length on the wire."},
		{Name: "pkts_filtered", Unit: "packets", Doc: "Frames excluded by the filter."},
		{Name: "flows", Unit: "flows", Doc: "Connections that began."},
		{Name: "span", Doc: "Length of the interval that the row covers."},
		{Name: "findings", Unit: "findings", Doc: "Findings reported; repetitions are not counted."},
		{Name: "weirds", Unit: "weirds", Doc: "Weirds, including those that weird.log does not repeat."},
		{Name: "checksums_offloaded", Doc: "Packets accepted because their checksum was left to a network card. Not a loss."},
		{Name: "malformed", Doc: "Packets dropped because of their headers; each has a weird."},
		{Name: "unknown_link", Doc: "Frames of an unknown link type."},
		{Name: "bad_checksum", Doc: "Packets set aside because their checksum is wrong."},
		{Name: "fragments_lost", Doc: "IP fragments that were dropped: truncated by the capture, or invalid."},
		{Name: "datagrams_incomplete", Doc: "Fragmented packets with missing parts."},
		{Name: "tunnels_evicted", Doc: "Tunnels evicted because the table was full."},
		{Name: "truncated_bytes", Doc: "Bytes cut off by the capture's snapshot length."},
		{Name: "gap_bytes", Doc: "Bytes missing from TCP streams."},
		{Name: "buffer_full_bytes", Doc: "Bytes dropped because a reassembly buffer was full."},
		{Name: "flows_evicted", Doc: "Connections evicted because the flow table was full."},
		{Name: "decoder_panics", Doc: "Connections that lost their decoder to a bug in raytap; please report it."},
		{Name: "work_limit", Doc: "Connections that exceeded their work budget and were not read any deeper."},
		{Name: "row_limit", Doc: "Connections that exceeded their row budget."},
		{Name: "rows_cut", Doc: "Rows that were not written for them. Detectors still receive the events."},
		{Name: "findings_bundled", Doc: "Findings bundled with others into one row because there were too many."},
		{Name: "looks_cut", Doc: "Commands that were examined only in part, because they exceeded their work budget."},
		{Name: "memory_limit", Doc: "Times data kept for one connection was dropped to keep data of another."},
		{Name: "dropped_by_kernel", Doc: "Frames that the kernel dropped because the ring was full."},
		{Name: "ring_full", Doc: "Times the ring was full."},
		{Name: "snapped", Doc: "Frames of which only part was kept."},
		{Name: "unseen_bytes", Doc: "TCP payload that was acknowledged but never seen, because it did not reach the sensor."},
		{Name: "link_lost", Doc: "Times a link, an interface or a pipe's writer went away."},
		{Name: "bodies_shed", Doc: "Bodies that were not examined, under overload."},
		{Name: "bulk_shed_bytes", Doc: "Bytes of bulk connections that were not reassembled, under overload."},
		{Name: "new_shed", Doc: "Packets without a connection that were skipped under overload."},
		{Name: "rows_lost", Doc: "Log rows that could not be written."},
		{Name: "unknown_ethertype", Doc: "Frames of an unknown Ethernet type."},
		{Name: "encrypted_link", Doc: "Frames encrypted with MACsec."},
		{Name: "unknown_ethertypes", Doc: "These types with their number of frames, the most frequent first: `0x88cc=12`.", Fields: []capture.Field{
			{Name: "type", Type: "string", Doc: "Ethernet type: `0x88cc`."},
			{Name: "n", Type: "count", Unit: "frames", Doc: "Its frames."},
		}},
		{Name: "packets_waited", Doc: "Packets that arrived before the data they acknowledge, or before their SYN, and waited for it. Not a loss."},
		{Name: "waits_in_vain", Doc: "Times the awaited packet did not come in time. Not a loss."},
		{Name: "segments_doubted", Doc: "Segments that their receiver should reject. Not a loss."},
		{Name: "segments_taken", Doc: "Of these, segments that were acknowledged without another copy and were read. Not a loss."},
		{Name: "copies_differ", Doc: "Connections with copies of the same bytes that differ; both were read. Not a loss."},
		{Name: "waits_cut_short", Doc: "Times too many packets of one direction were waiting."},
		{Name: "no_room_to_wait", Doc: "Packets that could not wait because the buffer was full."},
		{Name: "doubted_no_room", Doc: "Segments with a wrong checksum that were not kept because the buffer was full."},
		{Name: "copies_no_room", Doc: "Connections with differing copies of the same bytes of which only one was read, because the buffer was full."},
		{Name: "resets_no_room", Doc: "Requests cut short by a reset that were not kept because the buffer was full."},
		{Name: "unfinished_requests", Doc: "Connections whose incomplete request was dropped."},
		{Name: "home_in_doubt", Doc: "Networks that may be home although `home` does not list them, at most four. Findings assume that they are outside."},
		{Name: "findings_kept_back", Unit: "findings", Doc: "Findings suppressed by the `rules` section of the configuration."},
		{Name: "kept_back_by", Doc: "The same by rule: `scan/ports 12`.", Fields: []capture.Field{
			{Name: "rule", Type: "string", Doc: "Name of the rule."},
			{Name: "n", Type: "count", Unit: "findings", Doc: "Findings of that rule that were suppressed."},
		}},
		{Name: "interfaces_unwatched", Doc: "Interfaces that match a pattern but are not captured, because there are too many."},
		{Name: "files_kept", Doc: "Files extracted from traffic and written to the folder. Not a loss."},
		{Name: "files_kept_bytes", Doc: "Bytes of them that were written. Not a loss."},
		{Name: "files_kept_again", Doc: "Files that were already in the folder. Not a loss."},
		{Name: "files_kept_partial", Doc: "Of the files kept, those that are incomplete. Not a loss."},
		{Name: "files_removed", Doc: "Files removed from the folder to make room. Not a loss."},
		{Name: "files_slow", Doc: "Files that were not kept because the write queue was full."},
		{Name: "files_full", Doc: "Files that were not kept because the disk is full or the file exceeds the folder's size limit."},
		{Name: "files_failed", Doc: "Files that were not kept because of another error."},
		{Name: "recorded", Doc: "Packets that the recorder kept. Not a loss."},
		{Name: "recorded_bytes", Doc: "Bytes of them that were kept. Not a loss."},
		{Name: "record_cutoff_bytes", Doc: "Packets beyond `record.cutoff` of their flow. Not a loss: configured, like all rows up to `record_excluded`."},
		{Name: "record_encrypted_bytes", Doc: "Packets of encrypted flows beyond `record.encrypted`."},
		{Name: "record_snap_bytes", Doc: "Bytes cut off by `record.snap`."},
		{Name: "record_filtered", Doc: "Packets excluded by `record.filter`."},
		{Name: "record_excluded", Doc: "Packets of networks in `record.exclude`."},
		{Name: "record_queue_full", Doc: "Packets that were not recorded because the write queue was full."},
		{Name: "record_disk_error", Doc: "Packets that were not recorded because writing failed."},
		{Name: "shunted", Doc: "Packets that the kernel counted and did not deliver (`shunt`). `pkts_proc` includes them. Not a loss."},
		{Name: "shunted_bytes", Doc: "Their length on the wire. `bytes_recv` includes it. Not a loss."},
		{Name: "shunt_full", Doc: "Times the kernel had no room to count another connection, which was read as before. Not a loss."},
	}
	units := map[string]string{}
	var s Stats
	for _, n := range slices.Concat(s.Notes(), s.Recorded(), s.Shunted()) {
		units[n.Name] = n.Unit
	}
	for _, l := range s.Losses() {
		units[l.Name] = l.Unit
	}
	for i := range all {
		all[i].Unit = cmp.Or(units[all[i].Name], all[i].Unit)
	}
	return capture.LogSpec{
		Name:    "stats",
		When:    "Once at the end of a replay, covering all of it; from a sensor once a minute, covering that minute.",
		Row:     &statsRow{},
		Columns: all,
	}
}
