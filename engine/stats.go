package engine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/detectors"
	"github.com/raytap/raytap/record"
)

// Stats say what a run saw and what it lost, by cause.
type Stats struct {
	Packets  uint64 // frames read
	Bytes    uint64 // their length on the wire
	Filtered uint64 // frames that the filter left out
	Findings uint64 // said, repetitions not counted
	Weirds   uint64 // oddities, before repetitions were left out of the log
	Bundled  uint64 // of those that differ, told in one line with others: there were too many
	LookWork uint64 // units of work that looks at commands were, see capture.Worker
	Written  uint64 // findings of which the texts were made
	LooksCut uint64 // commands that were not read to their end, for the work that they asked for
	Panics   uint64 // bugs of ours that cost a flow its decoder
	Rows     uint64 // log rows
	First    capture.Time
	Last     capture.Time
	Dissect  capture.DissectStats
	Flow     capture.Counters

	ActiveFlows int // in the tables; while a run goes on, this, Flow and what workers count else are a second old at most

	// What the site's own rules kept back: in all, and by rule. No loss: it was asked for.
	KeptBack   uint64
	KeptBackBy []detectors.KeptBack

	Files file.Counts // that were kept, and not

	// Networks that may be home though nobody said so; at most four.
	Outsiders []Outsider

	// Of a live source.
	Live       capture.LiveStats
	ShedBodies uint64 // bodies not looked into, under overload
	RowsLost   uint64 // log rows that could not be written

	// Of a run that records: what became of the packets, by cause.
	Record record.Counts
}

// Span is the time between the first packet and the last.
func (s *Stats) Span() time.Duration { return s.Last.Sub(s.First) }

// Loss is one way of losing something, for people and for stats.log.
type Loss struct {
	Name string // as in stats.log
	N    uint64
	Unit string // packets, bytes, flows, tunnels, times, bodies, rows, interfaces
}

// Note is something about the wire that is no loss.
type Note struct {
	Name string // as in stats.log
	N    uint64
	Unit string
}

// Notes lists what is no loss and says what the wire is like: what a network card has left undone, what came before what
// it answers, and what a receiver does not take.
func (s *Stats) Notes() []Note {
	f := &s.Flow
	return append([]Note{
		{"checksums_offloaded", f.Offloaded, "packets"},
		{"packets_waited", f.Waited, "packets"},
		{"waits_in_vain", f.WaitTime, "times"},
		{"segments_doubted", f.Doubted, "packets"},
		{"segments_taken", f.Taken, "packets"},
		{"copies_differ", f.Disputes, "flows"},
	}, fileNotes(&s.Files)...)
}

// Losses lists every kind of loss, whether it happened or not.
func (s *Stats) Losses() []Loss {
	return slices.Concat(s.losses(), s.bounds(), s.chosen(), fileLosses(&s.Files))
}

// chosen are the losses of a live source whose interfaces are not named.
func (s *Stats) chosen() []Loss {
	return []Loss{{"interfaces_unwatched", s.Live.Unwatched, "interfaces"}}
}

// bounds are the losses to the bounds of what waits for its place.
func (s *Stats) bounds() []Loss {
	f := &s.Flow
	return []Loss{
		{"waits_cut_short", f.WaitPackets, "times"},
		{"no_room_to_wait", f.WaitFull, "packets"},
		{"doubted_no_room", f.AsideFull, "packets"},
		{"copies_no_room", f.DisputesFull, "flows"},
		{"resets_no_room", f.BegunFull, "flows"},
		{"unfinished_requests", f.Unfinished, "flows"},
		{"record_queue_full", s.Record.By[record.QueueFull].Frames, "packets"},
		{"record_disk_error", s.Record.By[record.DiskError].Frames, "packets"},
	}
}

// Recorded lists what a recorder keeps, and what it leaves out because it was asked to.
func (s *Stats) Recorded() []Note {
	n := &s.Record.By
	return []Note{
		{"recorded", n[record.Kept].Frames, "packets"},
		{"recorded_bytes", n[record.Kept].Bytes, "bytes"},
		{"record_cutoff_bytes", n[record.Cutoff].Bytes, "bytes"},
		{"record_encrypted_bytes", n[record.Encrypted].Bytes, "bytes"},
		{"record_snap_bytes", n[record.Snapped].Bytes, "bytes"},
		{"record_filtered", n[record.Filtered].Frames, "packets"},
		{"record_excluded", n[record.Excluded].Frames, "packets"},
	}
}

// Shunted lists what the kernel has counted of flows that nobody reads any more: see capture.Shunt.
func (s *Stats) Shunted() []Note {
	return []Note{
		{"shunted", s.Flow.Shunted, "packets"},
		{"shunted_bytes", s.Flow.ShuntedBytes, "bytes"},
		{"shunt_full", s.Flow.ShuntFull, "times"},
	}
}

