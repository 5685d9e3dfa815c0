"""GigE Vision cameras: a real one on the loopback interface, which Aravis brings, and a relay that loses packets."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.camera import aravis_library
from edge.camera.aravis import Device, find
from edge.camera.errors import SourceError
from edge.camera.genicam import GenICam
from edge.camera.source import check_source, is_there
from edge.camera.supervisor import FRESH_S
from edge.clock import monotonic, utc_now
from edge.settings import CameraSettings, LineSettings
from tests.edge.camera.conftest import Open, child_pid, wait_for
from tests.support.gige import ID, MODEL, RELAY, VENDOR, GigECamera, Relay


def settings(source: str = GigECamera.source, **more: Any) -> CameraSettings:
    return CameraSettings(source=source, read_timeout_s=5.0, **more)


@pytest.fixture
def opened() -> Iterator[Any]:
    """Opens cameras in this process, and closes them."""
    cameras: list[GenICam] = []

    def open_one(source: str = GigECamera.source, **more: Any) -> GenICam:
        cameras.append(GenICam(settings(source, **more)))
        return cameras[-1]

    yield open_one
    for camera in cameras:
        camera.close()


def test_the_camera_is_found(gige: GigECamera) -> None:
    found = next(one for one in find() if one.id == ID)
    assert (found.vendor, found.model, found.address) == (VENDOR, MODEL, "127.0.0.1")
    assert found.protocol == "GigEVision"
    assert is_there(settings())
    check_source(settings("genicam:127.0.0.1"), there=True)


def test_what_is_not_there_is_said_with_what_is(gige: GigECamera) -> None:
    with pytest.raises(SourceError, match=f"no such camera answers; .* There are: .*{ID}") as caught:
        GenICam(settings("genicam:Acme-1234"))
    assert caught.value.absent
    assert not is_there(settings("genicam:Acme-1234"))
    with pytest.raises(SourceError, match="name the camera"):
        check_source(settings("genicam:"))


def test_the_frames_are_the_camera_s(gige: GigECamera, opened: Any) -> None:
    camera = opened()
    pictures = []
    for _ in range(3):
        before = monotonic()
        assert camera.grab()
        picture = camera.retrieve()
        assert (picture.shape, picture.dtype) == ((512, 512, 3), np.uint8)
        assert camera.exposure.damage is None
        assert before - 1 < camera.exposure.captured < monotonic()
        pictures.append(picture)
    ramp = pictures[0][..., 0].astype(int)
    assert (np.diff(ramp[0]) % 255 == 1).mean() > 0.9, "a diagonal ramp"
    assert not np.array_equal(pictures[0], pictures[2]), "that moves"


@pytest.mark.parametrize("form", ["Mono16", "BayerRG8", "RGB8"])
def test_a_pixel_format_is_set_and_read(gige: GigECamera, opened: Any, form: str) -> None:
    camera = opened(features={"PixelFormat": form})
    camera.grab()
    picture = camera.retrieve()
    assert picture.shape == (512, 512, 3)
    assert picture.std() > 20


def test_features_are_set_in_their_order_and_read_back(gige: GigECamera, opened: Any) -> None:
    asked = {"Width": 320, "Height": 240, "ExposureTimeAbs": 5000, "GainRaw": 2, "GainAuto": "Off", "TestBoolean": True}
    camera = opened(features=asked)
    camera.grab()
    assert camera.retrieve().shape == (240, 320, 3)
    camera.close()
    device = Device(ID)
    try:
        assert {name: device.get(name) for name in asked} == asked
    finally:
        device.close()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"ExposureTime": 5000}, r"ExposureTime = 5000 is refused: .*no such feature; it has ExposureTimeAbs$"),
        ({"PixelFormat": "Mono12"}, r"PixelFormat = 'Mono12' is refused: .*; it takes .*Mono8, "),
        ({"GainRaw": 99}, r"GainRaw = 99 is refused: .*; it takes 0 to 10$"),
        ({"GainRaw": 1.5}, r"GainRaw = 1.5 is refused: it is a whole number; it takes 0 to 10$"),
        ({"GainAuto": 1}, r"GainAuto = 1 is refused: it is a text, one of its choices; it takes "),
    ],
)
def test_a_refusal_names_the_feature_and_what_it_takes(
    gige: GigECamera, opened: Any, features: dict[str, Any], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        opened(features=features)
    opened().grab()  # it was let go of


def test_a_kernel_without_room_for_a_frame_is_told_of(gige: GigECamera, opened: Any) -> None:
    camera = opened()
    assert camera.notice is None
    camera.close()
    granted = int(Path("/proc/sys/net/core/rmem_max").read_text())
    sides = {"PixelFormat": "RGB8", "Width": 2048, "Height": 2048}
    if granted >= 3 * 2048 * 2048:
        pytest.skip("this kernel has room for any frame of this camera")
    assert "net.core.rmem_max" in (opened(features=sides).notice or "")


def test_a_software_trigger_exposes_at_the_trigger(gige: GigECamera, opened: Any) -> None:
    camera = opened(trigger="software")
    for _ in range(3):
        time.sleep(0.05)
        before = monotonic()
        assert camera.ready is not None
        assert camera.ready(0.0)
        camera.grab()
        assert before <= camera.exposure.captured <= monotonic()
        assert camera.retrieve().std() > 20


def test_a_trigger_that_the_camera_lacks_is_named(gige: GigECamera, opened: Any) -> None:
    with pytest.raises(SourceError, match="cannot be triggered by TriggerSource Line7; it can by Line0, Software"):
        opened(trigger="line", features={"TriggerSource": "Line7"})


def test_a_gap_of_a_hardware_trigger_counts_what_is_missing(relay: Relay, opened: Any) -> None:
    camera = opened(relay.source, trigger="line")
    assert camera.ready is not None
    assert not camera.ready(0.1), "no signal came"
    relay.lose_frames([2, 3, 6])
    for _ in range(9):
        relay.pulse()
    found = []
    while camera.ready(0.5):
        camera.grab()
        found.append((camera.exposure.number, camera.exposure.missed))
    kept = [number for place, number in enumerate(relay.frames) if place not in (2, 3, 6)]
    assert [number for number, _ in found] == kept, "in their order, none passed over"
    assert [missed for _, missed in found] == [0, 0, 2, 0, 1, 0]


def test_a_frame_that_is_not_whole_is_no_picture(relay: Relay, opened: Any) -> None:
    camera = opened(relay.source, trigger="software", resend=False)
    for lost in (0, 7, None):  # the leader, some packet, nothing
        relay.keeps = lambda frame, packet, lost=lost: packet != lost
        camera.grab()
        picture = camera.retrieve()
        assert (camera.exposure.damage is None) == (lost is None)
        assert picture.shape == (512, 512, 3)
        if lost is not None:
            assert not picture.any(), "nothing of an earlier frame is to be seen"


def test_under_loss_a_picture_is_that_of_its_exposure_or_none(relay: Relay, opened: Any) -> None:
    camera = opened(relay.source, trigger="software", resend=False)
    across = np.arange(512)
    ramp = across + across[:, None]
    relay.lose(0.003)  # of 190 packets, so that about half of the frames are whole
    whole = 0
    for _ in range(16):
        camera.grab()
        picture, number = camera.retrieve(), camera.exposure.number
        if camera.exposure.damage is None:
            whole += 1
            assert np.array_equal(picture[..., 0], (ramp + number) % 255)
        else:
            assert not picture.any()
    assert 2 <= whole <= 14


def test_the_newest_frame_wins(gige: GigECamera, opened: Any) -> None:
    camera = opened()
    camera.grab()
    first = camera.exposure.number
    time.sleep(0.5)  # in which some 12 come
    camera.grab()
    assert camera.exposure.number - first >= 5
    assert camera.exposure.missed == camera.exposure.number - first - 1
    assert monotonic() - camera.exposure.captured < 0.3


def test_frames_are_counted_on_where_their_numbers_begin_again(gige: GigECamera, opened: Any) -> None:
    camera = opened(packet_size=1200, features={"AcquisitionFrameRate": 400, "Width": 64, "Height": 64})
    assert camera._device.packet_size() == 1200
    camera.grab()
    first = last = camera.exposure.number
    assert first > 60_000, "a new one begins shortly before the end"
    counted = 0
    while last >= first:
        camera.grab()
        counted += 1 + camera.exposure.missed
        last = camera.exposure.number
    assert counted == 65535 - first + last


def test_a_line_takes_whole_frames_from_its_process(gige: GigECamera, open_camera: Open) -> None:
    camera = open_camera(gige.source, read_timeout_s=5.0)
    asked = monotonic()
    frame = camera.next_frame(20, not_before=asked)
    assert frame is not None
    assert frame.captured >= asked
    assert frame.exposure is not None
    assert frame.health.fault is None
    assert abs(frame.captured_at - utc_now()) < timedelta(seconds=5)
    assert camera.status.state == "running"
    with_torch = "torch" in open(f"/proc/{child_pid(camera)}/maps").read()  # noqa: PTH123, SIM115
    assert not with_torch, "the process would take a second more, and 200 MB"


def test_no_exposure_is_passed_over_for_having_waited(relay: Relay, open_camera: Open) -> None:
    camera = open_camera(relay.source, trigger="line", read_timeout_s=5.0)
    wait_for(camera, lambda: camera.status.state == "running", 20)
    for _ in range(3):
        relay.pulse()
    assert camera.next_frame(0) is None, "it is asked for, and was not waited for"
    camera.poll(FRESH_S + 0.3)
    found = [camera.next_frame(10) for _ in range(3)]
    assert [one.exposure if one else None for one in found] == relay.frames
    assert [one.dropped if one else None for one in found] == [0, 0, 0]


def test_exposures_that_came_are_parts_though_the_camera_goes(
    gige: GigECamera, relay: Relay, open_camera: Open
) -> None:
    camera = open_camera(relay.source, trigger="line", read_timeout_s=5.0)
    wait_for(camera, lambda: camera.status.state == "running", 20)
    for _ in range(3):
        relay.pulse()
    assert camera.next_frame(0) is None, "it is asked for, and was not waited for"
    time.sleep(0.5)
    gige.stop()
    try:
        time.sleep(6.0)  # until it is seen that the camera is gone
        found = [camera.next_frame(1) for _ in range(3)]
        assert [one.exposure if one else None for one in found] == relay.frames
        wait_for(camera, lambda: camera.status.state == "fault", 10)
    finally:
        gige.start()


def test_a_camera_that_is_unplugged_comes_back(gige: GigECamera, open_camera: Open) -> None:
    camera = open_camera(gige.source, trigger="software", read_timeout_s=5.0)
    assert camera.next_frame(20) is not None
    descriptors = f"/proc/{child_pid(camera)}/fd"
    gige.stop()
    try:
        wait_for(camera, lambda: camera.status.state == "fault", 30)
        assert "the camera is gone" in (camera.status.reason or "") or "no such camera" in (camera.status.reason or "")
    finally:
        gige.start()
    wait_for(camera, lambda: camera.status.state == "running", 30)
    assert camera.next_frame(20) is not None
    assert camera.status.restarts == 0, "its process went on"
    assert len(os.listdir(descriptors)) < 40  # noqa: PTH208


def test_what_is_opened_is_closed(gige: GigECamera) -> None:
    def once() -> int:
        camera = GenICam(settings(trigger="software"))
        camera.grab()
        camera.close()
        return len(list(Path("/proc/self/fd").iterdir()))

    assert once() == once() == once()


def test_without_aravis_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aravis_library, "LIBRARY", "libaravis-none.so.0")
    aravis_library.library.cache_clear()
    try:
        with pytest.raises(SourceError, match=r"apt-get install libaravis-0\.8-0") as caught:
            GenICam(settings())
        assert caught.value.final
    finally:
        aravis_library.library.cache_clear()


def test_another_program_has_the_camera(gige: GigECamera, opened: Any) -> None:
    opened().grab()
    with pytest.raises(SourceError, match="does another program have the camera"):
        GenICam(settings())


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        ({"source": "/dev/video0", "trigger": "software"}, "trigger is of a source genicam:<id>"),
        ({"source": "/dev/video0", "features": {"Gain": 2}}, "features is of a source genicam:<id>"),
        ({"source": "genicam:a", "features": {"TriggerMode": "On"}}, "features.TriggerMode is set by trigger"),
        ({"source": "genicam:a", "features": {"TriggerSource": "Line1"}}, "features.TriggerSource is set by trigger"),
        ({"source": "genicam:a", "trigger": "line"}, 'set mode = "free"'),
    ],
)
def test_settings_that_do_not_go_together_are_refused(camera: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LineSettings(camera=camera, mode="trigger")


def test_the_relay_is_another_way_to_the_same_camera(relay: Relay, opened: Any) -> None:
    camera = opened(f"genicam:{RELAY}")
    camera.grab()
    assert camera.exposure.number in relay.frames
