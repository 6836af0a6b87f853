"""What clients can ask a twin's holder for, by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from clusters.errors import ClusterGoneError, GraymeshError, SetupError, UsageError
from clusters.providers.twin.loop import Loop
from clusters.providers.twin.messages import inventory_json, leases_json
from clusters.providers.twin.processes import Started
from clusters.providers.twin.server import Args, Later, Reply, Verb
from clusters.providers.twin.twin import Twin
from clusters.providers.twin.wire import FDS_PER_MESSAGE


def verbs(twin: Twin, loop: Loop) -> Mapping[str, Verb]:
    """Every verb, bound to this twin."""
    asked = _Asked(twin, loop)
    return {
        "hello": asked.hello,
        "summary": asked.summary,
        "inventory": asked.inventory,
        "places": asked.places,
        "mounts": asked.mounts,
        "leases": asked.leases,
        "boot_id": asked.boot_id,
        "agents": asked.agents,
        "agent_log": asked.agent_log,
        "freeze_agent": asked.freeze_agent,
        "thaw_agent": asked.thaw_agent,
        "renew_vtep": asked.renew_vtep,
        "restart_agent": asked.restart_agent,
        "restart_node": asked.restart_node,
        "recreate_node": asked.recreate_node,
        "replica_mode": asked.replica_mode,
        "set_replica_mode": asked.set_replica_mode,
        "sync_proxy": asked.sync_proxy,
    }


class _Asked:
    def __init__(self, twin: Twin, loop: Loop) -> None:
        self._twin = twin
        self._loop = loop

    def hello(self, _args: Args) -> Reply:
        """The number of changes, as shared memory."""
        return Reply(fds=(self._twin.changes.fd,))

    def summary(self, _args: Args) -> Reply:
        """The numbers of `graymesh list clusters`."""
        spec = self._twin.spec
        return Reply(value={"nodes": spec.nodes, "replicas": spec.dns_replicas})

    def inventory(self, _args: Args) -> Reply:
        """What should be there."""
        return Reply(value=inventory_json(self._twin.inventory()))

    def places(self, args: Args) -> Reply:
        """A part of the places that are up, from the `start`th on, a descriptor each, and whether more follow."""
        start = max(0, int(args.number("start")))
        every = sorted(self._twin.place_fds().items())
        part = every[start : start + FDS_PER_MESSAGE]
        names = [name for name, _ in part]
        more = start + len(part) < len(every)
        return Reply(value={"names": names, "more": more}, fds=tuple(fd for _, fd in part))

    def mounts(self, args: Args) -> Reply:
        """The mounts that commands at a place see."""
        return Reply(fds=(self._twin.mounts_fd(args.text("place")),))

    def leases(self, _args: Args) -> Reply:
        """What every node has published."""
        return Reply(value=leases_json(tuple(self._twin.leases.values())))

    def boot_id(self, args: Args) -> Reply:
        """Which life of the node this is."""
        return Reply(value=self._twin.node(args.text("node")).boot_id())

    def agents(self, _args: Args) -> Reply:
        """Whether each agent that runs is frozen."""
        nodes = self._twin.nodes.values()
        return Reply(value=[[n.name, n.agent.frozen] for n in nodes if n.agent is not None])

    def agent_log(self, args: Args) -> Reply:
        """What the node's agent has logged."""
        return Reply(value=list(self._twin.node(args.text("node")).live_agent().log))

    def freeze_agent(self, args: Args) -> Reply:
        """Let the agent miss every event."""
        self._twin.node(args.text("node")).live_agent().frozen = True
        return Reply()

    def thaw_agent(self, args: Args) -> Reply:
        """Let the agent catch up."""
        self._twin.thaw_agent(args.text("node"))
        return Reply()

    def renew_vtep(self, args: Args) -> Reply:
        """New device, new MAC."""
        self._twin.restart_agent(args.text("node"), mac=args.optional_mac("mac"), anew=True)
        return Reply()

    def restart_agent(self, args: Args) -> Reply:
        """Start the agent anew."""
        self._twin.restart_agent(args.text("node"))
        return Reply()

    def restart_node(self, args: Args) -> Reply | Later:
        """Off and on again."""
        name = args.text("node")
        return self._down_and_up(name, args, lambda: self._twin.bring_up(name))

    def recreate_node(self, args: Args) -> Reply | Later:
        """Off, and a new one of that name on."""
        name = args.text("node")
        subnet = self._twin.free_subnet()

        def renewed() -> Started:
            self._twin.renew(name, subnet)
            self._twin.bring_up(name)
            return self._twin.sync_others(name)

        return self._down_and_up(name, args, renewed)

    def _down_and_up(self, name: str, args: Args, up: Callable[[], Started | None]) -> Later:
        down_s = args.number("down_s")
        if not 0 <= down_s <= 3600:
            raise UsageError(f"down_s: expected 0 to 3600 seconds, got {down_s:g}")
        self._twin.take_down(name)
        later = Later()
        self._loop.after(down_s, lambda: self._finish(later, up))
        return later

    def _finish(self, later: Later, up: Callable[[], Started | None]) -> None:
        """Bring the node up and answer; what is going on in children then is waited for in the loop."""
        try:
            left = up()
        except (GraymeshError, OSError) as exc:
            later.resolve(_mapped(exc))
            return
        waiting = set(left.pipes) if left else set()

        def ended(pipe: int) -> None:
            self._loop.unwatch(pipe)
            waiting.discard(pipe)
            if left and not waiting:
                later.resolve(_collected(left))

        for pipe in tuple(waiting):
            self._loop.watch(pipe, functools.partial(ended, pipe))
        if not waiting:
            later.resolve(Reply())

    def replica_mode(self, args: Args) -> Reply:
        """The mode, from the process."""
        return Reply(value=self._twin.replica(args.text("replica")).mode())

    def set_replica_mode(self, args: Args) -> Reply:
        """Another mode."""
        replica = self._twin.replica(args.text("replica"))
        node = self._twin.node(self._twin.inventory().place_node(replica.name))
        if not node.up:
            raise ClusterGoneError(f"node {node.name} is down")
        replica.set_mode(args.text("mode"), self._twin.records())
        return Reply()

    def sync_proxy(self, args: Args) -> Reply:
        """Write the node's rules."""
        self._twin.sync_proxy(args.text("node"))
        return Reply()


def _collected(started: Started) -> Reply | GraymeshError:
    try:
        started.finish()
    except GraymeshError as exc:
        return exc
    return Reply()


def _mapped(exc: GraymeshError | OSError) -> GraymeshError:
    return exc if isinstance(exc, GraymeshError) else SetupError(str(exc))
