"""Every command that README and docs show is run, in order, as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROMPT = re.compile(r"^\$ (?P<command>.*?)(?:\s+# exit (?P<status>\d+))?$")


def commands(page: Path) -> list[tuple[str, int]]:
    """Commands of a page's console blocks with the exit status that the page promises (0 unless `# exit N`)."""
    lines = (line for block in FENCE.findall(page.read_text()) for line in block.splitlines())
    matches = (PROMPT.match(line) for line in lines)
    return [(found["command"], int(found["status"] or 0)) for found in matches if found]


def is_set_up(command: str) -> bool:
    """Whether a command sets the project up (make …): CI runs those themselves, in a fresh clone."""
    return command.startswith(("make", "git clone", "cd "))


@pytest.mark.twin
@pytest.mark.parametrize("page", [p for p in PAGES if commands(p)], ids=lambda p: p.name)
def test_commands_of_the_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    """A reader pastes these; a page that lies is worse than none."""
    here = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
        "GRAYMESH_STATE": str(tmp_path / "state"),
        "NO_COLOR": "1",
    }
    for command, status in commands(page):
        if is_set_up(command):
            continue
        argv = shlex.split(command.replace(".venv/bin/", ""))
        where = ROOT if argv[0] == "pytest" else tmp_path

        done = subprocess.run(
            argv, cwd=where, env=here, capture_output=True, text=True, timeout=120, check=False
        )

        assert done.returncode == status, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_readme_shows_commands() -> None:
    """Guards the extraction itself: without commands the test above would prove nothing."""
    shown = [command for command, _ in commands(ROOT / "README.md")]

    assert any(command.startswith("graymesh run founding") for command in shown)
    assert any(command.startswith("graymesh diagnose") for command in shown)
