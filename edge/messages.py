"""All that goes over a wire: frozen value objects, and the JSON Schemas that both ends validate against."""

from __future__ import annotations

import os
import threading
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from core.printable import shown
from edge.clock import in_utc, iso_ms, utc_now
from edge.settings_recipe import MOST_NUMBER

SCHEMA = 1
_DRAFT = "https://json-schema.org/draft/2020-12/schema"

NOT_CALIBRATED = tuple(f"not calibrated: show it good parts with `alfa-edge {word}`" for word in ("learn", "calibrate"))
"""What the status of a line says whose verdicts are provisional: without shots, and with shots."""


def not_calibrated(shots: int) -> str:
    """That of `NOT_CALIBRATED` which is for a line with so many shots: a first run is for a line without any."""
    return NOT_CALIBRATED[shots > 0]


Stamp = Annotated[
    datetime,
    PlainSerializer(iso_ms, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Milliseconds = Annotated[float, Field(ge=0.0)]
Generation = Annotated[
    int, Field(ge=1, description="Numbers are gap-free within a generation; a restored backup begins a new one.")
]
Decision = Literal["normal", "anomaly", "error"]
State = Literal["starting", "ready", "running", "paused", "fault", "stopping", "stopped", "offline"]
Level = Literal["ok", "warning", "fault"]


def _as_text(value: Any) -> Any:
    """A name as controllers send it: a whole number is taken as text, and padding with NULs goes."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:  # beyond it digits are lost
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.replace("\0", "") if isinstance(value, str) else value


def _text_or_whole(most: int) -> WithJsonSchema:
    text = {"type": "string", "minLength": 1, "maxLength": most}
    return WithJsonSchema({"anyOf": [text, {"type": "integer"}], "description": "A whole number is taken as text."})


class Wire(BaseModel):
    """A frozen part of a message. Consumers ignore fields that they do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """UTF-8 JSON; fields without a value are left out."""
        return self.model_dump_json(exclude_none=True).encode()


class Fault(Wire):
    """Why a part has no judgement, or a command no result."""

    code: str = Field(pattern=r"^[a-z0-9_]+$", description="Stable, for machines.")
    message: Annotated[str, AfterValidator(shown)] = Field(description="For people; never holds a credential.")


class Scores(Wire):
    """The parts of the image score, each in [0, 1]."""

    global_: Unit = Field(alias="global", description="S_G of the whole image (Eq. 10).")
    local: Unit = Field(description="The largest value of the aggregated window map.")
    memory: Unit | None = Field(default=None, description="The largest distance to the memory bank.")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class Region(Wire):
    """A connected area of the heatmap at or above the line's pixel threshold; pixels of the frame."""

    x: int = Field(ge=0)
    y: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    area: int = Field(ge=1, description="Pixels.")
    score: Unit = Field(description="The largest heatmap value inside.")
    peak: tuple[int, int] = Field(description="Where that value is: x, y in pixels of the frame.")
    position: str = Field(description="Of the nine words 'top left' to 'bottom right'.")
    descriptor: str | None = Field(default=None, description="The pack's phrase that matched best at the peak.")
    defect: str | None = Field(
        default=None, description="The kind of defect that the phrase is of, a key of the pack's `[defects]`."
    )


class Reason(Wire):
    """A descriptor of the pack and its cosine similarity to the image."""

    text: str
    similarity: float = Field(ge=-1.0, le=1.0)


class Heatmap(Wire):
    """Where the heatmap of this verdict is, and what it measures."""

    topic: str
    archive: str | None = Field(default=None, description="Path below the archive's root.")
    x: int = Field(ge=0, description="Offset of the inspected region in the frame, pixels.")
    y: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    max: Unit
    peak: tuple[int, int] = Field(description="Where that value is: x, y in pixels of the frame.")


class Recipe(Wire):
    """What the part was judged by."""

    pack: str
    pack_version: str
    pack_sha256: str
    threshold_source: str
    false_alarm_rate: Unit | None = None
    rejected_rate: Unit | None = Field(
        default=None, description="With a review: the promised share of good parts at or above `review_below`."
    )
    escape_rate: Unit | None = Field(
        default=None, description="With a review by bad parts: the promised share of bad parts below the threshold."
    )
    basis: str | None = Field(
        default=None, description="SHA-256 of what scores are of besides shots: model, method, texts, region, tiles."
    )
    tiles: str | None = Field(
        default=None, description="Rows, columns and overlap of the tiles of the region, as `2x4@0.2`; none without."
    )
    name: str | None = Field(default=None, description="Of the recipe.")
    number: int | None = Field(default=None, ge=1, le=MOST_NUMBER, description="Of the recipe on its line.")
    revision: int | None = Field(default=None, ge=1, description="Of the recipe's settings.")


class Model(Wire):
    """What judged it. `name` begins with `untrained` when the weights are random."""

    name: str
    fingerprint: str
    device: str
    dtype: str
    method: str = Field(default="alfa", description="What judged: alfa or filo.")
    head: str | None = Field(default=None, description="SHA-256 of FiLo's trained head; none for alfa.")
    scales: tuple[int, ...]
    windows: str = Field(default="exact", description="How windows were embedded: exact, strided, masked or none.")
    tower: str | None = Field(default=None, description="The second model that normal shots are compared in.")
    few_shot: str = Field(default="alfa", description="How normal shots are used: evidence or alfa.")


class Bank(Wire):
    """The memory bank at the time."""

    shots: int = Field(ge=0)
    revision: int = Field(ge=0)


class CameraFrame(Wire):
    """The frame: its number since the camera opened, frames passed over before it, its size in pixels.

    `exposure` is the camera's own number of it, where it gives one: GenICam cameras do.
    """

    frame: int = Field(ge=0)
    dropped: int = Field(ge=0)
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    exposure: int | None = Field(default=None, ge=0)


class Timing(Wire):
    """Milliseconds. `total` runs from the trigger, in free run from the grab, to the issue of the verdict."""

    capture: Milliseconds = Field(description="From the grab to the frame's arrival in the service.")
    queue: Milliseconds = Field(description="Waiting for the scorer.")
    decode: Milliseconds = Field(description="Decoding the frame; a part of capture.")
    score: Milliseconds = Field(description="In the scorer.")
    total: Milliseconds


class Verdict(Wire):
    """One part, one answer: the message of `line/<line>/anomaly`, schema 1."""

    schema_: int = Field(default=SCHEMA, alias="schema", ge=1)
    id: str = Field(
        default_factory=lambda: uuid7(),
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        description="UUIDv7.",
    )
    line: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    seq: int = Field(ge=1, description="Gap-free per line and generation.")
    generation: Generation = 1
    part_id: str | None = Field(default=None, max_length=200)
    duplicate: bool = Field(default=False, description="Whether the line had a part of this part_id before.")
    mode: Literal["trigger", "free"]
    captured_at: Stamp | None = None
    issued_at: Stamp = Field(default_factory=utc_now)
    verdict: Decision
    error: Fault | None = None
    score: Unit | None = Field(default=None, description="S of the image (Eq. 12).")
    threshold: Unit
    review: bool = Field(
        default=False,
        description="Whether a person is to look: an anomaly whose score is below `review_below`. "
        "Who does not know this field rejects the part.",
    )
    review_below: Unit | None = Field(
        default=None, description="The upper border of the line's review, where it has one; the lower is `threshold`."
    )
    provisional: bool = Field(
        default=False, description="Whether the threshold is neither calibrated for what judged here nor set by hand."
    )
    scores: Scores | None = None
    regions: tuple[Region, ...] = ()
    explanation: tuple[Reason, ...] = ()
    heatmap: Heatmap | None = None
    recipe: Recipe
    model: Model
    bank: Bank = Bank(shots=0, revision=0)
    camera: CameraFrame | None = None
    timing_ms: Timing | None = None
    simulated: bool = False
    historical: bool = Field(default=False, description="Whether it is late: the broker was away when it was issued.")

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        serialize_by_alias=True,
        json_schema_extra={
            "allOf": [
                {
                    "if": {"properties": {"verdict": {"const": "error"}}},
                    "then": {"required": ["error"]},
                    "else": {"required": ["score", "scores", "camera", "heatmap", "timing_ms", "captured_at"]},
                }
            ]
        },
    )


class StatusAlarm(Wire):
    """One thing that is wrong."""

    code: str = Field(pattern=r"^[a-z0-9_]+$", description="Stable, for machines.")
    message: str = Field(description="For people: what is wrong and what to do; never holds a credential.")
    since: Stamp
    severity: Literal["fault", "warning"] = Field(
        description="With a `fault` the line judges no parts, or nobody hears what it judges."
    )


class ComponentHealth(Wire):
    """How one thing is that a line depends on."""

    level: Level
    reason: str | None = Field(default=None, description="What is wrong; never holds a credential.")
    remedy: str | None = Field(default=None, description="What to do about it.")
    since: Stamp | None = Field(default=None, description="When it began.")


class LineHealth(Wire):
    """How a line is: the same in its status, in the command `status`, and in the figures for Prometheus."""

    state: State
    level: Level = Field(
        default="ok", description="What a light shows. `ok`: the line does what it should, and nothing is wrong."
    )
    reason: str | None = None
    remedy: str | None = Field(default=None, description="What to do about the reason.")
    components: dict[str, ComponentHealth] = Field(
        default={}, description="camera, disk, broker, delivery, judging, drift and service."
    )


class ActiveRecipe(Wire):
    """The recipe that a line judges by."""

    name: str
    number: int = Field(ge=1, le=MOST_NUMBER)
    revision: int = Field(ge=1)


class LineStatus(LineHealth):
    """The retained message of `line/<line>/status`; its last will says `offline`."""

    schema_: int = Field(default=SCHEMA, alias="schema", ge=1)
    line: str
    since: Stamp
    alarms: tuple[StatusAlarm, ...] = Field(default=(), description="All that is wrong; faults first.")
    recipe: ActiveRecipe | None = Field(default=None, description="What the next part is judged by.")
    generation: Generation = 1
    node: str
    version: str

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


class LatencySummary(Wire):
    """Milliseconds (`timing_ms.total`) over the verdicts since the last message."""

    p50: Milliseconds
    p99: Milliseconds
    max: Milliseconds


class LineStats(Wire):
    """The retained message of `line/<line>/stats`. Counters since the service started."""

    schema_: int = Field(default=SCHEMA, alias="schema", ge=1)
    line: str
    at: Stamp
    seq: int = Field(ge=0)
    generation: Generation = 1
    normal: int = Field(ge=0)
    anomaly: int = Field(ge=0)
    error: int = Field(ge=0)
    review: int = Field(default=0, ge=0, description="Parts that wait for a person's review.")
    dropped: int = Field(ge=0, description="Frames passed over because a newer one had come.")
    reconnects: int = Field(ge=0, description="Attempts to open the camera after the first.")
    restarts: int = Field(ge=0, description="Camera processes that were replaced.")
    damaged: int = Field(
        default=0, ge=0, description="Frames that were damaged on the way, or predicted from such a one."
    )
    triggers: int = Field(ge=0, description="Triggers that came, those refused at once included.")
    open: int = Field(ge=0, description="Parts that have no answer yet.")
    waiting: int = Field(ge=0, description="Verdicts on disk that the broker has not acknowledged.")
    waiting_s: float = Field(ge=0, description="Age of the oldest of them, seconds.")
    undelivered: int = Field(ge=0, description="Verdicts given up since they had waited too long, or were too many.")
    unkept: int = Field(ge=0, description="Answers given without a place on disk: it took no more.")
    rejected: int = Field(ge=0, description="Messages that came in and were refused: no triggers, no commands.")
    archive_skipped: int = Field(
        ge=0, description="Pictures not kept, of all lines: the disk was too slow or took no more."
    )
    shadow_judged: int = Field(default=0, ge=0, description="Parts that the line's shadow has judged, too.")
    shadow_passed_over: int = Field(default=0, ge=0, description="Parts that it was to judge, and has not.")
    drift: bool = Field(default=False, description="Whether the line has left what its calibration promised.")
    drift_reason: str | None = None
    alarm_share: Unit | None = Field(default=None, description="Of about the last 100 parts since the calibration.")
    latency_ms: LatencySummary | None = None
    alarms: tuple[str, ...] = Field(default=(), description="Codes of all that is wrong; the status has the words.")

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)


