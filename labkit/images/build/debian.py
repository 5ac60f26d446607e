"""Making a tree of Debian packages with mmdebstrap(1)."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from labkit.images.build.recipe import EPOCH_S, Recipe, mode_of
from labkit.images.build.tools import run_tool
from labkit.images.rootfs import inside, matching
from labkit.images.store import Progress

ENVIRONMENT = {
    "SOURCE_DATE_EPOCH": str(EPOCH_S),
    "DEBIAN_FRONTEND": "noninteractive",
    "INITRD": "No",  # the kernel's package would build an initramfs, which nobody reads
}

HOOKS = "/usr/share/mmdebstrap/hooks/merged-usr"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""What Debian's packages are signed with. apt trusts it by itself on Debian only, where the machine's own are."""


def make_tree(recipe: Recipe, tree: Path, lock: int, progress: Progress) -> None:
    """Unpack and set up the recipe's packages.

    The mirror is mmdebstrap's own choice for the suite, with security updates, whatever this machine's sources are.
    """
    command = [
        *("mmdebstrap", "--mode=root", f"--variant={recipe.variant}", f"--hook-dir={HOOKS}"),
        f"--keyring={KEYRING}",
        f"--components={','.join(recipe.components)}",
        f"--include={','.join(recipe.packages)}",
        '--aptopt=Apt::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={glob}" for glob in recipe.excluded),
        *(f"--dpkgopt=path-include={glob}" for glob in recipe.included),
        *(recipe.suite, str(tree)),
    ]

    def tell(line: str) -> None:
        if line.startswith("I: ") and line.endswith("..."):
            progress(f"{recipe.name}: {line.removeprefix('I: ').removesuffix('...')}")

    run_tool(command, environment=ENVIRONMENT, keep_open=[lock], on_line=tell)


def in_tree(tree: Path, lock: int, *command: str) -> str:
    """Run a program of the tree, with the tree as its root."""
    return run_tool(["chroot", str(tree), *command], environment=ENVIRONMENT, keep_open=[lock])


def package_versions(tree: Path, lock: int) -> dict[str, str]:
    """The packages of a tree that has not been pruned yet, with their versions."""
    listed = in_tree(tree, lock, "dpkg-query", "--show", "--showformat", "${Package} ${Version}\\n")
    return dict(line.split(" ", 1) for line in listed.splitlines())


def drop(tree: Path, patterns: tuple[str, ...]) -> None:
    """Remove what a recipe drops, as far as it is there."""
    for pattern in patterns:
        for name in matching(tree, pattern):
            hit = inside(tree, name, follow=False)
            if hit.is_symlink() or not hit.is_dir():
                hit.unlink(missing_ok=True)  # a link on the way gives one thing two names
            else:
                shutil.rmtree(hit)


def lay_files(tree: Path, files: Mapping[str, bytes]) -> None:
    """Write a recipe's files into a tree, scripts so that they can be run. A link of that name is replaced."""
    for name, content in files.items():
        path = _place(tree, name)
        path.write_bytes(content)
        path.chmod(mode_of(content))


def lay_links(tree: Path, links: Mapping[str, str]) -> None:
    """Make links in a tree: their names, and what each leads to in there."""
    for name, target in links.items():
        _place(tree, name).symlink_to(target)


def lay_folders(tree: Path, names: Iterable[str]) -> None:
    """Have folders in a tree."""
    for name in names:
        inside(tree, name).mkdir(parents=True, exist_ok=True)


def _place(tree: Path, name: str) -> Path:
    """Where something new can be laid: its folder is there, and nothing of its name."""
    path = inside(tree, name, follow=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return path
