package capture

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// tap is one interface.
type tap struct {
	l        *live
	name     string
	chosen   bool // it was not named: see choice
	size     int  // bytes of its rings
	index    int
	link     uint16
	loopback bool // every frame is seen twice there
	up       bool
	filter   []unix.SockFilter
	xdp      link.Link     // of a mirror: drops at the driver; nil: nothing does
	program  *ebpf.Program // counts what is shunted, behind the filter; nil: nothing is
	rings    []*ring       // none: the interface is gone
	told     Interface     // under live.mu
}

// query asks about an interface by its name.
func (l *live) query(name string, what uint) (*unix.Ifreq, error) {
	q, err := unix.NewIfreq(name)
	if err != nil {
		return nil, err
	}
	return q, unix.IoctlIfreq(l.ctl, what, q)
}

// state gives the interface's index and whether its link is up.
func (l *live) state(name string) (index int, up bool, err error) {
	q, err := l.query(name, unix.SIOCGIFINDEX)
	if err != nil {
		return 0, false, err
	}
	index = int(q.Uint32())
	if q, err = l.query(name, unix.SIOCGIFFLAGS); err != nil {
		return 0, false, err
	}
	const up1 = unix.IFF_UP | unix.IFF_RUNNING
	return index, q.Uint16()&up1 == up1, nil
}

// linkOf is the link type of what a raw packet socket gives for a hardware type.
func linkOf(hw uint16) (uint16, bool) {
	switch hw {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return linkEthernet, true
	case unix.ARPHRD_NONE, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_RAWIP:
		return linkRaw, true
	case unix.ARPHRD_IEEE80211_RADIOTAP:
		return linkRadiotap, true
	}
	return 0, false
}

