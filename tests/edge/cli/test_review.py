"""`alfa-edge review` in words: what it says before anything is set, after it, and of a queue."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.review import borders_by_review_rate
from edge.cli.app import app
from edge.settings import HistorySettings
from edge.storage.outbox import Outbox
from tests.support.at_rest import at_rest
from tests.support.verdicts import verdict

GOOD = [0.2 + place * 379 % 1009 / 2018 for place in range(99)]
BEGAN = datetime(2026, 1, 31, 6, tzinfo=timezone.utc)


def test_what_is_said_of_borders_and_of_parts_that_wait(tmp_path: Path) -> None:
    config, state = tmp_path / "edge.toml", tmp_path / "state"
    config.write_text(
        f"[service]\nruntime_dir = '{tmp_path}'\nstate_dir = '{state}'\n"
        "[model]\nname = 'untrained'\ndevice = 'cpu'\ndtype = 'fp32'\n[method]\nscales = [3]\nstride = 3\n"
        "[lines.one]\npack = 'bottle'\n[lines.one.camera]\nsource = 'sim:bottle'\n"
    )
    with at_rest(tmp_path) as one:
        one.enrolment.calibrate(one.ready("one"), [(score, score) for score in GOOD], 0.05, "good parts", "eva")
        threshold = one.line("one").recipe.threshold
    judge(state)
    run = partial(typed, config)
    borders = borders_by_review_rate(GOOD, 0.02, 0.18)
    rates = ["--false-alarm-rate", "0.02", "--review-rate", "0.18"]
    said = run("review", "set", *rates)
    assert "review: of good parts at most 20 % stopped, 2 % without review, from 99 good parts" in said
    assert f"normal below {borders.lower:.4f}, review from there to {borders.upper:.4f}, rejected from there on" in said
    assert f"the threshold is still {threshold:.4f}" in said
    assert "to look at: 18.2 % of the good parts; of good parts about 65.5 an hour, at 360 parts an hour" in said
    assert "no pictures are kept: `review show` needs archive.dir" in said
    assert "nothing is set yet: the same command with --yes sets it" in said
    assert f"the threshold is {borders.lower:.4f}" in run("review", "set", *rates, "--yes")
    for given in ([], [*rates, "--escape-rate", "0.1"], ["--escape-rate", "0.1"], [*rates, "--bad", str(tmp_path)]):
        assert "name --review-rate, or --escape-rate with --bad" in run("review", "set", *given, code=2)
    status = CliRunner().invoke(app, ["status", "--config", str(config)]).output
    assert f"line one: review of anomalies below {borders.upper:.4f}, 0 parts to answer" in status

    said = run("review", "list")
    assert "part 3" in said
    assert "line one: 2 wait for review" in said
    assert '"review": true' in run("review", "show", "3")
    assert "has no picture: it was not archived" in run("review", "show", "3", "--out", str(tmp_path / "x.png"), code=1)
    assert "has no picture to hold" in run("review", "good", "3", "--hold", code=2)
    assert "verdict 3 of line one: good; 1 wait for review" in run("review", "good", "3", "--note", "a reflex")
    assert "verdict 5 of line one: bad; 0 wait for review" in run("review", "bad", "5")
    assert "does not wait for review: it never did, or was answered already; 0 wait" in run(
        "review", "bad", "5", code=2
    )
    assert "the review of line one has ended" in run("threshold", "0.5")
    assert "line one has no review that holds now" in run("review", "off", code=2)


def judge(state: Path) -> None:
    """The line's history has six parts, one each ten seconds, two of which are for review."""
    box = Outbox(state, HistorySettings())
    box.start()
    for seq in range(1, 7):
        more = {"verdict": "anomaly", "score": 0.6, "review": True, "review_below": 0.7} if seq in (3, 5) else {}
        issued = BEGAN + timedelta(seconds=10 * seq)
        box.issue(verdict("one", seq, f"part {seq}", issued_at=issued, **more)).result()
    box.stop()


def typed(config: Path, *words: str, code: int = 0) -> str:
    """What a command says of line one."""
    result = CliRunner().invoke(app, [*words, "--config", str(config), "--line", "one"])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words stay in their line."""
    monkeypatch.setenv("COLUMNS", "200")
