"""The limits of this machine that a cluster meets first."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clusters.errors import SetupError
from clusters.features.feature import Feature, no, unknown, yes
from clusters.places import state_root

_DESCRIPTORS_A_PLACE: Final = 8  # namespaces kept by the holder, sockets of a prober
_DESCRIPTORS_BESIDES: Final = 256
_FREE_BYTES: Final = 16 << 20  # far more than ledgers take
_INOTIFY_A_KIND_NODE: Final = 16  # measured: the usual 128 instances end at about 8 nodes
_KIND_NODES: Final = 4  # a usual test cluster
_MEBIBYTE: Final = 1 << 20


def limits() -> Iterator[Feature]:
    """What bounds the size of a cluster here."""
    yield yes("processors", "-", f"{len(os.sched_getaffinity(0))} usable")
    yield _open_files()
    yield _host_limit(
        "neighbour entries",
        "net/ipv4/neigh/default/gc_thresh3",
        "{} in all namespaces together; twins keep theirs permanent, which do not count",
    )
    yield _host_limit(
        "tracked connections", "net/netfilter/nf_conntrack_max", "{} in each namespace"
    )
    yield _inotify()


def state_space() -> Feature:
    """Whether the state directory can be written, and has room."""
    root = state_root()
    name, needed_for = "state directory", "twin"
    there = next(path for path in (root, *root.parents) if os.access(path, os.F_OK))
    fix = "make it writable, or point GRAYMESH_STATE to a directory that is"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return no(name, needed_for, f"cannot write to {there}", fix)
    disk = os.statvfs(there)
    free_bytes = disk.f_bavail * disk.f_frsize
    detail = f"{root}, {free_bytes // _MEBIBYTE} MiB free"
    if free_bytes < _FREE_BYTES or (disk.f_files and not disk.f_favail):
        fix = "free some space there, or point GRAYMESH_STATE to another disk"
        return no(name, needed_for, detail, fix)
    return yes(name, needed_for, detail)


def require_descriptors(places: int) -> None:
    """Raise the limit of open files as far as so many nodes, pods and replicas need. Raises SetupError."""
    needed = _DESCRIPTORS_BESIDES + places * _DESCRIPTORS_A_PLACE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > hard:
        raise SetupError(
            f"open files: {places} nodes and pods need {needed}, the limit is {hard}"
            f" (fix: `ulimit -n {needed}` as root before graymesh, or fewer pods)"
        )
    if needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _open_files() -> Feature:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    places = max(0, hard - _DESCRIPTORS_BESIDES) // _DESCRIPTORS_A_PLACE
    detail = f"{hard}: enough for {places} nodes and pods together"
    return yes("open files", "-", detail)


def _host_limit(name: str, key: str, detail: str) -> Feature:
    try:
        value = Path("/proc/sys", key).read_text().strip()
    except OSError:  # seen by the first network namespace only, and with the module loaded
        return unknown(name, "-", f"{key} cannot be read here")
    return yes(name, "-", detail.format(value))


def _inotify() -> Feature:
    name, key = "inotify instances", "fs/inotify/max_user_instances"
    try:
        instances = int(Path("/proc/sys", key).read_text())
    except (OSError, ValueError):
        return unknown(name, "kind", f"{key} cannot be read here")
    nodes = instances // _INOTIFY_A_KIND_NODE
    detail = f"{instances}: enough for about {nodes} kind nodes"
    if nodes >= _KIND_NODES:
        return yes(name, "kind", detail)
    wanted = _KIND_NODES * _INOTIFY_A_KIND_NODE
    return no(name, "kind", detail, f"sysctl -w {key.replace('/', '.')}={wanted}")
