package capture

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Where interfaces are not named but chosen, by a pattern, "any" or "default", they come and go while the capture runs. A
// netlink socket tells when (rtnetlink(7)); it wakes whoever waits for frames, and is asked a few times a second where
// frames keep coming. Each interface has rings of its own, as a named one has.

const (
	// Interfaces that are chosen at once: twice the pods that a node of Kubernetes has by default, and some.
	maxChosen = 256
	// Messages that are taken from the kernel at once; the rest waits for the next time.
	maxNews = 64
	// Interfaces are looked through no more often, whatever the kernel tells: its news come in bursts.
	lookEvery = 50 * time.Millisecond
	// Names in one message.
	maxTold = 8
)

// choice are the interfaces that are chosen.
type choice struct {
	l      *live
	sel    selection
	fd     int          // the netlink socket
	stale  bool         // something has changed since they were looked at
	looked time.Time    // when that was
	defs   []int        // indexes of those that default routes go over
	over   map[int]bool // indexes of those that fit, beyond maxChosen
	told   map[int]bool // indexes of those that cannot be captured from, of which it was said
	blind  bool         // they cannot be listed, and it was said
	buf    [16 << 10]byte
}

// newChoice listens for interfaces that come and go, and for default routes.
func newChoice(l *live, sel selection) (*choice, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	groups := uint32(1) << (unix.RTNLGRP_LINK - 1)
	if sel.def {
		groups |= 1<<(unix.RTNLGRP_IPV4_ROUTE-1) | 1<<(unix.RTNLGRP_IPV6_ROUTE-1)
	}
	if err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err == nil {
		err = l.watch(fd, unix.EPOLL_CTL_ADD)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &choice{l: l, sel: sel, fd: fd, stale: true, over: map[int]bool{}, told: map[int]bool{}}, nil
}

// listen takes the kernel's messages and notes whether one of them matters.
func (c *choice) listen() {
	for range maxNews {
		n, _, err := unix.Recvfrom(c.fd, c.buf[:], 0)
		if err != nil {
			if errors.Is(err, unix.ENOBUFS) { // some were lost
				c.stale = true
				continue
			}
			return
		}
		all, err := syscall.ParseNetlinkMessage(c.buf[:n])
		if err != nil { // a message that is longer than the buffer
			c.stale = true
		}
		for _, m := range all {
			switch m.Header.Type {
			case unix.RTM_NEWLINK, unix.RTM_DELLINK:
				c.stale = true
			case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
				const dstLen = 1 // of struct rtmsg
				c.stale = c.stale || len(m.Data) > dstLen && m.Data[dstLen] == 0
			}
		}
	}
}

// look joins the interfaces that fit and are not captured from, and leaves those that are gone or fit no more. At the
// start, first, nothing is said of those that are there, and a right that is missing is an error.
func (c *choice) look(first bool) error {
	l := c.l
	c.stale = false
	all, err := net.Interfaces()
	if err != nil {
		c.stale = true
		return err
	}
	slices.SortFunc(all, func(a, b net.Interface) int { return cmp.Compare(a.Index, b.Index) })
	if c.sel.def {
		c.route(first)
	}
	fits := func(i *net.Interface) bool { return c.sel.fits(i.Name, slices.Contains(c.defs, i.Index)) }
	have := map[int]bool{}
	for _, t := range slices.Clone(l.taps) {
		if !t.chosen {
			continue
		}
		at := slices.IndexFunc(all, func(i net.Interface) bool { return i.Index == t.index })
		if at >= 0 && all[at].Name == t.name && fits(&all[at]) {
			have[t.index] = true
			continue
		}
		if slices.ContainsFunc(t.rings, (*ring).ready) {
			have[t.index], c.stale = true, true // first read what it still has
			continue
		}
		switch {
		case at < 0:
			l.notice("interface %s is gone", t.name)
		case all[at].Name != t.name:
			l.notice("interface %s is now %s", t.name, all[at].Name)
		default:
			l.notice("interface %s has no default route any more: it is left", t.name)
		}
		l.leave(t)
	}
	for index := range c.told {
		if !slices.ContainsFunc(all, func(i net.Interface) bool { return i.Index == index }) {
			delete(c.told, index)
		}
	}
	var over []string
	was := c.over
	c.over = map[int]bool{}
	for i := range all {
		f := &all[i]
		if f.Flags&net.FlagUp == 0 || have[f.Index] || !fits(f) {
			continue
		}
		if len(have) >= maxChosen {
			if c.over[f.Index] = true; !was[f.Index] {
				l.stats.Unwatched++
				over = append(over, f.Name)
			}
			continue
		}
		if err := l.join(f.Name, len(have)+1); err == nil {
			have[f.Index] = true
			if !first {
				l.notice("interface %s is there: capturing from it, too", f.Name)
			}
		} else if first && errors.Is(err, unix.EPERM) {
			return err
		} else if !c.told[f.Index] && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) {
			c.told[f.Index] = true
			l.notice("%s; it is left out", strings.TrimPrefix(err.Error(), "capture: "))
		}
	}
	if len(over) > 0 {
		rest := ""
		if n := len(over) - maxTold; n > 0 {
			over, rest = over[:maxTold], " and "+strconv.Itoa(n)+" more"
		}
		l.notice("%d interfaces are captured from, which is the bound: not from %s%s", maxChosen, strings.Join(over, ", "), rest)
	}
	return nil
}

