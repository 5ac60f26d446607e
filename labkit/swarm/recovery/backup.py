"""The swarm's state of one engine as a file, and back: what is needed when the only manager's disk is lost.

It lies in the folder ``swarm`` of the engine's data: the managers' log with all services, configs and secrets, the
swarm's CA with its key, and the node's own certificate. A backup is therefore as secret as the swarm is: mode 0600.
Reading and writing the folder needs root.

Where the swarm is locked with a key (`labkit.swarm.membership.autolock`) all of that is worth nothing without it, so
the keys that the lab keeps are in the file as well.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from labkit.errors import FileError, SwarmError, on_file
from labkit.lab.secret import Secret

FOLDER, KEYS = "swarm", "unlock-keys"
NODE_KEY = f"{FOLDER}/certificates/swarm-node.key"
TRIES = 20
BETWEEN_S = 0.25


def save(engine_data: Path, target: Path, keys: Sequence[Secret] = ()) -> int:
    """Write the swarm state below ``engine_data`` (``/var/lib/docker``) to a new file; the bytes written.

    The engine may run: it appends to its log only when something changes, and a copy during which the folder changed is
    taken again. Raises SwarmError.
    """
    folder = engine_data / FOLDER
    if not _readable(folder / "docker-state.json"):
        raise SwarmError(
            "there is no swarm state here, or it may not be read",
            where=str(folder),
            fix="run this as root, on the machine whose engine manages the swarm",
        )
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        for _ in range(TRIES):
            before = _signature(folder)
            with _open_private(partial) as file, tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
                tar.add(folder, FOLDER, filter=_plain)
                if keys:
                    text = "".join(f"{key.reveal()}\n" for key in keys).encode()
                    entry = tarfile.TarInfo(KEYS)
                    entry.mode, entry.size = 0o600, len(text)
                    tar.addfile(entry, io.BytesIO(text))
            if _signature(folder) == before:
                partial.replace(target)
                return target.stat().st_size
            time.sleep(BETWEEN_S)
    except OSError as error:
        known = FileError.of(error, target)
        raise SwarmError(f"the backup cannot be written: {known.what}", where=str(target), fix=known.fix) from None
    finally:
        partial.unlink(missing_ok=True)
    raise SwarmError("the swarm changes all the time", where=str(folder), fix="try again when no update is under way")


def is_locked(engine_data: Path) -> bool:
    """Whether the state below ``engine_data`` is locked with a key: the node's private key is encrypted then (RFC 5958,
    section 3, as PEM; RFC 7468, section 11). Raises FileError."""
    path = engine_data / NODE_KEY
    with on_file(path):
        try:
            return b"ENCRYPTED PRIVATE KEY" in path.read_bytes()
        except FileNotFoundError:
            return False


def restore(archive: Path, engine_data: Path, sock: Path) -> tuple[Secret, ...]:
    """Put a backup in the place of the swarm state below ``engine_data``; what was there is kept as ``swarm.before``.
    Returned are the keys that open it, none where it is not locked or they were not in the file.

    The engine must not run. When it is up again it does not know whether other managers went on without it, so the
    next step is `labkit.swarm.recovery.recover`. Raises SwarmError.
    """
    if _answers(sock):
        raise SwarmError("the engine runs, and would not see what is put back", where=str(sock), fix="stop it first")
    fresh, folder, kept = (engine_data / name for name in (f"{FOLDER}.new", FOLDER, f"{FOLDER}.before"))
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = tar.getmembers()
            state = f"{FOLDER}/docker-state.json"
            if state not in [member.name for member in members] or not all(map(_is_ours, members)):
                fix = "name a file that ./lab swarm backup has written"
                raise SwarmError("this is no backup of a swarm", where=str(archive), fix=fix)
            engine_data.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(fresh, ignore_errors=True)
            for member in members:
                _unpack(tar, member, fresh)
        words = (fresh / KEYS).read_text().split() if (fresh / KEYS).exists() else []
        if folder.exists():
            shutil.rmtree(kept, ignore_errors=True)
            folder.rename(kept)
        (fresh / FOLDER).rename(folder)
        return tuple(map(Secret, words))
    except OSError as error:
        known = FileError.of(error)
        raise SwarmError(
            f"the backup cannot be put back: {known.what}", where=known.where or str(archive), fix=known.fix
        ) from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        fix = "name a file that ./lab swarm backup has written, and that is whole"
        raise SwarmError(f"the backup cannot be put back: {error}", where=str(archive), fix=fix) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _is_ours(member: tarfile.TarInfo) -> bool:
    """Whether `save` may have written this: files and folders below ``swarm``, no way out of it, and keys."""
    parts = member.name.split("/")
    if parts == [KEYS]:
        return member.isfile()
    return parts[0] == FOLDER and ".." not in parts and _plain(member) is not None


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """By hand, for nobody but root to read: tarfile has a safe way of its own only since Python 3.11.4."""
    target = folder / member.name
    if member.isdir():
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    source = tar.extractfile(member)
    assert source is not None  # it is a file
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source, _open_private(target) as file:
        shutil.copyfileobj(source, file)


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Files and folders; the engine's control sockets are made anew."""
    return member if member.isfile() or member.isdir() else None


def _signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What tells that a folder's files have changed."""
    found = []
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            found.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(found)


def _readable(path: Path) -> bool:
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except PermissionError:
        return False


def _answers(sock: Path) -> bool:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
        try:
            client.connect(str(sock))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def _open_private(path: Path) -> Iterator[IO[bytes]]:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        yield file
