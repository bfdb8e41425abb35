package ship

import (
	"time"

	"github.com/raytap/raytap/fleet"
)

// Outlook is how far a folder was published, to one kind of transport.
type Outlook struct {
	Sensor string
	Made   time.Time // when the first row was published
	Lost   Lost
	Logs   []LogOutlook
}

// LogOutlook is how far one log was.
type LogOutlook struct {
	Log     string
	Place   fleet.Place // behind the last row that has arrived
	Files   int         // that are not sent to their end
	Waiting uint64      // their bytes on the disk, without those that were sent of a file that is not compressed
}

// Look reads how far a folder was published, which another process may be doing. Its error is fs.ErrNotExist if it never was.
func Look(dir, kind string) (Outlook, error) {
	p, err := readPlaces(dir, kind)
	if err != nil {
		return Outlook{}, err
	}
	x := Outlook{Sensor: p.sensor, Made: p.made, Lost: p.lost}
	s := &Shipper{opt: Options{Dir: dir}, places: p, names: map[string]*tail{}, isOver: map[string]bool{}}
	for log := range p.logs {
		s.tail(log)
	}
	files, _, err := archive(dir, s.wants, func(name string) bool { return p.done[name] })
	if err != nil {
		return x, err
	}
	for log, gens := range p.logs {
		l := LogOutlook{Log: log}
		for _, g := range gens {
			if at := (fleet.Place{Generation: g.Gen, Offset: uint64(g.Offset)}); l.Place.Less(at) {
				l.Place = at
			}
		}
		// left takes down a file, of which some may have been sent.
		left := func(r *reader, size int64) {
			sum, n, err := r.head()
			if err == nil && n > 0 {
				if g := p.find(log, sum, n); g != nil && g.Ended {
					return
				} else if g != nil {
					if ok, err := r.seek(g); err != nil || ok && !r.more() {
						return
					}
					if r.z == nil {
						size = max(size-g.Offset, 0)
					}
				}
			}
			if size > 0 && n > 0 {
				l.Files++
				l.Waiting += uint64(size)
			}
		}
		for _, f := range files[log] {
			h, ext, err := f.open()
			if err != nil {
				continue
			}
			if r, err := newReader(h, ext); err == nil {
				left(r, f.size)
				r.close()
			}
		}
		if f, err := s.running(log); err == nil {
			if r, err := newReader(f, ""); err == nil {
				left(r, r.info.Size())
				r.close()
			}
		}
		x.Logs = append(x.Logs, l)
	}
	return x, nil
}

// more reports whether another row is there.
func (r *reader) more() bool {
	for {
		line, _, _, err := r.line()
		if err != nil {
			return false
		}
		if len(line) > 0 && line[0] != '#' {
			return true
		}
	}
}
