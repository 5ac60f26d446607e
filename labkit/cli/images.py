"""``./lab images …``: what is served, building it, and releases of other systems: fetched, chosen, removed."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit import images
from labkit.cli import arguments
from labkit.cli.answers import answer, load_lab, say
from labkit.cli.phases import Phases
from labkit.errors import ParameterError
from labkit.events import amounts, tables
from labkit.images.releases import cache as keeping
from labkit.images.releases import fetch as fetching
from labkit.images.releases import publishers
from labkit.images.releases.bring import bring as bring_release
from labkit.images.releases.download import Client
from labkit.images.releases.layout import PREVIOUS, version_in_use
from labkit.images.releases.signature import Trust
from labkit.workbook import next_steps


def add_verbs(front_verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add ``./lab images`` and its verbs with ``front_verb(name, run, words)``; without one it lists them."""
    parser = front_verb("images", show, "boot images: list, build, and releases of other systems")
    parser.add_argument("--json", action="store_true", help="print JSON")
    verb = arguments.sub_verbs(parser)
    sub = verb("list", show, "what the boot server serves, and the releases in the cache")
    sub.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
    verb("build", build, "build what the lab needs and is not there")
    sub = verb("fetch", fetch, "fetch a release, and keep it when its sums and its signature are right")
    sub.add_argument("system", choices=publishers.FETCHED, help=" or ".join(publishers.FETCHED))
    sub.add_argument(
        "--channel", "--stream", default="stable", help="stable (the default), beta, alpha, lts, or testing, next"
    )
    sub.add_argument("--version", default=publishers.LATEST, help="such as 4230.2.1; without it the channel's latest")
    _add_arch(sub)
    _add_key(sub)
    sub = verb("import", bring, "take a release from a folder or a tar file, verified in the same way")
    sub.add_argument("path", type=arguments.path, help="the files as published, each with its .sig")
    _add_arch(sub)
    _add_key(sub)
    sub = verb("verify", verify, "read every byte that is kept and compare it with what was verified or built")
    sub.add_argument("version", nargs="?", help="only this release")
    _add_os(sub)
    sub = verb("use", use, "let blades that name no version boot this release")
    sub.add_argument("version")
    _add_os(sub)
    sub = verb("roll-back", roll_back, "use the release again that was in use before")
    sub.add_argument("system", nargs="?", choices=list(publishers.PUBLISHERS), help="where more than one could go back")
    sub = verb("remove", remove, "remove a release that is not in use")
    sub.add_argument("version")
    _add_os(sub)
    sub = verb("prune", prune, "what earlier versions of labkit built and this one does not use")
    sub.add_argument("--yes", action="store_true", help="remove it; without this it is only listed")


def _add_arch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--arch", default="amd64", help="amd64 (the default) or arm64")


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--key", type=arguments.path, metavar="FILE", help="public keys to check signatures with")
    parser.add_argument(
        "--fingerprint", metavar="HEX", help="of the primary key to trust, where it is not the publisher's own"
    )


