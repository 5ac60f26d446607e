"""Why a boot stands where it stands: the likely causes of each step, by what was seen of it, the likeliest first.

Pure: a lab, a blade and the state its events fold to. Every cause comes with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from labkit import events
from labkit.events import stages
from labkit.events.stages import BladeState, LabState
from labkit.lab import Blade, BootMethod, ChassisKind, FirmwareKind, Lab


@dataclass(frozen=True)
class Cause:
    """A cause in words, and what to do about it."""

    what: str
    fix: str = ""


@dataclass(frozen=True)
class _Case:
    lab: Lab
    blade: Blade
    now: BladeState
    state: LabState

    @property
    def console(self) -> str:
        return f"./lab console {self.blade.name} --log"


def explain(lab: Lab, blade: Blade, state: LabState) -> tuple[str, tuple[Cause, ...]]:
    """What was last seen of a blade that is on its way, and what may hold it up."""
    case = _Case(lab, blade, state.blade(blade.name), state)
    look = _STEPS.get(case.now.step)
    if look is None:
        return case.now.doing, ()
    what, causes = look(case)
    return what, (*_everywhere(case), *causes)


def _everywhere(case: _Case) -> Iterator[Cause]:
    """What holds up any step."""
    for part in sorted(case.state.dead & {"bootd", "swarmd", "engine"}):
        what = f"{part}, a part of the lab, has died and not come back, or does not answer"
        yield Cause(what, f"read its log, {part}.log in .lab/logs")
    failed = case.now.failed
    if failed is not None:
        yield Cause(str(failed), failed_fix(failed))
    trouble = case.now.troubled
    if trouble is not None:
        yield Cause(trouble.detail, trouble.fix or "correct that, then switch the blade off and on again")


def failed_fix(failed: events.UnitFailed) -> str:
    """What to do about a unit that is down for good on a blade."""
    name = failed.blade
    if failed.unit == events.EMERGENCY:
        return f"./lab console {name} --log has its last words; mend its config, then switch it off and on again"
    log = f"./lab ssh {name} sudo journalctl --boot --unit {failed.unit} says it all"
    return f"{log}; mend its config, then switch it off and on again"


# --- firmware and DHCP ------------------------------------------------------------------------------------------------


def _firmware(case: _Case) -> tuple[str, list[Cause]]:
    name = case.blade.name
    causes = []
    for mac, stranger in case.state.strangers.items():
        if stranger.time >= case.now.began:
            fix = f"if that is {name}, put it into its macs in lab.yaml; if not: {stranger.adopt}"
            vendor = f" ({stranger.vendor})" if stranger.vendor else ""
            causes.append(Cause(f"a machine that is not in lab.yaml asks to boot: {mac}{vendor}", fix))
    causes += [
        Cause("its firmware does not boot from the network, or not from this card", ORDER),
        Cause(f"the card is not {case.blade.macs[0]}, or it is on another network", "compare macs with its label"),
        Cause("no link: cable, switch port, VLAN, or a spanning tree that opens the port late", "set portfast"),
        Cause("its firmware waits for somebody at the keyboard", f"read {case.console}"),
    ]
    return "it was switched on and has not asked for an address", causes


def _dhcp(case: _Case) -> tuple[str, list[Cause]]:
    asked = case.now.asked
    name = case.blade.name
    for step in ("loader", "config"):
        what, causes = _file_troubles(case, step)
        if what:
            return what, causes
    if asked is None:
        return "it asked for an address", []
    said = f"it sent DHCP {asked.message}, got {asked.reply or 'no answer'}, and asked for no file since"
    elsewhere = Cause(
        "another DHCP server on this network was quicker, and sent it elsewhere",
        "./lab doctor lists every server that answers; switch the other off, or keep it from this network",
    )
    if "chose the server" in asked.reason:
        return said, [Cause(f"it {asked.reason}, not labkit", elsewhere.fix)]
    if asked.client == "os":
        disk = Cause("an operating system on a disk of its own started, and not the network", ORDER)
        return f"it sent DHCP {asked.message} as an operating system does, not as a firmware", [disk]
    if not asked.reply or asked.reply == "NAK":
        return said, [Cause(asked.reason or "it was not answered", f"./lab events {name} has every message")]
    if not asked.file:
        reason = asked.reason or "no boot file for this kind of firmware"
        return said, [Cause(reason, f"set another boot method for {name} in lab.yaml")]
    if asked.reply == "OFFER" and case.lab.network.is_proxy:
        router = "./lab doctor says which server gives addresses; switch the router's DHCP on"
        return said, [
            Cause("the network's own DHCP server gives it no address, and labkit, as a proxy, gives none", router),
            Cause("its firmware listens to no proxy", "dhcp: server in lab.yaml, and the router's DHCP off"),
        ]
    if asked.reply == "OFFER":
        lost = Cause(
            "the offer does not reach it: DHCP snooping on the switch, or a spanning tree that opens the port late",
            "allow this port as a DHCP server on the switch, and set portfast on the blade's",
        )
        return said, [elsewhere, lost]
    port = f"TCP {case.lab.network.http_port}" if asked.file.startswith("http") else "UDP 69"
    closed = Cause(
        f"its request for {asked.file} does not arrive: a firewall closes {port}",
        "./lab doctor names the rule; the answer to TFTP comes from a port above 1024",
    )
    waits = Cause("iPXE waits after DHCP, on a slow machine up to half a minute", f"read {case.console}")
    return said, [closed, elsewhere, *([waits] if asked.client == "ipxe" else [])]


# --- files ------------------------------------------------------------------------------------------------------------


def _file_troubles(case: _Case, step: str) -> tuple[str, list[Cause]]:
    """The last file of a step: on its way, broken off, or not there. An empty text where all went well."""
    going = [one for one in case.now.fetching.values() if stages.step_of(one.path) == step]
    refused = [one for one in case.now.refused if stages.step_of(one.path) == step]
    if going:
        one = going[-1]
        had = f"has {one.sent_b:,} bytes of" if one.sent_b else "began to fetch"
        what = f"it {had} {one.path} ({one.size_b:,} bytes over {one.protocol}) and nothing since"
        causes = [Cause("packets are lost or the link is slow: a bad cable, or one side at half duplex", LINK)]
        if one.protocol == "tftp":
            causes.append(Cause("a firewall drops TFTP's answers, which come from a port above 1024", DOCTOR))
            causes.append(Cause("packets of this size do not get through: an MTU below 1500 on the way", LINK))
        return what, causes
    if not refused:
        return "", []
    one = refused[-1]
    if one.state == "missing":
        return f"it asked for {one.path} and got none: {one.reason}", [
            Cause(f"{one.path} is not there: {one.reason}", f"./lab explain {case.blade.name} lists what there is"),
        ]
    return f"the transfer of {one.path} broke off: {one.reason}", [
        Cause(f"the transfer broke off: {one.reason}", LINK),
        Cause("the blade was reset, or its loader gave up", f"read {case.console}"),
    ]


SHIM = "shimx64.efi"
"""As in the table of loaders, which lies in a room that this one does not need otherwise."""
ORDER = "in its firmware setup, put network boot (PXE) of the card in macs first"
LINK = "look at the errors of the link: ip -s link, and the switch port"
DOCTOR = "./lab doctor names the rule"
MORE_MEMORY = "give it more: memory: 2G in lab.yaml"


def _loader(case: _Case) -> tuple[str, list[Cause]]:
    what, causes = _file_troubles(case, "config")
    if what:
        return what, causes
    what, causes = _file_troubles(case, "loader")
    if what and case.now.fetching:
        return what, causes
    ways = ", ".join(method.value for method in BootMethod if method is not case.blade.boot)
    signed = "" if case.blade.boot is BootMethod.GRUB else f", of which {BootMethod.GRUB} has signed loaders"
    return "it has its boot loader and asked for no configuration since", [
        *(cause for cause in causes if what),
        Cause(
            "the loader is not for this firmware, or Secure Boot refuses it",
            f"read {case.console}; boot: {ways}{signed}",
        ),
        Cause("the loader cannot drive this network card", f"another boot method in lab.yaml: {ways}"),
    ]


def _config(case: _Case) -> tuple[str, list[Cause]]:
    what, causes = _file_troubles(case, "kernel")
    if what:
        return what, causes
    what, causes = _file_troubles(case, "config")
    found = [
        Cause("its menu waits for somebody at the keyboard", f"read {case.console}"),
    ]
    if case.blade.boot in (BootMethod.LPXELINUX, BootMethod.IPXE):
        port = case.lab.network.http_port
        found.insert(0, Cause(f"its request for the kernel over HTTP does not arrive: TCP {port} is closed", DOCTOR))
    return what or "it has its configuration and asked for no kernel since", [*causes, *found]


def _kernel(case: _Case) -> tuple[str, list[Cause]]:
    what, causes = _file_troubles(case, "initrd")
    if not what:
        what, causes = _file_troubles(case, "kernel")
    memory = Cause(
        f"{case.blade.memory_mib} MiB of memory are too few for the image", "give it more: memory: 2G in lab.yaml"
    )
    return what or "it has its kernel and asked for no initrd since", [*_signature(case), *causes, memory]


def _signature(case: _Case) -> Iterator[Cause]:
    """A blade that shim started, and that has its whole kernel: shim looks at it next, where Secure Boot is on."""
    if not case.now.fetched.get("kernel", stages.NOTHING).files or not _is_secure(case.lab, case.blade, case.now):
        return
    what = "Secure Boot refuses this kernel: it is damaged, or signed by nobody whom shim trusts"
    fix = "./lab images verify finds damage, and ./lab doctor says whose kernels shim trusts"
    yield Cause(what, f"read {case.console}: GRUB says it there; {fix}")


def is_refused(lab: Lab, blade: Blade, now: BladeState) -> bool:
    """Whether Secure Boot most likely refuses a blade's kernel: GRUB has it whole, and fetches it again and again."""
    had = now.fetched.get("kernel", stages.NOTHING).files
    return now.step == "kernel" and had > 2 and _is_secure(lab, blade, now)


