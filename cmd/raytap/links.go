package main

import (
	"fmt"

	"github.com/raytap/raytap/capture"
)

// linkNotice is a sink that tells of a link type nothing is read of when its first frame comes, not in a summary when
// all is over.
type linkNotice struct {
	say  func(text string)
	told map[string]bool
}

// maxLinkNotices bounds what is told of one run. A pcapng file may name as many link types as it likes.
const maxLinkNotices = 8

func newLinkNotice(say func(text string)) *linkNotice {
	return &linkNotice{say: say, told: map[string]bool{}}
}

// Event implements engine.Sink.
func (l *linkNotice) Event(ev any) {
	w, ok := ev.(*capture.Weird)
	if !ok || w.Name != "unknown_link_type" || l.told[w.Addl] || len(l.told) >= maxLinkNotices {
		return
	}
	l.told[w.Addl] = true
	l.say(fmt.Sprintf("frames of link type %s (https://www.tcpdump.org/linktypes.html) are counted, but nothing in them can be read", w.Addl))
}
