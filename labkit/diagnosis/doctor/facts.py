"""What the doctor found on a machine and its network: plain values, each empty where it could not be looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from labkit.lab import Network
from labkit.machines.host.unit import AtBoot


@dataclass(frozen=True)
class Interface:
    """A network card: ``addresses`` with their prefix lengths, ``mtu`` the bytes of its largest packets."""

    name: str
    is_up: bool
    has_carrier: bool
    addresses: tuple[str, ...] = ()
    mtu: int = 1500


@dataclass(frozen=True)
class Holder:
    """Who holds a port: ``program`` is empty where we may not know."""

    protocol: str
    port: int
    address: str
    program: str = ""
    pid: int = 0


@dataclass(frozen=True)
class Answer:
    """One answer to a DISCOVER: as which client it was asked for, who answered, and what with."""

    client: str
    server: str
    address: str = ""
    file: str = ""


@dataclass(frozen=True)
class Image:
    """An image: ``wrong`` says what is wrong with it and ``fix`` what to do; both empty where it is whole.

    ``unseen`` says what of it could not be looked at.
    """

    name: str
    wrong: str = ""
    fix: str = ""
    unseen: str = ""


@dataclass(frozen=True)
class Place:
    """A folder, and the free space where it is or will be."""

    path: str
    free_mib: int


@dataclass(frozen=True)
class SeenSwarm:
    """The swarm of the controller's engine: its state in a sentence, whether all is well, and what helps where not.

    ``ends`` is when the certificate of the controller's node runs out, in wall-clock seconds, None where that is not
    known. ``covers`` are its overlay networks that cover another network, in words, ``pool`` what new ones are taken
    from where that covers the lab's own. ``lock`` is what there is to say of the key it is locked with, ``lock_fix``
    what brings that in order.
    """

    what: str
    is_well: bool
    fix: str = ""
    ends: float | None = None
    covers: tuple[str, ...] = ()
    pool: str = ""
    lock: str = ""
    lock_fix: str = ""


@dataclass(frozen=True)
class Facts:
    """All of it. ``not_looked`` names what could not be looked at, and why.

    ``way_in`` says what is wrong with the way into a virtual lab that is up, ``overlap`` what takes its subnet.
    ``silent`` says why a lab that is up did not answer.
    ``mirrors`` are the URLs that the engine asks before Docker Hub, None where that does not matter or is not known.
    ``heard`` says of each listener of each part why it does not answer, ``unwritten`` why events are not written.
    ``told_mib`` is the memory in MiB that blades told they have, by their names.
    ``now`` and ``newest_file`` are wall-clock seconds; ``synchronised`` is None where the kernel does not say.
    """

    is_up: bool = False
    silent: str = ""
    interface: Interface | None = None
    interfaces: tuple[str, ...] = ()
    holders: tuple[Holder, ...] = ()
    blocked: tuple[tuple[str, int, str, str], ...] = ()
    overlap: str = ""
    way_in: str = ""
    beyond: Network | None = None
    resolver: str = ""
    answers: tuple[Answer, ...] = ()
    images: tuple[Image, ...] = ()
    configs: tuple[tuple[str, str], ...] = ()
    unservable: str = ""
    engine: str = ""
    swarm: SeenSwarm | None = None
    at_boot: AtBoot | None = None
    mirrors: tuple[str, ...] | None = None
    modules: tuple[str, ...] = ()
    now: float = 0.0
    newest_file: float = 0.0
    synchronised: bool | None = None
    cache: Place | None = None
    state: Place | None = None
    memory_mib: int = 0
    told_mib: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    kvm: bool = False
    parts: Mapping[str, int] = field(default_factory=dict)
    heard: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unwritten: str = ""
    not_looked: Mapping[str, str] = field(default_factory=dict)
