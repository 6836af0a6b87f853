"""Run the build's steps in order: what is kept is not made again, what is missing is said before anything starts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.docker import docker
from clusters.errors import SetupError, UsageError
from clusters.node_image import cache, go_tools, needs, node
from clusters.node_image.images import Versions
from clusters.node_image.steps import Step, in_order

Say = Callable[[str], None]
_LISTED: Final = "{{.Repository}}:{{.Tag}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A node image in Docker's store."""

    image: str
    kubernetes: str
    coredns: str
    etcd: str
    flannel: tuple[str, ...]
    size_bytes: int


def build(*, kubernetes: str | None = None, flannel: Sequence[str] = (), progress: Say) -> Built:
    """Build the node image, or as much of it as is not kept from before; all flannel versions where none is named.

    Raises UsageError for a version that cannot be built and SetupError for a missing need or a step that fails; what
    was finished until then is kept, and the next call goes on from there.
    """
    last = node.node_step(_versions(kubernetes, flannel))
    return _described(node.image_of(_made(last, progress)))


def built_image() -> Built | None:
    """The image that `build()` would give, if it is there already; nothing is built."""
    last = node.node_step(_versions(None, ()))
    return _described(node.image_of(cache.place(last))) if cache.kept(last) else None


def kind_program(progress: Say) -> Path:
    """The pinned kind command, built where it is not kept."""
    return _made(go_tools.program_step(go_tools.KIND), progress) / go_tools.KIND.name


def list_images() -> tuple[Built, ...]:
    """The node images in Docker's store, by name. Raises SetupError where Docker cannot be asked."""
    said = docker(["image", "ls", f"--filter=label={node.LABEL}", f"--format={_LISTED}"])
    names = sorted(name for name in said.split() if name.startswith(f"{node.REPOSITORY}:"))
    return tuple(_described(name) for name in names)


def remove(image: str) -> None:
    """Remove one node image, or, called "all", every one with the whole cache folder. Raises UsageError if unknown."""
    known = [built.image for built in list_images()]
    if image != "all" and image not in known:
        raise UsageError(f"node image {image}: expected all or one of {', '.join(known) or 'none'}")
    for name in known if image == "all" else [image]:
        docker(["image", "rm", name])
    if image == "all":
        with cache.storing():
            cache.discard(cache.cache_root())


def cni_program(name: str, progress: Say) -> Path:
    """A CNI plugin, built where it is not kept. Raises UsageError for one that is not built here."""
    for program in go_tools.cni_programs():
        if program.name == f"cni-{name}":
            return _made(go_tools.program_step(program), progress) / program.name
    raise UsageError(f"CNI plugin {name}: not built here")


def describe(image: str) -> Built | None:
    """What an image says about itself by its labels; None where it was not built here. Raises SetupError if absent."""
    said = docker(["image", "inspect", "--format={{.Size}}|{{json .Config.Labels}}", image])
    size, _, text = said.strip().partition("|")
    labels: dict[str, str] = json.loads(text) or {}
    if node.LABEL not in labels:
        return None
    return Built(
        image=image,
        kubernetes=labels["graymesh.kubernetes"],
        coredns=labels["graymesh.coredns"],
        etcd=labels["graymesh.etcd"],
        flannel=tuple(labels["graymesh.flannel"].split(",")),
        size_bytes=int(size),
    )


def _described(image: str) -> Built:
    built = describe(image)
    if built is None:
        raise SetupError(f"the image {image} has lost its labels (graymesh node-image rm {image})")
    return built


def _versions(kubernetes: str | None, flannel: Sequence[str]) -> Versions:
    only = go_tools.pinned("kubernetes", "k8s.io/kubernetes")
    if kubernetes not in {None, only, only.removeprefix("v")}:
        raise UsageError(f"Kubernetes {kubernetes}: expected {only}, the version pinned here")
    wanted = [f"v{version.removeprefix('v')}" for version in flannel]
    for version in wanted:
        go_tools.flanneld(version)  # refuses what cannot be built
    return Versions(
        kubernetes=only,
        coredns=go_tools.pinned("coredns", "github.com/coredns/coredns"),
        etcd=go_tools.pinned("etcd", "go.etcd.io/etcd/server/v3").removeprefix("v"),
        flannel=tuple(wanted) or go_tools.flannel_versions(),
    )


def _made(last: Step, progress: Say) -> Path:
    """The result of a step, made with everything it stands on where it is not kept."""
    if cache.kept(last):
        return cache.place(last)
    with cache.one_build_at_a_time(progress):
        todo = [step for step in in_order(last) if not cache.kept(step)]
        needs.require(_needs(todo))
        _make_all(todo, progress)
    return cache.place(last)


def _needs(todo: Sequence[Step]) -> tuple[needs.Need, ...]:
    wanted = {need.name: need for step in todo for need in step.needs}
    large = sum(step.expected_s for step in todo) > needs.SMALL_BUILD_S
    return (*wanted.values(), *([needs.disk_need(cache.cache_root())] if large else []))


def _make_all(todo: Sequence[Step], progress: Say) -> None:
    pace = 1.0  # this machine's time over the expected time, from the steps done so far
    spent_s = expected_s = 0.0
    for number, step in enumerate(todo, start=1):
        left_s = pace * sum(later.expected_s for later in todo[number - 1 :])
        progress(f"[{number}/{len(todo)}] {step.name}; about {_minutes(left_s)} left")
        started_s = time.monotonic()
        with cache.filling(step) as out:
            step.make(out, {part.name: cache.place(part) for part in step.parts})
        spent_s += time.monotonic() - started_s
        expected_s += step.expected_s
        pace = spent_s / expected_s


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1.0, seconds):.0f} s"
