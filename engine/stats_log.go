package engine

import (
	"cmp"
	"slices"

	"github.com/raytap/raytap/capture"
)

// StatsLog tells of stats.log. The units of what is a loss or a note are told with them.
func StatsLog() capture.LogSpec {
	all := []capture.Column{
		{Name: "ts", Doc: "Time of the last packet that it counts."},
		{Name: "peer", Doc: "Name of the sensor (`sensor.name`), or `raytap`."},
		{Name: "pkts_proc", Unit: "packets", Doc: "Frames that were read."},
		{Name: "bytes_recv", Unit: "bytes", Doc: "Their length on the wire."},
		{Name: "pkts_filtered", Unit: "packets", Doc: "Frames that the filter left out."},
		{Name: "flows", Unit: "flows", Doc: "Connections that began."},
		{Name: "span", Doc: "Time that the row tells of."},
		{Name: "findings", Unit: "findings", Doc: "Findings that were said; repetitions are not counted."},
		{Name: "weirds", Unit: "weirds", Doc: "Oddities of the traffic, also those that weird.log does not repeat."},
		{Name: "checksums_offloaded", Doc: "Packets that were believed because their checksum was left to a network card. No loss."},
		{Name: "malformed", Doc: "Packets dropped for what their headers say; each has a weird."},
		{Name: "unknown_link", Doc: "Frames of a link type that is not known."},
		{Name: "bad_checksum", Doc: "Packets set aside because their checksum is wrong."},
		{Name: "fragments_lost", Doc: "Fragments of IP that were dropped: cut by the capture, or impossible."},
		{Name: "datagrams_incomplete", Doc: "Fragmented packets of which a part never came."},
		{Name: "tunnels_evicted", Doc: "Tunnels that were forgotten for want of room."},
		{Name: "truncated_bytes", Doc: "What the capture cut off packets (its snap length)."},
		{Name: "gap_bytes", Doc: "What is missing from streams of TCP."},
		{Name: "buffer_full_bytes", Doc: "What was given up because a reassembly buffer was full."},
		{Name: "flows_evicted", Doc: "Connections that ended for want of room in the table."},
		{Name: "decoder_panics", Doc: "Connections that lost their decoder to a bug of raytap's; please report it."},
		{Name: "work_limit", Doc: "Connections that asked for more work than their bytes are worth, and were read no deeper."},
		{Name: "row_limit", Doc: "Connections that would have made more rows than their bytes are worth."},
		{Name: "rows_cut", Doc: "The rows that they were not given. Detectors see them all the same."},
		{Name: "findings_bundled", Doc: "Findings that were told in one line with others, because there were too many."},
		{Name: "looks_cut", Doc: "Commands that were not looked at to their end, for the work that they asked for."},
		{Name: "memory_limit", Doc: "Times that what was kept for one connection was given up to keep something for another."},
		{Name: "dropped_by_kernel", Doc: "Frames that the kernel dropped for want of room in the ring."},
		{Name: "ring_full", Doc: "Times that the ring was full."},
		{Name: "snapped", Doc: "Frames of which only a part was kept."},
		{Name: "unseen_bytes", Doc: "Payload of TCP that was acknowledged and never seen: what the sensor was not shown."},
		{Name: "link_lost", Doc: "Times that a link, an interface or the writer of a pipe went away."},
		{Name: "bodies_shed", Doc: "Bodies that were not looked into, under overload."},
		{Name: "bulk_shed_bytes", Doc: "What of bulk connections was not put in order, under overload."},
		{Name: "new_shed", Doc: "Packets of no connection that were let go, under overload."},
		{Name: "rows_lost", Doc: "Rows of logs that could not be written."},
		{Name: "unknown_ethertype", Doc: "Frames of an Ethernet type that is not known."},
		{Name: "encrypted_link", Doc: "Frames that MACsec encrypted."},
		{Name: "unknown_ethertypes", Doc: "Those types with their frames, the most frequent first: `0x88cc=12`.", Fields: []capture.Field{
			{Name: "type", Type: "string", Doc: "Ethernet type: `0x88cc`."},
			{Name: "n", Type: "count", Unit: "frames", Doc: "Its frames."},
		}},
		{Name: "packets_waited", Doc: "Packets that came before what they acknowledge, or before their SYN, and waited for it. No loss."},
		{Name: "waits_in_vain", Doc: "Times that what they waited for did not come in time. No loss."},
		{Name: "segments_doubted", Doc: "Segments that their receiver should not take. No loss."},
		{Name: "segments_taken", Doc: "Of those, the ones that were acknowledged without another copy, and were read. No loss."},
		{Name: "copies_differ", Doc: "Connections with copies of the same bytes that differ; both were read. No loss."},
		{Name: "waits_cut_short", Doc: "Times that too many packets of one direction waited."},
		{Name: "no_room_to_wait", Doc: "Packets that found no room to wait."},
		{Name: "doubted_no_room", Doc: "Doubted segments that were not kept for want of room."},
		{Name: "copies_no_room", Doc: "Connections with copies that differ of which only one could be read, for want of room."},
		{Name: "resets_no_room", Doc: "Requests that a reset cut short and that were not kept for want of room."},
		{Name: "unfinished_requests", Doc: "Connections whose unfinished request was given up."},
		{Name: "home_in_doubt", Doc: "Networks that may be home though nobody said so (`home`), at most four. Findings rest on them being outside."},
		{Name: "findings_kept_back", Unit: "findings", Doc: "Findings that the `rules` section of the configuration kept back."},
		{Name: "kept_back_by", Doc: "The same by rule: `scan/ports 12`.", Fields: []capture.Field{
			{Name: "rule", Type: "string", Doc: "Name of the rule."},
			{Name: "n", Type: "count", Unit: "findings", Doc: "Those of it that were kept back."},
		}},
		{Name: "interfaces_unwatched", Doc: "Interfaces that fit a pattern and are not captured from, because there are too many."},
		{Name: "files_kept", Doc: "Files out of the traffic that were written to the folder of files. No loss."},
		{Name: "files_kept_bytes", Doc: "What was written of them. No loss."},
		{Name: "files_kept_again", Doc: "Files that were in the folder already. No loss."},
		{Name: "files_kept_partial", Doc: "Of those kept, files that are not whole. No loss."},
		{Name: "files_removed", Doc: "Files that were removed from the folder to make room. No loss."},
		{Name: "files_slow", Doc: "Files that were not kept because too much waited for the disk."},
		{Name: "files_full", Doc: "Files that were not kept because the disk is full, or they are larger than the folder may be."},
		{Name: "files_failed", Doc: "Files that were not kept for another error."},
		{Name: "recorded", Doc: "Packets that the recorder kept. No loss."},
		{Name: "recorded_bytes", Doc: "What it kept of them. No loss."},
		{Name: "record_cutoff_bytes", Doc: "Left out beyond `record.cutoff` of their flow. No loss: it was asked for, as all up to `record_excluded`."},
		{Name: "record_encrypted_bytes", Doc: "Left out of what is encrypted, beyond `record.encrypted`."},
		{Name: "record_snap_bytes", Doc: "Cut off by `record.snap`."},
		{Name: "record_filtered", Doc: "Packets that `record.filter` left out."},
		{Name: "record_excluded", Doc: "Packets of networks in `record.exclude`."},
		{Name: "record_queue_full", Doc: "Packets that were not recorded because too much waited for the disk."},
		{Name: "record_disk_error", Doc: "Packets that were not recorded because the disk refused them."},
		{Name: "shunted", Doc: "Packets that the kernel counted and did not deliver (`shunt`). `pkts_proc` includes them. No loss."},
		{Name: "shunted_bytes", Doc: "Their length on the wire. `bytes_recv` includes it. No loss."},
		{Name: "shunt_full", Doc: "Times that the kernel had no room to count another connection, which was read as before. No loss."},
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
		When:    "At the end of a replay, about all of it; of a sensor once a minute, about that minute.",
		Row:     &statsRow{},
		Columns: all,
	}
}
