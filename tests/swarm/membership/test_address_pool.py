"""Where overlay networks get their addresses: never where somebody else has some. No engine needed."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.errors import SwarmError
from labkit.swarm.membership.address_pool import SMALLEST, USUAL, WITHIN, choose, overlapping


def networks(*texts: str) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


@pytest.mark.parametrize(
    ("taken", "pool"),
    [
        ([], "10.128.0.0/9"),
        (["10.77.0.0/24"], "10.128.0.0/9"),
        (["10.200.0.0/16"], "10.128.0.0/10"),
        (["10.200.0.0/16", "10.150.0.0/24"], "10.64.0.0/10"),
        (["192.168.1.0/24"], "10.128.0.0/9"),
        (["10.0.0.0/8"], "172.24.0.0/13"),
        (["10.0.0.0/8", "172.16.0.0/12"], "192.168.192.0/18"),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.128.0/17"], "192.168.64.0/18"),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.16.0/20", "192.168.32.0/19", "192.168.64.0/18", "192.168.128.0/17"],
         "192.168.0.0/20"),
    ],
)  # fmt: skip
def test_the_largest_free_part_is_taken(taken: list[str], pool: str) -> None:
    assert str(choose(networks(*taken))) == pool


def test_where_nothing_is_free_a_person_names_one() -> None:
    with pytest.raises(SwarmError, match="every private network") as none:
        choose(WITHIN)
    assert "swarm: {pool:" in none.value.fix


blocks = st.builds(
    lambda whole, length, number: list(whole.subnets(new_prefix=max(length, whole.prefixlen)))[
        number % 2 ** (max(length, whole.prefixlen) - whole.prefixlen)
    ],
    st.sampled_from(WITHIN), st.integers(9, 20), st.integers(0, 10_000),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(blocks, max_size=12))
def test_no_pool_covers_what_is_taken(taken: list[IPv4Network]) -> None:
    try:
        pool = choose(taken)
    except SwarmError:
        return
    assert not any(pool.overlaps(network) for network in taken)
    assert pool.prefixlen <= SMALLEST and any(pool.subnet_of(whole) for whole in WITHIN)
    if not any(network.prefixlen <= 10 for network in taken):
        assert not any(pool.overlaps(network) for network in USUAL)


def test_networks_that_cover_others_are_named() -> None:
    own = [("ingress", "10.0.0.0/24"), ("mine", "172.30.0.0/24"), ("six", "fd00::/64")]
    assert overlapping(own, networks("10.0.0.0/8", "192.168.1.0/24")) == ("ingress (10.0.0.0/24) covers 10.0.0.0/8",)
    assert overlapping(own, networks("192.168.1.0/24")) == ()
