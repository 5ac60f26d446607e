"""The network and the chassis of a lab file, and the book of who has which address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from labkit.lab import Blade, Chassis, ChassisKind, DhcpMode, Network, NetworkKind
from labkit.lab.lab_yaml import positions, values
from labkit.lab.lab_yaml.positions import Kind, Notes, Section

MAX_SLOTS = 50
MAX_POOL = 1 << 14
SUBNET = IPv4Network("10.77.0.0/24")

BEYOND = ("router", "dns", "ntp", "domain")
"""What a blade is told of the world beyond its network."""
FOUND = ("router", "dns", "domain")
"""What of it can be found on the machine."""

NETWORK = Kind(
    "network",
    (
        "kind", "interface", "subnet", "server", "controller", "dhcp", "pool", "http_port", "registry_port", "tls",
        "https_port", *BEYOND, "internet", "discover",
    ),
)  # fmt: skip
CHASSIS = Kind("chassis", ("kind", "slots", "name"))


class Net:
    """The network, who has which address in it, and the ports of its server by number, each with its key."""

    def __init__(self, value: Network, section: Section, ports: Mapping[int, str]) -> None:
        self.value, self.ports = value, ports
        self.real = value.kind is NetworkKind.INTERFACE
        self.sound = not section.bad("kind", "subnet")
        self._section = section
        self._owners: dict[IPv4Address, str] = {}

    def claim(self, address: IPv4Address, owner: str, section: Section, key: str = "address") -> None:
        """Give an address to its owner; note it when it is outside the subnet or already somebody's."""
        subnet = self.value.subnet
        if not self.sound or section.bad(key):
            return
        what = f"the address of {owner}, {address}" + ("" if section.has(key) else " as it was not given,")
        if address not in subnet:
            section.note(key, f"{what} is outside {subnet}", self._advice(key))
        elif address in (subnet.network_address, subnet.broadcast_address):
            section.note(key, f"{what} stands for all of {subnet}", self._advice(key))
        elif address in self._owners:
            section.note(key, f"{what} is already the address of {self._owners[address]}", f"give {key} another one")
        else:
            self._owners[address] = owner

    def claim_beyond(self) -> None:
        """Keep the router's address and those of the servers for names and time from blades and from the pool."""
        its = {**dict.fromkeys(self.value.ntp, "the time server"), **dict.fromkeys(self.value.dns, "the name server")}
        its |= {self.value.router: "the router"} if self.value.router is not None else {}
        for address, owner in its.items():
            self._owners.setdefault(address, owner)

    def _advice(self, key: str) -> str:
        subnet = self.value.subnet
        return f"give {key} an address from {subnet[1]} to {subnet[-2]}"

    def check_pool(self) -> None:
        """Note a pool that is outside the subnet or holds somebody's address."""
        if self.value.pool is None or not self.sound:
            return
        first, last = self.value.pool
        if first not in self.value.subnet or last not in self.value.subnet:
            self._section.note("pool", f"the pool leaves the subnet {self.value.subnet}", "keep both ends inside")
            return
        if first <= self.value.subnet.network_address or last >= self.value.subnet.broadcast_address:
            what = f"the pool holds an address that stands for all of {self.value.subnet}"
            advice = f"keep it from {self.value.subnet[1]} to {self.value.subnet[-2]}"
            self._section.note("pool", what, advice)
            return
        if int(last) - int(first) >= MAX_POOL:
            what = f"the pool has {int(last) - int(first) + 1:,} addresses"
            self._section.note("pool", what, f"give it at most {MAX_POOL:,}: each one's lease is kept")
            return
        held = [f"{owner} ({address})" for address, owner in sorted(self._owners.items()) if first <= address <= last]
        if held:
            what = f"the pool holds the address of {', '.join(held)}"
            self._section.note("pool", what, "a pool is for machines that are not blades: move it out of the way")


def read_network(top: Section, notes: Notes) -> Net:
    """The network of a lab file; a real one has to say more than a virtual one."""
    section = Section(top.value("network"), top.anchor, NETWORK, notes)
    kind = section.take("kind", positions.choice(NetworkKind), NetworkKind.VIRTUAL)
    subnet, server, interface = (_real if kind is NetworkKind.INTERFACE else _virtual)(section)
    alone = kind is NetworkKind.VIRTUAL  # then the controller is a machine of its own
    internet = section.take("internet", positions.boolean, False)
    found = (() if not internet else ("dns", "domain")) if alone else FOUND
    port = positions.whole("a port", 1, 65535)
    value = Network(
        kind=kind,
        subnet=subnet,
        server=server,
        controller=section.take("controller", values.address, host(subnet, 2) if alone else server),
        pool=_pool(section),
        interface=interface,
        http_port=section.take("http_port", port, 80),
        registry_port=section.take("registry_port", port, 5000),
        dhcp=section.take("dhcp", positions.choice(DhcpMode), DhcpMode.SERVER),
        tls=section.take("tls", positions.boolean, False),
        https_port=section.take("https_port", port, 443),
        # The server of a virtual lab is its only way anywhere.
        router=section.take("router", values.nobody_or_address, server if alone else None),
        dns=_addresses(section, "dns"),
        ntp=_addresses(section, "ntp"),
        domain=section.take("domain", values.domain, ""),
        open=frozenset(key for key in found if not section.has(key)),
        internet=internet,
        discover=section.take("discover", positions.boolean, False),
    )
    _check_beyond(value, section)
    _check_proxy(value, section)
    _check_discover(value, section)
    net = Net(value, section, _check_ports(value, section))
    net.claim(server, "the server", section, "server")
    if alone or value.controller != server:
        net.claim(value.controller, "the controller", section, "controller")
    net.claim_beyond()
    return net


