"""``./lab swarm deploy``: a stack from Compose files, explained before it starts and watched until it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from labkit.cli import arguments
from labkit.errors import SwarmError
from labkit.servers import client

WORDS = "a stack from Compose files: what will not work here is said before it starts, and it is watched until it runs"


def add_verb(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add it with ``verb(name, run, words)``, which gives a verb's parser."""
    sub = verb("deploy", deploy, WORDS)
    sub.add_argument("file", nargs="+", type=arguments.path, help="Compose files; later ones go over earlier ones")
    sub.add_argument("--name", help="the stack's name (default: the file's, or its folder's)")
    sub.add_argument("--dry-run", action="store_true", help="only say what will not work")
    sub.add_argument("--anyway", action="store_true", help="start it anyway")
    sub.add_argument("--prune", action="store_true", help="remove the stack's services that are no longer in the files")
    sub.add_argument("--with-registry-auth", action="store_true", help="give the nodes your login to the registry")


def deploy(options: argparse.Namespace) -> int:
    """0 when every service of it runs; an error that names those that do not, and nothing was started where
    something will not work.
    """
    from labkit.servers import stack
    from labkit.swarm.stack.explain import explain
    from labkit.swarm.stack.surroundings import look_around

    running = client.connect(options.lab, options.state)
    name = options.name or stack.stack_name(options.file[0])
    config = stack.read_config(running, options.file)
    there = look_around(running.engine, running.lab, name, config)
    found = (*stack.as_written(options.file), *explain(config, there))
    for finding in found:
        print(finding)
    fatal = [finding for finding in found if finding.fatal]
    if options.dry_run:
        print(f"nothing was started; {len(fatal)} of this will not work" if found else "nothing is in the way of it")
        return int(bool(fatal))
    if fatal and not options.anyway:
        what = f"the stack '{name}' was not started: {len(fatal)} of the above will not work"
        raise SwarmError(what, fix="correct the file, or start it as it is: ./lab swarm deploy --anyway …")
    before = stack.updates_of(running, name)
    given = {"--prune": options.prune, "--with-registry-auth": options.with_registry_auth}
    print(stack.deploy_stack(running, name, options.file, more=[word for word, wanted in given.items() if wanted]))
    outcomes = stack.watch_stack(running, name, before, lambda line: print(line, flush=True))
    failed = [outcome.error for outcome in outcomes if outcome.error is not None]
    if failed:
        what = "\n".join(error.what for error in failed)
        raise SwarmError(what, fix=failed[0].fix or f"./lab docker stack ps {name} shows its replicas")
    print(f"the stack '{name}' runs: {', '.join(outcome.name for outcome in outcomes)}")
    return 0
