"""`alfa-edge users ...`: who may use the console in the browser, and as what."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.ask import ConfigFile, Json, out
from edge.cli.explained import explained
from edge.cli.table import Column, Table
from edge.cli.terminal import show_json
from edge.cli.when import local
from edge.hmi.person import MEANINGS, ROLES
from edge.settings import users_file
from edge.settings_file import load_settings

if TYPE_CHECKING:
    from edge.hmi.users import UsersFile

users_app = typer.Typer(
    help="Who may use the console in the browser. The file belongs to the user that runs it.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(help="As it stands in the audit.")]


def _file(config: Path) -> UsersFile:
    from edge.hmi.users import UsersFile

    return UsersFile(users_file(load_settings(config)))


@users_app.command("add")
def users_add(
    config: ConfigFile,
    name: Name,
    role: Annotated[str, typer.Option(help="; ".join(f"{role}: {MEANINGS[role]}" for role in ROLES) + ".")] = "view",
    script: Annotated[
        bool, typer.Option("--script", help="A script, which gets a token in the place of a password.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give a user that is there a new role and password, or token.")
    ] = False,
    stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the standard input; its first line.")
    ] = False,
) -> None:
    """Add a person, whose password it asks for, or a script, whose token it prints once."""
    found = next((known for known in ROLES if known == role), None)
    if found is None:
        raise typer.BadParameter(f"{role!r}: it is {', '.join(ROLES[:-1])} or {ROLES[-1]}", param_hint="--role")
    if script and stdin:
        raise typer.BadParameter("a script has no password", param_hint="--password-stdin")
    with explained():
        from edge.hmi.passwords import check_password
        from edge.hmi.users import check_name

        file = _file(config)
        check_name(name)
        password = None
        if not script:
            password = check_password(sys.stdin.readline().rstrip("\r\n") if stdin else _asked())
        token = file.add(name, found, password, replace=replace)
    out.print(f"{name} may use the console in the browser as {role}: {MEANINGS[found]}", soft_wrap=True)
    if token is not None:
        out.print("its token, which is shown nowhere again; a script sends it as `Authorization: Bearer ...`:")
        out.print(token)


@users_app.command("list")
def users_list(config: ConfigFile, as_json: Json = False) -> None:
    """List who may use the console in the browser."""
    with explained():
        users = _file(config).users()
    if as_json:
        show_json(
            [
                {"name": name, "role": user.role, "kind": user.kind, "changed_at": user.changed_at or None}
                for name, user in users.items()
            ]
        )
        return
    table = Table("name", Column("role", 9), Column("kind", 5), Column("since", 3))
    for name, user in users.items():
        table.add_row(name, user.role, user.kind, local(user.changed_at) if user.changed_at else "")
    out.print(table)


@users_app.command("remove")
def users_remove(config: ConfigFile, name: Name) -> None:
    """Remove a user. Whoever is logged in under that name is logged out."""
    with explained():
        _file(config).remove(name)
    out.print(f"{name} may not use the console in the browser any more", soft_wrap=True)


def _asked() -> str:
    """The password of a terminal, twice, which shows neither."""
    found: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return found