def _addresses(section: Section, key: str) -> tuple[IPv4Address, ...]:
    taken = section.take_all(key, values.address)
    return tuple(value for _, value in taken or ())


def _check_beyond(network: Network, section: Section) -> None:
    """Note a router that blades cannot reach (RFC 2132 section 3.5: it is on their own subnet)."""
    if network.internet and network.kind is NetworkKind.INTERFACE:
        what = "a real network has the way out that its router is"
        section.note("internet", what, "remove this line; router: and dns: say what the blades are told of it")
    if not section.has("router") or section.bad("router", "subnet"):
        return
    if network.router is not None and network.router not in network.subnet:
        what = f"the router {network.router} is outside {network.subnet}, so no blade reaches it"
        section.note("router", what, "give its address in that subnet, or write router: none")


def _check_proxy(network: Network, section: Section) -> None:
    """Note what a network cannot have while another server gives the addresses."""
    if not network.is_proxy or section.bad("kind"):
        return
    if network.kind is NetworkKind.VIRTUAL:
        what = "a virtual network has no other DHCP server to stand beside"
        section.note("dhcp", what, "write dhcp: server, or remove this line")
    elif told := [key for key in BEYOND if section.has(key)]:
        key = told[0]
        what = f"with dhcp: proxy the other server tells the blades their {key}"
        section.note(key, what, "remove this line, or write dhcp: server")
    elif section.has("pool"):
        what = "with dhcp: proxy the addresses come from another server, a pool is of no use"
        section.note("pool", what, "remove this line, or write dhcp: server")


def _check_discover(network: Network, section: Section) -> None:
    """Note a network on which a machine that is not in the lab could not be booted: it would get no address."""
    if network.discover and not network.is_proxy and network.pool is None and not section.bad("dhcp", "pool"):
        what = "with discover: true machines that are not in this file are booted, and nothing gives them an address"
        fix = "write addresses for them beside it, the first and the last: pool: [10.77.0.100, 10.77.0.149]"
        section.note("discover", what, fix)


def _check_ports(network: Network, section: Section) -> dict[int, str]:
    """Note two ports that are the same, and one that nobody listens on; the ports, each with its key."""
    if section.has("https_port") and not network.tls and not section.bad("tls"):
        what = "without TLS there is no HTTPS, and its port is of no use"
        section.note("https_port", what, "write tls: true, or remove this line")
    ports = {"http_port": network.http_port, "registry_port": network.registry_port}
    ports |= {"https_port": network.https_port} if network.tls else {}
    owners: dict[int, str] = {}
    for key, port in ports.items():
        other = owners.setdefault(port, key)
        if other != key and not section.bad(key, other):
            at, taken_by = (key, other) if section.has(key) else (other, key)
            section.note(at, f"port {port} is already {taken_by}", "give them different ports")
    return owners


def _virtual(section: Section) -> tuple[IPv4Network, IPv4Address, str]:
    if section.has("interface") and not section.bad("kind"):
        section.note("interface", "a virtual network has no interface", "write kind: interface, or remove this line")
    subnet = section.take("subnet", values.subnet, SUBNET)
    return subnet, section.take("server", values.address, host(subnet, 1)), ""


def _real(section: Section) -> tuple[IPv4Network, IPv4Address, str]:
    hint = "name the card the blades are on: interface: eth1 ('ip link' lists them)"
    interface = section.need("interface", values.interface, "", hint)
    hint = "write the subnet of that card: subnet: 192.168.7.0/24"
    subnet = section.need("subnet", values.subnet, SUBNET, hint)
    hint = "write this machine's own address on that card: server: 192.168.7.2"
    return subnet, section.need("server", values.address, host(subnet, 1), hint), interface


def host(subnet: IPv4Network, offset: int) -> IPv4Address:
    """An address by its distance from the subnet's own. Whether it is inside shows when it is claimed."""
    return IPv4Address(min(int(subnet.network_address) + offset, 2**32 - 1))


def _pool(section: Section) -> tuple[IPv4Address, IPv4Address] | None:
    taken = section.take_all("pool", values.address)
    if taken is None or section.bad("pool"):
        return None
    if len(taken) != 2 or taken[0][1] > taken[1][1]:
        section.note("pool", "a pool is its first and its last address", "write pool: [10.77.0.100, 10.77.0.149]")
        return None
    return taken[0][1], taken[1][1]


def read_chassis(top: Section, net: Net, blades: Sequence[tuple[Blade, Section]], notes: Notes) -> Chassis:
    """The chassis, once the blades in it are known: it has as many slots as they need unless it says otherwise."""
    section = Section(top.value("chassis"), top.anchor, CHASSIS, notes)
    fitting = ChassisKind.IPMI if net.real else ChassisKind.VIRTUAL
    kind = section.take("kind", positions.choice(ChassisKind), fitting)
    if kind is not fitting and net.sound:
        what = f"a chassis of kind {kind} cannot be on a network of kind {net.value.kind}"
        wanted = NetworkKind.VIRTUAL if kind is ChassisKind.VIRTUAL else NetworkKind.INTERFACE
        section.note("kind", what, f"remove this line, or write kind: {wanted} under 'network:'")
    last = max((blade.slot for blade, _ in blades), default=1)
    slots = section.take("slots", positions.whole("a number of slots", 1, MAX_SLOTS), last)
    for blade, its in blades:
        if blade.slot > slots and not section.bad("slots") and not its.bad("slot"):
            what = f"{blade.name} is in slot {blade.slot}, and the chassis has {slots}"
            its.note("slot", what, f"write slots: {last} under 'chassis:', or move the blade")
    return Chassis(kind=kind, slots=slots, name=section.take("name", positions.name, "chassis1"))
