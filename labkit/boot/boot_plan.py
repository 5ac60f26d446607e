"""A blade's boot as one value.

`plan` is pure: the same lab, blade, boot, secrets and config give the same `BootPlan`, and `resources` renders from it
every file the blade can ask for on its way up. Nothing is written to disk first, so nothing goes stale and no secret
rests there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from labkit import ignition
from labkit.boot.artifacts import cpio, ipxe, pxelinux, units
from labkit.boot.loaders import ASKERS, FILES, SCRIPT, SECOND_PARTS, Client, first_asker, loader, named
from labkit.errors import PlanError
from labkit.lab import Blade, BootMethod, Flavour, Lab
from labkit.lab.secret import Secret


@dataclass(frozen=True)
class BootSecrets:
    """What only this blade, on this boot, may know."""

    ticket: Secret


@dataclass(frozen=True)
class BaseConfig:
    """A person's own config for a blade, already Ignition JSON: ``name`` is the file it came from."""

    name: str
    config: Mapping[str, Any]


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
class Shape:
    """How an operating system wants to be booted: where its files lie, what it calls itself, which configs it reads.

    ``reads`` is the first and last Ignition spec its own Ignition understands.
    """

    label: str
    kernel: str
    image: str
    archive: str
    reads: tuple[str, str]
    extra: tuple[str, ...] = ()


SHAPES: Mapping[Flavour, Shape] = {
    # AppArmor is in Debian's kernel but its parser is not in the image: containers would fail to start. A kernel whose
    # system came broken starts the blade again, seconds later: PXELINUX takes what it has for the whole of a file when
    # an HTTP server dies under it.
    Flavour.LABOS: Shape(
        "labos",
        "labos/vmlinuz",
        "labos/labos.cpio",
        "labos/oem.cpio.gz",
        ("3.0.0", "3.3.0"),
        ("apparmor=0", "panic=20"),
    ),
    # The article's names, and the specs of Container Linux's last Ignition (0.33).
    Flavour.CONTAINER_LINUX: Shape(
        "coreos",
        "coreos/coreos_production_pxe.vmlinuz",
        "coreos/coreos_production_pxe_image.cpio.gz",
        "coreos/oem.cpio.gz",
        ("2.0.0", "2.3.0"),
    ),
}

CONSOLE_HINT = "append console=tty0 console=ttyS1 coreos.autologin=tty0"


@dataclass(frozen=True)
class BootPlan:
    """Everything that decides one boot of one blade.

    ``nbp`` is the boot file that DHCP names to the blade's firmware when it asks first; ``kernel`` and ``initrds`` are
    paths below the server's root, the blade's own archive last; ``arguments`` is the kernel command line; ``ignition``
    the config as JSON, which holds the ticket, or None for a boot without a config.
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


def plan(
    lab: Lab, blade: Blade, boot: str, secrets: BootSecrets, base: BaseConfig | None = None, *, ca: str = ""
) -> BootPlan:
    """The boot of one blade: its own config, and what makes it a node of this lab.

    ``ca`` is the certificate of the authority that vouches for the lab's servers, in PEM.
    Raises PlanError when ``base`` has a version that the blade's operating system cannot read, or writes a file that
    labkit needs.
    """
    shape = SHAPES[blade.os]
    arguments = ["coreos.first_boot=1", "coreos.config.url=oem:///raw.ign", *shape.extra]
    arguments += [f"console={console}" for console in blade.console]
    if blade.autologin:
        arguments.append("coreos.autologin")
    return BootPlan(
        blade=blade.name,
        boot=boot,
        method=blade.boot,
        os=blade.os,
        nbp=_first_file(lab, blade),
        kernel=shape.kernel,
        initrds=(shape.image, shape.archive),
        arguments=tuple(arguments),
        ignition=Secret(_config(lab, blade, boot, secrets, base, ca)),
    )


def plan_bare(lab: Lab, blade: Blade) -> BootPlan:
    """The article's first step: kernel and image, no config, nobody can log in."""
    shape = SHAPES[blade.os]
    return BootPlan(
        blade=blade.name,
        boot="",
        method=blade.boot,
        os=blade.os,
        nbp=_first_file(lab, blade),
        kernel=shape.kernel,
        initrds=(shape.image,),
        arguments=("coreos.first_boot=1",),
        ignition=None,
    )


def _first_file(lab: Lab, blade: Blade) -> str:
    client, firmware = first_asker(lab, blade)
    return named(lab.network, client, loader(blade.boot, client, firmware) or "")


def resources(lab: Lab, blade: Blade, plan: BootPlan) -> Mapping[str, Resource]:
    """Every path below the server's root that this boot may ask for, over TFTP or HTTP, without a leading slash."""
    root = lab.network.http_root + "/" if plan.method is BootMethod.LPXELINUX else ""
    menu = pxelinux.render_config(
        label=SHAPES[plan.os].label,
        kernel=root + plan.kernel,
        initrds=[root + path for path in plan.initrds],
        arguments=plan.arguments,
        hint=CONSOLE_HINT if plan.ignition and not blade.console else "",
    ).encode()
    script = ipxe.render_script(
        blade=plan.blade,
        root=lab.network.http_root,
        kernel=plan.kernel,
        initrds=plan.initrds,
        arguments=plan.arguments,
    ).encode()
    message = pxelinux.render_message(blade=plan.blade, os=plan.os).encode("ascii")
    files: dict[str, Resource] = {
        "boot.msg": Rendered(message),
        "boot.ipxe": Rendered(script),
        "pxelinux.cfg/default": Rendered(menu),
        **{pxelinux.config_name(mac): Rendered(menu) for mac in blade.macs},
        **{name: ImageFile(name) for name in FILES},
        plan.kernel: ImageFile(plan.kernel),
        plan.initrds[0]: ImageFile(plan.initrds[0]),
    }
    if plan.ignition is not None:
        files[plan.initrds[-1]] = Rendered(archive(plan.ignition), secret=True)
    return files


