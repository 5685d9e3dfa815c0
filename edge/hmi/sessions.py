"""Who is logged in. What is kept of a session lets nobody in; a restart of the console logs nobody out."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core.files import replacing
from core.regular_file import read_regular
from edge.clock import utc_now
from edge.hmi.users import User

log = logging.getLogger(__name__)

MOST = 1000
"""Sessions in all; with one more the oldest ends."""
MOST_OF_USER = 20
LONGEST_KEY = 64
"""Characters of what a browser shows."""
_KEY_BYTES = 32
_MOST_BYTES = 1 << 20


class Session(BaseModel):
    """What is kept of one: the hash of its key, whose it is, which password it began with, and when it ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: str = Field(max_length=64)
    password: str = Field(pattern=r"^[0-9a-f]{64}$")
    until: AwareDatetime


_FILE = TypeAdapter(list[Session])


class Sessions:
    """All sessions, in memory and in a file that only its owner reads. Any thread may use it."""

    def __init__(self, path: Path, hours: float) -> None:
        """Reads what a process before has left; what cannot be read has nobody logged in.

        Args:
            path: Of the file; its folder is there once there are users.
            hours: How long one lasts.
        """
        self._path = path
        self._lasts = timedelta(hours=hours)
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        try:
            for session in _FILE.validate_json(read_regular(path, _MOST_BYTES)):
                self._sessions[session.id] = session
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no list of sessions"
            log.warning("%s: %s; everybody has to log in again", path, why)

    def begin(self, name: str, user: User) -> str:
        """The key of a new session, which only the browser keeps.

        Raises:
            OSError: it cannot be written.
        """
        key = secrets.token_urlsafe(_KEY_BYTES)
        session = Session(id=_hash(key), name=name, password=_of_password(user), until=utc_now() + self._lasts)
        with self._lock:
            kept = [one for one in self._sessions.values() if one.until > utc_now()]
            of_user = [one for one in kept if one.name == name][-(MOST_OF_USER - 1) :]
            kept = [one for one in kept if one.name != name][-(MOST - MOST_OF_USER) :] + of_user
            self._keep([*kept, session])
        return key

    def name(self, key: str, users: Mapping[str, User]) -> str | None:
        """Whose session the key is of; None: of none, it has ended, or the user is gone or has another password."""
        session = self._sessions.get(_hash(key)) if len(key) <= LONGEST_KEY else None
        if session is None or session.until <= utc_now():
            return None
        user = users.get(session.name)
        if user is None or not hmac.compare_digest(session.password, _of_password(user)):
            return None
        return session.name

    def end(self, key: str) -> None:
        """Ends a session.

        Raises:
            OSError: that cannot be written; it has ended all the same, until a restart.
        """
        with self._lock:
            if self._sessions.pop(_hash(key), None) is not None:
                self._keep([*self._sessions.values()])

    def _keep(self, sessions: list[Session]) -> None:
        with replacing(self._path, sync=True, mode=0o600) as draft:
            draft.write_text(json.dumps([session.model_dump(mode="json") for session in sessions]), "utf-8")
        self._sessions = {session.id: session for session in sessions}


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _of_password(user: User) -> str:
    """Changes with the user's password."""
    return _hash(user.password or "")
