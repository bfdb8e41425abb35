"""Packets by hand, and the network of ns.sh: World, Conn."""
import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

F, S, R, P, A, U = 1, 2, 4, 8, 16, 32
M32 = 0xFFFFFFFF
here = os.path.dirname(os.path.abspath(__file__))
libc = ctypes.CDLL(None, use_errno=True)


def csum(b):
    if len(b) % 2:
        b += b"\0"
    s = sum(struct.unpack("!%dH" % (len(b) // 2), b))
    while s >> 16:
        s = (s >> 16) + (s & 0xFFFF)
    return ~s & 0xFFFF


def pack(a):
    return socket.inet_pton(socket.AF_INET6 if ":" in a else socket.AF_INET, a)


def ip4(src, dst, pl, proto=6, ttl=64, ident=1, frag=0, flags=0, tos=0, opts=b"", length=None, sum_xor=0, ver=4, ihl=None):
    """An IPv4 packet. frag is in bytes; flags 1: more fragments, 2: don't fragment; sum_xor spoils the header's checksum."""
    while len(opts) % 4:
        opts += b"\0"
    n = 20 + len(opts)
    h = struct.pack("!BBHHHBBH4s4s", ver << 4 | (n // 4 if ihl is None else ihl), tos, n + len(pl) if length is None else length,
                    ident & 0xFFFF, flags << 13 | frag // 8, ttl, proto, 0, pack(src), pack(dst)) + opts
    return h[:10] + struct.pack("!H", csum(h) ^ sum_xor) + h[12:] + pl


def ip6(src, dst, pl, nxt=6, ttl=64, tos=0):
    return struct.pack("!IHBB16s16s", 6 << 28 | tos << 20, len(pl), nxt, ttl, pack(src), pack(dst)) + pl


def tcp(src, dst, sp, dp, seq, ack, fl, data=b"", opts=b"", urg=0, win=64000, off=None, cs="right", ns=0):
    """A TCP segment. cs: right, bad, zero, or partial (the pseudo header alone, as for a card to fill in)."""
    while len(opts) % 4:
        opts += b"\1"
    off = 5 + len(opts) // 4 if off is None else off
    h = struct.pack("!HHIIBBHHH", sp, dp, seq & M32, ack & M32, off << 4 | ns, fl, win, 0, urg) + opts + data
    ph = pack(src) + pack(dst) + (struct.pack("!IBBBB", len(h), 0, 0, 0, 6) if ":" in src else struct.pack("!BBH", 0, 6, len(h)))
    c = {"right": csum(ph + h), "bad": csum(ph + h) ^ 0x5555, "zero": 0, "partial": ~csum(ph) & 0xFFFF}[cs]
    return h[:16] + struct.pack("!H", c) + h[18:]


def inside(name, f):
    """Calls f in a network namespace."""
    was, to = os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/run/netns/" + name, os.O_RDONLY)
    try:
        if libc.setns(to, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        return f()
    finally:
        libc.setns(was, 0)
        os.close(was)
        os.close(to)


def no_offload(dev):
    """Has checksums filled in and segments left alone (ethtool -K)."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for cmd in (0x1F, 0x24, 0x2C, 0x19, 0x17, 0x15):  # TSO, GSO, GRO, SG, TX, RX
        v = ctypes.create_string_buffer(struct.pack("II", cmd, 0))
        try:
            fcntl.ioctl(s, 0x8946, struct.pack("16sP16x", dev.encode(), ctypes.addressof(v)))
        except OSError:
            pass
    s.close()


def packets(dev, proto=3):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(proto))
    s.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)  # SO_RCVBUFFORCE
    s.bind((dev, proto))
    s.setblocking(False)
    return s


DELAY = 0.006


def cable(name):
    """Carries frames between the router and the server; what comes from the server takes DELAY."""
    def both():
        for d in "x1", "x2":
            no_offload(d)
        return packets("x1"), packets("x2")
    a, b = inside(name, both)
    late = []
    while True:
        select.select([a, b], [], [], max(late[0][0] - time.time(), 0) if late else None)
        while late and late[0][0] <= time.time():
            a.send(late.pop(0)[1])
        for s in a, b:
            for _ in range(64):
                try:
                    d, addr = s.recvfrom(70000)
                except BlockingIOError:
                    break
                if addr[2] == socket.PACKET_OUTGOING:
                    continue
                if s is a:
                    b.send(d)
                else:
                    late.append((time.time() + DELAY, d))


class World:
    """The network with a server, and a tap in it."""

    def __init__(self, name):
        self.name, self.port = name, 20000
        subprocess.run([here + "/ns.sh", name], check=True)
        self.pid = os.fork()
        if not self.pid:
            try:
                cable(name + "x")
            finally:
                os._exit(1)
        for n, d in ("c", "c1"), ("r", "r1"), ("r", "r2"), ("s", "s1"):
            inside(name + n, lambda: no_offload(d))
        self.out = inside(name + "c", lambda: packets("c1"))
        self.tap = inside(name + "r", lambda: packets("r1"))
        self.tap.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        self.tap.setsockopt(263, 8, 1)  # PACKET_AUXDATA: where a VLAN tag goes
        def hw(d):
            s = socket.socket()
            return fcntl.ioctl(s, 0x8927, struct.pack("256s", d.encode()))[18:24]
        self.rmac, self.cmac = inside(name + "r", lambda: hw("r1")), inside(name + "c", lambda: hw("c1"))
        self.server = subprocess.Popen(
            ["ip", "netns", "exec", name + "s", sys.executable, os.path.join(os.path.dirname(here), "srv.py"), "8265", "10.0.0.5", "fd00:a::5"],
            stdout=subprocess.PIPE)
        self.server.stdout.readline()

    def close(self):
        self.server.kill()
        os.kill(self.pid, 9)
        subprocess.run([here + "/ns.sh", "-d", self.name])

    def send(self, ip, dst=None, vlan=None):
        kind = b"\x86\xdd" if ip[0] >> 4 == 6 else b"\x08\0"
        if vlan:
            kind = b"\x81\0" + struct.pack("!H", vlan) + kind
        self.out.send((dst or self.rmac) + self.cmac + kind + ip)

    def taped(self):
        """What the tap saw since it was last asked, as a capture."""
        out = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)]
        while True:
            try:
                b, anc, _, _ = self.tap.recvmsg(70000, 512)
            except BlockingIOError:
                return b"".join(out)
            sec = nsec = 0
            for level, kind, v in anc:
                if level == socket.SOL_SOCKET:
                    sec, nsec = struct.unpack("qq", v[:16])
                elif level == 263:
                    status, _, _, _, _, tci, tpid = struct.unpack("IIIHHHH", v[:20])
                    if status & 16:
                        b = b[:12] + struct.pack("!HH", tpid if status & 64 else 0x8100, tci) + b[12:]
            if b[12:14] not in (b"\x08\0", b"\x86\xdd", b"\x81\0") or b[12:14] == b"\x86\xdd" and b[20] in (0, 58) and b[14 + 40] not in (6, 60, 44):
                continue
            out.append(struct.pack("<IIII", sec, nsec, len(b), len(b)) + b)

    def conn(self, **k):
        self.port += 7
        return Conn(self, self.port, **k)


class Conn:
    """A connection by hand. cs is the next sequence number to send, ss the next that is expected."""

    def __init__(self, w, port, isn=None, ts=None, v6=False):
        self.w, self.port = w, port
        self.c, self.s = ("2001:db8:71::5", "fd00:a::5") if v6 else ("203.0.113.5", "10.0.0.5")
        self.cs = 0x10000000 + port * 0x1003 if isn is None else isn
        self.isn, self.ss, self.got, self.rst, self.syn, self.acked = self.cs, 0, b"", False, False, self.cs
        self.ts, self.tsr, self.ident = ts, 0, port

    def stamp(self, d=0, ecr=None):
        return b"\1\1\x08\x0a" + struct.pack("!II", (self.ts + d) & M32, self.tsr if ecr is None else ecr)

    def segment(self, fl, data=b"", seq=None, ack=None, opts=None, raw=b"", **k):
        if opts is None:
            opts = b""
            if self.ts is not None:
                self.ts = (self.ts + 1) & M32
                opts = self.stamp()
        return tcp(self.c, self.s, self.port, 8265, self.cs if seq is None else seq, self.ss if ack is None else ack, fl, data, opts=opts + raw, **k)

    def seg(self, fl, data=b"", ip=None, ttl=64, dst=None, vlan=None, pad=b"", **k):
        """Sends a segment; ip are arguments for ip4, pad is what follows the packet in its frame."""
        self.w.send(self.wrap(self.segment(fl, data, **k), ttl=ttl, **(ip or {})) + pad, dst, vlan)

    def wrap(self, pl, **k):
        if ":" in self.c:
            return ip6(self.c, self.s, pl, **k)
        self.ident += 1
        k.setdefault("ident", self.ident)
        return ip4(self.c, self.s, pl, **k)

    def spoof(self, fl, data=b"", seq=None, ack=None, ttl=63, **k):
        """Sends what seems to come from the server."""
        self.w.send(ip4(self.s, self.c, tcp(self.s, self.c, 8265, self.port, self.ss if seq is None else seq, self.cs if ack is None else ack, fl, data, **k), ttl=ttl))

    def rx(self, t=0.03, until=None, ack=True):
        """Reads and acknowledges for t seconds, or until what came has until in it."""
        end = time.time() + t
        while not (until and until != "syn" and until in self.got):
            left = end - time.time()
            if left <= 0 or not select.select([self.w.out], [], [], left)[0]:
                return
            b, addr = self.w.out.recvfrom(70000)
            if addr[2] == socket.PACKET_OUTGOING:
                continue
            b = b[14:]
            if b[0] >> 4 == 4:
                if b[12:20] != pack(self.s) + pack(self.c) or b[9] != 6:
                    continue
                b = b[(b[0] & 15) * 4:struct.unpack("!H", b[2:4])[0]]
            else:
                if b[8:40] != pack(self.s) + pack(self.c) or b[6] != 6:
                    continue
                b = b[40:40 + struct.unpack("!H", b[4:6])[0]]
            _, dp, seq, acked, off, fl = struct.unpack("!HHIIBB", b[:14])
            if dp != self.port:
                continue
            n = (off >> 4) * 4
            if self.ts is not None and (i := b[20:n].find(b"\x08\x0a")) >= 0:
                self.tsr = struct.unpack("!I", b[20 + i + 2:20 + i + 6])[0]
            self.rst = self.rst or bool(fl & R)
            if fl & S:
                self.ss, self.syn, self.acked = (seq + 1) & M32, True, acked
                if until == "syn":
                    return
                continue
            self.acked = acked
            if (b[n:] or fl & F) and seq == self.ss:
                self.got += b[n:]
                self.ss = (self.ss + len(b) - n + (fl & F)) & M32
                if ack:
                    self.seg(A)

    def opts(self, wscale=None, mss=1400):
        o = b"\2\4" + struct.pack("!H", mss)
        if self.ts is not None:
            o += b"\4\2\x08\x0a" + struct.pack("!II", self.ts, 0)
        if wscale is not None:
            o += b"\1\3\3" + bytes([wscale])
        return o

    def open(self, wscale=None, ack=True, **k):
        self.seg(S, ack=0, opts=self.opts(wscale), **k)
        self.cs = (self.isn + 1) & M32
        self.rx(0.5, "syn")
        if ack:
            self.seg(A)
        return self

    def send(self, data, mss=1400, **k):
        for i in range(0, len(data), mss):
            self.seg(P | A, data[i:i + mss], **k)
            self.cs = (self.cs + len(data[i:i + mss])) & M32

    def answer(self, t=0.4):
        self.rx(t, b"raysubmit_x")
        self.rx(0.01)

    def fin(self):
        self.seg(F | A)
        self.cs = (self.cs + 1) & M32
        self.rx(0.02)
