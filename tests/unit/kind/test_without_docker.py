"""The kind provider on a machine where Docker cannot be used: twins must not suffer from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.errors import SetupError, UsageError
from clusters.providers.base import ClusterSpec
from clusters.providers.kind import docker_facts
from clusters.providers.kind.provider import KindProvider


@pytest.fixture(autouse=True)
def _no_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_no_cluster_is_listed_or_found() -> None:
    """Listing goes on to the other providers, and a name that none has is the caller's mistake."""
    assert KindProvider().list() == ()
    with pytest.raises(UsageError, match="docker"):
        KindProvider().open("any")


def test_up_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the program."""
    monkeypatch.setattr("os.geteuid", lambda: 0)

    with pytest.raises(SetupError, match="docker"):
        KindProvider().up(ClusterSpec(provider="kind", name="any"), progress=print)


def test_doctor_says_no_for_the_command_and_unknown_for_the_daemon() -> None:
    """What cannot be asked is not a no."""
    answers = {fact.name: fact for fact in docker_facts.facts()}

    assert answers["docker daemon"].ok is None
    command = answers["docker command"]
    assert command.ok is False
    assert command.fix