def archive(config: Secret) -> bytes:
    """``oem.cpio.gz``: the config at ``usr/share/oem/raw.ign``, where ``oem:///raw.ign`` is looked for."""
    return cpio.pack_gz({"usr/share/oem/raw.ign": config.reveal().encode()}, mode=0o600)


def tree(lab: Lab, blade: Blade, plan: BootPlan) -> Mapping[str, Resource]:
    """The part of `resources` that lies in the article's ``/tftpboot``: one loader, one configuration, one system.

    The loader is the one for a PXE ROM of the blade's firmware, BIOS or UEFI. Its second part and ``boot.msg`` are not
    in the article's listing: PXELINUX has needed the first since version 5, and his configuration shows the second.
    """
    files = resources(lab, blade, plan)
    _, firmware = ASKERS[blade.firmware]
    first = loader(plan.method, Client.PXE, firmware)
    assert first is not None, "every method has a loader for a PXE ROM"
    configuration = [SECOND_PARTS[first], "boot.msg", "pxelinux.cfg/default"] if first in SECOND_PARTS else [SCRIPT]
    return {name: files[name] for name in sorted([plan.kernel, *plan.initrds, first, *configuration])}


# --- the config ----------------------------------------------------------------------------------------------------


def _config(lab: Lab, blade: Blade, boot: str, secrets: BootSecrets, base: BaseConfig | None, ca: str) -> str:
    low, high = SHAPES[blade.os].reads
    own = _overlay(lab, blade, boot, secrets, high, ca)
    if base is None:
        return _json(own)
    config = dict(base.config)
    version = ignition.version_of(config)
    readable = _ordinal(low) <= _ordinal(version) <= _ordinal(high)
    if not readable and high.startswith("3."):
        try:
            config = ignition.translate(config, to=high)
        except ignition.IgnitionError as error:
            raise PlanError(
                f"Ignition {version} cannot be carried over to {high} for {blade.os}: {error}", where=base.name
            ) from None
    elif not readable:
        raise PlanError(
            f"this config is Ignition {version}, and the Ignition of {blade.os} reads {low} to {high}",
            where=f"{base.name} (for {blade.name})",
            fix="for labos, write Butane with variant: flatcar, version: 1.0.0; for container-linux, a Container "
            "Linux Config",
        )
    taken = {file["path"] for file in own["storage"]["files"]} & {
        file.get("path") for file in (config.get("storage") or {}).get("files") or ()
    }
    if taken:
        raise PlanError(
            f"this config writes {', '.join(sorted(taken))}, which labkit writes to make the blade a node of the swarm",
            where=f"{base.name} (for {blade.name})",
            fix="remove the file from the config; put a drop-in beside it where the program reads one",
        )
    return _json(ignition.merge(config, {**own, "ignition": {"version": config["ignition"]["version"]}}))


def _overlay(lab: Lab, blade: Blade, boot: str, secrets: BootSecrets, version: str, ca: str) -> dict[str, Any]:
    """What makes a booted machine a node of this lab, as Ignition of the 2.x or the 3.x family."""
    old = version.startswith("2.")

    def file(path: str, mode: int, text: str) -> dict[str, Any]:
        body: dict[str, Any] = {"path": path, "mode": mode, "contents": {"source": "data:," + quote(text)}}
        if old:
            body["filesystem"] = "root"
        else:
            body["overwrite"] = True
        return body

    engine = {"labels": [f"blade={blade.name}", f"boot={boot}"]}
    if lab.mirror:
        engine["registry-mirrors"] = [f"https://{lab.mirror}"]
    files = [
        file("/etc/hostname", 0o644, blade.name + "\n"),
        file("/etc/docker/daemon.json", 0o644, json.dumps(engine, indent=2) + "\n"),
        file(f"{units.FOLDER}/ticket", 0o600, f"X-Labkit-Ticket: {secrets.ticket.reveal()}\n"),
        *(
            file(f"/etc/docker/certs.d/{host}/ca.crt", 0o644, ca)
            for host in (lab.network.registry, lab.mirror)
            if ca and host
        ),
        *([file(units.CA, 0o644, ca)] if ca and lab.network.tls else []),
        *(file(script.path, script.mode, script.text) for script in units.swarm_scripts(lab.network.home_root)),
    ]
    config: dict[str, Any] = {
        "ignition": {"version": version},
        "storage": {"files": files},
        "systemd": {"units": [{"name": u.name, "enabled": True, "contents": u.contents} for u in units.swarm_units()]},
    }
    if lab.ssh_keys:
        config["passwd"] = {"users": [{"name": "core", "sshAuthorizedKeys": list(lab.ssh_keys)}]}
    return config


def _json(config: Mapping[str, Any]) -> str:
    return json.dumps(config, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _ordinal(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("-")[0].split("."))
