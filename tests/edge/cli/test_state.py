"""`alfa-edge restore`, as people type it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.app import app
from edge.ops.lock import hold_state
from edge.storage.backup import write_backup
from tests.support.state import STATE, VERDICTS, open_state


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of a state with three verdicts, of which the folder `backup` beside it has two."""
    with open_state(tmp_path / "state") as state:
        state.issue(2)
        write_backup(tmp_path / "backup", state.settings, state.history)
        state.issue(1)
    config = tmp_path / "edge.toml"
    config.write_text(f"[service]\nstate_dir = '{tmp_path}/state'\n[lines.one.camera]\nsource = 'sim:bottle'\n")
    return config


def typed(config: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["restore", *words, "--config", str(config)])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_it_says_what_it_brings_and_does_it(config: Path, tmp_path: Path) -> None:
    backup = str(tmp_path / "backup")
    said = typed(config, backup, "--check")
    assert "it brings 2 verdicts and 0 shots; last numbers: one 2 (generation 1)" in said
    assert "it replaces: last numbers one 3 (generation 1)" in said
    assert "3 verdicts that it replaces wait for the broker, and will not be sent" in said
    assert "its numbers go on in a new generation" not in said
    said = typed(config, backup)
    assert "its numbers go on in a new generation. Start the service what was replaced is kept in" in said
    with open_state(tmp_path / "state") as state:
        assert state.issue(1) == [(2, 4)]


def test_a_running_service_keeps_it_from_that(config: Path, tmp_path: Path) -> None:
    held = hold_state(tmp_path / "state")
    for words in ([str(tmp_path / "backup")], ["--without", VERDICTS]):
        assert "another alfa-edge uses this folder; stop it" in typed(config, *words, code=2)
    held.close()


def test_what_cannot_be_done_is_refused_in_words(config: Path, tmp_path: Path) -> None:
    assert "is no backup" in typed(config, str(tmp_path / "none"), code=2)
    assert "verdicts.db, state.db" in typed(config, "--without", "edge.toml", code=2)
    assert "name the folder of a backup, or --without FILE" in typed(config, code=2)
    assert "nothing was done" in typed(config, "--without", VERDICTS, code=2)
    (tmp_path / "state" / VERDICTS).unlink()
    assert "it looks at the folder of a backup" in typed(config, "--without", VERDICTS, "--check", code=2)
    assert f"goes on without {VERDICTS}" in typed(config, "--without", VERDICTS)
    assert not (tmp_path / "state" / VERDICTS).exists()
    assert (tmp_path / "state" / STATE).exists()
