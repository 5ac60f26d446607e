"""``./lab swarm autolock`` and ``unlock-key``: a swarm that is locked with a key, and the key."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit.cli.answers import say
from labkit.errors import ParameterError, SwarmError
from labkit.servers import client
from labkit.servers.client import RunningLab
from labkit.swarm import cluster
from labkit.swarm.engine import need_manager, read_local_swarm
from labkit.swarm.membership import autolock
from labkit.swarm.membership.autolock import KeptKeys

NOT_IN_IT = (
    "the lab does not keep that, and without it the file is worth nothing; ./lab swarm unlock-key shows it as long "
    "as the swarm answers, to be kept with the file"
)
ASKED_FOR = "it was not in the file; when the lab is up, ./lab docker swarm unlock asks for it"


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add them with ``verb(name, run, words)``, which gives a verb's parser."""
    sub = verb("autolock", set_lock, "lock the swarm with a key, or with none any more, as lab.yaml says")
    sub.add_argument("--yes", action="store_true", help="do it; without this only say what would be changed")
    sub = verb("unlock-key", show_key, "the key that the swarm is locked with")
    sub.add_argument("--rotate", action="store_true", help="have the managers make another one, and keep that")


def set_lock(options: argparse.Namespace) -> int:
    """0 when the swarm is as ``lab.yaml`` says; 1 when it is not, and nothing was changed."""
    running = client.connect(options.lab, options.state)
    keys, wanted = KeptKeys(running.state.unlock_keys), running.lab.swarm.autolock
    if options.yes and wanted is None:
        raise ParameterError("lab.yaml does not say whether the swarm is to be locked", fix=autolock.HOW)
    with running.engine() as engine:
        need_manager(engine)
        if options.yes and wanted is not None:
            cluster.check_may_change(engine, running.lab)
            autolock.switch(engine, wanted)
            if wanted:
                autolock.keep(engine, keys)
        has = autolock.is_on(engine)
        kept = has and autolock.read_key(engine) in keys.read()
    said, fix = autolock.judge(has, wanted, kept=kept)
    print(said or autolock.UNLOCKED)
    if fix:
        print(f"nothing was changed: {fix}")
    elif kept:
        print(f"the key is in {keys.path}; ./lab swarm unlock-key shows it: write it down elsewhere as well")
    return 1 if fix else 0


def show_key(options: argparse.Namespace) -> int:
    """Print the key, and nothing else, on standard output. Raises SwarmError where there is none."""
    running = client.connect(options.lab, options.state)
    if options.rotate:
        _rotate(running)
    keys = KeptKeys(running.state.unlock_keys)
    with running.engine() as engine:
        found = read_local_swarm(engine)
        key = autolock.read_key(engine) if found.answers else next(iter(keys.read()), None)
    if key is None:
        raise SwarmError(autolock.UNLOCKED, fix=autolock.HOW) if found.answers else found.error()
    print(key.reveal())
    say("whoever has this and the controller's disk has the whole swarm; keep it as you would keep a password")
    return 0


def _rotate(running: RunningLab) -> None:
    with running.engine() as engine:
        need_manager(engine)
        cluster.check_may_change(engine, running.lab)
        autolock.rotate(engine)
        if running.lab.swarm.autolock:
            autolock.keep(engine, KeptKeys(running.state.unlock_keys))
