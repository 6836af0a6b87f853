"""The container images of a node: which programs they hold, under the names that kubeadm asks for."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from clusters.node_image import go_tools
from clusters.node_image.archive import ContainerImage, write_archive
from clusters.node_image.go_tools import Program
from clusters.node_image.steps import Parts, Step

PAUSE_TAG: Final = "registry.k8s.io/pause:3.10"  # as in containerd's configuration in kind's files
_KUBERNETES: Final = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What is in a node image."""

    kubernetes: str
    coredns: str
    etcd: str
    flannel: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    tag: str
    program: Program
    command: str
    calls_network_tools: bool = False


def coredns_tag(version: str) -> str:
    """The name of the CoreDNS image of that version."""
    return f"registry.k8s.io/coredns/coredns:{version}"


def flannel_tag(version: str) -> str:
    """The name of the flannel image of that version, published or built here."""
    return f"ghcr.io/flannel-io/flannel:{version}"


def images_step(versions: Versions, programs: Sequence[Program], network_tools: Step) -> Step:
    """All container images of a node in one archive."""
    contents = _contents(versions, {program.name: program for program in programs})
    parts = tuple(go_tools.program_step(content.program) for content in contents)
    return Step(
        name="images",
        inputs=tuple(f"{c.tag} {c.command} {c.calls_network_tools}" for c in contents),
        make=lambda out, made: _write(contents, network_tools, out / "images.tar", made),
        expected_s=15.0,
        parts=(*parts, network_tools),
    )


def _contents(versions: Versions, programs: dict[str, Program]) -> tuple[_Content, ...]:
    kubernetes = (
        _Content(
            tag=f"registry.k8s.io/{name}:{versions.kubernetes}",
            program=programs[name],
            command=name,
            calls_network_tools=name == "kube-proxy",
        )
        for name in _KUBERNETES
    )
    flannel = (
        _Content(
            tag=flannel_tag(version),
            program=go_tools.flanneld(version),
            command="flanneld",
            calls_network_tools=True,
        )
        for version in versions.flannel
    )
    return (
        *kubernetes,
        *flannel,
        _Content(tag=coredns_tag(versions.coredns), program=go_tools.COREDNS, command="coredns"),
        _Content(
            tag=f"registry.k8s.io/etcd:{versions.etcd}", program=go_tools.ETCD, command="etcd"
        ),
        _Content(tag=PAUSE_TAG, program=go_tools.PAUSE, command="pause"),
    )


def _write(contents: Sequence[_Content], network_tools: Step, target: Path, made: Parts) -> None:
    write_archive(
        [
            ContainerImage(
                tag=content.tag,
                binary=made[content.program.name] / content.program.name,
                command=content.command,
                base=made[network_tools.name] if content.calls_network_tools else None,
            )
            for content in contents
        ],
        target,
        machine=platform.machine(),
    )