// lookAgain is look while the capture runs. What cannot be done is tried again.
func (c *choice) lookAgain() {
	err := c.look(false)
	if err != nil && !c.blind {
		c.l.notice("interfaces cannot be listed: %v", err)
	}
	c.blind = err != nil
}

// route finds the interfaces of default routes. If there is none any more, the last ones stand.
func (c *choice) route(first bool) {
	now, err := defaultRoutes()
	switch {
	case err != nil:
		c.stale = true
		return
	case len(now) == 0 && len(c.defs) > 0:
		return
	case len(now) == 0 && first:
		c.l.notice("there is no default route yet; waiting for one")
	}
	c.defs = now
}

// defaultRoutes gives the indexes of the interfaces that the best default routes of IPv4 and IPv6 go over.
func defaultRoutes() ([]int, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETROUTE, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	all, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, err
	}
	best := map[byte]uint32{} // by family
	found := map[byte][]int{}
	for i := range all {
		m := &all[i]
		// struct rtmsg of linux/rtnetlink.h: family, lengths of destination and source, TOS, table, protocol, scope, type.
		if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg || m.Data[1] != 0 || m.Data[7] != unix.RTN_UNICAST || m.Data[4] != unix.RT_TABLE_MAIN {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			continue
		}
		var metric uint32
		var over []int
		for _, a := range attrs {
			switch {
			case a.Attr.Type == unix.RTA_PRIORITY && len(a.Value) >= 4:
				metric = binary.NativeEndian.Uint32(a.Value)
			case a.Attr.Type == unix.RTA_OIF && len(a.Value) >= 4:
				over = append(over, int(binary.NativeEndian.Uint32(a.Value)))
			case a.Attr.Type == unix.RTA_MULTIPATH:
				// struct rtnexthop: length, flags, hops, index; attributes behind it.
				for v := a.Value; len(v) >= unix.SizeofRtNexthop; {
					n := int(binary.NativeEndian.Uint16(v))
					over = append(over, int(binary.NativeEndian.Uint32(v[4:])))
					if n = (n + 3) &^ 3; n < unix.SizeofRtNexthop || n > len(v) {
						break
					}
					v = v[n:]
				}
			}
		}
		family := m.Data[0]
		if b, ok := best[family]; !ok || metric < b {
			best[family], found[family] = metric, over
		} else if metric == b {
			found[family] = append(found[family], over...)
		}
	}
	list := append(found[unix.AF_INET], found[unix.AF_INET6]...)
	slices.Sort(list)
	return slices.Compact(list), nil
}

// share is the ring of the n-th interface that is chosen: two get a whole one, and each doubling of their number takes the
// memory of one more.
func share(ring, n int) int {
	for k := 2; k < n; k *= 2 {
		ring /= 2
	}
	return ring
}

// join captures from an interface that was chosen, as the n-th of those.
func (l *live) join(name string, n int) error {
	t := &tap{l: l, name: name, chosen: true, size: share(l.cfg.Ring, n)}
	t.told.Name = name
	if err := t.open(); err != nil {
		return err
	}
	l.mu.Lock()
	l.taps = append(l.taps, t)
	l.mu.Unlock()
	return nil
}

// leave gives up an interface that was chosen.
func (l *live) leave(t *tap) {
	t.close()
	l.mu.Lock()
	l.taps = slices.DeleteFunc(l.taps, func(o *tap) bool { return o == t })
	l.mu.Unlock()
}
