#!/usr/bin/env python3
"""Gets the public captures of manifest.tsv out of the repositories that they are in.

    fetch.py [--manifest FILE] [--cache DIR] DIR

Each line names a repository and a git blob: what a file was, at whatever path and in whatever commit. The blobs are asked
for by their ids, which GitHub and most other servers answer, without the rest of the history; what is got is compared with the
SHA-256 of the line and written to DIR/dev. What is there already is not got again. A file that a repository no longer
has is named, and the exit status is 1.
"""
import argparse, hashlib, os, subprocess, sys

AT_ONCE = 200  # ids in a request


def git(repo, *args, **more):
    return subprocess.run(["git", "-C", repo, *args], check=True, **more)


def lines(path):
    with open(path) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                url, blob, sha256, size, name = line.rstrip("\n").split("\t")
                if os.path.basename(name) != name or not name.strip("."):
                    sys.exit(f"{path}: {name!r} is no name of a file")
                yield url, blob, sha256, int(size), name


def have(path, sha256, size):
    try:
        return os.path.getsize(path) == size and hashlib.sha256(open(path, "rb").read()).hexdigest() == sha256
    except FileNotFoundError:
        return False


def mirror(cache, url):
    """A repository that has nothing but what is asked for."""
    repo = os.path.join(cache, hashlib.sha256(url.encode()).hexdigest()[:16])
    if not os.path.isdir(repo):
        os.makedirs(repo)
        git(repo, "init", "--quiet", "--bare")
        for key, value in (("remote.origin.url", url), ("remote.origin.promisor", "true"), ("remote.origin.partialclonefilter", "blob:none")):
            git(repo, "config", key, value)
    return repo


def fetch(repo, blobs):
    """What git does for the objects that a partial clone lacks."""
    for i in range(0, len(blobs), AT_ONCE):
        part = blobs[i : i + AT_ONCE]
        try:
            git(repo, "-c", "fetch.negotiationAlgorithm=noop", "fetch", "--quiet", "--no-tags", "--no-write-fetch-head",
                "--recurse-submodules=no", "--filter=blob:none", "--stdin", "origin", input="\n".join(part) + "\n", text=True)
        except subprocess.CalledProcessError:
            if len(part) == 1:
                print(f"{part[0]}: not to be had", file=sys.stderr)
            else:  # one that is missing must not cost the others
                fetch(repo, part[: len(part) // 2])
                fetch(repo, part[len(part) // 2 :])


def read(repo, blob):
    env = dict(os.environ, GIT_NO_LAZY_FETCH="1")
    got = subprocess.run(["git", "-C", repo, "cat-file", "blob", blob], capture_output=True, env=env)
    return got.stdout if got.returncode == 0 else None


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--manifest", default=os.path.join(here, "manifest.tsv"))
    p.add_argument("--cache", help="where repositories are kept (default: DIR/git)")
    p.add_argument("dir")
    a = p.parse_args()
    dev, cache = os.path.join(a.dir, "dev"), a.cache or os.path.join(a.dir, "git")
    os.makedirs(dev, exist_ok=True)
    wanted, there = {}, 0
    for url, blob, sha256, size, name in lines(a.manifest):
        if have(os.path.join(dev, name), sha256, size):
            there += 1
        else:
            wanted.setdefault(url, []).append((blob, sha256, size, name))
    got, missing = 0, []
    for url, files in wanted.items():
        repo = mirror(cache, url)
        fetch(repo, sorted({blob for blob, *_ in files}))
        for blob, sha256, size, name in files:
            b = read(repo, blob)
            if b is None or len(b) != size or hashlib.sha256(b).hexdigest() != sha256:
                missing.append(f"{name}: {url} has no blob {blob}")
                continue
            tmp = os.path.join(dev, name + ".part")
            with open(tmp, "wb") as f:
                f.write(b)
            os.replace(tmp, os.path.join(dev, name))
            got += 1
    for line in missing:
        print(line, file=sys.stderr)
    print(f"{there} captures were there, {got} came, {len(missing)} are missing")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
