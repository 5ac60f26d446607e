"""Whatever a server, a network or a disk does wrong: no release is kept that is not whole, and each has a sentence."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labkit.errors import ImageError, LabkitError
from labkit.images.releases import cache as keeping
from labkit.images.releases.cache import BUSY
from labkit.images.releases.download import Client
from labkit.images.releases.layout import version_in_use
from labkit.images.releases.publishers import FEDORA_COREOS
from tests.rig.releases import (
    IMAGE,
    KERNEL,
    Ring,
    Server,
    circle,
    coreos,
    cut_after,
    digests,
    flatcar,
    hold,
    image,
    kernel,
    portal,
    stall_after,
    status,
    trickle,
)

from .conftest import Fetch

ROOT = Path(__file__).parents[3]
HERE = f"/amd64-usr/4230.2.1/{KERNEL}"
THERE = f"/amd64-usr/4230.2.1/{IMAGE}"
Damage = Callable[[Server, Ring], None]


def truncated_with_its_sum(publisher: Server, ring: Ring) -> None:
    publisher.files[THERE] = publisher.files[THERE][:1000]


def truncated(publisher: Server, ring: Ring) -> None:
    publisher.wrong[THERE] = cut_after(1000)


def one_bit(publisher: Server, ring: Ring) -> None:
    data = bytearray(publisher.files[HERE])
    data[777] ^= 1
    publisher.files[HERE] = bytes(data)


def one_bit_without_sums(publisher: Server, ring: Ring) -> None:
    one_bit(publisher, ring)
    del publisher.files[HERE + ".DIGESTS"]


def wrong_sum(publisher: Server, ring: Ring) -> None:
    publisher.files[HERE + ".DIGESTS"] = digests(KERNEL, b"something else")


def no_sum(publisher: Server, ring: Ring) -> None:
    publisher.files[HERE + ".DIGESTS"] = b"# SHA512 HASH\n"


def wrong_key(publisher: Server, ring: Ring) -> None:
    publisher.files[HERE + ".sig"] = ring.other.sign(publisher.files[HERE])


def no_signature(publisher: Server, ring: Ring) -> None:
    del publisher.files[HERE + ".sig"]


def empty_signature(publisher: Server, ring: Ring) -> None:
    publisher.files[HERE + ".sig"] = b""


def swapped_signatures(publisher: Server, ring: Ring) -> None:
    publisher.files[HERE + ".sig"] = publisher.files[THERE + ".sig"]


def another_build(publisher: Server, ring: Ring) -> None:
    for ending in ("", ".sig"):
        publisher.files[HERE + ending] = flatcar(ring.good, "4459.2.1")[f"/amd64-usr/4459.2.1/{KERNEL}{ending}"]


def another_build_with_its_sums(publisher: Server, ring: Ring) -> None:
    mine = flatcar(ring.good, kernel=kernel("6.6.80-flatcar"), image=image("6.12.9-flatcar"))
    publisher.files = mine


def another_versions_folder(publisher: Server, ring: Ring) -> None:
    publisher.files["/amd64-usr/4230.2.1/version.txt"] = b"FLATCAR_VERSION=4459.2.1\n"


def no_version(publisher: Server, ring: Ring) -> None:
    publisher.files["/amd64-usr/4230.2.1/version.txt"] = b"Index of /amd64-usr\n"


def a_circle_of_redirects(publisher: Server, ring: Ring) -> None:
    publisher.wrong[HERE] = circle


def a_stall(publisher: Server, ring: Ring) -> None:
    publisher.wrong[THERE] = stall_after(1000)


def a_stall_before_the_first_byte(publisher: Server, ring: Ring) -> None:
    publisher.wrong["/version.txt"] = stall_after(0)


def a_trickle(publisher: Server, ring: Ring) -> None:
    publisher.wrong[THERE] = trickle


def a_captive_portal(publisher: Server, ring: Ring) -> None:
    publisher.wrong[""] = portal


def a_portal_half_way(publisher: Server, ring: Ring) -> None:
    publisher.wrong[THERE] = portal


def a_portal_for_the_signature(publisher: Server, ring: Ring) -> None:
    publisher.wrong[HERE + ".sig"] = portal


def forbidden(publisher: Server, ring: Ring) -> None:
    publisher.wrong[HERE] = status(403)


def broken(publisher: Server, ring: Ring) -> None:
    publisher.wrong[HERE] = status(503)


def not_there(publisher: Server, ring: Ring) -> None:
    publisher.wrong[HERE] = status(404)


def huge_metadata(publisher: Server, ring: Ring) -> None:
    publisher.files["/amd64-usr/4230.2.1/version.txt"] = bytes(5 << 20)


DAMAGES: dict[Damage, str] = {
    truncated_with_its_sum: "its SHA-512 is not the one of this release",
    truncated: r"the connection ended after 1000 of \d+ bytes",
    one_bit: "its SHA-512 is not the one of this release",
    one_bit_without_sums: "is of other bytes",
    wrong_sum: "its SHA-512 is not the one of this release",
    no_sum: "neither a SHA-512 nor a SHA-256",
    wrong_key: "which is not one of Flatcar's",
    no_signature: "has no signature there",
    empty_signature: "there is no OpenPGP signature in it",
    swapped_signatures: "is of other bytes",
    another_build: "is of another build",
    another_build_with_its_sums: r"Linux 6\.6\.80-flatcar(.|\n)*modules for 6\.12\.9-flatcar",
    another_versions_folder: r"not of one build, 4230\.2\.1: version\.txt is of 4459\.2\.1",
    no_version: r"no version\.txt of Flatcar",
    a_circle_of_redirects: "from one address to the next, more than 5 times",
    a_stall: r"nothing has come from the server for 0\.3 s",
    a_stall_before_the_first_byte: r"nothing has come from the server for 0\.3 s",
    a_trickle: r"nothing has come from the server for 0\.3 s",
    a_captive_portal: "captive portal",
    a_portal_half_way: "captive portal",
    a_portal_for_the_signature: "captive portal",
    forbidden: r"the server answers 403(.|\n)*who you are",
    broken: "the server answers 503",
    not_there: r"no such file \(404\)",
    huge_metadata: "larger than 4 MiB",
}


STALLS = (a_stall, a_stall_before_the_first_byte, a_trickle)


@pytest.mark.parametrize("damage", DAMAGES, ids=[damage.__name__ for damage in DAMAGES])
def test_no_damage_is_kept(damage: Damage, fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.good)
    damage(publisher, ring)
    with pytest.raises(ImageError, match=DAMAGES[damage]) as caught:
        fetch(version="4230.2.1", stall_s=0.3 if damage in STALLS else 20)
    assert caught.value.where
    assert caught.value.fix
    assert keeping.kept(cache) == []
    assert version_in_use("flatcar", cache) == ""


@pytest.mark.parametrize("damage", [one_bit, truncated, truncated_with_its_sum, swapped_signatures, a_stall, wrong_key])
def test_a_server_that_is_mended_is_fetched_from(damage: Damage, fetch: Fetch, publisher: Server, ring: Ring) -> None:
    publisher.files = flatcar(ring.good)
    damage(publisher, ring)
    with pytest.raises(ImageError):
        fetch(version="4230.2.1", stall_s=0.3 if damage in STALLS else 20)
    publisher.files, publisher.wrong = flatcar(ring.good), {}
    assert fetch(version="4230.2.1").is_new


def test_an_expired_key(fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.expired)
    with pytest.raises(ImageError, match="has expired since"):
        fetch(trust=ring.expired.trust())
    assert keeping.kept(cache) == []


@pytest.mark.parametrize("part", ["kernel", "initramfs", "rootfs"])
def test_fedora_coreos_of_two_builds(part: str, fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = coreos(ring.good, base=publisher.url)
    other = coreos(ring.good, "43.20251027.3.0")
    mine, theirs = ({name.replace(version, "V"): data for name, data in tree.items()} for version, tree in (
        ("43.20251110.3.1", publisher.files), ("43.20251027.3.0", other)))  # fmt: skip
    for name in mine:
        if f"live-{part}" in name:
            publisher.files[name.replace("V", "43.20251110.3.1")] = theirs[name]
    with pytest.raises(ImageError, match="its SHA-256 is not the one of this release(.|\n)*another build"):
        fetch(FEDORA_COREOS)
    assert keeping.kept(cache) == []


def test_nobody_is_there(ring: Ring, fetch: Fetch, publisher: Server) -> None:
    publisher.files = flatcar(ring.good)
    with Client() as client, pytest.raises(ImageError, match="it cannot be reached") as caught:
        client.small("http://127.0.0.1:1/version.txt")
    assert "images: proxy" in caught.value.fix
    assert "0x" not in str(caught.value)
    with (
        Client(proxy="http://127.0.0.1:1") as client,
        pytest.raises(ImageError, match="the proxy does not take us there"),
    ):
        client.small("http://releases.example.test/version.txt")


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_limit_on_files(fetch: Fetch, publisher: Server, ring: Ring, cache: Path) -> None:
    publisher.files = flatcar(ring.good)
    with file_size_limit(100_000), pytest.raises(ImageError, match="the disk is full, or a limit(.|\n)*LABKIT_CACHE"):
        fetch()
    assert keeping.kept(cache) == []
    assert fetch().is_new  # and it went on where it was
    assert publisher.ranges(f"/{IMAGE}") == ["", "bytes=100000-"]


FULL_DISK = """
import sys
from pathlib import Path
from labkit.errors import LabkitError
from labkit.images.releases import cache as keeping
from labkit.images.releases.download import Client
from labkit.images.releases.fetch import Wanted, fetch
from labkit.images.releases.publishers import FLATCAR
from labkit.images.releases.signature import Trust
from dataclasses import replace
cache, url = Path(sys.argv[1]), sys.argv[2]
try:
    with Client() as client:
        fetch(replace(FLATCAR, base=url), Wanted(), client, Trust("Flatcar", frozenset()), cache=cache, progress=print)
