"""No class of ours shares a name by chance with the class of somebody else's that it is made from.

What a parent keeps for itself is not in its documentation and changes with its version: `threading.Thread` got a
`_handle` in Python 3.13, and a thread of ours with a method of that name ended at its first packet. So every subclass
is compared with what its parents, as installed here, define and set.
"""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("labkit", "tests", "benchmarks")
MEANT = {
    "argparse.ArgumentParser": {"error", "format_help", "format_usage", "_check_value"},
    "socketserver.ThreadingMixIn": {"daemon_threads"},
    "socketserver.TCPServer": {"request_queue_size"},
    "socketserver.BaseRequestHandler": {"handle", "server"},
    "http.server.BaseHTTPRequestHandler": {"address_string", "log_message", "protocol_version"},
    "aiohttp.web_runner.AppRunner": {"_make_server"},
    "aiohttp.web_runner.BaseRunner": {"_make_server"},
    "aiohttp.web_runner.BaseSite": {"name", "start", "stop"},
    "jupyter_client.connect.ConnectionFileMixin": {"transport"},
    "IPython.core.interactiveshell.InteractiveShell": {"_showtraceback"},
    "_io.BytesIO": {"close"},
    "_io._TextIOBase": {"isatty"},
    "_io._IOBase": {"isatty"},
    "_io.StringIO": {"isatty"},
    "html.parser.HTMLParser": {"handle_starttag"},
    "requests.adapters.HTTPAdapter": {"init_poolmanager"},
    "asyncio.protocols.BaseProtocol": {"connection_made", "connection_lost"},
    "asyncio.protocols.Protocol": {"data_received"},
}
"""Names that a parent's documentation says are there to be overridden, or, with a server, to be declared anew. Two
are not in it: where a Python has no ``_check_value``, a misspelt verb is refused in argparse's words, and where an
aiohttp has no ``_make_server``, a CONNECT is left without an answer, which a test would show."""


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))


def _names(node: ast.ClassDef) -> set[str]:
    """What a class statement defines: methods, class attributes, and attributes that its methods set."""
    found = {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    for statement in node.body:
        for part in ast.walk(statement) if isinstance(statement, ast.Assign | ast.AnnAssign) else ():
            if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
                found.add(part.id)
    for method in _methods(node):
        owner = method.args.args[0].arg if method.args.args else ""
        for part in ast.walk(method):
            if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store) and ast.unparse(part.value) == owner:
                found.add(part.attr)
    return {name for name in found if not name.startswith("__")}  # those are Python's own, or mangled


@cache
def _names_of(parent: type) -> set[str]:
    """What a class that is there defines and sets; of a class without Python source, what it defines."""
    found = set(vars(parent))
    try:
        statements = _statements(inspect.getsourcefile(parent) or "")
    except (OSError, TypeError):
        return found
    return found.union(*map(_names, statements.get(parent.__qualname__, ())))


@cache
def _statements(file: str) -> dict[str, list[ast.ClassDef]]:
    """The classes of a file by their qualified names. Not `inspect.getsource`, which reads the file anew for each."""
    found: dict[str, list[ast.ClassDef]] = {}

    def look(node: ast.AST, inside: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                found.setdefault(inside + child.name, []).append(child)
                look(child, f"{inside}{child.name}.")
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                look(child, f"{inside}{child.name}.<locals>.")
            elif isinstance(child, ast.stmt | ast.excepthandler):  # no class statement is in an expression
                look(child, inside)

    look(ast.parse(Path(file).read_text(encoding="utf-8")), "")
    return found


class _File:
    """A file of ours: the classes in it, at any depth, and what its imports mean."""

    def __init__(self, text: str, module: str, *, is_package: bool = False) -> None:
        self.module = module
        nodes = list(ast.walk(ast.parse(text)))
        self.classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
        self._local = {node.name: node for node in self.classes}
        self._imported: dict[str, str] = {}
        here = module.split(".") if is_package else module.split(".")[:-1]
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    self._imported[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                above = here[: len(here) - node.level + 1] if node.level else []
                source = ".".join([*above, node.module or ""]).strip(".")
                for alias in node.names:
                    self._imported[alias.asname or alias.name] = f"{source}.{alias.name}"

    def foreign(self, node: ast.ClassDef) -> set[type]:
        """The classes that are not ours among all parents of a class."""
        found: set[type] = set()
        for base in node.bases:
            named = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)  # Generic[T] is Generic
            if named in self._local:
                found |= self.foreign(self._local[named])
                continue
            first, _, rest = named.partition(".")
            path = ".".join(filter(None, (self._imported.get(first, f"builtins.{first}"), rest)))
            special: dict[str, type] = {"typing.NamedTuple": tuple, "typing.TypedDict": dict}
            parent = special.get(path) or pkgutil.resolve_name(path)
            found |= {one for one in parent.__mro__ if one.__module__.partition(".")[0] not in OURS}
        return found - {object}

    def shared(self, node: ast.ClassDef) -> set[str]:
        """The names that a class has from its parents and defines again, without having been asked to."""
        parents = self.foreign(node)
        found = {name for parent in parents for name in _names_of(parent) & _names(node)}
        return found.difference(*(MEANT.get(f"{one.__module__}.{one.__qualname__}", set()) for one in parents))


def _read(path: Path) -> _File | None:
    """A file; None where no class of it has a parent, which is most."""
    text = path.read_text()
    if re.search(r"^ *class \w+\(", text, re.MULTILINE) is None:
        return None
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return _File(text, ".".join(parts[:-1] if is_package else parts), is_package=is_package)


def test_no_subclass_shares_a_name_with_its_parent_by_chance() -> None:
    found = {}
    paths = (path for folder in OURS for path in sorted((ROOT / folder).rglob("*.py")))
    for file in filter(None, map(_read, paths)):
        for node in file.classes:
            if shared := file.shared(node):
                found[f"{file.module}.{node.name}"] = sorted(shared)
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "import threading\nclass Server(threading.Thread):\n    def _bootstrap(self): ...",
        "import threading as t\nclass Server(t.Thread):\n    def __init__(self): self.a, self._target = 1, 2",
        "from threading import Thread\ndef make():\n    class Server(Thread):\n        _args = ()",
        "from threading import Thread\nclass A(Thread): ...\nclass B(A):\n    async def name(self): ...",
        "from typing import NamedTuple\nclass Row(NamedTuple):\n    count: int",
        "class Wrong(OSError):\n    def __init__(self, where): self.filename = where",
        "from asyncio import Protocol\nclass Talk(Protocol):\n    def pause_writing(self): ...",
    ],
)
def test_a_shared_name_is_found(text: str) -> None:
    file = _File(text, "labkit.example")
    assert any(map(file.shared, file.classes))


def test_what_a_parent_of_ours_defines_may_be_defined_again() -> None:
    file = _File("from labkit.events import Event\nclass Seen(Event):\n    def kind(self): ...", "labkit.example")
    assert file.shared(file.classes[0]) == set()