// kernelFilter is the program for the socket: what has a VLAN tag beside it passes, see OpenLive.
func kernelFilter(expr string, link uint16, snap int) ([]unix.SockFilter, error) {
	f, err := CompileFilter(expr, link)
	if err != nil {
		return nil, err
	}
	var code []unix.SockFilter
	if expr != "" && link == linkEthernet {
		const vlanTagPresent = 0xfffff000 + 48 // SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT, linux/filter.h
		code = append(code,
			unix.SockFilter{Code: opLdB, K: vlanTagPresent},
			unix.SockFilter{Code: opJeq, Jt: 1, K: 0},
			unix.SockFilter{Code: opRet, K: uint32(snap)})
	}
	for _, i := range f.Program() {
		if i.Op == opRet && i.K != 0 {
			i.K = uint32(snap)
		}
		code = append(code, unix.SockFilter{Code: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	return code, nil
}

func (t *tap) fail(what string, err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("capture: interface %s: %s: %w (it takes root or CAP_NET_RAW)", t.name, what, err)
	}
	return fmt.Errorf("capture: interface %s: %s: %w", t.name, what, err)
}

// open looks the interface up and opens its rings.
func (t *tap) open() (err error) {
	if t.index, t.up, err = t.l.state(t.name); err != nil {
		return t.fail("cannot be found", err)
	}
	q, err := t.l.query(t.name, unix.SIOCGIFHWADDR)
	if err != nil {
		return t.fail("cannot be asked", err)
	}
	hw := q.Uint16()
	var ok bool
	if t.link, ok = linkOf(hw); !ok {
		return fmt.Errorf("capture: interface %s: hardware type %d is not known", t.name, hw)
	}
	t.loopback = hw == unix.ARPHRD_LOOPBACK
	if t.filter, err = kernelFilter(t.l.cfg.Filter, t.link, t.l.cfg.SnapLen); err != nil {
		return err
	}
	t.load()
	if t.l.cfg.Hardware {
		const allPackets = 1 // HWTSTAMP_FILTER_ALL
		cfg := unix.HwTstampConfig{Rx_filter: allPackets}
		if err := unix.IoctlSetHwTstamp(t.l.ctl, t.name, &cfg); err != nil {
			t.l.notice("%s makes no time stamps of its own (%v): the kernel's are taken", t.name, err)
		}
	}
	if _, err := t.add(nil); err != nil {
		return err
	}
	t.fan()
	return nil
}

// load makes the program that counts what is shunted.
func (t *tap) load() {
	s := t.l.shunt
	if s == nil || t.program != nil {
		return
	}
	var filter []bpf.RawInstruction
	if t.l.cfg.Filter != "" {
		f, err := CompileFilter(t.l.cfg.Filter, t.link)
		if err != nil {
			return // it was compiled before
		}
		filter = f.Program()
	}
	p, err := s.program(t.link, t.loopback, false, filter, uint32(t.l.cfg.SnapLen))
	if err != nil {
		t.l.notice("flows on %s cannot be counted in the kernel (%s): all packets are delivered", t.name, shuntRefused(err))
		return
	}
	t.program = p
	if slices.ContainsFunc(t.l.cfg.Mirror, func(pattern string) bool { ok, _ := path.Match(pattern, t.name); return ok }) {
		t.mirror()
	}
}

// mirror drops what is counted at the driver already. Only a mirror's frames are for nobody else; an interface with an
// address is none.
func (t *tap) mirror() {
	refuse := func(why string) { t.l.notice("%s drops nothing at its driver: %s", t.name, why) }
	i, err := net.InterfaceByName(t.name)
	if err != nil {
		refuse(err.Error())
		return
	}
	addrs, err := i.Addrs()
	if err != nil {
		refuse(err.Error())
		return
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); !ok || !n.IP.IsLinkLocalUnicast() {
			refuse(fmt.Sprintf("it has the address %v, so it is no mirror", a))
			return
		}
	}
	switch {
	case t.link != linkEthernet || t.loopback:
		refuse("it is no Ethernet")
		return
	case t.l.cfg.Filter != "":
		refuse("there is a filter, which is applied behind it")
		return
	}
	if _, err := os.Stat("/sys/class/net/" + t.name + "/master"); err == nil {
		refuse("it is part of another interface")
		return
	}
	if t.xdp, err = t.l.shunt.attach(t.index, t.link); err != nil {
		refuse(shuntRefused(err))
	}
}

// pass puts the filter at a ring's socket, with the program that counts if there is one.
func (t *tap) pass(r *ring) error {
	if t.program != nil {
		err := r.attach(t.program)
		if err == nil {
			return nil
		}
		t.l.notice("flows on %s cannot be counted in the kernel (%s): all packets are delivered", t.name, shuntRefused(err))
		t.unload()
	}
	return r.filter(t.filter)
}

// unload gives the program up. Sockets keep it.
func (t *tap) unload() {
	if t.xdp != nil {
		t.xdp.Close()
	}
	t.program, t.xdp = nil, nil
}

// add opens a ring.
func (t *tap) add(filter []unix.SockFilter) (*ring, error) { // nil: the tap's
	r := &ring{tap: t}
	if err := r.open(filter); err != nil {
		return nil, err
	}
	t.rings, t.l.rings = append(t.rings, r), append(t.l.rings, r)
	return r, nil
}

// fan opens the rings that the interface is to have beside its first, and lets the kernel deal the flows to them
// (PACKET_FANOUT_HASH, equal for both directions). Of an interface that is down the kernel takes no group; fan is called
// again when it is up.
func (t *tap) fan() {
	if len(t.rings) >= t.l.cfg.Rings || !t.up {
		return
	}
	const hash = unix.PACKET_FANOUT_HASH << 16
	first := t.rings[0].fd
	err := unix.SetsockoptInt(first, unix.SOL_PACKET, unix.PACKET_FANOUT, hash|unix.PACKET_FANOUT_FLAG_UNIQUEID<<16)
	var group int
	if err == nil || errors.Is(err, unix.EALREADY) {
		group, err = unix.GetsockoptInt(first, unix.SOL_PACKET, unix.PACKET_FANOUT)
		group &= 0xffff // below the way of dealing
	}
	for err == nil && len(t.rings) < t.l.cfg.Rings {
		// A socket beside the group would be given all that the group is given: nothing comes before it is in.
		var r *ring
		if r, err = t.add(nothing); err != nil {
			break
		}
		if err = unix.SetsockoptInt(r.fd, unix.SOL_PACKET, unix.PACKET_FANOUT, hash|group); err == nil {
			err = t.pass(r)
		}
		if err != nil {
			t.drop(r)
		}
	}
	if err != nil {
		t.l.notice("%s has %d of %d rings: %s", t.name, len(t.rings), t.l.cfg.Rings, strings.TrimPrefix(err.Error(), "capture: "))
	}
}

// drop closes one ring.
func (t *tap) drop(r *ring) {
	r.close()
	is := func(o *ring) bool { return o == r }
	t.rings, t.l.rings = slices.DeleteFunc(t.rings, is), slices.DeleteFunc(t.l.rings, is)
}

// close closes all of them.
func (t *tap) close() {
	for len(t.rings) > 0 {
		t.drop(t.rings[len(t.rings)-1])
	}
	t.unload()
}

// ask takes over the kernel's counts for a ring, which begin anew with that.
func (t *tap) ask(r *ring) {
	s, err := unix.GetsockoptTpacketStatsV3(r.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		return
	}
	l := t.l
	l.stats.Received += uint64(s.Packets)
	l.stats.Dropped += uint64(s.Drops)
	l.stats.Freezes += uint64(s.Freeze_q_cnt)
	l.mu.Lock()
	defer l.mu.Unlock()
	x := &t.told
	x.Received += uint64(s.Packets)
	x.Dropped += uint64(s.Drops)
	x.Freezes += uint64(s.Freeze_q_cnt)
}

// check looks after the interface.
func (t *tap) check() {
	l := t.l
	if len(t.rings) == 0 {
		if _, _, err := l.state(t.name); err != nil {
			return
		}
		if err := t.open(); err != nil {
			if !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENXIO) {
				l.notice("%s", strings.TrimPrefix(err.Error(), "capture: "))
			}
			return
		}
		l.stats.Reopened++
		if t.up {
			l.notice("interface %s is back", t.name)
		} else {
			l.notice("interface %s is back, its link is down", t.name)
		}
		return
	}
	for _, r := range t.rings {
		unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_ERROR) // takes the note that the link went down
	}
	index, up, err := l.state(t.name)
	if err != nil || index != t.index {
		if t.chosen {
			l.choice.stale = true // look sees to it
			return
		}
		if slices.ContainsFunc(t.rings, (*ring).ready) {
			return // first read what it still has
		}
		l.stats.LinkLost++
		l.notice("interface %s is gone; waiting for it", t.name)
		t.up = false
		t.close()
		if err == nil {
			t.check() // there is another of that name already
		}
		return
	}
	if up == t.up {
		return
	}
	if t.up = up; up {
		l.notice("the link of %s is up again", t.name)
		t.fan()
	} else {
		l.stats.LinkLost++
		l.notice("the link of %s is down", t.name)
	}
}
