"""What becomes a part of the lab: ``enter_sandbox.py SPEC [READY]`` carries out a `sandbox.Sandbox`, as root.

It moves into namespaces of its own, says so on the descriptor READY, waits for its cables where it is to get some, gets
its root, becomes its user, and is replaced by its command. See namespaces(7), pivot_root(2), capabilities(7).

Runs for every part, so it imports next to nothing and stands alone. Linux on x86-64 only, as the lab is: libc has no
wrapper for some of these calls.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
import stat
import sys
from pathlib import Path
from types import SimpleNamespace as Spec
from typing import Any

NAMESPACES = {"mount": 0x00020000, "uts": 0x04000000, "net": 0x40000000}  # linux/sched.h, CLONE_NEW*
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
SYS_PIVOT_ROOT, SYS_CAPSET = 155, 126  # x86-64
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 24, 38, 47
CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = {
    "chown": 0, "dac_override": 1, "dac_read_search": 2, "fowner": 3, "fsetid": 4, "setgid": 6, "setuid": 7,
    "setpcap": 8, "net_bind_service": 10, "net_admin": 12, "net_raw": 13, "sys_resource": 24,
}  # fmt: skip
"""linux/capability.h: those that some part keeps."""

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(what: str, result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = (source.encode(), target.encode(), kind.encode() or None)
    _checked(f"mounting {target}", _libc.mount(*words, ctypes.c_ulong(flags), data.encode() or None))


def _pivot(root: str) -> None:
    """Make ``root`` the root, with the old one below ``/oldroot`` until `_let_go`."""
    os.chdir(root)
    Path("oldroot").mkdir()
    _checked("pivot_root", _libc.syscall(SYS_PIVOT_ROOT, b".", b"oldroot"))
    os.chdir("/")


def _let_go() -> None:
    """Make the old root unreachable. A container runtime would find the way out of a chroot."""
    _checked("unmounting the old root", _libc.umount2(b"/oldroot", MNT_DETACH))
    Path("/oldroot").rmdir()


def _enter_tree(tree: Spec, user: Spec) -> None:
    """Have the tree as the root. Its names are used from inside alone: a link of it would lead into this machine."""
    copies = {inside: Path(outside).read_bytes() for inside, outside in tree.copies.items()}
    lent = {**tree.binds, **tree.sees}
    places = {"/dev": "/dev", "/sys/fs/cgroup": "/sys/fs/cgroup", **lent}
    held = {inside: os.open(outside, os.O_PATH | os.O_CLOEXEC) for inside, outside in places.items()}
    Path(tree.work).mkdir(parents=True, exist_ok=True)
    _mount("tmpfs", tree.work, "tmpfs", data="mode=755")
    os.chdir(tree.work)  # relative names from here: overlayfs takes colons and commas in paths for its own
    for name in ("upper", "work", "root"):
        Path(name).mkdir(mode=0o755)
    Path("lower").symlink_to(tree.path)
    _mount("overlay", "root", "overlay", data="lowerdir=lower,upperdir=upper,workdir=work")
    _pivot("root")
    _mount("proc", "/proc", "proc")
    _mount("tmpfs", "/run", "tmpfs", data="mode=755")
    # A fresh sysfs belongs to the network namespace it is mounted in; the control groups are the host's.
    _mount("sysfs", "/sys", "sysfs")
    for inside, descriptor in held.items():
        Path(inside).mkdir(parents=True, exist_ok=True)
        _mount(f"/proc/self/fd/{descriptor}", inside, flags=MS_BIND | (0 if inside in lent else MS_REC))
        if inside in tree.sees:
            _mount("", inside, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
    _let_go()
    for inside, content in {**copies, **{name: text.encode() for name, text in tree.texts.items()}}.items():
        target = Path(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o400 if inside in copies else 0o444)
        os.chown(target, user.uid, user.gid)


def _closed(path: Path, user: Spec) -> Path | None:
    """The topmost folder on the way to a path that a user may not pass, None where the way is open."""
    for place in reversed(path.parents):
        status = place.stat()
        if status.st_uid != user.uid and not status.st_mode & stat.S_IXOTH:
            return place
    return None


def _show(sandbox: Spec) -> None:
    """Put what the part must reach where it can: memory over folders that are closed to it, and in that its own."""
    wanted: dict[Path, bool] = {}
    for name in sandbox.shows + sandbox.writes:
        for path in (Path(name), Path(name).resolve()):
            if path.exists():
                wanted[path] = wanted.get(path, False) or name in sandbox.writes
    closed = {place for path in wanted if (place := _closed(path, sandbox.user)) is not None}
    copied = {path: _contents(path) for path in map(Path, sandbox.copied)}
    covers = [place for place in closed | set(copied) if closed.isdisjoint(place.parents)]
    inside = sorted(path for path in wanted if any(place in path.parents for place in covers))
    opened = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inside}
    for cover in covers:
        _mount("tmpfs", str(cover), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for path in inside:
        if path in copied:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(opened[path]).st_mode):
            path.mkdir(exist_ok=True)
        else:
            path.touch()
        _mount(f"/proc/self/fd/{opened[path]}", str(path), flags=MS_BIND)
        if not wanted[path]:
            _mount("", str(path), flags=MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    for path, contents in copied.items():
        _lay(path, contents)
    if sandbox.devices:
        _lend(sandbox)
    os.chdir("/")


def _lend(sandbox: Spec) -> None:
    """Put nodes of the part's own in the place of devices: it may open these, and the modes of the others stay."""
    Path(sandbox.work).mkdir(parents=True, exist_ok=True)
    _mount("tmpfs", sandbox.work, "tmpfs", MS_NOSUID, "mode=755")
    for name in sandbox.devices:
        node = Path(sandbox.work, name.replace("/", "-"))
        os.mknod(node, stat.S_IFCHR | 0o600, Path(name).stat().st_rdev)
        os.chown(node, sandbox.user.uid, sandbox.user.gid)
        _mount(str(node), name, flags=MS_BIND)


