"""Slash-separated paths the way Go's package path cleans and joins them."""

from __future__ import annotations


def clean(path: str) -> str:
    """The shortest lexical equal: no empty, ``.`` or ``..`` step that can be resolved."""
    rooted = path.startswith("/")
    steps: list[str] = []
    for step in path.split("/"):
        if step in ("", "."):
            continue
        if step != "..":
            steps.append(step)
        elif steps and steps[-1] != "..":
            steps.pop()
        elif not rooted:
            steps.append(step)
    text = "/".join(steps)
    return "/" + text if rooted else text or "."


def join(*parts: str) -> str:
    """The parts that are not empty, joined and cleaned; empty if all are."""
    kept = [part for part in parts if part]
    return clean("/".join(kept)) if kept else ""


def check_absolute(path: str) -> str | None:
    """What Ignition has against a path on the machine, None if nothing."""
    if not path:
        return "path not specified"
    if not path.startswith("/"):
        return "path not absolute"
    return "path is not fully simplified" if clean(path) != path else None