def _is_secure(lab: Lab, blade: Blade, now: BladeState) -> bool:
    """Whether Secure Boot may be on: a virtual blade's firmware is known, and a real one was started by shim."""
    if lab.chassis.kind is ChassisKind.VIRTUAL:
        return blade.firmware is FirmwareKind.UEFI_SECURE
    return now.asked is not None and now.asked.file == SHIM


def _initrd(case: _Case) -> tuple[str, list[Cause]]:
    what, causes = _file_troubles(case, "initrd")
    if what:
        return what, causes
    found = [
        Cause("the kernel does not start or stopped: it says so on the console", f"read {case.console}"),
        Cause(
            f"{case.blade.memory_mib} MiB of memory are too few to unpack the image",
            MORE_MEMORY,
        ),
        Cause("this kernel has no driver for the network card", f"read {case.console}"),
    ]
    if case.blade.boot is BootMethod.LPXELINUX:
        found.insert(1, Cause("lpxelinux is known to hand over damaged memory on virtual blades", "boot: ipxe"))
    return "it has its kernel and initrds, and its system has not asked for an address", found


# --- the system -------------------------------------------------------------------------------------------------------


def _system(case: _Case) -> tuple[str, list[Cause]]:
    what = "its system asked for an address and has not told the lab that it is up"
    return what, [
        *_ticket(case),
        Cause("Ignition found a mistake in the config and stopped the boot", f"read {case.console}"),
        Cause("a unit of the config holds up the start of the system", f"read {case.console}"),
        Cause(f"its request to {case.lab.network.home_root} does not arrive", DOCTOR),
        *_tls(case),
    ]


