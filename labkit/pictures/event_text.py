"""Events in a person's words, a line each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from labkit import events
from labkit.events import Event
from labkit.events.amounts import size

_CONTROL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_c])")
_CLIENTS = {"pxe": "the firmware", "ipxe": "iPXE", "http": "the firmware (HTTP boot)", "os": "the operating system"}
_FILES = (
    ("pxelinux.cfg/", "the loader's configuration"),
    ("boot.ipxe", "iPXE's script"),
    ("vmlinuz", "the kernel"),
    ("oem.cpio", "the blade's own archive"),
    (".cpio", "the operating system"),
    ("ldlinux.c32", "the loader's library"),
    ("boot.msg", "the greeting"),
    ("linux.0", "the boot loader"),
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
}  # fmt: skip
_LEAVE = {
    "asked": "says that it wants to leave", "drained": "its tasks have moved", "left": "has left the swarm",
    "removed": "is off the swarm's list", "failed": "could not leave in order",
}  # fmt: skip


def file_in_words(path: str) -> str:
    """What a file is for: ``the kernel``, ``the blade's own archive``."""
    return next((words for part, words in _FILES if part in path), "a file")


def in_words(event: Event) -> str:
    """What an event says, without its time and blade."""
    match event:
        case events.Power():
            told = {"on": "switched on", "off": "switched off", "soft-off": "the power button was pressed"}
            return told.get(event.state, event.state) + (f" ({event.detail})" if event.detail else "")
        case events.BootStarted():
            return "a new boot begins"
        case events.Dhcp():
            return _dhcp(event)
        case events.Transfer():
            return _transfer(event)
        case events.Phoned():
            told = {"os": "the operating system is up", "joined": "phones home: it is in the swarm"}
            return told.get(event.stage, event.stage) + (
                f", {event.uptime_s:.0f} s after its kernel started" if event.uptime_s >= 0 else ""
            )
        case events.Ticket():
            return f"its ticket was {event.state}" + (f": {event.reason}" if event.reason else "")
        case events.Leave():
            return _LEAVE.get(event.step, event.step) + (f" ({event.detail})" if event.detail else "")
        case events.Swarm():
            return _SWARM.get(event.action, event.action)
        case events.Service():
            if event.action == "answered":
                return f"its port answered {event.count} times by {event.detail}"
            if event.action == "running":
                return f"runs {event.detail}"
            return f"service {event.name}: {event.action}" + (f" ({event.detail})" if event.detail else "")
        case events.UnknownMachine():
            return f"a machine that is not in lab.yaml asks to boot: {event.mac}"
        case events.Trouble():
            return f"trouble: {event.detail}"
        case events.Stuck():
            return f"stands still in {event.step} for {event.seconds:.0f} s: {event.what}"
        case events.Part():
            return f"{event.part} {event.state}" + (f": {event.detail}" if event.detail else "")
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


def printable(said: str) -> str:
    """What a terminal was sent, without its control sequences (ECMA-48) and carriage returns."""
    text = _CONTROL.sub("", said).replace("\r\n", "\n").replace("\r", "\n")
    return "".join(letter for letter in text if letter in "\n\t" or letter.isprintable())
