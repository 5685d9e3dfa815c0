"""The API for scripts: the service's own commands over HTTP, with the same arguments and the same refusals.

What is read has a path of its own, and is asked for with GET; what is done is sent with POST to `commands/<name>`.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from core.printable import shown
from edge.control.protocol import MAX_PARTS
from edge.hmi.access import needs
from edge.hmi.body_limit import SMALL, too_large
from edge.hmi.command_documents import documents
from edge.hmi.person import Person
from edge.hmi.refusals import Refused
from edge.hmi.roles import COMMAND_ROLES, WITH_PICTURES
from edge.hmi.service_link import QUICK_S, Answer, ServiceLink

router = APIRouter(prefix="/api/v1")

_uploads = asyncio.Semaphore(2)  # at a time: each takes as much memory as its pictures, twice
_REST_S = 5.0  # beyond what the service waits for, for the way there and back
_WAITS_S = 86_400.0  # the most that arguments may ask for
_KEPT = "private, max-age=300"  # of a picture, which does not change
_MAGIC = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8", "image/jpeg"))


@dataclass(frozen=True)
class Reading:
    """Something to be read: a path, and the command that answers it.

    Attributes:
        path: With the names of arguments in it; the others stand in the query.
        command: Of the service.
        summary: What it is, in a line.
        picture: Which of the pictures behind the answer it is: a place, or the name that `blobs` of the answer has for
            it; None: the answer itself, as JSON.
        kept: Whether a browser may keep it for a while.
    """

    path: str
    command: str
    summary: str
    picture: int | str | None = None
    kept: bool = False


READINGS = (
    Reading("/lines", "status", "Every line: state, counts, recipe, threshold, health."),
    Reading(
        "/lines/{line}/verdicts", "history", "Verdicts, the newest first; `before_seq` of the answer is the next page."
    ),
    Reading("/lines/{line}/verdicts/{seq}", "verdict", "A verdict with all its fields, and what was said of it."),
    Reading("/lines/{line}/verdicts/{seq}/picture", "verdict", "The part's picture.", "picture", kept=True),
    Reading("/lines/{line}/verdicts/{seq}/map", "verdict", "Its heatmap, 0..255 for 0..1.", "map", kept=True),
    Reading("/lines/{line}/thumbnails/{seqs}", "thumbnails", "A small picture of a part.", 0, kept=True),
    Reading("/lines/{line}/trend", "trend", "Counts, scores and thresholds over a stretch of time."),
    Reading("/lines/{line}/counts", "shift_counts", "Counts of the shift, and the rate."),
    Reading("/lines/{line}/threshold", "threshold_preview", "What a threshold would have called the last parts."),
    Reading("/lines/{line}/shots", "shots_list", "The shots of a recipe."),
    Reading("/lines/{line}/candidates", "shots_candidates", "Pictures that are held, with their flags."),
    Reading("/lines/{line}/calibration", "calibration_state", "How far a calibration is."),
    Reading("/lines/{line}/review", "review_list", "Parts that wait for a person's answer."),
    Reading("/lines/{line}/review/{seq}", "review_show", "A part that waits for an answer."),
    Reading("/lines/{line}/review/{seq}/picture", "review_show", "Its picture.", 0),
    Reading("/lines/{line}/snapshot", "snapshot", "The picture of the next part.", 0),
    Reading("/lines/{line}/recipes/{recipe}", "recipe_show", "A recipe, with its settings and revisions."),
    Reading("/shots/{shot}", "shots_show", "A shot."),
    Reading("/shots/{shot}/picture", "shots_show", "Its picture.", 0, kept=True),
    Reading("/shots/{shots}/thumbnail", "shot_thumbnails", "A small picture of a shot.", 0, kept=True),
    Reading("/candidates/{candidate}", "shots_candidate", "A picture that is held."),
    Reading("/candidates/{candidate}/picture", "shots_candidate", "The picture itself.", 0, kept=True),
    Reading("/candidates/{candidates}/thumbnail", "candidate_thumbnails", "A small picture of it.", 0, kept=True),
    Reading("/recipes", "recipe_list", "The recipes of all lines."),
    Reading("/health", "health", "Components, alarms with what to do, disks, outbox and device."),
    Reading("/about", "about", "Version, model, and the licences of what runs."),
    Reading("/audit", "audit", "Who changed what, the newest first; `before_id` is the next page."),
)
"""What there is to read of the service."""


async def ask(
    request: Request, command: str, arguments: Mapping[str, Any], blobs: Sequence[bytes], person: Person
) -> Answer:
    """The service's answer to a command, waited for as long as the command may take.

    Raises:
        Refused: the service refuses, is not there, or does not answer in time.
    """
    link: ServiceLink = request.app.state.link
    return await link.ask(command, dict(arguments), blobs, person, limit_s(command, arguments))


def limit_s(command: str, arguments: Mapping[str, Any]) -> float:
    """How long the answer to a command is waited for."""
    document, asked = documents()[command], arguments.get("timeout_s")
    if document.limit_s <= 2 * QUICK_S and "timeout_s" not in document.schema.get("properties", {}):
        return QUICK_S
    waits = asked if isinstance(asked, (int, float)) and 0 <= asked <= _WAITS_S else 0.0  # else it is refused at once
    return document.limit_s + waits + _REST_S


def _reader(reading: Reading) -> Callable[..., Awaitable[Response]]:
    properties = documents()[reading.command].schema.get("properties", {})
    several = {name for name, argument in properties.items() if argument.get("type") == "array"}

    async def read(request: Request, person: Person = Depends(needs(COMMAND_ROLES[reading.command]))) -> Response:
        arguments = _queried(request, several) | _in_path(request, several)
        answer = await ask(request, reading.command, arguments, (), person)
        headers = {"cache-control": _KEPT} if reading.kept else None
        if reading.picture is None:
            return JSONResponse(answer.result, headers=headers)
        picture = _picture(answer, reading.picture)
        return Response(picture, media_type=media_type(picture), headers=headers)

    return read


def _queried(request: Request, several: Set[str]) -> dict[str, Any]:
    """The arguments in the query; the service reads the texts as what they have to be."""
    found: dict[str, Any] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        if len(values) > 1 and name not in several:
            raise Refused(422, "bad_arguments", f"{shown(name)[:64]} is there {len(values)} times")
        found[name] = values if name in several else values[0]
    return found


def _in_path(request: Request, several: Set[str]) -> dict[str, Any]:
    return {name: [value] if name in several else value for name, value in request.path_params.items()}


def _picture(answer: Answer, which: int | str) -> bytes:
    """One of the pictures behind an answer.

    Raises:
        Refused: there is none.
    """
    names = answer.result.get("blobs", ())
    place = which if isinstance(which, int) else names.index(which) if which in names else len(answer.blobs)
    if place >= len(answer.blobs):
        raise Refused(404, "no_picture", str(answer.result.get("missing") or "there is no picture of it"))
    return answer.blobs[place]


def _doer(command: str) -> Callable[..., Awaitable[Response]]:
    person_who_may = needs(COMMAND_ROLES[command])

    async def do(request: Request, person: Person = Depends(person_who_may)) -> Response:
        arguments, blobs = await _sent(request, command in WITH_PICTURES)
        answer = await ask(request, command, arguments, blobs, person)
        if not answer.blobs:
            return JSONResponse(answer.result)
        pictures = [base64.b64encode(blob).decode() for blob in answer.blobs]
        return JSONResponse(answer.result | {"pictures_base64": pictures})

    return do


async def _sent(request: Request, with_pictures: bool) -> tuple[dict[str, Any], list[bytes]]:
    """The arguments of a command, and the pictures along with them.

    Raises:
        Refused: it is neither JSON nor, for a command that takes pictures, a form with them.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data" and with_pictures:
        async with _uploads:
            return await _form(request)
    if kind != "application/json":
        forms = " or multipart/form-data" if with_pictures else ""
        raise Refused(415, "wrong_type", f"the arguments are sent as application/json{forms}")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > SMALL:
            raise too_large(SMALL)
    return _object(bytes(body)), []