def _add_os(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--os", default="", choices=list(publishers.PUBLISHERS), help="where two have the same version")


def show(options: argparse.Namespace) -> int:
    """What is served, and which releases there are."""
    served = images.catalogue(load_lab(options))
    rows = [[name, str(path), "" if path.exists() else "missing"] for name, path in served.items()]
    text = tables.grid(["served as", "file", ""], rows)
    there = keeping.kept(images.cache_folder())
    if there:
        head = ["release", "version", "channel", "MiB", "fetched", ""]
        text += "\n\n" + tables.grid(head, [_row(one) for one in there])
    told = [{"name": name, "file": str(path), "there": path.exists()} for name, path in served.items()]
    answer({"served": told, "releases": [vars(one) for one in there]}, options.json, text)
    return 0


def _row(one: keeping.Kept) -> list[str]:
    use = "in use" if one.in_use else "before" if one.is_previous else ""
    return [one.os, one.version, one.channel or "-", f"{one.size_b / 2**20:.0f}", one.fetched[:10], use]


def build(options: argparse.Namespace) -> int:
    """Build what is missing."""
    lab = load_lab(options)
    with Phases() as progress:
        done = images.ensure_images(lab, progress=progress)
    print("\n".join(done))
    say(next_steps.after_images())
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Fetch a release, from the lab's mirror and by its proxy."""
    system, sources = publishers.PUBLISHERS[options.system], load_lab(options).images
    wanted = fetching.Wanted(options.channel, options.version, publishers.debian_arch(options.arch))
    with Client(proxy=sources.proxy) as http:
        found = fetching.fetch(
            system,
            wanted,
            http,
            _trust(options, system),
            cache=images.cache_folder(),
            progress=say,
            mirror=sources.mirror(system.name),
        )
    print(_tell(system.name, found))
    return 0


def bring(options: argparse.Namespace) -> int:
    """Import a release."""
    arch = publishers.debian_arch(options.arch)

    def trust(system: publishers.Publisher) -> Trust:
        return _trust(options, system)

    found = bring_release(options.path, trust, cache=images.cache_folder(), progress=say, arch=arch)
    print(_tell(found.folder.parent.name, found))
    return 0


def _trust(options: argparse.Namespace, system: publishers.Publisher) -> Trust:
    fingerprint = publishers.fingerprint(options.fingerprint) if options.fingerprint is not None else ""
    if options.key is not None:
        return fetching.given_trust(system, options.key, fingerprint)
    if fingerprint:
        fix = "name the file with the key that has it: --key FILE"
        raise ParameterError("a fingerprint alone is no key", fix=fix)
    return fetching.shipped_trust(system)


def _tell(system: str, found: fetching.Fetched) -> str:
    done = "proved and kept" if found.is_new else "it was there"
    use = "in use" if found.in_use else f"not in use: ./lab images use {found.version}"
    return f"{system} {found.version}: {done} in {found.folder}; {use}"


def verify(options: argparse.Namespace) -> int:
    """Compare what is kept with its manifests; ends at the first difference."""
    cache = images.cache_folder()
    load_lab(options)
    chosen = [keeping.find(options.version, cache, options.os)] if options.version else keeping.kept(cache)
    for one in chosen:
        say(f"{one.os} {one.version}: reading {one.folder}")
        keeping.verify(one.folder)
        print(f"{one.os} {one.version}: as it was proved, {one.folder}")
    built = [] if options.version else images.verify_images(progress=say)
    for line in built:
        print(line)
    if not chosen and not built:
        print("nothing is kept yet: ./lab images build, or ./lab images fetch")
    return 0


def use(options: argparse.Namespace) -> int:
    """Choose a release."""
    load_lab(options)
    one = keeping.find(options.version, images.cache_folder(), options.os)
    changed = keeping.use(one, images.cache_folder(), say)
    print(f"{one.os} {one.version}: {'in use from the next boot on' if changed else 'it was in use'}")
    return 0


def roll_back(options: argparse.Namespace) -> int:
    """Choose the release of before."""
    load_lab(options)
    cache = images.cache_folder()
    able = [system for system in publishers.PUBLISHERS if version_in_use(system, cache, which=PREVIOUS)]
    if options.system is None and len(able) != 1:
        said = f"{' and '.join(able)} could go back" if able else "no release was in use before the present ones"
        fix = "name the system: ./lab images roll-back SYSTEM" if able else "./lab images use VERSION takes one"
        raise ParameterError(said, fix=fix)
    system = options.system or able[0]
    now, before = keeping.roll_back(system, cache, say)
    print(f"{system}: from {now} back to {before}, from the next boot on")
    return 0


def remove(options: argparse.Namespace) -> int:
    """Remove a release."""
    load_lab(options)
    one = keeping.find(options.version, images.cache_folder(), options.os)
    keeping.remove(one, images.cache_folder(), say)
    print(f"removed: {one.folder}")
    return 0


def prune(options: argparse.Namespace) -> int:
    """List the images of earlier recipes, or remove them."""
    load_lab(options)
    if options.yes:
        removed = [f"{folder.parent.name}/{folder.name}" for folder in images.prune_images(progress=say)]
        print(f"removed: {', '.join(removed)}" if removed else "there is no old image")
        return 0
    for folder in (old := images.old_images()):
        size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
        print(f"{folder}: {amounts.size(size)} and its tree")
    if not old:
        print("there is no old image")
        return 0
    print("nothing was removed; a labkit of another version may boot from these. To do it: ./lab images prune --yes")
    return 0
