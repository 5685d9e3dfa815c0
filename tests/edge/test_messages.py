"""The wire format: what is sent is what the published schemas allow."""

from __future__ import annotations

import importlib.resources
import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError
from pydantic import ValidationError as ModelError

import edge.messages
from edge.clock import utc_now
from edge.messages import (
    CameraFrame,
    CommandMessage,
    Fault,
    Heatmap,
    LatencySummary,
    LineStats,
    LineStatus,
    Model,
    Reason,
    Recipe,
    Region,
    ReplyMessage,
    Scores,
    StatusAlarm,
    Timing,
    TriggerMessage,
    Verdict,
    json_schemas,
    uuid7,
)

REGENERATE = """python -c "
import json, pathlib, edge.messages
for name, schema in edge.messages.json_schemas().items():
    text = json.dumps(schema, indent=2, sort_keys=True)
    pathlib.Path(f'edge/schemas/{name}.json').write_text(text + chr(10))" """
RECIPE = Recipe(pack="generic", pack_version="1", pack_sha256="00", threshold_source="settings")
MODEL = Model(name="untrained", fingerprint="f", device="cpu", dtype="fp32", scales=(2, 3))


def judged() -> Verdict:
    """A verdict with every field."""
    return Verdict(
        line="press-1",
        seq=7,
        part_id="P-7",
        mode="trigger",
        captured_at=utc_now(),
        verdict="anomaly",
        score=0.75,
        threshold=0.5,
        scores=Scores.model_validate({"global": 0.7, "local": 0.8, "memory": 0.6}),
        regions=(
            Region(
                x=1,
                y=2,
                width=3,
                height=4,
                area=9,
                score=0.8,
                peak=(2, 3),
                position="top left",
                descriptor="scratch",
            ),
        ),
        explanation=(Reason(text="a scratched plate", similarity=0.31),),
        heatmap=Heatmap(
            topic="line/press-1/anomaly/heatmap", archive="a.png", x=0, y=0, width=64, height=48, max=0.8, peak=(3, 4)
        ),
        recipe=RECIPE,
        model=MODEL,
        camera=CameraFrame(frame=12, dropped=1, width=64, height=48),
        timing_ms=Timing(capture=1.5, queue=0.0, decode=0.5, score=20.0, total=22.0),
    )


def failed() -> Verdict:
    """A part that could not be judged."""
    fault = Fault(code="camera_timeout", message="no frame within 5 s")
    return Verdict(
        line="press-1",
        seq=8,
        mode="free",
        verdict="error",
        error=fault,
        threshold=0.5,
        recipe=RECIPE,
        model=MODEL,
    )


def stats() -> LineStats:
    return LineStats(
        line="press-1",
        at=utc_now(),
        seq=8,
        normal=6,
        anomaly=1,
        error=1,
        dropped=0,
        reconnects=0,
        restarts=0,
        latency_ms=LatencySummary(p50=20.0, p99=30.0, max=31.0),
        triggers=0,
        open=0,
        waiting=0,
        waiting_s=0.0,
        undelivered=0,
        unkept=0,
        rejected=0,
        archive_skipped=0,
    )


def status() -> LineStatus:
    alarm = StatusAlarm(code="camera", message="no frames; check the cable", since=utc_now(), severity="fault")
    return LineStatus(
        line="press-1",
        state="fault",
        since=utc_now(),
        reason="camera: no frames",
        remedy="check the cable",
        alarms=(alarm,),
        generation=2,
        node="box",
        version="0.1.0",
    )


@pytest.mark.parametrize("name", sorted(json_schemas()))
def test_published_schema_is_in_step(name: str) -> None:
    text = _published(name)
    expected = json.dumps(json_schemas()[name], indent=2, sort_keys=True) + "\n"
    assert text == expected, f"edge/schemas/{name}.json is out of step with edge/messages.py; run:\n{REGENERATE}"
    Draft202012Validator.check_schema(json.loads(text))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("verdict", judged()),
        ("verdict", failed()),
        ("status", status()),
        ("stats", stats()),
        ("stats", stats().model_copy(update={"latency_ms": None, "alarms": ("drift",)})),
    ],
)
def test_messages_are_what_the_schema_says(name: str, message: Any) -> None:
    sent = json.loads(message.to_json())
    _validator(name).validate(sent)
    _validator(name).validate(sent | {"a_field_of_a_later_version": 1})
    assert sent["schema"] == 1
    assert None not in sent.values()
    assert type(message).model_validate_json(message.to_json()).to_json() == message.to_json()


@pytest.mark.parametrize(
    ("verdict", "missing"),
    [
        (failed(), "error"),  # an error says why
        (judged(), "score"),
        (judged(), "scores"),
        (judged(), "heatmap"),
        (judged(), "camera"),
        (judged(), "captured_at"),
        (judged(), "timing_ms"),
        (judged(), "seq"),
        (judged(), "line"),
    ],
)
def test_schema_wants(verdict: Verdict, missing: str) -> None:
    sent = json.loads(verdict.to_json())
    del sent[missing]
    with pytest.raises(ValidationError, match=missing):
        _validator("verdict").validate(sent)


def test_a_verdict_says_whether_it_is_provisional() -> None:
    """Schema 1 has got a field: a consumer may leave it out, and takes a verdict without it for one that is not."""
    assert json.loads(judged().to_json())["provisional"] is False
    sent = json.loads(failed().model_copy(update={"provisional": True}).to_json())
    assert (sent["schema"], sent["provisional"]) == (1, True)
    assert "provisional" not in json.loads(_published("verdict"))["required"]
    del sent["provisional"]
    _validator("verdict").validate(sent)
    assert not Verdict.model_validate(sent).provisional


