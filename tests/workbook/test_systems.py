"""Another system, to look at: its plan without its images, and lines for lab.yaml that bring exactly that."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from labkit.boot import SYSTEMS, Release, Rendered
from labkit.boot.artifacts.cpio import unpack
from labkit.boot.systems import config_place, files_of
from labkit.images.releases.publishers import PUBLISHERS, names_of
from labkit.images.releases.where import ANY_VERSION
from labkit.images.served import Catalogue
from labkit.lab import Flavour, Lab, lab_yaml
from labkit.workbook.systems import EXAMPLE, EXAMPLE_LINE, Chosen

RELEASED = [os for os in Flavour if os.has_releases]
EVERY = [*((os, "") for os in Flavour), *((os, "4593.2.5") for os in RELEASED)]
REAL = """
network: {kind: interface, interface: eth1, subnet: 10.0.40.0/24, server: 10.0.40.2}
bmc: {kind: manual}
blades: [{name: blade1, macs: [00:00:5e:00:53:01]}]
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with nothing in it."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LABKIT_STATE", raising=False)
    return tmp_path / "cache"


def lab(top: str = "", blade: str = "") -> Lab:
    return lab_yaml.parse(f"{top}\nblades: [{{name: blade1{blade}}}]\n", Path("/nowhere/lab.yaml"))


def lay(cache: Path, os: Flavour, version: str, *, current: bool = False) -> None:
    folder = cache / "releases" / os / version
    folder.mkdir(parents=True)
    for name in names_of(PUBLISHERS[os], version):
        (folder / name).write_text("x")
    if current:
        (folder.parent / "current").write_text(version)


@pytest.mark.parametrize(("os", "version"), EVERY)
@pytest.mark.parametrize("boot", ["ipxe", "pxelinux"])
def test_a_plan_needs_nothing_of_the_system(os: Flavour, version: str, boot: str) -> None:
    """Kernel, arguments, the config where its Ignition looks and in a version that it reads, and digests."""
    chosen = Chosen(lab(f"boot: {boot}"), os, version)
    (blade,) = chosen.lab.blades
    plan, shelf = chosen.prepare(blade)
    assert (plan.os, plan.release) == (os, (version or ANY_VERSION) if os.has_releases else "")
    assert set(SYSTEMS[os].first_boot) <= set(plan.arguments)
    archive = shelf[plan.initrds[-1]]
    assert isinstance(archive, Rendered) and plan.ignition is not None
    (config,) = (
        json.loads(entry.data) for entry in unpack(archive.content) if entry.name == config_place(chosen.blade(blade))
    )
    assert config == json.loads(plan.ignition.reveal())
    assert config["ignition"]["version"] == SYSTEMS[os].writes
    assert chosen.digests(blade).keys() == {name for name, file in shelf.items() if isinstance(file, Rendered)}


@pytest.mark.parametrize(("os", "version"), EVERY)
@pytest.mark.parametrize("before", [*Flavour])
def test_the_lines_to_write_bring_that_system_and_the_memory_it_needs(
    os: Flavour, version: str, before: Flavour, tmp_path: Path
) -> None:
    custom = f"\ncustom: {{kernel: {__file__}}}" if before is Flavour.CUSTOM else ""
    pinned = "\nversion: '1.2.3'" if before.has_releases else ""
    was = lab(f"os: {before}{custom}{pinned}")
    chosen = Chosen(was, os, version)
    (blade,) = was.blades
    kept = {"os": f"os: {before}", "custom": custom.strip(), "version": pinned.strip()}
    written = chosen.to_write(blade)
    gone = [*chosen.to_take_out(blade), *(line.partition(":")[0] for line in written.splitlines())]
    assert (EXAMPLE_LINE in written) == (os is Flavour.CUSTOM and before is not os)
    for path in (EXAMPLE.kernel, *EXAMPLE.initrds):
        (tmp_path / path.name).touch()
        written = written.replace(str(path), str(tmp_path / path.name))
    (made,) = lab("\n".join([written, *(line for key, line in kept.items() if key not in gone)])).blades
    wanted = chosen.blade(blade)
    if wanted.custom is EXAMPLE:
        assert made.custom is not None
        wanted = dataclasses.replace(
            wanted, custom=dataclasses.replace(EXAMPLE, kernel=made.custom.kernel, initrds=made.custom.initrds)
        )
    assert dataclasses.replace(made, memory_mib=blade.memory_mib) == wanted
    assert (written == "") == (wanted == blade)
    if written:
        assert "of memory, and" not in Chosen(dataclasses.replace(was, blades=(made,))).describe(made)[0]


