"""Which node image and which flannel a cluster gets, decided from what is asked for and what can be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from clusters import node_image
from clusters.docker import docker
from clusters.errors import GraymeshError, SetupError, UsageError
from clusters.node_image import Built, flannel_tag
from clusters.providers.base import ClusterSpec

# What kind v0.33.0 itself uses (pkg/apis/config/defaults).
PUBLISHED_IMAGE: Final = (
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
)
_PULL_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The image of the nodes, described by `built` where it was built here, and flannel's version."""

    image: str
    flannel: str
    built: Built | None = None

    @property
    def flannel_image(self) -> str:
        """The name of flannel's image: in the node image where it was built here, published otherwise."""
        return flannel_tag(self.flannel)


def choose(spec: ClusterSpec, progress: Callable[[str], None]) -> Chosen:
    """The image asked for; else one built before; else the published one; else one is built now.

    Says which, and why. Raises UsageError for a flannel version that the image lacks, SetupError where there is none.
    """
    if spec.image is not None:
        _pull_if_absent(spec.image, progress)
        return _with_flannel(spec, spec.image)
    built = node_image.built_image()
    if built is not None:
        progress(f"node image {built.image}, built here")
        return _with_flannel(spec, built.image)
    try:
        _pull_if_absent(PUBLISHED_IMAGE, progress)
    except GraymeshError as exc:
        progress(f"the published node image cannot be had ({exc}); building one")
        return _with_flannel(spec, node_image.build(progress=progress).image)
    return _with_flannel(spec, PUBLISHED_IMAGE)


def _with_flannel(spec: ClusterSpec, image: str) -> Chosen:
    built = node_image.describe(image)
    known = built.flannel if built is not None else node_image.flannel_versions()
    wanted = f"v{spec.cni_version.removeprefix('v')}" if spec.cni_version else known[-1]
    if built is not None and wanted not in known:
        raise UsageError(
            f"--cni: {image} holds flannel {', '.join(known)}, got {wanted};"
            f" or give a published image with --image"
        )
    return Chosen(image=image, flannel=wanted, built=built)


def _pull_if_absent(image: str, progress: Callable[[str], None]) -> None:
    try:
        docker(["image", "inspect", "--format={{.Id}}", image])
    except SetupError:
        progress(f"pulling {image}")
        docker(["pull", "--quiet", image], timeout_s=_PULL_S)
