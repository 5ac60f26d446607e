"""Getting an image into the lab's registry, from a root file system in a tar file.

There is no Docker Hub in a lab without internet, and no need of one. The engine makes an image of the tar, the registry
takes it by `labkit.swarm.registry.push_client`, and the engine says what the registry then holds for all.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.swarm.engine import api, engine_errors, said
from labkit.swarm.registry import image_archive
from labkit.swarm.registry.push_client import PushClient, split

CONTENT = "labkit.content"
"""The image's label with the digest of what it was made from."""

MARK = "content-"
"""How the second tag of a pushed image begins; the digest of what it was made from follows. An import is stamped with
its time, so the image's own digest cannot tell whether it holds what it would be made from now."""


def ensure_image(
    client: docker.DockerClient, rootfs_tar: Path, *, reference: str, push: Path, changes: Sequence[str] = ()
) -> str:
    """Have the registry serve a root file system under ``reference`` (``host:port/name:tag``); return its digest.

    ``push`` is the registry's socket for its owner, the lab's ``state.push``; ``changes`` are Dockerfile lines
    (``CMD …``, ``EXPOSE …``). Nothing is done when the registry has the same already.
    Raises SwarmError when the tar cannot be read or imported, or the registry cannot be reached.
    """
    named, _, last = reference.rpartition(":")
    if not named or "/" in last:
        raise SwarmError(f"'{reference}' names no tag", fix="write it as host:port/name:tag")
    repository, tag = split(reference)
    content = content_digest(rootfs_tar, changes)
    mark = f"{MARK}{content[:32]}"
    held = _held(client, f"{named}:{mark}")
    if held is not None and held == _held(client, reference):
        return held
    registry = PushClient(push)
    if held is not None:
        registry.tag(repository, held, tag)
    else:
        with _imported(client, rootfs_tar, [*changes, f"LABEL {CONTENT}={content}"]) as image:
            registry.push(image, repository, (mark, tag))
    pushed = _held(client, reference)
    if pushed is None:
        raise SwarmError(f"the registry does not hold {reference} after the push", fix="look at the registry's log")
    return pushed


def content_digest(rootfs_tar: Path, changes: Sequence[str]) -> str:
    """SHA-256, in hexadecimal, of what an image is made from. Raises SwarmError when the tar cannot be read."""
    digest = hashlib.sha256(json.dumps(list(changes)).encode() + b"\n")
    try:
        with rootfs_tar.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise SwarmError(f"cannot read it ({error.strerror})", where=str(rootfs_tar), fix="build the image") from None
    return digest.hexdigest()


def _held(client: docker.DockerClient, reference: str) -> str | None:
    """The digest the registry has under a reference, None when it has none."""
    try:
        return str(api(client).inspect_distribution(reference)["Descriptor"]["digest"])
    except docker.errors.APIError as error:
        if "manifest unknown" in said(error) or "not found" in said(error) or "no basic auth" in said(error):
            return None
        raise _unreachable(reference, said(error)) from None


@contextmanager
def _imported(client: docker.DockerClient, tar: Path, changes: list[str]) -> Iterator[image_archive.Image]:
    """What the engine makes of a tar. It has no use for the image itself, and does not keep it."""
    with engine_errors():
        name = _import(client, tar, changes)
        try:
            with tempfile.TemporaryFile() as file:
                for block in api(client).get_image(name):
                    file.write(block)
                file.seek(0)
                with image_archive.read(file, str(tar)) as image:
                    yield image
        finally:
            api(client).remove_image(name)


def _import(client: docker.DockerClient, rootfs_tar: Path, changes: Sequence[str]) -> str:
    """Import a tar and return the image's id. The engine answers with a JSON object a line."""
    try:
        answer = api(client).import_image_from_file(str(rootfs_tar), changes=list(changes))
    except docker.errors.APIError as error:
        raise _not_imported(rootfs_tar, said(error)) from None
    lines = [json.loads(line) for line in answer.splitlines() if line.strip()]
    for line in lines:
        if "error" in line:
            raise _not_imported(rootfs_tar, line["error"])
    return str(lines[-1]["status"])


def _not_imported(rootfs_tar: Path, words: str) -> SwarmError:
    return SwarmError(f"the engine could not import it: {words}", where=str(rootfs_tar), fix="build the image again")


def _unreachable(reference: str, words: str) -> SwarmError:
    host = reference.split("/", 1)[0]
    if "x509:" in words:
        fix = f"put the certificate of its authority (keys/ca.crt of the lab) to /etc/docker/certs.d/{host}/ca.crt"
    else:
        fix = "is the registry up? ./lab status tells"
    return SwarmError(f"the engine cannot use the registry {host}: {words}", where=reference, fix=fix)
