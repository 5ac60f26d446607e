"""Files that a config embeds: read from one folder and never from outside it.

Butane checks a path by its letters only and then follows symlinks wherever they lead. Here the file that a path
leads to must lie in the folder too.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

# os.path, not pathlib: what counts is the letters of a path, and pathlib hides some of them


class LocalFileError(Exception):
    """A local file cannot be embedded; worded as Butane words it."""


NO_FOLDER = "local file paths are relative to a files directory that must be specified with -d/--files-dir"
OUTSIDE = "local file path traverses outside the files directory"


def locate(name: str, folder: Path | None) -> str:
    """The path of ``name`` in ``folder``, checked by its letters and by where its directory really is.

    The last step may still be a symlink. Raises `LocalFileError`.
    """
    if folder is None or not str(folder):
        raise LocalFileError(NO_FOLDER)
    path = os.path.normpath(f"{folder}/{name}") if name else os.path.normpath(folder)
    base, full = os.path.abspath(folder), os.path.abspath(path)  # noqa: PTH100
    if not _inside(full, base):
        raise LocalFileError(OUTSIDE)
    if "\0" in path:
        raise LocalFileError(f"open {path}: invalid argument")
    if full != base and not _inside(os.path.realpath(full.rpartition("/")[0] or "/"), os.path.realpath(base)):
        raise LocalFileError(OUTSIDE)
    return path


def read(name: str, folder: Path | None) -> bytes:
    """The bytes of a file in the folder. Raises `LocalFileError`."""
    path = locate(name, folder)
    assert folder is not None
    if not _inside(os.path.realpath(path), os.path.realpath(folder)):
        raise LocalFileError(OUTSIDE)
    return read_path(path)


def read_path(path: str) -> bytes:
    """The bytes of a regular file: a pipe or a device would never end. Raises `LocalFileError`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LocalFileError(f"open {path}: {reason(error)}") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise LocalFileError(f"read {path}: {'is a directory' if stat.S_ISDIR(mode) else 'not a regular file'}")
    with os.fdopen(handle, "rb") as file:
        return file.read()


def reason(error: OSError) -> str:
    """The system's words for an error, as Go prints them."""
    text = os.strerror(error.errno or 0)
    return text[0].lower() + text[1:]


def _inside(path: str, base: str) -> bool:
    return path == base or path.startswith(base.rstrip("/") + "/")
