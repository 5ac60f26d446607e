"""The parts below: the YAML dialect, units, paths, URLs, data: URLs, local files and trees."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import ignition
from labkit.ignition import IgnitionError, data_url, unit_file
from labkit.ignition.butane import modes
from labkit.ignition.clc import transpile
from labkit.ignition.golang import paths, quote, urls
from labkit.ignition.yaml import tree

HEAD = "variant: flatcar\nversion: 1.1.0\n"


def made(body: str, files_dir: Path | None = None) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(ignition.transpile(HEAD + body, files_dir=files_dir).config)
    return value


def refused(body: str, files_dir: Path | None = None) -> str:
    with pytest.raises(IgnitionError) as caught:
        ignition.transpile(HEAD + body, files_dir=files_dir)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("0644", 420),
        ("0o644", 420),
        ("0x1a4", 420),
        ("0b11", 3),
        ("1_0", 10),
        ("+07", 7),
        ("08", 8),
        ("4.9", 4),
        ("1e2", 100),
    ],
)
def test_numbers(text: str, mode: int) -> None:
    assert made(f"storage: {{files: [{{path: /a, mode: {text}}}]}}")["storage"]["files"][0]["mode"] == mode


@pytest.mark.parametrize("text", ['"0644"', "yes", "a", "2001-01-01", ".inf", "99999999999999999999"])
def test_what_is_no_number(text: str) -> None:
    assert "cannot unmarshal" in refused(f"storage: {{files: [{{path: /a, mode: {text}}}]}}") or text == ".inf"


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ('"on"', True), ("N", False), ("OFF", False), ("true", True)]
)
def test_truths(text: str, value: bool) -> None:
    assert made(f"systemd: {{units: [{{name: a.service, mask: {text}}}]}}")["systemd"]["units"][0]["mask"] is value


@pytest.mark.parametrize("text", ['"true"', "tRue", "1", "oN"])
def test_what_is_no_truth(text: str) -> None:
    assert "into bool" in refused(f"systemd: {{units: [{{name: a.service, mask: {text}}}]}}")


def test_crlf_bom_and_utf16_are_read() -> None:
    source = HEAD + "systemd: {units: [{name: é.service, mask: true}]}\n"
    plain = ignition.transpile(source).config
    for data in (source.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + source.encode(), source.encode("utf-16")):
        assert ignition.transpile(data).config == plain
    assert ignition.transpile(source + "---\n: [\n").config == plain


@given(st.text(alphabet="0123456789+-._eExXoObBaAnNfF~ytT:", max_size=8))
def test_every_scalar_resolves_to_a_tag(text: str) -> None:
    tag, value = tree.resolve("", text)
    assert tag == "!!str" or not isinstance(value, str) or tag in ("!!timestamp", "!!merge")


@given(st.binary(max_size=400))
def test_data_urls_give_back_what_was_put_in(data: bytes) -> None:
    for may_compress in (True, False):
        url, packed = data_url.encode(data, may_compress=may_compress)
        assert data_url.check(url) is None
        assert data_url.decode(url, "gzip" if packed else "") == data


def test_the_shortest_encoding_is_taken() -> None:
    assert data_url.encode(b"abc") == ("data:,abc", False)
    assert data_url.encode(b"\xff\xfe\xfd" * 4) == ("data:;base64,//79//79//79//79", False)
    assert data_url.encode(b"a" * 400)[1]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("DATA:,", "missing data prefix"),
        ("data:", "missing comma before data"),
        ("data:text", "missing media type slash"),
        ("data:,a b", "invalid data character"),
        ("data:,%2", "rfc2396: unexpected end of unescape sequence"),
        ("data:;base64,a", "illegal base64 data at input byte 0"),
        ("data:text/plain;charset=utf-8;base64,aGk=", None),
    ],
)
def test_wrong_data_urls(url: str, problem: str | None) -> None:
    assert data_url.check(url) == problem


@pytest.mark.parametrize("text", ["http://[", "http://a:b", "%zz", ":x", "a:b/c:d\n", "http://a b/", "//%41"])
def test_wrong_urls(text: str) -> None:
    assert urls.parse(text) is None and str(urls.problem(text)).startswith("parse ")


def test_urls_are_written_as_go_writes_them() -> None:
    for text, written in (("HTTP://x/a b?c d", "http://x/a%20b?c d"), ("http://x/a%2fb#é", "http://x/a%2fb#%C3%A9")):
        assert str(urls.parse(text)) == written


@given(st.lists(st.sampled_from(["", "/", "a", "..", ".", "b"]), max_size=8))
def test_cleaning_a_path_twice_is_cleaning_it_once(parts: list[str]) -> None:
    once = paths.clean("/".join(parts))
    assert paths.clean(once) == once and "//" not in once


def test_unit_names_are_escaped_as_systemd_does() -> None:
    assert unit_file.escape_path("/var/lib//my-data/") == "var-lib-my\\x2ddata"
    assert unit_file.escape_path("/") == "-" and unit_file.escape_path("/.hidden/ü") == "\\x2ehidden-\\xc3\\xbc"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[a", "unable to find end of section"),
        ("[a]b\n", 'found garbage after section name : "b"'),
        ("[a]\nb\n", "unexpected newline encountered while parsing option name"),
        ("[a]\nb", "EOF"),
        ("[a]\nb=c\\\n  d\n#x\\\ny\n", None),
    ],
)
def test_unit_files(text: str, problem: str | None) -> None:
    assert unit_file.parse(text)[1] == problem


def test_modes_in_decimal_are_recognised() -> None:
    suspects = [mode for mode in range(8000) if modes.looks_decimal(mode, directory=False)]
    assert suspects[:8] == [400, 440, 444, 500, 550, 555, 600, 640] and len(suspects) == 42
    assert sum(modes.looks_decimal(mode, directory=True) for mode in range(8000)) == 27


def test_sizes() -> None:
    assert (
        transpile.size_mib("1.5GiB") == (1536, None)
        and transpile.size_mib("2MB") == (2, None)
        and transpile.size_mib("0") == (0, None)
    )
    assert transpile.size_mib("1G")[1] == "units: unknown unit G in 1G"


def test_go_text() -> None:
    assert quote.quote('a"\n\x01é\u200b') == '"a\\"\\n\\x01é\\u200b"'
    assert quote.dumps({"a": "<&>\b\\b\u2028\x7f"}) == b'{"a":"\\u003c\\u0026\\u003e\\u0008\\\\b\\u2028\x7f"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "files"
    (inside / "tree/sub").mkdir(parents=True)
    (inside / "tree/run.sh").write_text("#!/bin/sh\n")
    (inside / "tree/run.sh").chmod(0o755)
    (inside / "tree/sub/a").write_text("a")
    (inside / "tree/link").symlink_to("sub/a")
    (inside / "keys").write_text("one\r\n\ntwo\n")
    (tmp_path / "outside").write_text("secret")
    (inside / "leak").symlink_to("../outside")
    (inside / "leaks").symlink_to("..")
    return inside


def test_local_files_and_trees(folder: Path) -> None:
    config = made(
        "storage:\n  trees: [{local: tree, path: /opt}]\n  files: [{path: /opt/sub/a, mode: 0600}]\n"
        "passwd: {users: [{name: core, ssh_authorized_keys_local: [keys]}]}\n"
        "systemd: {units: [{name: a.service, contents_local: tree/sub/a}]}",
        folder,
    )
    assert [(each["path"], each["mode"]) for each in config["storage"]["files"]] == [
        ("/opt/sub/a", 0o600),
        ("/opt/run.sh", 0o755),
    ]
    assert config["storage"]["links"] == [{"path": "/opt/link", "target": "sub/a"}]
    assert config["passwd"]["users"][0]["sshAuthorizedKeys"] == ["one", "two"]
    assert config["systemd"]["units"][0]["contents"] == "a"


@pytest.mark.parametrize("name", ["../outside", "leak", "leaks/outside", "tree/../../outside"])
def test_nothing_outside_the_folder_is_read(folder: Path, name: str) -> None:
    body = f"storage: {{files: [{{path: /a, contents: {{local: {name}}}}}]}}"
    assert "traverses outside the files directory" in refused(body, folder)
    assert "must be specified with -d/--files-dir" in refused(body)


def test_what_would_never_end_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "not a regular file" in refused("storage: {files: [{path: /a, contents: {local: pipe}}]}", folder)
    assert "may only contain files, directories, and symlinks" in refused("storage: {trees: [{local: .}]}", folder)


def test_trees_that_collide_or_are_missing(folder: Path) -> None:
    collision = "storage: {trees: [{local: tree}], files: [{path: /run.sh, contents: {inline: x}}]}"
    assert "matching filesystem node has existing contents" in refused(collision, folder)
    assert "no such file or directory" in refused("storage: {trees: [{local: none}]}", folder)
    assert "root of tree must be a directory" in refused("storage: {trees: [{local: keys}]}", folder)
    assert "traverses outside" in refused("storage: {trees: [{local: ../files2}]}", folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-", "invalid character ' ' in numeric literal"),
        ('{"ignition": tru', "invalid character ' ' in literal true (expecting 'e')"),
        ("[]", "cannot unmarshal array into Go value of type util.versionStub"),
        ('{"ignition": 1}', "Go struct field versionStub.Ignition of type struct { Version string }"),
    ],
)
def test_json_that_breaks_off(text: str, words: str) -> None:
    assert words in ignition.validate(text).raw()


def test_a_version_may_have_leading_zeros() -> None:
    assert ignition.validate('{"ignition": {"version": "03.3.0"}}').entries == ()


def test_a_child_config_needs_a_version() -> None:
    told = refused('ignition: {config: {replace: {inline: "{}"}}}')
    assert "error at $.ignition.version, line 3 col 11: invalid config version (couldn't parse)" in told
