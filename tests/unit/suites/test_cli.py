"""What is typed wrongly is answered by one line that names it, exit code 2, and nothing done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suites.cli.cni import dialect_of, flannel_version
from suites.cli.dispatch import VERBS, find
from suites.cli.parsing import key_values, spoken, verb_parser
from suites.entry import main

COMMAND = (sys.executable, "-P", "-m", "suites")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's state directory."""
    monkeypatch.setenv("GRAYMESH_STATE", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no verb given; expected doctor, up"),
        (["frobnicate"], "unknown verb 'frobnicate'"),
        (["up", "--frobnicate"], "up: unrecognized arguments: --frobnicate"),
        (["up", "--nodes", "0"], "--nodes: expected a whole number of at least 1, got '0'"),
        (["up", "--nodes", "-1"], "--nodes: expected a whole number of at least 1, got '-1'"),
        (["up", "--nodes", "1e3"], "--nodes: expected a whole number of at least 1, got '1e3'"),
        (["up", "--nodes", "9" * 40], "--nodes: expected a whole number of at least 1, got '9999"),
        (["up", "--nodes"], "--nodes: expected one argument"),
        (["up", "--cluster", "podman"], "--cluster: expected twin or kind, got 'podman'"),
        (["up", "--dialect", "x"], "--dialect: expected l3miss, static or persistent, got 'x'"),
        (["up", "--family", "ipv5"], "--family: expected ipv4, ipv6 or dual, got 'ipv5'"),
        (["up", "--cni", "calico"], "--cni: expected flannel or flannel:VERSION"),
        (["up", "--cni", "flannel:v0.4.0"], "--cni: expected flannel v0.5.0 or later"),
        (
            ["up", "--cni", "flannel:v0.28.4", "--dialect", "static"],
            "--dialect: flannel:v0.28.4 is persistent, got static",
        ),
        (["up", "--name", "../etc"], "--name: cluster name '../etc': expected"),
        (["up", "--", "ls"], "up: takes no command after --"),
        (["probe", "--protocols", "icmp,smtp"], "--protocols: expected some of icmp,"),
        (["probe", "--count", "0"], "--count: expected a whole number from 1 to 1000, got '0'"),
        (["probe", "--timeout", "nan"], "--timeout: expected seconds from 0 to 3600, got 'nan'"),
        (["probe", "--name", "nosuch"], "no cluster is called 'nosuch'"),
        (["audit", "--full"], "audit: unrecognized arguments: --full"),
        (["run"], "run: the following arguments are required: SCENARIO"),
        (["run", "nosuch"], "unknown scenario 'nosuch'; expected healthy, founding"),
        (["run", "founding", "--nodes", "2"], "founding needs at least 3 nodes, got 2"),
        (["run", "founding", "--dialect", "l3miss"], "founding needs dialect static or persistent"),
        (
            ["run", "founding", "--name", "a", "--nodes", "4"],
            "run: --nodes is for a fresh cluster, not with --name",
        ),
        (["run", "founding", "--seed", "x"], "--seed: expected a whole number from 0 to"),
        (["inject", "nosuch"], "unknown fault 'nosuch'; expected founding"),
        (["inject", "founding", "victim"], "inject: expected key=value, got 'victim'"),
        (["inject", "founding", "a=1", "a=2"], "inject: parameter 'a' is given twice"),
        (["exec", "node/n0"], "exec: expected a command after --"),
        (["list", "pods"], "list: what: expected clusters, faults or scenarios, got 'pods'"),
        (["down", "--all", "--name", "a"], "down: --name and --all exclude each other"),
        (["recover", "--name", "nosuch"], "no cluster is called 'nosuch'"),
        (["report", "/nonexistent"], "'/nonexistent' is no run folder: verdict.json: No such file"),
    ],
)
def test_a_wrong_word_is_named_in_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No usage box, no traceback, nothing on stdout."""
    code = main(words)

    out, err = capsys.readouterr()
    assert code == 2
    assert says in err
    assert err.count("\n") == 1
    assert err.startswith("graymesh: ")
    assert out == ""


def test_an_error_after_parsing_leaves_a_document_where_one_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`--json -` always puts one document on stdout once the words were understood."""
    code = main(["run", "nosuch", "--json", "-"])

    out, err = capsys.readouterr()
    document = json.loads(out)
    assert code == document["error"]["exit_code"] == 2
    assert document["schema"] == "graymesh/error/1"
    assert document["error"]["message"] in err


