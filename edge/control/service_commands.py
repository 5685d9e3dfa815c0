"""Commands about the service itself: what runs, how it is, and who changed what."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import asdict
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from edge import __version__
from edge.clock import iso_ms
from edge.control.arguments import Arguments, NoArguments, Number
from edge.control.dispatcher import Caller, Command, Dispatcher, Result
from edge.ops.device import memory_bytes, temperature_celsius
from edge.zone import machine_zone

if TYPE_CHECKING:
    from edge.ops.alarms import Alarm

_LONGEST = 100  # characters of a licence: some packages have all of its text in the place of its name


class Audit(Arguments):
    """Entries of the audit."""

    count: int = Field(default=20, ge=1, le=1000)
    """The last so many."""
    before_id: Number | None = None
    """With a lower number than this."""


def _audit(dispatcher: Dispatcher, arguments: Audit, _caller: Caller) -> Result:
    count, before = arguments.count, arguments.before_id
    return {"entries": dispatcher.database.run(lambda tables: tables.audit(count, before))}, ()


def _about(dispatcher: Dispatcher, _arguments: NoArguments, _caller: Caller) -> Result:
    lines = {}
    for name, line in dispatcher.lines.items():
        judged_by = line.recipes.judged_by(line.recipes.active)
        lines[name] = {
            "model": judged_by.model.model_dump(mode="json"),
            "recipe": judged_by.wire.model_dump(mode="json"),
        }
    service = dispatcher.service
    return {
        "version": __version__,
        "python": platform.python_version(),
        "node": service.node,
        "zone": service.zone or machine_zone(),
        "shifts": list(service.shifts),
        "lines": lines,
        "packages": _packages(),
    }, ()


def _health(dispatcher: Dispatcher, _arguments: NoArguments, _caller: Caller) -> Result:
    lines, devices = {}, dict[str, Any]()
    for name, line in dispatcher.lines.items():
        lines[name] = line.health().model_dump(mode="json") | {"figures": asdict(line.gauges())}
        device = line.recipes.judged_by(line.recipes.active).model.device
        devices[device] = {"memory_bytes": memory_bytes(device), "temperature_celsius": temperature_celsius(device)}
    archive = dispatcher.archive
    status = asdict(archive.status) | {"oldest": archive.status.oldest and archive.status.oldest.isoformat()}
    return {
        "lines": lines,
        "alarms": [_alarm_part(alarm) for alarm in dispatcher.alarms.every()],
        "disks": [_disk("state", dispatcher.database.folder)]
        + ([_disk("archive", archive.root)] if archive.root is not None else []),
        "archive": status if archive.keeps else None,
        "devices": devices,
    }, ()


def _alarm_part(alarm: Alarm) -> dict[str, Any]:
    return asdict(alarm) | {"since": iso_ms(alarm.since), "severity": alarm.severity}


def _disk(role: str, path: Path) -> dict[str, Any]:
    """How much is free where something is kept, and why that is not known where it is not."""
    known: dict[str, Any] = {"role": role, "path": str(path), "free_bytes": None, "total_bytes": None, "fault": None}
    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        return known | {"fault": f"{path}: {error.strerror or error}"}
    return known | {"free_bytes": usage.free, "total_bytes": usage.total}


@lru_cache(maxsize=1)
def _packages() -> list[dict[str, str]]:
    """The packages of which something is loaded, and their licences, as they state them themselves."""
    loaded = {name.partition(".")[0] for name in tuple(sys.modules)}
    names = {name for module, names in metadata.packages_distributions().items() if module in loaded for name in names}
    found = [metadata.distribution(name) for name in sorted(names, key=str.lower)]
    return [{"name": one.metadata["Name"], "version": one.version, "licence": _licence(one)} for one in found]


def _licence(package: metadata.Distribution) -> str:
    """An SPDX expression, or what the package says in its place; empty where it says nothing."""
    said = package.metadata
    classifiers = [each for each in said.get_all("Classifier") or () if each.startswith("License ::")]
    from_classifiers = ", ".join(each.rpartition("::")[2].strip() for each in classifiers)
    for licence in (said.get_all("License-Expression") or []) + (said.get_all("License") or []):
        if 0 < len(name := " ".join(licence.split())) <= _LONGEST:
            return name
    return from_classifiers


SERVICE_COMMANDS: dict[str, Command] = {
    "health": Command(NoArguments, _health),
    "about": Command(NoArguments, _about),
    "audit": Command(Audit, _audit),
}
