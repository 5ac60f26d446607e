"""Finding one's way on the command line: help, the version, what was meant by a misspelt word, completion."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import labkit
from labkit.cli import commands, front
from labkit.cli.arguments import FRONT_DOOR
from tests.rig.messages import messages

ROOT = Path(__file__).resolve().parents[2]
LISTED = re.compile(r"^  (?:\./lab )?([a-z][a-z-]*)  +\S", re.M)


def verbs() -> dict[str, argparse.ArgumentParser]:
    [found] = [action for action in commands._parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int) -> str:
    capsys.readouterr()
    assert commands.main(list(words)) == status
    told = capsys.readouterr()
    return told.out if status == 0 else told.err


def by_the_script(word: str) -> str:
    return subprocess.run([ROOT / "lab", word], capture_output=True, text=True, check=True).stdout


def test_both_helps_list_every_verb_once(capsys: pytest.CaptureFixture[str]) -> None:
    """That of the script, which needs no Python, and the parser's own; in groups."""
    for text in (by_the_script("--help"), said(capsys, "--help", status=0), said(capsys, "help", status=0)):
        assert sorted(LISTED.findall(text)) == sorted(verbs())
        assert all(f"\n{title}\n" in text for title in front.GROUPS)
        assert max(map(len, text.splitlines())) <= 120


def test_every_verb_says_what_it_is_called() -> None:
    for verb, parser in verbs().items():
        assert parser.format_usage().startswith(f"usage: {FRONT_DOOR} {verb}"), verb


@pytest.mark.parametrize("word", ["--version", "version"])
def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str], word: str) -> None:
    assert said(capsys, word, status=0) == by_the_script(word) == f"labkit {labkit.__version__}\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("rnu", "run"), ("stauts", "status"), ("Status", "status"), ("worbook", "workbook"),
        ("boot_report", "boot-report"), ("stup", "setup"), ("swarm mangers", "managers"), ("power onn", "on"),
        ("power shutdwn", "shutdown"),
        ("images biuld", "build"), ("completion fsh", "fish"), ("run -p replica=3", "replicas"),
        ("run nginx-service", "04-nginx-service"),
    ],
)  # fmt: skip
def test_what_was_meant_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: str, meant: str
) -> None:
    monkeypatch.setenv("LABKIT_LAB", str(ROOT / "lab.yaml"))
    told = said(capsys, *words.split(), status=2)
    assert re.search(rf"\n  fix: did you mean '?{meant}'?\?", told), told


def test_a_word_like_no_verb_gets_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "xylophone", status=2)
    assert "there is no verb 'xylophone'" in told and "did you mean" not in told and "fix: ./lab --help" in told


def test_a_blade_where_a_list_belongs_is_answered_with_the_blades(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABKIT_LAB", str(ROOT / "lab.yaml"))
    assert "blade1, blade2, blade3" in said(capsys, "run", "-p", "blades=blade9", status=2)


def test_chapters_and_day_two_are_not_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert "fix: name 05" in said(capsys, "run", "04", "--day-two", status=2)


@pytest.mark.parametrize("shell", front.SHELLS)
def test_each_shell_reads_its_completion(capsys: pytest.CaptureFixture[str], tmp_path: Path, shell: str) -> None:
    script = tmp_path / "completion"
    script.write_text(said(capsys, "completion", shell, status=0))
    assert "boot-report" in script.read_text() and "swarm" in script.read_text()
    if shutil.which(shell) is not None:
        subprocess.run([shell, "-n", script], check=True)


def test_bash_completes_a_verb(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """As bash asks: the function that is registered for ``lab``, with the words and the place of the cursor."""
    script = tmp_path / "completion"
    script.write_text(said(capsys, "completion", "bash", status=0))
    ask = f"""
        . {script}
        set -- $(complete -p lab)
        while [ "$1" != -F ]; do shift; done
        COMP_WORDS=(./lab boot-) COMP_CWORD=1 COMP_LINE='./lab boot-' COMP_POINT=11
        "$2" ./lab boot- ./lab
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["boot-report"], done.stderr


def test_verbs_of_the_script_say_where_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in front.OF_THE_SCRIPT:
        assert "fix: call it there: ./lab" in said(capsys, verb, status=2)


def test_messages_name_verbs_as_a_person_calls_them() -> None:
    """``./lab why``: labkit itself is not on the path."""
    bare = re.compile(rf"(?<![\w./-])labkit ({'|'.join(verbs())})\b(?! \w+:)")
    package = Path(labkit.__file__).parent
    found = {
        str(path.relative_to(package)): text
        for path in package.rglob("*.py")
        if bare.search(path.read_text(encoding="utf-8"))  # else there is no need to parse it
        for text in messages(path)
        if bare.search(text) and not text.startswith("labkit ignition: ")
    }
    assert found == {}


def test_the_page_says_what_each_verb_prints_for_scripts() -> None:
    def found(parser: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb, sub in action.choices.items():
                    yield from found(sub, f"{name} {verb}".strip())
            elif "--json" in action.option_strings:
                yield name

    page = (Path(__file__).parents[2] / "docs/commands.md").read_text()
    told = {line.split("`")[1].partition(" --")[0] for line in page.splitlines() if line.startswith("| `")}
    plain = {re.sub("( [A-Z]+)| status$", "", name) for name in told}
    assert {*found(commands._parser())} - {"images list", "swarm"} == plain - {""}
