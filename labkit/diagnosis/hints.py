"""Known failures: what they look like, why they happen, and where the workbook explains them.

PURE: an error, or what the lab's events fold to, in; a `Hint` out. An error brings its own fix, which comes first; a
hint says why, for a person who meets it for the first time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from labkit import errors
from labkit.diagnosis.early_failure import BOOTS
from labkit.events.stages import BladeState, LabState

BLADE, ANSWER, FILES = "A blade is not heard", "It asks and gets no answer", "Files do not arrive"
LOOP = "A blade boots again and again"
IMAGES, CONFIG, ENGINE = "Images", "Configs", "The engine"
TICKETS, QUORUM, SERVICE = "Tickets and tokens", "Managers and the majority", "A service does not come up"
POWER, MACHINE, LABFILE, NOTEBOOK = "Power", "This machine", "The lab file and parameters", "The notebook itself"

SECTIONS = (
    BLADE,
    ANSWER,
    FILES,
    LOOP,
    IMAGES,
    CONFIG,
    ENGINE,
    TICKETS,
    QUORUM,
    SERVICE,
    POWER,
    MACHINE,
    LABFILE,
    NOTEBOOK,
)
"""The headings of ``99-help.ipynb`` that hints lead to."""


@dataclass(frozen=True)
class Hint:
    """A known failure. ``why`` and ``do`` are for a person; ``section`` is the heading that explains more."""

    name: str
    why: str
    do: str
    section: str

    @property
    def link(self) -> str:
        """The section's address, beside the notebooks."""
        return f"99-help.ipynb#{self.section.replace(' ', '-')}"


@dataclass(frozen=True)
class _Rule:
    kind: type[BaseException]
    pattern: str
    hint: Hint


def _rule(kind: type[BaseException], pattern: str, name: str, section: str, why: str, do: str = "") -> _Rule:
    return _Rule(kind, pattern, Hint(name, why, do, section))


