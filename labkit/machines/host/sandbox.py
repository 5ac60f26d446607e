"""How a part of the lab is shut in: namespaces, a root, a user, capabilities.

The supervisor starts every part through here. What is to be run is one value, a `Sandbox`; ``enter_sandbox.py`` carries
it out in the process that becomes the part. See namespaces(7), capabilities(7).

A part that hears packets runs as a **user of its own**, as systemd.exec(5) has it with ``DynamicUser=``: a number that
nobody has, which owns nothing but the folders it must write. What lies below a folder that others may not enter, such
as the home this checkout may be in, is shown to it alone and in its place, and nothing else of that home.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from labkit.errors import MachineError

FIRST_USER, LAST_USER = 61184, 65519
"""The numbers that systemd gives to users who last no longer than their service, and Debian to nobody else."""


@dataclass(frozen=True)
class User:
    """Who a part runs as, by number."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


ROOT = User(0, 0)

NAMED = ("bootd", "swarmd", "registry", "push", "cache", "chassis", "bmc", "visitor")
"""Who has a user of his own: the parts that hear packets, and who rehearses a boot or asks for other servers."""


@dataclass(frozen=True)
class Users:
    """The users of a lab's parts: numbers in a row from ``first``; all of them root where that is 0."""

    first: int

    def of(self, name: str) -> User:
        """One of `NAMED`."""
        number = self.first + NAMED.index(name) if self.first else 0
        return User(number, number)


PACKAGE = Path(__file__).parents[2]
SCRIPT = PACKAGE / "machines/host/enter_sandbox.py"


@dataclass(frozen=True)
class Tree:
    """A root laid over the folder ``path``; what is written there goes to memory, but for the folders bound in.

    ``work`` is an empty folder to mount it on. By their names inside: ``binds`` are folders outside, ``sees`` those
    that cannot be written to, ``copies`` files outside that are copied for the part's user alone, ``texts`` what is in
    a file.
    """

    path: str
    work: str
    binds: Mapping[str, str] = field(default_factory=dict)
    sees: Mapping[str, str] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sandbox:
    """A command and how it is shut in.

    ``namespaces`` are those of its own beside the mounts': ``net``, ``uts``. ``net_of`` is the path of a network
    namespace to run in. With ``everything`` it keeps all of root's privileges, else ``capabilities`` alone and never
    gets more. ``shows`` are paths outside that it must be able to reach, ``writes`` those it may write to as well,
    ``copied`` those whose own modes say no to it, ``devices`` those of /dev that it may open whatever their modes are,
    with ``work`` as an empty folder to have them on. With ``waits`` it reads a line from standard input before its
    command starts.
    """

    command: tuple[str, ...]
    user: User = ROOT
    capabilities: tuple[str, ...] = ()
    everything: bool = False
    namespaces: tuple[str, ...] = ()
    net_of: str = ""
    hostname: str = ""
    tree: Tree | None = None
    shows: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    work: str = ""
    waits: bool = False

    def words(self) -> list[str]:
        """The command line that runs it. It holds no secret."""
        return [sys.executable, "-I", "-S", str(SCRIPT), json.dumps(asdict(self))]


def of_python(
    module: str,
    *words: str,
    user: User,
    capabilities: tuple[str, ...] = (),
    namespaces: tuple[str, ...] = (),
    shows: Iterable[Path] = (),
    writes: Iterable[Path] = (),
) -> Sandbox:
    """A module of labkit's own as a part: it sees this Python and this package, and what else is named."""
    return Sandbox(
        (sys.executable, "-P", "-m", module, *words), user, capabilities, namespaces=namespaces,
        shows=_names((*python_paths(), *shows)), writes=_names(writes), copied=package_copy(),
    )  # fmt: skip


def python_paths() -> tuple[str, ...]:
    """What this Python and this package are read from."""
    found: list[str | Path] = [sys.prefix, sys.base_prefix, Path(sys.executable).resolve().parent, PACKAGE]
    found += [place for place in sys.path if Path(place).is_dir() and Path(place) != PACKAGE.parent]
    return _names(found)


@functools.cache
def package_copy() -> tuple[str, ...]:
    """This package, where it was checked out so that nobody else may read it (umask(2))."""
    is_open = all(place.stat().st_mode & stat.S_IROTH for place in (PACKAGE, *PACKAGE.rglob("*")))
    return () if is_open else (str(PACKAGE),)


def _names(paths: Iterable[str | Path]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(path) for path in paths))


async def spawn(
    sandbox: Sandbox,
    *,
    stdin: int | None = asyncio.subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Start it. On return the process is in its own namespaces, so that cables can be plugged in, or has ended."""
    ready, tell = os.pipe()
    try:
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *sandbox.words(), str(tell), stdin=stdin, stdout=stdout, stderr=stderr,
                env={**os.environ, **(env or {})}, pass_fds=(tell, *pass_fds),
            )
        )  # fmt: skip
        process = await _whole(starting)
        os.close(tell)
        tell = -1
        try:
            await _readable(ready)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
    finally:
        for descriptor in (ready, tell):
            if descriptor >= 0:
                os.close(descriptor)
    return process


async def _whole(starting: asyncio.Future[asyncio.subprocess.Process]) -> asyncio.subprocess.Process:
    """A process that is being started, or none: who is cancelled meanwhile leaves none behind."""
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        process = await starting
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise


async def _readable(descriptor: int) -> None:
    """Until something was written, or nobody is left to write."""
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_reader(descriptor, done.set)
    try:
        await done.wait()
    finally:
        loop.remove_reader(descriptor)


# --- users ------------------------------------------------------------------------------------------------------------


def free_users(seed: int) -> Users:
    """Numbers that nobody has: no account, no group, no process; the same for the same ``seed``, if they are free.

    To be asked where all processes of this machine are seen. Raises MachineError.
    """
    taken = _numbers_in_use()
    places = LAST_USER - FIRST_USER + 2 - len(NAMED)
    for step in range(places):
        first = FIRST_USER + (seed + step * len(NAMED)) % places
        if taken.isdisjoint(range(first, first + len(NAMED))):
            return Users(first)
    raise MachineError("no user numbers are free", where=f"{FIRST_USER} to {LAST_USER}", fix="end other labs")


def _numbers_in_use() -> set[int]:
    import grp
    import pwd

    found = {entry.pw_uid for entry in pwd.getpwall()} | {entry.gr_gid for entry in grp.getgrall()}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.add(process.stat().st_uid)
    return found


def give(path: Path, user: User, mode: int = 0o700) -> Path:
    """Have a folder that belongs to a user with all that is in it, and to nobody else."""
    path.mkdir(parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != mode:  # on a disk that cannot be written, what is right is right
        path.chmod(mode)
    for place in (path, *path.rglob("*")):
        status = place.lstat()
        if (status.st_uid, status.st_gid) != (user.uid, user.gid):
            os.chown(place, user.uid, user.gid, follow_symlinks=False)
    return path
