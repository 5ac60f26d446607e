"""What a lab that is up can take of its changed file: blades that were added or removed, where all else is the same."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Mapping
from pathlib import Path

from labkit import images
from labkit.errors import ControlError
from labkit.lab import Lab, lab_yaml
from labkit.lab.changes import Changes, changes
from labkit.machines.host import programs

RESTART = "./lab down, then ./lab up takes it in"

_libc = ctypes.CDLL(None)


def read(path: Path, owner: tuple[int, int]) -> Lab:
    """The lab in a file, read as the lab's owner, who asks for it: an error must not tell what only root may read.

    For a thread of its own. Raises LabFileError.
    """
    with _file_rights_of(owner):
        return lab_yaml.load(path)


@contextlib.contextmanager
def _file_rights_of(owner: tuple[int, int]) -> Iterator[None]:
    """What this thread does with files, it does as another user (setfsuid(2), capabilities(7))."""
    user, group = owner
    group_before, user_before = _libc.setfsgid(group), _libc.setfsuid(user)
    try:
        yield
    finally:
        _libc.setfsuid(user_before)
        _libc.setfsgid(group_before)


def check(started: Lab, known: Lab, new: Lab) -> Changes:
    """The blades that came and went: ``started`` is the lab that this one was started as, ``known`` what it knows by
    now, ``new`` what its file says, each as it was read.

    Raises ControlError for what waits for a restart, with the key, and MachineError for a program that is missing.
    """
    found = changes(known, new)
    if found.keys:
        raise ControlError(f"more than its blades is another in lab.yaml: {', '.join(found.keys)}", fix=RESTART)
    here = images.catalogue(started)
    lacking = [name for name in images.catalogue(new) if not _is_served(here, name)]
    if lacking:
        names = ", ".join(blade.name for blade in found.added)
        what = f"the boot server was started without files that {names} boot from: {', '.join(lacking)}"
        raise ControlError(what, fix=RESTART)
    programs.check_programs(new)
    return found


def _is_served(catalogue: Mapping[str, Path], name: str) -> bool:
    try:
        catalogue[name]  # also a file of a release that came since
    except KeyError:
        return False
    return True