_E = errors
RULES: tuple[_Rule, ...] = (
    # --- services: swarm's own words, made into sentences by labkit.swarm.services.health
    _rule(_E.SwarmError, r"image missing:", "image-missing", SERVICE,
          "The blade that was to run the replica asked the registry for the image, and the registry does not have it "
          "under this name.", "Run the cell that puts the image into the lab's registry, or correct its name."),
    _rule(_E.SwarmError, r"port taken: another service|already in use by service", "service-port-taken", SERVICE,
          "A published port belongs to one service only, on every node at once.",
          "Take another port, or remove the service that has it: ./lab docker service ls shows both."),
    _rule(_E.SwarmError, r"port taken: another program|address already in use", "node-port-taken", SERVICE,
          "A program on that node listens on the port already.", "Take another port, or stop that program."),
    _rule(_E.SwarmError, r"no suitable node", "no-suitable-node", SERVICE,
          "No node is Ready, takes tasks, and meets the service's constraints and its need of memory, all at once.",
          "Look at the nodes with ./lab swarm; a drained node takes no tasks."),
    _rule(_E.SwarmError, r"no folder to bind", "folder-missing", SERVICE,
          "A bind is a folder of the node that runs the replica, and that node has no such folder.",
          "Make the folder on every node, or give the service a volume."),
    _rule(_E.SwarmError, r"volume not mounted", "volume-not-mounted", SERVICE,
          "The volume is a folder of a server, which the node could not reach, or which does not give it that folder.",
          "Set storage: {share: true} in lab.yaml for the lab's own, and see whether it runs with ./lab status."),
    _rule(_E.SwarmError, r"unhealthy", "unhealthy", SERVICE,
          "The replica runs, but its health check did not succeed in time, so swarm ended it and starts another.",
          "Read what it says: ./lab swarm logs NAME."),
    _rule(_E.SwarmError, r"status 126|status 127|status 128|could not be started", "program-missing", SERVICE,
          "The node made the replica's container and could not start its program: it is not in the image, or is no "
          "program for this processor, or the node lacks what it needs.",
          "Look at the image's CMD, or the service's command."),
    _rule(_E.SwarmError, r"segmentation fault|aborted by itself|illegal instruction|bus error", "program-crashes",
          SERVICE, "The kernel or the program itself ended it because of a fault inside: a mistake in the program, or "
          "an image whose libraries do not fit each other or the blade's processor.",
          "Run the image's program by hand on a blade; an image of labkit's is made anew by ./lab images."),
    _rule(_E.SwarmError, r"needs more memory|status 137", "out-of-memory", SERVICE,
          "The kernel ended the replica: it needed more memory than its limit, or than the blade has.",
          "Give the service a higher limit, or run fewer replicas a blade."),
    _rule(_E.SwarmError, r"ended by itself|ended with status", "replica-ended", SERVICE,
          "The replica's program ended, so there is nothing to keep running.",
          "Read its last words: ./lab swarm logs NAME."),
    _rule(_E.SwarmError, r"requests were not answered", "mesh-silent", SERVICE,
          "A node opens the published port when it hears of the service from the others, some seconds later; and its "
          "kernel needs ip_vs for it.", "Run the cell again. If it stays silent, see whether the node is Ready."),
    _rule(_E.SwarmError, r"cannot use the registry", "registry-unreachable", SERVICE,
          "The lab's own registry did not answer as a registry does.", "./lab status says whether its two parts run."),
    _rule(_E.SwarmError, r"may not put images into the lab's registry", "registry-forbidden", SERVICE,
          "Every blade runs what is in the lab's registry, so only the lab's owner puts images there; blades read."),
    # --- the swarm
    _rule(_E.SwarmError, r"does not have a leader|too few managers|lost the majority|no quorum|not have a quorum",
          "quorum-lost", QUORUM,
          "Managers decide by majority. Too many of them are away, so nothing can be changed; what runs, runs on.",
          "Bring the managers back. If they are gone for good, ./lab swarm recover lets the controller go on alone, "
          "with all services."),
    _rule(_E.SwarmError, r"valid join token", "token-expired", TICKETS,
          "The join token changes whenever blades have joined and when a ticket was misused, so that an old one opens "
          "nothing.", "Switch the blade off and on again: a new boot gets a new ticket, and with it today's token."),
    _rule(_E.SwarmError, r"swarm is locked", "swarm-locked", ENGINE,
          "This engine's swarm is locked with a key and was restarted since. It is whole, and goes on when it is "
          "unlocked."),
    _rule(_E.SwarmError, r"worker of another swarm", "other-swarm", ENGINE,
          "An engine can be in one swarm only, and this one is in somebody else's."),
    _rule(_E.SwarmError, r"this engine's swarm is at ", "swarm-elsewhere", ENGINE,
          "A swarm's managers know each other by address, and this one was made at another one than lab.yaml has now. "
          "It is whole.", "Take back what was changed in lab.yaml, or see what else there is: ./lab swarm move."),
    _rule(_E.SwarmError, r"certificate of the controller's node has run out", "swarm-expired", ENGINE,
          "A node's certificate is renewed while its engine runs. This engine was off for longer than it was good for; "
          "what the swarm keeps is whole.", "./lab swarm recover says what it would do."),
    _rule(_E.SwarmError, r"swarm was there before labkit", "swarm-found", ENGINE,
          "A real lab's manager is this machine's own engine, and that had a swarm already. It is yours: nothing of it "
          "is changed before you agree.", "./lab swarm adopt says what would be changed."),
    _rule(_E.SwarmError, r"cannot bring up its swarm", "swarm-broken", ENGINE,
          "The engine has a swarm on its disk and could not start it, for the reason that it gives."),
    _rule(_E.SwarmError, r"swarm does not exist yet", "no-swarm", ENGINE,
          "Nobody has made the swarm: that is chapter 3, before the blades are let in."),
    _rule(_E.SwarmError, r"not Ready in the swarm", "node-not-ready", TICKETS,
          "The blade said that it joined, or was about to, and the managers have not heard its engine since.",
          "Look at the node with ./lab swarm, and at the blade with ./lab console."),
    _rule(_E.SwarmError, r"no Docker engine listens", "engine-down", ENGINE,
          "The controller's Docker engine is a part of the lab, and is not there."),
    _rule(_E.SwarmError, r"may not speak to this Docker engine", "engine-forbidden", ENGINE,
          "Who may speak to an engine may do anything on its machine, so its socket belongs to the lab's owner."),
    _rule(_E.SwarmError, r"did not answer in time|broke off|cannot be used|does not answer", "engine-silent", ENGINE,
          "The engine was there and does not answer: it is overloaded, was stopped, or is just starting."),
    # --- power
    _rule(_E.PowerError, r"this user or this password", "bmc-password", POWER,
          "The slot's management controller answers and does not accept this user or this password."),
    _rule(_E.PowerError, r"no password for its BMC|password cannot be read", "bmc-no-password", POWER,
          "A real slot's password is read from a file of yours, the environment or the system's keyring, so that it "
          "never stands in lab.yaml."),
    _rule(_E.PowerError, r"has no (sensors|event log|identify lamp)", "no-controller", POWER,
          "Sensors, an event log and a lamp belong to a management controller, which IPMI and Redfish reach; a packet "
          "that wakes, a plug and a person have none."),
    _rule(_E.PowerError, r"no answer", "bmc-unreachable", POWER,
          "IPMI speaks over UDP port 623, Redfish over TCP port 443, and nobody answered from that address."),
    _rule(_E.PowerError, r"slot \d+ is empty", "slot-empty", POWER, "No blade of lab.yaml is in that slot."),
    _rule(_E.PowerError, r"still not (on|off) after", "power-stuck", POWER,
          "The button was pressed. A blade that is asked to shut down first leaves the swarm, which can take a minute; "
          "one that hangs ignores the button.", "Read its console; ./lab power off cuts the power."),
    _rule(_E.PowerError, r"boots again and again", "boot-loop", LOOP,
          "Each of its boots ended by itself at about the same place, and the next began: waiting longer brings more "
          "of the same.", "Its console has the last words of each boot: ./lab console with --log."),
    _rule(_E.PowerError, r"has nothing to boot", "nothing-to-boot", CONFIG,
          "No plan could be made for this boot of the blade, and a boot's plan is never changed.",
          "Correct its config, then switch the blade off and on again."),
    _rule(_E.PowerError, r"is off: ", "blade-off", POWER,
          "The blade's power went while it was waited for: its system shut down, its machine ended, or somebody pulled "
          "the plug.", "Read its console, then switch it on again."),
    _rule(_E.PowerError, r"is at stage 'firmware'", "blade-silent", BLADE,
          "It has power and has not asked the network for anything: it does not boot from this card, or nothing of it "
          "arrives here."),
    _rule(_E.PowerError, r"is at stage '", "boot-late", BLADE,
          "A boot takes 40 to 90 seconds where everything is emulated, and much longer when the machine is busy.",
          "Run the cell again: it goes on where the blade is. If it stands still, ./lab events shows what it asked."),
    # --- images and configs
    _rule(_E.ImageError, r"SHA-256 has changed|not what was built|bytes, and had", "image-checksum", IMAGES,
          "The file is not the one that was built: it was damaged, changed, or cut short by a full disk. A blade that "
          "booted it would fail later and less clearly."),
    _rule(_E.ImageError, r"has not been built", "image-not-built", IMAGES,
          "Images are built once from Debian's packages and then kept."),
    _rule(_E.ImageError, r"Container Linux is no longer published", "container-linux-gone", IMAGES,
          "Container Linux ended in 2020, and its download pages went with it."),
    _rule(_E.ImageError, r"no release of .* is here|release \S+ of \S+ is not here", "release-missing", IMAGES,
          "Flatcar and Fedora CoreOS are published in releases, which are fetched once and then kept, a folder each."),
    _rule(_E.PlanError, r"the release has ", "release-not-whole", IMAGES,
          "A boot takes one kernel and its archives from a release's folder, all of one build: files were removed from "
          "it, or files of another were added."),
    _rule(_E.ImageError, r"may not be read by the boot server", "own-file-closed", IMAGES,
          "What hears packets is no user of this machine, so it reads what everybody may read and nothing else."),
    _rule(_E.ImageError, r"disk is full", "disk-full", MACHINE,
          "Building an image needs room for its tree and its archive at once."),
    _rule(_E.ImageError, r"Could not (resolve|connect)|Failed to fetch|archive cannot be reached", "no-internet",
          IMAGES, "Building fetches packages from Debian's archive, which this machine cannot reach."),
    _rule(_E.PlanError, r"does not transpile", "config-mistake", CONFIG,
          "The transpiler found a mistake in the config; the line and column above say where. Nothing was sent to a "
          "blade."),
    _rule(_E.PlanError, r"what lab.yaml does not say", "config-values", CONFIG,
          "A config may take values of its blade and its lab, and asks for one that is not there. Nothing was sent to "
          "a blade."),
    _rule(_E.PlanError, r"configs cannot be merged", "config-merge", CONFIG,
          "Configs of one blade are merged in the newest version of Ignition's spec that any of them is written for."),
    _rule(_E.PlanError, r"and the Ignition of .* reads|cannot be carried over", "config-version", CONFIG,
          "Each operating system's Ignition reads some versions of the config and refuses others, at boot, where "
          "nobody sees it. So labkit refuses first."),
    _rule(_E.PlanError, r"which labkit writes", "config-clash", CONFIG,
          "Two configs that write the same file cannot both have their way."),
    _rule(_E.PlanError, r"config cannot be read", "config-missing", CONFIG,
          "lab.yaml names a config that is not there."),
    # --- this machine
    _rule(_E.MachineError, r"another program has this port", "port-taken", MACHINE,
          "Blades look for servers on fixed ports (67 for DHCP, 69 for TFTP), and only one program can have each."),
    _rule(_E.MachineError, r"No such device|is not an address of this machine", "no-such-card", MACHINE,
          "lab.yaml names a network card or an address that this machine does not have."),
    _rule(_E.MachineError, r"needs root|sudo -n", "no-root", MACHINE,
          "Network namespaces and ports below 1024 are root's. Only starting a lab needs that; notebooks do not."),
    _rule(_E.MachineError, r"this machine's own Docker engine", "needs-yes", MACHINE,
          "With real blades the swarm's manager is your own Docker engine, which is not touched without a yes."),
    _rule(_E.MachineError, r"in use on this machine \(", "subnet-taken", MACHINE,
          "Two networks with the same addresses on one machine: packets for one would go to the other."),
    _rule(_E.MachineError, r"not installed:|boot loaders .* missing", "not-installed", MACHINE,
          "A program that the lab runs is not on this machine."),
    _rule(_E.MachineError, r"too long for Unix sockets", "path-too-long", MACHINE,
          "The parts of a lab speak through Unix sockets, whose path may have 108 bytes."),
    _rule(_E.MachineError, r"did not give the lab its namespaces|network could not be set up", "no-namespaces", MACHINE,
          "A lab lives in network namespaces of its own, and this machine, perhaps a container, does not allow them."),
    _rule(_E.MachineError, r"a part of the lab, died", "part-loops", MACHINE,
          "The supervisor starts a part again when it dies. This one dies each time for the same reason, so what needs "
          "it would wait for ever."),
    _rule(_E.MachineError, r"not ready after|ended at once", "part-failed", MACHINE,
          "A part of the lab did not start; the end of its log is above."),
    # --- the lab, its file and its parameters
    _rule(_E.ControlError, r"no lab.yaml here", "no-lab-file", LABFILE,
          "A lab is described by a lab.yaml, looked for in this folder and those above."),
    _rule(_E.ControlError, r"another lab is up", "other-lab", LABFILE,
          "One state folder belongs to one lab at a time."),
    _rule(_E.ControlError, r"lab is not up|lab went down|no answer to", "lab-down", MACHINE,
          "The lab's supervisor is not there: it was taken down or killed, and everything it started ended with it.",
          "Run the chapter's cells from the top: they bring the lab up again."),
    _rule(_E.LabFileError, r"", "lab-file", LABFILE,
          "lab.yaml has mistakes. All of them are listed, each with its line and what to write instead."),
    _rule(_E.ParameterError, r"no blade is chosen", "nothing-chosen", LABFILE,
          "Every slot is left out, so there is nothing to do."),
    _rule(_E.ParameterError, r"no blade yet", "no-blade-yet", LABFILE,
          "A chapter works on blades, and the list in lab.yaml is empty.",
          "In chapter 1 each machine that has asked has a button: press Adopt, and run the cell again."),
    _rule(_E.ParameterError, r"no blade ", "unknown-blade", LABFILE, "Blades are called as lab.yaml calls them."),
    _rule(_E.ParameterError, r"", "bad-parameter", LABFILE,
          "Parameters are checked before anything happens, so that nothing is half done."),
    # --- the notebook
    _rule(NameError, r"is not defined", "cell-skipped", NOTEBOOK,
          "A cell above has not run in this kernel, perhaps because the kernel was restarted.",
          "Run > Run All Above Selected Cell. It is safe: every step finds what is there already."),
    _rule(AssertionError, r"", "check-failed", NOTEBOOK,
          "Each section ends in a check, and this one did not hold.",
          "Run the section again from its heading; if it fails again, its last output says what was found."),
    _rule(OSError, r"No space left", "disk-full", MACHINE, "The disk is full."),
)  # fmt: skip


