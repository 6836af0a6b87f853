"""The state machine of an injection, as the ledger tells it."""

import itertools

import pytest

from chaos.history import History, moved
from chaos.model import MOVES, Kind, Phase
from chaos.records import Moved, Recorded, Remark, TimerStarted
from clusters.errors import SetupError


def recorded(name: str) -> Recorded:
    """An injection without steps."""
    return Recorded(
        id=name,
        run_id="r",
        at="now",
        fault="founding",
        params={},
        kind=Kind.REVERSIBLE,
        claims=(),
        steps=(),
        facts={},
    )


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_only_the_moves_of_the_table_are_allowed(before: Phase, after: Phase) -> None:
    """An injection that becomes clean without having been undone is a bug, not a state."""
    if after in MOVES[before]:
        assert moved("x", before, after) is after
    else:
        with pytest.raises(SetupError, match=f"x: a move from {before} to {after} is not allowed"):
            moved("x", before, after)


def test_every_phase_leads_to_clean() -> None:
    """From wherever it was interrupted."""
    for phase in Phase:
        reached = {phase}
        while more := {after for each in reached for after in MOVES[each]} - reached:
            reached |= more
        assert Phase.CLEAN in reached


def test_what_is_not_clean_is_open_in_the_order_recorded() -> None:
    """Undo goes through them backwards."""
    history = History.of([recorded("a"), recorded("b"), recorded("c")])
    history.add(Moved(id="b", at="now", phase=Phase.UNDONE))
    history.add(Moved(id="b", at="now", phase=Phase.CLEAN))

    assert [each.what.id for each in history.open()] == ["a", "c"]
    assert history.get("b") is not None
    assert history.get("d") is None


def test_a_timer_and_remarks_belong_to_their_injection() -> None:
    """The undo ends the timer; a remark says why a timer could not undo."""
    history = History.of([recorded("a"), recorded("b")])
    timer = TimerStarted(id="b", at="now", pid=7, started=9, after_s=1.0)
    history.add(timer)
    history.add(Remark(id="b", at="now", text="revert timer: no"))

    first, second = history.open()

    assert (first.timer, first.remarks) == (None, ())
    assert (second.timer, second.remarks) == (timer, ("revert timer: no",))
