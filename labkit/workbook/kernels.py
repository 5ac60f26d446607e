"""The notebooks' kernels: they listen on Unix sockets in a folder of their user's, where nobody else reaches them."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit.errors import MachineError


def sockets_folder() -> Path:
    """A folder with a short path for kernels' sockets, whose own may have 108 bytes at most (unix(7)).

    Raises MachineError when somebody else has made it.
    """
    folder = Path(tempfile.gettempdir()) / f"labkit-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise MachineError(
            "this folder is not yours alone", where=str(folder), fix="remove it, or set TMPDIR to another"
        )
    return folder


@contextmanager
def own_sockets() -> Iterator[None]:
    """Let the kernels that are started inside have their sockets in `sockets_folder`."""
    before = os.environ.get("JUPYTER_RUNTIME_DIR")
    os.environ["JUPYTER_RUNTIME_DIR"] = str(sockets_folder())
    try:
        yield
    finally:
        if before is None:
            del os.environ["JUPYTER_RUNTIME_DIR"]
        else:
            os.environ["JUPYTER_RUNTIME_DIR"] = before


def kernels_over_sockets() -> type:
    """A kernel manager for papermill whose kernels listen on Unix sockets instead of TCP ports."""
    from jupyter_client.manager import AsyncKernelManager

    class SocketKernelManager(AsyncKernelManager):
        transport = "ipc"

    return SocketKernelManager
