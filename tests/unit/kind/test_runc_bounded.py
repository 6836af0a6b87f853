"""The runtime that asks for no capability the host cannot give."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

from clusters.providers.kind import runc_bounded as runtime

_ALL = (1 << len(runtime.CAPABILITIES)) - 1


def test_a_full_bounding_set_lacks_nothing() -> None:
    """Only what the kernel knows counts: an older one with fewer capabilities lacks none."""
    assert runtime.lacking(_ALL, last=40) == ()
    assert runtime.lacking((1 << 38) - 1, last=37) == ()


def test_the_missing_bit_is_named() -> None:
    """Bit 24 is CAP_SYS_RESOURCE (linux/capability.h)."""
    assert runtime.lacking(_ALL & ~(1 << 24), last=40) == ("CAP_SYS_RESOURCE",)
    assert runtime.bounding_mask("Name:\tx\nCapBnd:\t000001fffeffffff\n") == 0x1FFFEFFFFFF


def test_the_bundle_is_bounded_and_runc_gets_the_arguments(tmp_path: Path) -> None:
    """What reaches runc: config.json without the absent capabilities, and the untouched command line."""
    lacks = runtime.host_lacks()
    granted = [name for name in runtime.CAPABILITIES if name not in lacks]
    _config(tmp_path, list(runtime.CAPABILITIES))
    fake = tmp_path / "bin/runc"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$@"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)

    done = subprocess.run(
        [sys.executable, str(runtime.__file__), "create", "--bundle", str(tmp_path), "c1"],
        env={"PATH": f"{fake.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"create --bundle {tmp_path} c1\n"
    process = json.loads((tmp_path / "config.json").read_text())["process"]
    assert process["capabilities"]["bounding"] == granted
    assert process["args"] == ["sh"]


def test_a_process_without_capabilities_stays_as_it_is() -> None:
    """`runc exec` of a plain process names none."""
    process: dict[str, object] = {"args": ["sh"]}

    assert runtime.bounded(process, ["CAP_SYS_RESOURCE"]) == process


def _config(folder: Path, names: list[str]) -> None:
    process = {"args": ["sh"], "capabilities": {"bounding": names, "effective": names}}
    (folder / "config.json").write_text(json.dumps({"process": process}))
