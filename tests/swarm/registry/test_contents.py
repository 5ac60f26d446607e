"""What of the registry nobody needs, and what is left of it: on values, and on files as the registry lays them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labkit.swarm.registry.contents import Manifest, judge_images, read_contents, used_images
from labkit.swarm.registry.link_files import ROOT

OLD = Manifest("web", "sha256:aa", 1, ("content-1",))
MID = Manifest("web", "sha256:bb", 2, ("content-2",))
NEW = Manifest("web", "sha256:cc", 3, ("content-3", "labkit"))


def service(image: str, before: str = "") -> dict[str, Any]:
    specs = {"Spec": image, **({"PreviousSpec": before} if before else {})}
    return {key: {"TaskTemplate": {"ContainerSpec": {"Image": name}}} for key, name in specs.items()}


def gone(manifests: list[Manifest], used: set[str]) -> list[str]:
    return [verdict.manifest.digest for verdict in judge_images(manifests, used) if verdict.goes]


def test_old_marks_go_and_what_is_used_stays() -> None:
    assert gone([OLD, MID, NEW], set()) == ["sha256:bb", "sha256:aa"]
    assert gone([OLD, MID, NEW], {"web@sha256:aa"}) == ["sha256:bb"]
    assert gone([OLD, MID, NEW], {"web:content-2"}) == ["sha256:aa"]


def test_the_newest_stays_where_no_tag_is_left_but_marks() -> None:
    assert gone([OLD, MID], set()) == ["sha256:aa"]
    assert gone([OLD, Manifest("other", "sha256:dd", 9)], set()) == []


def test_somebodys_own_tag_is_never_taken() -> None:
    mine = Manifest("web", "sha256:ee", 0, ("1.0",))
    assert gone([mine, OLD, NEW], set()) == ["sha256:aa"]


def test_the_parts_of_a_list_stay_with_it() -> None:
    whole = Manifest("web", "sha256:ff", 5, ("2.0",), parts=("sha256:aa",))
    assert gone([OLD, MID, whole], set()) == ["sha256:bb"]


def test_what_services_name() -> None:
    host = "10.77.0.1:5000"
    services = [
        service(f"{host}/web:labkit@sha256:cc", f"{host}/web:labkit@sha256:aa"),
        service(f"{host}/team/app"),
        service("nginx:1"),
    ]
    assert used_images(services, host) == {"web:labkit", "web@sha256:cc", "web@sha256:aa", "team/app:latest"}


@given(
    st.lists(
        st.builds(
            Manifest,
            repository=st.sampled_from(["a", "b/c"]),
            digest=st.integers(0, 9).map(lambda n: f"sha256:{n}"),
            pushed=st.floats(0, 9),
            tags=st.lists(st.sampled_from(["content-1", "content-2", "mine"]), max_size=2).map(tuple),
        ),
        unique_by=lambda one: (one.repository, one.digest),
    ),
    st.sets(st.sampled_from(["a@sha256:1", "a:content-1", "b/c@sha256:2"])),
)
def test_a_repository_never_loses_all(manifests: list[Manifest], used: set[str]) -> None:
    verdicts = judge_images(manifests, used)
    stays = {verdict.manifest.repository for verdict in verdicts if not verdict.goes}
    assert stays == {one.repository for one in manifests}
    for verdict in verdicts:
        if f"{verdict.manifest.repository}@{verdict.manifest.digest}" in used or "mine" in verdict.manifest.tags:
            assert not verdict.goes


def test_the_registrys_files_are_read(tmp_path: Path) -> None:
    def put(name: str, text: str) -> Path:
        path = tmp_path / ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    place = "repositories/team/app/_manifests"
    for number, digest in enumerate(("aa11", "bb22")):
        os.utime(put(f"{place}/revisions/sha256/{digest}/link", f"sha256:{digest}"), (number, number))
    put(f"{place}/tags/1.0/current/link", "sha256:bb22")
    (tmp_path / ROOT / place / "revisions/sha256/cc33").mkdir()  # deleted: its link is gone
    put("blobs/sha256/bb/bb22/data", json.dumps({"manifests": [{"digest": "sha256:aa11"}]}))
    assert list(read_contents(tmp_path)) == [
        Manifest("team/app", "sha256:aa11", 0),
        Manifest("team/app", "sha256:bb22", 1, ("1.0",), ("sha256:aa11",)),
    ]
    assert list(read_contents(tmp_path / "nothing")) == []
