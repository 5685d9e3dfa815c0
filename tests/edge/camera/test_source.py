from __future__ import annotations

import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core import simline
from core.image import decode
from edge.camera.errors import SourceError
from edge.camera.pictures import Folder, Simulation
from edge.camera.pyav import Video
from edge.camera.source import is_there, open_source
from edge.settings import CameraSettings
from tests.support.pictures import number_of, numbered, write_folder


def settings(source: object, **more: object) -> CameraSettings:
    return CameraSettings(source=str(source), open_timeout_s=1, read_timeout_s=1, **more)


def write_video(path: Path, count: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for index in range(count):
        writer.write(numbered(index))
    writer.release()
    return path


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/nowhere/video.mp4", "/nowhere/video.mp4: no such file or folder; check the path"),
        ("/dev/video77", "/dev/video77: no such device; is it plugged in?"),
        ("/dev/v4l/by-id/usb-none", "/dev/v4l/by-id/usb-none: no such device"),
        ("/dev/null", "/dev/null: cannot be opened; it is no camera"),
        ("gst:videotestsrc ! appsink", "gst:videotestsrc: this OpenCV has no GStreamer; install one"),
        ("gst:rtspsrc location=rtsp://user:hunter2@camera/ user-pw=hunter2 ! appsink", "gst:rtspsrc: this OpenCV"),
        ("rtmp://host/live", "rtmp:// is not supported; known are a device"),
        ("sim:unicorn", f"no such class; known are {', '.join(simline.CLASSES)}"),
        (f"sim:{simline.CLASSES[0]}?defects=2", "0 to 1"),
        (f"sim:{simline.CLASSES[0]}?defects=nan", "0 to 1"),
        (f"sim:{simline.CLASSES[0]}?sed=2", "no such option: sed"),
        (f"sim:{simline.CLASSES[0]}?seed=x", "invalid literal"),
        ("rtsp://user:hunter2@[::1/line", "malformed"),
        (f"http://user:hunter2@{'x' * 70}.example/", "is not known"),
        ("http://user:hunter2@no-such-host.invalid/", "no-such-host.invalid is not known"),
    ],
)
def test_what_cannot_be_opened_says_why(source: str, says: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(settings(source))
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_refused_connection_is_told_from_a_silent_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(SourceError, match="answers, but gave no video in 1 s; check path, user and password"):
            open_source(settings(f"rtsp://user:hunter2@127.0.0.1:{port}/line"))
    with pytest.raises(SourceError, match=rf"rtsp://127.0.0.1:{port}: .*Connection refused"):
        open_source(settings(f"rtsp://user:hunter2@127.0.0.1:{port}/line"))


def test_one_of_width_and_height_is_refused() -> None:
    with pytest.raises(SourceError, match="width and height go together"):
        open_source(settings("/dev/null", width=640))


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 3)
    for name in ("notes.txt", "._000.png", ".DS_Store", "Thumbs.db", "000.heatmap.png", "000.overlay.jpg"):
        (folder / name).write_text("no picture")
    source = open_source(settings(folder))
    assert isinstance(source, Folder)
    seen = []
    while source.grab():
        seen.append((source.name, number_of(source.retrieve())))
    assert seen == [("000.png", 0), ("001.png", 1), ("002.png", 2)]
    assert (source.live, source.simulated) == (False, False)


def test_a_folder_keeps_to_the_bits_that_were_recognised_and_says_them(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    part = simline.render("bearing", 1, 0, 0.0).image.astype(np.uint16)
    for number, values in enumerate((part << 4, part << 1, part << 8, part << 4)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), values[..., ::-1])
    source, means = open_source(settings(tmp_path)), []
    while source.grab():
        means.append(float(source.retrieve().mean()) / float(part.mean()))
    assert means == pytest.approx([1, 1 / 8, 1, 1 / 16], rel=0.15)
    said = capfd.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in said] == [
        f"pictures of 16 bits are taken to use {bits}, as their values do" for bits in (12, 16)
    ]
    source = open_source(settings(tmp_path, bits=12))
    assert source.grab()
    source.retrieve()
    assert source.grab()
    assert source.retrieve().mean() == pytest.approx(part.mean() / 8, rel=0.1)
    assert source.grab()
    with pytest.raises(SourceError, match=r"2\.png: has values up to \d+, and 12 bits end at 4095"):
        source.retrieve()
    assert capfd.readouterr().err == ""


def test_a_folder_that_loops_sees_new_pictures(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 1)
    source = open_source(settings(folder, loop=True))
    names = []
    for _ in range(2):
        assert source.grab()
        names.append(source.name)
    (folder / "001.png").write_bytes((folder / "000.png").read_bytes())
    for _ in range(2):
        assert source.grab()
        names.append(source.name)
    assert names == ["000.png", "000.png", "000.png", "001.png"]


