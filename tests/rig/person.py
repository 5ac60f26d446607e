"""An ordinary user of this machine, as most people who run labkit are one: a home that is closed to others, and sudo.

He has a clone of his own of what is checked out here, with what was not committed, and its own environment.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_S = 600


@dataclass(frozen=True)
class Person:
    """Somebody who is not root."""

    name: str
    home: Path
    uid: int
    gid: int

    @property
    def clone(self) -> Path:
        return self.home / "labkit"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What runs a command as him, with the environment of the caller but for his home."""
        as_him = ("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups")
        return (*as_him, "env", f"HOME={self.home}", f"USER={self.name}", f"LOGNAME={self.name}")

    def own(self, folder: Path) -> Path:
        """Make a folder, and all in it, his."""
        for place in (folder, *folder.rglob("*")):
            os.chown(place, self.uid, self.gid, follow_symlinks=False)
        return folder

    def folder(self, name: str) -> Path:
        """A new folder in his home."""
        made = self.home / name
        made.mkdir()
        return self.own(made)


@contextmanager
def ordinary_user() -> Iterator[Person]:
    """A user who is there for the block, with a clone that is set up."""
    name = f"labkit{os.getpid()}"
    run("useradd", "--create-home", "--shell", "/bin/sh", name)
    entry = pwd.getpwnam(name)
    person = Person(name, Path(entry.pw_dir), entry.pw_uid, entry.pw_gid)
    allowed = Path("/etc/sudoers.d") / name
    try:
        allowed.write_text(f"{name} ALL=(ALL) NOPASSWD: ALL\n")
        allowed.chmod(0o440)
        person.home.chmod(0o700)
        copy_checkout(person.clone)
        person.own(person.clone)
        run(*person.prefix, str(person.clone / "lab"), "setup", cwd=person.clone)
        yield person
    finally:
        allowed.unlink(missing_ok=True)
        end_all(person.uid)
        run("userdel", "--remove", name)


def copy_checkout(target: Path) -> None:
    """What git knows of this checkout, and what it would be told of."""
    words = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)


def run(*words: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        words, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=MOST_S
    )
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"


def end_all(uid: int) -> None:
    """End what still runs as a user, as at a log-out; a lab of his was taken down before."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if process.stat().st_uid == uid:
                    os.kill(int(process.name), number)
        time.sleep(0.5)
