"""Acting on the cluster with an account of it: each action is announced before it begins and when it is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chaos import goals, tables
from chaos.journal import Journal
from chaos.model import Facts, Goal
from chaos.records import Command
from chaos.tables import Seen
from chaos.world import World
from clusters.errors import DeadlineExceededError, GraymeshError
from clusters.providers.base import Completed
from clusters.waiting import Deadline, poll_until


class Acts:
    """What the engine can do to a cluster, and see of it."""

    def __init__(self, world: World, journal: Journal, settle_s: float) -> None:
        self._settle_s = settle_s
        self.world = world
        self.journal = journal

    def bring(self, tag: str, goal: Goal, what: str) -> None:
        """Bring the cluster to the goal. Raises what the cluster raises; some of it may be done then."""
        self.journal.say(tag, f"{what} begins")
        goals.bring(goal, self.world)
        self.journal.say(tag, f"{what} done")

    def run(self, tag: str, command: Command, what: str) -> Completed:
        """Run a command on a node; its status is a result. Raises ExecTransportError."""
        self.journal.say(tag, f"{what} begins")
        done = self.world.cluster.run(command.node, command.argv)
        self.journal.say(tag, f"{what} done")
        return done

    def settled(self, wanted: Sequence[Goal], accept: Callable[[Seen], bool]) -> tuple[Seen, ...]:
        """Read the goals back until all are accepted or the time to settle is over; what was seen last."""

        def glance() -> tuple[Seen, ...]:
            return tuple(goals.look(goal, self.world) for goal in wanted)

        try:
            return poll_until(
                glance,
                until=lambda seen: all(map(accept, seen)),
                awaited="the read-back",
                deadline=Deadline.after(self._settle_s),
            )
        except DeadlineExceededError:
            return glance()

    def facts(self) -> dict[str, Facts]:
        """What every node is now."""
        return tables.facts(self.world.inventory(), self.world.boot_ids())


def one_line(exc: BaseException | None) -> str:
    """An error as one line: graymesh's own say it all, others need their class."""
    text = " ".join(str(exc).split())
    return text if isinstance(exc, GraymeshError) else f"{type(exc).__name__}: {text}"