async def _form(request: Request) -> tuple[dict[str, Any], list[bytes]]:
    async with request.form(max_files=MAX_PARTS, max_fields=1, max_part_size=SMALL) as form:
        pictures = form.getlist("pictures")
        files = [picture for picture in pictures if isinstance(picture, UploadFile)]
        given = form.get("arguments", "{}")
        if not isinstance(given, str) or len(files) + ("arguments" in form) != len(form.multi_items()):
            raise Refused(422, "bad_arguments", "a form has `arguments`, as JSON, and `pictures`, as files")
        arguments = _object(given)
        if files and "names" not in arguments:
            arguments["names"] = [(file.filename or "")[:255] for file in files]
        return arguments, [await file.read() for file in files]


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")  # in UTF-8, UTF-16 or UTF-32, as JSON has it
    except (ValueError, RecursionError):
        raise Refused(400, "bad_request", "the arguments are no JSON") from None
    if not isinstance(found, dict):
        raise Refused(400, "bad_request", "the arguments are no JSON object")
    return found


def media_type(picture: bytes) -> str:
    """Of a picture, by how it begins."""
    return next((kind for magic, kind in _MAGIC if picture.startswith(magic)), "application/octet-stream")


def _parameters(reading: Reading) -> list[dict[str, Any]]:
    """The arguments that stand in the query, for the document; FastAPI knows those of the path."""
    schema = documents()[reading.command].schema
    return [
        {
            "name": name,
            "in": "path" if f"{{{name}}}" in reading.path else "query",
            "required": f"{{{name}}}" in reading.path or name in schema.get("required", ()),
            "description": " ".join(argument.get("description", "").split()),
            "schema": {key: value for key, value in argument.items() if key not in ("description", "title")},
        }
        for name, argument in schema.get("properties", {}).items()
    ]


def _body(command: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{documents()[command].name}"}
    content: dict[str, Any] = {"application/json": {"schema": reference}}
    if command in WITH_PICTURES:
        pictures = {"type": "array", "items": {"type": "string", "format": "binary"}, "maxItems": MAX_PARTS}
        form = {"type": "object", "properties": {"arguments": reference, "pictures": pictures}}
        content["multipart/form-data"] = {"schema": form}
    return {"required": True, "content": content}


def _add_routes() -> None:
    for reading in READINGS:
        router.add_api_route(
            reading.path,
            _reader(reading),
            methods=["GET"],
            name=f"read {reading.path}",
            summary=reading.summary,
            description=f"The command `{reading.command}` of the service.",
            tags=["read"],
            openapi_extra={"parameters": _parameters(reading)},
        )
    for command, role in COMMAND_ROLES.items():
        document = documents()[command]
        audited = " It is in the audit." if document.changes else ""
        router.add_api_route(
            f"/commands/{command}",
            _doer(command),
            methods=["POST"],
            name=f"do {command}",
            summary=" ".join(document.schema.get("description", "").split()),
            description=f"The command `{command}` of the service, for the role {role}.{audited}",
            tags=["do"],
            openapi_extra={"requestBody": _body(command)},
        )


_add_routes()
