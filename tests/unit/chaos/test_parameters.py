"""What is wrong with a fault's parameters is said with the field, what was expected and what there is."""

import pytest

from chaos.fake import FakeCluster
from chaos.faults.founding import Founding
from chaos.faults.peer_entry import PeerEntry
from chaos.faults.replica_stop import ReplicaStop
from chaos.faults.underlay_drop import UnderlayDrop
from chaos.model import Fault
from chaos.parameters import apart, parsed
from clusters.errors import UsageError

INVENTORY = FakeCluster().inventory()


def test_good_parameters_become_values_with_defaults() -> None:
    """The positive control of all that follows."""
    args = parsed(UnderlayDrop(), {"victim": "n0", "peers": "n1,n2"}, INVENTORY)

    assert args.one("victim") == "n0"
    assert args.many("peers") == ("n1", "n2")
    assert args.one("direction") == "in"
    assert args.maybe("nothing") is None


@pytest.mark.parametrize(
    ("fault", "params", "text"),
    [
        (
            Founding(),
            {"victm": "n0"},
            "founding: unknown parameter 'victm'; it takes victim, peers",
        ),
        (
            Founding(),
            {"victim": "n0"},
            r"peers= is missing: .* as a,b \(there are: n0, n1, n2, n3\)",
        ),
        (Founding(), {"victim": "n9", "peers": "n1"}, r"victim=n9: expected .*there are: n0, n1"),
        (Founding(), {"victim": "n0", "peers": "n1,n9"}, "peers=n1,n9: expected nodes"),
        (Founding(), {"victim": "n0", "peers": "n1,n1"}, "peers=n1,n1: expected .*, each once"),
        (Founding(), {"victim": "n0", "peers": ""}, "peers=: expected nodes"),
        (Founding(), {"victim": "n0,n1", "peers": "n2"}, "victim=n0,n1: expected"),
        (
            UnderlayDrop(),
            {"victim": "n0", "peers": "n1", "direction": "up"},
            "direction=up: expected in, out or both",
        ),
        (ReplicaStop(), {"replica": "n0"}, r"replica=n0: .*there are: dns-0, dns-1, dns-2"),
        (
            PeerEntry(),
            {"observer": "n0", "owner": "n1", "table": "arp"},
            "table=arp: expected neigh, fdb or route$",
        ),
        (
            PeerEntry(),
            {"observer": "n0", "owner": "n1", "table": "fdb", "value": ""},
            "value=: expected a MAC",
        ),
    ],
)
def test_a_wrong_parameter_is_named(fault: Fault, params: dict[str, str], text: str) -> None:
    """One line that tells what to type instead."""
    with pytest.raises(UsageError, match=text) as caught:
        parsed(fault, params, INVENTORY)

    assert "\n" not in str(caught.value)


def test_a_long_list_of_names_is_cut_short() -> None:
    """A cluster of a hundred nodes must not fill the terminal."""
    inventory = FakeCluster(40).inventory()

    with pytest.raises(UsageError, match=r"n11, … \(40 in all\)"):
        parsed(Founding(), {"victim": "x", "peers": "n1"}, inventory)


def test_the_victim_is_no_peer_of_itself() -> None:
    """A node cannot be stale about itself."""
    wrong = parsed(Founding(), {"victim": "n0", "peers": "n1,n0"}, INVENTORY)
    right = parsed(Founding(), {"victim": "n0", "peers": "n1,n2"}, INVENTORY)

    apart(Founding(), right)
    with pytest.raises(UsageError, match="peers=n1,n0: n0 is the victim itself"):
        apart(Founding(), wrong)
