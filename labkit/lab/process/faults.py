"""What nobody foresaw, told in one sentence. Its details go to a file, and the exit status is EX_SOFTWARE (sysexits.h).

An error that labkit raises on purpose is a LabkitError and says itself what to do. So does what the system says of a
file that a person named. Everything else is a fault of ours: a person gets a sentence and the place of its details.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from labkit import __version__
from labkit.errors import FaultError, FileError, LabkitError
from labkit.lab.plain_text import Plain, raw

SECRET = re.compile(r"(?i)(pass|secret|token|key|credential)[^=]*=|://[^/]*@")
"""Words of a command line that may tell what nobody else should know."""


def guard(run: Callable[[], int | None], words: Sequence[str], logs: Callable[[], Path]) -> int:
    """Run a command and return its exit status; whatever goes wrong is told on standard error, never as a traceback.

    All that is written meanwhile is plain text (`labkit.lab.plain_text`).

    ``words`` are the command's own, for the details; ``logs()`` is the folder those are best kept in.
    """
    ensure_streams()
    threading.excepthook = lambda caught: _tell(caught.exc_value, words, logs)
    before = sys.stdout, sys.stderr
    for name, stream in zip(("stdout", "stderr"), before, strict=True):
        setattr(sys, name, Plain(raw(stream)))
    try:
        status = int(run() or 0)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return _close_output(0)
    except SystemExit as stop:  # argparse has said why
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        return _close_output(_tell(error, words, logs))
    finally:
        sys.stdout, sys.stderr = before


def guard_part(main: Callable[[], int | None]) -> int:
    """`guard` for a process that the lab starts: what it says on standard error goes to a log, or to who asked."""
    return guard(main, sys.argv, lambda: Path(os.environ["LABKIT_STATE"]) / "logs")


def named(error: BaseException, words: Sequence[str], logs: Callable[[], Path]) -> LabkitError:
    """An exception as a LabkitError. The details of one that is a fault of ours are written down."""
    if isinstance(error, LabkitError):
        return error
    if isinstance(error, OSError) and FileError.tells(error):
        return FileError.of(error)
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({Path(frame[0].filename).name}, line {frame[0].lineno})" if frame else ""
    said = " ".join(str(error).split())[:300]
    what = f"labkit has a fault of its own: {type(error).__name__}{': ' if said else ''}{said}{place}"
    try:
        kept = f"the details are in {_write(error, words, logs)}: please report the fault with that file"
    except OSError as failed:
        kept = f"its details could not be written down ({failed.strerror}); make room, and do it again"
    return FaultError(what, fix=kept)


def ensure_streams() -> None:
    """Have standard input, output and error, and let any text be written there.

    Where one is closed, the next file that is opened would take its number, and be written into by mistake.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # not by its number: a library may have opened a file under it by now, as libffi does
            setattr(sys, name, Path(os.devnull).open("r" if number == 0 else "w"))  # noqa: SIM115 - as long as we run
        elif number and hasattr(stream, "reconfigure"):  # names of files that are no UTF-8, terminals that are not
            stream.reconfigure(errors="surrogateescape" if stream.encoding.lower() == "utf-8" else "replace")


def _tell(error: BaseException | None, words: Sequence[str], logs: Callable[[], Path]) -> int:
    if error is None or isinstance(error, SystemExit):
        return 0
    known = named(error, words, logs)
    print(known, file=sys.stderr, flush=True)
    return known.status


def _close_output(status: int) -> int:
    """Let nothing more be written where nobody reads, or nothing can be written: Python would try at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):  # not a real one
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _write(error: BaseException, words: Sequence[str], logs: Callable[[], Path]) -> Path:
    """Write the details where the logs are, else into a temporary file. Raises OSError."""
    text = "\n".join((
        time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        f"labkit {__version__}, Python {platform.python_version()}, Linux {platform.release()} {platform.machine()}",
        f"called with {[_without_secret(word) for word in words]}, as user {os.geteuid()}",
        "", "".join(traceback.format_exception(error)),
    ))  # fmt: skip
    name = f"fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-"
    data = text.encode("utf-8", "backslashreplace")
    try:
        folder = logs()
        return _write_in(folder, name, data)
    except Exception:  # looking for the folder may be what fails
        return _write_in(Path(tempfile.gettempdir()), f"labkit-{name}", data)


def _write_in(folder: Path, name: str, data: bytes) -> Path:
    descriptor, path = tempfile.mkstemp(".txt", name, folder)  # for its owner alone to read
    with os.fdopen(descriptor, "wb") as file:
        if os.geteuid() == 0:
            owner = folder.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        file.write(data)
    return Path(path)


def _without_secret(word: str) -> str:
    found = SECRET.search(word)
    return f"{word[: found.end()]}…" if found else word
