"""Who asks for something: as this machine knows it, and, beside that, as they say it themselves."""

from __future__ import annotations

import getpass
import pwd
from dataclasses import dataclass
from functools import lru_cache

from core.printable import shown

MOST = 64
"""Characters of a name."""


@dataclass(frozen=True)
class Asker:
    """Who asks.

    Attributes:
        who: The user whose process it is, as the kernel says; `mqtt` for machines.
        claimed: What whoever asks says, where that is something else.
        machine: Whether it came over MQTT: a machine names what it wants, and no files.
    """

    who: str
    claimed: str | None = None
    machine: bool = False

    @property
    def title(self) -> str:
        """Both names, for people: who they say they are, and beside that whose process it is."""
        return self.who if self.claimed is None else f"{shown(self.claimed)} ({self.who})"


def user_of(uid: int, claimed: str) -> Asker:
    """The user of a number. May wait for a directory of users, so that no vital thread calls it."""
    who = _name(uid)
    return Asker(who, claimed if claimed != who else None)


def own_name() -> str:
    """What this process calls its user, in as many characters as a request takes."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has a number and no name
        name = ""
    return shown(name)[:MOST] or "unknown"  # $LOGNAME may hold anything, also what UTF-8 cannot say


@lru_cache(maxsize=256)
def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
