"""Fetching a release: which it is, its files, the proof, its place in the cache.

Nothing is kept that was not proved: each file by the sum that is published for it and by the signature of a key that is
believed (`labkit.images.releases.signature`), and all of them to be of one build.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from labkit.errors import FileError, ImageError, ParameterError, on_file
from labkit.images.releases import cache as keeping
from labkit.images.releases import metadata
from labkit.images.releases.contents import check_contents
from labkit.images.releases.download import AbsentError, Client, remove_parts
from labkit.images.releases.metadata import Published, Release
from labkit.images.releases.publishers import FETCHED, LATEST, Publisher, check_word
from labkit.images.releases.signature import Signer, Trust, UnknownKeyError, check_signature, dearmour
from labkit.images.store import Progress, digest_file

Prove = Callable[[Path, Path], Signer]
"""A file and its signature in, who signed it out."""


@dataclass(frozen=True)
class Wanted:
    """Which release: a channel (Fedora CoreOS says stream), a version or ``latest``, a processor in Debian's word."""

    channel: str = "stable"
    version: str = LATEST
    arch: str = "amd64"


@dataclass(frozen=True)
class Fetched:
    """What a fetch has done: ``is_new`` when it was not there before, ``in_use`` when it is the one in use."""

    folder: Path
    version: str
    is_new: bool
    in_use: bool


def fetch(
    system: Publisher,
    wanted: Wanted,
    client: Client,
    trust: Trust,
    *,
    cache: Path,
    progress: Progress,
    mirror: str = "",
) -> Fetched:
    """Have a release in the cache. ``mirror`` is a URL to take in place of the publisher's.

    The first release of a system is the one in use. Raises ParameterError, ImageError, MachineError and FileError.
    """
    release = resolve(system, wanted, client, mirror)
    progress(f"{system.title} {release.version}, {release.channel}, for {release.arch}")
    with keeping.working(system.name, cache, progress) as place:
        folder = place / release.label
        is_new = not keeping.is_kept(folder)
        if is_new:
            building = place / f"{keeping.FETCHING}{release.label}"
            prove = prover(system, trust, client, progress)
            signers = {}
            with on_file(building):
                building.mkdir(exist_ok=True)
            for file in release.files:
                _have(file, building, client, progress)
                signers[file.name] = _proved(file, building, prove)
            finish(release, building, folder, signers, {"source": base_of(release, mirror)}, progress)
        else:
            keeping.prove(folder)
        in_use = keeping.use_first(system.name, release.label, cache)
    return Fetched(folder, release.label, is_new, in_use)


def resolve(system: Publisher, wanted: Wanted, client: Client, mirror: str = "") -> Release:
    """Which files a wanted release has, and their sums; `LATEST` becomes a version here. Raises as `fetch`."""
    if system.name not in FETCHED:
        fix = "bring its files: ./lab images import DIR"
        raise ParameterError(f"{system.title} is no longer published", fix=fix)
    channel, version = check_word("channel", wanted.channel), check_word("version", wanted.version)
    if not mirror and channel not in system.channels:
        fix = f"there are {', '.join(system.channels)}"
        raise ParameterError(f"{system.title} has no channel {channel!r}", fix=fix)
    if wanted.arch not in system.arches:
        raise ParameterError(f"{system.title} is not published for {wanted.arch}", fix=f"{', '.join(system.arches)}")
    base = (mirror or system.base).rstrip("/").replace("{channel}", channel)
    try:
        if system.files:
            return _by_version_txt(system, channel, version, wanted.arch, base, client)
        return _by_json(system, channel, version, wanted.arch, base, client)
    except AbsentError as error:
        said = f"{system.title} has no {version} in {channel} for {wanted.arch}"
        fix = f"channels are {', '.join(system.channels)}; without --version it is the latest of the channel"
        raise ImageError(said, where=error.where, fix=fix) from None


def _by_version_txt(system: Publisher, channel: str, version: str, arch: str, base: str, client: Client) -> Release:
    """As Flatcar publishes: a folder a version, ``current`` the latest."""
    root = f"{base}/{system.arches[arch]}"
    url = f"{root}/{'current' if version == LATEST else version}/version.txt"
    found = metadata.read_version_txt(client.small(url).decode("utf-8", "replace"), system, url)
    if version not in (LATEST, found):
        raise metadata.mixed([f"version.txt is of {found}"], version, url)
    files = []
    for name in system.files:
        published = Published(name, f"{root}/{found}/{name}", f"{root}/{found}/{name}.sig")
        with contextlib.suppress(AbsentError):  # the signature is the proof; the sums say better what is wrong
            digests = f"{published.url}.DIGESTS"
            algorithm, digest = metadata.read_digests(client.small(digests).decode("utf-8", "replace"), name, digests)
            published = replace(published, algorithm=algorithm, digest=digest)
        files.append(published)
    return Release(system, found, channel, arch, tuple(files))


