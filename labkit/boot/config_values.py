"""What a config may take from lab.yaml: ``{{ blade.name }}`` and its like. PURE.

Only an expression that begins with ``blade`` or ``lab`` is labkit's; it may use jinja2's filters. Everything else in
braces is somebody else's, as ``{{.Node.Hostname}}`` is Docker's, and stays as it is.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from labkit.ignition import Entry, Report
from labkit.lab import Blade, Lab

OURS = ("blade", "lab")
_OPEN = re.compile(r"\{\{-?[ \t]*(?P<name>[A-Za-z_]\w*)(?=[ \t]*(?P<next>[.\[|]|-?\}\}))")
_REST = re.compile(r"""(?P<rest>(?:"[^"\n]*"|'[^'\n]*'|[^"'\n}]|\}(?!\}))*?)-?\}\}""")
DOCS = "docs/lab-yaml.md has them all"


def values(lab: Lab, blade: Blade) -> dict[str, dict[str, Any]]:
    """All that a config of this blade may ask for: words, whole numbers, lists of them, and labels by name."""
    return {
        "blade": {
            "name": blade.name, "slot": blade.slot, "address": str(blade.address), "mac": blade.macs[0],
            "macs": list(blade.macs), "role": str(blade.role), "os": str(blade.os), "boot": str(blade.boot),
            "labels": SimpleNamespace(**blade.labels), **({"version": blade.version} if blade.version else {}),
        },
        "lab": {
            "name": lab.name, "server": str(lab.network.server), "controller": str(lab.network.controller),
            "subnet": str(lab.network.subnet), "prefix": lab.network.subnet.prefixlen,
            "netmask": str(lab.network.subnet.netmask), "registry": lab.network.registry, "chassis": lab.chassis.name,
            "blades": [each.name for each in lab.blades],
        },
    }  # fmt: skip


def fill(source: bytes, lab: Lab, blade: Blade) -> tuple[bytes, Report]:
    """A config with the values in place of what asks for them, and a remark for each that cannot be had.

    Lines stay lines, so that what a transpiler says of the result has the right one. A file that asks for nothing comes
    back as it is, whatever its encoding.
    """
    text = source.decode("utf-8", "surrogateescape")
    known = values(lab, blade)
    environment = ImmutableSandboxedEnvironment(undefined=_undefined(blade, known))
    made, wrong, done = [], [], 0
    for found in _OPEN.finditer(text):
        if found.start() < done:
            continue
        end, value, mistake = _answer(text, found, environment, known)
        if mistake is not None:
            line, column = text.count("\n", 0, found.start()) + 1, found.start() - text.rfind("\n", 0, found.start())
            wrong.append(Entry("error", mistake[0], (), line, column, fix=mistake[1]))
        made += [text[done : found.start()], value]
        done = end
    if not made:
        return source, Report()
    return "".join([*made, text[done:]]).encode("utf-8", "surrogateescape"), Report(tuple(wrong))


def _answer(
    text: str, found: re.Match[str], environment: jinja2.Environment, known: Mapping[str, Any]
) -> tuple[int, str, tuple[str, str] | None]:
    """Where an expression ends, what stands in its place, and what is wrong with it and how to mend that."""
    name = found["name"]
    if name not in OURS:
        near = difflib.get_close_matches(name.lower(), OURS, n=1, cutoff=0.8) if found["next"] in ".[" else []
        mistake = (f"lab.yaml has no {name!r} to give", f"did you mean {near[0]!r}? {DOCS}") if near else None
        return found.end(), found[0], mistake
    rest = _REST.match(text, found.end())
    if rest is None:
        return found.end(), found[0], ("this has no end", "close it on the same line, with }}")
    expression = name + rest["rest"]
    try:
        value = environment.compile_expression(expression, undefined_to_none=False)(**known)
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises, in the words of `_undefined`
    except (jinja2.UndefinedError, SecurityError) as error:
        what, _, fix = str(error).partition("\n")
        return rest.end(), "", (what, fix or f"ask for a value by its name; {DOCS}")
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        return rest.end(), "", (f"this cannot be worked out: {error}", f"write it like {{{{ blade.name }}}}; {DOCS}")
    if isinstance(value, bool | str | int | float):
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        if "\n" not in shown:
            return rest.end(), shown, None
    ways = f"take one of it, or {{{{ {expression.strip()} | join(',') }}}}"
    return rest.end(), "", (f"{expression.strip()!r} is not one value in one line", f"{ways}; {DOCS}")


def _undefined(blade: Blade, known: Mapping[str, Any]) -> type[jinja2.StrictUndefined]:
    """What stands for a name that is not there; used, it raises with what is wrong, a newline, and the fix."""

    def hint(where: Any, name: str) -> str:
        if where is known["blade"]["labels"]:
            label = f".{name}" if name.isidentifier() else f'["{name}"]'
            given = f"{{{{ blade.labels{label} | default('…') }}}}"
            return f"{blade.name} has no label {name!r}\ngive it one under labels in lab.yaml, or write {given}"
        having = next((one for one in OURS if where is known[one]), "")
        if not having:
            return f"there is no {name!r}\nan expression begins with blade or lab; {DOCS}"
        return f"{having} has no {name!r}\n{_advice(name, known[having])}"

    class Missing(jinja2.StrictUndefined):
        __slots__ = ()

        def __init__(
            self,
            given: str | None = None,
            obj: Any = None,
            name: str | None = None,
            exc: type[jinja2.TemplateRuntimeError] = jinja2.UndefinedError,
        ) -> None:
            super().__init__(given or hint(obj, str(name)), obj, name, exc)

    return Missing


def _advice(name: str, known: Mapping[str, Any]) -> str:
    if near := difflib.get_close_matches(name.lower(), known, n=1):
        return f"did you mean {near[0]!r}?"
    return f"it has {', '.join(known)}"
