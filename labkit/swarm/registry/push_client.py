"""The lab's registry from the inside, where images can be put in and taken out: a Unix socket of the lab's owner.

What blades reach of it is for reading only. The verbs are those of the OCI distribution specification ("Push",
"Content Management"); a manifest is Docker's image manifest, version 2, schema 2.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from labkit.errors import SwarmError
from labkit.swarm.registry.image_archive import Image, pack

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
TIMEOUT_S = 60

HOST = re.compile(r"(?:localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)(?::[0-9]+)?|[A-Za-z0-9-]+:[0-9]+")
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+|/)[a-z0-9]+)*")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Message
    body: bytes


class PushClient:
    """The registry's answers to what only the lab's owner may ask."""

    def __init__(self, sock: Path) -> None:
        """Raises SwarmError where nobody listens, and for who may not come in."""
        self._sock = sock
        self._ask("GET", "", (200,))

    def push(self, image: Image, repository: str, tags: Iterable[str]) -> str:
        """Put an image in under a name and tags; its digest. Blobs that are there already are not sent again.

        Raises SwarmError, also for an archive that is damaged; nothing has a tag then that had none before.
        """
        config = self._blob(repository, CONFIG, image.open(image.config))
        layers = []
        for name, diff_id in zip(image.layers, image.diff_ids, strict=True):
            with tempfile.TemporaryFile() as packed:
                if pack(image.open(name), packed) != diff_id:
                    raise SwarmError(f"the layer {name} is not what the image says", fix="save the image again")
                layers.append(self._blob(repository, LAYER, packed))
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        content = json.dumps(body).encode()
        for tag in tags:
            self._put_manifest(repository, tag, content, MANIFEST)
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def tag(self, repository: str, digest: str, tag: str) -> None:
        """Give an image that is there another tag. Raises SwarmError."""
        found = self._ask("GET", f"{repository}/manifests/{digest}", (200,), headers={"Accept": MANIFEST})
        self._put_manifest(repository, tag, found.body, found.headers["Content-Type"])

    def delete(self, repository: str, digest: str) -> None:
        """Take an image out, with its tags. One that is gone already is no mistake. Raises SwarmError."""
        self._ask("DELETE", f"{repository}/manifests/{digest}", (202, 404))

    def _put_manifest(self, repository: str, tag: str, content: bytes, kind: str) -> None:
        self._ask("PUT", f"{repository}/manifests/{tag}", (201,), content, {"Content-Type": kind})

    def _blob(self, repository: str, kind: str, file: IO[bytes]) -> dict[str, object]:
        """Have the registry hold a file; the file's descriptor. It is read from its beginning."""
        file.seek(0)
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"  # type: ignore[arg-type]
        size = file.tell()
        if self._ask("HEAD", f"{repository}/blobs/{digest}", (200, 404)).status == 404:
            place = self._ask("POST", f"{repository}/blobs/uploads/", (202,)).headers["Location"].removeprefix("/v2/")
            file.seek(0)
            self._ask("PUT", f"{place}&digest={digest}", (201,), file, {"Content-Length": str(size)})
        return {"mediaType": kind, "size": size, "digest": digest}

    def _ask(
        self,
        method: str,
        path: str,
        good: tuple[int, ...],
        body: bytes | IO[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> _Answer:
        connection = http.client.HTTPConnection("registry")
        try:
            connection.sock = self._connected()
            connection.request(method, f"/v2/{path}", body, headers or {})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise self._shut(f"it broke off ({error})") from None
        finally:
            connection.close()
        if answer.status not in good:
            words = said.decode(errors="replace").strip()[:300] or answer.reason
            raise SwarmError(
                f"the lab's registry would not {method} it: {answer.status} {words}",
                where=path,
                fix="the end of logs/registry-push.log in the lab's state says why",
            )
        return _Answer(answer.status, answer.headers, said)

    def _connected(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(TIMEOUT_S)
        try:
            sock.connect(str(self._sock))
        except OSError as error:
            sock.close()
            if not isinstance(error, PermissionError):
                raise self._shut(f"nobody takes images there ({error.strerror or error})") from None
            fix = "run this as the lab's owner or as root"
            raise SwarmError("you may not put images into the lab's registry", where=str(self._sock), fix=fix) from None
        return sock

    def _shut(self, why: str) -> SwarmError:
        fix = "./lab status tells whether registry-push runs; ./lab up starts it"
        return SwarmError(f"cannot use the registry: {why}", where=str(self._sock), fix=fix)


def split(reference: str) -> tuple[str, str]:
    """Repository and tag of an image's name, the registry's host left out: ``10.77.0.1:5000/app:1`` → app, 1.

    Without a tag it is ``latest``, as everywhere. Raises SwarmError for what is no name.
    """
    first, slash, rest = reference.partition("/")
    repository, colon, tag = (rest if slash and HOST.fullmatch(first) else reference).partition(":")
    tag = tag if colon else "latest"
    if not (REPOSITORY.fullmatch(repository) and TAG.fullmatch(tag)):
        raise SwarmError(f"{reference!r} is not the name of an image", fix="write it as app:1, in small letters")
    return repository, tag
