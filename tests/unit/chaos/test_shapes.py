"""Small choices."""

import random

import pytest

from chaos.shapes import directed, new_mac


def test_a_taken_mac_is_drawn_again() -> None:
    """A MAC that a live node has would lose nothing: that node forwards."""
    first = new_mac(random.Random(1), [])

    assert new_mac(random.Random(1), [first]) != first
    assert new_mac(random.Random(1), [None, "0a:00:00:00:00:01"]) == first


@pytest.mark.parametrize(
    ("direction", "pairs"),
    [
        ("in", (("n1", "n0"), ("n2", "n0"))),
        ("out", (("n0", "n1"), ("n0", "n2"))),
        ("both", (("n1", "n0"), ("n2", "n0"), ("n0", "n1"), ("n0", "n2"))),
    ],
)
def test_directions_are_seen_from_the_victim(
    direction: str, pairs: tuple[tuple[str, str], ...]
) -> None:
    """In: what peers send to it is lost."""
    assert directed("n0", ("n1", "n2"), direction) == pairs
