"""A ledger cut off at any byte is a ledger of fewer records, never of others."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from clusters.ledger import Ledger

RECORDS = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=12) | st.integers(), max_size=3),
    max_size=5,
)


@settings(deadline=None)  # the disk's time is not what is tested
@given(records=RECORDS, cut=st.floats(min_value=0, max_value=1), more=RECORDS)
def test_a_truncated_ledger_replays_a_prefix_and_goes_on(
    records: list[dict[str, str | int]], cut: float, more: list[dict[str, str | int]]
) -> None:
    """Any text may stand in a record: newlines, quotes, half of a JSON document."""
    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger(Path(directory) / "ledger.jsonl")
        for record in records:
            ledger.append(record)
        whole = ledger.path.read_bytes() if records else b""
        ledger.path.write_bytes(whole[: round(cut * len(whole))])

        kept = ledger.replay()
        for record in more:
            ledger.append(record)

        assert list(kept) == records[: len(kept)]
        assert len(kept) == whole[: round(cut * len(whole))].count(b"\n")
        assert list(ledger.replay()) == [*kept, *more]
