"""Where releases lie, which one is current, and what is said where there is none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from labkit import images
from labkit.boot import BootSecrets
from labkit.boot.loaders import FILES
from labkit.errors import ImageError, PlanError
from labkit.images import ensure
from labkit.images.releases import where
from labkit.lab import Flavour, Lab, lab_yaml
from labkit.lab.secret import Secret
from labkit.netboot import plans
from tests.rig.known import causes

NAMES = ("flatcar_production_pxe.vmlinuz", "flatcar_production_pxe_image.cpio.gz")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def lay(cache: Path, version: str, *, current: bool = False, names: tuple[str, ...] = NAMES) -> Path:
    """A release of Flatcar in its place, with files of a few bytes."""
    folder = cache / "releases/flatcar" / version
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(f"{name} of {version}")
    if current:
        (folder.parent / "current").write_text(f"{version}\n")
    return folder


def lab(keys: str = "os: flatcar") -> Lab:
    return lab_yaml.parse(f"{keys}\nblades: [{{name: blade1}}, {{name: blade2}}]\n", Path("lab.yaml"))


def test_a_release_has_a_folder_a_version(cache: Path) -> None:
    folder = lay(cache, "4593.2.5", current=True)
    assert where.release_folder("flatcar", "4459.1.0") == cache / "releases/flatcar/4459.1.0"
    assert where.release_folder("flatcar", None) == folder
    assert where.current("flatcar") == "4593.2.5"
    found = where.find(Flavour.FLATCAR, None)
    assert (found.version, found.files) == ("4593.2.5", NAMES)


def test_versions_are_in_their_order(cache: Path) -> None:
    for version in ("4593.10.0", "4593.9.0", "4593.2.5-rc1", "4593.2.5"):
        lay(cache, version)
    (cache / "releases/flatcar/.part-4600.1.0").mkdir()
    (cache / "releases/flatcar/current").write_text("4593.9.0")
    assert where.versions("flatcar") == ["4593.2.5", "4593.2.5-rc1", "4593.9.0", "4593.10.0"]
    assert where.versions("fedora-coreos") == []


def test_no_current_release_is_said_with_the_command_to_get_one(cache: Path) -> None:
    with causes("release-missing") as caught:
        where.release_folder("flatcar", None)
    assert caught.value.what.startswith("no release of flatcar is here")
    assert caught.value.where == str(cache / "releases/flatcar/current")
    assert caught.value.fix == "./lab images fetch flatcar"


@pytest.mark.parametrize("text", [b"", b"\n", b"..", b"../../etc", b"a b", b"\xff\xfe", b"/etc", b"x" * 2000])
def test_a_current_that_is_no_version(cache: Path, text: bytes) -> None:
    lay(cache, "1.0.0", current=True)
    (cache / "releases/flatcar/current").write_bytes(text)
    with pytest.raises(ImageError, match="this names no release of flatcar") as caught:
        where.current("flatcar")
    assert caught.value.where.endswith("flatcar/current") and "./lab images use" in caught.value.fix


def test_a_current_that_is_a_folder(cache: Path) -> None:
    (cache / "releases/flatcar/current").mkdir(parents=True)
    with pytest.raises(ImageError, match="cannot be read: Is a directory"):
        where.current("flatcar")


def test_a_release_that_is_not_here_names_those_that_are(cache: Path) -> None:
    lay(cache, "4459.1.0")
    with causes("release-missing") as caught:
        where.find(Flavour.FLATCAR, "4593.2.5")
    assert caught.value.what == "release 4593.2.5 of flatcar is not here; those that are: 4459.1.0"
    assert caught.value.where == str(cache / "releases/flatcar/4593.2.5")
    assert caught.value.fix == "./lab images fetch flatcar --version 4593.2.5"


# --- a lab ------------------------------------------------------------------------------------------------------------


def test_two_blades_boot_two_versions(cache: Path) -> None:
    lay(cache, "4459.1.0", current=True)
    new = lay(cache, "4593.2.5")
    text = "os: flatcar\nblades: [{name: old}, {name: new, version: 4593.2.5}]\n"
    mixed = lab_yaml.parse(text, Path("lab.yaml"))
    old_plan, new_plan = (
        plans.prepare_with(plans.Own(), None, mixed, blade, "b1", BootSecrets(Secret("t")))[0] for blade in mixed.blades
    )
    assert (old_plan.release, new_plan.release) == ("4459.1.0", "4593.2.5")
    assert (old_plan.kernel, new_plan.kernel) == (
        "flatcar/4459.1.0/flatcar_production_pxe.vmlinuz", "flatcar/4593.2.5/flatcar_production_pxe.vmlinuz",
    )  # fmt: skip
    catalogue = images.catalogue(mixed)
    assert catalogue[new_plan.kernel] == new / NAMES[0]
    assert {f"flatcar/{version}/{name}" for version in ("4459.1.0", "4593.2.5") for name in NAMES} < catalogue.keys()
    assert not [name for name in catalogue if name.startswith("labos/")]


def test_a_lab_that_is_up_boots_the_release_that_was_chosen_last(cache: Path) -> None:
    """The boot server's catalogue is as old as the lab; a plan is as old as its boot."""
    lay(cache, "4459.1.0", current=True)
    made = lab()
    catalogue = images.catalogue(made)
    newer = lay(cache, "4593.2.5", current=True)
    plan, _ = plans.prepare_with(plans.Own(), None, made, made.blades[0], "b2", BootSecrets(Secret("t")))
    assert plan.release == "4593.2.5" and catalogue[plan.kernel] == newer / NAMES[0]


