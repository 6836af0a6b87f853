"""Rules deleted and inserted as text."""

from chaos.filters import is_bare, look, of_table, parsed, restore_input
from chaos.model import Rule, RulesGoal

SAVED = """# Generated
*nat
:PREROUTING ACCEPT [1:2]
:KUBE-SERVICES - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.1/32 -j KUBE-SVC-API
-A KUBE-SERVICES -d 10.96.0.10/32 -m comment --comment "dns cluster IP" -j KUBE-SVC-DNS
-A KUBE-SERVICES -j RETURN
COMMIT
*raw
:PREROUTING ACCEPT [0:0]
COMMIT
"""
DNS = Rule(
    "KUBE-SERVICES", 2, '-d 10.96.0.10/32 -m comment --comment "dns cluster IP" -j KUBE-SVC-DNS'
)


def goal(*rules: Rule, present: bool, table: str = "nat") -> RulesGoal:
    """A goal on node n0."""
    return RulesGoal(node="n0", tool="iptables", table=table, rules=rules, present=present)


def test_rules_are_counted_within_their_chain() -> None:
    """A position is what -I takes."""
    found = parsed(of_table(SAVED, "nat"))

    assert found[2] == DNS
    assert [rule.position for rule in found] == [1, 1, 2, 3]


def test_one_table_is_cut_out_of_many() -> None:
    """A rule of another table must not be taken for one of this."""
    assert of_table(SAVED, "raw").splitlines() == ["*raw", ":PREROUTING ACCEPT [0:0]", "COMMIT"]
    assert of_table(SAVED, "mangle") == ""


def test_a_rule_is_deleted_by_its_own_words() -> None:
    """Never by position: somebody may have inserted one before it."""
    text = restore_input(of_table(SAVED, "nat"), goal(DNS, present=False))

    assert text == f"*nat\n-D KUBE-SERVICES {DNS.spec}\nCOMMIT\n"


def test_what_is_gone_already_needs_nothing() -> None:
    """Undo is idempotent."""
    saved = of_table(SAVED, "nat")
    gone = saved.replace(f"-A KUBE-SERVICES {DNS.spec}\n", "")

    assert restore_input(gone, goal(DNS, present=False)) == ""
    assert restore_input(saved, goal(DNS, present=True)) == ""


def test_missing_rules_go_back_where_they_were() -> None:
    """From the top, so that each finds its position; the order of rules is their meaning."""
    first = Rule("KUBE-SERVICES", 1, "-d 10.96.0.1/32 -j KUBE-SVC-API")
    saved = "\n".join(
        line
        for line in of_table(SAVED, "nat").splitlines()
        if DNS.spec not in line and first.spec not in line
    )

    text = restore_input(saved, goal(DNS, first, present=True))

    assert text.splitlines()[1:-1] == [
        f"-I KUBE-SERVICES 1 {first.spec}",
        f"-I KUBE-SERVICES 2 {DNS.spec}",
    ]


def test_a_position_beyond_the_end_becomes_the_end() -> None:
    """Iptables refuses an index that is too big; the chain may have shrunk meanwhile."""
    far = Rule("KUBE-SERVICES", 9, "-j LOG")

    text = restore_input(of_table(SAVED, "nat"), goal(far, present=True))

    assert "-I KUBE-SERVICES 4 -j LOG" in text


def test_a_rule_is_recognised_however_it_is_quoted() -> None:
    """Iptables versions quote words differently."""
    unquoted = Rule("PREROUTING", 1, "-m comment --comment graymesh -j DROP")
    saved = '*raw\n-A PREROUTING -m comment --comment "graymesh" -j DROP\nCOMMIT'

    assert look(saved, goal(unquoted, present=True, table="raw")).standing == "met"
    assert look(saved, goal(unquoted, present=False, table="raw")).standing == "unmet"


def test_a_read_back_says_which_rule_is_absent() -> None:
    """It is the proof of the effect."""
    (line,) = look("", goal(DNS, present=False)).lines()

    assert line == f"n0: iptables -t nat -A KUBE-SERVICES {DNS.spec}: absent"


def test_only_a_table_of_accepting_built_in_chains_is_bare() -> None:
    """Anything else in it may be somebody's."""
    assert is_bare(of_table(SAVED, "raw"))
    assert not is_bare(of_table(SAVED, "nat"))
    assert not is_bare("*raw\n:PREROUTING DROP [0:0]\nCOMMIT")
    assert not is_bare("*raw\n:PREROUTING ACCEPT [0:0]\n:MINE - [0:0]\nCOMMIT")
