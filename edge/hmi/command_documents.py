"""What the service's commands take, for the API's document: written ahead, as the commands themselves take seconds to
be imported.

`python -m edge.hmi.command_documents` writes `commands.json` anew; a test holds it to the code.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "commands.json"
REFERENCE = "#/components/schemas/{model}"
_TWO_OF_A_NAME = re.compile(r"\bedge__control__(\w+?)__(\w+)\b")  # as pydantic tells two models of one name apart


@dataclass(frozen=True)
class CommandDocument:
    """What there is to know of a command.

    Attributes:
        name: Of the JSON Schema of its arguments.
        schema: That schema.
        changes: Whether it changes something, and so is in the audit.
        limit_s: How long it may take, besides the `timeout_s` of its arguments.
    """

    name: str
    schema: dict[str, Any]
    changes: bool
    limit_s: float


@lru_cache(maxsize=1)
def documents() -> dict[str, CommandDocument]:
    """Of each command that the console passes on, by its name."""
    commands = json.loads(FILE.read_bytes())["commands"]
    return {
        command: CommandDocument(entry["arguments"], schemas()[entry["arguments"]], entry["changes"], entry["limit_s"])
        for command, entry in commands.items()
    }


@lru_cache(maxsize=1)
def schemas() -> dict[str, Any]:
    """All schemas that those of the arguments name, by their names."""
    found: dict[str, Any] = json.loads(FILE.read_bytes())["schemas"]
    return found


def written() -> str:
    """What `commands.json` has to hold, from the commands themselves."""
    from pydantic.json_schema import models_json_schema

    from edge.control.commands import COMMANDS
    from edge.hmi.roles import COMMAND_ROLES

    offered = {name: COMMANDS[name] for name in COMMAND_ROLES}
    models = sorted({command.arguments for command in offered.values()}, key=lambda model: model.__name__)
    references, defined = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    commands = {
        name: {
            "arguments": references[command.arguments, "validation"]["$ref"].rpartition("/")[2],
            "changes": command.changes,
            "limit_s": command.limit_s,
        }
        for name, command in offered.items()
    }
    text = json.dumps({"commands": commands, "schemas": defined["$defs"]}, indent=1, sort_keys=True) + "\n"
    return _TWO_OF_A_NAME.sub(lambda found: f"{found[2]}Of{found[1].title().replace('_', '')}", text)


if __name__ == "__main__":
    FILE.write_text(written(), "utf-8")