def test_an_unreadable_picture_is_named_and_the_next_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "parts", 3)
    (folder / "001.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    source = open_source(settings(folder))
    assert source.grab()
    source.retrieve()
    assert source.grab()
    with pytest.raises(SourceError, match=r"001\.png: no picture"):
        source.retrieve()
    assert source.grab()
    assert number_of(source.retrieve()) == 2


def test_a_picture_is_a_source_and_read_as_in_a_folder(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "parts", 2) / "001.png"
    source = open_source(settings(path))
    assert isinstance(source, Folder)
    assert source.grab()
    assert (source.name, number_of(source.retrieve())) == ("001.png", 1)
    assert not source.grab()


@pytest.mark.parametrize("size", [(1, 1), (30, 30_000)])
def test_pictures_and_videos_without_a_part_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = write_folder(tmp_path / "parts", 1)
    Image.fromarray(np.full((*size, 3), 99, np.uint8)).save(folder / "a.png")
    source = open_source(settings(folder))
    assert source.grab()
    source.retrieve()
    assert source.grab()
    with pytest.raises(SourceError, match=rf"a\.png: has {size[0]} x {size[1]} pixels"):
        source.retrieve()
    writer = cv2.VideoWriter(str(tmp_path / "parts.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (8, 8))
    writer.write(np.full((8, 8, 3), 99, np.uint8))
    writer.release()
    with pytest.raises(SourceError, match=r"parts\.avi: has 8 x 8 pixels; a part takes 16 x 16 or more"):
        open_source(settings(tmp_path / "parts.avi"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no pictures in this folder"):
        open_source(settings(tmp_path))


def test_a_video_is_read_frame_by_frame(tmp_path: Path) -> None:
    source = open_source(settings(write_video(tmp_path / "parts.avi", 4)))
    assert isinstance(source, Video)
    seen = []
    while source.grab():
        seen.append((source.name, number_of(source.retrieve())))
    source.close()
    assert seen == [(f"parts.avi#{index + 1}", index) for index in range(4)]


def test_a_video_that_loops_begins_again(tmp_path: Path) -> None:
    source = open_source(settings(write_video(tmp_path / "parts.avi", 3), loop=True))
    numbers = []
    for _ in range(7):
        assert source.grab()
        numbers.append(number_of(source.retrieve()))
    source.close()
    assert numbers == [0, 1, 2, 0, 1, 2, 0]


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "parts.avi"
    path.write_bytes(b"no video" * 1000)
    with pytest.raises(SourceError, match=r"parts\.avi: no video, damaged"):
        open_source(settings(path))


def test_colours_come_as_rgb(tmp_path: Path) -> None:
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    cv2.imwrite(str(tmp_path / "red.png"), red[..., ::-1])
    assert decode((tmp_path / "red.png").read_bytes())[0, 0].tolist() == [255, 0, 0]
    writer = cv2.VideoWriter(str(tmp_path / "red.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    writer.write(red[..., ::-1])
    writer.release()
    for source in (open_source(settings(tmp_path / "red.avi")), open_source(settings(tmp_path))):
        assert source.grab()
        pixel = source.retrieve()[32, 32].astype(int)
        assert pixel[0] > 240
        assert pixel[1:].max() < 15


def test_the_simulated_line_repeats_itself() -> None:
    part = simline.CLASSES[0]
    first, second = (open_source(settings(f"sim:{part}?defects=0.5&seed=7")) for _ in range(2))
    assert isinstance(first, Simulation)
    assert (first.live, first.simulated) == (False, True)
    for index in range(2):
        assert first.grab()
        assert second.grab()
        picture = first.retrieve()
        assert np.array_equal(picture, second.retrieve())
        assert np.array_equal(picture, simline.render(part, 7, index, 0.5).image)
        assert first.name == f"{part}-{index:06d}"


def test_a_link_to_a_device_is_followed_anew_at_each_opening(tmp_path: Path) -> None:
    link = tmp_path / "usb-camera-index0"  # as udev keeps them in /dev/v4l/by-id
    for target, says, absent in (("/dev/video77", "no such", True), ("/dev/null", "it is no camera", False)):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert is_there(settings(link)) is not absent
        with pytest.raises(SourceError, match=says) as caught:
            open_source(settings(link))
        assert (caught.value.absent, caught.value.final) == (absent, False)


@pytest.mark.parametrize("source", ["gst:videotestsrc ! appsink", "gst:", "rtmp://host/live", "rtsp:///line"])
def test_what_no_further_attempt_can_mend_is_told_as_such(source: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(settings(source))
    assert caught.value.final
