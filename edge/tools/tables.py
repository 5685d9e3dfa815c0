"""What can be set, sent and read, as documentation: the README's tables and an example file, from the code's words."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from edge.address import shown_source
from edge.messages import json_schemas
from edge.ops.alarms import ALARMS
from edge.ops.metrics import METRICS
from edge.ops.redact import redact
from edge.settings import ENV_PREFIX, LineSettings, Settings
from edge.topics import ANOMALY, COMMAND, REPLY, STATS, STATUS, TOPICS, TRIGGER

_EXAMPLE_LINE = "press-1"
_MESSAGE_TOPICS = {
    "verdict": ANOMALY,
    "status": STATUS,
    "stats": STATS,
    "reply": REPLY,
    "trigger": TRIGGER,
    "command": COMMAND,
}
_EXAMPLE_SOURCE = "rtsp://camera.local/stream"


def setting_names() -> list[str]:
    """Every setting, with its dotted key."""
    return [key for key, _ in _fields(Settings)]


def settings_table() -> str:
    """A Markdown table of every setting: key, type, default, meaning."""
    rows = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, field in _fields(Settings):
        rows.append(f"| `{key}` | {_kind(field.annotation)} | {_default(field)} | {_meaning(field)} |")
    return "\n".join(rows)


def metrics_table() -> str:
    """A Markdown table of the figures for Prometheus: name, kind, labels, meaning."""
    rows = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for name, metric in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows)


def alarms_table() -> str:
    """A Markdown table of what can be wrong: code, component, severity, meaning, remedy."""
    rows = ["| alarm | component | severity | meaning | what to do |", "| --- | --- | --- | --- | --- |"]
    rows += [
        f"| `{code}` | {alarm.component} | {alarm.severity} | {alarm.help} | {alarm.remedy} |"
        for code, alarm in ALARMS.items()
    ]
    return "\n".join(rows)


def messages_table() -> str:
    """A Markdown table of the JSON messages: name of the schema, topic, what the message is."""
    rows = ["| message | topic | schema | fields |", "| --- | --- | --- | --- |"]
    for name, schema in json_schemas().items():
        required = set(schema.get("required", ()))
        fields = (f"`{field}`" if field in required else f"`{field}`?" for field in schema["properties"])
        rows.append(
            f"| {name} | `{_MESSAGE_TOPICS[name].pattern}` | `edge/schemas/{name}.json` | {', '.join(fields)} |"
        )
    return "\n".join(rows)


def example() -> str:
    """A configuration file with one line, and every other setting at its default in a comment."""
    parts = [f"# alfa-edge. Every setting can also come from the environment, as {ENV_PREFIX}<TABLE>__<KEY>."]
    mark, optional = "", ""
    for key, field in _fields(Settings, tables=True):
        name = key.replace("<line>", _EXAMPLE_LINE)
        if _model(field) is not None:
            if not optional or not name.startswith(f"{optional}."):
                optional = "" if field.is_required() or field.default is not None else name
            mark = "# " if optional else ""  # an optional table stays out, with those in it
            parts.append(f"\n{mark}[{name}]")
            continue
        parts.append(f"# {_meaning(field)}")
        leaf = name.rsplit(".", 1)[1]
        if field.is_required():
            parts.append(f"{mark}{leaf} = " + (f'"{_EXAMPLE_SOURCE}"' if leaf == "source" else "64"))
        else:
            parts.append(f"# {leaf} = {_toml(field)}")
    return "\n".join(parts) + "\n"


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as JSON-able data without secrets: no passwords, and of addresses the origin."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shown_source(item) if key == "source" else clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        if isinstance(value, SecretStr):
            return "***"
        if isinstance(value, Path):
            return str(value)
        return redact(value) if isinstance(value, str) else value

    cleaned: dict[str, Any] = clean(settings.model_dump())
    return cleaned


def _fields(model: type[BaseModel], prefix: str = "", tables: bool = False) -> Iterator[tuple[str, FieldInfo]]:
    """Every setting below `model` with its dotted key; plain values before tables, as TOML wants it."""
    nested: list[tuple[str, FieldInfo, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        inner = LineSettings if name == "lines" else _model(field)
        if inner is None:
            yield prefix + name, field
        else:
            nested.append((f"{prefix}{name}.<line>" if name == "lines" else prefix + name, field, inner))
    for key, field, inner in nested:
        if tables:
            yield key, field
        yield from _fields(inner, key + ".", tables)


def _model(field: FieldInfo) -> type[BaseModel] | None:
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _kind(kind: Any) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(arg) for arg in args if arg is not type(None))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin is Mapping:
        return "table"
    if origin is tuple:
        return f"list of {_kind(args[0])}s"
    names = {
        str: "text",
        int: "integer",
        float: "number",
        bool: "true or false",
        Path: "path",
        SecretStr: "secret",
    }
    return names.get(kind) or _kind(args[0])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or field.default_factory is not None:
        return "see there" if field.default_factory is not None else "none"
    return f"`{_toml(field)}`"


def _toml(field: FieldInfo) -> str:
    value = field.default
    if value is None or field.default_factory is not None:
        return "..."
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return str(list(value))
    return str(value)


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def topics_table() -> str:
    """A Markdown table of the wire: topic, direction, QoS, retained, payload."""
    rows = ["| topic | direction | QoS | retained | payload |", "| --- | --- | --- | --- | --- |"]
    for topic in TOPICS:
        retained = "yes" if topic.retained else "no"
        rows.append(f"| `{topic.pattern}` | {topic.direction} | {topic.qos} | {retained} | {topic.payload} |")
    return "\n".join(rows)


def roles_table() -> str:
    """A Markdown table of who may what in the console in the browser."""
    from edge.hmi.person import MEANINGS

    return "\n".join(
        ["| role | what it may |", "| --- | --- |"] + [f"| `{role}` | {MEANINGS[role]} |" for role in MEANINGS]
    )


def routes_table() -> str:
    """A Markdown table of the console's addresses: method, path, role, meaning. The commands have one of their own."""
    from fastapi.routing import APIRoute

    from edge.hmi.api_document import role_of
    from edge.hmi.app import ROUTERS

    rows = ["| address | role | what it is |", "| --- | --- | --- |"]
    for route in (route for router in ROUTERS for route in router.routes):
        if not isinstance(route, APIRoute):
            rows.append(f"| WebSocket `{route.path}` | `view` | {_first_words(route.endpoint)} |")
        elif "/commands/" not in route.path:
            methods, role = sorted(route.methods or ()), role_of(route)
            method = methods[0] if len(methods) == 1 else "any method"
            meaning = route.summary or _first_words(route.endpoint)
            rows.append(f"| {method} `{route.path}` | {f'`{role}`' if role else 'everybody'} | {meaning} |")
    return "\n".join(rows)


