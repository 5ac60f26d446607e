"""The links of a registry, and mending those that a crash has broken.

A registry (Distribution, ``registry/storage/paths.go``) keeps every image once, under its digest, and finds it by small
files, each of which holds a digest::

    repositories/<name>/_manifests/revisions/sha256/<digest>/link
    repositories/<name>/_manifests/tags/<tag>/current/link
    repositories/<name>/_layers/sha256/<digest>/link
    blobs/sha256/<first two digits>/<digest>/data

A deletion takes the revision away first and its tags after it: cut off in between, tags are left that can be neither
pulled nor deleted. A power cut leaves files empty, and garbage collection ends at the first one that it cannot read.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path

from labkit.images.rootfs import NOWHERE, inside, matching

ROOT = Path("docker/registry/v2")


def mend(folder: Path) -> None:
    """Mend the registry whose data is in ``folder``, and which nobody must write to. Raises OSError.

    A link whose digest its place tells is written anew where the image is there; what leads nowhere goes. Nothing that
    could be pulled goes.
    """
    for name in repositories(folder):
        place = ROOT / "repositories" / name
        revisions = matching(folder, f"{place}/_manifests/revisions/sha256/*/link")
        whole = {f"sha256:{_digest(link)}" for link in revisions if _ensure(folder, link)}
        for tag in matching(folder, f"{place}/_manifests/tags/*"):
            if read_link(folder, f"{tag}/current/link") not in whole:
                _remove(inside(folder, tag, follow=False))
        for link in matching(folder, f"{place}/_layers/sha256/*/link"):
            if read_link(folder, link) != f"sha256:{_digest(link)}":
                _ensure(folder, link)


def repositories(folder: Path) -> list[str]:
    """The names of the repositories in the data folder of a registry, sorted."""
    place = inside(folder, ROOT / "repositories")
    return sorted(found.parent.relative_to(place).as_posix() for found in place.rglob("_manifests"))


def read_link(folder: Path, name: str) -> str:
    """The digest that a link holds, empty where there is none."""
    try:
        return inside(folder, name).read_text().strip()
    except OSError as error:
        if error.errno in (*NOWHERE, errno.EISDIR):
            return ""
        raise


def blob(folder: Path, digest: str) -> Path:
    """Where the registry keeps what has this digest, in hexadecimal."""
    return inside(folder, ROOT / "blobs/sha256" / digest[:2] / digest / "data")


def _ensure(folder: Path, name: str) -> bool:
    """Have a link hold the digest it stands under, or not be there where the blob is not whole; whether it is.

    A symbolic link in its place is none of the registry's, and goes.
    """
    digest = _digest(name)
    link = inside(folder, name, follow=False)
    try:
        with blob(folder, digest).open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        whole = False
    if not whole or link.is_symlink():
        _remove(inside(folder, Path(name).parent, follow=False))
        return False
    if read_link(folder, name) != f"sha256:{digest}":
        link.write_text(f"sha256:{digest}")
    return True


def _digest(link: str) -> str:
    return link.split("/")[-2]


def _remove(path: Path) -> None:
    """A folder, or a symbolic link that somebody put in its place."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)
