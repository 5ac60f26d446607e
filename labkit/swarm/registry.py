"""Getting an image into the lab's registry, from a root file system in a tar file.

There is no Docker Hub in a lab without internet, and no need of one. All goes through the engine: it imports the tar,
pushes it, and says what the registry holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import docker
import docker.errors

from labkit.errors import SwarmError
from labkit.swarm.engine import api, engine_errors, said

CONTENT = "labkit.content"
"""The image's label with the digest of what it was made from."""

MARK = "content-"
"""How the second tag of a pushed image begins; the digest of what it was made from follows. An import is stamped with
its time, so the image's own digest cannot tell whether it holds what it would be made from now."""


def ensure_image(client: docker.DockerClient, rootfs_tar: Path, *, reference: str, changes: Sequence[str] = ()) -> str:
    """Have the registry serve a root file system under ``reference`` (``host:port/name:tag``); return its digest.

    ``changes`` are Dockerfile lines (``CMD …``, ``EXPOSE …``). Nothing is done when the registry has the same already.
    Raises SwarmError when the tar cannot be read or imported, or the registry cannot be reached.
    """
    repository, _, tag = reference.rpartition(":")
    if not repository or "/" in tag:
        raise SwarmError(f"'{reference}' names no tag", fix="write it as host:port/name:tag")
    content = content_digest(rootfs_tar, changes)
    mark = f"{repository}:{MARK}{content[:32]}"
    held = _held(client, mark)
    if held is not None and held == _held(client, reference):
        return held
    with engine_errors():
        image = _local(client, content) or _import(client, rootfs_tar, [*changes, f"LABEL {CONTENT}={content}"])
        for name in (mark, reference):
            api(client).tag(image, repository, name.removeprefix(f"{repository}:"), force=True)
    for name in (mark, reference):
        _push(client, name)
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


def _local(client: docker.DockerClient, content: str) -> str | None:
    """The id of an image the engine has made from the same before."""
    for image in api(client).images(filters={"label": f"{CONTENT}={content}"}):
        return str(image["Id"])
    return None


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


def _push(client: docker.DockerClient, reference: str) -> None:
    repository, _, tag = reference.rpartition(":")
    with engine_errors():
        lines = list(api(client).push(repository, tag=tag, stream=True, decode=True))
    for line in lines:
        if "error" in line:
            raise _unreachable(reference, str(line["error"]))


def _not_imported(rootfs_tar: Path, words: str) -> SwarmError:
    return SwarmError(f"the engine could not import it: {words}", where=str(rootfs_tar), fix="build the image again")


def _unreachable(reference: str, words: str) -> SwarmError:
    host = reference.split("/", 1)[0]
    if "x509:" in words:
        fix = f"put the certificate of its authority (keys/ca.crt of the lab) to /etc/docker/certs.d/{host}/ca.crt"
    else:
        fix = "is the registry up? ./lab status tells"
    return SwarmError(f"the engine cannot use the registry {host}: {words}", where=reference, fix=fix)
