"""What errnos and ICMP codes say."""

from __future__ import annotations

import errno

import pytest

from probes.outcome import Outcome, by_errno, by_unreachable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ECONNREFUSED, "refused"),
        (errno.EHOSTUNREACH, "unreachable-host"),
        (errno.ENETUNREACH, "unreachable-net"),
        (errno.EPERM, "prohibited"),
        (errno.ECONNRESET, "reset"),
    ],
)
def test_an_errno_of_the_network_is_a_kind_of_error(code: int, kind: str) -> None:
    """It was observed, so it is data."""
    assert by_errno(code).kind == kind


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, None])
def test_an_errno_of_the_prober_is_no_measurement(code: int | None) -> None:
    """Unknown, never failed."""
    assert by_errno(code) is Outcome.VOID


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, Outcome.UNREACHABLE_NET),
        (1, Outcome.UNREACHABLE_HOST),
        (3, Outcome.REFUSED),
        (13, Outcome.PROHIBITED),
        (200, Outcome.UNREACHABLE_HOST),
    ],
)
def test_an_icmp_code_is_a_kind_of_error(code: int, outcome: Outcome) -> None:
    """Codes that do not exist are still errors."""
    assert by_unreachable(code) is outcome
