"""Long runs of the main job: many seeds, many healthy runs, kills at random moments.

`python -m tests.soak founding 100`, `healthy 300`, `kills 50`. Prints one line for each run that is not as it must
be, and a closing line; exits 1 when there was any.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_GRAYMESH: Final = str(Path(sys.executable).parent / "graymesh")


def graymesh(*words: str, timeout_s: float = 120) -> tuple[int, dict[str, Any], str]:
    """Run the command with `--json -`; exit status, document, and the last line on stderr."""
    argv = [_GRAYMESH, *words, "--json", "-"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return done.returncode, json.loads(done.stdout or "{}"), last


def founding(number: int) -> Iterator[str]:
    """`run founding` over N 4-10, R 2-5, P 1-3: exactly the stale edges and entries, every other run proved."""
    for seed in range(number):
        rng = random.Random(seed)
        shape = [rng.randint(4, 10), rng.randint(2, 5), rng.randint(1, 3)]
        words = [f"--nodes={shape[0]}", f"--dns-replicas={shape[1]}", f"--pods-per-node={shape[2]}"]
        status, document, last = graymesh("run", "founding", *words, f"--seed={seed}", "--prove")
        wrong = _wrong(status, document)
        if wrong:
            yield f"seed {seed} {' '.join(words)}: exit {status}: {wrong} ({last})"


def _wrong(status: int, document: Mapping[str, Any]) -> str:
    """What is not as it must be, by an account of its own: the injection's parameters against the findings."""
    if status != 0 or "scenario" not in document:
        failed = [
            f"{one['name']}: {one['message']}"
            for one in document.get("scenario", {}).get("assertions", ())
            if one["outcome"] != "pass"
        ]
        return "; ".join(failed) or "no document"
    injected = document["scenario"]["injected"][0]["params"]
    victim, peers = injected["victim"], sorted(injected["peers"].split(","))
    findings = document["findings"]
    edges = sorted(tuple(edge) for one in findings for edge in one["edges"])
    entries = sorted(
        (e["observer"], e["owner"], e["table"]) for one in findings for e in one["entries"]
    )
    if edges != [(peer, victim) for peer in peers]:
        return f"edges {edges}, stale {peers} towards {victim}"
    if entries != [(peer, victim, "neigh") for peer in peers]:
        return f"entries {entries}"
    return "" if all(one["proved"] for one in findings) else "not proved"


def healthy(number: int) -> Iterator[str]:
    """Healthy runs, a fresh twin every ten: no finding, no failed pair."""
    for batch in range(0, number, 10):
        name = f"soak-{os.getpid()}"
        nodes = random.Random(batch).randint(3, 10)
        graymesh("up", "--name", name, "--nodes", str(nodes))
        for _ in range(min(10, number - batch)):
            status, document, last = graymesh("diagnose", "--name", name)
            totals = document.get("totals", {})
            if (
                status
                or document["findings"]
                or totals["fail"]
                or totals["unknown"]
                or not totals["pass"]
            ):
                yield f"batch {batch}: exit {status}: {totals} {document.get('findings')} ({last})"
        graymesh("down", "--name", name)


def kills(number: int) -> Iterator[str]:
    """SIGKILL of `run founding` at a random moment; recover must leave the kernel as it was before."""
    name = f"soak-{os.getpid()}"
    graymesh("up", "--name", name, "--nodes", "4")
    before = dump(name)
    for turn in range(number):
        rng = random.Random(turn)
        argv = [_GRAYMESH, "run", "founding", "--name", name, "--seed", str(turn), "--prove"]
        with tempfile.TemporaryFile() as sink:
            victim = subprocess.Popen(argv, stdout=sink, stderr=sink)
            try:
                victim.wait(rng.uniform(0.1, 2.8))
            except subprocess.TimeoutExpired:
                victim.send_signal(signal.SIGKILL)
            victim.wait()
        status, _, last = graymesh("recover", "--name", name)
        after = dump(name)
        if status:
            yield f"turn {turn}: recover exits {status}: {last}"
        if after != before:
            changed = [place for place in before if before[place] != after.get(place)]
            yield f"turn {turn}: tables differ on {changed}"
            before = after
    graymesh("down", "--name", name)


def dump(name: str) -> Mapping[str, str]:
    """What `ip` and `bridge` say of every node, without counters and indexes; sorted lines."""
    commands = (
        ("ip", "-br", "link"),
        ("ip", "-br", "addr"),
        ("ip", "neigh", "show", "nud", "permanent"),
        ("bridge", "fdb", "show", "dev", "flannel.1"),
        ("ip", "route"),
        ("iptables-save", "-t", "raw"),
        ("iptables-save", "-t", "nat"),
    )
    places = {}
    for node in ("n0", "n1", "n2", "n3"):
        for command in commands:
            argv = [_GRAYMESH, "exec", "--name", name, f"node/{node}", "--", *command]
            text = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
            lines = sorted(line for line in text.splitlines() if not line.startswith(("#", ":")))
            places[f"{node} {' '.join(command)}"] = "\n".join(lines)
    return places


PARTS: Final[Mapping[str, Callable[[int], Iterator[str]]]] = {
    "founding": founding,
    "healthy": healthy,
    "kills": kills,
}


def main() -> int:
    """Run one part and say how it went."""
    asked = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    asked.add_argument("part", choices=PARTS)
    asked.add_argument("number", type=int)
    options = asked.parse_args()
    wrong = 0
    for line in PARTS[options.part](options.number):
        wrong += 1
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    sys.stdout.write(f"{options.part}: {options.number} runs, {wrong} not as they must be\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