@pytest.mark.parametrize(
    "name",
    ["flatcar/..", "flatcar/../x", "flatcar/1.0/..", "flatcar/1.0/a/b", "flatcar/1.0/", "flatcar//x", "coreos/1.0/x",
     "labos/vmlinuz", "", "flatcar", "flatcar/current"],
)  # fmt: skip
def test_the_catalogue_has_nothing_but_files_of_releases(cache: Path, name: str) -> None:
    lay(cache, "1.0.0", current=True)
    with pytest.raises(KeyError):
        images.catalogue(lab())[name]


def test_a_plan_without_a_release_says_how_to_get_one() -> None:
    made = lab("os: fedora-coreos")
    with pytest.raises(ImageError, match="no release of fedora-coreos is here"):
        plans.prepare_with(plans.Own(), None, made, made.blades[0], "b1", BootSecrets(Secret("t")))
    assert not [name for name in images.catalogue(made) if name.startswith("fedora-coreos/")]


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loader").write_bytes(b"loader")
    for name in FILES:
        monkeypatch.setitem(FILES, name, (str(tmp_path / "loader"), "package"))
    monkeypatch.setattr(ensure, "builders", lambda lab: ())


@pytest.mark.usefixtures("loaders")
def test_a_release_is_looked_for_before_the_lab_starts(cache: Path) -> None:
    made = lab()
    with pytest.raises(ImageError, match="no release of flatcar is here"):
        images.ensure_images(made, progress=print)
    folder = lay(cache, "4593.2.5", current=True)
    assert images.ensure_images(made, progress=print)[1:] == [f"flatcar: release 4593.2.5 found in {folder}"]
    (folder / NAMES[1]).unlink()
    with pytest.raises(PlanError, match=f"the release has no {NAMES[1]}"):
        images.ensure_images(made, progress=print)


@pytest.mark.usefixtures("loaders")
def test_each_release_is_said_once(cache: Path) -> None:
    folders = [lay(cache, "4593.2.5"), lay(cache, "4459.1.0", current=True)]
    made = lab("os: flatcar\nversion: 4593.2.5")
    mixed = dataclasses.replace(made, blades=(*made.blades, dataclasses.replace(made.blades[0], version=None)))
    said = [f"flatcar: release {folder.name} found in {folder}" for folder in folders]
    assert images.ensure_images(mixed, progress=print)[1:] == said
