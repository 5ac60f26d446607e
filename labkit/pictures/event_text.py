"""Events in a person's words, a line each."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from labkit import events
from labkit.events import Event
from labkit.events.amounts import about, size
from labkit.lab.plain_text import one_line

_CLIENTS = {"pxe": "the firmware", "ipxe": "iPXE", "http": "the firmware (HTTP boot)", "os": "the operating system"}
_FILES = (
    ("pxelinux.cfg/", "the loader's configuration"),
    ("grub.cfg", "the loader's configuration"),
    ("boot.ipxe", "iPXE's script"),
    ("vmlinuz", "the kernel"),
    ("/kernel/", "the kernel"),
    ("/initrd/", "the operating system"),
    ("config.ign", "the blade's own config"),
    ("live-kernel", "the kernel"),
    ("live-rootfs", "the root file system"),
    ("live-initramfs", "the operating system's first part"),
    ("oem.cpio", "the blade's own archive"),
    (".cpio", "the operating system"),
    ("ldlinux.c32", "the loader's library"),
    ("boot.msg", "the greeting"),
    ("linux.0", "the boot loader"),
    (".lst", "a list of the loader's modules"),
    (".kpxe", "the boot loader"),
    (".efi", "the boot loader"),
    (".c32", "a module of the loader"),
)
_DHCP = {
    "DISCOVER": "who am I?",
    "REQUEST": "I would like",
    "DECLINE": "somebody else uses",
    "RELEASE": "I give back",
    "INFORM": "tell me more",
}
_SWARM = {
    "joined": "joined the swarm", "ready": "is Ready in the swarm", "down": "is Down in the swarm",
    "removed": "is off the swarm's list", "ghost-removed": "its ghost is off the swarm's list",
    "rotated": "the join token was changed", "drained": "takes no more tasks", "activated": "takes tasks again",
    "promoted": "is a manager now", "demoted": "is a worker now", "init": "the swarm was made",
    "paused": "takes no new tasks", "recovered": "the swarm has a leader again",
    "silent": "nobody can join the swarm", "answers": "the swarm can be joined again",
}  # fmt: skip
_ROLL = {
    "waiting": "waits for its turn to boot the newest",
    "draining": "its turn to boot the newest has come: what runs there moves", "leaving": "is empty, and leaves",
    "booting": "boots the newest", "settling": "is back with the newest", "done": "runs the newest",
    "failed": "does not come to run the newest", "begun": "blades boot the newest, one after the other",
    "over": "the roll is over", "back leaving": "leaves, to boot what it ran before",
    "back booting": "boots what it ran before", "back settling": "is back with what it ran before",
    "back done": "runs what it ran before", "back failed": "does not come back with what it ran before either",
}  # fmt: skip
_LEAVE = {
    "asked": "says that it wants to leave", "drained": "its tasks have moved", "left": "has left the swarm",
    "removed": "is off the swarm's list", "failed": "could not leave in order",
}  # fmt: skip


def file_in_words(path: str) -> str:
    """What a file is for: ``the kernel``, ``the blade's own archive``."""
    return next((words for part, words in _FILES if part in path), "a file")


def in_words(event: Event) -> str:
    """What an event says, without its time and blade, on one line."""
    return one_line(_in_words(event))


