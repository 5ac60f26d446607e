"""Another system than the one that ``lab.yaml`` names, to look at: what a blade would boot with it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from labkit import images
from labkit.boot.systems import ARCHIVE, HEIRS, SYSTEMS, config_place, fetch_words, files_of, needed_mib
from labkit.errors import ParameterError, PlanError
from labkit.events.amounts import room
from labkit.images.needs import memory_advice, signature_advice
from labkit.images.releases.where import release_to_plan, versions
from labkit.images.served import Catalogue
from labkit.lab import Blade, ChassisKind, ConfigBy, Custom, Flavour, Lab
from labkit.lab.lab_yaml import values
from labkit.lab.lab_yaml.positions import Wrong
from labkit.lab.secret import Secret
from labkit.netboot import plans
from labkit.servers import client
from labkit.workbook.record import artifact_digests

EXAMPLE = Custom(
    kernel=Path("/boot/vmlinuz"),
    initrds=(Path("/boot/initrd.img"),),
    arguments=("console=ttyS0",),
    config=ConfigBy.ARCHIVE,
    place="config.ign",
)
"""A system of a person's own, where nobody has said what it is, and how ``lab.yaml`` says it."""
EXAMPLE_LINE = (
    f"custom: {{kernel: {EXAMPLE.kernel}, initrds: [{EXAMPLE.initrds[0]}], arguments: {EXAMPLE.arguments[0]}, "
    f"config: {{archive: {EXAMPLE.place}}}}}"
)


@dataclass(frozen=True)
class Chosen:
    """A system to plan with: ``os`` and ``version`` stand for those of ``lab.yaml``, where they are given."""

    lab: Lab
    os: Flavour | None = None
    version: str = ""

    def blade(self, blade: Blade) -> Blade:
        """The blade with this system."""
        wanted = self.os or blade.os
        kept = blade.version if wanted is blade.os else None
        own = (blade.custom or EXAMPLE) if wanted is Flavour.CUSTOM else None
        return replace(blade, os=wanted, version=self.version or kept, custom=own)

    def prepare(self, blade: Blade, boot: str = "‹boot›", ticket: Secret = plans.TO_LOOK_AT) -> plans.Planned:
        """The plan and the files of a boot with this system. Its release need not be here.

        Raises PlanError where the blade's config cannot be this system's.
        """
        one, state = self.blade(blade), client.find_state(self.lab.path)
        return plans.prepare(self._lab_of(one), state, one, boot, ticket, release_to_plan(one))

    def releases(self, blade: Blade) -> list[str]:
        """The releases of this system that are here, the newest first."""
        system = self.blade(blade).os
        return versions(system)[::-1] if system.has_releases else []

    def digests(self, blade: Blade) -> dict[str, str]:
        """`labkit.workbook.record.artifact_digests` of the blade with this system."""
        one = self.blade(blade)
        return artifact_digests(self._lab_of(one), [one], release_to_plan(one))[one.name]

    def describe(self, blade: Blade) -> tuple[str, bool]:
        """What the system is, what of it is here, and what it needs, in lines; and whether something is amiss."""
        one = self.blade(blade)
        alone = replace(self.lab, blades=(one,))
        too_little = memory_advice(alone)
        amiss = [f"{each.what}: write {each.fix}." for each in (*too_little, *signature_advice(alone))]
        if SYSTEMS[one.os].ended:
            amiss.append(f"{SYSTEMS[one.os].ended}: write {HEIRS}.")
        memory = [f"It needs {room(needed_mib(one))} of memory."] if needed_mib(one) and not too_little else []
        lines = [f"{one.os}: {SYSTEMS[one.os].about}.", _files(alone, one), _ignition(one), *memory, *amiss]
        return "\n".join(lines), bool(amiss)

    def to_write(self, blade: Blade) -> str:
        """The lines of ``lab.yaml`` that make this the system of its blades; empty where it is this one's already."""
        one, lines = self.blade(blade), []
        if one.os is not blade.os:
            lines.append(f"os: {one.os}")
        if one.version != blade.version and one.version is not None:
            lines.append(f"version: {one.version}")
        if one.custom is EXAMPLE:
            lines.append(EXAMPLE_LINE)
        if lines and self.lab.chassis.kind is ChassisKind.VIRTUAL and one.memory_mib < needed_mib(one):
            lines.append(f"memory: {needed_mib(one)}M")
        return "\n".join(lines)

    def to_take_out(self, blade: Blade) -> tuple[str, ...]:
        """The keys of ``lab.yaml`` that this system does not have, and that the blade has there."""
        one = self.blade(blade)
        keys = {"version": (blade.version, one.version), "custom": (blade.custom, one.custom)}
        return tuple(key for key, (before, after) in keys.items() if before is not None and after is None)

    def _lab_of(self, one: Blade) -> Lab:
        return replace(self.lab, blades=tuple(one if one.name == each.name else each for each in self.lab.blades))


