"""The numbers for Prometheus: what counts as what, and the very page."""

from __future__ import annotations

from labkit.events import BootStarted, Dhcp, Event, LabEvent, Phoned, Ticket, Transfer, Trouble, UnknownMachine
from labkit.netboot.metrics import Counters, render

PAGE = r"""# HELP labkit_dhcp_messages_total DHCP messages heard, by type and by what they were answered with
# TYPE labkit_dhcp_messages_total counter
labkit_dhcp_messages_total{message="DISCOVER",reply="OFFER"} 2
labkit_dhcp_messages_total{message="DISCOVER",reply="none"} 1
# HELP labkit_transfers_total transfers of files, by protocol and state; started ones appear again when they end
# TYPE labkit_transfers_total counter
labkit_transfers_total{protocol="http",state="done"} 1
labkit_transfers_total{protocol="http",state="started"} 1
labkit_transfers_total{protocol="tftp",state="failed"} 1
labkit_transfers_total{protocol="tftp",state="missing"} 1
# HELP labkit_transfer_bytes_total bytes of files that were sent, of transfers that have ended
# TYPE labkit_transfer_bytes_total counter
labkit_transfer_bytes_total{protocol="http"} 185000000
labkit_transfer_bytes_total{protocol="tftp"} 7
# HELP labkit_transfer_seconds_total how long the transfers took that have ended, all together
# TYPE labkit_transfer_seconds_total counter
labkit_transfer_seconds_total{protocol="http"} 1.25
labkit_transfer_seconds_total{protocol="tftp"} 0.5
# HELP labkit_boots_total boots that began, by what began them
# TYPE labkit_boots_total counter
labkit_boots_total{cause="power"} 1
# HELP labkit_tickets_total tickets, redeemed and refused
# TYPE labkit_tickets_total counter
labkit_tickets_total{state="refused"} 1
# HELP labkit_phoned_total messages of booted blades, by stage
# TYPE labkit_phoned_total counter
labkit_phoned_total{stage="joined"} 1
# HELP labkit_unknown_machines_total machines that asked to boot and are not in the lab
# TYPE labkit_unknown_machines_total counter
labkit_unknown_machines_total 1
# HELP labkit_troubles_total troubles, by the part that had them
# TYPE labkit_troubles_total counter
labkit_troubles_total{part="a \"part\" of \\ \n"} 1
# HELP labkit_http_large_running large files that are being sent over HTTP
# TYPE labkit_http_large_running gauge
labkit_http_large_running 3
# HELP labkit_listener_answers whether a listener answered when last asked; a part that does not run has none
# TYPE labkit_listener_answers gauge
labkit_listener_answers{part="bootd",listener="HTTP"} 1
labkit_listener_answers{part="bootd",listener="TFTP"} 0
labkit_listener_answers{part="registry",listener="TLS"} 1
"""


def test_the_page() -> None:
    counters = Counters()
    passed: list[Event] = []
    emit = counters.counted(passed.append)
    secret = "52:54:00:4d:00:01"
    events = [
        Dhcp(mac=secret, message="DISCOVER", reply="OFFER"),
        Dhcp(mac=secret, message="DISCOVER", reply="OFFER"),
        Dhcp(mac=secret, message="DISCOVER", reason="not in the lab"),
        Transfer(protocol="http", path="x", state="started", size_b=185_000_000),
        Transfer(protocol="http", path="x", state="done", sent_b=185_000_000, size_b=185_000_000, seconds=1.25),
        Transfer(protocol="tftp", path="x", state="failed", sent_b=7, seconds=0.5),
        Transfer(protocol="tftp", path="x", state="missing"),
        BootStarted(cause="power"),
        Ticket(state="refused"),
        Phoned(stage="joined"),
        UnknownMachine(mac=secret, adopt="x"),
        Trouble(part='a "part" of \\ \n', detail="x"),
        LabEvent(state="up"),
    ]
    for event in events:
        emit(event)
    assert passed == events
    answers = {"registry": {"TLS": ""}, "bootd": {"HTTP": "", "TFTP": f"nothing from {secret} within 3 s"}}
    assert render(counters.totals(), {"labkit_http_large_running": 3}, answers) == PAGE


def test_what_other_parts_have_is_told_where_they_have_it() -> None:
    told = [("labkit_blade_power_watts", {"slot": "3"}, 85.5), ("labkit_of_a_newer_part", {}, 1.0)]
    page = render({}, {}, told=told)
    assert 'labkit_blade_power_watts{slot="3"} 85.5\n' in page and "labkit_blade_fan_rpm gauge" in page
    assert "labkit_swarm_nodes" not in page and "newer" not in page


def test_a_new_server_has_counted_nothing() -> None:
    lines = render(Counters().totals(), {}).splitlines()
    assert len(lines) == 2 * 10
    assert all(line.startswith("#") for line in lines)
