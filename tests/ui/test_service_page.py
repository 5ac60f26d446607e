"""The page of a service in a notebook: links, and the page itself, which cannot reach into the notebook."""

from __future__ import annotations

import html
from html.parser import HTMLParser
from typing import Any

import pytest

from labkit.swarm.services.http_probe import Answer
from labkit.ui import service_page
from labkit.ui.service_page import show_page

PAGE = '<!doctype html><title>x</title><h1>It "works" & more</h1>\n'


def answer(blade: str, status: int = 200, body: str = PAGE, replica: str = "web.1.blade1") -> Answer:
    return Answer(blade, f"10.77.0.1{blade[-1]}", status, replica, 3.0, body)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(service_page, "display", lambda bundle, raw: shown.append(bundle))
    return shown


def test_there_is_a_link_a_blade_and_the_page(shown: list[dict[str, Any]]) -> None:
    show_page([answer("blade2"), answer("blade1"), answer("blade3", 0, ""), answer("blade1", body="later")], 8081)
    tags = Tags(shown[0]["text/html"]).found
    assert [attrs["href"] for tag, attrs in tags if tag == "a"] == ["http://10.77.0.11:8081", "http://10.77.0.12:8081"]
    [frame] = [attrs for tag, attrs in tags if tag == "iframe"]
    assert (frame["srcdoc"], frame["sandbox"], frame["title"]) == (PAGE, "", "The page that came from blade1")
    assert [tag for tag, _ in tags if tag in ("h1", "script")] == [], "the page is in its frame only"


def test_the_words_have_the_same(shown: list[dict[str, Any]]) -> None:
    show_page([answer("blade1")], 80)
    assert "http://10.77.0.11 " in shown[0]["text/plain"] and PAGE.rstrip() in shown[0]["text/plain"]


def test_a_name_that_is_markup_stays_a_name(shown: list[dict[str, Any]]) -> None:
    show_page([answer("blade1", replica="<script>")], 80)
    assert html.escape("<script>") in shown[0]["text/html"] and "<script>" not in shown[0]["text/html"]


def test_without_an_answer_there_is_no_page(shown: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    show_page([answer("blade1", 502)], 8080)
    assert shown == [] and "no blade answered" in capsys.readouterr().out
