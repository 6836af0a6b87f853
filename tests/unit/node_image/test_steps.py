"""The node image's steps: what they are known by, kept under and resumed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from clusters.errors import SetupError, UsageError
from clusters.node_image import building, cache, go_tools, needs
from clusters.node_image.steps import Parts, Step, in_order


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def _step(
    name: str, *, inputs: tuple[str, ...] = (), parts: tuple[Step, ...] = (), fails: bool = False
) -> Step:
    def make(out: Path, made: Parts) -> None:
        if fails:
            raise SetupError(f"{name} fails")
        content = "".join((made[part.name] / "result").read_text() for part in parts)
        (out / "result").write_text(f"{content}{name};")

    return Step(name=name, inputs=inputs, make=make, expected_s=1.0, parts=parts)


def test_the_key_changes_with_an_input_of_a_part_and_not_without() -> None:
    """A kept result is used again only where nothing that went into it has changed."""
    one = _step("whole", parts=(_step("part", inputs=("a",)),))
    same = _step("whole", parts=(_step("part", inputs=("a",)),))
    other = _step("whole", parts=(_step("part", inputs=("b",)),))

    assert one.key == same.key
    assert one.key != other.key


def test_inputs_cannot_run_into_each_other() -> None:
    """("ab", "c") and ("a", "bc") are different inputs."""
    assert _step("s", inputs=("ab", "c")).key != _step("s", inputs=("a", "bc")).key


def test_parts_come_before_what_is_made_of_them_and_once() -> None:
    """Two steps share a part: it is made once, first."""
    shared = _step("shared")
    left, right = _step("left", parts=(shared,)), _step("right", parts=(shared,))

    order = [step.name for step in in_order(_step("last", parts=(left, right)))]

    assert order == ["shared", "left", "right", "last"]


def test_a_build_that_failed_goes_on_where_it_stopped() -> None:
    """What was finished before the failure is kept; only the rest is made by the next call."""
    part = _step("part")
    said: list[str] = []
    with pytest.raises(SetupError, match="whole fails"):
        building._made(_step("whole", parts=(part,), fails=True), said.append)
    assert cache.kept(part)
    assert not list(cache.cache_root().glob("*.partial"))
    said.clear()

    result = building._made(_step("whole", parts=(part,)), said.append)

    assert (result / "result").read_text() == "part;whole;"
    assert len(said) == 1
    assert said[0].startswith("[1/1] whole; about ")


def test_what_is_kept_is_not_made_again() -> None:
    """A second call says nothing and needs nothing."""
    step = _step("only")
    building._made(step, lambda _line: None)
    said: list[str] = []

    building._made(step, said.append)

    assert said == []


def test_every_missing_need_is_said_at_once_with_its_fix() -> None:
    """Nobody should install one thing to be told of the next; what is there is not mentioned."""
    wanted = [
        needs.Need(name="Go", missing=lambda: "not found", fix="install Go"),
        needs.Need(name="there", missing=lambda: "", fix="nothing"),
        needs.Need(name="root", missing=lambda: "running as user 7", fix="use sudo"),
    ]

    with pytest.raises(SetupError) as caught:
        needs.require(wanted)

    text = str(caught.value)
    assert "Go: not found (install Go)" in text
    assert "root: running as user 7 (use sudo)" in text
    assert "there" not in text


def test_versions_come_from_the_pinned_modules() -> None:
    """go.mod is the one place that says a version."""
    assert go_tools.pinned("kubernetes", "k8s.io/kubernetes") == "v1.34.4"
    assert go_tools.pinned("kind", "sigs.k8s.io/kind") == "v0.33.0"
    assert go_tools.flannel_versions() == ("v0.28.4", "v0.28.10")
    with pytest.raises(UsageError, match="does not require"):
        go_tools.pinned("kind", "k8s.io/kubernetes")


def test_an_unknown_flannel_version_is_refused_with_the_known_ones() -> None:
    """Only versions with a pinned module folder can be built."""
    with pytest.raises(UsageError, match=r"expected one of v0\.28\.4, v0\.28\.10"):
        building.build(flannel=("0.9.0",), progress=lambda _line: None)


def test_every_program_has_its_module_pinned_by_checksums() -> None:
    """A module folder without go.sum would fetch what nobody has seen; pause needs no module at all."""
    for program in (*go_tools.kubernetes_programs(), *go_tools.cni_programs(), go_tools.COREDNS):
        assert (go_tools.MODULES / program.module / "go.sum").is_file()
    assert not (go_tools.MODULES / "pause" / "go.sum").exists()