def check_version(lab: Lab | None, blades: Sequence[str], system: str, version: str, *, what: str) -> None:
    """Whether a system can have this version; where none is named it is that of the first blade.

    Raises ParameterError, which begins with ``what``.
    """
    if not version:
        return
    try:
        values.version(version)
    except Wrong as wrong:
        fix = "a release as it is called, such as 4593.2.5; without one it is the release in use"
        raise ParameterError(f"{what}: {wrong.what}", fix=fix) from None
    if not system and lab is None:
        return
    chosen = Flavour(system) if system or lab is None else first_blade(lab, blades).os
    if not chosen.has_releases:
        having = " or ".join(each for each in Flavour if each.has_releases)
        raise ParameterError(f"{what}: there are no releases of {chosen} to choose from", fix=f"with os {having}")


def first_blade(lab: Lab, names: Sequence[str]) -> Blade:
    """The first of the blades that a chapter works on: those named, else those that become nodes, else all."""
    chosen = client.choose_blades(lab, names)
    return next((blade for blade in chosen if names or blade.is_node), chosen[0])


def _files(lab: Lab, blade: Blade) -> str:
    """Which of the system's files are here, and how to get them."""
    release = release_to_plan(blade)
    try:
        files = files_of(blade, release)
    except PlanError as error:
        return f"In {error.where} {error.what}: {error.fix}."
    known = images.catalogue(lab)
    names = [name for name in (files.kernel, *files.initrds, files.fetched) if name]
    missing = [name for name in names if not _is_here(known, name)]
    of = f"The files of release {release.version}" if release is not None else "Its files"
    if not missing:
        return f"{of} are here: {_short(names)}."
    return f"{of} are not here: {_short(missing)}. {_how_to_get(blade)}."


def _short(paths: Sequence[str]) -> str:
    return ", ".join(path.rpartition("/")[2] for path in paths)


def _is_here(known: Catalogue, name: str) -> bool:
    with suppress(KeyError, OSError):
        return known[name].is_file()
    return False


def _how_to_get(blade: Blade) -> str:
    if blade.os.has_releases:
        return fetch_words(blade.os) + (f" --version {blade.version}" if blade.version else "") + " fetches them"
    if blade.os is Flavour.LABOS:
        return "./lab up builds them, and so does ./lab images build"
    if blade.os is Flavour.CONTAINER_LINUX:
        return f"Put them into {images.container_linux_folder()}, or bring them there with ./lab images import"
    return "They have to lie on this machine, where lab.yaml says"


def _ignition(blade: Blade) -> str:
    """Where the system's Ignition looks for its config, and what it reads."""
    by = blade.custom.config if blade.custom is not None else ConfigBy.ARCHIVE
    if by is ConfigBy.NONE:
        return "It gets no config."
    low, high = SYSTEMS[blade.os].reads
    own = f"looks at {config_place(blade)} in the blade's own archive, {ARCHIVE}"
    place = own if by is ConfigBy.ARCHIVE else "fetches it from the URL in ignition.config.url="
    return f"Its Ignition reads a config of version {low} to {high}, and {place}."
