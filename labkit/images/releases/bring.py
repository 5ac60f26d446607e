"""Releases from a folder or a tar file, for machines without internet; proved as those that are fetched.

What has to be there: each file with its ``.sig`` under its published name; for Flatcar and Container Linux
``version.txt`` as well. A ``.DIGESTS``, or the JSON of a stream or build, is compared where it is there.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from labkit.errors import FileError, ImageError, on_file
from labkit.images.releases import cache as keeping
from labkit.images.releases import metadata
from labkit.images.releases.fetch import Fetched, check_sum, finish, prover
from labkit.images.releases.metadata import PARTS, Published, Release
from labkit.images.releases.publishers import CONTAINER_LINUX, FEDORA_COREOS, FLATCAR, Publisher
from labkit.images.releases.signature import Trust
from labkit.images.store import Progress

SMALL_B = 4 << 20
IMPORT = f"{keeping.FETCHING}import"

Trusts = Callable[[Publisher], Trust]


def bring(source: Path, trusts: Trusts, *, cache: Path, progress: Progress, arch: str = "amd64") -> Fetched:
    """Have the release in a folder or a tar file in the cache.

    ``arch`` is for Flatcar and Container Linux, whose names do not tell. Raises ImageError, MachineError and FileError.
    """
    names = _names(source)
    system = _system(names, source)
    with keeping.working(system.name, cache, progress) as place:
        building = place / IMPORT
        with on_file(building):
            shutil.rmtree(building, ignore_errors=True)
            building.mkdir()
        try:
            _copy(source, names, building, progress)
            release = read_folder(system, building, source, arch)
            folder = place / release.label
            is_new = not keeping.is_kept(folder)
            if is_new:
                _take(release, building, folder, trusts(system), str(source.absolute()), progress)
            else:
                keeping.prove(folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        in_use = keeping.use_first(system.name, release.label, cache)
    return Fetched(folder, release.label, is_new, in_use)


def _take(release: Release, building: Path, folder: Path, trust: Trust, source: str, progress: Progress) -> None:
    progress(f"{release.system.title} {release.version}, for {release.arch}")
    prove = prover(release.system, trust, None, progress)
    signers = {}
    for file in release.files:
        check_sum(file, building / file.name)
        signers[file.name] = prove(building / file.name, building / f"{file.name}.sig")
    finish(release, building, folder, signers, {"source": source}, progress)


def read_folder(system: Publisher, folder: Path, source: Path, arch: str) -> Release:
    """The release in a folder of published files, which messages call ``source``. Raises ImageError and FileError."""
    if system.files:
        version = metadata.read_version_txt(_text(folder / "version.txt", source), system, f"{source}/version.txt")
        _need(folder, source, system.files)
        files = tuple(_with_digests(Published(name, "", ""), folder, source) for name in system.files)
        return Release(system, version, "", arch, files)
    found = {name: build for path in folder.iterdir() if (build := metadata.build_in_name(name := path.name))}
    versions = sorted({version for version, _, _ in found.values()})
    if len(versions) > 1:
        facts = [f"{name} is of {build[0]}" for name, build in sorted(found.items())]
        raise metadata.mixed(facts, versions[-1], str(source))
    parts = {part: name for name, (_, part, _) in found.items()}
    missing = [part for part in PARTS if part not in parts]
    if missing:
        what = f"there is no live-{' and no live-'.join(missing)} of {versions[0]}"
        raise ImageError(what, where=str(source), fix=_ALL)
    words = {word: name for name, word in system.arches.items()}
    arch = words.get(found[parts["kernel"]][2], arch)
    release = Release(system, versions[0], "", arch, tuple(Published(parts[part], "", "") for part in PARTS))
    return _with_sums(release, folder, source)


def _with_digests(file: Published, folder: Path, source: Path) -> Published:
    for ending in (".DIGESTS", ".DIGESTS.asc"):
        path = folder / f"{file.name}{ending}"
        if path.is_file():
            where = f"{source}/{path.name}"
            algorithm, digest = metadata.read_digests(_text(path, source), file.name, where)
            return replace(file, url=where, algorithm=algorithm, digest=digest)
    return file


def _with_sums(release: Release, folder: Path, source: Path) -> Release:
    """The release with the sums of a JSON beside its files, if there is one of this very build."""
    for path in sorted(folder.glob("*.json")):
        for read in (metadata.read_stream, metadata.read_release):
            try:
                told = read(_text(path, source), release.system, "", release.arch, str(path))
            except ImageError:
                continue  # the other form, or something else that lay there
            if told.version == release.version and [f.name for f in told.files] == [f.name for f in release.files]:
                return replace(release, files=told.files)
    return release


_ALL = "copy all files of the release there, each with its .sig, under the names they were published with"


def _need(folder: Path, source: Path, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ImageError(f"not there: {' and '.join(missing)}", where=str(source), fix=_ALL)


def _text(path: Path, source: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(SMALL_B).decode("utf-8", "replace")
    except FileNotFoundError:
        raise ImageError(f"there is no {path.name}, which says the version", where=str(source), fix=_ALL) from None
    except OSError as error:
        raise FileError.of(error, path) from None


# --- what is given: a folder or a tar file ---------------------------------------------------------------------------


def _names(source: Path) -> Mapping[str, tarfile.TarInfo | Path]:
    """The plain files that are given, by their names without folders. Raises FileError and ImageError."""
    with on_file(source):
        if source.is_dir():
            return {path.name: path for path in source.iterdir() if path.is_file()}
        try:
            with tarfile.open(source) as archive:
                return {member.name.rpartition("/")[2]: member for member in archive if member.isfile()}
        except (tarfile.TarError, EOFError):
            raise ImageError("it is neither a folder nor a whole tar file", where=str(source), fix=_ALL) from None


def _system(names: Mapping[str, object], source: Path) -> Publisher:
    for system in (FLATCAR, CONTAINER_LINUX):
        if not set(system.files).isdisjoint(names):
            return system
    if any(metadata.build_in_name(name) for name in names):
        return FEDORA_COREOS
    known = f"{', '.join(FLATCAR.files)}; or fedora-coreos-VERSION-live-kernel.x86_64 and its like"
    raise ImageError("there are no files of a release that is known here", where=str(source), fix=f"known are {known}")


def _wanted(name: str) -> bool:
    """Whether a file belongs to a release; whatever else lies there is not copied."""
    plain = name.removesuffix(".sig").removesuffix(".asc").removesuffix(".DIGESTS")
    of_system = plain in (*FLATCAR.files, *CONTAINER_LINUX.files) or metadata.build_in_name(plain) is not None
    return of_system or name == "version.txt" or name.endswith(".json")


def _copy(source: Path, names: Mapping[str, tarfile.TarInfo | Path], building: Path, progress: Progress) -> None:
    chosen = {name: what for name, what in names.items() if _wanted(name)}
    try:
        if source.is_dir():
            for name in chosen:
                progress(f"copying {name}")
                shutil.copyfile(source / name, building / name)
            return
        with tarfile.open(source) as archive:
            for name, member in chosen.items():
                assert isinstance(member, tarfile.TarInfo)
                progress(f"unpacking {name}")
                content = archive.extractfile(member)
                assert content is not None
                with content, (building / name).open("wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except (tarfile.TarError, EOFError):
        raise ImageError("the tar file is cut off or broken", where=str(source), fix="copy it again") from None
    except OSError as error:
        raise FileError.of(error, error.filename or building) from None
