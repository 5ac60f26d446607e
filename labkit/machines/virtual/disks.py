"""The disks of virtual blades: a sparse file each, which is kept between boots and while the lab is down.

They lie beside the lab's other data, as ``disks/<blade>.raw`` (`labkit.lab.state`), and go with it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from labkit.errors import PowerError, on_file
from labkit.events.amounts import size
from labkit.lab import Blade
from labkit.machines.host.sandbox import User

BLOCK_B = 512
"""What a file's blocks are counted in (stat(3type), st_blocks)."""


def disk_file(blade: Blade, folder: Path) -> Path | None:
    """The file that a blade's disk is, also before it is there; None without a disk."""
    return folder / f"{blade.name}.raw" if blade.disk is not None else None


def ensure_disk(blade: Blade, folder: Path, user: User) -> None:
    """Have the file of a blade's disk, made as large as ``lab.yaml`` says where it is not there yet.

    One that is there stays as it is, also where its size in ``lab.yaml`` is another now. Raises PowerError where the
    room for what the blade may still write is not there: QEMU would stop the machine in the middle of a write, without
    a word. Raises FileError where the file cannot be made.
    """
    path = disk_file(blade, folder)
    if blade.disk is None or path is None:
        return
    with on_file(path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chown(folder, user.uid, user.gid)
        is_new = not path.exists()
        whole_b = blade.disk.size_mib << 20 if is_new else path.stat().st_size
        missing_b = whole_b - (0 if is_new else path.stat().st_blocks * BLOCK_B)
        free_b = shutil.disk_usage(folder).free
        if missing_b > free_b:
            what = f"its disk may take {size(missing_b)} more, and {size(free_b)} are free"
            fix = "make room there, or write a smaller size below disk: in lab.yaml"
            fix += "" if is_new else ", and remove this file with all that the blade has in it"
            raise PowerError(what, where=str(path), fix=fix)
        if is_new:
            with path.open("xb") as file:
                file.truncate(whole_b)
            path.chmod(0o600)
        os.chown(path, user.uid, user.gid)
