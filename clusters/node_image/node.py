"""The node image itself: a Debian container that has become a kind node, kept in Docker's store."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from clusters.commands import run_argv
from clusters.docker import docker
from clusters.errors import SetupError
from clusters.node_image import go_tools, needs
from clusters.node_image.debian import ROOT_FILE_SYSTEM, debian_step, network_tools_step
from clusters.node_image.images import Versions, images_step
from clusters.node_image.steps import Parts, Step

REPOSITORY: Final = "graymesh/node"
LABEL: Final = "graymesh.node-image"
_ASSEMBLE: Final = Path(__file__).parent / "assemble.sh"
_PACK_S: Final = 600.0
_ASSEMBLE_S: Final = 900.0
_MARK: Final = "image"
"""The file in the step's result that names the image."""


def node_step(versions: Versions) -> Step:
    """The whole build, as its last step."""
    programs = go_tools.kubernetes_programs()
    debian = debian_step()
    on_node = [p for p in programs if p.name in {"kubelet", "kubeadm", "kubectl"}]
    parts = (
        *(go_tools.program_step(program) for program in (*on_node, *go_tools.cni_programs())),
        images_step(versions, programs, network_tools_step(debian)),
        go_tools.module_files_step(
            "kind-files", module="kind", path="sigs.k8s.io/kind", folder="images/base/files"
        ),
    )
    return Step(
        name="node",
        inputs=(_ASSEMBLE.read_text(), *_labels(versions)),
        make=lambda out, made: _make(versions, debian, parts, out, made),
        expected_s=60.0,
        parts=(debian, *parts),
        needs=(needs.DOCKER, needs.ROOT),
        holds=lambda result: exists(image_of(result)),
    )


def image_of(result: Path) -> str:
    """The image's name, from the node step's result."""
    return (result / _MARK).read_text().strip()


def exists(image: str) -> bool:
    """Whether Docker has an image of that name. False as well where Docker does not answer."""
    try:
        docker(["image", "inspect", "--format", "{{.Id}}", image])
    except SetupError:
        return False
    return True


def _labels(versions: Versions) -> tuple[str, ...]:
    return (
        f"{LABEL}=1",
        f"graymesh.kubernetes={versions.kubernetes}",
        f"graymesh.coredns={versions.coredns}",
        f"graymesh.etcd={versions.etcd}",
        f"graymesh.flannel={','.join(versions.flannel)}",
    )


def _make(versions: Versions, debian: Step, parts: Iterable[Step], out: Path, made: Parts) -> None:
    key = out.name.removesuffix(".partial")
    image = f"{REPOSITORY}:{versions.kubernetes}-{key.removeprefix('node-')[:8]}"
    base = f"{REPOSITORY}-base:{key}"
    _import(made[debian.name] / ROOT_FILE_SYSTEM, out / "base.tar", base)
    mounts = [f"--volume={made[part.name]}:/in/{part.name}:ro" for part in parts]
    container = docker(
        [
            *("create", "--privileged", "--stop-signal=SIGRTMIN+3"),  # systemd's, for docker stop
            *(f"--volume={_ASSEMBLE}:/in/assemble.sh:ro", *mounts),
            *("--entrypoint=/bin/sh", base, "/in/assemble.sh", versions.kubernetes),
        ]
    ).strip()
    try:
        docker(["start", "--attach", container], timeout_s=_ASSEMBLE_S)
        docker(["commit", *_changes(versions), container, image], timeout_s=_PACK_S)
    finally:
        docker(["rm", "--force", "--volumes", container])
        docker(["image", "rm", base])  # the node image keeps its layer
    (out / _MARK).write_text(f"{image}\n")


def _import(tree: Path, packed: Path, name: str) -> None:
    done = run_argv(["tar", "-C", str(tree), "-cf", str(packed), "."], timeout_s=_PACK_S)
    if done.status:
        raise SetupError(f"cannot pack {tree}: {done.stderr.strip()}")
    docker(["import", str(packed), name], timeout_s=_PACK_S)
    packed.unlink()


def _changes(versions: Versions) -> list[str]:
    lines = (
        'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]',
        "CMD []",
        "ENV container=docker",
        *(f"LABEL {label}" for label in _labels(versions)),
    )
    return [f"--change={line}" for line in lines]
