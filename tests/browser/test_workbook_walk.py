"""The newcomer's walk through the workbook, from a clone to a clean ``git status``: by hand, and headless."""

from __future__ import annotations

import re
import time
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.rig.jupyter import TOKEN, bring_to_view, expect, workbook
from tests.rig.newcomer import Newcomer, newcomer
from tests.rig.person import Person
from tests.rig.walker import Walker

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.soak]
PAGE = "My own page"
PORT = 8090
SOON = 30_000
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


@pytest.mark.parametrize("hands", ["keyboard", "mouse"])
def test_the_newcomers_walk(browser: Browser, door: Newcomer, person: Person, hands: str) -> None:
    with workbook(door, person.folder(hands)) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 1600})
        walker = Walker(context.new_page(), by_keyboard=hands == "keyboard")
        walker.page.goto(f"{address}/?token={TOKEN}")
        start(walker)
        boot_and_serve(walker)
        own_page(walker)
        reset_from_outside(walker, door)
        undo(walker)
        context.close()
    assert door("down", timeout_s=120).returncode == 0
    assert door.leftovers() == []
    assert door.git("status", "--porcelain") == ""


def start(walker: Walker) -> None:
    """The workbook opens by itself, and a link leads to the chapter."""
    walker.panel.wait_for(timeout=60_000)
    walker.run_to(3)
    walker.wait_ran(180)
    walker.look("start")
    walker.press(walker.panel.locator(".labkit-table a", has_text="04 · nginx"))
    walker.wait_front("04-nginx-service")


def boot_and_serve(walker: Walker) -> None:
    """One blade boots, joins and serves: the page opens by its link."""
    choose_blade1(walker)
    walker.shoot("chosen")
    walker.go_on(2)
    board = walker.panel.locator(".labkit-board")
    expect(board).to_contain_text("dhcp", timeout=60_000)
    bring_to_view(board)
    walker.shoot("booting")
    walker.wait_ran(300)
    page = walker.panel.locator(".labkit-page")
    bring_to_view(page)
    walker.look("page")
    with walker.page.context.expect_page() as opened:
        walker.press(page.locator("a").first)
    assert opened.value.url == "http://10.77.0.11:8080/"
    expect(opened.value.locator("h1")).to_have_text("It works, from a blade without a disk.", timeout=SOON)
    opened.value.close()


def choose_blade1(walker: Walker) -> None:
    """Leave the others out, and go on as one does: by the cell in which the buttons are, once more."""
    walker.run_to(1)
    for other in ("blade2", "blade3"):
        walker.press(walker.panel.locator("button.labkit-slot", has_text=other))
    said = walker.panel.locator(".labkit-said").first
    expect(said).to_contain_text("Chosen: blade1.", timeout=SOON)
    walker.run_next()
    expect(said).to_contain_text("Chosen: blade1.", timeout=SOON)


def own_page(walker: Walker) -> None:
    """A config with another page is written, saved, and booted."""
    walker.open("02-ignition-authoring")
    choose_blade1(walker)
    walker.run_to(2)
    text = walker.panel.get_by_label("the text of article.yaml")
    walker.write(text, CONFIG)
    explained = walker.panel.locator(".lk-right").first
    expect(explained).to_contain_text("page.service", timeout=SOON)
    walker.run_next()
    expect(text).to_have_value(CONFIG, timeout=SOON)
    walker.run_to(3)
    own = walker.panel.locator(".lk-own")
    save, boot = (own.get_by_role("button", name=name) for name in ("Save as blade1's config", "Boot blade1 with this"))
    said = own.locator(".lk-said")
    walker.press(save)
    expect(said).to_contain_text("saved as blade1.bu", timeout=SOON)
    if walker.by_keyboard:
        expect(save).to_be_focused(timeout=SOON)
    walker.press(boot)
    expect(said).to_contain_text("blade1 is booting", timeout=200_000)
    if walker.by_keyboard:
        expect(boot).to_be_focused(timeout=SOON)
    bring_to_view(own)
    walker.look("own-booting")
    expect(said).to_contain_text("blade1 has booted with it.", timeout=300_000)
    walker.shoot("own-booted")
    fetch(OWN_PAGE)
    page = walker.page.context.new_page()
    page.goto(OWN_PAGE)
    expect(page.locator("h1")).to_have_text(PAGE, timeout=SOON)
    page.close()


def reset_from_outside(walker: Walker, door: Newcomer) -> None:
    """What a terminal does is seen in the pictures of both chapters, without a cell that runs."""
    board = walker.panel.locator(".labkit-board")
    expect(board).to_contain_text("1 of 1 in the swarm", timeout=60_000)
    check_end_state(door)
    assert door("power", "reset", "blade1", timeout_s=60).returncode == 0
    expect(board).to_contain_text("0 of 1 in the swarm", timeout=30_000)
    bring_to_view(board)
    walker.look("own-reset")
    walker.bring("04-nginx-service")
    expect(board).to_contain_text("0 of 1 in the swarm", timeout=30_000)
    expect(board).to_contain_text(re.compile("in (kernel|initrd|ignition|system|join)"), timeout=60_000)
    bring_to_view(board)
    walker.shoot("reset")
    walker.bring("02-ignition-authoring")


def undo(walker: Walker) -> None:
    own = walker.panel.locator(".lk-own")
    walker.press(own.get_by_role("button", name="Undo"))
    expect(own.locator(".lk-said")).to_contain_text("blade1.bu is gone", timeout=SOON)
    bring_to_view(own)
    walker.shoot("undone")


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
