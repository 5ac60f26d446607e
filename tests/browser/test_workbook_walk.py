"""The newcomer's walk through the workbook, from a clone to a clean ``git status``, headless."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.rig.newcomer import Newcomer, newcomer
from tests.rig.person import Person

pytestmark = [pytest.mark.browser, pytest.mark.soak]
PAGE = "My own page"
PORT = 8090
OWN_PAGE = f"http://10.77.0.11:{PORT}/"
CONFIG = f"""\
variant: flatcar
version: 1.1.0
storage:
  files:
    - path: /srv/page/index.html
      mode: 0644
      contents:
        inline: "<!doctype html><title>mine</title><h1>{PAGE}</h1>\\n"
systemd:
  units:
    - name: page.service
      enabled: true
      contents: |
        [Unit]
        Description=nginx with a page of this blade's own
        Requires=docker.service
        After=docker.service

        [Service]
        ExecStart=/usr/bin/docker run --rm --name page -p {PORT}:80 \\
          -v /srv/page:/var/www/html:ro 10.77.0.1:5000/nginx:labkit
        Restart=on-failure
        RestartSec=3

        [Install]
        WantedBy=multi-user.target
"""
"""A config as a person writes one: nginx with another page, on one blade, beside the swarm's."""


@pytest.fixture
def door(person: Person) -> Iterator[Newcomer]:
    with newcomer(person) as door:
        yield door


def test_the_same_walk_headless(door: Newcomer) -> None:
    """The same end state, by parameters."""
    mine = door.folder.parent / "mine.bu"
    mine.write_text(CONFIG)
    given = ['blades=["blade1"]', f"config={mine}", "save_as=blade1.bu", "boot_saved=true"]
    words = [word for one in given for word in ("-p", one)]
    try:
        done = door("run", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stdout, done.stderr)
        check_end_state(door)
        assert door("power", "reset", "blade1", timeout_s=60).returncode == 0
        again = door("run", "04", "-p", given[0])
        assert again.returncode == 0, again.stdout + again.stderr
        check_end_state(door)
        undone = door("run", "02", "-p", given[0], "-p", "undo_saved=true")
        assert undone.returncode == 0, undone.stdout + undone.stderr
    finally:
        mine.unlink()
    assert door("down", timeout_s=120).returncode == 0
    assert door.leftovers() == []
    assert door.git("status", "--porcelain") == ""


def check_end_state(door: Newcomer) -> None:
    """blade1 has its own config and its own page, is in the swarm, and answers for the service."""
    shipped = door.git("show", "HEAD:lab.yaml")
    assert (door.folder / "lab.yaml").read_text() == shipped.replace(
        "  - name: blade1\n", "  - name: blade1\n    config: blade1.bu\n"
    )
    assert (door.folder / "blade1.bu").read_text() == CONFIG
    assert door.git("status", "--porcelain") == " M lab.yaml\n?? blade1.bu\n"
    stages = door.connect().stages()
    assert {name: blade.stage for name, blade in stages.blades.items() if blade.power == "on"} == {"blade1": "joined"}
    assert f"<h1>{PAGE}</h1>" in fetch(OWN_PAGE)
    assert "It works, from a blade without a disk." in fetch("http://10.77.0.11:8080/")


def fetch(url: str, timeout_s: float = 120) -> str:
    """A page, once it is there: an image has to be fetched first."""
    end = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(1)
