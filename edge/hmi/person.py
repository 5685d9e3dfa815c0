"""Who uses the console, and what the role allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["view", "operate", "engineer"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may what the ones before it may, and more."""
MEANINGS: dict[Role, str] = {
    "view": "sees everything, and changes nothing",
    "operate": "enrols, calibrates, answers reviews, gives feedback, pauses, resumes and triggers",
    "engineer": "sets thresholds, recipes and shadows, and manages users",
}
"""What each may, in words."""


@dataclass(frozen=True)
class Person:
    """Whoever has sent a request: a person who logged in, a script with a token, or somebody on this machine.

    Attributes:
        name: As it stands in the audit.
        role: What they may.
        script: Whether it is a script, which is known by its token.
        anonymous: Whether nobody had to log in, since there are no users.
        insecure: Whether the console listens beyond loopback without users or without encryption.
    """

    name: str
    role: Role
    script: bool = False
    anonymous: bool = False
    insecure: bool = False

    def may(self, role: Role) -> bool:
        """Whether what takes `role` is allowed."""
        return ROLES.index(self.role) >= ROLES.index(role)
