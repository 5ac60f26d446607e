"""A blade's boot as one value.

`plan` is pure: the same lab, blade, boot, secrets and config give the same `BootPlan`, and `resources` renders from it
every file the blade can ask for on its way up. Nothing is written to disk first, so nothing goes stale and no secret
rests there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from labkit.boot.artifacts import cpio, grub, ipxe, pxelinux
from labkit.boot.loaders import (
    ASKERS,
    FILES,
    LOADERS,
    SCRIPT,
    SECOND_PARTS,
    SHIM,
    SIGNED,
    Client,
    first_asker,
    loader,
    named,
)  # fmt: skip
from labkit.boot.overlay import BaseConfig, BootSecrets, config_of
from labkit.boot.systems import SYSTEMS, Files, Release, config_place, files_of
from labkit.lab import Blade, BootMethod, Flavour, Lab
from labkit.lab.secret import Secret


@dataclass(frozen=True)
class Rendered:
    """A file made from the plan. A ``secret`` one may only go to the blade it was made for."""

    content: bytes
    secret: bool = False


@dataclass(frozen=True)
class ImageFile:
    """A file that lies on disk; ``name`` is its key in the image catalogue (`labkit.images.catalogue`)."""

    name: str


Resource = Rendered | ImageFile


@dataclass(frozen=True)
class BootPlan:
    """Everything that decides one boot of one blade.

    ``nbp`` is the boot file that DHCP names to the blade's firmware when it asks first; ``kernel`` and ``initrds`` are
    paths below the server's root, the blade's own archive last; ``arguments`` is the kernel command line; ``ignition``
    the config as JSON, which holds the ticket, or None for a boot without a config. ``release`` is the version of a
    system that has several, empty else, ``fetched`` a path that the system itself fetches over HTTP, and ``config``
    that of its config where it fetches that too and has it in no archive; both empty for nothing. ``notes`` say what of
    a person's config does not count, since labkit needs it otherwise. ``version`` tells what the boot brings
    (`labkit.boot.boot_version`), where that was asked for.
    """

    blade: str
    boot: str
    method: BootMethod
    os: Flavour
    nbp: str
    kernel: str
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    ignition: Secret | None
    release: str = ""
    fetched: str = ""
    config: str = ""
    notes: tuple[str, ...] = ()
    version: str = ""

    def __str__(self) -> str:
        """The plan for a person, a line each of what there is; its config, which holds the ticket, is left out."""
        rows = {
            "blade": self.blade, "boot": f"{self.method}, {self.os} {self.release}".rstrip(), "loader": self.nbp,
            "kernel": self.kernel, "archives": ", ".join(self.initrds), "arguments": " ".join(self.arguments),
            "fetched": self.fetched, "config": self.config, "note": "; ".join(self.notes),
        }  # fmt: skip
        return "\n".join(f"{name:10} {value}" for name, value in rows.items() if value)


def plan(
    lab: Lab,
    blade: Blade,
    boot: str,
    secrets: BootSecrets,
    base: BaseConfig | None = None,
    *,
    ca: str = "",
    release: Release | None = None,
) -> BootPlan:
    """The boot of one blade: its own config, and what makes it a node of this lab.

    ``ca`` is the certificate of the authority that vouches for the lab's servers, in PEM. ``release`` is what is there
    of the blade's system, where that has releases.
    Raises PlanError when ``base`` has a version that the blade's operating system cannot read, or writes a file that
    labkit needs; when ``release`` is missing or lacks a file.
    """
    system, files = SYSTEMS[blade.os], files_of(blade, release)
    arguments = [*_first_arguments(lab, blade, files), *system.arguments]
    if blade.custom is None:
        arguments += [f"console={console}" for console in blade.console]
    if blade.autologin and system.autologin:
        arguments.append(system.autologin)
    if files.config:
        arguments.append(f"ignition.config.url={lab.network.http_root}/{files.config}")
    config, notes = config_of(lab, blade, boot, secrets, base, ca) if blade.is_node else (None, ())
    return BootPlan(
        blade=blade.name,
        boot=boot,
        method=blade.boot,
        os=blade.os,
        nbp=_first_file(lab, blade),
        kernel=files.kernel,
        initrds=(*files.initrds, files.archive) if files.archive else files.initrds,
        arguments=tuple(arguments),
        ignition=None if config is None else Secret(config),
        release=release.version if release is not None else "",
        fetched=files.fetched,
        config=files.config,
        notes=notes,
    )


def plan_bare(lab: Lab, blade: Blade, release: Release | None = None) -> BootPlan:
    """The article's first step: kernel and image, no config, nobody can log in. Raises PlanError for its release."""
    files = files_of(blade, release)
    return BootPlan(
        blade=blade.name,
        boot="",
        method=blade.boot,
        os=blade.os,
        nbp=_first_file(lab, blade),
        kernel=files.kernel,
        initrds=files.initrds,
        arguments=_first_arguments(lab, blade, files),
        ignition=None,
        release=release.version if release is not None else "",
        fetched=files.fetched,
    )


