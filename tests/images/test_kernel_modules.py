"""Which kernel modules an image keeps."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.errors import ImageError
from labkit.images.build.kernel_modules import keep_module, match_modules, order_modules, read_dependencies

DEP = """\
kernel/fs/overlayfs/overlay.ko:
kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko kernel/net/llc/llc.ko
kernel/net/802/stp.ko: kernel/net/llc/llc.ko
kernel/net/llc/llc.ko:
kernel/net/netfilter/ipvs/ip_vs.ko: kernel/net/netfilter/nf_conntrack.ko
kernel/net/netfilter/nf_conntrack.ko:
"""


def test_dependencies_are_read() -> None:
    found = read_dependencies(DEP)
    assert found["kernel/net/bridge/bridge.ko"] == ("kernel/net/802/stp.ko", "kernel/net/llc/llc.ko")
    assert found["kernel/net/llc/llc.ko"] == ()


def test_a_module_is_named_without_its_packing() -> None:
    assert read_dependencies(DEP.replace(".ko", ".ko.xz")) == read_dependencies(DEP)


@pytest.mark.parametrize("packed", [True, False])
def test_a_module_is_kept_unpacked_or_not_at_all(tmp_path: Path, packed: bool) -> None:
    for name in ("kept.ko", "other.ko"):
        path = tmp_path / (name + ".xz" * packed)
        path.write_bytes(lzma.compress(b"ELF") if packed else b"ELF")
    keep_module(tmp_path / "kept.ko", kept=True)
    keep_module(tmp_path / "other.ko", kept=False)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.ko"]
    assert (tmp_path / "kept.ko").read_bytes() == b"ELF"


def test_a_star_stays_within_its_folder() -> None:
    assert match_modules(read_dependencies(DEP), [], ["net/netfilter/*"]) == ["kernel/net/netfilter/nf_conntrack.ko"]


def test_what_is_built_in_needs_no_module() -> None:
    assert match_modules(read_dependencies(DEP), ["kernel/drivers/block/loop.ko"], ["drivers/block/loop"]) == []


def test_a_module_that_is_nowhere_stops_the_build() -> None:
    with pytest.raises(ImageError, match=r"net/vxlan\.ko"):
        match_modules(read_dependencies(DEP), [], ["net/vxlan"])


def test_needs_come_first() -> None:
    found = order_modules(read_dependencies(DEP), ["kernel/net/bridge/bridge.ko"])
    assert found == ["kernel/net/llc/llc.ko", "kernel/net/802/stp.ko", "kernel/net/bridge/bridge.ko"]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Modules that need only earlier ones, so without a cycle."""
    names = [f"m{number}" for number in range(draw(st.integers(1, 8)))]
    return {
        name: tuple(draw(st.lists(st.sampled_from(names[:at]), max_size=3)) if at else [])
        for at, name in enumerate(names)
    }


@given(graphs(), st.data())
def test_order_is_complete_and_loads(needs: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(sorted(needs))))
    ordered = order_modules(needs, wanted)
    assert len(ordered) == len(set(ordered))
    assert set(wanted) <= set(ordered)
    for at, module in enumerate(ordered):
        assert set(needs[module]) <= set(ordered[:at])
