"""Whether a firewall lets a packet in: the rules of nftables and of iptables, read for one new packet. Pure.

A rule with a condition that is not understood here counts as one that does not fit, so that no innocent rule is blamed;
a packet that only falls to a chain's policy after such a rule is called ``unsure``.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DEEPEST = 16
ACCEPT, DROP = "accept", "drop"


@dataclass(frozen=True)
class Packet:
    """A packet that begins a conversation: where it comes in, its protocol and the port it goes to."""

    interface: str
    protocol: str
    port: int


@dataclass(frozen=True)
class Rule:
    """One rule: its conditions, whether there are others that we do not know, what it does, and its text.

    ``verdict`` is ``accept``, ``drop``, ``return``, empty for none, or the name of a chain after ``jump ``.
    """

    text: str
    verdict: str
    interface: str = ""
    protocol: str = ""
    ports: tuple[tuple[int, int], ...] = ()
    is_odd: bool = False

    def fits(self, packet: Packet) -> bool:
        """Whether every condition holds for a packet."""
        wild = self.interface.endswith(("+", "*")) and packet.interface.startswith(self.interface[:-1])
        return (
            (not self.interface or self.interface == packet.interface or wild)
            and self.protocol in ("", packet.protocol)
            and (not self.ports or any(low <= packet.port <= high for low, high in self.ports))
        )


@dataclass(frozen=True)
class Chains:
    """The chains of one table: rules by name, those that see incoming packets first, and their policies."""

    name: str
    rules: Mapping[str, Sequence[Rule]]
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a packet: ``accept``, ``drop`` or ``unsure``, and the rule that says so."""

    what: str
    rule: str = ""


def judge(tables: Iterable[Chains], packet: Packet) -> Verdict:
    """What all tables together do with a packet: one that drops it is enough."""
    unsure = Verdict(ACCEPT)
    for table in tables:
        for chain, policy in table.inputs.items():
            found = _walk(table, chain, packet, 0)
            if found is not None and found.what == DROP:
                return found
            if found is None and policy == DROP:
                odd = any(rule.is_odd and rule.verdict == ACCEPT for rules in table.rules.values() for rule in rules)
                verdict = Verdict("unsure" if odd else DROP, f"the policy of {table.name} {chain}")
                if not odd:
                    return verdict
                unsure = verdict
    return unsure


def _walk(table: Chains, chain: str, packet: Packet, depth: int) -> Verdict | None:
    for rule in table.rules.get(chain, ()) if depth < DEEPEST else ():
        if rule.is_odd or not rule.fits(packet):
            continue
        if rule.verdict in (ACCEPT, DROP):
            return Verdict(rule.verdict, rule.text)
        if rule.verdict == "return":
            return None
        if rule.verdict.startswith("jump "):
            found = _walk(table, rule.verdict[5:], packet, depth + 1)
            if found is not None:
                return found
    return None


# --- iptables-save(8) -------------------------------------------------------------------------------------------------


def read_iptables(text: str) -> list[Chains]:
    """The filter table of what ``iptables-save`` prints."""
    rules: dict[str, list[Rule]] = {}
    inputs: dict[str, str] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table == "filter" and line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            if chain == "INPUT":
                inputs[chain] = policy.lower()
        elif table == "filter" and line.startswith("-A "):
            words = shlex.split(line)
            rules.setdefault(words[1], []).append(_iptables_rule(line, words[2:]))
    return [Chains("iptables filter", rules, inputs)] if rules or inputs else []


def _iptables_rule(text: str, words: Sequence[str]) -> Rule:
    found: dict[str, Any] = {"verdict": "", "is_odd": False}
    at = 0
    while at < len(words):
        word, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        at += 2
        if word in ("-j", "-g"):
            targets = {"ACCEPT": ACCEPT, "DROP": DROP, "REJECT": DROP, "RETURN": "return", "LOG": ""}
            found["verdict"] = targets.get(value, f"jump {value}")
            break  # what follows are the target's own options
        if word == "-i":
            found["interface"] = value
        elif word == "-p":
            found["protocol"] = value
        elif word in ("--dport", "--dports", "--destination-port"):
            found["ports"] = tuple(_range(part, ":") for part in value.split(","))
        elif word == "-m" and value in ("udp", "tcp", "multiport", "comment", "conntrack", "state"):
            pass
        elif word in ("--ctstate", "--state"):
            found["is_odd"] = found["is_odd"] or "NEW" not in value
        elif word != "--comment":
            found["is_odd"] = True
    return Rule(text=text, **found)


def _range(text: str, dash: str) -> tuple[int, int]:
    low, _, high = text.partition(dash)
    return int(low), int(high or low)


# --- nft --json list ruleset (libnftables-json(5)) --------------------------------------------------------------------


def read_nftables(text: str) -> list[Chains]:
    """The tables of what ``nft --json list ruleset`` prints. Raises ValueError for anything else."""
    rules: dict[tuple[str, str], dict[str, list[Rule]]] = {}
    inputs: dict[tuple[str, str], dict[str, str]] = {}
    for item in json.loads(text)["nftables"]:
        for kind, body in item.items():
            if kind not in ("chain", "rule") or body["family"] not in ("ip", "inet"):
                continue
            key = (body["family"], body["table"])
            if kind == "chain" and body.get("hook") == "input":
                inputs.setdefault(key, {})[body["name"]] = body.get("policy", ACCEPT)
            elif kind == "rule":
                rules.setdefault(key, {}).setdefault(body["chain"], []).append(_nft_rule(body))
    return [Chains(f"nftables {' '.join(key)}", rules.get(key, {}), chains) for key, chains in inputs.items()]


def _nft_rule(body: Mapping[str, Any]) -> Rule:
    found: dict[str, Any] = {"verdict": "", "is_odd": False}
    for part in body.get("expr", ()):
        [(kind, value)] = part.items()
        if kind in (ACCEPT, DROP, "return"):
            found["verdict"] = kind
        elif kind == "reject":
            found["verdict"] = DROP
        elif kind in ("jump", "goto"):
            found["verdict"] = f"jump {value['target']}"
        elif kind == "match":
            known = _nft_match(value)
            found |= known
            found["is_odd"] = found["is_odd"] or not known
        elif kind not in ("counter", "log", "limit"):
            found["is_odd"] = True
    comment = body.get("comment", "")
    text = f"{body['table']} {body['chain']}, rule {body.get('handle', '?')}" + (f" ({comment})" if comment else "")
    return Rule(text=f"nftables {text}", **found)


def _nft_match(value: Mapping[str, Any]) -> dict[str, Any]:
    """A condition as fields of `Rule`; empty for one that is not known here."""
    left, right = value["left"], value["right"]
    if value.get("op", "==") not in ("==", "in"):
        return {}
    if "meta" in left and left["meta"]["key"] == "iifname" and isinstance(right, str):
        return {"interface": right}
    if "meta" in left and left["meta"]["key"] == "l4proto" and isinstance(right, str):
        return {"protocol": right}
    if "payload" in left and left["payload"].get("field") == "dport":
        parts = right.get("set", [right]) if isinstance(right, dict) and "set" in right else [right]
        ports = tuple(tuple(p["range"]) if isinstance(p, dict) else (p, p) for p in parts)
        if all(isinstance(number, int) for pair in ports for number in pair):
            return {"protocol": left["payload"]["protocol"], "ports": ports}
    return {}
