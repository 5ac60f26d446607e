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

import hashlib
import shutil
from pathlib import Path

ROOT = Path("docker/registry/v2")


def mend(folder: Path) -> None:
    """Mend the registry whose data is in ``folder``, and which nobody must write to. Raises OSError.

    A link whose digest its place tells is written anew where the image is there; what leads nowhere goes. Nothing that
    could be pulled goes.
    """
    blobs = folder / ROOT / "blobs/sha256"
    for manifests in sorted((folder / ROOT / "repositories").rglob("_manifests")):
        whole = {
            f"sha256:{link.parent.name}" for link in manifests.glob("revisions/sha256/*/link") if _ensure(link, blobs)
        }
        for tag in manifests.glob("tags/*"):
            if _text(tag / "current/link") not in whole:
                shutil.rmtree(tag)
        for link in manifests.parent.glob("_layers/sha256/*/link"):
            if _text(link) != f"sha256:{link.parent.name}":
                _ensure(link, blobs)


def _ensure(link: Path, blobs: Path) -> bool:
    """Have a link hold the digest it stands under, or not be there where the blob is not whole; whether it is."""
    digest = link.parent.name
    try:
        with (blobs / digest[:2] / digest / "data").open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        whole = False
    if not whole:
        shutil.rmtree(link.parent)
    elif _text(link) != f"sha256:{digest}":
        link.write_text(f"sha256:{digest}")
    return whole


def _text(link: Path) -> str:
    try:
        return link.read_text().strip()
    except FileNotFoundError:
        return ""