except LabkitError as error:
    print("error:", error)
print("kept:", keeping.kept(cache))
"""


@pytest.mark.netns
def test_a_full_disk(publisher: Server, ring: Ring, tmp_path: Path) -> None:
    publisher.files = flatcar(ring.good, kernel=bytes(8 << 20))
    mount = f'mount -t tmpfs -o size=4m tmpfs {tmp_path} && exec "$0" -c "$1" {tmp_path} {publisher.url}'
    command = ["unshare", "--mount", "sh", "-c", mount, sys.executable, FULL_DISK]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "the disk is full" in said.stdout, said.stdout + said.stderr
    assert "kept: []" in said.stdout


def test_two_at_once_fetch_once(fetch: Fetch, publisher: Server, ring: Ring, told: list[str]) -> None:
    publisher.files = flatcar(ring.good)
    publisher.wrong[f"/{IMAGE}"] = hold
    found: list[bool] = []
    both = [threading.Thread(target=lambda: found.append(fetch().is_new)) for _ in range(2)]
    both[0].start()
    assert publisher.stalls.wait(20)
    both[1].start()
    until(lambda: BUSY in told)
    publisher.go_on.set()
    for thread in both:
        thread.join(20)
    assert sorted(found) == [False, True]
    assert publisher.counts(f"/{KERNEL}") == publisher.counts(f"/{IMAGE}") == 1


def test_killed_half_way_it_goes_on_where_it_was(
    fetch: Fetch, publisher: Server, ring: Ring, cache: Path, tmp_path: Path
) -> None:
    publisher.files = flatcar(ring.good)
    publisher.wrong[f"/{IMAGE}"] = stall_after(150_000)
    lab = tmp_path / "lab.yaml"
    lab.write_text(f"blades: [{{name: blade1}}]\nimages: {{mirror: {{flatcar: '{publisher.url}'}}}}\n")
    (tmp_path / "key.asc").write_bytes(ring.good.block)
    words = ["images", "fetch", "flatcar", "--key", str(tmp_path / "key.asc"), "--fingerprint", ring.good.primary]
    environment = {**os.environ, "LABKIT_CACHE": str(cache)}
    command = [sys.executable, "-m", "labkit", "--lab", str(lab), *words]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            part = cache / f"releases/flatcar/.fetching-4230.2.1/{IMAGE}.part"
            until(lambda: part.exists() and part.stat().st_size == 150_000)
        finally:
            process.send_signal(signal.SIGKILL)
    assert keeping.kept(cache) == []
    publisher.go_on.set()
    publisher.wrong.clear()
    assert fetch().is_new
    assert publisher.ranges(f"/{IMAGE}") == ["", "bytes=150000-"]


def until(reached: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    end = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_error_of_a_library_is_none_of_ours(fetch: Fetch, publisher: Server, ring: Ring) -> None:
    publisher.files = flatcar(ring.good)
    for headers in ({"Content_Length": "no number"}, {"Location": "http://["}, {"Location": "file:///etc/passwd"}):
        publisher.wrong[f"/{KERNEL}"] = status(302, **headers)
        with pytest.raises(LabkitError):
            fetch()
