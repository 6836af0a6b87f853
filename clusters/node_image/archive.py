"""Container images as `docker save` writes them: one tar of layers, configs and a manifest, made without Docker."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerImage:
    """One binary on an empty file system, or on the tree `base`; called by its path in `/usr/local/bin`."""

    tag: str
    binary: Path
    command: str
    base: Path | None = None


def write_archive(images: Sequence[ContainerImage], target: Path, *, machine: str) -> None:
    """Write all images into one archive; a base used by several is one layer, there once. Same input, same bytes."""
    scratch = target.with_suffix(".layers")
    scratch.mkdir()
    layers = _Layers(scratch)
    with tarfile.open(target, "w") as archive:
        entries = [_add_image(archive, image, layers, machine=machine) for image in images]
        for digest, path in sorted(layers.written.items()):
            _add_file(archive, f"{digest}.tar", path)
        _add_bytes(archive, "manifest.json", json.dumps(entries).encode())
    for path in scratch.iterdir():
        path.unlink()
    scratch.rmdir()


class _Layers:
    """Layer tars by digest; trees are packed once."""

    def __init__(self, folder: Path) -> None:
        self.written: dict[str, Path] = {}
        self._folder = folder
        self._bases: dict[Path, str] = {}

    def of_tree(self, tree: Path) -> str:
        if tree not in self._bases:
            files = ((str(path.relative_to(tree)), path) for path in sorted(tree.rglob("*")))
            self._bases[tree] = self._pack(files)
        return self._bases[tree]

    def of_binary(self, image: ContainerImage) -> str:
        return self._pack([(f"usr/local/bin/{image.command}", image.binary)])

    def _pack(self, files: Iterable[tuple[str, Path]]) -> str:
        path = self._folder / f"{len(self.written)}.tar"
        with tarfile.open(path, "w") as layer:
            for name, source in files:
                _add_file(layer, name, source)
        with path.open("rb") as packed:
            digest = hashlib.file_digest(packed, "sha256").hexdigest()
        self.written[digest] = path
        return digest


def _add_image(
    archive: tarfile.TarFile, image: ContainerImage, layers: _Layers, *, machine: str
) -> Mapping[str, object]:
    digests = [layers.of_tree(image.base)] if image.base is not None else []
    digests.append(layers.of_binary(image))
    config = json.dumps(
        {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": {"Env": [_PATH], "Entrypoint": [f"/usr/local/bin/{image.command}"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        },
        sort_keys=True,
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    _add_bytes(archive, name, config)
    return {
        "Config": name,
        "RepoTags": [image.tag],
        "Layers": [f"{digest}.tar" for digest in digests],
    }


def _add_file(archive: tarfile.TarFile, name: str, source: Path) -> None:
    member = archive.gettarinfo(source, name)
    member.mtime = 0
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    if not member.isreg():
        archive.addfile(member)
        return
    with source.open("rb") as content:
        archive.addfile(member, content)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, BytesIO(content))
