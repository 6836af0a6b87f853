"""`doctor` and `list`: what this machine can run, and what there is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from chaos.model import Fault
from clusters import features
from clusters.features import Feature
from clusters.providers.base import ClusterSummary
from clusters.providers.kind.docker_facts import facts
from clusters.providers.registry import PROVIDERS
from suites.cli.parsing import one_of
from suites.cli.reply import Reply
from suites.cli.verb import Context, Verb, no_arguments
from suites.scenario import Scenario

_ENVIRONMENT = 4


def _doctor(_args: argparse.Namespace, context: Context) -> Reply:
    """Exit 0 where this machine can run the twin, else 4."""
    context.console.progress("trying what this machine can do")
    found = (*features.probe(), *facts())
    can = {name: _can_run(found, name) for name in PROVIDERS}
    return Reply(
        exit_code=0 if can["twin"] else _ENVIRONMENT,
        document={
            "schema": "graymesh/doctor/1",
            "can_run": can,
            "features": [one._asdict() for one in found],
        },
        text="\n".join([*_feature_lines(found), *(_can_line(*one) for one in can.items())]),
    )


def _can_run(found: Sequence[Feature], provider: str) -> bool:
    return all(one.ok is not False for one in found if one.needed_for == provider)


def _can_line(provider: str, can: bool) -> str:  # noqa: FBT001  # the answer itself
    return f"{provider}: can run here" if can else f"{provider}: cannot run here"


def _feature_lines(found: Sequence[Feature]) -> list[str]:
    width = max(len(one.name) for one in found)
    words = {True: "yes", False: "NO", None: "?"}
    lines = []
    for one in found:
        fix = f" (fix: {one.fix})" if one.fix else ""
        lines.append(f"{one.name:<{width}}  {words[one.ok]:<3}  {one.detail}{fix}")
    return lines


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", type=one_of(tuple(_LISTS)), help=" | ".join(_LISTS))


def _list(args: argparse.Namespace, _context: Context) -> Reply:
    return _LISTS[args.what]()


def _clusters() -> Reply:
    found = [one for provider in PROVIDERS.values() for one in provider.list()]
    rows = [_cluster_row(one) for one in found]
    lines = [
        f"{one.name}  {one.provider}, {one.nodes} nodes, {one.replicas} replicas,"
        f" holder {one.holder_pid or 'none'}"
        for one in found
    ]
    return _listed("clusters", rows, lines)


def _cluster_row(one: ClusterSummary) -> dict[str, object]:
    return {
        "provider": one.provider,
        "name": one.name,
        "nodes": one.nodes,
        "replicas": one.replicas,
        "holder_pid": one.holder_pid,
    }


def _faults() -> Reply:
    from chaos.registry import FAULTS  # noqa: PLC0415  # list clusters needs none of it

    lines = [
        f"{one.name}  ({one.kind}) {one.summary}\n    {_parameters(one)}" for one in FAULTS.values()
    ]
    return _listed("faults", [_fault_row(one) for one in FAULTS.values()], lines)


def _parameters(fault: Fault) -> str:
    words = [
        f"{one.name}=<{one.expected}>" if one.required else f"[{one.name}=<{one.expected}>]"
        for one in fault.parameters
    ]
    return " ".join(words) or "takes no parameters"


def _fault_row(fault: Fault) -> dict[str, object]:
    return {
        "name": fault.name,
        "kind": fault.kind.value,
        "summary": fault.summary,
        "providers": list(fault.providers),
        "parameters": [
            {
                "name": one.name,
                "expected": one.expected,
                "required": one.required,
                "default": one.default,
                "choices": list(one.choices),
            }
            for one in fault.parameters
        ],
    }


def _scenarios() -> Reply:
    from suites.scenarios import SCENARIOS  # noqa: PLC0415  # list clusters needs none of it

    lines = [f"{one.name}  {one.summary}" for one in SCENARIOS.values()]
    return _listed("scenarios", [_scenario_row(one) for one in SCENARIOS.values()], lines)


def _scenario_row(one: Scenario) -> dict[str, object]:
    return {
        "name": one.name,
        "summary": one.summary,
        "fault": one.breaks.fault if one.breaks else None,
        "least_nodes": one.least_nodes,
        "least_replicas": one.least_replicas,
        "dialects": list(one.dialects),
        "providers": list(one.providers),
    }


def _listed(kind: str, rows: Sequence[dict[str, object]], lines: Sequence[str]) -> Reply:
    return Reply(
        exit_code=0,
        document={"schema": f"graymesh/{kind}/1", kind: list(rows)},
        text="\n".join(lines) or f"no {kind}",
    )


_LISTS = {"clusters": _clusters, "faults": _faults, "scenarios": _scenarios}

DOCTOR = Verb(arguments=no_arguments, run=_doctor)
LIST = Verb(arguments=_list_arguments, run=_list)
