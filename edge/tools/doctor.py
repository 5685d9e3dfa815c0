"""`alfa-edge doctor`: what works here, and whether the configured service could run."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import torch

from core.backbone import BUNDLED, UNTRAINED, cpu_has_bf16, resolve_device, resolve_dtype
from core.packs import PackError, list_packs, load_pack
from core.store import Store
from core.weights import ModelError, check_name, find
from edge.camera.errors import SourceError
from edge.camera.pictures import Simulation
from edge.inspection.recipe_loader import make_tower
from edge.ops.redact import is_url, redact
from edge.settings import Settings, state_dir, store_dir
from edge.tools.broker_check import BrokerReport, check_broker

_BROKER_TIMEOUT_S = 3.0
_LEAST_FREE = 1 << 30
_AMPLE_PACKET = 1 << 20  # bytes; heatmaps of large frames are some 100 kB
_NO_GSTREAMER = "this OpenCV has no GStreamer; install one that was built with it (-D WITH_GSTREAMER=ON)"
_BACKENDS = (
    (cv2.CAP_FFMPEG, "network streams and video files"),
    (cv2.CAP_V4L2, "local cameras"),
    (cv2.CAP_GSTREAMER, "GStreamer pipelines"),
)


@dataclass(frozen=True)
class Check:
    """One thing looked at. Only `fail` keeps the configured service from running."""

    name: str
    result: Literal["ok", "note", "fail"]
    detail: str


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
    yield Check("packs", "ok", ", ".join(list_packs()))


def configured(settings: Settings) -> Iterator[Check]:
    """What the configuration needs; a `fail` here means that the service could not run."""
    yield from _model(settings)
    for name, line in settings.lines.items():
        try:
            pack = load_pack(line.pack)
            yield Check(f"line {name}: pack", "ok", f"{pack.name} {pack.version}")
        except PackError as error:
            yield Check(f"line {name}: pack", "fail", str(error))
        yield _source(name, line.camera.source)
    yield from _broker(settings, check_broker(settings.mqtt, _BROKER_TIMEOUT_S))
    yield _disk("state", state_dir(settings.service.state_dir))
    if settings.archive.dir is not None:
        yield _disk("archive", settings.archive.dir)


def _model(settings: Settings) -> Iterator[Check]:
    model = settings.model
    try:
        device = resolve_device(model.device)
        yield Check("device", "ok", f"{device}, {resolve_dtype(model.dtype, device)}")
    except ModelError as error:
        yield Check("device", "fail", str(error))
    yield _tower(settings)
    if model.name == UNTRAINED:
        yield Check("weights", "note", "the model is untrained: its verdicts mean nothing")
        return
    if model.name == BUNDLED:
        yield Check("weights", "note", "the bundled model: small, and trained on simulated parts only")
        return
    try:
        check_name(model.name)
        if model.weights is None:
            raise ModelError("model.weights is not set")
        path, _ = find(model.name, model.weights, Store(store_dir(model.store)))
        yield Check("weights", "ok", f"{model.name} from {path}, {path.stat().st_size / 2**20:.0f} MiB")
    except ModelError as error:
        yield Check("weights", "fail", str(error))


def _tower(settings: Settings) -> Check:
    """The second model: loaded as the service would, so that what is missing is said here first."""
    if settings.method.few_shot == "alfa":
        return Check("tower", "note", "none: the paper's way with normal shots uses the CLIP's features alone")
    try:
        tower = make_tower(settings.model, Store(store_dir(settings.model.store)))
    except ModelError as error:
        return Check("tower", "fail", str(error))
    if tower is None:
        return Check("tower", "note", "none: normal shots are compared in the CLIP's own blocks")
    return Check("tower", "ok", f"{tower.name}, layers {', '.join(map(str, tower.layers))}; its weights are whole")


def _source(name: str, source: str) -> Check:
    """Whether a local source is there. A network camera may come later: its line waits for it."""
    label = f"line {name}: camera"
    if source.startswith("sim:"):
        try:
            Simulation(source).close()
        except SourceError as error:
            return Check(label, "fail", str(error))
    if is_url(source) or source.startswith("sim:"):
        return Check(label, "note", f"{redact(source)}: opened when the service runs")
    if source.startswith("gst:"):
        has = cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER)
        return Check(label, "note" if has else "fail", "opened when the service runs" if has else _NO_GSTREAMER)
    path = Path(source)
    if not path.exists():
        return Check(label, "fail", f"{source}: not there")
    if not os.access(path, os.R_OK):
        return Check(label, "fail", f"{source}: not readable for this user (group video for cameras)")
    return Check(label, "ok", source)


def _broker(settings: Settings, report: BrokerReport) -> Iterator[Check]:
    where = f"{settings.mqtt.host}:{settings.mqtt.port}"
    if report.refusal is not None:
        yield Check("broker", "fail", f"{where}: {report.refusal}")
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


def _disk(name: str, root: Path) -> Check:
    there, setting = root, {"state": "service.state_dir", "archive": "archive.dir"}[name]
    while not there.exists():
        there = there.parent
    if not os.access(there, os.W_OK):
        return Check(name, "fail", f"{there} is not writable for this user; set {setting}")
    free = shutil.disk_usage(there).free
    detail = f"{root}: {free / 2**30:.1f} GiB free"
    if free < _LEAST_FREE:
        return Check(name, "fail", f"{detail}; make room, or set {setting}")
    return Check(name, "ok", detail)
