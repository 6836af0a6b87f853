"""`node-image`: build, list and remove the node image that kind clusters run where no registry is reachable."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict

from clusters.errors import UsageError
from clusters.node_image import Built, build, list_images, remove
from suites.cli.parsing import one_of
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", type=one_of(("build", "list", "rm")), help="build | list | rm")
    parser.add_argument("image", nargs="?", help="rm: an image of the list, or all")
    parser.add_argument("--kubernetes", metavar="VERSION", help="build: the Kubernetes version")
    parser.add_argument(
        "--flannel",
        metavar="VERSION",
        action="append",
        default=[],
        help="build: repeat for several",
    )


def _node_image(args: argparse.Namespace, context: Context) -> Reply:
    if args.what == "build":
        say = context.console.progress
        built = build(kubernetes=args.kubernetes, flannel=args.flannel, progress=say)
        return _shown([built])
    if args.what == "list":
        return _shown(list_images())
    if not args.image:
        raise UsageError(
            "node-image rm: image: expected an image of `graymesh node-image list`, or all"
        )
    remove(args.image)
    return _shown(list_images())


def _shown(images: Iterable[Built]) -> Reply:
    found = list(images)
    lines = [
        f"{one.image}  Kubernetes {one.kubernetes}, flannel {', '.join(one.flannel)},"
        f" CoreDNS {one.coredns}, {one.size_bytes // 2**20} MiB"
        for one in found
    ]
    return Reply(
        exit_code=0,
        document={"schema": "graymesh/node-images/1", "images": [asdict(one) for one in found]},
        text="\n".join(lines) or "no node image is built",
    )


NODE_IMAGE = Verb(arguments=_arguments, run=_node_image)
