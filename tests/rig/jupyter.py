"""JupyterLab as ``./lab workbook`` starts it, driven by a real browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.rig.front_door import FRONT_DOOR, FrontDoor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page
    from playwright.sync_api._generated import LocatorAssertions

TOKEN = "browser-tests"
SHOTS = Path(os.environ.get("LABKIT_SHOTS", FRONT_DOOR.parent / ".lab" / "screenshots"))
"""Where screenshots are kept, to be looked at."""
OURS = ".jp-OutputArea-output"
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"


def expect(locator: Locator) -> LocatorAssertions:
    """Playwright's own, imported where a browser is driven: it takes half a second, and each worker imports this."""
    from playwright.sync_api import expect

    return expect(locator)


@contextmanager
def workbook(door: FrontDoor, home: Path | None = None) -> Iterator[str]:
    """The address of a running workbook. JupyterLab's own files are in ``home``, else beside the lab."""
    home = home or door.folder
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**door.environment, "JUPYTER_TOKEN": TOKEN, "HOME": str(home)}
    with (home / "jupyter.log").open("wb") as log:
        server = subprocess.Popen(
            [*door.prefix, door.script, "workbook", "--port", str(port)], env=environment, cwd=door.folder,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_up(f"{address}/api/status?token={TOKEN}", server, log_path=home / "jupyter.log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGINT)
        try:
            os.killpg(server.pid, signal.SIGTERM)  # the first asks for a yes where there is a terminal
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_up(url: str, server: subprocess.Popen[bytes], *, log_path: Path) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert server.poll() is None, log_path.read_text()[-2000:]
            time.sleep(0.2)
    raise AssertionError(f"JupyterLab is not up: {log_path.read_text()[-2000:]}")


def bring_to_view(locator: Locator) -> None:
    """Scroll to what is drawn anew twice a second: Playwright's own way waits until an element stays where it is."""
    locator.evaluate("element => element.scrollIntoView({block: 'center'})")


@dataclass
class Book:
    """One notebook in a tab of its own."""

    page: Page
    name: str

    def run_all(self) -> None:
        """Run all cells: what is started before the kernel is ready is lost, so wait for that."""
        self.wait_idle()
        self.menu("Run", "Run All Cells")

    def menu(self, menu: str, item: str) -> None:
        """Choose from the menu bar."""
        self.page.get_by_role("menuitem", name=menu, exact=True).first.click()
        self.page.get_by_role("menuitem", name=re.compile(rf"^{re.escape(item)}")).last.click()

    def wait_idle(self, timeout_s: float = 60) -> None:
        """Wait until the kernel has nothing to do."""
        self.page.locator(".jp-StatusBar-TextItem", has_text=re.compile(r"Python 3.*\| Idle")).wait_for(
            timeout=timeout_s * 1000
        )

    def wait_ran(self, timeout_s: float = 180) -> None:
        """Wait until every cell has run: none is marked with an asterisk, and the last has its number."""
        last = self.page.locator(".jp-CodeCell .jp-InputPrompt").last
        deadline = time.monotonic() + timeout_s
        while not (re.search(r"\d", last.text_content() or "") and "*" not in self.prompts()):
            assert time.monotonic() < deadline, f"{self.name}: {self.prompts()}"
            assert not self.page.locator(".labkit-error").count(), self.page.locator(".labkit-error").inner_text()
            self.page.wait_for_timeout(200)

    def prompts(self) -> str:
        """The numbers beside the cells."""
        return " ".join(self.page.locator(".jp-CodeCell .jp-InputPrompt").all_text_contents())

    def run_cell(self, number: int) -> Locator:
        """Run one code cell, counted from 0; its output area."""
        cell = self.page.locator(".jp-CodeCell").nth(number)
        prompt = cell.locator(".jp-InputPrompt")
        before = prompt.text_content()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        for _ in range(150):
            if prompt.text_content() not in (before, "[*]:"):
                return cell.locator(".jp-OutputArea").first
            self.page.wait_for_timeout(200)
        raise AssertionError(f"{self.name}: cell {number} did not run: {prompt.text_content()}")

    def restart(self) -> None:
        """Restart the kernel, whatever it is doing."""
        self.menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog button", has_text="Restart").last.click()

    def save(self, folder: Path) -> Path:
        """Save the notebook; its file, once the server says that all of it is written.

        The server empties the file before it writes it, so the file's own times tell too early.
        """
        with self.page.expect_request(
            lambda asked: asked.method == "PUT" and asked.url.split("?")[0].endswith(self.name)
        ) as put:
            self.page.keyboard.press("Control+s")
        answer = put.value.response()
        assert answer is not None and answer.ok, f"{self.name} was not saved: {answer}"
        return folder / self.name

    def theme(self, name: str) -> None:
        """Switch the theme with the command palette."""
        self.page.keyboard.press("Control+Shift+C")
        palette = self.page.locator(".lm-CommandPalette-input")
        palette.fill(f"Use Theme: {name}")
        palette.press("Enter")
        self.page.wait_for_function(
            "dark => (document.body.dataset.jpThemeLight === 'false') === dark", arg=name == DARK
        )
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def shoot(self, name: str) -> None:
        """Keep a picture of the window."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def serious(self) -> list[str]:
        """What axe finds wrong in our outputs, of serious and critical kind."""
        from axe_playwright_python.sync_playwright import Axe

        results: Any = Axe().run(self.page, context=OURS)
        return [
            f"{found['id']}: {node['html'][:200]}"
            for found in results.response["violations"]
            if found["impact"] in ("serious", "critical")
            for node in found["nodes"]
        ]


def open_book(browser: Browser, address: str, name: str = "") -> Book:
    """Open a notebook in a workspace of its own; without a name, whatever the workbook opens by itself."""
    page = browser.new_page(viewport={"width": 1280, "height": 1600})
    workspace = re.sub(r"\W", "", name) or "start"
    path = f"/lab/workspaces/{workspace}/tree/{name}?reset&token={TOKEN}" if name else f"/?token={TOKEN}"
    page.goto(address + path)
    page.locator(".jp-Notebook").first.wait_for(timeout=60_000)
    return Book(page, name or "start")
