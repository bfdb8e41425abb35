"""Holds raytap against a real aiohttp, or records what that accepts.

    python3 testdata/evade/run.py [check] [PYTHON...]    send every variant, and have the Go test hold what was accepted
    python3 testdata/evade/run.py record [PYTHON...]     write http.jsonl.zst anew

PYTHON are interpreters that have aiohttp (a virtual environment for each release); without any it is the one that runs
this. It needs brotli and zstandard, and for zstd bodies each server backports.zstd, all from PyPI. Where they are
missing it says so and ends.
"""
import concurrent.futures
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.dirname(os.path.dirname(here))
try:
    import zstandard

    import variants
except ImportError as e:
    sys.exit(print("skipped: %s" % e))

TAKEN = re.compile(rb'"ep": "[^\r\n]*\| bash"\}')  # in an answer that names the command


def send(port, parts):
    s = socket.create_connection(("127.0.0.1", port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    s.settimeout(20)
    out, late = b"", False
    try:
        for p in parts:
            s.sendall(p)
            if len(parts) > 1:
                time.sleep(0.002 if len(parts) > 9 else 0.2)
        s.settimeout(5 if sum(map(len, parts)) < 1 << 19 else 25)
        while not TAKEN.search(out[-4096:]):
            d = s.recv(1 << 20)
            if not d:
                break
            out += d
    except TimeoutError:
        late = True
    except OSError:
        pass
    s.close()
    return out, late


def serve(python, port):
    p = subprocess.Popen([python, os.path.join(here, "srv.py"), str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if not p.stdout.readline():
        return None, None
    version = subprocess.run([python, "-c", "import aiohttp; print(aiohttp.__version__)"], capture_output=True, text=True).stdout.strip()
    return p, version


def main():
    args = sys.argv[1:]
    what = args.pop(0) if args and args[0] in ("check", "record") else "check"
    found, servers = {}, 0
    for python in args or [sys.executable]:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        p, version = serve(python, port)
        if not p:
            print("skipped: %s has no aiohttp" % python)
            continue
        servers += 1
        answers, todo = {}, list(variants.all())
        for workers in (40, 8):  # those that were late once more, with less at a time
            with concurrent.futures.ThreadPoolExecutor(workers) as pool:
                got = dict(zip(todo, pool.map(lambda n: send(port, variants.all()[n]), todo)))
            answers.update({n: a for n, (a, _) in got.items()})
            todo = [n for n, (a, late) in got.items() if late and not TAKEN.search(a)]
        p.kill()
        taken = [n for n, a in answers.items() if TAKEN.search(a)]
        print("aiohttp %s accepted %d of %d" % (version, len(taken), len(answers)))
        for n in taken:
            found.setdefault(n, []).append((version, answers[n]))
    if not servers:
        return
    path = os.path.join(here, "http.jsonl.zst") if what == "record" else os.path.join(tempfile.mkdtemp(), "http.jsonl.zst")
    with open(path, "wb") as f, zstandard.ZstdCompressor(level=19, compression_params=zstandard.ZstdCompressionParameters.from_level(19, window_log=23)).stream_writer(f) as z:
        for n, parts in variants.all().items():
            if what == "record" and n.endswith("_9M"):
                continue  # too long to keep
            by = found.get(n, [])
            sent, answer = (parts, by[0][1]) if by else ((), b"")
            z.write(json.dumps({"name": n, "accepted": [v for v, _ in by], "sizes": [len(p) for p in sent], "answer": len(answer)}).encode() + b"\n")
            z.write(b"".join(sent) + answer)
    print(path, os.path.getsize(path), "bytes")
    if what == "check":
        subprocess.run(["go", "test", "-count=1", "-run", "TestEvasions", "./interpreters/ray"], cwd=root, env=dict(os.environ, RAYTAP_EVASIONS=path))


main()