def _join(case: _Case) -> tuple[str, list[Cause]]:
    name = case.blade.name
    log = f"./lab ssh {name} journalctl -u docker-swarm-join -u docker"
    ports = f"TCP 2377, TCP and UDP 7946, UDP {case.lab.swarm.vxlan_port}"
    what = "its system is up and it has not joined the swarm"
    ticket = case.now.ticket
    if ticket is not None and ticket.state == "redeemed":
        what = "it got its place in the swarm and has not said that it joined"
    return what, [
        *_ticket(case),
        Cause("its Docker engine does not start or cannot join", log),
        Cause(f"it cannot reach the manager: {ports}", f"./lab doctor; then {log}"),
        *_clock(case),
    ]


def _clock(case: _Case) -> Iterator[Cause]:
    if case.now.clock:
        yield Cause(f"its clock was {case.now.clock}; it was set by the lab's server before Docker started", "")
        return
    what = "its clock is wrong, and the swarm's certificates are not valid yet, or no longer"
    fix = f"./lab ssh {case.blade.name} date; journalctl -u labkit-clock there says why it was not set"
    yield Cause(what, fix)


def _tls(case: _Case) -> Iterator[Cause]:
    root = case.lab.network.home_root
    if case.lab.network.tls and not case.now.is_unbelieving:
        what = f"it does not believe the certificate of {root}: its clock is wrong, or its authority is another"
        yield Cause(what, f"read {case.console}: it says so there, with what to do")


def _ticket(case: _Case) -> Iterator[Cause]:
    ticket = case.now.ticket
    if ticket is not None and ticket.state == "refused":
        fix = "switch it off and on again: a new boot gets a new ticket"
        yield Cause(f"its ticket was refused: {ticket.reason}", fix)


_STEPS: dict[str, Callable[[_Case], tuple[str, list[Cause]]]] = {
    "firmware": _firmware, "dhcp": _dhcp, "loader": _loader, "config": _config, "kernel": _kernel, "initrd": _initrd,
    "ignition": _system, "os": _system, "join": _join,
}  # fmt: skip