def test_a_document_goes_to_its_file_and_the_text_to_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With `-` the document stands alone, with a file both are there."""
    path = tmp_path / "out.json"

    assert main(["list", "scenarios", "--json", str(path)]) == 0
    text = capsys.readouterr().out
    assert main(["list", "scenarios", "--json", "-"]) == 0
    alone = capsys.readouterr().out

    assert "founding-l3miss  " in text
    assert json.loads(path.read_text()) == json.loads(alone)
    names = [one["name"] for one in json.loads(alone)["scenarios"]]
    assert "healthy" in names


@pytest.mark.parametrize("path", ["/nonexistent/x.json", "/", "/proc/x.json"])
def test_a_document_that_cannot_be_written_is_refused_before_the_work(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path is named; `up` has made nothing."""
    code = main(["up", "--name", "never-made", "--json", path])

    err = capsys.readouterr().err
    assert code == 2
    assert f"--json: cannot write {path!r}" in err
    assert err.count("\n") == 1
    assert main(["list", "clusters", "--json", "-"]) == 0
    assert "never-made" not in capsys.readouterr().out


def test_a_document_that_does_not_fit_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A full disk is the environment's fault, exit 4; /dev/full takes no byte."""
    code = main(["list", "scenarios", "--json", "/dev/full"])

    assert code == 4
    assert "cannot write '/dev/full': No space left on device" in capsys.readouterr().err


def test_every_verb_loads_and_takes_json() -> None:
    """The table of verbs and the modules agree."""
    for name in VERBS:
        _, verb = find([name])
        parser = verb_parser(name, "x")
        verb.arguments(parser)
        assert "--json FILE|-" in parser.format_help()


def test_the_version_needs_no_heavy_import() -> None:
    """Start-up is bounded; what would break the bound is an import."""
    code = (
        "import sys; from suites.entry import main; main(['--version']);"
        "print(sorted({'numpy','pydantic','rich','argparse','tenacity'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    version, heavy = done.stdout.splitlines()
    assert version.startswith("graymesh ")
    assert heavy == "[]"


def test_a_reader_that_went_away_is_no_error() -> None:
    """`graymesh list faults | head -1` prints no traceback; its positive control prints all."""
    whole = subprocess.run([*COMMAND, "list", "faults"], check=True, capture_output=True)
    assert len(whole.stdout.splitlines()) > 5

    with subprocess.Popen(
        [*COMMAND, "list", "faults"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()

    assert said == b""
    assert process.returncode == 0


def test_a_terminal_without_arrows_is_no_reason_to_fail(tmp_path: Path) -> None:
    """What it cannot show becomes a question mark."""
    golden = Path(__file__).parents[2] / "golden" / "suites" / "valid-founding.json"
    (tmp_path / "verdict.json").write_text(golden.read_text())

    done = subprocess.run(
        [*COMMAND, "report", str(tmp_path)],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=True,
        capture_output=True,
        text=True,
    )

    assert "frames lost: n2 ? n0" in done.stdout


@pytest.mark.parametrize(
    ("cni", "dialect"),
    [
        ("flannel:v0.28.10", "persistent"),
        ("flannel:0.24.1", "persistent"),
        ("flannel:v0.24.0", "static"),
        ("flannel:v0.9.0", "static"),
        ("flannel:v0.8.0", "l3miss"),
        ("flannel:v0.5", "l3miss"),
    ],
)
def test_a_version_chooses_its_dialect(cni: str, dialect: str) -> None:
    """The borders are those of the generation table."""
    version = flannel_version(cni)

    assert version is not None
    assert dialect_of(version) == dialect
    assert flannel_version("flannel") is None


def test_words_and_lists_are_spoken() -> None:
    """Few are listed, very many are cut short."""
    assert spoken(["a"]) == "a"
    assert spoken(["a", "b", "c"]) == "a, b or c"
    assert spoken([]) == "nothing"
    assert spoken([f"n{i}" for i in range(100)]).endswith("n19 … (100 in all)")


def test_a_value_may_hold_anything_but_its_first_equals_sign() -> None:
    """`key=a=b` is key "key" with value "a=b"; an empty value is a value."""
    assert key_values("inject", ["a=b=c", "d="]) == {"a": "b=c", "d": ""}