Contents = bytes | dict[str, Any]


def _contents(path: Path) -> Contents:
    if path.is_dir():
        return {child.name: _contents(child) for child in path.iterdir() if child.is_dir() or child.is_file()}
    return path.read_bytes()


def _lay(path: Path, contents: Contents) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(contents, bytes):
        path.write_bytes(contents)
        path.chmod(0o644)
        return
    path.mkdir(exist_ok=True)
    path.chmod(0o755)
    for name, inner in contents.items():
        _lay(path / name, inner)


class _Header(ctypes.Structure):
    """``struct __user_cap_header_struct`` of linux/capability.h."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _become(user: Spec, capabilities: list[str]) -> None:
    """Be this user with these capabilities alone, and never get more: not by a set-uid program either.

    What this machine's root does not have, as in a container, cannot be kept.
    """
    kept = sum(1 << CAPABILITIES[name] for name in capabilities) & _permitted()
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if not kept >> number & 1:
            _checked("dropping a capability", _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0))
    _checked("keeping capabilities", _libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups(user.groups)
    os.setresgid(user.gid, user.gid, user.gid)
    os.setresuid(user.uid, user.uid, user.uid)
    sets = (ctypes.c_uint32 * 6)(kept, kept, kept, 0, 0, 0)  # effective, permitted, inheritable; then those above 31
    _checked("capset", _libc.syscall(SYS_CAPSET, ctypes.byref(_Header(CAPABILITY_VERSION_3, 0)), sets))
    for number in range(last + 1):
        if kept >> number & 1:
            _checked("an ambient capability", _libc.prctl(PR_CAP_AMBIENT, 2, number, 0, 0))
    _checked("no_new_privs", _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _permitted() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("CapPrm:")).split()[1], 16)


def _go(descriptor: int = 0) -> bool:
    """Whether a line comes from standard input, of which no byte more is taken."""
    while byte := os.read(descriptor, 1):
        if byte == b"\n":
            return True
    return False


def run(sandbox: Spec, ready: int | None) -> None:
    """Be the part. Does not return; raises OSError where the kernel says no."""
    if sandbox.net_of:
        with Path(sandbox.net_of).open() as there:
            _checked("entering a network", _libc.setns(there.fileno(), NAMESPACES["net"]))
    flags = NAMESPACES["mount"] | sum(NAMESPACES[name] for name in sandbox.namespaces)
    _checked("new namespaces", _libc.unshare(flags))
    if ready is not None:
        os.write(ready, b"\n")
        os.close(ready)
    if sandbox.waits and not _go():
        return  # whoever started us is gone
    os.umask(0o022)
    _mount("none", "/", flags=MS_REC | MS_PRIVATE)
    if sandbox.hostname:
        socket.sethostname(sandbox.hostname)
    if sandbox.tree is not None:
        _enter_tree(sandbox.tree, sandbox.user)
    else:
        _show(sandbox)
    if not sandbox.everything:
        _become(sandbox.user, sandbox.capabilities)
    os.execvpe(sandbox.command[0], sandbox.command, _environment(sandbox.user))


def _environment(user: Spec) -> dict[str, str]:
    homeless = {"HOME": "/nonexistent"} if user.uid else {}
    return {**os.environ, **homeless}


def main(spec: str, ready: str = "") -> int:
    """Run what SPEC says. The exit status is 71 (EX_OSERR, sysexits.h) where the kernel says no."""
    value = json.loads(spec)
    user, tree = Spec(**value.pop("user")), value.pop("tree")
    try:
        run(Spec(**value, user=user, tree=Spec(**tree) if tree else None), int(ready) if ready else None)
    except OSError as error:
        print(f"this part cannot be shut in: {error}", file=sys.stderr)
        return 71
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