PartId = Annotated[str, Field(min_length=1, max_length=200), BeforeValidator(_as_text), _text_or_whole(200)]
RecipeChoice = Annotated[str, Field(min_length=1, max_length=64), BeforeValidator(_as_text), _text_or_whole(64)]
"""A recipe by its name or its number."""
CommandId = Annotated[str, Field(min_length=1, max_length=64), BeforeValidator(_as_text), _text_or_whole(64)]
SenderStamp = Annotated[
    AwareDatetime,
    AfterValidator(in_utc),
    PlainSerializer(iso_ms, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]


class TriggerMessage(Wire):
    """The message of `line/<line>/trigger`; fields that are not known are passed over."""

    part_id: PartId
    deadline_ms: int | None = Field(default=None, ge=10, le=600_000, description="By when; the line's own without it.")
    at: SenderStamp | None = Field(
        default=None, description="When the part was there; one older than its deadline is answered, not judged."
    )
    recipe: RecipeChoice | None = Field(
        default=None,
        description="Name or number of the recipe of this part and of those after it. Default: as of the part before.",
    )

    model_config = ConfigDict(frozen=True, extra="ignore")


class CommandMessage(Wire):
    """The message of `line/<line>/command`."""

    id: CommandId = "-"
    command: str = Field(min_length=1, max_length=64)
    arguments: dict[str, Any] = {}


class ReplyMessage(Wire):
    """The message of `line/<line>/reply`: a result or a refusal."""

    id: str = Field(description="That of the command; `-` where it had none, or none that could be read.")
    result: dict[str, Any] | None = None
    refusal: Fault | None = None

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"oneOf": [{"required": ["result"]}, {"required": ["refusal"]}]},
    )

    @model_validator(mode="after")
    def _result_or_refusal(self) -> ReplyMessage:
        if (self.result is None) == (self.refusal is None):
            raise ValueError("a reply has a result or a refusal")
        return self


