"""Users over the API: what `alfa-edge users` does, for engineers."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from core.printable import shown
from edge.hmi.access import needs
from edge.hmi.passwords import LONGEST, PasswordError
from edge.hmi.person import Person, Role
from edge.hmi.refusals import Refused
from edge.hmi.users import LONGEST_NAME, UsersError, UsersFile
from edge.ops.lock import LockError

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api/v1", tags=["users"])


class NewUser(BaseModel):
    """Somebody who is to use the console."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    """As it stands in the audit."""
    role: Role
    """What they may."""
    password: str | None = Field(default=None, max_length=LONGEST)
    """Of a person; without one it is a script, which gets a token."""
    replace: bool = False
    """Whether one of this name may be there, whose role and password, or token, are replaced."""


@router.get("/me", summary="Who asks, and what they may.")
async def me(person: Person = Depends(needs("view"))) -> dict[str, Any]:
    """For a script that wants to know what it may."""
    return {
        "name": person.name,
        "role": person.role,
        "kind": "script" if person.script else "person",
        "anonymous": person.anonymous,
        "insecure": person.insecure,
    }


@router.get("/users", summary="Who may use the console, and as what.")
async def users_list(request: Request, person: Person = Depends(needs("engineer"))) -> dict[str, Any]:
    """Without passwords and tokens, of which only hashes are kept."""
    users: UsersFile = request.app.state.users
    try:
        found = users.users()
    except UsersError as error:
        raise Refused(503, "no_users", str(error)) from error
    return {
        "users": [
            {"name": name, "role": user.role, "kind": user.kind, "changed_at": user.changed_at or None}
            for name, user in found.items()
        ]
    }


@router.post("/users", summary="Add a person, or a script.", status_code=201)
async def users_add(request: Request, new: NewUser, person: Person = Depends(needs("engineer"))) -> dict[str, Any]:
    """The token of a script is in the answer, and nowhere else. The last engineer stays one."""
    users: UsersFile = request.app.state.users
    try:
        token = await asyncio.to_thread(
            users.add, new.name, new.role, new.password, replace=new.replace, keep_engineer=True
        )
    except (UsersError, PasswordError, LockError) as error:
        raise Refused(409, "refused", str(error)) from error
    log.warning("%s has made %s a user, for the role %s", shown(person.name), shown(new.name), new.role)
    return {"name": new.name, "role": new.role} | ({} if token is None else {"token": token})


@router.delete("/users/{name}", summary="Remove a user.")
async def users_remove(request: Request, name: str, person: Person = Depends(needs("engineer"))) -> dict[str, Any]:
    """Whoever is logged in under that name is logged out. The last engineer stays."""
    users: UsersFile = request.app.state.users
    try:
        await asyncio.to_thread(users.remove, name, keep_engineer=True)
    except (UsersError, LockError) as error:
        raise Refused(409, "refused", str(error)) from error
    log.warning("%s has removed the user %s", shown(person.name), shown(name))
    return {"name": name}
