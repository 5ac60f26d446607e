"""The folder that the lab serves to its blades over NFS, and whether it can be.

An NFS server names files by handles, not by paths. Ganesha gets them from the kernel, name_to_handle_at(2), and so
serves only what lies on a file system that has them: ext4, XFS, btrfs and tmpfs do, overlayfs and FUSE mostly not.
"""

from __future__ import annotations

import ctypes
import errno
import os
from ipaddress import IPv4Network
from pathlib import Path

from labkit.errors import MachineError
from labkit.lab import Lab
from labkit.lab.state import State, owner_of

PORT = 2049
AT_FDCWD = -100
MAX_HANDLE_SZ = 128
NOBODY = 65534

UNTIL_SEEN_S = 1
"""How old what a blade knows of a file may get: an NFS client asks again after up to a minute unless told otherwise."""


def folder_of(lab: Lab, state: State) -> Path:
    """The folder that is shared: the one ``lab.yaml`` names, or one in the lab's state."""
    return lab.storage.folder or state.path / "share"


def ensure_folder(lab: Lab, state: State) -> Path:
    """Have the folder, the lab's owner's. Raises MachineError when it cannot be served, with what to do about it."""
    folder = folder_of(lab, state)
    if not folder.exists():
        folder.mkdir(mode=0o755)
        os.chown(folder, *owner_of(state.path))
        folder.chmod(0o755)  # whatever the umask: blades see what everybody may see
    why = unservable(folder)
    if why:
        raise MachineError(f"this folder cannot be shared over NFS: {why}", where=str(folder), fix=FIX)
    return folder


FIX = "name a folder on ext4, XFS, btrfs or tmpfs with share: under storage: in lab.yaml, or write share: false"


class _Handle(ctypes.Structure):
    """``struct file_handle`` of linux/fcntl.h."""

    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * MAX_HANDLE_SZ),
    )


def unservable(folder: Path) -> str:
    """Why a folder's files cannot be served by handles; empty when they can be.

    Opening by a handle needs CAP_DAC_READ_SEARCH, which root has outside of containers; for others only the file
    system is looked at.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle, mount = _Handle(handle_bytes=MAX_HANDLE_SZ), ctypes.c_int()
    if libc.name_to_handle_at(AT_FDCWD, os.fsencode(folder), ctypes.byref(handle), ctypes.byref(mount), 0):
        number = ctypes.get_errno()
        if number in (errno.EOPNOTSUPP, errno.EOVERFLOW):
            return "its file system has no file handles (overlayfs and FUSE do not)"
        return os.strerror(number)
    if os.geteuid() != 0:
        return ""
    where = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        opened = libc.open_by_handle_at(where, ctypes.byref(handle), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        number = ctypes.get_errno()
    finally:
        os.close(where)
    if opened >= 0:
        os.close(opened)
        return ""
    if number == errno.EPERM:
        return "root may not open files by their handles here (a container without CAP_DAC_READ_SEARCH)"
    return f"its file system cannot open files by their handles ({os.strerror(number)})"


def volume_options(lab: Lab) -> dict[str, str]:
    """The folder as options of Docker's local volume driver, which mounts it by itself: mount(2), nfs(5)."""
    server = lab.network.server
    options = f"addr={server},nfsvers=4.1,proto=tcp,soft,timeo=50,retrans=3,actimeo={UNTIL_SEEN_S},noresvport"
    return {"type": "nfs", "o": options, "device": ":/share"}


def render_config(server: str, clients: IPv4Network) -> str:
    """Ganesha's configuration: NFSv4 over TCP at one address, for the blades' network, and no other protocol.

    ::

        Squash, Anonymous_Uid   blades are nobody: they read what everybody may, and write where everybody may
        Attr_Expiration_Time    0: what changes on the server itself is seen at once
        Dir_Chunk               0: names are not remembered either
        Allow_Set_Io_Flusher_…  it may not ask the kernel to spare its memory: that takes a capability of the machine's
        Lease_Lifetime, …       seconds in which blades find their files again after a restart of the server
    """
    return f"""\
NFS_CORE_PARAM {{
    Bind_addr = {server}; NFS_Port = {PORT};
    Protocols = 4; Enable_UDP = false; Enable_NLM = false; Enable_RQUOTA = false;
    Plugins_Dir = /usr/lib/x86_64-linux-gnu/ganesha;
    Clustered = false; Allow_Set_Io_Flusher_Fail = true;
}}
NFSv4 {{
    RecoveryRoot = /var/lib/nfs/ganesha; Lease_Lifetime = 20; Grace_Period = 25;
    Minor_Versions = 1, 2; Only_Numeric_Owners = true; UseGetpwnam = true;
}}
MDCACHE {{ Dir_Chunk = 0; }}
EXPORT_DEFAULTS {{ Access_Type = None; Protocols = 4; Transports = TCP; SecType = sys; }}
EXPORT {{
    Export_Id = 1; Path = /share; Pseudo = /share;
    Squash = All_Squash; Anonymous_Uid = {NOBODY}; Anonymous_Gid = {NOBODY};
    Attr_Expiration_Time = 0;
    CLIENT {{ Clients = {clients}; Access_Type = RW; Protocols = 4; }}
    FSAL {{ Name = VFS; }}
}}
LOG {{ Default_Log_Level = EVENT; }}
"""
