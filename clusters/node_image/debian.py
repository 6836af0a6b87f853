"""Debian parts of the node image: the node's root file system, with the network tools cut out of it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from clusters.commands import run_argv
from clusters.errors import SetupError
from clusters.node_image import needs
from clusters.node_image.steps import Step

_SUITE: Final = "bookworm"
_PACKAGES: Final = (
    *("bash", "ca-certificates", "conntrack", "containerd", "curl", "dbus", "ebtables", "ethtool"),
    *("hostname", "iproute2", "iptables", "iputils-ping", "jq", "kmod", "libseccomp2", "mount"),
    *("nftables", "pigz", "procps", "rsync", "runc", "socat", "systemd", "systemd-sysv"),
    *("tcpdump", "util-linux"),
)
_UNUSED: Final = (
    "var/lib/apt/lists",
    "var/cache/apt",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
)
_OF_THIS_HOST: Final = ("etc/resolv.conf", "etc/hostname")  # debootstrap copies them
_BOOTSTRAP_S: Final = 1800.0
_LDD_S: Final = 30.0
_SAID_LINES: Final = 3

ROOT_FILE_SYSTEM: Final = "tree"
"""The directory inside the Debian step's result."""

# kube-proxy and flanneld call these. iptables loads the match modules in xtables/ by name at run time: a rule whose
# module, or a library of that module, is missing (libm for `statistic`) is refused, and no rule is written at all.
_TOOLS: Final = (
    "usr/sbin/xtables-nft-multi",
    "usr/sbin/xtables-legacy-multi",
    "usr/sbin/nft",
    "usr/sbin/conntrack",
    "bin/ip",
)
_CALLED_AS: Final = ("", "-save", "-restore")


def debian_step() -> Step:
    """A minimal Debian with what a kind node runs; root is needed to unpack it."""
    return Step(
        name="debian",
        inputs=(_SUITE, *_PACKAGES, *_UNUSED, *_OF_THIS_HOST),
        make=lambda out, _parts: _bootstrap(out / ROOT_FILE_SYSTEM),
        expected_s=100.0,
        needs=(needs.ROOT, needs.DEBOOTSTRAP),
    )


def _bootstrap(tree: Path) -> None:
    command = [
        *("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}"),
        *(_SUITE, str(tree)),
    ]
    done = run_argv(
        command, timeout_s=_BOOTSTRAP_S, env={**os.environ, "PATH": needs.search_path()}
    )
    if done.status:
        said = " | ".join((done.stdout + done.stderr).strip().splitlines()[-_SAID_LINES:])
        raise SetupError(f"debootstrap failed (network? package mirror?): {said}")
    for name in _UNUSED:
        shutil.rmtree(tree / name, ignore_errors=True)
    for name in _OF_THIS_HOST:
        (tree / name).unlink(missing_ok=True)


def network_tools_step(debian: Step) -> Step:
    """iptables, nft, conntrack and ip with every library they may load: the base of two kinds of image."""
    return Step(
        name="network-tools",
        inputs=_TOOLS,
        make=lambda out, parts: _cut(parts[debian.name] / ROOT_FILE_SYSTEM, out),
        expected_s=3.0,
        parts=(debian,),
        needs=(needs.ROOT,),
    )


def _cut(tree: Path, out: Path) -> None:
    plugins = [str(path.relative_to(tree)) for path in tree.glob("usr/lib/*/xtables/*.so")]
    wanted = [*_TOOLS, *plugins]
    for name in (*wanted, *_libraries(tree, wanted), "etc/protocols", "etc/services"):
        _copy(tree, name, out)
    for folder in ("tmp", "run"):
        (out / folder).mkdir()
    for family in ("iptables", "ip6tables"):
        for suffix in _CALLED_AS:
            for kind, program in (("", "nft"), ("-nft", "nft"), ("-legacy", "legacy")):
                link = out / "usr/sbin" / f"{family}{kind}{suffix}"
                link.symlink_to(f"xtables-{program}-multi")


def _libraries(tree: Path, names: Sequence[str]) -> Iterator[str]:
    """The paths that ldd, run inside the tree, finds for these programs and modules."""
    done = run_argv(
        ["chroot", str(tree), "ldd", *(f"/{name}" for name in names)],
        timeout_s=_LDD_S,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    if "not found" in done.stdout or not done.stdout:
        raise SetupError(f"a library of the network tools is absent: {done.stdout or done.stderr}")
    yield from sorted(set(re.findall(r"^\s.*?/(\S+) \(0x", done.stdout, re.MULTILINE)))


def _copy(tree: Path, name: str, out: Path) -> None:
    """Copy the file a name leads to. Debian's /lib and /bin are links into /usr: here they are real folders."""
    source = tree / name
    if not source.exists():
        return
    target = out / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
