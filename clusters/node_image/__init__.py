"""The offline node image: built from Go modules and Debian packages, listed, removed."""

from clusters.node_image.building import (
    Built,
    build,
    built_image,
    cni_program,
    describe,
    kind_program,
    list_images,
    remove,
)
from clusters.node_image.go_tools import flannel_versions
from clusters.node_image.images import flannel_tag

__all__ = [
    "Built",
    "build",
    "built_image",
    "cni_program",
    "describe",
    "flannel_tag",
    "flannel_versions",
    "kind_program",
    "list_images",
    "remove",
]
