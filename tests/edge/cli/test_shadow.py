"""What the report of a shadow prints, and what the other commands about shadows ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge.cli import shadow
from edge.cli.app import app
from edge.control.shadow_report import agreement_part, changed_parts, feedback_part
from edge.storage.feedback import Feedback, Kind
from edge.storage.shadow_verdicts import Answer, ComparedPart
from edge.storage.verdict_tables import stamp
from tests.support.screens import screen_of

README = Path(__file__).parents[3] / "README.md"
BEGIN, END = "<!-- shadow report -->\n", "<!-- /shadow report -->"
AT = stamp("2026-01-31T05:00:00.000Z")
REMEDY = "put what the command prints between the marks of README.md, as a block of text"


def part(seq: int, live: tuple[Answer, float], shadow: tuple[Answer, float], part_id: str) -> ComparedPart:
    archive = f"one/2026-01-31/{seq:08d}.jpg"
    return ComparedPart(seq, part_id, AT, archive, live[1], 0.5123, live[0], 3, shadow[1], 0.6034, shadow[0], 1)


def report(state: str = "judging") -> dict[str, Any]:
    said: dict[int, Kind] = {1198: "missed", 1042: "false_alarm"}
    feedback = {seq: Feedback(AT, "eva", "one", seq, kind, "", 1, None, False) for seq, kind in said.items()}
    parts = [
        part(1204, ("normal", 0.4711), ("review", 0.6102), "A-1204"),
        part(1198, ("normal", 0.5001), ("anomaly", 0.7345), "A-1198"),
        part(1042, ("anomaly", 0.5240), ("normal", 0.3312), "A-1042"),
    ]
    counts: dict[tuple[Answer, Answer], int] = {
        ("normal", "normal"): 1174,
        ("normal", "anomaly"): 1,
        ("normal", "review"): 1,
        ("anomaly", "normal"): 1,
        ("anomaly", "anomaly"): 15,
    }
    ended = "2026-01-31T09:00:00.000Z" if state == "ended" else None
    return {
        "shadow": {
            "state": state,
            "recipe": {"name": "B", "number": 2, "revision": 1},
            "beside": {"name": "default", "number": 1, "revision": 3},
            "started_at": "2026-01-31T05:00:00.000Z",
            "ended_at": ended,
        },
        "parts": 1204,
        "passed_over": 12,
        **agreement_part(counts),
        "feedback": feedback_part(parts, feedback),
        "changed": changed_parts(parts, feedback),
        "overlays": ["changed/00001204.jpg"] * 3,
        "without_picture": 0,
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the service is asked; it answers with a report."""
    found: list[tuple[str, dict[str, Any]]] = []

    def ask(_config: Path, command: str, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        found.append((command, arguments))
        return report()

    monkeypatch.setattr(shadow, "ask_service", ask)
    return found


def test_the_readme_shows_the_report(asked: list[tuple[str, dict[str, Any]]]) -> None:
    command = "shadow report --line one --out changed"
    screen = screen_of(command)
    assert screen.code == 0
    for width, text in screen.text.items():
        assert all(len(line) <= width for line in text.splitlines())
    text = f"```text\n$ alfa-edge {command}\n{screen.text[80]}\n```\n"
    assert README.read_text("utf-8").partition(BEGIN)[2].partition(END)[0] == text, f"{REMEDY}:\n{text}"
    assert asked == [("shadow_report", {"line": "one", "count": 20, "folder": str(Path("changed").absolute())})]


def test_a_shadow_that_rests_or_has_ended_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "ask_service", lambda *_, **__: report("resting"))
    assert "rests while the line judges by another one than default" in screen_of("shadow report --line one").text[120]
    monkeypatch.setattr(shadow, "ask_service", lambda *_, **__: report("ended"))
    text = screen_of("shadow report --line one").text[120]
    assert "recipe B judged beside recipe default" in text
    assert " until " in text


def test_what_is_asked_for(asked: list[tuple[str, dict[str, Any]]]) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["shadow", "start", "B", "--line", "one"]).exit_code == 0
    assert runner.invoke(app, ["shadow", "stop", "--line", "one"]).exit_code == 0
    assert runner.invoke(app, ["shadow", "report", "--line", "one", "--count", "3", "--json"]).exit_code == 0
    assert asked == [
        ("shadow_start", {"line": "one", "recipe": "B"}),
        ("shadow_stop", {"line": "one"}),
        ("shadow_report", {"line": "one", "count": 3}),
    ]
