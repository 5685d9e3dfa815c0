"""A slice of the fuzz campaign, in this process: `make fuzz` runs all of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.canaries import PASSWORD, leaked
from tests.fuzz.pool import WorkerProcess
from tests.fuzz.states import STATES
from tests.fuzz.tally import FAILURES, HANG_S, Outcome, Progress, Record, Tally, chance_of, seeds
from tests.fuzz.targets import IN_PROCESS, make_target
from tests.fuzz.worker import attempt

SLICE = {"broker": 8, "state": 20}
"""Inputs of a target; 50 of the others."""
SEEDS, AGAIN = seeds()


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """As it was before: targets plant secrets in it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.parametrize("name", IN_PROCESS)
def test_a_slice_of_each_target(name: str, tmp_path: Path) -> None:
    target = make_target(name, tmp_path)
    wrong = []
    with contextlib.closing(target):
        for index in (*AGAIN[name], *range(SLICE.get(name, 50))):
            record = attempt(target, index, chance_of(name, SEEDS[name], index))
            if record.verdict in FAILURES or record.ms > HANG_S * 1000:
                wrong.append(f"case {index}: {record.verdict}, {record.ms:.0f} ms: {record.said}")
    assert not wrong, "\n".join(wrong)


class _Sick:
    """Fails at every input."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, chance: object) -> Outcome:
        raise ValueError(f"not {chance}")

    def close(self) -> None:
        """It holds nothing."""


def test_what_goes_wrong_is_seen(tmp_path: Path) -> None:
    record = attempt(_Sick(tmp_path), 3, chance_of("sick", 1, 3))
    assert (record.index, record.verdict) == (3, "crash")
    assert "ValueError" in record.said
    assert leaked(f"host {PASSWORD} port") == len(PASSWORD)
    assert leaked("slash, then kL1v") > 0


def test_a_campaign_goes_on_where_it_was_cut_short(tmp_path: Path) -> None:
    tally = Tally()
    tally.add(Record(7, "crash", 12.0, "why"))
    tally.add(Record(8, "refused", 2.0))
    Progress(tmp_path / "p.json", 100).keep("packs", "0", tally)
    assert Progress(tmp_path / "p.json", 100).done("packs") == {"0": tally}
    assert Progress(tmp_path / "p.json", 200).done("packs") == {}
    assert tally.failed
    assert "1 crash" in str(tally)


def test_an_input_is_drawn_again_from_seed_and_index() -> None:
    one, same, other = (chance_of("packs", 20, index).random() for index in (5, 5, 6))
    assert one == same != other


def test_a_process_reads_inputs_and_is_replaced(tmp_path: Path) -> None:
    worker = WorkerProcess("packs", SEEDS["packs"], tmp_path)
    try:
        assert [record.index for record in worker.records(0, 3)] == [0, 1, 2]
        assert worker._process is not None
        worker._process.kill()
        verdicts = [record.verdict for record in worker.records(3, 6)]
    finally:
        worker.stop()
    assert verdicts[0] == "crash"
    assert not set(verdicts[1:]) & set(FAILURES)
    assert worker.said() == 0


def test_thirty_states_are_listed() -> None:
    assert len(STATES) >= 30
