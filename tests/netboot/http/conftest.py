"""The HTTP server with a blade that boots, for each test one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.http_server import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)