def http_commands_table() -> str:
    """A Markdown table of the commands that the console passes on: name, role, arguments."""
    from edge.hmi.command_documents import documents
    from edge.hmi.roles import COMMAND_ROLES

    rows = ["| command | role | arguments |", "| --- | --- | --- |"]
    for name, role in COMMAND_ROLES.items():
        schema = documents()[name].schema
        required = set(schema.get("required", ()))
        arguments = (f"`{one}`" if one in required else f"`{one}`?" for one in schema.get("properties", {}))
        rows.append(f"| `{name}` | `{role}` | {', '.join(arguments)} |")
    return "\n".join(rows)


def _first_words(described: Any) -> str:
    return " ".join((described.__doc__ or "").partition("\n\n")[0].split())


TABLES = {
    "settings": settings_table,
    "topics": topics_table,
    "messages": messages_table,
    "alarms": alarms_table,
    "metrics": metrics_table,
    "roles": roles_table,
    "routes": routes_table,
    "http-commands": http_commands_table,
}


def with_tables(text: str) -> str:
    """`text` with the part between `<!-- NAME -->` and `<!-- /NAME -->` replaced by the table of that name."""
    for name, table in TABLES.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"\n<!-- /{name} -->")
        if not mark or not end:
            raise ValueError(f"no place for the table of {name}: <!-- {name} --> ... <!-- /{name} -->")
        text = before + mark + table() + end + after
    return text


def main() -> None:
    """Brings the tables of the Markdown file that is named up to date: `python -m edge.tools.tables README.md`."""
    path = Path(sys.argv[1])
    path.write_text(with_tables(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
