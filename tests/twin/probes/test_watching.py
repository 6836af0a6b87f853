"""Dark times of directed node pairs, watched around a fault."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

import pytest

from clusters.providers.twin.client import TwinCluster
from clusters.waiting import pause
from probes.continuous import PACKETS_PER_S, Watch, watching
from probes.dark import DarkTime

pytestmark = pytest.mark.twin

Rule = Callable[..., contextlib.AbstractContextManager[None]]


def by_pair(watch: Watch) -> Mapping[tuple[str, str], DarkTime]:
    """End the watch."""
    return {(dark.src, dark.dst): dark for dark in watch.finish()}


def test_exactly_the_broken_direction_is_dark_for_as_long_as_it_is_broken(
    cluster: TwinCluster, rule: Rule
) -> None:
    """Its interval holds the time of the fault, its neighbours stay lit."""
    with watching(cluster) as watch:
        pause(0.3)
        began_s = time.monotonic() - watch.started_s
        with rule("n1", "FORWARD", "-s", "10.244.2.0/24", "-j", "DROP"):
            pause(0.5)
            ended_s = time.monotonic() - watch.started_s
        pause(0.3)
        seen = by_pair(watch)

    assert len(seen) == 12
    assert [pair for pair, dark in seen.items() if dark.dark_s] == [("n2", "n1")]
    (interval,) = seen["n2", "n1"].intervals
    assert seen["n2", "n1"].recovered
    assert interval[0] >= began_s - 0.1
    assert interval[1] <= ended_s + 0.3
    assert 0.4 <= seen["n2", "n1"].dark_s <= 0.9


def test_what_is_still_broken_has_not_recovered(cluster: TwinCluster, rule: Rule) -> None:
    """The watch ends before the fault does."""
    with watching(cluster) as watch, rule("n1", "FORWARD", "-s", "10.244.2.0/24", "-j", "DROP"):
        pause(0.4)
        seen = by_pair(watch)

    assert not seen["n2", "n1"].recovered
    assert all(dark.recovered for pair, dark in seen.items() if pair != ("n2", "n1"))


@pytest.mark.parametrize("verb", ["restart_node", "recreate_node"])
def test_a_rebuilt_node_is_followed_into_its_new_namespace(cluster: TwinCluster, verb: str) -> None:
    """Its pod comes back in another namespace, after a recreation with another address."""
    with watching(cluster) as watch:
        pause(0.3)
        getattr(cluster, verb)("n3", down_s=0.3)
        pause(1.0)
        seen = by_pair(watch)

    touched = {pair: dark for pair, dark in seen.items() if "n3" in pair}
    assert len(touched) == 6
    assert all(dark.recovered and 0.2 <= dark.dark_s <= 1.2 for dark in touched.values())
    assert all(not dark.dark_s for pair, dark in seen.items() if pair not in touched)


def test_the_rate_is_lowered_where_all_pairs_together_would_be_too_many(
    cluster: TwinCluster,
) -> None:
    """Twelve directed pairs; the watch says what it really does."""
    with watching(cluster, rate_hz=1e6) as fast, watching(cluster, rate_hz=10) as slow:
        pass

    assert fast.rate_hz == pytest.approx(PACKETS_PER_S / 12)
    assert slow.rate_hz == 10


def test_an_error_in_the_thread_comes_out_of_the_block(cluster: TwinCluster) -> None:
    """A watch that died must not look like a network that was never dark."""

    def failing() -> bool:
        raise ZeroDivisionError

    def watch_with_a_defect() -> None:
        with watching(cluster) as watch:
            watch._stop.is_set = failing  # type: ignore[method-assign]
            pause(0.2)

    with pytest.raises(ZeroDivisionError):
        watch_with_a_defect()
