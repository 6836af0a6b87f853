"""The offline node image: built from Go modules and Debian packages, listed, removed."""

from clusters.node_image.building import (
    Built,
    build,
    built_image,
    kind_program,
    list_images,
    remove,
)

__all__ = ["Built", "build", "built_image", "kind_program", "list_images", "remove"]