def match_error(error: BaseException) -> Hint | None:
    """The known failure that an error, or one of those it came from, is."""
    for one in _chain(error):
        words = str(one)
        for rule in RULES:
            if isinstance(one, rule.kind) and re.search(rule.pattern, words):
                return rule.hint
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def match_events(state: LabState, blades: Sequence[str]) -> list[tuple[str, Hint]]:
    """Known failures that show in the events of these blades: the blade's name and the hint, the worst first."""
    found = []
    for name in blades:
        blade = state.blade(name)
        hint = _look(blade, state)
        if hint is not None:
            found.append((name, hint))
    return found


def _look(blade: BladeState, state: LabState) -> Hint | None:
    if blade.hot and blade.stage not in ("off", "left"):
        return _SEEN["too-hot"]
    if blade.stage in ("off", "left", "joined"):
        return None
    if blade.failed is not None:  # before what is looked for in words: these are the blade's
        return _SEEN["unit-failed"]
    loads = not blade.fetching and blade.step not in ("ignition", "os", "join")  # else it found what it needed
    if len(blade.before) + 1 >= BOOTS:
        return _SEEN["boot-loop"]
    asked, refused = blade.asked, blade.refused[-1:] if loads else ()
    if blade.ticket is not None and blade.ticket.state == "refused":
        return _SEEN["ticket-refused"]
    if "does not transpile" in blade.trouble or "Ignition" in blade.trouble:
        return _SEEN["plan-failed"]
    if blade.is_unbelieving and "the lab's " in blade.trouble:  # else it is no question of trust
        return _SEEN["clock-wrong" if "clock" in blade.trouble else "not-believed"]
    if "declined" in blade.trouble or "uses it too" in blade.trouble:
        return _SEEN["address-taken"]
    if not blade.dhcp:
        stranger = any(one.time >= blade.began for one in state.strangers.values())
        return _SEEN["wrong-mac" if stranger else "no-carrier"]
    if asked is not None and "chose the server" in asked.reason:
        return _SEEN["other-dhcp"]
    if asked is not None and not asked.file and asked.client != "os" and "no loader" in asked.reason:
        return _SEEN["no-loader"]
    if refused:
        return _SEEN["file-missing" if refused[0].state == "missing" else "transfer-broke"]
    if blade.step == "dhcp" and asked is not None and asked.reply == "ACK" and asked.file:
        return _SEEN["file-blocked"]
    if blade.step == "join" and state.silent is not None:
        return _SEEN["swarm-silent"]
    if blade.step == "join" and not state.swarm:
        return _SEEN["waits-for-swarm"]
    if blade.step in ("ignition", "os") and blade.stuck is not None:
        return _SEEN["ignition-failed"]
    return None