_uuid_lock = threading.Lock()
_uuid_last = 0


def uuid7() -> str:
    """A UUID of version 7 (RFC 9562), strictly increasing within a process."""
    global _uuid_last
    millis = int(utc_now().timestamp() * 1000)
    fresh = (millis << 80) | (0x7 << 76) | (int.from_bytes(os.urandom(10), "big") & ((1 << 76) - 1))
    variant = 0b11 << 62
    with _uuid_lock:
        value = (fresh & ~variant) | (0b10 << 62)
        if value <= _uuid_last:  # same millisecond, or the wall clock stepped back
            value = _uuid_last + 1
        _uuid_last = value
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_SENT: dict[str, type[Wire]] = {"verdict": Verdict, "status": LineStatus, "stats": LineStats, "reply": ReplyMessage}
_TAKEN: dict[str, type[Wire]] = {"trigger": TriggerMessage, "command": CommandMessage}


def json_schemas() -> dict[str, dict[str, Any]]:
    """The published JSON Schemas by message name: what the service sends, and what it takes."""
    sent = {name: _open(model.model_json_schema(mode="serialization", by_alias=True)) for name, model in _SENT.items()}
    taken = {name: model.model_json_schema(mode="validation") for name, model in _TAKEN.items()}
    return {name: {"$schema": _DRAFT} | schema for name, schema in (sent | taken).items()}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Drops `additionalProperties: false`: a consumer ignores the fields that it does not know."""
    for part in (schema, *schema.get("$defs", {}).values()):
        part.pop("additionalProperties", None)
    return schema
