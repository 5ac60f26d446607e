"""Files that Butane takes from folders (trees), and Podman's quadlets, which are files too.

Source: base/v0_*/translate.go of Butane 0.29; podman-systemd.unit(5).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path as FilePath
from typing import Any

from .. import files
from ..files import LocalFileError
from ..golang import paths
from ..report import Path
from ..spec.merge import note_source
from .lower import Lowering

Value = dict[str, Any]
EXISTS = "matching filesystem node has existing contents or different type"
QUADLET_FOLDER = "/etc/containers/systemd"


def apply(lowering: Lowering) -> None:
    """Take in trees and quadlets, unless what was lowered so far ends it."""
    if lowering.is_going_on:
        add_trees(lowering)
        add_quadlets(lowering)


def add_trees(lowering: Lowering) -> None:
    """Take in the folders of ``storage.trees``."""
    for index, tree in enumerate(lowering.config.get("storage", {}).get("trees", ())):
        came: Path = ("storage", "trees", index)
        if lowering.files_dir is None:
            lowering.found.error(came, files.NO_FOLDER)
            return
        try:
            root = files.locate(tree.get("local", ""), lowering.files_dir)
            try:
                is_folder = stat.S_ISDIR(FilePath(root).stat().st_mode)
            except OSError as error:
                raise LocalFileError(f"stat {root}: {files.reason(error)}") from None
        except LocalFileError as error:
            lowering.found.error(came, str(error))
            continue
        if is_folder:
            TreeWalk(lowering, tree, came).walk(root, tree.get("path") or "/")
        else:
            lowering.found.error(came, "root of tree must be a directory")


class NodeBook:
    """The files, directories and links of a config by path, so that none is made twice."""

    def __init__(self, lowering: Lowering) -> None:
        self.lowering = lowering
        self.storage: Value = lowering.result.setdefault("storage", {})
        self.nodes = {
            node.get("path", ""): (kind, index)
            for kind in ("files", "directories", "links")
            for index, node in enumerate(self.storage.get(kind, ()))
        }

    def existing(self, kind: str, target: str) -> tuple[int, Value | None]:
        """The index and value of a node of this kind; None if there is none."""
        found = self.nodes.get(target)
        if found is None or found[0] != kind:
            return 0, None
        return found[1], self.storage[kind][found[1]]

    def add(self, kind: str, node: Value, came: Path) -> tuple[int, Value]:
        """Add a node that ``came`` asks for. Raises `LocalFileError` if there is one at its path."""
        if node["path"] in self.nodes:
            raise LocalFileError(EXISTS)
        nodes = self.storage.setdefault(kind, [])
        index = len(nodes)
        nodes.append(node)
        self.nodes[node["path"]] = kind, index
        note_source(node, ("storage", kind, index), came, self.lowering.origins)
        if index == 0:
            self.lowering.origins["storage", kind] = came
        return index, node


class TreeWalk:
    """Takes in one folder: files and symlinks, and directories where the tree asks for modes or owners."""

    def __init__(self, lowering: Lowering, tree: Value, came: Path) -> None:
        self.lowering = lowering
        self.tree = tree
        self.came = came
        self.book = NodeBook(lowering)
        self.storage = self.book.storage
        self.owner = {who: dict(tree[who]) for who in ("group", "user") if tree.get(who)}

    def walk(self, source: str, target: str) -> None:
        try:
            self._visit(source, target, os.lstat(source).st_mode)
        except LocalFileError as error:
            self.lowering.found.error(self.came, str(error))

    def _visit(self, source: str, target: str, mode: int) -> None:
        target = paths.clean(target)
        try:
            if stat.S_ISDIR(mode):
                self._directory(target)
            elif stat.S_ISREG(mode):
                self._file(source, target, mode)
            elif stat.S_ISLNK(mode):
                self._link(source, target)
            else:
                self.lowering.found.error(self.came, "trees may only contain files, directories, and symlinks")
        except LocalFileError as error:
            self.lowering.found.error(self.came, str(error))
        if stat.S_ISDIR(mode):
            for name in sorted((below.name for below in FilePath(source).iterdir()), key=os.fsencode):
                below = f"{source}/{name}"
                self._visit(below, f"{target}/{name}", os.lstat(below).st_mode)

    def _directory(self, target: str) -> None:
        if self.tree.get("dir_mode") is None and not self.owner:
            return
        mode = self.tree.get("dir_mode", 0o755)
        self._add("directories", target, {"mode": mode})

    def _file(self, source: str, target: str, mode: int) -> None:
        index, node = self.book.existing("files", target)
        if node is not None and (node.get("contents") or {}).get("source"):
            raise LocalFileError(EXISTS)
        data = files.read_path(source)
        if node is None:
            index, node = self._add("files", target, {})
        at: Path = ("storage", "files", index)
        contents = node.setdefault("contents", {})
        self.lowering.put_source(data, contents, (*at, "contents"), self.came)
        self.lowering.origins[*at, "contents"] = self.came
        if node.get("mode") is None:
            node["mode"] = self.tree.get("file_mode", 0o755 if mode & 0o111 else 0o644)
            self.lowering.origins[*at, "mode"] = self.came

    def _link(self, source: str, target: str) -> None:
        index, node = self.book.existing("links", target)
        if node is not None and node.get("target"):
            raise LocalFileError(EXISTS)
        if node is None:
            index, node = self._add("links", target, {})
        node["target"] = str(FilePath(source).readlink())
        self.lowering.origins["storage", "links", index, "target"] = self.came

    def _add(self, kind: str, target: str, more: Value) -> tuple[int, Value]:
        owners = {who: dict(owner) for who, owner in self.owner.items()}
        return self.book.add(kind, {"path": target, **owners, **more}, self.came)


def add_quadlets(lowering: Lowering) -> None:
    """Write the quadlets of ``systemd.quadlets``: files where Podman looks, links for instances of templates."""
    quadlets = lowering.config.get("systemd", {}).get("quadlets", ())
    if not quadlets:
        return
    book = NodeBook(lowering)
    lowering.origins["storage",] = ("systemd", "quadlets")
    for index, quadlet in enumerate(quadlets):
        came: Path = ("systemd", "quadlets", index)
        folder = QUADLET_FOLDER if quadlet.get("rootful") else f"{QUADLET_FOLDER}/users"
        path = paths.join(folder, quadlet.get("name", ""))
        template = template_of(quadlet.get("name", ""))
        try:
            if template:
                at, _ = book.add("links", {"path": path, "target": template}, came)
                lowering.origins["storage", "links", at, "path"] = (*came, "name")
            else:
                _quadlet_file(book, quadlet, path, came)
        except LocalFileError as error:
            lowering.found.error(came, str(error))
        for number, dropin in enumerate(quadlet.get("dropins", ())):
            below: Path = (*came, "dropins", number)
            try:
                _quadlet_file(book, dropin, f"{path}.d/{dropin.get('name', '')}", below)
            except LocalFileError as error:
                lowering.found.error(below, str(error))


def template_of(name: str) -> str:
    """The template of an instance: ``web@.container`` for ``web@1.container``; empty if it is no instance."""
    at, dot = name.find("@"), name.rfind(".")
    return f"{name[:at]}@.{name[dot + 1 :]}" if at >= 0 and dot >= 0 and at + 1 != dot else ""


def _quadlet_file(book: NodeBook, value: Value, path: str, came: Path) -> None:
    lowering = book.lowering
    index, node = book.add("files", {"path": path}, came)
    at: Path = ("storage", "files", index)
    lowering.origins[*at, "path"] = (*came, "name")
    data, source = b"", came
    if value.get("contents_local"):
        source = (*came, "contents_local")
        try:
            data = files.read(value["contents_local"], lowering.files_dir)
        except LocalFileError as error:
            lowering.found.error(source, str(error))
            return
    if value.get("contents"):
        data, source = value["contents"].encode("utf-8", "surrogateescape"), (*came, "contents")
    node["mode"] = 0o644
    node["contents"] = {}
    lowering.put_source(data, node["contents"], (*at, "contents"), source)
    lowering.origins[*at, "contents", "compression"] = lowering.origins[*at, "mode"] = came
