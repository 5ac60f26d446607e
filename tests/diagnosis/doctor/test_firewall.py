"""How the doctor reads a firewall's rules: iptables and nftables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labkit.diagnosis.doctor.firewall import Chains, Packet, Rule, Verdict, judge, read_iptables, read_nftables

IPTABLES = """
*nat
:INPUT ACCEPT [0:0]
-A INPUT -p udp --dport 69 -j DROP
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:blades - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -i eth1 -j blades
-A INPUT -i eth2 -p udp -m udp --dport 67:69 -j ACCEPT
-A INPUT -s 10.9.0.0/16 -i eth3 -j ACCEPT
-A blades -p udp -m multiport --dports 67,68 -m comment --comment "DHCP for blades" -j ACCEPT
-A blades -p tcp --dport 80 -j REJECT --reject-with tcp-reset
-A blades -p udp --dport 69 -j RETURN
COMMIT
"""


@pytest.mark.parametrize(
    ("interface", "protocol", "port", "what", "rule"),
    [
        ("eth1", "udp", 67, "accept", ""),
        ("eth1", "tcp", 80, "drop", "-A blades -p tcp --dport 80 -j REJECT"),
        ("eth1", "udp", 69, "unsure", "the policy of iptables filter INPUT"),
        ("eth2", "udp", 69, "accept", ""),
        ("eth2", "tcp", 80, "unsure", "policy"),
    ],
)
def test_iptables(interface: str, protocol: str, port: int, what: str, rule: str) -> None:
    found = judge(read_iptables(IPTABLES), Packet(interface, protocol, port))
    assert found.what == what and rule in found.rule


def test_a_plain_policy_that_drops() -> None:
    tables = read_iptables("*filter\n:INPUT DROP [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n")
    assert judge(tables, Packet("eth1", "udp", 69)) == Verdict("drop", "the policy of iptables filter INPUT")
    assert judge(tables, Packet("lo", "udp", 69)).what == "accept"
    assert judge([], Packet("eth1", "udp", 69)).what == "accept"
    assert read_iptables("") == []


def match(left: dict[str, Any], right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def nft(*rules: list[dict[str, Any]], policy: str = "accept") -> str:
    chain = {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": policy}
    other = {"family": "inet", "table": "filter", "name": "sub"}
    rows: list[dict[str, Any]] = [{"metainfo": {"version": "1.0.6"}}, {"table": {"family": "inet", "name": "filter"}}]
    rows += [{"chain": chain}, {"chain": other}]
    for number, expr in enumerate(rules):
        rows.append({"rule": {"family": "inet", "table": "filter", "chain": "input", "handle": number, "expr": expr}})
    drop: dict[str, Any] = {"family": "inet", "table": "filter", "chain": "sub", "handle": 9, "expr": [{"drop": None}]}
    drop["comment"] = "no"
    return json.dumps({"nftables": [*rows, {"rule": drop}]})


IIF = {"meta": {"key": "iifname"}}
DPORT = {"payload": {"protocol": "udp", "field": "dport"}}


@pytest.mark.parametrize(
    ("rules", "policy", "what"),
    [
        ([[match(DPORT, 69), {"drop": None}]], "accept", "drop"),
        ([[match(DPORT, {"set": [67, {"range": [60, 70]}]}), {"counter": None}, {"reject": None}]], "accept", "drop"),
        ([[match(IIF, "eth1"), {"jump": {"target": "sub"}}]], "accept", "drop"),
        ([[match(IIF, "eth0"), {"jump": {"target": "sub"}}]], "accept", "accept"),
        ([[match(IIF, "eth*"), match({"meta": {"key": "l4proto"}}, "udp"), {"accept": None}]], "drop", "accept"),
        ([[match({"ct": {"key": "state"}}, ["established"], "in"), {"accept": None}]], "drop", "unsure"),
        ([[match(DPORT, 69, "!="), {"drop": None}]], "accept", "accept"),
        ([[{"xt": None}, {"drop": None}]], "accept", "accept"),
        ([], "drop", "drop"),
    ],
)
def test_nftables(rules: list[list[dict[str, Any]]], policy: str, what: str) -> None:
    assert judge(read_nftables(nft(*rules, policy=policy)), Packet("eth1", "udp", 69)).what == what


def test_a_rule_is_named() -> None:
    text = nft([match(IIF, "eth1"), {"jump": {"target": "sub"}}])
    assert judge(read_nftables(text), Packet("eth1", "udp", 69)).rule == "nftables filter sub, rule 9 (no)"


def test_chains_that_call_each_other_end() -> None:
    loop = Chains("t", {"INPUT": [Rule("a", "jump b")], "b": [Rule("b", "jump INPUT")]}, {"INPUT": "accept"})
    assert judge([loop], Packet("eth1", "udp", 69)).what == "accept"
