"""Container images written without Docker."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

from clusters.node_image.archive import ContainerImage, write_archive


def _images(folder: Path) -> list[ContainerImage]:
    base = folder / "base"
    (base / "usr/sbin").mkdir(parents=True)
    (base / "usr/sbin/tool").write_text("tool")
    (base / "usr/sbin/alias").symlink_to("tool")
    binary = folder / "agent"
    binary.write_text("agent")
    binary.chmod(0o755)
    return [
        ContainerImage(tag="one:1", binary=binary, command="agent", base=base),
        ContainerImage(tag="two:1", binary=binary, command="agent", base=base),
        ContainerImage(tag="bare:1", binary=binary, command="agent"),
    ]


def test_a_base_of_several_images_is_in_the_archive_once(tmp_path: Path) -> None:
    """Three images of one binary, two of them on one base: two layers in all."""
    write_archive(_images(tmp_path), tmp_path / "images.tar", machine="x86_64")

    with tarfile.open(tmp_path / "images.tar") as archive:
        names = archive.getnames()
        manifest = json.loads(_read(archive, "manifest.json"))

    layers = [name for name in names if name.endswith(".tar")]
    assert len(layers) == len(set(layers)) == 2
    assert [entry["RepoTags"] for entry in manifest] == [["one:1"], ["two:1"], ["bare:1"]]
    assert [len(entry["Layers"]) for entry in manifest] == [2, 2, 1]


def test_digests_are_those_of_the_layers(tmp_path: Path) -> None:
    """A runtime refuses an image whose config names other digests than its layers have."""
    write_archive(_images(tmp_path), tmp_path / "images.tar", machine="x86_64")

    with tarfile.open(tmp_path / "images.tar") as archive:
        manifest = json.loads(_read(archive, "manifest.json"))
        for entry in manifest:
            config = json.loads(_read(archive, entry["Config"]))
            digests = [hashlib.sha256(_read(archive, name)).hexdigest() for name in entry["Layers"]]
            assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}" for digest in digests]
            assert config["architecture"] == "amd64"
            assert config["config"]["Entrypoint"] == ["/usr/local/bin/agent"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Times and owners of the builder's files do not get into the image."""
    images = _images(tmp_path)
    write_archive(images, tmp_path / "first.tar", machine="x86_64")
    images[0].binary.touch()
    write_archive(images, tmp_path / "second.tar", machine="x86_64")

    assert (tmp_path / "first.tar").read_bytes() == (tmp_path / "second.tar").read_bytes()


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None
    return member.read()
