"""``./lab images …`` from nothing to a release in use and back, as a person does it."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from labkit.cli import commands
from tests.rig.releases import KERNEL, Ring, Server, coreos, flatcar, lay

Say = Callable[..., tuple[int, str, str]]
OLD, NEW = "4230.2.1", "4459.2.1"


@pytest.fixture
def labkit(
    tmp_path: Path, publisher: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Say:
    """The command in a lab whose mirrors are here, with a cache of its own."""
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(commands, "_parser", cache(commands._parser))
    lab = tmp_path / "lab.yaml"
    mirrors = f"{{flatcar: '{publisher.url}', fedora-coreos: '{publisher.url}'}}"
    lab.write_text(f"blades: [{{name: blade1}}]\nimages:\n  mirror: {mirrors}\n")

    def say(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = commands.main(["--lab", str(lab), "images", *words])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out, said.err

    return say


def test_old_images_are_listed_and_removed_when_told(labkit: Say, tmp_path: Path) -> None:
    assert labkit("prune") == (0, "there is no old image\n", "")
    old = tmp_path / "cache" / "labos" / "0123456789abcdef"
    old.mkdir(parents=True)
    (old / "vmlinuz").write_bytes(b"kernel")
    status, out, _ = labkit("prune")
    assert status == 0 and f"{old}: 6 B and its tree" in out and "./lab images prune --yes" in out and old.is_dir()
    assert labkit("prune", "--yes")[:2] == (0, "removed: labos/0123456789abcdef\n")
    assert not old.exists()


@pytest.fixture
def key(ring: Ring, tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "key.asc").write_bytes(ring.good.block)
    return ("--key", str(tmp_path / "key.asc"), "--fingerprint", ring.good.primary.lower())


def test_from_nothing_to_a_release_and_back(
    labkit: Say, publisher: Server, ring: Ring, key: tuple[str, ...], tmp_path: Path
) -> None:
    publisher.files = flatcar(ring.good, OLD)
    status, out, err = labkit("fetch", "flatcar", *key)
    assert (status, out) == (0, f"flatcar {OLD}: proved and kept in {tmp_path}/cache/releases/flatcar/{OLD}; in use\n")
    assert "checking its signature" in err
    assert "it was there" in labkit("fetch", "flatcar", *key)[1]

    publisher.files |= flatcar(ring.good, NEW)
    assert f"not in use: ./lab images use {NEW}" in labkit("fetch", "flatcar", "--channel", "beta", *key)[1]
    assert labkit("use", NEW)[:2] == (0, f"flatcar {NEW}: in use from the next boot on\n")
    assert labkit("use", NEW)[1] == f"flatcar {NEW}: it was in use\n"
    listed = labkit("list")[1]
    assert [line.split()[:3] for line in listed.splitlines()[-2:]] == [
        ["flatcar", OLD, "stable"],
        ["flatcar", NEW, "beta"],
    ]
    assert listed.rstrip().endswith("in use")

    assert labkit("roll-back")[1] == f"flatcar: from {NEW} back to {OLD}, from the next boot on\n"
    assert labkit("verify")[1].count("as it was proved") == 2
    assert labkit("remove", NEW)[:2] == (0, f"removed: {tmp_path}/cache/releases/flatcar/{NEW}\n")
    assert f"{OLD} is in use" in labkit("remove", OLD)[2]


def test_where_nothing_is_kept(labkit: Say) -> None:
    assert labkit("verify")[:2] == (0, "nothing is kept yet: ./lab images build, or ./lab images fetch\n")


def test_a_script_reads_what_is_there(
    labkit: Say, publisher: Server, ring: Ring, key: tuple[str, ...], tmp_path: Path
) -> None:
    publisher.files = flatcar(ring.good, OLD)
    labkit("fetch", "flatcar", *key)
    for words in (("--json",), ("list", "--json")):
        told = json.loads(labkit(*words)[1])
        assert [(one["os"], one["version"], one["in_use"]) for one in told["releases"]] == [("flatcar", OLD, True)]
        assert all(set(one) == {"name", "file", "there"} for one in told["served"])


def test_one_flipped_byte(labkit: Say, publisher: Server, ring: Ring, key: tuple[str, ...], tmp_path: Path) -> None:
    publisher.files = flatcar(ring.good, OLD)
    labkit("fetch", "flatcar", *key)
    kernel = tmp_path / f"cache/releases/flatcar/{OLD}/{KERNEL}"
    data = bytearray(kernel.read_bytes())
    data[-1] ^= 1
    kernel.chmod(0o644)
    kernel.write_bytes(data)
    for words in (["verify"], ["verify", OLD], ["use", OLD], ["fetch", "flatcar", *key]):
        status, _, err = labkit(*words)
        assert status == 1
        assert f"{KERNEL} is not what was proved" in err


def test_fedora_coreos_by_its_stream(labkit: Say, publisher: Server, ring: Ring, key: tuple[str, ...]) -> None:
    publisher.files = {path.replace("stable", "next"): data for path, data in coreos(ring.good).items()}
    publisher.files = {path: data.replace(b"streams/stable", b"streams/next") for path, data in publisher.files.items()}
    status, out, _ = labkit("fetch", "fedora-coreos", "--stream", "next", *key)
    assert status == 0
    assert "fedora-coreos 43.20251110.3.1: proved and kept" in out


def test_without_internet(labkit: Say, ring: Ring, key: tuple[str, ...], tmp_path: Path) -> None:
    source = lay(flatcar(ring.good, OLD), tmp_path / "usb")
    with tarfile.open(tmp_path / "release.tar.gz", "w:gz") as archive:
        archive.add(source, "release")
    assert "proved and kept" in labkit("import", str(tmp_path / "release.tar.gz"), *key)[1]
    assert "it was there" in labkit("import", str(source), *key)[1]


def test_a_key_counts_by_the_publishers_fingerprint(
    labkit: Say, publisher: Server, ring: Ring, key: tuple[str, ...]
) -> None:
    publisher.files = flatcar(ring.good, OLD)
    status, _, err = labkit("fetch", "flatcar", *key[:2])
    assert status == 1
    assert "is not Flatcar's" in err
    assert "F88CFEDEFF29A5B4D9523864E25D9AED0593B34A" in err


MISTAKES = (
    "fetch", "fetch windows", "fetch container-linux", "fetch flatcar --arch z80", "fetch flatcar --version ../x",
    "fetch flatcar --channel a/b", "fetch flatcar --key /nope", "fetch flatcar --key /", "import /dev/null",
    "fetch flatcar --fingerprint 12", f"fetch flatcar --fingerprint {'A' * 40}", "fetch flatcar --version 9.9.9",
    "fetch flatcar --key lab.yaml --version 1.2", "import", "import /nope", "import lab.yaml", "verify 1.2.3", "use",
    "use 1.2.3", "use ..", "roll-back", "roll-back flatcar", "roll-back x", "remove", "remove 1.2.3", "remove .",
    "burn", "list x",
)  # fmt: skip


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_said_with_its_fix(labkit: Say, words: str) -> None:
    status, out, err = labkit(*words.split())
    assert status in (1, 2), out + err
    assert "fix: " in err