def _by_json(system: Publisher, channel: str, version: str, arch: str, base: str, client: Client) -> Release:
    """As Fedora CoreOS publishes: JSON for a stream's latest build, and for each build."""
    if version == LATEST:
        url, read = f"{base}/streams/{channel}.json", metadata.read_stream
    else:
        url, read = f"{base}/prod/streams/{channel}/builds/{version}/release.json", metadata.read_release
    release = read(client.small(url).decode("utf-8", "replace"), system, channel, arch, url)
    if version not in (LATEST, release.version):
        raise metadata.mixed([f"the JSON is of {release.version}"], version, url)
    files = tuple(
        replace(file, url=_from(base, file.url, system), signature_url=_from(base, file.signature_url, system))
        for file in release.files
    )
    return replace(release, files=files)


def _from(base: str, url: str, system: Publisher) -> str:
    """A URL of the publisher's, from the mirror where there is one."""
    return base + url.removeprefix(system.base) if url.startswith(system.base + "/") else url


def _have(file: Published, building: Path, client: Client, progress: Progress) -> None:
    with on_file(building):
        if not (building / file.name).is_file():
            client.file(file.url, building / file.name, progress)
    try:
        signature = client.small(file.signature_url)
    except AbsentError as error:
        fix = "a release that nobody has signed is not taken; is the mirror complete?"
        raise ImageError(f"{file.name} has no signature there", where=error.where, fix=fix) from None
    with on_file(building):
        (building / f"{file.name}.sig").write_bytes(signature)


def _proved(file: Published, building: Path, prove: Prove) -> Signer:
    """Who signed a file. What does not pass is removed, so that the next fetch gets it anew."""
    path = building / file.name
    try:
        check_sum(file, path)
        return prove(path, building / f"{file.name}.sig")
    except UnknownKeyError:
        raise  # the file may be good: it is the key that is missing
    except ImageError:
        remove_parts(path)
        raise


def check_sum(file: Published, path: Path) -> None:
    """Raise ImageError where a file has another sum than was published."""
    if file.algorithm:
        with on_file(path):
            found = digest_file(path, file.algorithm)
        if found != file.digest:
            name = {"sha256": "SHA-256", "sha512": "SHA-512"}[file.algorithm]
            raise ImageError(
                f"its {name} is not the one of this release: it came changed, cut off, or is of another build",
                where=file.url,
                fix="fetch it again; if that does not help, the server has it wrong: name another images: mirror",
            )


def finish(
    release: Release,
    building: Path,
    folder: Path,
    signers: dict[str, Signer],
    facts: dict[str, str],
    progress: Progress,
) -> None:
    """Give a release whose files are proved its place, if they are of one build; what was begun of others is removed.

    Raises ImageError, MachineError and FileError.
    """
    metadata.check_builds(release, str(building))
    try:
        check_contents(release, building, progress)
    except ImageError:
        shutil.rmtree(building)
        raise
    keeping.keep(building, folder, release, {**facts, "fetched": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}, signers)
    keeping.remove_begun(folder.parent)


def base_of(release: Release, mirror: str) -> str:
    """The URL a release is fetched below."""
    return (mirror or release.system.base).rstrip("/").replace("{channel}", release.channel)


def prover(system: Publisher, trust: Trust, client: Client | None, progress: Progress) -> Prove:
    """How to prove files: with the keys at hand, and with those that their owner publishes where one is missing."""
    trusts = [trust]

    def prove(file: Path, signature: Path) -> Signer:
        progress(f"{file.name}: checking its signature")
        try:
            return check_signature(file, signature, trusts[-1])
        except UnknownKeyError:
            if client is None or not system.key_url or len(trusts) > 1 or trust.is_given:
                raise
        trusts.append(replace(trust, blocks=(*trust.blocks, _published_keys(system, client, progress))))
        return check_signature(file, signature, trusts[-1])

    return prove


def _published_keys(system: Publisher, client: Client, progress: Progress) -> bytes:
    progress(f"fetching the keys of {system.title} from {system.key_url}")
    try:
        return client.small(system.key_url)
    except ImageError as error:
        prints = ", ".join(sorted(system.fingerprints))
        raise ImageError(
            f"the key that signed it is needed, and cannot be had: {error.what}",
            where=system.key_url,
            fix=f"bring that file and name it with --key FILE; what counts is its fingerprint, {prints}",
        ) from None


def shipped_trust(system: Publisher) -> Trust:
    """Whom to believe for a system, with the keys that ship with labkit."""
    block = resources.files("labkit.images.releases") / f"keys/{system.name}.asc"
    return Trust(system.title, system.fingerprints, (block.read_bytes(),) if block.is_file() else ())


def given_trust(system: Publisher, key: Path, fingerprint: str = "") -> Trust:
    """Whom to believe with the keys in a file: the system's own, or who has the given fingerprint.

    Raises ImageError for a file without keys, and FileError.
    """
    try:
        block = dearmour(key.read_bytes(), str(key))
    except OSError as error:
        raise FileError.of(error, key) from None
    prints = frozenset({fingerprint}) if fingerprint else system.fingerprints
    return Trust(system.title, prints, (block,), is_given=True)
