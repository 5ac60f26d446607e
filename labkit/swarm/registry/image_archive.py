"""An image in a tar file, as ``docker save`` and ``podman save`` write it, packed or not.

The tar has a ``manifest.json`` that names, for each image, the members with its configuration and its layers
(Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format").
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from labkit.errors import SwarmError

GZIP = b"\x1f\x8b"
BROKEN = (tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
BLOCK_B = 1 << 20
SAVE = "docker save NAME:TAG writes one"


@dataclass(frozen=True)
class Image:
    """One image of a tar file that is open: members' names, and the names and tags that it was saved under.

    ``diff_ids`` are the digests of its layers as they are without compression.
    """

    tar: tarfile.TarFile
    config: str
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]
    names: tuple[str, ...]

    def open(self, member: str) -> IO[bytes]:
        """A member's content."""
        return _member(self.tar, member)


@contextmanager
def read(file: IO[bytes], where: str) -> Iterator[Image]:
    """The one image in an archive, for as long as the block lasts; ``where`` names it in errors.

    Raises SwarmError for a file that is none, that breaks off or cannot be read, and where several images are in it.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:*") as tar:
            entries = json.load(_member(tar, "manifest.json"))
            if len(entries) != 1:
                raise SwarmError(f"there are {len(entries)} images in it", where=where, fix="save one of them alone")
            config = json.load(_member(tar, entries[0]["Config"]))
            yield Image(
                tar=tar,
                config=str(entries[0]["Config"]),
                layers=tuple(entries[0]["Layers"]),
                diff_ids=tuple(config["rootfs"]["diff_ids"]),
                names=tuple(entries[0].get("RepoTags") or ()),
            )
    except (*BROKEN, EOFError, LookupError, TypeError, ValueError) as error:
        raise SwarmError(f"it is not an image in a tar file ({error})", where=where, fix=SAVE) from None
    except OSError as error:
        what = f"it cannot be read and packed: {error.strerror or error}"
        raise SwarmError(what, where=where, fix=f"is there room in {tempfile.gettempdir()}?") from None


def pack(layer: IO[bytes], into: IO[bytes]) -> str:
    """Write a layer, which may be packed already, with gzip(1); the digest of what is in it.

    The same layer is the same bytes each time, so that a registry knows it again.
    """
    packed = layer.read(len(GZIP)) == GZIP
    layer.seek(0)
    plain: IO[bytes] = gzip.GzipFile(fileobj=layer) if packed else layer  # type: ignore[assignment]
    digest = hashlib.sha256()
    with gzip.GzipFile(filename="", fileobj=into, mode="wb", compresslevel=6, mtime=0) as out:
        while block := plain.read(BLOCK_B):
            digest.update(block)
            out.write(block)
    return f"sha256:{digest.hexdigest()}"


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    file = tar.extractfile(name)
    if file is None:
        raise LookupError(f"{name} is not a file")
    return file
