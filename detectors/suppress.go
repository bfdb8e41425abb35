package detectors

import "time"

const (
	// SuppressFor is how long a finding that was said is counted instead of repeated.
	SuppressFor = time.Hour
	// Findings remembered for that. Beyond it the oldest half is forgotten, which costs a repetition.
	suppressTable = 1 << 15
)

// Suppressor says a finding once and counts its repetitions. A repetition that is more severe than what was said, or
// whose outcome is a success where that was not, is said again.
type Suppressor struct {
	// Rate, if set, gives the severity that a finding is said with; see Tuning.
	Rate func(*Finding) Severity
	// Again, if set, is told what has become of findings that were said; see Tick.
	Again        func(*Update)
	say          func(*Finding)
	said, before map[string]*Finding
	waits        []*Finding // said, and seen again since
}

// NewSuppressor makes one that hands what is new to say.
func NewSuppressor(say func(*Finding)) *Suppressor {
	return &Suppressor{say: say, said: map[string]*Finding{}, before: map[string]*Finding{}}
}

// Report takes a finding.
func (s *Suppressor) Report(f *Finding) {
	key, known := s.find(f)
	if known {
		return
	}
	s.keep(key, f)
	if s.Rate != nil && !f.rated {
		f.own, f.Severity, f.rated = f.Severity, s.Rate(f), true
	}
	f.told, f.toldAt = f.Count, f.Time
	s.say(f)
}

// Fold takes a finding that is said in a bundle with others, and reports whether it was said before, or is in one: then
// it is counted.
func (s *Suppressor) Fold(f *Finding) bool {
	key, known := s.find(f)
	if !known {
		s.keep(key, f)
	}
	return known
}

func (s *Suppressor) keep(key string, f *Finding) {
	if len(s.said) >= suppressTable {
		clear(s.before)
		s.said, s.before = s.before, s.said
	}
	s.said[key] = f
}

func (s *Suppressor) rate(f *Finding) Severity {
	if s.Rate == nil || f.rated {
		return f.Severity
	}
	return s.Rate(f)
}

func (s *Suppressor) find(f *Finding) (key string, known bool) {
	if f.Count == 0 {
		f.Count = 1
	}
	key = f.same()
	old := s.like(key, f)
	if old == nil {
		return key, false
	}
	s.said[key] = old
	if old.of != nil { // it shares a line
		old = old.of
	}
	old.Count += f.Count
	s.repeated(old, f.At)
	return key, true
}

// Said gives the finding that f is a repetition of, nil if f is new.
func (s *Suppressor) Said(f *Finding) *Finding { return s.like(f.same(), f) }

func (s *Suppressor) like(key string, f *Finding) *Finding {
	old := s.said[key]
	if old == nil {
		old = s.before[key]
	}
	if old != nil && old != f && f.Time.Sub(old.Time) < SuppressFor && s.rate(f) <= s.rate(old) && (f.Outcome != Succeeded || old.Outcome == Succeeded) {
		return old
	}
	return nil
}

// Flush tells what is left to tell, and forgets what was said.
func (s *Suppressor) Flush() {
	for _, f := range s.waits {
		s.tell(f)
	}
	s.waits = nil
	clear(s.said)
	clear(s.before)
}

// Same is what two findings have in common of which the second is a repetition.
func (f *Finding) Same() string { return f.same() }

func (f *Finding) same() string {
	if f.Key != "" {
		return f.Rule + " " + f.Key
	}
	return f.Rule + " " + f.Src.String() + " " + f.Dst.String()
}
