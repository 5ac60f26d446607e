"""Somebody on the blades' network who tries to change what a registry has, by each verb and path of its API."""

from __future__ import annotations

from pathlib import Path

import requests

from .registry import IMAGE, digest_of

MINE = b"x"
NAMES = (None, ("labkit", "labkit"), ("admin", ""))


def let_in(session: requests.Session, root: str, name: str, digest: str, upload: str) -> list[tuple[str, int]]:
    """The attempts, under no name and under several, that were not refused, with what was answered: none, one hopes.

    ``root`` is the URL of the API, ``digest`` that of an image ``name:1`` that is there, ``upload`` the path of an
    upload that was begun by somebody who may.
    """
    image = session.get(f"{root}{name}/manifests/{digest}", headers={"Accept": IMAGE}, timeout=20)
    assert image.ok and digest_of(image.content) == digest
    answers = []
    for auth in NAMES:
        for verb, path in _attempts(name, digest, upload):
            body = image.content if "/manifests/" in path else MINE
            answer = session.request(
                verb, f"{root}{path}", data=body, headers={"Content-Type": IMAGE}, auth=auth, timeout=20
            )
            answers.append((f"{verb} {path}", answer.status_code))
    return [one for one in answers if one[1] not in (404, 405)]


def _attempts(name: str, digest: str, upload: str) -> list[tuple[str, str]]:
    uploads = f"{name}/blobs/uploads/"
    return [
        ("POST", uploads),
        ("POST", f"{uploads}?digest={digest_of(MINE)}"),
        ("POST", f"new/blobs/uploads/?mount={digest}&from={name}"),
        ("PATCH", upload),
        ("PUT", f"{upload}&digest={digest_of(MINE)}"),
        ("DELETE", upload),
        ("DELETE", f"{name}/blobs/{digest}"),
        *((verb, f"{name}/manifests/{what}") for what in ("1", digest) for verb in ("PUT", "DELETE", "POST", "PATCH")),
        *((verb, path) for path in (f"{name}/tags/list", "_catalog") for verb in ("POST", "PUT", "PATCH", "DELETE")),
    ]


def files(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
