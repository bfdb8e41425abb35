"""Holds raytap against a real Linux kernel and a real aiohttp over three network namespaces, or records what they accept.

    python3 testdata/evade/tcp/tcp.py [check] [TRICK...]   run the tricks, and have the Go test hold what was accepted
    python3 testdata/evade/tcp/tcp.py record               write captures.zst anew
    python3 testdata/evade/tcp/tcp.py extract DIR          write what captures.zst has as one capture for each trick

It needs root, iproute2, and aiohttp and zstandard from PyPI. Where something is missing it says so and ends.
"""
import io
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(os.path.dirname(here)))
sys.path.insert(0, here)
WORLDS = int(os.environ.get("WORLDS", "4"))


def skip(why):
    print("skipped:", why)
    sys.exit(0)


def one(w, name):
    import tricks
    f, speaks = tricks.TRICKS[name]
    seen = []
    conn = w.conn
    w.conn = lambda **k: seen.append(conn(**k)) or seen[-1]
    w.taped()
    err = None
    try:
        f(w)
    except Exception as e:
        err = repr(e)
    del w.conn
    cap = w.taped()
    got = b"".join(c.got for c in seen)
    ep = None
    if b"raysubmit_x" in got and b'"ep": "' in got:
        ep = got.split(b'"ep": "')[1].split(b'"}')[0].decode()
    c = seen[-1] if seen else None
    return {"name": name, "accepted": ep is not None, "entrypoint": ep, "src": c and c.c, "dst": c and c.s, "speaks": speaks}, cap, err, got[:40]


def work(i, todo, out):
    import net
    w = net.World("rt%d%d" % (os.getpid() % 1000, i))
    try:
        while (name := todo.get()) is not None:
            out.put(one(w, name))
    finally:
        w.close()
        out.put(None)


def run(names):
    import tricks
    names = names or list(tricks.TRICKS)
    slow = lambda n: ("timeout" in n) * 9 + n.endswith("7s") + n.endswith("8s") + ("slow" in n) + ("sleeps" in n)
    n = min(WORLDS, len(names))
    ctx = multiprocessing.get_context("fork")
    todo, out = ctx.Queue(), ctx.Queue()
    for x in sorted(names, key=slow, reverse=True) + [None] * n:
        todo.put(x)
    ps = [ctx.Process(target=work, args=(i, todo, out)) for i in range(n)]
    for p in ps:
        p.start()
    res, left = {}, n
    while left:
        r = out.get()
        if r is None:
            left -= 1
            continue
        res[r[0]["name"]] = r
    for p in ps:
        p.join()
    return [res[x] for x in names if x in res]


def write(path, res):
    import zstandard
    b = io.BytesIO()
    for r, cap, _, _ in res:
        b.write(json.dumps(dict(r, size=len(cap))).encode() + b"\n" + cap)
    with open(path, "wb") as f:
        f.write(zstandard.ZstdCompressor(level=19).compress(b.getvalue()))


def extract(path, to):
    import zstandard
    with open(path, "rb") as f:
        b = io.BytesIO(zstandard.ZstdDecompressor().decompressobj().decompress(f.read()))
    os.makedirs(to, exist_ok=True)
    while line := b.readline():
        r = json.loads(line)
        with open("%s/%s.pcap" % (to, r["name"]), "wb") as f:
            f.write(b.read(r["size"]))


def main():
    args = sys.argv[1:]
    verb = args.pop(0) if args and args[0] in ("check", "record", "extract") else "check"
    try:
        import zstandard  # noqa: F401

        if verb == "extract":
            return extract(here + "/captures.zst", args[0])
        import aiohttp
    except ImportError as e:
        skip(e)
    if os.geteuid() or sys.platform != "linux":
        skip("network namespaces take root on Linux")
    try:
        subprocess.run([here + "/ns.sh", "rtprob"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as e:
        skip("no network namespaces here: %s %s" % (e, getattr(e, "stderr", b"")))
    finally:
        subprocess.run([here + "/ns.sh", "-d", "rtprob"])
    t = time.time()
    res = run(args)
    for r, cap, err, got in res:
        if err or not r["accepted"]:
            print("%-28s %s" % (r["name"], err or "not accepted: %r" % got))
    print("aiohttp %s, Linux %s: %d tricks, %d accepted, %.0f s" % (aiohttp.__version__, os.uname().release, len(res), sum(r["accepted"] for r, *_ in res), time.time() - t))
    if verb == "record":
        return write(here + "/captures.zst", res)
    with tempfile.TemporaryDirectory() as d:
        write(d + "/c.zst", res)
        sys.exit(subprocess.run(["go", "test", "-count=1", "-run", "TestTCPEvasions", "."], cwd=root, env=dict(os.environ, RAYTAP_TCP_EVASIONS=d + "/c.zst")).returncode)


if __name__ == "__main__":
    main()
