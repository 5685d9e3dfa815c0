"""Health, audit and about: the machine, who changed what, and what runs here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from edge.hmi.formats import NOTHING, in_one_line, size
from edge.hmi.pages.page import find, page, status_of, view, wording_of
from edge.hmi.person import Person
from edge.hmi.wording import Wording

router = APIRouter()
_ENTRIES = 50
_FIGURES = (
    "queue",
    "frames_dropped",
    "camera_reconnects",
    "camera_restarts",
    "outbox_verdicts",
    "outbox_dropped",
    "mqtt_puback_age_seconds",
)
_LEAST_FREE = 0.05  # of a disk, below which it is a warning here; the service has its own, in bytes


@router.get("/health")
async def health(request: Request, person: Person = Depends(view)) -> Response:
    """Cameras, broker, disk and so on, each with what is to be done about it."""
    t = wording_of(request)
    found = await find(request, "health")
    lines = found.result["lines"] if found.result else status_of(request)
    return page(
        request,
        "health.html",
        "health",
        lines=[_line(name, line, t) for name, line in lines.items()],
        machine=_machine(found.result, t) if found.result else [],
        refusal=found.refusal,
    )


@router.get("/audit")
async def audit(request: Request, before_id: str = "", person: Person = Depends(view)) -> Response:
    """Who changed what, the newest first."""
    asked: dict[str, Any] = {"count": _ENTRIES}
    if before_id.isascii() and before_id.isdigit() and len(before_id) < 19:
        asked["before_id"] = int(before_id)
    found = await find(request, "audit", asked)
    entries = found.result["entries"] if found.result else []
    older = f"/audit?before_id={entries[-1]['id']}" if len(entries) == _ENTRIES else None
    return page(
        request,
        "audit.html",
        "audit",
        entries=[_entry(entry) for entry in entries],
        older=older,
        refusal=found.refusal,
    )


@router.get("/about")
async def about(request: Request, person: Person = Depends(view)) -> Response:
    """Version, models and licences."""
    t = wording_of(request)
    found = await find(request, "about")
    known = found.result or {}
    facts = [
        (t("about.version"), known.get("version", NOTHING)),
        ("Python", known.get("python", NOTHING)),
        (t("about.node"), known.get("node", NOTHING)),
        (t("about.zone"), known.get("zone") or NOTHING),
    ]
    for name, line in known.get("lines", {}).items():
        model = line.get("model") or {}
        words = f"{model.get('name', NOTHING)} · {model.get('device', NOTHING)} {model.get('dtype', '')}"
        facts.append((t("about.model_of", line=name), words))
        facts.append((t("about.fingerprint_of", line=name), model.get("fingerprint", NOTHING)))
    return page(request, "about.html", "about", facts=facts, licences=known.get("packages", []), refusal=found.refusal)


def _line(name: str, line: Mapping[str, Any], t: Wording) -> dict[str, Any]:
    rows = [
        {name: known.get(name) for name in ("level", "reason", "remedy", "since")}
        | {"name": t.or_else(f"health.{component}", component)}
        for component, known in line.get("components", {}).items()
    ]
    return {"name": name, "level": line["level"], "state": line["state"], "rows": rows}


def _machine(found: Mapping[str, Any], t: Wording) -> list[dict[str, str]]:
    rows = []
    for disk in found.get("disks", ()):
        free, total = disk.get("free_bytes"), disk.get("total_bytes")
        low = free is not None and total and free < _LEAST_FREE * total
        level = "fault" if disk.get("fault") else "warning" if low else "ok"
        words = disk.get("fault") or t("health.free", free=size(free), total=size(total), path=disk["path"])
        rows.append({"name": t("health.disk_of", role=disk["role"]), "level": level, "words": words})
    for name, device in found.get("devices", {}).items():
        rows.append({"name": f"{t('health.device')} {name}", "level": "", "words": _figures(device, t) or NOTHING})
    if found.get("archive"):
        rows.append({"name": t("health.archive"), "level": "", "words": _figures(found["archive"], t)})
    for name, line in found.get("lines", {}).items():
        if line.get("figures"):
            rows.append(
                {"name": name, "level": "", "words": _figures({key: line["figures"].get(key) for key in _FIGURES}, t)}
            )
    return rows


def _figures(known: Mapping[str, Any], t: Wording) -> str:
    """Figures as `memory 1.5 GB, temperature 45 °C`."""
    words = []
    for name, value in known.items():
        if value is None or isinstance(value, (dict, list)):
            continue
        called = t.or_else(f"health.figure_{name}", name.replace("_", " "))
        if name.endswith("bytes"):
            words.append(f"{called} {size(value)}")
        elif name.endswith("_celsius"):
            words.append(f"{called} {value:.0f} °C")
        elif name.endswith("_seconds"):
            words.append(f"{called} {value:.2g} s")
        else:
            words.append(f"{called} {in_one_line(value)}")
    return ", ".join(words)


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    before, after = entry.get("before") or {}, entry.get("after") or {}
    changes = [
        f"{name}: {in_one_line(before.get(name)) or NOTHING} → {in_one_line(after.get(name)) or NOTHING}"
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]
    claimed, arguments = entry.get("claimed"), entry.get("arguments") or "{}"
    return {
        "at": entry["at"],
        "who": f"{claimed} ({entry['who']})" if claimed and claimed != entry["who"] else entry["who"],
        "command": entry["command"],
        "arguments_words": in_one_line(json.loads(arguments) if isinstance(arguments, str) else arguments),
        "changes": changes,
        "outcome": entry["outcome"],
    }
