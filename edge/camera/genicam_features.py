"""The features of a GenICam camera: set, and read back."""

from __future__ import annotations

import difflib
import re

from edge.address import shown_source
from edge.camera.aravis import Device, Value
from edge.camera.aravis_library import AravisError
from edge.camera.errors import SourceError
from edge.settings import CameraSettings

_ROUNDED = 0.01  # a camera may round a number by so much of it
_NAMES = re.compile(r"<pFeature>(\w+)</pFeature>")
_LINE = "Line"


def prepare_trigger(device: Device, settings: CameraSettings) -> None:
    """Has frames exposed as `settings.trigger` says.

    Raises:
        SourceError: the camera has no such trigger.
        AravisError: it refuses.
    """
    if device.is_available("AcquisitionMode"):
        device.set("AcquisitionMode", "Continuous")
    if settings.trigger == "free":
        device.trigger(None)
        return
    sources = device.choices("TriggerSource")
    if settings.trigger == "software":
        wanted: Value | None = "Software"
    else:
        lines = [source for source in sources if source.startswith(_LINE)]
        wanted = settings.features.get("TriggerSource", next(iter(lines), None))
    if wanted not in sources:
        missing = "a hardware line" if wanted is None else f"TriggerSource {wanted}"
        there = ", ".join(sources) or "nothing"
        raise SourceError(
            f"{shown_source(settings.source)}: the camera cannot be triggered by {missing}; it can by {there}"
        )
    device.trigger(str(wanted))


def set_features(device: Device, settings: CameraSettings) -> None:
    """Sets each of `settings.features`, in their order, and reads it back.

    Raises:
        SourceError: the camera has no such feature, or does not take the value; the message says what it would take.
    """
    for feature, value in settings.features.items():
        begin = f"{shown_source(settings.source)}: camera.features.{feature}"
        try:
            device.set(feature, value)
            if device.kind(feature) == "command":
                continue
            got = device.get(feature)
        except (AravisError, TypeError) as error:
            raise SourceError(f"{begin} = {value!r} is refused: {error}{_advice(device, feature)}") from error
        if not _same(value, got):
            raise SourceError(f"{begin} = {value!r}: the camera made {got!r} of it{_advice(device, feature)}")


def _same(asked: Value, got: Value) -> bool:
    if isinstance(asked, (int, float)) and isinstance(got, float):
        return abs(got - asked) <= _ROUNDED * abs(asked)
    return asked == got


def _advice(device: Device, feature: str) -> str:
    """What the feature would take, or what it may be called."""
    if device.kind(feature) is None:
        near = difflib.get_close_matches(feature, set(_NAMES.findall(device.description())), n=3, cutoff=0.5)
        return f"; it has {', '.join(near)}" if near else ""
    if choices := device.choices(feature):
        return f"; it takes {', '.join(choices)}"
    if (bounds := device.bounds(feature)) is not None:
        return f"; it takes {bounds[0]:.12g} to {bounds[1]:.12g}"
    return "" if device.is_available(feature) else "; another feature locks it now, such as one that ends in Auto"
