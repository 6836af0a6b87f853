"""Doctor's answers, on machines that lack something."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from clusters.commands import find_tool, run_argv
from clusters.errors import SetupError
from clusters.features import Feature, probe, require_twin
from clusters.places import make_state_dir, state_root

pytestmark = pytest.mark.twin

NAMES = "import json, clusters.features as f; print(json.dumps(f.probe()))"
WITHOUT_NAMESPACES = (
    "echo 0 > /proc/sys/user/max_user_namespaces;"
    f" exec setpriv --bounding-set=-all --inh-caps=-all {sys.executable} -c '{NAMES}'"
)


def answers() -> dict[str, Feature]:
    """By name; names are unique."""
    found = probe()
    assert len({feature.name for feature in found}) == len(found)
    return {feature.name: feature for feature in found}


def hide(tool: str) -> None:
    """Let a tool be none, in this mount namespace only."""
    path = find_tool(tool)
    assert path
    argv = ["mount", "--bind", "/dev/null", str(Path(path).resolve())]
    assert run_argv(argv, timeout_s=5).status == 0


def test_where_a_twin_can_run_every_answer_for_it_is_yes() -> None:
    """This machine runs twins: the tests beside this one do. Each "no" elsewhere has a fix."""
    found = answers()

    assert [f for f in found.values() if f.needed_for == "twin" and not f.ok] == []
    assert {"namespaces", "device vxlan", "service address", "raw sockets"} <= found.keys()
    assert all(f.fix for f in found.values() if f.ok is False)
    assert all("\n" not in f.detail + f.fix for f in found.values())
    require_twin(places=10)


def test_nothing_stays_of_the_trials() -> None:
    """They are made in a child's namespaces."""
    before = run_argv(["sh", "-c", "ip link; iptables-save"], timeout_s=5).stdout

    assert answers()["device vxlan"].ok
    assert run_argv(["sh", "-c", "ip link; iptables-save"], timeout_s=5).stdout == before


def test_missing_iptables_is_named_with_its_package() -> None:
    """Before anything is built, and by doctor."""
    require_twin(places=1)
    hide("iptables-restore")

    with pytest.raises(
        SetupError, match=r"iptables-restore: not found.*install the package iptables"
    ):
        require_twin(places=1)
    found = answers()
    assert found["command iptables-save"].ok is False
    assert found["service address"].ok is False
    assert "cannot run `iptables-restore" in found["service address"].detail
    assert "install the package iptables" in found["service address"].fix
    assert found["device vxlan"].ok


def test_a_machine_without_user_namespaces_is_told_what_to_allow() -> None:
    """As an ordinary user would be, where the administrator forbids them."""
    done = run_argv(["unshare", "-Ur", "sh", "-c", WITHOUT_NAMESPACES], timeout_s=10)

    assert done.status == 0, done.stderr
    assert '"namespaces", false, "twin", "no user namespace left' in done.stdout
    assert "max_user_namespaces" in done.stdout


def test_a_full_disk_is_told_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the path, the reason and the fix in one line; the same disk with room is fine."""
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path))
    require_twin(places=1)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=1", "tmpfs", str(tmp_path)]
    assert run_argv(mount, timeout_s=5).status == 0

    with pytest.raises(SetupError, match=f"{tmp_path}, 0 MiB free .fix: free some space"):
        require_twin(places=1)
    with pytest.raises(SetupError, match=f"{tmp_path}/c1: No space left on device; free some"):
        make_state_dir("c1")


def test_a_state_directory_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only disk, as root sees one too."""
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path / "deep" / "state"))
    require_twin(places=1)
    for options in (["--bind"], ["-o", "remount,bind,ro"]):
        assert run_argv(["mount", *options, str(tmp_path), str(tmp_path)], timeout_s=5).status == 0

    with pytest.raises(SetupError, match=f"cannot write to {tmp_path} .fix: .*GRAYMESH_STATE"):
        require_twin(places=1)
    assert not state_root().exists()


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    """A big twin needs many descriptors; where the hard limit forbids it, that is said before the build."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 4096))

    require_twin(places=10)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (512, 4096)
    require_twin(places=200)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (4096, 4096)
    with pytest.raises(SetupError, match=r"open files: 5000 nodes and pods .* limit is 4096 .fix"):
        require_twin(places=5000)