def _in_words(event: Event) -> str:
    match event:
        case events.Power():
            told = {"on": "switched on", "off": "switched off", "soft-off": "the power button was pressed"}
            return told.get(event.state, event.state) + (f" ({event.detail})" if event.detail else "")
        case events.BootStarted():
            return "a new boot begins"
        case events.Held():
            return f"gets no kernel any more: {event.detail}" if event.state == "held" else "may boot again"
        case events.Dhcp():
            return _dhcp(event)
        case events.Transfer():
            return _transfer(event)
        case events.Phoned():
            told = {"os": "the operating system is up", "joined": "phones home: it is in the swarm"}
            return (
                told.get(event.stage, event.stage)
                + (f", {event.uptime_s:.0f} s after its kernel started" if event.uptime_s >= 0 else "")
                + (f"; its clock was {event.clock} and was set" if event.clock else "")
            )
        case events.Ticket():
            return f"its ticket was {event.state}" + (f": {event.reason}" if event.reason else "")
        case events.Leave():
            return _LEAVE.get(event.step, event.step) + (f" ({event.detail})" if event.detail else "")
        case events.Swarm():
            words = _SWARM.get(event.action, event.action)
            return f"node {event.node[:12]} {words}" if event.node and not event.blade else words
        case events.Roll():
            return _ROLL.get(event.step, event.step) + (f" ({event.detail})" if event.detail else "")
        case events.Service():
            if event.action == "answered":
                return f"its port answered {event.count} times by {event.detail}"
            if event.action == "running":
                return f"runs {event.detail}"
            return f"service {event.name}: {event.action}" + (f" ({event.detail})" if event.detail else "")
        case events.UnknownMachine():
            vendor = f" ({event.vendor})" if event.vendor else ""
            return f"a machine that is not in lab.yaml asks to boot: {event.mac}{vendor}"
        case events.Trouble():
            return f"trouble: {event.detail}"
        case events.Stuck():
            return f"stands still in {event.step} for {event.seconds:.0f} s: {event.what}"
        case events.Space():
            return str(event) if event.state == "full" else "there is room for Docker again"
        case events.Measured():
            return f"is too hot: {event.hot}" if event.hot else f"measures {str(event) or 'nothing'}"
        case events.UnitFailed():
            return str(event)
        case events.Inventoried():
            who = f"the machine with {event.macs[0]} says" if event.macs and not event.blade else "says"
            return f"{who} what it is made of: {event.words}"
        case events.HardwareChange():
            return f"since it told last: {event.detail}"
        case events.Note():
            return event.detail
        case events.Part():
            return f"{event.part} {event.state}" + (f": {event.detail}" if event.detail else "")
        case events.Clock():
            return f"the clock of the lab's machine was set {about(event.by_s)} {'ahead' if event.by_s > 0 else 'back'}"
        case events.Blades():
            came, went = ", ".join(event.added), ", ".join(event.removed)
            changes = (f"{came} came" if came else "", f"{went} went" if went else "")
            return f"the lab's blades are others now: {', '.join(filter(None, changes))}"
        case events.LabEvent():
            return f"the lab is {event.state}"
    return event.kind


def _dhcp(event: events.Dhcp) -> str:
    who = _CLIENTS.get(event.client, "the machine")
    asks = f"{who} asks: {_DHCP.get(event.message, event.message)}"
    if event.message in ("REQUEST", "DECLINE", "RELEASE") and event.address:
        asks += f" {event.address}"
    if not event.reply:
        return f"{asks} (DHCP {event.message}), and gets no answer: {event.reason or 'not ours'}"
    gets = f"{event.address}" if event.address else event.reply
    if event.reply == "NAK":
        gets = f"a refusal: {event.reason}"
    if event.file:
        gets += f", and boot {event.file}"
    return f"{asks} (DHCP {event.message}) → {gets} ({event.reply})"


def _transfer(event: events.Transfer) -> str:
    what = f"{file_in_words(event.path)} ({event.path}) over {event.protocol.upper()}"
    match event.state:
        case "started":
            return f"fetches {what}" + (f", {size(event.size_b)}" if event.size_b else "")
        case "moving":
            return f"still fetches {what}: {size(event.sent_b)} of {size(event.size_b)}"
        case "done":
            rate = f", {size(event.sent_b / event.seconds)}/s" if event.seconds > 0.05 else ""
            return f"has {what}: {size(event.sent_b)} in {event.seconds:.1f} s{rate}"
        case "missing":
            return f"asks for {event.path} over {event.protocol.upper()}, which is not there: {event.reason}"
    return f"{event.state}: {what} after {size(event.sent_b)}: {event.reason}"


def clock(moment: float) -> str:
    """A time of day, ``14:03:07``, in this machine's zone."""
    return datetime.fromtimestamp(moment).strftime("%H:%M:%S")


def tail(stream: Iterable[Event], *, most: int = 8) -> list[str]:
    """The latest lines of a stream in words, each with its time of day."""
    return [f"{clock(event.time)}  {in_words(event)}" for event in list(stream)[-most:]]
