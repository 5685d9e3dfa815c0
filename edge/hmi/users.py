"""The users file: who may use the console in the browser, and as what."""

from __future__ import annotations

import json
import os
import threading
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.files import replacing
from core.printable import shown, unprintable
from core.regular_file import read_regular
from core.toml import MOST_BYTES, TomlError, parse_toml
from edge.clock import iso_ms, utc_now
from edge.control.asker import user_of
from edge.hmi.passwords import hash_password, hash_token, is_kept_form, new_token
from edge.hmi.person import Role
from edge.ops.lock import hold

MOST_USERS = 500
LONGEST_NAME = 64
"""Characters: as many as the audit takes."""
_HEAD = "# Who may use the console in the browser. `alfa-edge users` writes it; passwords and tokens are hashed.\n"
_READ_S = 2.0


class UsersError(ValueError):
    """The users file, or what is to be done to it, is not as it has to be; the message says what to do."""


class User(BaseModel):
    """One who may use the console."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    password: str | None = None
    token: str | None = None
    changed_at: str = Field(default="", max_length=40)

    @field_validator("password", "token")
    @classmethod
    def _hashed(cls, kept: str | None) -> str | None:
        if kept is not None and not is_kept_form(kept):
            raise ValueError("is no hash; `alfa-edge users add` writes one")
        return kept

    @model_validator(mode="after")
    def _one_way_in(self) -> User:
        if (self.password is None) == (self.token is None):
            raise ValueError("has either a password or a token")
        return self

    @property
    def kind(self) -> Literal["person", "script"]:
        """A person has a password, a script a token."""
        return "person" if self.token is None else "script"


class UsersFile:
    """The file at `path`, which may not be there. Any thread may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._known: tuple[tuple[int, int, int], dict[str, User]] | None = None

    def users(self) -> Mapping[str, User]:
        """All users by name, as the file says now; none where there is no file.

        Raises:
            UsersError: it cannot be read, others may read it, or it is no such file.
        """
        with self._lock:
            return self._users()

    def add(
        self, name: str, role: Role, password: str | None, *, replace: bool = False, keep_engineer: bool = False
    ) -> str | None:
        """Adds a person; or, without a password, a script, whose token it returns. The token is shown nowhere again.

        Args:
            name: Whose.
            role: What they may.
            password: None: of a script.
            replace: Whether one of this name may be there.
            keep_engineer: Whether the last engineer stays one.

        Raises:
            UsersError: there is one of this name already, and it is not to be replaced; or it is the last engineer; or
                the file takes no more.
            PasswordError: the password is too short or too long.
        """
        name = check_name(name)
        token = new_token() if password is None else None
        user = User(
            role=role,
            password=None if password is None else hash_password(password),
            token=None if token is None else hash_token(token),
            changed_at=iso_ms(utc_now()),
        )

        def add(users: dict[str, User]) -> None:
            alike = next((known for known in users if known.casefold() == name.casefold()), None)
            if alike is not None and not (replace and alike == name):
                raise UsersError(f"there is a user {shown(alike)} already; remove them, or replace them with --replace")
            if alike is None and len(users) >= MOST_USERS:
                raise UsersError(f"there are {MOST_USERS} users already; remove some")
            before = users.get(name)
            users[name] = user
            if keep_engineer and before is not None and before.role == "engineer":
                _require_engineer(users, name)

        self._change(add)
        return token

    def remove(self, name: str, *, keep_engineer: bool = False) -> None:
        """Removes a user; their sessions end with them.

        Args:
            name: Whose.
            keep_engineer: Whether the last engineer stays.

        Raises:
            UsersError: there is none of this name; or it is the last engineer.
        """

        def remove(users: dict[str, User]) -> None:
            if name not in users:
                known = ", ".join(map(shown, users)) or "none"
                raise UsersError(f"no user {shown(name)[:LONGEST_NAME]}; there are {known}")
            del users[name]
            if keep_engineer:
                _require_engineer(users, name)

        self._change(remove)

    def _users(self) -> dict[str, User]:
        try:
            status = self.path.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._known is not None and self._known[0] == stamp:
                return self._known[1]
            if status.st_mode & 0o037:
                raise UsersError(f"{self.path}: other users can read or change it: chmod 600 {self.path}")
            _, data = parse_toml(read_regular(self.path, MOST_BYTES, _READ_S))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsersError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except TomlError as error:
            raise UsersError(f"{self.path}: {error}") from None
        users = _read(self.path, data)
        self._known = (stamp, users)
        return users

    def _change(self, change: Callable[[dict[str, User]], None]) -> None:
        """Writes the file anew, readable by its owner only. Raises LockError: another process changes it."""
        with self._lock:
            try:
                self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
                _check_owner(self.path)
                with hold(self.path.with_name(f"{self.path.name}.lock")):
                    users = dict(self._users())
                    change(users)
                    with replacing(self.path, sync=True, mode=0o600) as draft:
                        draft.write_text(_written(users), "utf-8")
            except OSError as error:
                raise UsersError(f"{self.path}: cannot be written: {error.strerror or error}") from error


def check_name(name: str) -> str:
    """`name`, which everybody reads as what it is.

    Raises:
        UsersError: nobody can be called that.
    """
    if found := unprintable(name):
        raise UsersError(f"the name holds {found}, which nobody sees")
    plain = unicodedata.normalize("NFC", name)
    if not 1 <= len(plain) <= LONGEST_NAME or plain != plain.strip():
        raise UsersError(f"a name has 1 to {LONGEST_NAME} characters, and no blank at its ends")
    return plain


def _require_engineer(users: Mapping[str, User], name: str) -> None:
    if not any(user.role == "engineer" for user in users.values()):
        raise UsersError(f"{shown(name)} is the last engineer; make another one first")


def _check_owner(path: Path) -> None:
    """A file that root writes in somebody else's folder could not be read by whoever needs it."""
    owner = path.parent.stat().st_uid
    if os.geteuid() == 0 and owner != 0:
        name = user_of(owner, "").who
        raise UsersError(f"{path.parent} belongs to {name}; do it as that user: sudo -u {name} alfa-edge users ...")


def _read(path: Path, data: dict[str, object]) -> dict[str, User]:
    table = data.get("users", {})
    if not isinstance(table, dict) or set(data) - {"users"}:
        raise UsersError(f"{path}: it has the table `users`, and no other")
    if len(table) > MOST_USERS:
        raise UsersError(f"{path}: it has more than {MOST_USERS} users")
    users = {}
    for name, entry in table.items():
        try:
            users[check_name(name)] = User.model_validate(entry)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]  # without what may be a password
            where = ".".join(str(part) for part in first["loc"])[:LONGEST_NAME]
            raise UsersError(f"{path}: user {shown(name)[:LONGEST_NAME]}: {where}: {first['msg']}") from None
        except UsersError as error:
            raise UsersError(f"{path}: user {shown(name)[:LONGEST_NAME]}: {error}") from None
    return users


def _written(users: Mapping[str, User]) -> str:
    parts = [_HEAD]
    for name, user in users.items():
        fields = user.model_dump(exclude_none=True)
        parts.append(f"\n[users.{json.dumps(name, ensure_ascii=False)}]\n")
        parts += [f"{key} = {json.dumps(value)}\n" for key, value in fields.items()]
    return "".join(parts)
