"""The value of one answer about this machine."""

from __future__ import annotations

from typing import NamedTuple


class Feature(NamedTuple):
    """One answer. `ok` is None where it could not be found out; `fix` is empty where nothing is to be done."""

    name: str
    ok: bool | None
    needed_for: str  # "twin", "kind", or "-" for what only limits or helps
    detail: str
    fix: str = ""


def yes(name: str, needed_for: str, detail: str) -> Feature:
    """It is so."""
    return Feature(name=name, ok=True, needed_for=needed_for, detail=detail)


def no(name: str, needed_for: str, detail: str, fix: str) -> Feature:
    """It is not so, and what would make it so."""
    return Feature(name=name, ok=False, needed_for=needed_for, detail=detail, fix=fix)


def unknown(name: str, needed_for: str, detail: str) -> Feature:
    """It could not be found out, for the reason in `detail`."""
    return Feature(name=name, ok=None, needed_for=needed_for, detail=detail)
