"""`alfa-edge filo ...` as people type it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from core.filo.heads import find_head
from core.weights.store import Store
from edge.cli.app import app
from tests.core.filo.conftest import make_known
from tests.core.filo.test_checkpoint import released_state, small_head

runner = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model that open_clip knows for the time of a test."""
    return make_known(tmp_path, monkeypatch)


def test_a_released_checkpoint_is_taken_listed_verified_and_removed(
    small: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALFA_EDGE_MODELS", str(tmp_path / "models"))
    file = tmp_path / "filo_train_on_visa.pth"
    torch.save({"filo": released_state(renamed=True)}, file)
    taken = runner.invoke(app, ["filo", "import", str(file), "--model", small, "--size", "98", "--name", "visa"])
    assert taken.exit_code == 0, taken.output
    assert "FiLo head visa: " in taken.output
    assert f"for {small} at 98 x 98 px, with GELU." in taken.output
    head = find_head("visa", Store(tmp_path / "models"))
    assert head.record.model == small
    wanted = small_head().state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in head.state_dict().items())
    listed = json.loads(runner.invoke(app, ["model", "list", "--json"]).output)
    assert [(entry["model"], entry["tag"], entry["problem"]) for entry in listed] == [("filo", "visa", None)]
    assert "filo visa: as recorded" in runner.invoke(app, ["model", "verify", "filo"]).output
    assert runner.invoke(app, ["model", "remove", "filo", "visa"]).exit_code == 0
    assert json.loads(runner.invoke(app, ["model", "list", "--json"]).output) == []


def test_what_is_no_checkpoint_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFA_EDGE_MODELS", str(tmp_path / "models"))
    file = tmp_path / "other.pth"
    torch.save({"weights": torch.ones(2)}, file)
    refused = runner.invoke(app, ["filo", "import", str(file)])
    assert refused.exit_code == 2
    assert "is no checkpoint of FiLo: it has weights, and the release's has the one key filo" in refused.output
    missing = runner.invoke(app, ["filo", "import", str(tmp_path / "none.pth")])
    assert missing.exit_code == 2
    assert "none.pth: no such file" in missing.output
