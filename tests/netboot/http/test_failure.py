"""A blade whose Docker does not start says so: what is heard, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from labkit.events import UnitFailed
from labkit.netboot.http.blade_failure import LINES, LONGEST, read_failure
from tests.rig.http_server import Rig

SAID = """\
time="2026-01-01T00:00:00Z" level=info msg="Starting up"
\x1b[31munable to configure the Docker daemon with file /etc/docker/daemon.json: invalid character 'x'\x1b[0m\r
docker.service: Failed with result 'exit-code'.
"""
FORM = {
    "unit": "docker.service", "load": "loaded", "result": "exit-code", "status": "1", "said": SAID,
    "others": "docker.service containerd.service $(reboot)",
}  # fmt: skip


def test_it_becomes_an_event(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def talk(client: aiohttp.ClientSession) -> None:
        for data, status in ((FORM, 200), ({"unit": "docker"}, 400), ({}, 400)):
            async with client.post(f"{rig.root}/v1/failed", headers=rig.ticket, data=data) as answer:
                assert answer.status == status
        async with client.post(f"{rig.root}/v1/failed", data=FORM) as answer:
            assert answer.status == 403

    rig.run(talk)
    [failed] = rig.seen.of(UnitFailed)
    assert (failed.blade, failed.boot, len(failed.said)) == ("blade1", rig.boot.id, 3)
    assert str(failed) == (
        "Docker did not start (exit-code, exit status 1): unable to configure the Docker daemon with file "
        "/etc/docker/daemon.json: invalid character 'x'; failed as well: containerd.service"
    )


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"unit": "docker.service", "load": "masked", "result": "success"}, "Docker did not start (masked)"),
        ({"unit": "docker.service", "result": "timeout", "status": "0"}, "Docker did not start (timeout)"),
        ({"unit": "docker.service", "result": "<b>", "status": "1;"}, "Docker did not start"),
        ({"unit": "docker.service", "said": "docker.service: Failed with result 'exit-code'.\n"},
         "Docker did not start: docker.service: Failed with result 'exit-code'."),
        ({"unit": "docker-swarm-join.service", "result": "signal", "status": "9"},
         "docker-swarm-join.service failed (signal, exit status 9)"),
        ({"unit": "emergency.target", "result": "", "said": "Dependency failed for /data.", "others": "data.mount"},
         "its system came up in emergency mode: Dependency failed for /data.; failed as well: data.mount"),
    ],
)  # fmt: skip
def test_what_is_said_of_it(form: dict[str, str], words: str) -> None:
    assert str(read_failure(form, "blade1", "b1")) == words


def test_a_blade_says_no_more_than_is_good() -> None:
    form = {
        "unit": "docker.service",
        "said": "".join(f"{n} {'x' * 999}\n" for n in range(99)),
        "others": "a.mount " * 99,
    }
    failed = read_failure(form, "blade1", "b1")
    assert failed is not None and len(failed.said) == LINES and len(failed.others) == 10
    assert failed.detail.startswith("98 x") and all(len(line) <= LONGEST for line in failed.said)
    assert read_failure({"unit": "a" * 200 + ".service"}, "blade1", "b1") is None
    assert read_failure({"unit": "\u202edocker.service"}, "blade1", "b1") is None