_SEEN = {
    hint.name: hint
    for hint in (
        Hint("boot-loop", "Its boots end by themselves at about the same place, and the next begins.",
             "Its console has the last words of each boot: ./lab console with --log.", LOOP),
        Hint("no-carrier", "The blade has power and nothing of it arrives: no cable, a switch port that opens late, "
             "the wrong card, or a firmware that does not boot from the network.",
             "Look at the link lamp; put network boot first in the firmware's setup.", BLADE),
        Hint("wrong-mac", "A machine that is not in lab.yaml asks to boot while this blade is silent: its card has "
             "another MAC address than lab.yaml says.",
             "./lab machines shows it: write that into the blade's macs, or ./lab adopt makes it a blade.", BLADE),
        Hint("other-dhcp", "Another DHCP server on this network answered first, and the blade went with that answer.",
             "Give the blades a network of their own, or switch the other server off there.", ANSWER),
        Hint("no-loader", "This boot method has no boot loader for this kind of firmware.",
             "Set boot: to another method for this blade in lab.yaml.", ANSWER),
        Hint("address-taken", "Another machine on this network uses the blade's address.",
             "Give the blade another address in lab.yaml.", ANSWER),
        Hint("file-blocked", "The blade got an address and the name of a boot file, and then asked for nothing: a "
             "firewall drops TFTP (UDP port 69, and answers from ports above 1024) or HTTP.",
             "Allow both on the blades' card.", FILES),
        Hint("file-missing", "The blade asked for a file that is not there.",
             "./lab explain lists what there is.", FILES),
        Hint("transfer-broke", "A download began and broke off: a bad cable, a full-duplex mismatch, or the blade was "
             "reset.", "The loader usually tries again by itself.", FILES),
        Hint("plan-failed", "No plan could be made for this blade, so there is nothing to boot.",
             "Correct its config; ./lab explain says what is wrong with it.", CONFIG),
        Hint("ignition-failed", "The kernel runs and the system does not come up: most often Ignition found a mistake "
             "and stopped the boot, which it says on the console with the line.",
             "Read the console: ./lab console with --log.", CONFIG),
        Hint("unit-failed", "systemd has given up a unit without which this blade cannot join the swarm. Most often "
             "that is Docker, which does not start with the daemon.json or the drop-in that its config writes.",
             "./lab why has what it said last; mend the config, then switch the blade off and on again.", CONFIG),
        Hint("ticket-refused", "A ticket is good for one blade, one boot and one address. This one was none of that.",
             "Switch the blade off and on again: a new boot gets a new ticket.", TICKETS),
        Hint("not-believed", "With tls: true a blade speaks to the lab over HTTPS, and hangs up when it cannot check "
             "who answers: the lab's authority came with its archive, and the lab has another one since.",
             "Switch the blade off and on again: a new boot brings today's authority.", TICKETS),
        Hint("clock-wrong", "Certificates are good from one day to another, and this blade's clock is on neither side "
             "of today's: so it believes no certificate and hands in no ticket.",
             "Set its clock in the firmware setup, to UTC. If it is wrong each time, its battery is empty.", TICKETS),
        Hint("too-hot", "The blade's own controller says that a temperature in it is above its limit: a fan stands "
             "still, or the air cannot get through. A blade slows down first, and then switches itself off.",
             "./lab power sensors shows its temperatures and its fans; ./lab power shutdown lets it cool down.", POWER),
        Hint("waits-for-swarm", "The blade is up and waits: there is no swarm to join yet.", "Run chapter 3.", TICKETS),
        Hint("swarm-silent", "The blade is up and waits: the swarm is there, and is silent or may not be changed.",
             "./lab swarm and ./lab why say which it is and what helps; its services are kept.", QUORUM),
    )
}  # fmt: skip
