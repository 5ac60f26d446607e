"""What the swarm's services and its registry need of a lab that is up."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

import docker

from labkit.events import Event
from labkit.events.stages import LabState
from labkit.lab import Lab
from labkit.lab.state import State


class RunningLab(Protocol):
    """A lab that is up: `labkit.servers.client.RunningLab` is one, which says what each of these does."""

    @property
    def lab(self) -> Lab: ...
    @property
    def state(self) -> State: ...
    def status(self) -> dict[str, Any]: ...
    def emit(self, event: Event) -> None: ...
    def stages(self) -> LabState: ...
    def part_check(self, *parts: str) -> Callable[[], None]: ...
    def engine(self) -> AbstractContextManager[docker.DockerClient]: ...
