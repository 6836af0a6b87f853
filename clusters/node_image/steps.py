"""Build steps: each is named by what goes into it, so that its result can be kept and found again."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from clusters.node_image.needs import Need

Parts = Mapping[str, Path]
"""The results of the steps a step builds on, by their names."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing to build. `make` fills an empty directory and raises SetupError where it cannot.

    `inputs` are all texts that decide the result; with the keys of `parts` they make the key. `expected_s` is what
    the step took on two cores, for the estimate only. `holds` says of a kept result whether it is still there, where
    it lives elsewhere (an image in Docker's store).
    """

    name: str
    inputs: tuple[str, ...]
    make: Callable[[Path, Parts], None]
    expected_s: float
    parts: tuple[Step, ...] = ()
    needs: tuple[Need, ...] = ()
    holds: Callable[[Path], bool] = lambda _kept: True

    @functools.cached_property
    def key(self) -> str:
        """Changes when, and only when, something that goes into the step changes."""
        digest = hashlib.sha256()
        for text in (self.name, *self.inputs, *(part.key for part in self.parts)):
            digest.update(hashlib.sha256(text.encode()).digest())
        return digest.hexdigest()[:16]


def in_order(last: Step) -> tuple[Step, ...]:
    """Every step that `last` stands on, parts before what is made of them, `last` at the end."""
    return tuple({step.name: step for step in _walk(last)}.values())


def _walk(step: Step) -> Iterator[Step]:
    for part in step.parts:
        yield from _walk(part)
    yield step
