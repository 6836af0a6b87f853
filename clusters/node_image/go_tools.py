"""Programs built from Go modules whose versions are pinned in `modules/`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from clusters.commands import run_argv
from clusters.errors import SetupError, UsageError
from clusters.node_image import needs
from clusters.node_image.steps import Parts, Step

MODULES: Final = Path(__file__).parent / "modules"
_BUILD_S: Final = 3600.0
_SAID_LINES: Final = 3
_FLANNEL: Final = "github.com/flannel-io/flannel"
_PLUGINS: Final = "github.com/containernetworking/plugins/plugins"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A Go program: `package` of the module folder `module`, to be called `name`."""

    name: str
    module: str
    package: str
    expected_s: float
    linker_flags: tuple[str, ...] = ()
    static_c: bool = False  # flannel's udp backend has C in it


def pinned(module: str, path: str) -> str:
    """The version of the Go module `path` in a module folder's go.mod. Raises UsageError if not named there."""
    found = re.search(
        rf"^(?:require)?\s*{re.escape(path)} (v\S+)", _text(module, "go.mod"), re.MULTILINE
    )
    if found is None:
        raise UsageError(f"{module}/go.mod does not require {path}")
    return found[1]


def flannel_versions() -> tuple[str, ...]:
    """The flannel versions that can be built, oldest first."""
    names = (path.name.removeprefix("flannel-") for path in MODULES.glob("flannel-v*"))
    return tuple(sorted(names, key=lambda name: [int(part) for part in name[1:].split(".")]))


def kubernetes_programs() -> tuple[Program, ...]:
    """Everything of Kubernetes that a node runs."""
    flags = _version_flags(pinned("kubernetes", "k8s.io/kubernetes"))
    expected_s = {
        "kubelet": 230.0,
        "kubeadm": 40.0,
        "kubectl": 40.0,
        "kube-proxy": 30.0,
        "kube-apiserver": 70.0,
        "kube-controller-manager": 60.0,
        "kube-scheduler": 30.0,
    }
    return tuple(
        Program(
            name=name,
            module="kubernetes",
            package=f"k8s.io/kubernetes/cmd/{name}",
            expected_s=seconds,
            linker_flags=flags,
        )
        for name, seconds in expected_s.items()
    )


def _version_flags(version: str) -> tuple[str, ...]:
    """Kubeadm refuses to work with binaries that do not know their version."""
    major, minor = version.removeprefix("v").split(".")[:2]
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    places = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return tuple(f"-X {place}.{key}={value}" for place in places for key, value in values.items())


def cni_programs() -> tuple[Program, ...]:
    """The CNI plugins of a node; the flannel one left the plugins' repository after v0.9.1."""
    current = ("main/bridge", "main/ptp", "main/loopback", "ipam/host-local", "meta/portmap")
    return (
        *(_cni(path, "cni-plugins") for path in current),
        _cni("meta/flannel", "cni-flannel"),
    )


def _cni(path: str, module: str) -> Program:
    return Program(
        name=f"cni-{path.split('/')[1]}",
        module=module,
        package=f"{_PLUGINS}/{path}",
        expected_s=5.0,
    )


def flanneld(version: str) -> Program:
    """One version of flanneld. Raises UsageError where it cannot be built."""
    if version not in flannel_versions():
        known = ", ".join(flannel_versions())
        raise UsageError(f"flannel {version}: expected one of {known}")
    return Program(
        name=f"flanneld-{version}",
        module=f"flannel-{version}",
        package=_FLANNEL,
        expected_s=60.0,
        linker_flags=(
            f"-X {_FLANNEL}/pkg/version.Version={version}",
            "-linkmode external -extldflags -static",
        ),
        static_c=True,
    )


KIND: Final = Program(name="kind", module="kind", package="sigs.k8s.io/kind", expected_s=15.0)
ETCD: Final = Program(
    name="etcd", module="etcd", package="go.etcd.io/etcd/server/v3", expected_s=25.0
)
COREDNS: Final = Program(
    name="coredns", module="coredns", package="github.com/coredns/coredns", expected_s=150.0
)
PAUSE: Final = Program(
    name="pause", module="pause", package="graymesh/node-image/pause", expected_s=2.0
)


def program_step(program: Program) -> Step:
    """The step that builds a program; its result holds one file, called as the program."""
    return Step(
        name=program.name,
        inputs=(repr(replace(program, expected_s=0)), *_sources(program.module)),
        make=lambda out, _parts: _build(program, out / program.name),
        expected_s=program.expected_s,
        needs=(needs.GO, *((needs.COMPILER,) if program.static_c else ())),
    )


def module_files_step(name: str, *, module: str, path: str, folder: str) -> Step:
    """A copy of one folder of a Go module's own sources."""

    def copy(out: Path, _parts: Parts) -> None:
        _go(["mod", "download"], module=module, failing=_NO_MODULES)
        where = _go(["list", "-m", "-f", "{{.Dir}}", path], module=module).strip()
        shutil.copytree(
            Path(where) / folder, out, dirs_exist_ok=True, copy_function=shutil.copyfile
        )

    return Step(
        name=name,
        inputs=(path, folder, *_sources(module)),
        make=copy,
        expected_s=2.0,
        needs=(needs.GO,),
    )


_NO_MODULES: Final = "its Go modules cannot be fetched (network? GOPROXY?)"


def _build(program: Program, target: Path) -> None:
    _go(["mod", "download"], module=program.module, failing=_NO_MODULES)
    flags = " ".join(("-s -w", *program.linker_flags))
    _go(
        [
            *("build", "-mod=readonly", "-trimpath", "-buildvcs=false"),
            *("-ldflags", flags, "-o", str(target), program.package),
        ],
        module=program.module,
        env={"CGO_ENABLED": "1" if program.static_c else "0"},
    )


def _go(
    argv: list[str],
    *,
    module: str,
    failing: str = "it does not build",
    env: Mapping[str, str] | None = None,
) -> str:
    """The output of the go command in a module folder; it keeps what it compiled, so a second try is quick."""
    command = ["go", "-C", str(MODULES / module), *argv]
    done = run_argv(command, timeout_s=_BUILD_S, env={**os.environ, "GOFLAGS": "", **(env or {})})
    if done.status:
        said = " | ".join(done.stderr.strip().splitlines()[-_SAID_LINES:])
        raise SetupError(f"{module}: {failing}: {said}; by hand: {shlex.join(command)}")
    return done.stdout


def _text(module: str, name: str) -> str:
    return (MODULES / module / name).read_text()


def _sources(module: str) -> tuple[str, ...]:
    """Every committed file that decides what is built in a module folder, that of a local replacement included."""
    folders = [MODULES / module]
    folders += [MODULES / name for name in re.findall(r"=> \.\./(\S+)", _text(module, "go.mod"))]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    return tuple(f"{path.relative_to(MODULES)}\n{path.read_text()}" for path in files)
