"""The blade at which a roll has stopped boots what it ran before, as `labkit.swarm.roll.back` says."""

from __future__ import annotations

import time

from labkit import images
from labkit.errors import LabkitError
from labkit.images.releases import cache
from labkit.lab.process import rpc
from labkit.servers import roll as rolling
from labkit.servers.client import RunningLab
from labkit.swarm.roll.back import begin_back, way_back
from labkit.swarm.roll.survey import Survey
from labkit.swarm.roll.turns import Phase, Roll, Seen


def take_back(running: RunningLab, survey: Survey, roll: Roll, seen: Seen, progress: rolling.Progress) -> str:
    """Let the first blade of a roll that has failed go back, and wait until it runs what it ran; told in words.

    The release that was in use before is in use again then, for all blades of its system that name none.
    """
    way = way_back(survey, roll, seen, {blade.name: blade for blade in running.lab.blades})
    if not way.system:
        return f"nothing was taken back: {way.why}"
    try:
        after, before = cache.roll_back(way.system, images.cache_folder(), lambda said: None)
    except LabkitError as error:
        return f"nothing was taken back: {error.what}"
    if (serves := _served(running, way.blade)) != way.runs:
        cache.roll_back(way.system, images.cache_folder(), lambda said: None)  # forward again, as it was
        what = f"with {way.system} {before} {way.blade} would boot {serves or 'nothing'}, and it ran {way.runs}"
        return f"nothing was taken back: {what}, so that its config or lab.yaml has changed as well"
    back, actions = begin_back(way, roll, rolling.Looker(running).look([way.blade]), time.monotonic())
    for action in actions:
        back = rolling.do(running, back, action, progress)
    for now, _ in rolling.carry_out(running, back, progress):
        back = now
    words = f"{way.system} {before} is in use again (./lab images use {after} takes the newer one)"
    if [turn.phase for turn in back.turns] == [Phase.DONE]:
        return f"{way.blade} runs what it ran before: {words}"
    return f"{way.blade} does not come back with what it ran before either: {back.stopped}; {words}"


def _served(running: RunningLab, blade: str) -> str:
    """What a boot would bring a blade now; empty where it could not boot, or nobody says."""
    try:
        answer = rpc.call(running.state.bootd, "versions", timeout_s=rolling.VERSIONS_S)
    except LabkitError:
        return ""
    return str(answer["versions"].get(blade, ""))
