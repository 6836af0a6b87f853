"""What is under way is bounded, ages and expires."""

from __future__ import annotations

from dataclasses import dataclass

from probes.flight import Flight


@dataclass(slots=True)
class Item:
    """Something sent."""

    sent_ns: int
    young: bool = True
    open: bool = True


def flight(*sent_ns: int, window: int = 3) -> tuple[Flight[Item], list[Item]]:
    """A flight with age 10 and timeout 100, and what is under way in it."""
    made: Flight[Item] = Flight(window=window, age_ns=10, timeout_ns=100)
    items = [Item(moment) for moment in sent_ns]
    for item in items:
        made.add(item)
    return made, items


def test_a_full_window_has_no_room_until_one_is_answered() -> None:
    """So that no buffer on the way overflows."""
    made, items = flight(1, 2, 3)
    assert made.room(3) == 0

    made.done(items[1])

    assert made.room(3) == 1


def test_what_stays_unanswered_stops_counting() -> None:
    """A dead destination does not hold up the rest."""
    made, _items = flight(1, 2, 3)

    assert made.opens_ns() == 11
    assert made.room(12) == 2
    assert made.under_way == 3


def test_an_aged_item_that_is_answered_frees_nothing_twice() -> None:
    """Else the window would grow."""
    made, items = flight(1, 2, 3)
    made.room(11)

    made.done(items[0])

    assert made.room(11) == 1
    assert made.young == 2


def test_the_oldest_expires_first_and_only_once_due() -> None:
    """Answered ones never do."""
    made, items = flight(1, 2, 50)
    made.done(items[0])

    assert made.due_ns() == 103
    assert made.expired(102) == []
    assert made.expired(103) == [items[1]]
    assert made.expired(152) == [items[2]]


def test_an_empty_flight_awaits_nothing() -> None:
    """A wave ends then."""
    made, items = flight(1)
    made.done(items[0])

    assert made.due_ns() is None
    made.room(100)
    assert made.opens_ns() is None
