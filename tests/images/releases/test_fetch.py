"""A release is fetched, proved, and kept by its version; what is there is found, what was begun goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.errors import ImageError, ParameterError
from labkit.images.releases import cache as keeping
from labkit.images.releases import fetch as fetching
from labkit.images.releases.download import Client
from labkit.images.releases.fetch import Wanted
from labkit.images.releases.layout import version_in_use
from labkit.images.releases.publishers import CONTAINER_LINUX, FEDORA_COREOS, FLATCAR
from labkit.images.releases.signature import Trust
from tests.rig.releases import IMAGE, KERNEL, Answer, Ring, Server, coreos, cut_after, flatcar, kernel

from .conftest import Fetch


def test_the_latest_of_flatcar(fetch: Fetch, publisher: Server, ring: Ring, cache: Path, told: list[str]) -> None:
    publisher.files = flatcar(ring.good)
    found = fetch()
    folder = cache / "releases/flatcar/4230.2.1"
    assert (found.folder, found.version, found.is_new, found.in_use) == (folder, "4230.2.1", True, True)
    assert [path.name for path in keeping.files_of(folder)] == [KERNEL, IMAGE]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["version"], manifest["channel"], manifest["arch"]) == ("4230.2.1", "stable", "amd64")
    entry = manifest["files"][KERNEL]
    assert entry["signed"]["primary"] == ring.good.primary
    assert entry["size"] == 40_000
    assert entry["url"] == f"{publisher.url}/amd64-usr/4230.2.1/{KERNEL}"  # by its version, although it was the latest
    assert (folder.parent / "current").read_text() == "4230.2.1\n"
    assert any(line == f"{IMAGE}: 0 of 0 MiB" for line in told)
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".fetching")] == []
    assert {path.name for path in folder.iterdir()} == {KERNEL, IMAGE, "manifest.json", "signatures"}
    assert {path.name for path in folder.glob("signatures/*")} == {f"{KERNEL}.sig", f"{IMAGE}.sig"}


def test_what_is_there_is_found(fetch: Fetch, publisher: Server, ring: Ring) -> None:
    publisher.files = flatcar(ring.good)
    fetch()
    again = fetch(version="4230.2.1")
    assert (again.is_new, again.in_use) == (False, True)
    assert publisher.counts(KERNEL) == publisher.counts(IMAGE) == 1


def test_a_second_release_waits_to_be_used(fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.good) | flatcar(ring.good, "4459.2.1", latest=False)
    fetch()
    found = fetch(version="4459.2.1")
    assert (found.is_new, found.in_use) == (True, False)
    assert version_in_use("flatcar", cache) == "4230.2.1"
    assert [one.version for one in keeping.kept(cache)] == ["4230.2.1", "4459.2.1"]


@pytest.mark.parametrize("version", ["latest", "43.20251110.3.1"])
def test_fedora_coreos(fetch: Fetch, publisher: Server, ring: Ring, version: str) -> None:
    publisher.files = coreos(ring.good)  # with the publisher's own addresses in its JSON
    publisher.files = {path: data.replace(FEDORA_COREOS.base.encode(), publisher.url.encode())
                       for path, data in publisher.files.items()}  # fmt: skip
    found = fetch(FEDORA_COREOS, version=version)
    assert found.version == "43.20251110.3.1"
    assert [path.name.rpartition("-")[2] for path in keeping.files_of(found.folder)] == [
        "kernel.x86_64", "initramfs.x86_64.img", "rootfs.x86_64.img",
    ]  # fmt: skip


def test_a_mirror_stands_in_for_the_publisher(publisher: Server, ring: Ring, cache: Path) -> None:
    tree = coreos(ring.good)
    publisher.files = {"/mirror" + path: data for path, data in tree.items()}
    system = replace(FEDORA_COREOS, fingerprints=frozenset({ring.good.primary}))
    mirror = f"{publisher.url}/mirror"
    with Client() as client:
        found = fetching.fetch(system, Wanted(), client, ring.good.trust(), cache=cache, progress=print, mirror=mirror)
    assert found.is_new
    publisher.files = {path.replace("/amd64", "/beta/amd64"): data for path, data in flatcar(ring.good).items()}
    with Client() as client:
        found = fetching.fetch(
            replace(FLATCAR, fingerprints=frozenset({ring.good.primary})), Wanted("beta"), client, ring.good.trust(),
            cache=cache, progress=print, mirror=publisher.url + "/{channel}/",
        )  # fmt: skip
    assert json.loads((found.folder / "manifest.json").read_text())["source"] == f"{publisher.url}/beta"


def test_a_proxy_is_asked_for_everything(publisher: Server, ring: Ring, cache: Path) -> None:
    base = "http://releases.example.test"
    publisher.files = {base + path: data for path, data in flatcar(ring.good).items()}  # a proxy hears whole URLs
    system = replace(FLATCAR, base=base, fingerprints=frozenset({ring.good.primary}))
    with Client(proxy=publisher.url) as client:
        assert fetching.fetch(system, Wanted(), client, ring.good.trust(), cache=cache, progress=print).is_new


def test_without_sums_the_signature_is_the_proof(fetch: Fetch, publisher: Server, ring: Ring) -> None:
    publisher.files = {path: data for path, data in flatcar(ring.good).items() if not path.endswith(".DIGESTS")}
    assert fetch().is_new


def test_a_key_that_does_not_ship_comes_from_its_owner(publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.good) | {"/key.asc": ring.other.block + ring.good.block}
    system = replace(publisher.system(FLATCAR, ring.good), key_url=f"{publisher.url}/key.asc")
    trust = Trust("Flatcar", system.fingerprints)
    with Client() as client:
        fetching.fetch(system, Wanted(), client, trust, cache=cache, progress=print)
    assert publisher.counts("/key.asc") == 1


def test_a_key_of_somebody_else_at_that_place_is_not_believed(publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.other) | {"/key.asc": ring.other.block}
    system = replace(publisher.system(FLATCAR, ring.good), key_url=f"{publisher.url}/key.asc")
    with Client() as client, pytest.raises(ImageError, match="which is not Flatcar's"):
        fetching.fetch(system, Wanted(), client, Trust("Flatcar", system.fingerprints), cache=cache, progress=print)
    assert keeping.kept(cache) == []


def test_where_the_key_cannot_be_had(publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.good)
    system = replace(publisher.system(FLATCAR, ring.good), key_url=f"{publisher.url}/key.asc")
    with Client() as client, pytest.raises(ImageError, match="the key that signed it is needed") as caught:
        fetching.fetch(system, Wanted(), client, Trust("Flatcar", system.fingerprints), cache=cache, progress=print)
    assert f"--key FILE; what counts is its fingerprint, {ring.good.primary}" in caught.value.fix


def test_a_fetch_that_was_cut_off_goes_on(fetch: Fetch, publisher: Server, ring: Ring) -> None:
    publisher.files = flatcar(ring.good)
    publisher.wrong[f"/{IMAGE}"] = cut_after(100_000)
    with pytest.raises(ImageError, match=r"the connection ended after 100000 of \d+ bytes") as caught:
        fetch()
    assert "goes on where it was" in caught.value.fix
    publisher.wrong.clear()
    assert fetch().is_new
    assert publisher.ranges(f"/{IMAGE}") == ["", "bytes=100000-"]
    assert publisher.counts(f"/{KERNEL}") == 1


def test_what_was_begun_of_another_file_is_not_gone_on_with(fetch: Fetch, publisher: Server, ring: Ring) -> None:
    publisher.files = flatcar(ring.good)
    publisher.wrong[f"/{KERNEL}"] = cut_after(10_000)
    with pytest.raises(ImageError, match="ended after 10000"):
        fetch()
    publisher.files = flatcar(ring.good, kernel=kernel("6.12.1-flatcar"))  # the same name, other bytes: another tag
    publisher.wrong.clear()
    assert (fetch().folder / KERNEL).read_bytes() == kernel("6.12.1-flatcar")
    assert publisher.ranges(f"/{KERNEL}") == ["", "bytes=10000-"]


def test_stopped_after_the_last_byte(fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.good)
    publisher.wrong[f"/{KERNEL}"] = cut_after(10_000)
    with pytest.raises(ImageError, match="ended after 10000"):
        fetch()
    publisher.wrong.clear()
    [part] = cache.rglob("*.part")
    part.write_bytes(publisher.files[f"/amd64-usr/4230.2.1/{KERNEL}"])
    assert fetch().is_new
    assert publisher.ranges(f"/{KERNEL}") == ["", "bytes=40000-"]


def ignored(answer: Answer) -> None:
    """A server that says 206 and sends the beginning."""
    answer.say(206, b"x" * 100, Content_Range="bytes 0-99/100")


def too_far(answer: Answer) -> None:
    answer.say(416, b"", Content_Range="bytes */5")


@pytest.mark.parametrize("wrong", [ignored, too_far])
def test_what_is_not_the_rest_is_not_put_behind(
    wrong: Callable[[Answer], None], fetch: Fetch, publisher: Server, ring: Ring
) -> None:
    publisher.files = flatcar(ring.good)
    publisher.wrong[f"/{KERNEL}"] = cut_after(10_000)
    with pytest.raises(ImageError, match="ended after 10000"):
        fetch()
    publisher.wrong[f"/{KERNEL}"] = lambda answer: wrong(answer) if answer.headers.get("Range") else answer.serve()
    assert fetch().is_new
    assert publisher.ranges(f"/{KERNEL}") == ["", "bytes=10000-", ""]


def test_what_cannot_be_wanted(fetch: Fetch, publisher: Server, ring: Ring) -> None:
    publisher.files = flatcar(ring.good)
    for wrong, said in (
        ({"version": "../../etc"}, "cannot be a version"),
        ({"channel": "a/b"}, "cannot be a channel"),
        ({"channel": "gamma"}, "no channel 'gamma'(.|\n)*there are stable, beta, alpha, lts"),
        ({"arch": "s390x"}, "not published for s390x"),
    ):
        with pytest.raises(ParameterError, match=said):
            fetch(**wrong)
    with pytest.raises(ImageError, match=r"Flatcar has no 1\.2\.3 in stable for amd64(.|\n)*channels are stable, beta"):
        fetch(version="1.2.3")
    with pytest.raises(ParameterError, match=r"no longer published(.|\n)*images import"):
        fetch(CONTAINER_LINUX)


def test_other_processors_lie_beside(fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> None:
    tree = flatcar(ring.good)
    publisher.files = tree | {path.replace("amd64", "arm64"): data for path, data in tree.items()}
    fetch()
    assert fetch(arch="arm64").folder == cache / "releases/flatcar/4230.2.1-arm64"
    assert len(keeping.kept(cache)) == 2