@pytest.mark.parametrize(("name", "message"), [("verdict", failed()), ("status", status()), ("stats", stats())])
def test_schema_1_has_got_fields_and_is_the_same_without_them(name: str, message: Any) -> None:
    sent = json.loads(message.to_json())
    assert sent["generation"] == message.generation
    for field in ("generation", "alarms", "remedy"):
        sent.pop(field, None)
    _validator(name).validate(sent)
    assert type(message).model_validate(sent).generation == 1
    with pytest.raises(ValidationError, match="minimum"):
        _validator(name).validate(sent | {"generation": 0})


@pytest.mark.parametrize("answer", [{"result": {"state": "paused"}}, {"refusal": {"code": "late", "message": "..."}}])
def test_a_reply_is_a_result_or_a_refusal(answer: dict[str, Any]) -> None:
    sent = json.loads(ReplyMessage.model_validate({"id": "7"} | answer).to_json())
    assert sent == {"id": "7"} | answer
    _validator("reply").validate(sent)
    for wrong in ({"id": "7"}, sent | {"result": {}, "refusal": {"code": "late", "message": "..."}}):
        with pytest.raises(ValidationError):
            _validator("reply").validate(wrong)
        with pytest.raises(ModelError, match="a result or a refusal"):
            ReplyMessage.model_validate(wrong)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trigger", TriggerMessage(part_id="A-17", deadline_ms=500, at=utc_now())),
        ("trigger", {"part_id": 17, "of_a_gateway": 1}),
        ("command", CommandMessage(id="7", command="recipe_set", arguments={"pack": "bottle"})),
        ("command", {"id": 7, "command": "pause"}),
    ],
)
def test_what_the_service_takes_is_what_the_schema_says(name: str, message: Any) -> None:
    sent = message if isinstance(message, dict) else json.loads(message.to_json())
    _validator(name).validate(sent)
    assert (TriggerMessage if name == "trigger" else CommandMessage).model_validate(sent)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("trigger", {}),
        ("trigger", {"part_id": ""}),
        ("trigger", {"part_id": True}),
        ("trigger", {"part_id": "A", "deadline_ms": 9}),
        ("command", {"id": "7"}),
        ("command", {"command": "pause", "line": "press-1"}),
    ],
)
def test_what_the_schema_refuses_the_service_refuses(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _validator(name).validate(wrong)
    with pytest.raises(ModelError):
        (TriggerMessage if name == "trigger" else CommandMessage).model_validate(wrong)


def test_scores_are_named_as_on_the_wire() -> None:
    assert set(json.loads(judged().to_json())["scores"]) == {"global", "local", "memory"}


def test_stamps_are_utc_with_milliseconds() -> None:
    plant = timezone(timedelta(hours=2))
    verdict = judged().model_copy(update={"issued_at": datetime(2026, 1, 31, 8, 0, 0, 123_999, plant)})
    assert json.loads(verdict.to_json())["issued_at"] == "2026-01-31T06:00:00.123Z"
    whole = judged().model_copy(update={"issued_at": datetime(2026, 1, 31, 6, tzinfo=timezone.utc)})
    assert json.loads(whole.to_json())["issued_at"] == "2026-01-31T06:00:00.000Z"


@pytest.mark.parametrize("part", [judged(), judged().scores, judged().regions[0], status(), stats()])
def test_frozen(part: Any) -> None:
    field = next(iter(type(part).model_fields))
    with pytest.raises(ModelError, match="frozen"):
        setattr(part, field, getattr(part, field))


def test_uuid7_form_and_time() -> None:
    before = int(utc_now().timestamp() * 1000)
    text = uuid7()
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    assert before <= int(text.replace("-", "")[:12], 16) <= int(utc_now().timestamp() * 1000)


def test_uuid7_increases() -> None:
    ids = [uuid7() for _ in range(5000)]
    assert ids == sorted(set(ids))


def test_uuid7_increases_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = uuid7()
    monkeypatch.setattr(edge.messages, "utc_now", lambda: utc_now() - timedelta(hours=1))
    behind = [uuid7() for _ in range(100)]
    assert [first, *behind] == sorted({first, *behind})
    assert {text[14] for text in behind} == {"7"}


def _published(name: str) -> str:
    return (importlib.resources.files("edge") / "schemas" / f"{name}.json").read_text("utf-8")


def _validator(name: str) -> Draft202012Validator:
    schema = json.loads(_published(name))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def test_the_figures_of_stats_are_numbers_that_databases_flatten() -> None:
    """As Telegraf, Home Assistant and exporters for Prometheus take them; texts are what they leave out."""
    texts = {"line", "at", "drift_reason", "alarms"}

    def figures(message: dict[str, Any]) -> dict[str, Any]:
        flat = {}
        for name, value in message.items():
            nested = value.items() if isinstance(value, dict) else ()
            flat |= {f"{name}_{inner}": figure for inner, figure in nested} or {name: value}
        return flat

    found = figures(json.loads(stats().to_json()))
    assert {name for name, value in found.items() if not isinstance(value, int | float)} <= texts
    assert {"seq", "normal", "anomaly", "error", "waiting_s", "latency_ms_p50", "latency_ms_p99"} <= {*found}
