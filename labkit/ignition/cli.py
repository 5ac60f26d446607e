"""``./lab ignition``: thin commands over the package. JSON alone on standard output, reports on standard error."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from . import terminal
from .analysis import fixes, pretty, wording
from .analysis.unit_lint import lint
from .butane import write
from .clc import transpile as clc
from .cli_options import normalise, parser
from .golang.quote import dumps
from .report import IgnitionError, Report
from .spec.check import Unsupported, parse, validate
from .spec.check import recognise as recognise_version
from .spec.upgrade import translate


def main(argv: list[str]) -> int:
    """Run one verb. Returns the exit status: 0, 1 for a config that is refused, 2 for wrong usage."""
    try:
        arguments = parser().parse_args(normalise(argv))
    except SystemExit as stop:
        return int(stop.code or 0)
    verbs = {"transpile": _transpile, "validate": _validate, "migrate": _migrate, "explain": _explain}
    try:
        return verbs[arguments.verb](arguments)
    except OSError as error:
        fix = "" if getattr(arguments, "raw_errors", False) else "  fix: name a file that can be read, or written\n"
        _say(f"{error.filename or 'config'}: {error.strerror}\n{fix}")
        return 1


def _say(text: str, *, coloured: bool = False) -> None:
    terminal.write(sys.stderr, text.encode("utf-8", "surrogateescape"), coloured=coloured)


def _read(name: str) -> bytes:
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


def _write(data: bytes, output: str | None) -> None:
    if output:
        Path(output).write_bytes(data)
    else:
        terminal.write(sys.stdout, data)


def _transpile(arguments: Namespace) -> int:
    from . import recognise, transpile

    name = arguments.in_file or arguments.file
    source = _read(name)
    notation = arguments.notation or ("butane" if arguments.raw_errors else recognise(source))
    folder = Path(arguments.files_dir) if arguments.files_dir else None
    platform = arguments.platform
    try:
        made = transpile(
            source,
            notation=notation,
            strict=arguments.strict,
            files_dir=folder,
            pretty=arguments.pretty,
            platform=platform,
        )
    except IgnitionError as error:
        _report(error.report, source, name, notation, arguments)
        if error.summary:
            fix = f"  fix: {error.fix}\n" if error.fix and not arguments.raw_errors else ""
            _say(f"{error.summary}\n{fix}")
        return 1
    _report(made.report, source, name, notation, arguments)
    if not arguments.check:
        newline = b"\n" if notation == "butane" or arguments.pretty else b""
        _write(made.config + newline, arguments.output)
    return 0


def _report(report: Report, source: bytes, name: str, notation: str, arguments: Namespace) -> None:
    if arguments.fixes and (notation == "clc" or arguments.raw_errors):
        _say("".join(f"{entry}\n" for entry in report))
    elif notation == "clc":
        _say(clc.raw(report))
    elif arguments.raw_errors:
        _say(report.raw())
    else:
        shown = "<stdin>" if name == "-" else name
        color = _wants_color(arguments.color)
        _say(pretty.render(report, source, shown, color=color), coloured=color)


def _wants_color(choice: str) -> bool:
    if choice in ("always", "yes", "never", "no"):
        return choice in ("always", "yes")
    return "NO_COLOR" not in os.environ and sys.stderr.isatty()


def _validate(arguments: Namespace) -> int:
    """As ignition-validate: remarks on standard output, since there is no config to write there."""
    data = _read(arguments.file)
    try:
        if recognise_version(data)[0].startswith("2.") and not arguments.legacy:
            raise Unsupported(
                "unsupported config version",
                fix="today's systems read spec 3: see ./lab ignition migrate, or --legacy",
            )
    except Unsupported as error:
        _say(f"couldn't parse config: {clc.garble(error.summary)}\n")
        if arguments.fixes and error.fix:
            _say(f"  fix: {error.fix}\n")
        return 1
    except IgnitionError as error:
        config, report = {}, error.report
    else:
        report = validate(data)
        config = parse(data)[0] if not report.is_fatal else {}
    if arguments.lint:
        report = Report(report.entries + lint(config).entries)
    text = clc.garble(report.raw())
    if arguments.fixes and report.entries:
        text = f"{fixes.add(report)}\n"
    _write(text.encode("utf-8", "surrogateescape"), None)
    return 1 if report.is_fatal else 0


def _migrate(arguments: Namespace) -> int:
    source = _read(arguments.file)
    try:
        if source.lstrip()[:1] == b"{" and b'"version"' in source:
            config = translate(parse(source)[0], arguments.to or "3.3.0")
            data = dumps(config, pretty=arguments.pretty) + b"\n"
        else:
            variant = arguments.to or "flatcar"
            text = write.migrate(source, variant, platform=arguments.platform, files_dir=arguments.files_dir)
            data = text.encode("utf-8", "surrogateescape")
    except IgnitionError as error:
        _say(f"{error}\n")
        return 1
    _write(data, arguments.output)
    return 0


def _explain(arguments: Namespace) -> int:
    try:
        config = _config(arguments.file, arguments)
        other = _config(arguments.diff, arguments) if arguments.diff else None
    except IgnitionError as error:
        _say(f"{error}\n")
        return 1
    text = wording.diff(other, config) if other is not None else wording.explain(config)
    _write(f"{text}\n".encode("utf-8", "surrogateescape"), None)
    return 0


def _config(name: str, arguments: Namespace) -> dict[str, Any]:
    """An Ignition config from a file in any of the notations."""
    from . import transpile

    source = _read(name)
    if source.lstrip()[:1] == b"{":
        return parse(source)[0]
    made = transpile(source, files_dir=arguments.files_dir, platform=arguments.platform)
    config: dict[str, Any] = json.loads(made.config)
    return config