func (s *Stats) losses() []Loss {
	return []Loss{
		{"malformed", s.Dissect.Malformed, "packets"},
		{"unknown_link", s.Dissect.UnknownLink, "packets"},
		{"bad_checksum", s.Flow.BadChecksum + s.Dissect.BadChecksum, "packets"},
		{"fragments_lost", s.Dissect.FragmentsLost, "packets"},
		{"datagrams_incomplete", s.Dissect.DatagramsExpired + s.Dissect.DatagramsEvicted, "packets"},
		{"tunnels_evicted", s.Dissect.TunnelsEvicted, "tunnels"},
		{"truncated_bytes", s.Flow.Truncated, "bytes"},
		{"gap_bytes", s.Flow.GapBytes, "bytes"},
		{"buffer_full_bytes", s.Flow.Dropped, "bytes"},
		{"flows_evicted", s.Flow.Evicted, "flows"},
		{"decoder_panics", s.Panics, "flows"},
		{"work_limit", s.Flow.Overworked, "flows"},
		{"row_limit", s.Flow.Overtold, "flows"},
		{"rows_cut", s.Flow.RowsCut, "rows"},
		{"findings_bundled", s.Bundled, "findings"},
		{"looks_cut", s.LooksCut, "times"},
		{"memory_limit", s.Flow.Yielded, "times"},
		{"dropped_by_kernel", s.Live.Dropped, "packets"},
		{"ring_full", s.Live.Freezes, "times"},
		{"snapped", s.Live.Snapped, "packets"},
		{"unseen_bytes", s.Flow.Unseen, "bytes"},
		{"link_lost", s.Live.LinkLost, "times"},
		{"bodies_shed", s.ShedBodies, "bodies"},
		{"bulk_shed_bytes", s.Flow.ShedBytes, "bytes"},
		{"new_shed", s.Flow.ShedNew, "packets"},
		{"rows_lost", s.RowsLost, "rows"},
		{"unknown_ethertype", s.Dissect.UnknownType, "packets"},
		{"encrypted_link", s.Dissect.Encrypted, "packets"},
	}
}

// statsRow is the row of stats.log.
type statsRow struct {
	ts   capture.Time
	s    Stats
	peer string // the sensor's name, if it has one
}

// Log implements capture.Record.
func (r *statsRow) Log() string { return "stats" }

// Row implements capture.Record.
func (r *statsRow) Row(w capture.Fields) {
	w.Time("ts", r.ts, true)
	w.String("peer", cmp.Or(r.peer, "raytap"), true)
	w.Count("pkts_proc", r.s.Packets, true)
	w.Count("bytes_recv", r.s.Bytes, true)
	w.Count("pkts_filtered", r.s.Filtered, true)
	w.Count("flows", r.s.Flow.Flows, true)
	w.Interval("span", r.s.Span(), true)
	w.Count("findings", r.s.Findings, true)
	w.Count("weirds", r.s.Weirds, true)
	notes := r.s.Notes()
	w.Count(notes[0].Name, notes[0].N, true)
	for _, l := range r.s.losses() {
		w.Count(l.Name, l.N, true)
	}
	var types []string
	var known []capture.EtherTypeCount
	for _, t := range r.s.Dissect.EtherTypes {
		if t.N > 0 {
			types, known = append(types, t.String()), append(known, t)
		}
	}
	capture.Objects(w, "unknown_ethertypes", types, func(w capture.Fields, i int) {
		w.String("type", fmt.Sprintf("0x%04x", known[i].Type), true)
		w.Count("n", known[i].N, true)
	}, types != nil)
	kept := len(notes) - len(fileNotes(&r.s.Files))
	for _, n := range notes[1:kept] {
		w.Count(n.Name, n.N, true)
	}
	bounds := r.s.bounds()
	rec := slices.IndexFunc(bounds, func(l Loss) bool { return strings.HasPrefix(l.Name, "record_") })
	for _, l := range bounds[:rec] {
		w.Count(l.Name, l.N, true)
	}
	var nets []string
	for _, o := range r.s.Outsiders {
		nets = append(nets, o.Network.String())
	}
	w.Vector("home_in_doubt", "string", nets, nets != nil)
	w.Count("findings_kept_back", r.s.KeptBack, true)
	var rules []string
	for _, k := range r.s.KeptBackBy {
		rules = append(rules, k.Rule+" "+strconv.FormatUint(k.N, 10))
	}
	capture.Objects(w, "kept_back_by", rules, func(w capture.Fields, i int) {
		w.String("rule", r.s.KeptBackBy[i].Rule, true)
		w.Count("n", r.s.KeptBackBy[i].N, true)
	}, rules != nil)
	for _, l := range r.s.chosen() {
		w.Count(l.Name, l.N, true)
	}
	for _, n := range notes[kept:] {
		w.Count(n.Name, n.N, true)
	}
	for _, l := range fileLosses(&r.s.Files) {
		w.Count(l.Name, l.N, true)
	}
	for _, n := range r.s.Recorded() {
		w.Count(n.Name, n.N, true)
	}
	for _, l := range bounds[rec:] {
		w.Count(l.Name, l.N, true)
	}
	for _, n := range r.s.Shunted() {
		w.Count(n.Name, n.N, true)
	}
}
