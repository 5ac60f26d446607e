"""The command line: what goes where, the flags of butane and ct, the exit statuses."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from labkit.ignition.cli import main

CASES = Path(__file__).parent / "cases"
BLADE = CASES / "blade.bu"


class Pipe:
    """Stands in for a standard stream, with the bytes below it."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)

    def flush(self) -> None:
        self.buffer.flush()

    def isatty(self) -> bool:
        return False


def run(monkeypatch: pytest.MonkeyPatch, *argv: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    streams = Pipe(stdin), Pipe(), Pipe()
    for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(f"sys.{name}", stream)
    status = main(list(argv))
    return status, streams[1].buffer.getvalue(), streams[2].buffer.getvalue().decode()


def test_json_alone_goes_to_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = run(monkeypatch, "transpile", str(BLADE))
    assert status == 0 and err == ""
    assert json.loads(out)["ignition"]["version"] == "3.4.0"


def test_mistakes_are_shown_with_their_lines_and_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = run(monkeypatch, "transpile", stdin=(CASES / "mistakes.bu").read_bytes())
    assert status == 1 and out == b""
    assert "warning[$.storage.files.0.mode]:\n  --> <stdin>:6:13\n" in err
    assert "|             ^^^ unreasonable mode" in err
    assert "fix: modes are octal: write 0644" in err


def test_strict_refuses_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"variant: flatcar\nversion: 1.0.0\ncolour: red\n"
    assert run(monkeypatch, "transpile", stdin=source)[0] == 0
    status, out, err = run(monkeypatch, "transpile", "-s", "--raw-errors", stdin=source)
    assert (status, out) == (1, b"")
    assert err == (
        "warning at $.colour, line 3 col 1: unused key colour\nConfig produced warnings and --strict was specified\n"
    )


def test_the_flags_of_ct_have_one_dash(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = tmp_path / "out.ign"
    source = b"etcd: {name: '{HOSTNAME}'}\n"
    status, out, _ = run(monkeypatch, "transpile", "-platform", "ec2", "-pretty", "-out-file", str(made), stdin=source)
    assert (status, out) == (0, b"")
    assert b"COREOS_EC2_HOSTNAME" in made.read_bytes()


def test_flags_as_go_spells_them(monkeypatch: pytest.MonkeyPatch) -> None:
    source = b"storage: {files: [{path: /a}]}\n"  # a warning: no mode
    assert run(monkeypatch, "transpile", "-strict=false", "--pretty=T", stdin=source)[:2] != (1, b"")
    assert run(monkeypatch, "transpile", "-strict=true", stdin=source)[:2] == (1, b"")
    assert b"\n  " in run(monkeypatch, "transpile", "-pretty=1", stdin=source)[1]
    status, _, err = run(monkeypatch, "transpile", "--color", str(CASES / "mistakes.bu"))
    assert status == 1 and "\x1b[1;31m" in err
    assert "\x1b" not in run(monkeypatch, "transpile", "--color=never", str(CASES / "mistakes.bu"))[2]


def test_a_forgotten_variant_is_recognised_by_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "error parsing variant" in run(monkeypatch, "transpile", stdin=b"version: 1.1.0\n")[2]


def test_validate_answers_as_ignition_validate_does(monkeypatch: pytest.MonkeyPatch) -> None:
    good = b'{"ignition": {"version": "3.3.0"}, "storage": {"files": [{"path": "a"}]}}'
    status, out, err = run(monkeypatch, "validate", "-", stdin=good)
    assert (status, out, err) == (1, b"error at $.storage.files.0.path, line 1 col 67: path not absolute\n", "")
    assert run(monkeypatch, "validate", stdin=b"") == (1, b"", "couldn't parse config: not a config (empty)\n")
    old = b'{"ignition": {"version": "2.3.0"}}'
    assert run(monkeypatch, "validate", stdin=old)[0] == 1
    assert run(monkeypatch, "validate", "--legacy", stdin=old)[0] == 0


def test_migrate_moves_the_articles_config(monkeypatch: pytest.MonkeyPatch) -> None:
    for system in ("flatcar", "fcos"):
        status, butane, _ = run(monkeypatch, "migrate", "--to", system, str(CASES / "article.clc"))
        assert status == 0
        status, out, err = run(monkeypatch, "transpile", "--strict", stdin=butane)
        assert (status, err) == (0, "")
        assert json.loads(out)["systemd"]["units"][0]["name"] == "docker-swarm-join.service"


def test_explain_and_its_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, _ = run(monkeypatch, "explain", str(BLADE))
    assert b"/etc/hostname: 6 bytes, mode 0644" in out
    _, out, _ = run(monkeypatch, "explain", "--diff", str(CASES / "article.clc"), str(BLADE))
    assert b"- docker-swarm-join.service is written and is enabled" in out


def test_wrong_usage_and_missing_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.argv", ["labkit"])
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", io.StringIO())
        assert main(["transpile", "--no-such-flag"]) == 2
    status, _, err = run(monkeypatch, "transpile", str(tmp_path / "none"))
    assert status == 1 and "No such file" in err


@pytest.mark.parametrize("verb", ["explain", "migrate"])
def test_local_files_and_metadata_are_found_by_every_verb_that_reads_a_config(
    verb: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "motd").write_text("hello from a file\n")
    source = b"storage: {files: [{path: /etc/motd, filesystem: root, mode: 0644, contents: {local: motd}}]}\n"
    source += b"etcd: {name: '{HOSTNAME}'}\n"
    status, _, err = run(monkeypatch, verb, "-d", str(tmp_path), stdin=source)
    assert status == 1 and "--platform" in err
    status, _, err = run(monkeypatch, verb, "--platform", "ec2", stdin=source)
    assert status == 1 and "--files-dir" in err
    status, out, _ = run(monkeypatch, verb, "-d", str(tmp_path), "--platform", "ec2", stdin=source)
    assert status == 0
    assert b"/etc/motd" in out and b"etcd-member.service" in out
    assert verb == "explain" or b"hello from a file" in out