def _first_arguments(lab: Lab, blade: Blade, files: Files) -> tuple[str, ...]:
    """What a system is told in each boot: where its root is, if it fetches that, and that Ignition has to run."""
    if blade.custom is not None:
        return blade.custom.arguments
    system = SYSTEMS[blade.os]
    rootfs = (f"{system.rootfs_argument}{lab.network.http_root}/{files.fetched}",) if files.fetched else ()
    return (*rootfs, *system.first_boot)


def _first_file(lab: Lab, blade: Blade) -> str:
    client, firmware = first_asker(lab, blade)
    return named(lab.network, client, loader(blade.boot, client, firmware) or "")


def resources(lab: Lab, blade: Blade, plan: BootPlan) -> Mapping[str, Resource]:
    """Every path below the server's root that this boot may ask for, over TFTP or HTTP, without a leading slash."""
    root = lab.network.http_root + "/" if plan.method is BootMethod.LPXELINUX else ""
    menu = pxelinux.render_config(
        label=SYSTEMS[plan.os].label,
        kernel=root + plan.kernel,
        initrds=[root + path for path in plan.initrds],
        arguments=plan.arguments,
        hint=SYSTEMS[plan.os].hint if plan.ignition and not blade.console else "",
    ).encode()
    script = ipxe.render_script(
        blade=plan.blade,
        root=lab.network.http_root,
        kernel=plan.kernel,
        initrds=plan.initrds,
        arguments=plan.arguments,
    ).encode()
    signed = grub.render_config(
        blade=plan.blade, kernel=plan.kernel, initrds=plan.initrds, arguments=plan.arguments
    ).encode()
    message = pxelinux.render_message(blade=plan.blade, os=plan.os).encode("ascii")
    files: dict[str, Resource] = {
        "boot.msg": Rendered(message),
        "boot.ipxe": Rendered(script),
        "pxelinux.cfg/default": Rendered(menu),
        **{pxelinux.config_name(mac): Rendered(menu) for mac in blade.macs},
        grub.CONFIG: Rendered(signed),
        **{grub.config_name(mac): Rendered(signed) for mac in blade.macs},
        **{name: ImageFile(name) for name in (*FILES, *(SIGNED if plan.method is BootMethod.GRUB else ()))},
        **{name: ImageFile(name) for name in (plan.kernel, *plan.initrds, plan.fetched) if name},
    }
    if plan.ignition is not None and plan.config:
        files[plan.config] = Rendered(plan.ignition.reveal().encode(), secret=True)
    elif plan.ignition is not None:
        files[plan.initrds[-1]] = Rendered(archive(plan.ignition, config_place(blade)), secret=True)
    return files


def archive(config: Secret, place: str) -> bytes:
    """``oem.cpio.gz``: the config at ``place``, where a system's Ignition looks for it."""
    return cpio.pack_gz({place: config.reveal().encode()}, mode=0o600)


def tree(lab: Lab, blade: Blade, plan: BootPlan, *, every_firmware: bool = False) -> Mapping[str, Resource]:
    """The part of `resources` that lies in the article's ``/tftpboot``: one loader, one configuration, one system.

    The loader is the one for a PXE ROM of the blade's firmware, BIOS or UEFI; with ``every_firmware`` there are all
    that the boot method names to anybody. Its second part and ``boot.msg`` are not in the article's listing: PXELINUX
    has needed the first since version 5, and his configuration shows the second.
    """
    files = resources(lab, blade, plan)
    _, firmware = ASKERS[blade.firmware]
    one = loader(plan.method, Client.PXE, firmware)
    assert one is not None, "every method has a loader for a PXE ROM"
    every = {file for (method, _, _), file in LOADERS.items() if method is plan.method}
    names = {name for name in (plan.kernel, *plan.initrds, plan.fetched, plan.config) if name}
    for first in every if every_firmware else {one}:
        if first in SECOND_PARTS:
            names |= {first, SECOND_PARTS[first], "boot.msg", "pxelinux.cfg/default"}
        else:
            names |= {first, *((*SIGNED, grub.CONFIG) if first == SHIM else (SCRIPT,))}
    return {name: files[name] for name in sorted(names)}
