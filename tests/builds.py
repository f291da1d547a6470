"""The wheel and the sdist, the same bytes whenever and wherever they are built: ``python -m tests.builds FOLDER``.

Setuptools takes the times of a wheel from SOURCE_DATE_EPOCH. It writes an sdist with the times, owners and order that
the disk has, so that is packed again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ("ccm_jax", "pyproject.toml", "README.md", "LICENSE")
BUILD = """
import sys
from setuptools import build_meta
(target,) = sys.argv[1:]  # which building changes
build_meta.build_wheel(target)
build_meta.build_sdist(target)
"""


def tracked(*folders: str) -> list[str]:
    """The files of the repository below some folders."""
    command = ["git", "ls-files", "-z", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def epoch() -> int:
    """The time of the last commit, which all files are given."""
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


def copy_source(folder: Path) -> None:
    """Puts what a package is built of into a folder, without what earlier builds left behind."""
    for name in tracked(*SOURCE):
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())


def build(target: Path) -> dict[str, str]:
    """Builds both into a folder; returns the SHA-256 of each by name. Needs setuptools, and no network."""
    when = epoch()
    with tempfile.TemporaryDirectory() as folder:
        copy_source(Path(folder))
        clean = os.environ | {"SOURCE_DATE_EPOCH": str(when), "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-c", BUILD, str(target)]
        subprocess.run(command, cwd=folder, env=clean, capture_output=True, check=True)
    for sdist in target.glob("*.tar.gz"):
        pack_again(sdist, when)
    made = sorted([*target.glob("*.whl"), *target.glob("*.tar.gz")])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in made}


def pack_again(sdist: Path, when: int) -> None:
    """Packs an sdist anew: members by name, one time, no owners."""
    with tarfile.open(sdist) as archive:
        members = [(m, archive.extractfile(m)) for m in sorted(archive.getmembers(), key=lambda m: m.name)]
        contents = [(m, b"" if file is None else file.read()) for m, file in members]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member, content in contents:
            member.mtime, member.uid, member.gid, member.uname, member.gname = when, 0, 0, "", ""
            member.mode, member.pax_headers = (0o755 if member.isdir() else 0o644), {}
            archive.addfile(member, io.BytesIO(content))
    sdist.write_bytes(gzip.compress(packed.getvalue(), mtime=when))


if __name__ == "__main__":
    for made, digest in build(Path(sys.argv[1])).items():
        print(digest, made)
