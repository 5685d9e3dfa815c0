"""`alfa-edge hmi` where it cannot start: why, in words, and what to do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.app import app
from tests.support.service import toml


def started(folder: Path, **hmi: object) -> tuple[int, str]:
    config = folder / "edge.toml"
    tables = {
        "service": {"state_dir": str(folder)},
        "hmi": hmi,
        "lines.one": {"pack": "bottle"},
        "lines.one.camera": {"source": "sim:bottle"},
    }
    config.write_text(toml(tables))
    done = CliRunner().invoke(app, ["hmi", "--config", str(config)])
    return done.exit_code, done.output


def test_beyond_loopback_it_does_not_start_without_users_and_a_certificate(tmp_path: Path) -> None:
    code, said = started(tmp_path, listen="0.0.0.0")
    assert code == 2
    assert "alfa-edge users add" in said
    assert "hmi.tls_cert" in said
    assert "Traceback" not in said


def test_settings_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    for hmi, words in (
        ({"tls_cert": "/x.pem"}, "tls_cert and tls_key go together"),
        ({"listen": "http://box"}, "is no name or address"),
        ({"hosts": ["box:8480"]}, "is no name or address"),
        ({"session_hours": 0}, "hmi.session_hours"),
        ({"language": "fr"}, "hmi.language"),
        ({"users_file": "https://box/users"}, "an address, not a path"),
    ):
        code, said = started(tmp_path, **hmi)
        assert code == 2, hmi
        assert words in said, said


def test_without_its_packages_it_says_which_extra_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("edge.hmi.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, said = started(tmp_path)
    assert code == 2
    assert "uvicorn" in said
    assert "hmi" in said
    assert "Traceback" not in said
