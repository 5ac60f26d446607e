"""A config of a person's own: saved beside the lab file and named there for one blade, booted, and taken back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labkit import ignition
from labkit.errors import LabkitError, ParameterError, on_file
from labkit.events import stages
from labkit.lab import lab_yaml
from labkit.lab.lab_yaml import adopt, rewrite
from labkit.lab.state import State, write_whole
from labkit.netboot import plans
from labkit.servers import client

FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(bu|yaml|yml|ign|json)")


@dataclass(frozen=True)
class Saved:
    """What was written, and what was there before: ``word`` behind ``config:`` of a blade, ``data`` in the file.

    The state folder keeps it, so that a cell that runs again, or a kernel after this one, can still take it back.
    """

    lab: Path
    blade: str
    file: Path
    word: str
    word_before: str | None
    data: bytes
    data_before: bytes | None

    def __str__(self) -> str:
        return f"saved as {self.file.name}, the config of {self.blade} in {self.lab.name} from its next boot on"


def save(lab_path: Path, state: State, blade: str, name: str, text: str) -> Saved:
    """Write the text into a file of that name beside the lab file, and name it there as this blade's config.

    One `undo` leads back to where the first of several saves began.

    Nothing stays written where the text makes no config, or one that this blade cannot boot with. Raises ParameterError
    for that and for a name that is no file's or somebody else's, LabFileError, FileError and PlanError.
    """
    file, data = lab_path.parent / name, text.encode("utf-8", "surrogateescape")
    if not FILE_NAME.fullmatch(name) or name == lab_path.name:
        what = f"{name!r} is no name for a config beside {lab_path.name}"
        raise ParameterError(what, fix="a name such as mine.bu, without a folder")
    looked = ignition.review(text, files_dir=lab_path.parent)
    if looked.config is None:
        what = "\n".join(["the text makes no config, and nothing was written:", *map(str, looked.entries)])
        raise ParameterError(what, fix="correct the text")
    lab_file = rewrite.open_lab(lab_path)
    before = _read(file)
    users = [one.name for one in lab_file.source.blades if file in one.config]
    if before not in (None, data) and users != [blade]:
        what = f"there is a {name} already" + (f", and it is the config of {', '.join(users)}" if users else "")
        raise ParameterError(what, where=str(file), fix="choose another name")
    word = json.dumps(name) if lab_file.source.text.lstrip().startswith("{") else name
    with on_file(state.path):
        state.make()
    _write(file, data)
    try:
        new, word_before = adopt.configure(lab_file.source, blade, word)
        saved = Saved(lab_path, blade, file, word, word_before, data, before)
        lab_file.write(new)
    except LabkitError:
        _write(file, before)
        raise
    try:
        show_plan(lab_path, state, blade)
    except LabkitError:
        _take_back(saved)
        raise
    saved = _joined(find_saved(lab_path, state, blade), saved)
    _keep(state, blade, saved)
    return saved


def _joined(first: Saved | None, then: Saved) -> Saved:
    """Two saves as one; a file that the first alone has written is as it was before."""
    if first is None or first.word != then.word_before:
        return then
    if first.file == then.file:
        return replace(then, word_before=first.word_before, data_before=first.data_before)
    if _read(first.file) == first.data:
        _write(first.file, first.data_before)
    return replace(then, word_before=first.word_before)


def find_saved(lab_path: Path, state: State, blade: str) -> Saved | None:
    """What `undo` would take back."""
    try:
        kept = json.loads(_record(state, blade).read_text())
        before = None if kept["data_before"] is None else base64.b64decode(kept["data_before"])
        file, data = lab_path.parent / kept["file"], base64.b64decode(kept["data"])
        saved = Saved(lab_path, blade, file, kept["word"], kept["word_before"], data, before)
    except (OSError, ValueError, LookupError, TypeError):  # there is none, or it was damaged
        return None
    return saved if kept["lab"] == str(lab_path) else None


def _keep(state: State, blade: str, saved: Saved | None) -> None:
    record = _record(state, blade)
    with on_file(record):
        if saved is None:
            record.unlink(missing_ok=True)
            return
        kept = {"lab": str(saved.lab), "file": saved.file.name, "word": saved.word, "word_before": saved.word_before}
        for key, data in (("data", saved.data), ("data_before", saved.data_before)):
            kept[key] = None if data is None else base64.b64encode(data).decode()
        write_whole(record, json.dumps(kept), mode=0o600)


def _record(state: State, blade: str) -> Path:
    return state.path / f"saved-{blade}.json"


def undo(lab_path: Path, state: State, blade: str) -> str:
    """Have the file and the lab file's key as they were before; what somebody has changed since stays. In words.

    Raises ParameterError where nothing was saved, or the lab file names another config by now.
    """
    saved = find_saved(lab_path, state, blade)
    if saved is None:
        what = f"nothing was saved here for {blade} that could be undone"
        raise ParameterError(what, fix=f"change its config: in {lab_path.name} yourself")
    words = _take_back(saved)
    _keep(state, blade, None)
    return words


def _take_back(saved: Saved) -> str:
    lab_file = rewrite.open_lab(saved.lab)
    new, word = adopt.configure(lab_file.source, saved.blade, saved.word_before)
    if word != saved.word:
        what = f"the config of {saved.blade} is {word or 'none'} by now, and not {saved.word}: nothing was undone"
        raise ParameterError(what, where=str(saved.lab), fix="change it there")
    lab_file.write(new)
    now = _read(saved.file)
    words = f"{saved.blade} boots as before from its next boot on"
    if now != saved.data:
        return f"{words}; {saved.file.name} was changed since, and stays"
    _write(saved.file, saved.data_before)
    return f"{words}; {saved.file.name} is {'gone' if saved.data_before is None else 'as it was'}"


def _read(file: Path) -> bytes | None:
    with on_file(file):
        return file.read_bytes() if file.exists() else None


def _write(file: Path, data: bytes | None) -> None:
    with on_file(file):
        if data is None:
            file.unlink(missing_ok=True)
        else:
            write_whole(file, data)


def show_plan(lab_path: Path, state: State, blade: str) -> tuple[str, dict[str, Any]]:
    """What a blade boots with, as the lab file says now: its plan and what its config does, in words; and the config.

    Raises PlanError where it cannot boot with it.
    """
    lab = lab_yaml.load(lab_path)
    plan, _ = plans.prepare(lab, state, lab.blade(blade))
    config = json.loads(plan.ignition.reveal()) if plan.ignition is not None else {}
    return f"{plan}\n\n{ignition.explain(config) if config else 'It gets no config.'}", config


def boot(
    lab_path: Path,
    blade: str,
    *,
    timeout_s: float,
    show: Callable[[stages.LabState], None] = lambda state: None,
    say: Callable[[str], None] = print,
) -> client.RunningLab:
    """Boot one blade anew, and no other, until its system is up. One that is in the swarm leaves it in order before.

    Raises as `labkit.servers.client.ensure_blades` does.
    """
    running = client.ensure_lab(lab_path, progress=say)
    mine = running.lab.blade(blade)
    if running.power_state(mine) != "off":
        say(f"{blade} is shutting down …")
        client.shut_down(running, mine)
    say(f"{blade} is booting …")
    client.ensure_blades(running, [mine], until="os", timeout_s=timeout_s, show=show)
    return running
