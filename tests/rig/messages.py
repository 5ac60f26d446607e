"""The texts of a module that a person may come to read: its strings but for its docstrings."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


@cache
def messages(path: Path) -> tuple[str, ...]:
    """Each string of a module; what an f-string fills in is ``…``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    inside = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    inside |= {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in nodes:
        if id(node) in inside:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values))
    return tuple(found)
