"""Whatever a part, a user, a file or a broker is called: it reaches the operator's terminal as text and no more."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from typer.testing import CliRunner

import edge.cli
from edge.cli.app import app
from edge.cli.terminal import Terminal, counted
from edge.control.protocol import Reply, Request
from edge.ops.alarms import Alarms
from edge.settings import HistorySettings
from edge.storage.outbox import Outbox
from tests.support.at_rest import asked, at_rest
from tests.support.verdicts import verdict

NASTY = "A\x1b[2J\x9b1m\u202e\u200b\u2028\r\n[bold red]x[/bold red][link=file:///etc]:warning:"
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028\u202e]")


def config(folder: Path) -> Path:
    path = folder / "edge.toml"
    path.write_text(
        f"[service]\nruntime_dir = '{folder}'\nstate_dir = '{folder}/state'\n"
        f"[model]\nname = 'untrained'\ndevice = 'cpu'\ndtype = 'fp32'\nstore = '{folder}/models'\n"
        "[method]\nscales = [3]\nstride = 3\n"
        "[lines.one]\npack = 'bottle'\n[lines.one.camera]\nsource = 'sim:bottle'\n"
        "[lines.two]\npack = 'bottle'\n[lines.two.camera]\nsource = 'sim:bottle'\n"
    )
    return path


def typed(*words: str) -> str:
    result = CliRunner().invoke(app, [*words], env={"COLUMNS": "400"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


def test_a_part_is_shown_in_the_history_as_it_is_called(tmp_path: Path) -> None:
    box = Outbox(tmp_path / "state", HistorySettings())
    box.start()
    box.issue(verdict("one", 1, NASTY)).result()
    box.stop()
    said = typed("history", "--line", "one", "-c", str(config(tmp_path)))
    assert FORBIDDEN.search(said) is None, ascii(said)
    assert r"A\x1b[2J\x9b1m\u202e\u200b\u2028\r\n[bold red]x[/bold red][link=file:///etc]:warning:" in said
    assert len([line for line in said.splitlines() if "normal" in line]) == 1
    as_json = typed("history", "--line", "one", "--json", "-c", str(config(tmp_path)))
    assert as_json.isascii()
    assert FORBIDDEN.search(as_json) is None


def test_so_are_names_notes_and_claims_in_audit_and_shots(tmp_path: Path) -> None:
    path = config(tmp_path)
    with at_rest(tmp_path) as dispatcher:
        refused = Request(id="1", command="threshold", arguments={"line": NASTY, "threshold": 0.5}, who=NASTY)
        assert dispatcher.answer(refused, ())[0].refusal is not None
        assert asked(dispatcher, "enroll", b"none", line="one", names=[NASTY], note=NASTY).refusal is not None
    said = typed("audit", "-c", str(path))
    assert FORBIDDEN.search(said) is None, ascii(said)
    assert r"A\x1b[2J" in said
    assert "[bold red]x[/bold red]" in said


def test_a_number_has_its_noun() -> None:
    assert [counted(number, "line") for number in (0, 1, 2)] == ["0 lines", "1 line", "2 lines"]
    assert [counted(number, "class", "classes") for number in (1, 2)] == ["1 class", "2 classes"]


def test_a_status_says_all_in_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = config(tmp_path)
    with at_rest(tmp_path):
        pass
    said = typed("status", "-c", str(path))
    assert "anomaly" in said
    assert "…" not in said
    assert "line one: recipe default (1), pack bottle 0.1.0, 0 shots, threshold 0.5000 (uncalibrated)" in said


def test_the_width_is_that_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "400")
    assert terminal.width == 400
    assert Terminal(width=90).width == 90


def test_so_are_errors(tmp_path: Path) -> None:
    said = typed("packs", "show", f"./{NASTY.replace('/', '')}")
    assert FORBIDDEN.search(said.replace("\n", "")) is None, ascii(said)
    assert r"\x1b[2J" in said


def test_a_refusal_and_an_alarm_are_printable_text() -> None:
    reply = Reply.model_validate({"id": "1", "refusal": {"code": "refused", "message": f"one\n{NASTY}\udcff"}})
    assert reply.refusal is not None
    assert FORBIDDEN.search(reply.refusal.message) is None
    assert reply.refusal.message.startswith("one\n"), "each line of it is one"
    assert reply.to_parts()
    alarms = Alarms()
    alarms.raise_("broker", f"not connected to the broker: {NASTY}", "one")
    [alarm] = alarms.of("one")
    assert FORBIDDEN.search(alarm.message) is None


def test_what_the_terminal_prints_is_no_markup_and_no_escape() -> None:
    from edge.cli.terminal import styled

    sink = io.StringIO()
    out = Terminal(file=sink, width=200, force_terminal=True, color_system="standard")
    table = Table("part", NASTY, title=NASTY)
    table.add_row(NASTY, styled(NASTY, "red"))
    out.print(table)
    out.print(NASTY, soft_wrap=True)
    said = sink.getvalue()
    for own in ("\x1b[0m", "\x1b[3m", "\x1b[1m", "\x1b[31m"):
        said = said.replace(own, "")
    assert FORBIDDEN.search(said) is None, ascii(said)
    assert said.count("[bold red]x[/bold red]") == 5


def test_the_commands_have_no_other_console() -> None:
    here = Path(edge.cli.__file__).parent
    found: dict[str, Any] = {
        path.name: re.findall(r"from rich\.console import .*|\bConsole\(|from rich\.markup.*", path.read_text())
        for path in here.glob("*.py")
        if path.name != "terminal.py"
    }
    assert not any(found.values()), found


@pytest.mark.parametrize("option", ["--line", "--export"])
def test_a_bad_option_is_shown_too(tmp_path: Path, option: str) -> None:
    path = config(tmp_path)
    words = ["history", "--line", "one", "-c", str(path)]
    words = (
        [*words, "--export", NASTY.replace("/", "")]
        if option == "--export"
        else ["history", "--line", NASTY, *words[3:]]
    )
    said = typed(*words)
    assert FORBIDDEN.search(said) is None, ascii(said)


def test_sentences_end_between_words_on_a_terminal_and_paths_stay_whole() -> None:
    sink = io.StringIO()
    path = "/var/lib/alfa-edge/a-folder-with-a-long-name"
    terminal = Terminal(file=sink, width=30, force_terminal=True, color_system=None)
    terminal.print(f"  the verdicts of this line are in {path} and nowhere else", soft_wrap=True)
    lines = sink.getvalue().splitlines()
    assert lines == ["  the verdicts of this line", "    are in", f"    {path}", "    and nowhere else"]


def test_sentences_in_a_pipe_are_not_wrapped() -> None:
    sink = io.StringIO()
    Terminal(file=sink, width=30).print("word " * 50, soft_wrap=True)
    assert len(sink.getvalue().splitlines()) == 1
