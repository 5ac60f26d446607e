"""Trying a finished image before it is kept: each of its programs has to answer, in the image itself.

A program may be there, with every file it names, and not run: with another system's loader, a library of another
version, or a file that was cut short. What a blade would find out at each start is found out here, once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from labkit.errors import ImageError
from labkit.images.build.tools import run_to_end
from labkit.images.exit_status import meaning
from labkit.images.rootfs import inside

LIMIT_S = 60.0

# $1 is an empty folder, $2 the tree, $3 and $4 the tree's folders for /proc and /dev. What the program writes goes to
# memory. Names are relative because overlayfs takes colons and commas in paths for its own. The shell stays: systemd
# for one answers nothing when it is the first process of its namespace.
SCRIPT = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir upper work root
ln -s "$2" lower
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
mount -t proc proc "root/$3"
mount --rbind /dev "root/$4"
shift 4
exec 3>&2 2>/dev/null # the shell has a line of its own for signals
(exec chroot root "$@" 2>&3 3>&-)
exit $?
"""


def try_programs(image: str, tree: Path, lock: int, commands: Iterable[Sequence[str]]) -> None:
    """Run each command with the tree as its root; nothing it writes stays.

    Raises ImageError, which names the program, how it ended and what it said last, when one does not end with 0.
    """
    for command in commands:
        status, said = _run(tree, lock, command)
        if status:
            last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
            raise ImageError(
                f"{' '.join(command)} does not run in the finished image, so it was not kept: "
                f"it ended with {status}, {meaning(status)}: {last}",
                where=f"the image {image}",
                fix="./lab images build tries again with Debian's packages of now; nothing half-made was left",
            )


def _run(tree: Path, lock: int, command: Sequence[str]) -> tuple[int, Sequence[str]]:
    places = [str(inside(tree, name).relative_to(tree)) for name in ("proc", "dev")]
    with tempfile.TemporaryDirectory(prefix="labkit-trial-") as scratch:
        words = ["sh", "-c", SCRIPT, "trial", scratch, str(tree), *places, *command]
        return run_to_end(words, keep_open=[lock], limit_s=LIMIT_S)