def test_a_real_blades_memory_is_its_own() -> None:
    chosen = Chosen(lab_yaml.parse(REAL, Path("lab.yaml")), Flavour.FLATCAR)
    (blade,) = chosen.lab.blades
    assert chosen.to_write(blade) == "os: flatcar"
    words, amiss = chosen.describe(blade)
    assert "It needs 3.0 GiB of memory." in words and not amiss


def test_what_is_not_here_is_named_with_what_fetches_it(cache: Path) -> None:
    (blade,) = (own := lab()).blades
    for os, how in {
        Flavour.LABOS: "./lab images build",
        Flavour.FLATCAR: "./lab images fetch flatcar fetches",
        Flavour.FEDORA_COREOS: "./lab images fetch fedora-coreos fetches",
        Flavour.CONTAINER_LINUX: f"{cache}/container-linux",
        Flavour.CUSTOM: "where lab.yaml says",
    }.items():
        words = Chosen(own, os).describe(blade)[0]
        assert " are not here: " in words and how in words, os
    words, amiss = Chosen(own, Flavour.FLATCAR, "4593.2.5").describe(blade)
    assert "./lab images fetch flatcar --version 4593.2.5" in words
    assert amiss and "blade1 has 2,048 MiB of memory, and flatcar needs 3,072" in words
    words, amiss = Chosen(own, Flavour.CONTAINER_LINUX).describe(blade)
    assert amiss and "ended in May 2020" in words and "os: flatcar" in words


@pytest.mark.parametrize("os", RELEASED)
def test_a_release_that_is_here_is_planned_with_and_the_newest_is_first(cache: Path, os: Flavour) -> None:
    for version in ("42.9.1", "42.10.1"):
        lay(cache, os, version, current=version == "42.9.1")
    (blade,) = (own := lab()).blades
    assert Chosen(own, os).releases(blade) == ["42.10.1", "42.9.1"]
    assert Chosen(own, os).prepare(blade)[0].release == "42.9.1", "the one in use"
    assert Chosen(own, os, "42.10.1").prepare(blade)[0].release == "42.10.1"
    assert "The files of release 42.9.1 are here: " in Chosen(own, os).describe(blade)[0]
    (cache / "releases" / os / "42.9.1" / names_of(PUBLISHERS[os], "42.9.1")[0]).unlink()
    assert "the release has no " in Chosen(own, os).describe(blade)[0]


def test_a_folder_that_nobody_may_read_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(Catalogue):
        def __missing__(self, name: str) -> Path:
            raise PermissionError(name)

    monkeypatch.setattr("labkit.images.catalogue", lambda lab: Closed())
    (blade,) = (own := lab()).blades
    assert "Its files are not here: vmlinuz" in Chosen(own).describe(blade)[0]


@pytest.mark.parametrize("version", ["41.20250101.3.0", "43.20260714.3.1", "43.20260714.3.1-arm64", ANY_VERSION])
@pytest.mark.parametrize("os", RELEASED)
def test_a_boot_finds_its_files_by_the_names_they_are_published_under(os: Flavour, version: str) -> None:
    (blade,) = lab(f"os: {os}").blades
    files = files_of(blade, Release(version, names_of(PUBLISHERS[os], version)))
    assert version in files.kernel
    if os is Flavour.FEDORA_COREOS:
        bare = version.removesuffix("-arm64")
        end = "-x86_64" if version.startswith("41") else ".aarch64" if version != bare else ".x86_64"
        assert files.kernel == f"fedora-coreos/{version}/fedora-coreos-{bare}-live-kernel{end}"


def test_how_it_gets_its_config_is_said() -> None:
    for config, words in {
        "none": "It gets no config.",
        "url": "ignition.config.url=",
        "{archive: a/b}": "at a/b in",
    }.items():
        own = lab("os: custom", f", custom: {{kernel: {__file__}, config: {config}}}")
        assert words in Chosen(own).describe(own.blades[0])[0]


def test_secure_boot_is_spoken_of() -> None:
    own = lab("boot: grub\nfirmware: uefi-secure")
    words, amiss = Chosen(own, Flavour.FLATCAR).describe(own.blades[0])
    assert amiss and "Debian's shim refuses it" in words
