"""Programs that start a service when they are installed: unpacked from their Debian packages, and not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def unpacked(program: str, package: str, folder: Path) -> tuple[str, dict[str, str]]:
    """A program and the environment it wants: the machine's own, else out of its package, with the packages it needs.

    Skips the test where neither can be had.
    """
    if found := shutil.which(program):
        return found, dict(os.environ)
    place = folder / package
    (place / "partial").mkdir(parents=True)
    words = [
        "apt-get",
        "-qq",
        "-y",
        "--no-install-recommends",
        "--download-only",
        "-o",
        f"Dir::Cache::archives={place}",
    ]
    try:
        done = subprocess.run([*words, "install", package], capture_output=True, text=True, timeout=300)
    except FileNotFoundError:
        pytest.skip(f"not installed: {program}, and there is no apt-get")
    if done.returncode:
        pytest.skip(f"not installed: {program}, and apt-get cannot fetch {package}: {done.stderr.strip()[-200:]}")
    for archive in place.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive, place / "root"], check=True, timeout=120)
    libraries = ":".join(map(str, (place / "root/usr/lib").glob("*-linux-gnu")))
    return str(place / "root/usr/sbin" / program), {**os.environ, "LD_LIBRARY_PATH": libraries}
