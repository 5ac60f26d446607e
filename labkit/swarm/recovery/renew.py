"""The files of a swarm whose node's certificate has run out, while it is brought back with all it keeps.

The engine does not start such a swarm, and asked to force a new one it answers that it is no manager. Without the note
of how it was in a swarm (``docker-state.json``) it starts as if it were in none; a forced new cluster then takes up
what lies beside that note, the managers' log and keys, believes the old certificate once more (swarmkit's
``LoadSecurityConfig`` may be told so) and gets a new one. Services, configs, secrets and address pool stay.

Until the swarm leads again, the note lies beside its place and `put_back` restores it: an engine that was taken for one
without a swarm could be given a new one, and the old would be overwritten. Everything here needs
root. The engine's part of it is `labkit.swarm.recovery.recover.take_up`.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

from labkit.errors import FileError, SwarmError
from labkit.swarm.recovery.backup import FOLDER

NOTE, ASIDE = "docker-state.json", "docker-state.json.aside"


def set_aside(engine_data: Path) -> Path:
    """Keep a copy of the swarm's state below ``engine_data``, and let the engine start as if it were in no swarm.

    The engine must not run. The copy's folder is returned (`keep_copy`). Raises SwarmError, and has changed nothing
    then.
    """
    copy, folder = keep_copy(engine_data), engine_data / FOLDER
    (folder / NOTE).rename(folder / ASIDE)
    return copy


def keep_copy(engine_data: Path) -> Path:
    """Copy the swarm's state below ``engine_data``; the copy's folder, which nobody but root can read: it holds the
    swarm's keys. The engine must not run. Raises SwarmError."""
    folder = engine_data / FOLDER
    copy = engine_data / f"{FOLDER}.{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    try:
        shutil.copytree(folder, copy, ignore=_sockets)
        copy.chmod(0o700)
        if not (copy / NOTE).is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / NOTE))
    except (OSError, shutil.Error) as error:
        known = FileError.of(error, folder) if isinstance(error, OSError) else None
        what = f"the swarm's state cannot be copied: {known.what if known else error}"
        raise SwarmError(what, where=str(folder), fix="as root, with room for a copy; nothing was changed") from None
    return copy


def put_back(engine_data: Path) -> bool:
    """Undo `set_aside` where it was not carried through: the engine knows its swarm again when it starts.

    The engine must not run. True when there was something to undo.
    """
    note, aside = engine_data / FOLDER / NOTE, engine_data / FOLDER / ASIDE
    if not aside.exists():
        return False
    if note.exists():  # it was carried through
        aside.unlink()
        return False
    aside.rename(note)
    return True


def carried_through(engine_data: Path) -> None:
    """The swarm leads again: only the copy is left of how it was."""
    (engine_data / FOLDER / ASIDE).unlink(missing_ok=True)


def _sockets(folder: str, names: list[str]) -> list[str]:
    """What of a folder is neither a file nor a folder: the engine makes its control sockets anew."""
    here = Path(folder)
    return [name for name in names if not ((here / name).is_file() or (here / name).is_dir())]
