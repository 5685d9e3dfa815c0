"""Every command has a role or a reason, and every route, role and argument is in the documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edge.control.commands import COMMANDS
from edge.hmi.api_document import document
from edge.hmi.app import ROUTERS
from edge.hmi.command_documents import FILE, documents, written
from edge.hmi.person import MEANINGS, ROLES
from edge.hmi.roles import COMMAND_ROLES, NOT_OFFERED, WITH_PICTURES

README = (Path(__file__).parents[3] / "README.md").read_text("utf-8")


def test_each_command_has_a_role_or_a_reason_why_it_has_none() -> None:
    assert set(COMMAND_ROLES) | set(NOT_OFFERED) == set(COMMANDS)
    assert not set(COMMAND_ROLES) & set(NOT_OFFERED)
    assert all(NOT_OFFERED.values())
    assert set(COMMAND_ROLES) >= WITH_PICTURES


def test_whoever_only_looks_changes_nothing() -> None:
    assert [name for name, role in COMMAND_ROLES.items() if role == "view" and COMMANDS[name].changes] == []


def test_no_command_that_is_offered_names_a_folder() -> None:
    assert [name for name in COMMAND_ROLES if "folder" in COMMANDS[name].arguments.model_fields] == []


def test_what_is_written_of_the_commands_is_in_step_with_them() -> None:
    remedy = "run: python -m edge.hmi.command_documents"
    assert FILE.read_text("utf-8") == written(), remedy
    assert set(documents()) == set(COMMAND_ROLES)


def test_the_document_is_of_the_openapi_form_and_leads_nowhere_else() -> None:
    made = document()
    assert made["openapi"].startswith("3.1")
    text = json.dumps(made)
    references = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert references
    for reference in references:
        where: Any = made
        for step in reference.removeprefix("#/").split("/"):
            assert step in where, reference
            where = where[step]
    for schema in made["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_each_path_of_the_document_has_a_summary_a_role_and_words_for_its_arguments() -> None:
    made = document()
    assert {f"/api/v1/commands/{name}" for name in COMMAND_ROLES} < set(made["paths"])
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["x-role"] in ROLES, where
            names = [parameter["name"] for parameter in operation.get("parameters", ())]
            assert len(names) == len(set(names)), where
    for name, entry in documents().items():
        for argument, schema in entry.schema.get("properties", {}).items():
            assert schema.get("description"), f"{name}: {argument}"


def test_each_route_is_in_the_readme() -> None:
    routes = {route.path for router in ROUTERS for route in router.routes}  # type: ignore[attr-defined]
    commands = {f"/api/v1/commands/{name}" for name in COMMAND_ROLES}
    missing = [path for path in sorted(routes - commands) if f"`{path}`" not in README]
    assert missing == [], "bring it up to date: python -m edge.tools.tables README.md"
    assert [name for name in COMMAND_ROLES if f"`{name}`" not in README] == []


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_in_the_readme(role: str) -> None:
    assert f"| `{role}` | {MEANINGS[role]}" in README  # type: ignore[index]
