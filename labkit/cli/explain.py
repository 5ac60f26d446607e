"""``./lab explain``: a blade's plan, and every file that it may fetch."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labkit.cli import arguments
from labkit.cli.answers import answer, find_state, load_lab, say
from labkit.errors import ParameterError, on_file
from labkit.servers import client


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the verbs with ``verb(name, run, words, as_json=…)``, which gives their parsers."""
    sub = verb("explain", explain, "a blade's plan and every file it may fetch", as_json=True)
    sub.add_argument("blade")
    sub.add_argument(
        "--tree", type=arguments.path, metavar="FOLDER", help="write the files into a folder as for a TFTP server"
    )
    sub.add_argument(
        "--every-firmware", action="store_true", help="with --tree: loaders for any firmware, not the blade's alone"
    )
    sub.add_argument("--before", action="store_true", help="the boot without a config, the article's first step")


def explain(options: argparse.Namespace) -> int:
    """Print a blade's plan, or write its files into a folder."""
    from labkit.boot import ImageFile, plan_bare, resources, tree
    from labkit.boot.artifacts import cpio
    from labkit.images.needs import ended_advice, signature_advice
    from labkit.images.releases.where import release_of
    from labkit.netboot import configs, plans

    if options.every_firmware and not options.tree:
        raise ParameterError("--every-firmware is of a folder", fix="name it: --tree FOLDER")
    lab = load_lab(options)
    (blade,) = client.choose_blades(lab, [options.blade])
    alone = dataclasses.replace(lab, blades=(blade,))
    for advice in (*ended_advice(alone), *signature_advice(alone)):
        say(f"{advice.what}\n  fix: {advice.fix}")
    plan, files = plans.prepare(lab, find_state(options), blade)
    if options.before:
        plan = plan_bare(lab, blade, release_of(blade))
        files = resources(lab, blade, plan)
    if options.tree:
        return _write_tree(options.tree, tree(lab, blade, plan, every_firmware=options.every_firmware), lab)
    body: dict[str, Any] = {k: v for k, v in vars(plan).items() if k != "ignition"}
    body["files"] = {
        name: "on disk" if isinstance(resource, ImageFile) else len(resource.content)
        for name, resource in sorted(files.items())
    }
    lines = [f"{key:10} {value}" for key, value in body.items() if key != "files"]
    looked = configs.look(lab, blade)
    if blade.config:
        lines += [f"configs    {configs.names(lab, blade)}", *(f"  {line}" for line in looked.lines())]
    body["configs"] = looked.as_json()
    for name, resource in sorted(files.items()):
        if isinstance(resource, ImageFile):
            lines.append(f"\n--- {name}: a file on disk")
        elif resource.secret:
            inside = "" if name == plan.config else f"\n{cpio.listing(resource.content)}"
            lines.append(f"\n--- {name}: {len(resource.content)} bytes, only for {blade.name}{inside}")
        else:
            lines.append(f"\n--- {name}: {len(resource.content)} bytes\n{resource.content.decode()}")
    answer(body, options.json, "\n".join(lines))
    return 0


def _write_tree(folder: Path, files: Any, lab: Any) -> int:
    from labkit import images
    from labkit.boot import Rendered
    from labkit.images.rootfs import inside

    catalogue = images.catalogue(lab)
    for name, resource in files.items():
        target = inside(folder, name, follow=False)
        with on_file(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # a link to a loader's own file is replaced, and not written through
            if isinstance(resource, Rendered):
                target.write_bytes(resource.content)
            else:
                shutil.copyfile(catalogue[resource.name], target)
        print(name)
    return 0
