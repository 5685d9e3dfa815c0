"""`alfa-edge users ...`: who may use the console in the browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.cli.app import app
from edge.hmi.passwords import hash_token, is_password
from edge.hmi.users import UsersFile
from tests.support.service import toml


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(
        toml(
            {
                "service": {"state_dir": str(tmp_path / "state")},
                "lines.one": {"pack": "bottle"},
                "lines.one.camera": {"source": "sim:bottle"},
            }
        )
    )
    return path


def run(config: Path, *arguments: str, typed: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, ["users", *arguments, "--config", str(config)], input=typed)
    return done.exit_code, done.output


def test_people_and_scripts_are_added_listed_and_removed(config: Path) -> None:
    code, said = run(config, "add", "eva", "--role", "engineer", typed="correct horse\ncorrect horse\n")
    assert code == 0, said
    assert "correct horse" not in said
    code, said = run(config, "add", "plc", "--script")
    assert code == 0, said
    token = said.split()[-1]
    users = UsersFile(config.parent / "state" / "users.toml").users()
    assert is_password("correct horse", users["eva"].password or "")
    assert users["plc"].token == hash_token(token)
    code, said = run(config, "list")
    assert [word in said for word in ("eva", "engineer", "person", "plc", "view", "script")] == [True] * 6
    assert [user["name"] for user in json.loads(run(config, "list", "--json")[1])] == ["eva", "plc"]
    assert run(config, "remove", "plc")[0] == 0
    assert run(config, "remove", "plc")[0] == 2
    assert [user["name"] for user in json.loads(run(config, "list", "--json")[1])] == ["eva"]


def test_a_password_can_come_from_a_pipe(config: Path) -> None:
    assert run(config, "add", "otto", "--role", "operate", "--password-stdin", typed="correct horse\nrest\n")[0] == 0
    users = UsersFile(config.parent / "state" / "users.toml").users()
    assert is_password("correct horse", users["otto"].password or "")


def test_what_is_wrong_is_said_and_nobody_is_added(config: Path) -> None:
    for arguments, typed, words in (
        (("add", "eva", "--role", "king"), "", "view, operate or engineer"),
        (("add", "eva", "--password-stdin"), "short\n", "at least 8 characters"),
        (("add", "eva"), "correct horse\nanother horse\n", "do not match"),
        (("add", "e\tva", "--script"), "", "which nobody sees"),
        (("add", "eva", "--script", "--password-stdin"), "", "no password"),
    ):
        code, said = run(config, *arguments, typed=typed)
        assert code != 0
        assert words in said, said
    assert json.loads(run(config, "list", "--json")[1]) == []


def test_a_user_who_is_there_is_replaced_only_when_that_is_said(config: Path) -> None:
    assert run(config, "add", "plc", "--script")[0] == 0
    code, said = run(config, "add", "plc", "--script", "--role", "operate")
    assert (code, "--replace" in said) == (2, True)
    assert run(config, "add", "plc", "--script", "--role", "operate", "--replace")[0] == 0
