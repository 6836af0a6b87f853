"""Options that several verbs share."""

from __future__ import annotations

import argparse
import secrets
import shlex
from typing import Final

from clusters.errors import UsageError
from clusters.flannel.generations import GENERATIONS
from clusters.providers.base import ClusterSpec
from probes.model import PROTOCOLS
from suites.cli.cni import dialect_of, flannel_version, spelled
from suites.cli.parsing import cluster_name, one_of, seconds, several_of, whole

PROVIDER_NAMES: Final = ("twin", "kind")
FAMILIES: Final = ("ipv4", "ipv6", "dual")
PROXY_MODES: Final = ("iptables", "nftables")
DEFAULT_NAME: Final = "default"

_COUNT: Final = 5
_TIMEOUT_S: Final = 1.0
_DEFAULTS: Final = ClusterSpec()
_SHAPE: Final = (
    "cluster",
    "nodes",
    "pods_per_node",
    "dns_replicas",
    "cni",
    "dialect",
    "family",
    "rp_filter",
    "image",
    "proxy_mode",
)


def add_name(parser: argparse.ArgumentParser, default: str | None = DEFAULT_NAME) -> None:
    """`--name`."""
    parser.add_argument("--name", type=cluster_name, default=default, help="the cluster's name")


def add_shape(parser: argparse.ArgumentParser) -> None:
    """What a new cluster should look like; None where it was not said."""
    parser.add_argument("--cluster", type=one_of(PROVIDER_NAMES), help="twin (default) or kind")
    parser.add_argument("--nodes", type=whole(1), help="all nodes (4)")
    parser.add_argument("--pods-per-node", type=whole(0), help="client pods on each node (1)")
    parser.add_argument("--dns-replicas", type=whole(1), help="DNS server pods (3)")
    parser.add_argument(
        "--cni", metavar="flannel[:VERSION]", help="the version chooses the dialect"
    )
    parser.add_argument(
        "--dialect", type=one_of(tuple(GENERATIONS)), help="flannel generation (static)"
    )
    parser.add_argument("--family", type=one_of(FAMILIES), help="address family (ipv4)")
    parser.add_argument(
        "--rp-filter", type=whole(0, 2), help="reverse path filter of the nodes (1)"
    )
    parser.add_argument("--image", help="kind: a node image to use instead of the one built here")
    parser.add_argument(
        "--proxy-mode",
        type=one_of(PROXY_MODES),
        help="kind: how kube-proxy writes rules (iptables)",
    )


def add_owner(parser: argparse.ArgumentParser) -> None:
    """`--owner-pid`."""
    parser.add_argument(
        "--owner-pid", type=whole(1), metavar="PID", help="remove it when this process ends"
    )


def shape_given(args: argparse.Namespace) -> tuple[str, ...]:
    """The flags about a new cluster's shape that were given."""
    return tuple(f"--{key.replace('_', '-')}" for key in _SHAPE if getattr(args, key) is not None)


def spec_of(args: argparse.Namespace, *, name: str, dialect: str | None = None) -> ClusterSpec:
    """The spec that the shape options describe; `dialect` is the default where none was chosen."""
    version = _version(args)
    return ClusterSpec(
        cni_version=spelled(version) if version else None,
        provider=args.cluster or _DEFAULTS.provider,
        name=name,
        nodes=args.nodes or _DEFAULTS.nodes,
        pods_per_node=_given(args.pods_per_node, _DEFAULTS.pods_per_node),
        dns_replicas=args.dns_replicas or _DEFAULTS.dns_replicas,
        dialect=_chosen_dialect(args) or dialect or _DEFAULTS.dialect,
        family=args.family or _DEFAULTS.family,
        rp_filter=_given(args.rp_filter, _DEFAULTS.rp_filter),
        image=args.image,
        proxy_mode=args.proxy_mode or _DEFAULTS.proxy_mode,
    )


def shape_words(spec: ClusterSpec) -> tuple[str, ...]:
    """The options that make the same cluster again."""
    words = {
        "--cluster": spec.provider,
        "--nodes": spec.nodes,
        "--pods-per-node": spec.pods_per_node,
        "--dns-replicas": spec.dns_replicas,
        "--dialect": spec.dialect,
    }
    if spec.cni_version:
        words["--cni"] = f"flannel:{spec.cni_version}"
    if spec.family != _DEFAULTS.family:
        words["--family"] = spec.family
    if spec.rp_filter != _DEFAULTS.rp_filter:
        words["--rp-filter"] = spec.rp_filter
    if spec.image:
        words["--image"] = spec.image
    if spec.proxy_mode != _DEFAULTS.proxy_mode:
        words["--proxy-mode"] = spec.proxy_mode
    return tuple(str(word) for option in words.items() for word in option)


def add_probing(parser: argparse.ArgumentParser) -> None:
    """How to probe."""
    parser.add_argument(
        "--protocols",
        type=several_of(PROTOCOLS),
        default=PROTOCOLS,
        metavar=",".join(PROTOCOLS),
        help="which protocols to probe (all)",
    )
    parser.add_argument(
        "--count", type=whole(1, 1000), default=_COUNT, help="probes for each pair (5)"
    )
    parser.add_argument(
        "--timeout", type=seconds, default=_TIMEOUT_S, help="seconds to wait for an answer (1)"
    )
    parser.add_argument(
        "--full", action="store_true", help="every pair, and list those that pass too"
    )


def probing_words(args: argparse.Namespace) -> tuple[str, ...]:
    """The probing options that differ from their defaults."""
    words: list[str] = []
    if tuple(args.protocols) != PROTOCOLS:
        words += ["--protocols", ",".join(args.protocols)]
    if args.count != _COUNT:
        words += ["--count", str(args.count)]
    if args.timeout != _TIMEOUT_S:
        words += ["--timeout", f"{args.timeout:g}"]
    return (*words, "--full") if args.full else tuple(words)


def add_seed(parser: argparse.ArgumentParser) -> None:
    """`--seed`."""
    parser.add_argument("--seed", type=whole(0, 2**63 - 1), help="decides every choice (random)")


def seed_of(args: argparse.Namespace) -> int:
    """The given seed, or a fresh small one that is easy to type again."""
    return secrets.randbelow(1_000_000) if args.seed is None else int(args.seed)


def new_run_id() -> str:
    """A run's id, which is also the name of the cluster made for it."""
    return f"run-{secrets.token_hex(4)}"


def command_line(*words: str) -> str:
    """Words as a command ready to paste."""
    return shlex.join(["graymesh", *words])


def _given(value: int | None, default: int) -> int:
    return default if value is None else value


def _chosen_dialect(args: argparse.Namespace) -> str | None:
    asked = _word(args.dialect)
    version = _version(args)
    dialect = dialect_of(version) if version else None
    if dialect and asked and dialect != asked:
        raise UsageError(f"--dialect: {args.cni} is {dialect}, got {asked}")
    return dialect or asked


def _version(args: argparse.Namespace) -> tuple[int, ...] | None:
    return flannel_version(args.cni) if args.cni is not None else None


def _word(value: object) -> str | None:
    return None if value is None else str(value)
