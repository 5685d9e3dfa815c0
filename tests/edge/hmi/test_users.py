"""The users file: what is kept, who may read it, and what is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edge.hmi import passwords
from edge.hmi.passwords import NOBODYS, PasswordError, hash_password, hash_token, is_kept_form, is_password, new_token
from edge.hmi.users import MOST_USERS, UsersError, UsersFile
from tests.edge.hmi.conftest import REAL_COST


@pytest.fixture
def users(tmp_path: Path) -> UsersFile:
    return UsersFile(tmp_path / "state" / "users.toml")


def test_a_password_is_known_again_and_only_its_hash_is_kept(users: UsersFile) -> None:
    assert users.users() == {}
    assert users.add("Eva Müller", "engineer", "correct horse") is None
    text = users.path.read_text("utf-8")
    assert "correct horse" not in text
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    kept = UsersFile(users.path).users()["Eva Müller"]
    assert kept.role == "engineer"
    assert kept.kind == "person"
    assert kept.password is not None
    assert is_password("correct horse", kept.password)
    assert not is_password("correct horses", kept.password)


def test_a_password_costs_whoever_tries_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_COST", REAL_COST)
    log_n, r, p = map(int, hash_password("correct horse").split("$")[1:4])
    assert 2**log_n * r * 128 >= 32 << 20, "bytes of memory"
    assert 2**log_n * r * p >= 2**15 * 8 * 3, "as OWASP has it"
    assert NOBODYS.split("$")[1:4] == [f"{log_n}", f"{r}", f"{p}"], "a user who does not exist takes as long"


def test_two_hashes_of_one_password_differ() -> None:
    first, second = hash_password("correct horse"), hash_password("correct horse")
    assert first != second
    assert is_kept_form(first)
    assert is_kept_form(NOBODYS)
    assert not is_password("correct horse", NOBODYS)


def test_a_script_has_a_token_that_is_shown_once(users: UsersFile) -> None:
    token = users.add("plc", "view", None)
    assert token is not None
    assert token not in users.path.read_text("utf-8")
    assert users.users()["plc"].token == hash_token(token)
    assert users.users()["plc"].kind == "script"
    assert new_token() != new_token()


def test_a_user_is_replaced_when_that_is_asked_for_and_not_otherwise(users: UsersFile) -> None:
    users.add("eva", "view", "correct horse")
    with pytest.raises(UsersError, match="a user eva already"):
        users.add("eva", "engineer", "correct horse")
    with pytest.raises(UsersError, match="a user eva already"):
        users.add("EVA", "engineer", "correct horse", replace=True)  # nobody would tell them apart
    users.add("eva", "engineer", "another horse", replace=True)
    assert users.users()["eva"].role == "engineer"


def test_the_last_engineer_stays_where_that_is_asked_for(users: UsersFile) -> None:
    users.add("eva", "engineer", "correct horse")
    users.add("otto", "operate", "correct horse")
    with pytest.raises(UsersError, match="the last engineer"):
        users.remove("eva", keep_engineer=True)
    with pytest.raises(UsersError, match="no user nobody; there are eva, otto"):
        users.remove("nobody")
    with pytest.raises(UsersError, match="the last engineer"):
        users.add("eva", "view", "correct horse", replace=True, keep_engineer=True)
    users.add("eva", "engineer", "another horse", replace=True, keep_engineer=True)
    users.remove("eva")
    users.add("otto", "view", "correct horse", replace=True, keep_engineer=True)  # there was none to be kept
    assert list(users.users()) == ["otto"]


@pytest.mark.parametrize("name", ["", " ", " eva", "eva ", "e\nva", "e\x1b[31mva", "e\u202eva", "x" * 65, "e\u200bva"])
def test_nobody_is_called_what_nobody_can_read(users: UsersFile, name: str) -> None:
    with pytest.raises(UsersError):
        users.add(name, "view", "correct horse")
    assert not users.path.exists()


@pytest.mark.parametrize("password", ["", "seven77", "x" * 1025, "\ud800" * 10])
def test_a_password_has_a_length(users: UsersFile, password: str) -> None:
    with pytest.raises(PasswordError):
        users.add("eva", "view", password)


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a.b", "[x]", "'", "ö ü", "users.eva"])
def test_any_name_is_read_as_it_was_written(users: UsersFile, name: str) -> None:
    users.add(name, "view", None)
    assert list(UsersFile(users.path).users()) == [name]


def test_a_file_that_others_may_read_is_refused_with_the_remedy(users: UsersFile) -> None:
    users.add("eva", "view", None)
    users.path.chmod(0o644)
    with pytest.raises(UsersError, match="chmod 600"):
        UsersFile(users.path).users()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users = 3", "the table `users`"),
        ("[users.eva]\nrole = 'king'\ntoken = 'sha256$" + "0" * 64 + "'", "user eva: role"),
        ("[users.eva]\nrole = 'view'\npassword = 'secret secret'", "is no hash"),
        ("[users.eva]\nrole = 'view'", "either a password or a token"),
        ("[users.eva]\nrole = 'view'\npassword = 'scrypt$40$8$3$" + "A" * 22 + "$" + "A" * 43 + "'", "is no hash"),
        ("[users.eva]\nrole = 'view'\nuid = 0\ntoken = 'sha256$" + "0" * 64 + "'", "uid"),
        ("nonsense", "not valid TOML"),
        ("[other]\nx = 1", "the table `users`"),
    ],
)
def test_a_file_that_is_none_is_refused_without_saying_what_it_holds(users: UsersFile, text: str, words: str) -> None:
    users.path.parent.mkdir()
    users.path.write_text(text)
    users.path.chmod(0o600)
    with pytest.raises(UsersError, match=words) as refused:
        users.users()
    assert "secret secret" not in str(refused.value)


def test_what_is_no_file_is_not_waited_for(users: UsersFile) -> None:
    users.path.parent.mkdir()
    os.mkfifo(users.path, 0o600)
    with pytest.raises(UsersError, match="a pipe"):
        users.users()


def test_there_is_a_limit_to_users(users: UsersFile) -> None:
    users.path.parent.mkdir()
    entries = "".join(f"[users.u{n}]\nrole = 'view'\ntoken = 'sha256${n:064x}'\n" for n in range(MOST_USERS))
    users.path.write_text(entries)
    users.path.chmod(0o600)
    with pytest.raises(UsersError, match="already; remove some"):
        users.add("one more", "view", None)
    users.remove("u1")
    users.add("one more", "view", None)


def test_a_change_that_another_process_makes_is_seen(users: UsersFile) -> None:
    users.add("eva", "view", None)
    assert list(users.users()) == ["eva"]
    UsersFile(users.path).add("otto", "operate", None)
    assert list(users.users()) == ["eva", "otto"]
