"""Networks, secrets and configs that a stack declares: what is not there, and what cannot be made or changed. PURE."""

from __future__ import annotations

from collections.abc import Iterator

from labkit.swarm.stack.there import Config, Finding, There, name_of

PREDEFINED = frozenset({"host", "bridge", "none"})
"""Networks that every node has, and a service may be in (``external: true``)."""
OF_A_NODE = ("bridge", "host", "macvlan", "ipvlan", "none", "null")
"""Drivers whose networks are one node's own; a service can be in none of those that a stack makes."""
LARGEST_B = {"secrets": 500 * 1024, "configs": 1000 * 1024}
"""swarmkit, api/storeobject and manager/controlapi: ``MaxSecretSize``, ``MaxConfigSize``; neither may be empty."""


def declared(config: Config, there: There) -> Iterator[Finding]:
    """Findings of the file's sections, in the order networks, secrets, configs."""
    kinds = {
        "networks": (there.networks | PREDEFINED, "./lab docker network create --driver overlay"),
        "secrets": (there.secrets, "./lab docker secret create … <FILE, with the name"),
        "configs": (frozenset(there.contents), "./lab docker config create … <FILE, with the name"),
    }
    for kind, (known, fix) in kinds.items():
        for key, given in (config.get(kind) or {}).items():
            body = given or {}
            called = name_of(key, body, there.stack)
            if body.get("external") and called not in known:
                what = f"{called} is said to be there already (external), and is not"
                yield Finding(f"{kind}: {key}", what, f"{fix} {called}")
            elif kind == "networks" and not body.get("external") and body.get("driver") in OF_A_NODE:
                what = f"driver: {body['driver']} makes a network of one node, and a service can be in none"
                yield Finding(f"{kind}: {key}", what, "take driver: out: overlay reaches every node")
            elif kind != "networks":
                yield from _content(kind, key, str(body.get("file") or ""), called, there)


def _content(kind: str, key: str, path: str, called: str, there: There) -> Iterator[Finding]:
    """A secret's or config's file: there, of a size that swarm takes, and the same as before."""
    where, size = f"{kind}: {key}", there.sizes_b.get(path, 1)
    if size is None:
        yield Finding(where, f"{path} cannot be read", "put the file there, or correct its path")
    elif not 0 < size < LARGEST_B[kind]:
        what = f"{path} has {size} bytes, and swarm keeps 1 to {LARGEST_B[kind] - 1}"
        yield Finding(where, what, "a volume over NFS (docs/swarm.md, A folder for all blades) takes what is larger")
    elif path in there.files and called in there.contents and there.files[path] != there.contents[called]:
        what = f"{called} is there with another content, and swarm changes no config"
        yield Finding(where, what, f"give the new one a name of its own in the file: name: {called}_2")
