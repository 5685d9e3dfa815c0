"""Videos that PyAV reads: their sizes, their ends, what is damaged, and where they go on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from core.image import Rgb
from edge.camera import opencv
from edge.camera.errors import SourceError
from edge.camera.pyav import Video
from edge.camera.source import open_source
from edge.ops.alarms import Alarms
from edge.settings import CameraSettings
from tests.edge.camera.conftest import Open
from tests.edge.camera.test_source import write_video
from tests.support.lossy import film
from tests.support.pictures import number_of, numbered


def settings(source: object, **more: object) -> CameraSettings:
    return CameraSettings(source=str(source), open_timeout_s=1, read_timeout_s=1, **more)


def write(path: Path, pictures: list[Rgb], turned: int = 0, **options: str) -> Path:
    """A video in the container that the name says, with key frames every four, and frames that wait for later ones."""
    height, width, _ = pictures[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"g": "4", "keyint_min": "4", "sc_threshold": "0", "preset": "ultrafast", "bf": "2"} | options
        if turned:
            stream.set_display_rotation(turned)
        for picture in pictures:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def read(source: Video | opencv.Video) -> list[int | str]:
    """The number of each frame, or in words why there is none; in the end what is said of that, if anything is."""
    found: list[int | str] = []
    with closing(source), told(found):
        while source.grab():
            with told(found):
                picture = source.retrieve()
                found.append(number_of(picture) if source.exposure.damage is None else "damaged")
    return found


@contextmanager
def told(found: list[int | str]) -> Iterator[None]:
    """What goes wrong is noted."""
    try:
        yield
    except SourceError as error:
        found.append(str(error))


NUMBERED = [numbered(index) for index in range(12)]


@pytest.mark.parametrize("kind", ["mkv", "mp4", "avi", "ts"])
def test_a_whole_video_is_read_to_its_end(tmp_path: Path, kind: str) -> None:
    source = open_source(settings(write(tmp_path / f"parts.{kind}", NUMBERED)))
    assert isinstance(source, Video)
    assert read(source) == list(range(12))


def test_the_readers_make_the_same_of_a_whole_video(tmp_path: Path) -> None:
    scene = [np.roll(numbered(3, 320, 240), shift, 1) for shift in range(4)]
    path = write(tmp_path / "parts.mp4", scene, turned=90)
    sources = Video(path, False), opencv.Video(path, False)
    for _ in scene:
        assert all(source.grab() for source in sources)
        ours, theirs = (source.retrieve() for source in sources)
        assert ours.shape == (320, 240, 3), "turned as it is meant to be shown, like pictures"
        assert np.array_equal(ours, theirs)
    assert (sources[0].notice, "the extra av" in (sources[1].notice or "")) == (None, True)


@pytest.mark.parametrize("kind", ["mkv", "mp4", "avi"])
def test_a_video_that_ends_before_its_container_says_is_a_fault_and_not_the_end(tmp_path: Path, kind: str) -> None:
    noisy = [np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8) for index in range(24)]
    path = write(tmp_path / f"parts.{kind}", noisy)
    if kind == "mp4":  # its table stands at the end: put it first, as recorders do that write for the network
        begun = path.with_name("begun.mp4")
        with av.open(str(path)) as whole, av.open(str(begun), "w", options={"movflags": "faststart"}) as copy:
            stream = copy.add_stream_from_template(whole.streams.video[0])
            for packet in whole.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    copy.mux(packet)
        path = begun
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = read(Video(path, loop=True))
    assert len(found) > 4
    assert isinstance(found[-1], str)
    assert "ends after" in found[-1]
    assert "it is damaged or cut off: copy it anew" in found[-1]


def test_a_video_with_a_hole_is_a_fault_with_an_error_for_the_hole(tmp_path: Path) -> None:
    noisy = [np.random.default_rng(index).integers(0, 255, (240, 320, 3), np.uint8) for index in range(40)]
    path = write(tmp_path / "parts.mkv", noisy, bf="0")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 60_000] = bytes(60_000)
    path.write_bytes(data)
    found = [what for what in read(Video(path, False)) if isinstance(what, str)]
    assert sum("something of the file cannot be read here" in what for what in found) == 1
    assert "cannot be read in 1 place" in found[-1]


def test_a_size_that_changes_is_seen(tmp_path: Path) -> None:
    one, other = (film("hevc", 4, group=2, size=size) for size in ((320, 240), (480, 320)))
    path = tmp_path / "parts.ts"
    path.write_bytes(b"".join([*one.pieces, *other.pieces]))
    source = Video(path, False)
    shapes = []
    while source.grab():
        shapes.append(source.retrieve().shape[:2])
    assert shapes[0] == (240, 320)
    assert shapes[-1] == (320, 480), "neither scaled nor cut to the size of before"


@pytest.mark.parametrize("name", ["shift:2.avi", "file:parts.avi", "pipe:0.avi", "concat:a|b.avi", "a b%20.avi"])
@pytest.mark.parametrize("reader", ["av", "opencv"])
def test_a_name_that_looks_like_an_address_is_a_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "parts.avi", 2).rename(tmp_path / name)
    source = open_source(settings(name, reader=reader))
    assert source.grab()
    assert number_of(source.retrieve()) == 0
    assert source.name == f"{name}#1"


def test_a_name_that_is_no_text_ends_no_process(tmp_path: Path) -> None:
    path = write_video(tmp_path / "parts.avi", 2).rename(tmp_path / os.fsdecode(b"parts\xff.avi"))
    assert read(Video(path, False)) == [0, 1]
    with pytest.raises(SourceError, match="its name is no UTF-8"):
        opencv.Video(path, False)


@pytest.mark.parametrize("reader", ["av", "opencv"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "parts.avi")
    with pytest.raises(SourceError, match="is a pipe, not a regular file"):
        open_source(settings(tmp_path / "parts.avi", reader=reader))


def test_a_video_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "parts.mkv"), "w") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 16384, 8192, "yuvj420p"
        packet = av.Packet(b"\xff\xd8")
        packet.stream, packet.pts, packet.dts = stream, 0, 0
        container.mux(packet)
    with pytest.raises(SourceError, match="has 16384 x 8192 pixels; more than 88 million pixels are not read"):
        open_source(settings(tmp_path / "parts.mkv"))


@pytest.mark.parametrize(("items", "loop", "left"), [(4, False, 8), (5, False, 7), (12, False, 0), (28, True, 8)])
def test_a_video_goes_on_behind_what_was_answered(tmp_path: Path, items: int, loop: bool, left: int) -> None:
    path = write(tmp_path / "parts.mkv", NUMBERED, bf="0")
    source = Video(path, loop)
    source.skip(items)
    found: list[int | str] = []
    while len(found) < left and source.grab():
        assert source.name == f"parts.mkv#{items % 12 + len(found) + 1}"
        with told(found):
            found.append(number_of(source.retrieve()))
    missing = "is predicted from a frame at which the camera process ended or hung"
    for place, what in enumerate(found, items % 12):
        if place < 8 and items % 4:  # up to the next key frame
            assert what == f"parts.mkv#{place + 1}: {missing}"
        else:
            assert what == place
    assert len(found) == left


def test_a_reader_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "parts.avi", 1)
    monkeypatch.setattr("edge.camera.source.find_spec", lambda name: None)
    assert isinstance(open_source(settings(path)), opencv.Video)
    with pytest.raises(SourceError, match=r"install the extra av with `.*pip install .*\[av\]'`") as caught:
        open_source(settings(path, reader="av"))
    assert caught.value.final


def test_a_line_is_told_that_damage_is_not_seen(open_camera: Open, tmp_path: Path) -> None:
    alarms = Alarms()
    camera = open_camera(write_video(tmp_path / "parts.avi", 1), alarms=alarms, reader="opencv")
    assert camera.next_frame(10) is not None
    (alarm,) = alarms.every()
    assert (alarm.code, alarm.severity) == ("camera_reader", "warning")
