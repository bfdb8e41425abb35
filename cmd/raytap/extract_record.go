package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"github.com/raytap/raytap/capture"
	"github.com/raytap/raytap/config"
	"github.com/raytap/raytap/record"
	"github.com/raytap/raytap/sinks/disk"
	"github.com/raytap/raytap/sinks/terminal"
)

// What a recorder has written is searched by its index: nothing is detected anew, and what is not asked for is not read.

// extractRecorded is extract for folders of a recorder.
func extractRecorded(w *wanted, dirs, hosts, logFolders []string, out string, cfg config.Config, stdout, stderr *os.File) int {
	code := exitOK
	fail := func(err error) {
		complain(stderr, err)
		code = exitInput
	}
	var folders []*record.Folder
	for _, dir := range dirs {
		f, err := record.OpenFolder(dir)
		if err != nil {
			complain(stderr, err)
			return exitInput
		}
		folders = append(folders, f)
	}
	queries := make([]record.Query, len(folders))
	for i, f := range folders {
		if err := w.recall(f, &queries[i]); err != nil {
			fail(err)
		}
	}
	if !w.found() && len(logFolders) > 0 {
		unread, err := w.lookUp(logFolders)
		if err != nil {
			complain(stderr, err)
			return exitInput
		}
		if tellUnread(unread, stderr) {
			code = exitInput
		}
		for i := range queries {
			w.asLogged(&queries[i])
		}
	}
	for i := range queries {
		q := &queries[i]
		if q.Since, q.Until = w.window.since, w.window.until; w.all {
			for _, h := range hosts {
				q.Hosts = append(q.Hosts, prefixOf(h))
			}
		}
	}
	if id := w.id + w.story; id != "" && !w.found() {
		fmt.Fprintf(stderr, "raytap: there is no %s in %s; --logs DIR takes it from the logs of the run that found it\n", w.what(), strings.Join(dirs, ", "))
		return exitInput
	}
	w.all = true // what comes was asked for
	var srcs []capture.Source
	var results []*record.Results
	for i, f := range folders {
		r := f.Search(&queries[i], nil)
		srcs, results = append(srcs, r), append(results, r)
	}
	if len(srcs) > 1 { // they are numbered anew, and so the numbers that comments go by are others
		w.notes, w.evidence = nil, nil
	}
	src := capture.Merge(srcs...)
	defer src.Close()
	var n uint64
	err := disk.Private().Replace(out, func(file io.Writer) (err error) {
		n, err = w.copy(src, file, cfg)
		return err
	})
	if err != nil {
		fail(err)
		return code
	}
	for _, r := range results {
		for _, text := range r.Told {
			fail(fmt.Errorf("%s", text))
		}
	}
	if n == 0 {
		os.Remove(out)
		fail(fmt.Errorf("no packet of %s belongs to it: it was not recorded, or is too long ago", strings.Join(dirs, ", ")))
		return code
	}
	fmt.Fprintf(stdout, "%s: %s packets\n", terminal.Clean(out), terminal.Number(n))
	return code
}

// recall asks the folder's journal what is looked for, and makes a query of it.
func (w *wanted) recall(f *record.Folder, q *record.Query) error {
	if w.uid != "" {
		q.UIDs = []string{w.uid}
	}
	if w.community != "" {
		q.Communities = []string{w.community}
	}
	var flows []*record.Entry
	err := f.Journal(func(e *record.Entry) {
		switch {
		case e.Finding != nil && w.id != "" && e.ID == w.id:
			w.finding, *q = e.Finding, e.Query()
			w.notes, w.evidence = map[uint64][]string{}, map[uint64]bool{}
			w.noteAll(e.Comments())
		case e.Incident != nil && w.story != "" && e.ID == w.story: // the last word on it
			w.incident, *q = e.Incident, e.Query()
			w.notes, w.evidence = map[uint64][]string{}, map[uint64]bool{}
			w.noteAll(e.Comments())
		case e.Finding != nil && w.uid != "" && e.UID == w.uid:
			flows = append(flows, e)
		}
	})
	for _, e := range flows {
		if e.Run != flows[len(flows)-1].Run {
			continue
		}
		q.Run = e.Run
		if q.Ordinals == nil {
			q.Ordinals = map[uint64]bool{}
		}
		for o := range e.Query().Ordinals {
			q.Ordinals[o] = true
		}
		w.noteAll(e.Comments())
	}
	return err
}

// asLogged makes a query of what logs know.
func (w *wanted) asLogged(q *record.Query) {
	for uid := range w.mine {
		q.UIDs = append(q.UIDs, uid)
	}
	if w.uid != "" && len(w.mine) == 0 {
		q.UIDs = append(q.UIDs, w.uid)
	}
	for p := range w.pairs {
		if p[0].Less(p[1]) {
			q.Pairs = append(q.Pairs, p)
		}
	}
}

// prefixOf reads a network or an address, which was read before.
func prefixOf(s string) netip.Prefix {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	a, _ := netip.ParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen())
}
