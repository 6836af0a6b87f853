"""One measured figure, its goal, and its peer."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure; `ratio` is the peer's time ÷ ours, or our rate ÷ the peer's: more than 1 is faster."""

    name: str
    value: float
    unit: str
    goal: str = ""
    peer: str = ""
    ratio: float | None = None

    def document(self) -> dict[str, str | float | None]:
        """As JSON holds it."""
        return asdict(self)

    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        value = (
            f"{self.value:,.0f}"
            if self.value >= 100 or self.value == int(self.value)
            else f"{self.value:.3f}"
        )
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return self.name, f"{value} {self.unit}".strip(), self.goal, ratio, self.peer
