"""One virtual blade for benchmarks: its network, the files it boots from, and its machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from rig import space

MAC, ADDRESS = "52:54:00:4d:00:01", "10.77.0.11"
PREFIX = "fd77::"
LOADERS = {
    "pxelinux.0": "/usr/lib/PXELINUX/pxelinux.0",
    "lpxelinux.0": "/usr/lib/PXELINUX/lpxelinux.0",
    "ldlinux.c32": "/usr/lib/syslinux/modules/bios/ldlinux.c32",
    "undionly.kpxe": "/usr/lib/ipxe/undionly.kpxe",
}
IMAGES = ("vmlinuz", "labos.cpio")
MACHINE = (
    *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "2048", "-nodefaults"),
    *("-no-user-config", "-no-reboot", "-display", "none", "-vga", "none", "-serial", "stdio"),
    *("-device", "virtio-rng-pci", "-netdev", "tap,id=net0,ifname=br0,script=no,downscript=no"),
    *("-device", f"virtio-net-pci,mac={MAC},netdev=net0,bootindex=1"),
)
"""It boots from the ROM of its card; its console is on standard output."""


def newest_labos() -> Path:
    """The folder of the blade OS that was built last."""
    cache = Path(os.environ.get("LABKIT_CACHE") or "/var/cache/labkit")
    found = [path.parent for path in cache.glob("labos/*/labos.cpio") if (path.parent / "vmlinuz").exists()]
    if not found:
        sys.exit("the blade OS is not built yet: ./lab images build")
    return max(found, key=lambda path: path.stat().st_mtime)


def make_network() -> None:
    """The server's end of the blade's cable, ``br0``, in a network namespace of our own."""
    space.run("ip", "link", "set", "lo", "up")
    space.run("ip", "tuntap", "add", "br0", "mode", "tap")
    space.run("ip", "address", "add", f"{space.SERVER}/24", "dev", "br0")
    space.run("ip", "address", "add", f"{PREFIX}1/64", "dev", "br0", "nodad")
    space.run("ip", "link", "set", "br0", "up")


def lay_out(folder: Path, method: str, images: Path) -> Path:
    """The files that are served, the images among them, and what labkit renders when it is asked."""
    (folder / "lab.yaml").write_text(f"boot: {method}\nblades:\n  - name: blade1\n")
    files = folder / "files"
    (files / "labos").mkdir(parents=True)
    for name, path in LOADERS.items():
        shutil.copy(path, files / name)
    for name in IMAGES:
        shutil.copy(images / name, files / "labos" / name)
    for path in (files, *files.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    tree = Path(space.__file__).with_name("tree.py")
    space.run(str(space.python()), str(tree), *map(str, (folder / "lab.yaml", folder / "state", files)))
    return files


def serve(folder: Path, files: Path) -> space.Server:
    """labkit's boot server for it, as soon as it answers."""
    server = space.ours(folder / "lab.yaml", folder / "state", files, "bridge")
    server.wait_ready(lambda: space.hears_udp(space.SERVER, 67) and space.hears_udp(space.SERVER, 69))
    server.wait_ready(lambda: space.accepts_tcp(space.SERVER, 80))
    return server
