"""Ranges and conditions, line by line of RFC 9110 sections 13 and 14."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from labkit.netboot.http.ranges import Selection, Version, select

CHANGED_S = 1_700_000_000
IMAGE = Version(1000, "a1", CHANGED_S)
MENU = Version(15, "b2")
EMPTY = Version(0, "c3", CHANGED_S)
CHANGED, EARLIER, LATER = (formatdate(CHANGED_S + shift, usegmt=True) for shift in (0, -1, 1))


def get(version: Version = IMAGE, method: str = "GET", **headers: str) -> Selection:
    return select(method, CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()}), version)


def test_the_whole_file_and_what_is_told_of_it() -> None:
    assert get() == Selection(
        200, 0, 1000, {"ETag": '"a1"', "Accept-Ranges": "bytes", "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
    )
    assert get(MENU) == Selection(200, 0, 15, {"ETag": '"b2"', "Accept-Ranges": "bytes"})


@pytest.mark.parametrize(
    ("wanted", "start", "length"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-499", 0, 500),
        ("bytes=500-", 500, 500),
        ("bytes=999-", 999, 1),
        ("bytes=0-99999999", 0, 1000),
        ("bytes=-1", 999, 1),
        ("bytes=-5000", 0, 1000),
        ("bytes=900-18446744073709551615", 900, 100),
        ("Bytes= 5-6 ", 5, 2),
    ],
)
def test_a_part(wanted: str, start: int, length: int) -> None:
    got = get(range=wanted)
    assert (got.status, got.start, got.length) == (206, start, length)
    assert got.headers["Content-Range"] == f"bytes {start}-{start + length - 1}/1000"


@pytest.mark.parametrize("wanted", ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=18446744072002355200-"])
def test_a_part_that_is_not_there(wanted: str) -> None:
    got = get(range=wanted)
    assert (got.status, got.length, got.headers["Content-Range"]) == (416, 0, "bytes */1000")
    assert get(EMPTY, range="bytes=0-").status == 416


@pytest.mark.parametrize(
    "wanted",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=9-5",
        "bytes=0-1,4-5",
        "lines=1-2",
        "bytes=a-b",
        "bytes=--1",
        "bytes=" + "9" * 99,
    ],
)
def test_what_is_not_understood_gets_the_whole(wanted: str) -> None:
    assert get(range=wanted).status == 200


def test_a_head_has_no_range() -> None:
    assert get(method="HEAD", range="bytes=0-1") == get()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": '"a1"'}, 304),
        ({"if_none_match": 'W/"a1"'}, 304),
        ({"if_none_match": '"x", "a1"'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"'}, 200),
        ({"if_none_match": "a1"}, 200),
        ({"if_modified_since": CHANGED}, 304),
        ({"if_modified_since": LATER}, 304),
        ({"if_modified_since": EARLIER}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_none_match": '"x"', "if_modified_since": LATER}, 200),
        ({"if_match": '"a1"'}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": 'W/"a1"'}, 412),
        ({"if_match": '"x"'}, 412),
        ({"if_unmodified_since": CHANGED}, 200),
        ({"if_unmodified_since": EARLIER}, 412),
        ({"if_match": '"a1"', "if_unmodified_since": EARLIER}, 200),
        ({"if_match": '"x"', "if_none_match": '"a1"'}, 412),
    ],
    ids=str,
)
def test_conditions(headers: dict[str, str], status: int) -> None:
    got = get(IMAGE, "GET", **headers)
    assert got.status == status
    assert got.headers["ETag"] == '"a1"'
    assert get(IMAGE, "HEAD", **headers).status == status


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"a1"', 206), ('"x"', 200), ('W/"a1"', 200), (CHANGED, 206), (LATER, 200), (EARLIER, 200), ("yesterday", 200)],
)
def test_a_part_only_of_the_same_file(condition: str, status: int) -> None:
    assert get(range="bytes=5-9", if_range=condition).status == status


def test_what_is_made_when_asked_for_has_no_date() -> None:
    assert get(MENU, if_modified_since=LATER).status == 200
    assert get(MENU, if_unmodified_since=EARLIER).status == 200
    assert get(MENU, range="bytes=0-1", if_range=CHANGED).status == 200


@given(st.dictionaries(st.sampled_from("Range If-Range If-Match If-None-Match If-Modified-Since".split()), st.text()))
@settings(max_examples=300, deadline=None)
def test_no_header_breaks_it(headers: dict[str, str]) -> None:
    got = select("GET", CIMultiDict(headers), IMAGE)
    assert got.status in (200, 206, 304, 412, 416)
    assert 0 <= got.start <= got.start + got.length <= 1000
