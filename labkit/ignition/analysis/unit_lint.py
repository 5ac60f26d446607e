"""Looks into units as a person who knows systemd would: unknown keys, and orders that do not hold at shutdown.

Sources: systemd.unit(5), systemd.service(5), systemd.exec(5), systemd.kill(5), systemd.socket(5), systemd.mount(5),
systemd.timer(5), systemd.path(5); the keys are those of systemd 252 and newer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from .. import unit_file
from ..report import Entry, IgnitionError, Path, Report
from . import placeholders
from .describe import Unit, describe
from .unit_keys import KEYS, SECTIONS

#: commands and the unit that has to be up while they run
NEEDS = {
    "docker": "docker.service",
    "docker-compose": "docker.service",
    "ctr": "containerd.service",
    "etcdctl": "etcd-member.service",
    "curl": "network-online.target",
    "wget": "network-online.target",
}


#: what each of docker's swarm verbs takes; a word it does not know makes it refuse the whole command
SWARM_OPTIONS = {
    "join": ("--advertise-addr", "--availability", "--data-path-addr", "--listen-addr", "--token"),
    "leave": ("--force", "-f"),
}
_VALUES = {
    ("Service", "Type"): "simple exec forking oneshot dbus notify notify-reload idle",
    ("Service", "Restart"): "no on-success on-failure on-abnormal on-watchdog on-abort always",
    ("Service", "KillMode"): "control-group mixed process none",
}
#: targets that are reached when everything else has been told to stop
_LAST_TARGETS = ("shutdown.target", "reboot.target", "halt.target", "poweroff.target", "final.target")


@dataclass(frozen=True)
class Remark:
    """A warning, the option of the unit that it is about (None: the unit at large), and the word in it, if one is."""

    entry: Entry
    unit: str
    dropin: str = ""
    option: unit_file.Option | None = None
    word: str = ""


def lint(config: dict[str, Any]) -> Report:
    """Warnings about the units of a config and placeholders in it; an empty report if there is nothing to say of it."""
    entries = [remark.entry for remark in remarks(config)]
    return Report((*entries, *(placeholders.remark(*found) for found in placeholders.unfilled(config))))


def remarks(config: dict[str, Any]) -> list[Remark]:
    """The same, each with the unit and the option that it is about."""
    try:
        units = describe(config).units
    except IgnitionError:
        return []
    found: list[Remark] = []
    for index, unit in enumerate(units):
        path: Path = ("systemd", "units", index)
        looking = _Look(unit, (*path, "contents"), found)
        looking.check_keys(unit.contents or "")
        for at, (name, text) in enumerate(unit.dropins):
            _Look(unit, (*path, "dropins", at, "contents"), found, name).check_keys(text)
        if unit.masked:
            continue
        if unit.contents:
            looking.check_install()
            looking.check_service()
        looking.check_commands()
        looking.check_stop_order()
    return found


class _Look:
    """One unit, or one drop-in of it, being looked into."""

    def __init__(self, unit: Unit, path: Path, found: list[Remark], dropin: str = "") -> None:
        self.unit, self.path, self.found, self.dropin = unit, path, found, dropin

    def warn(self, message: str, fix: str, option: unit_file.Option | None = None, word: str = "") -> None:
        entry = Entry("warning", message, self.path, fix=fix)
        self.found.append(Remark(entry, self.unit.name, self.dropin, option, word))

    def check_keys(self, text: str) -> None:
        name = self.unit.name
        kind = unit_file.suffix(name).removeprefix(".")
        allowed = SECTIONS.get(kind, ("Unit", "Install"))
        for option in unit_file.parse(text)[0]:
            if option.section.startswith("X-") or option.name.startswith("X-"):
                continue
            if option.section not in allowed:
                fitting = f"a .{kind} has {', '.join(f'[{each}]' for each in allowed)}"
                self.warn(f"unknown section [{option.section}] in {name}, systemd ignores it", fitting, option)
            elif option.name not in KEYS[option.section]:
                text = f"unknown key {option.name}= in section [{option.section}] of {name}, systemd ignores it"
                self.warn(text, _where_it_belongs(option.name, option.section, allowed), option)
            elif (option.section, option.name) in _VALUES and option.value not in ("", *_values(option)):
                text = f"{option.name}={option.value} of {name} is no value that systemd knows, it ignores the line"
                self.warn(text, f"one of: {', '.join(_values(option))}", option)

    def check_install(self) -> None:
        if self.unit.enabled and not any(option.section == "Install" for option in self.unit.options):
            text = f"{self.unit.name} is enabled but has no [Install] section, so nothing starts it"
            self.warn(text, "add [Install] with WantedBy=multi-user.target")

    def check_service(self) -> None:
        name = self.unit.name
        if unit_file.suffix(name) != ".service":
            return
        starts, stops = self._commands("ExecStart"), self._commands("ExecStop")
        oneshot = self.unit.values("Service", "Type")[-1:] == ["oneshot"]
        remains = (self.unit.values("Service", "RemainAfterExit")[-1:] or ["no"])[0] in ("yes", "true", "1", "on")
        if not starts and not stops and not any(o.section == "Service" for o in self.unit.options):
            self.warn(f"{name} has no [Service] section", "add [Service] with ExecStart=")
        elif not starts and not remains:
            self.warn(f"{name} has no ExecStart=, so it cannot start", "add ExecStart=, or RemainAfterExit=yes")
        if len(starts) > 1 and not oneshot:
            text = f"{name} has more than one ExecStart=, which only Type=oneshot may have"
            self.warn(text, "add Type=oneshot", starts[-1])
        if starts and stops and oneshot and not remains:
            text = f"{name} ends as soon as it has started, so its ExecStop= runs at once and not at shutdown"
            self.warn(text, "add RemainAfterExit=yes", stops[0])

    def check_commands(self) -> None:
        for name in ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecStop", "ExecStopPost"):
            for option in self._commands(name):
                if token := re.search("SWMTKN-[^\\s'\"]*", option.value):
                    text = f"{self.unit.name} carries the swarm's join token: whoever can fetch this config can join"
                    self.warn(
                        text,
                        "let the blade ask for the token once it is up, with a ticket for one boot",
                        option,
                        token[0],
                    )
                verb = re.search(r"\bdocker\s+swarm\s+(join|leave)\b(.*)", option.value, re.DOTALL)
                if verb:
                    self._check_swarm_words(verb[1], verb[2].split(), option)

    def _check_swarm_words(self, verb: str, words: list[str], option: unit_file.Option) -> None:
        known = SWARM_OPTIONS[verb]
        for word in words:
            given = word.partition("=")[0]
            if not given.startswith("-") or given in (*known, "--help"):
                continue
            near = next((each for each in known if each.startswith("--") and word.startswith(each)), "")
            fix = f"put a space after {near}" if near else f"it takes {', '.join(known)}"
            self.warn(f"docker swarm {verb} knows no option {word}, so the command fails", fix, option, word)

    def check_stop_order(self) -> None:
        """Units stop in the reverse of the order they start in, and without an order all at once."""
        after, name = set(self.unit.values("Unit", "After")), self.unit.name
        for option in self._commands("ExecStop") + self._commands("ExecStopPost"):
            for needed in _needed(option.value):
                if needed in after or needed == name:
                    continue
                text = (
                    f"{name} runs `{' '.join(option.value.split())}` when it stops, but is not ordered after {needed}: "
                    f"at shutdown {needed} may be stopped first, and the command fails"
                )
                self.warn(text, f"add to [Unit]: After={needed} and Requires={needed}", option)
        pulled = set(self.unit.values("Install", "WantedBy") + self.unit.values("Install", "RequiredBy"))
        if not pulled & set(_LAST_TARGETS):
            return
        for option in self._commands("ExecStart"):
            for needed in _needed(option.value):
                text = (
                    f"{name} is started by {', '.join(sorted(pulled & set(_LAST_TARGETS)))} and runs "
                    f"`{' '.join(option.value.split())}`: systemd stops {needed} before it starts this, so it fails"
                )
                fix = f"start it at boot, WantedBy=multi-user.target and After={needed}, and do the work in ExecStop="
                self.warn(text, fix, option)

    def _commands(self, name: str) -> list[unit_file.Option]:
        return [o for o in self.unit.options if (o.section, o.name) == ("Service", name) and o.value]


def _values(option: unit_file.Option) -> list[str]:
    return _VALUES[option.section, option.name].split()


def _where_it_belongs(name: str, section: str, allowed: tuple[str, ...]) -> str:
    near = next((key for key in KEYS[section] if key.casefold() == name.casefold()), "")
    elsewhere = next((each for each in allowed if name in KEYS[each]), "")
    return f"write {near}=" if near else f"move it to [{elsewhere}]" if elsewhere else "check the spelling"


def _needed(command: str) -> list[str]:
    words = re.findall(r"[\w./-]+", command)
    programs = [word.rpartition("/")[2] for word in words]
    return sorted({NEEDS[program] for program in programs if program in NEEDS})
