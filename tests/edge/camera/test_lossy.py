"""Frames that were damaged on the way: what is visibly destroyed is refused, what is whole is not."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import av
import pytest

from edge.camera import pyav
from edge.camera.errors import SourceError
from edge.camera.health import Health, frame_fault
from edge.camera.pyav import Stream, Video
from edge.settings import CameraSettings, HealthSettings
from tests.edge.camera.conftest import Open
from tests.support.lossy import (
    Codec,
    Film,
    HttpCamera,
    Losses,
    RtspCamera,
    encoded,
    film,
    lose,
    lose_some,
    scenes,
    worst_block,
)

CODECS: list[Codec] = ["h264", "hevc"]
DESTROYED = 10.0


@pytest.fixture(scope="module")
def films() -> Callable[[Codec], Film]:
    made: dict[Codec, Film] = {}

    def get(codec: Codec) -> Film:
        if codec not in made:
            made[codec] = film(codec, 120, size=(320, 240))
        return made[codec]

    return get


def judged_and_refused(source: Stream | Video, film: Film, losses: Losses) -> tuple[int, int, int]:
    """Destroyed frames, those of them that are judged, and frames of whole groups that are refused."""
    destroyed: list[int] = []
    refused: list[int] = []
    judged = 0
    first: float | None = None
    with closing(source), suppress(SourceError):  # raised at a stream's end
        while source.grab():
            frame = source._picture if isinstance(source, Stream) else source._frame
            assert isinstance(frame, av.VideoFrame)
            picture, is_refused = source.retrieve(), source.exposure.damage is not None
            if frame.time is None:  # what says it was lost, so nobody knows which frame it is
                judged += not is_refused
                continue
            if first is None:
                place = next(index for index, whole in enumerate(film.frames) if worst_block(picture, whole) == 0)
                first = place / film.fps - frame.time
            index = round((frame.time + first) * film.fps)
            is_destroyed = worst_block(picture, film.frames[index]) > DESTROYED
            destroyed += [index] * is_destroyed
            judged += is_destroyed and not is_refused
            refused += [index] * is_refused
    broken = {frame // film.group for frame in (*losses.lost, *destroyed)}  # a busy machine loses packets, too
    return len(destroyed), judged, sum(index // film.group not in broken for index in refused)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("rate", [0.0, 0.002, 0.01])
def test_of_a_file_with_lost_packets_nothing_destroyed_is_judged(
    films: Callable[[Codec], Film], codec: Codec, rate: float, tmp_path: Path
) -> None:
    losses = Losses(rate, range(2, 110))
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(lose(films(codec), losses)))
    destroyed, judged, refused = judged_and_refused(Video(path, False), films(codec), losses)
    assert (destroyed > 0) is (rate > 0)
    assert (judged, refused) == (0, 0)


@pytest.mark.parametrize(
    ("encoder", "options"),
    [
        ("libx264", {"bf": "3"}),
        ("libx264", {"bf": "3", "x264-params": "open-gop=1"}),
        ("libx264", {"bf": "0", "x264-params": "intra-refresh=1"}),
        ("libx265", {"x265-params": "keyint=12:min-keyint=12:bframes=3:open-gop=1:scenecut=0:log-level=none:pools=1"}),
    ],
    ids=["later frames", "open groups", "intra refresh", "H.265"],
)
def test_frames_that_are_predicted_from_both_sides_are_followed(
    encoder: str, options: dict[str, str], tmp_path: Path
) -> None:
    data = encoded(encoder, {"preset": "veryfast", "crf": "18", "g": "12"} | options, 72, (240, 240))
    whole = {frame.pts: frame.to_ndarray(format="rgb24") for frame in av.open(io.BytesIO(data)).decode(video=0)}
    path = tmp_path / "film.ts"
    path.write_bytes(lose_some(data, 0.4, 3))
    source = Video(path, False)
    judged = kept = 0
    while source.grab():
        picture, is_refused = source.retrieve(), source.exposure.damage is not None
        assert source._frame is not None
        judged += worst_block(picture, whole[source._frame.pts]) > DESTROYED and not is_refused
        kept += not is_refused
    source.close()
    assert judged == 0
    assert 72 - 3 * 12 <= kept < 72


def test_key_frames_that_are_cut_at_their_parameter_sets_are_put_together(tmp_path: Path) -> None:
    """As GStreamer's servers send them: FFmpeg makes two frames of each, with half of it patched up."""
    path = tmp_path / "film.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": "6", "x264-params": "slices=2:sliced-threads=0"}
        stream.options, stream.codec_context.thread_count = options, 1
        whole = {}
        decoder = av.CodecContext.create("h264", "r")
        for picture in scenes(30, (320, 240)):
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                units = [unit for unit in bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
                sets = [unit for unit in units if unit[0] & 31 in (7, 8)]
                cut = [part for unit in units for part in ((*sets, unit) if unit[0] & 31 == 5 else (unit,))]
                copy = av.Packet(b"".join(b"\0\0\0\1" + part for part in cut))
                copy.stream, copy.pts, copy.dts = stream, packet.pts, packet.dts
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                container.mux(copy)
                for frame in decoder.decode(av.Packet(bytes(packet))):
                    whole[len(whole)] = frame.to_ndarray(format="rgb24")
    source, judged, times = Video(path, False), [], []
    with closing(source):
        while source.grab():
            assert source._frame is not None
            times.append(source._frame.time or 0.0)
            if source.exposure.damage is None:
                judged.append(round((times[-1] - times[0]) * 25))
                assert worst_block(source.retrieve(), whole[judged[-1]]) == 0
    assert judged == list(range(6, 30)), "all but the first group, on which it is noticed"


def test_a_stream_without_key_frames_is_opened_anew_after_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyav, "KEY_FRAME_S", 0.3)
    shown = film("h264", 90, group=90, size=(320, 240))
    with RtspCamera(shown, Losses(1.0, range(40, 41)), 50.0) as camera:
        source = Stream(CameraSettings(source=camera.url, open_timeout_s=2, read_timeout_s=2))
        with closing(source), pytest.raises(SourceError, match=r"no key frame came for 0.3 s; set the camera to one"):
            all(source.grab() for _ in shown.frames)


@pytest.mark.parametrize("way", ["http", "tcp", "udp"])
@pytest.mark.parametrize("codec", CODECS)
def test_of_a_stream_with_lost_packets_nothing_destroyed_is_judged(
    films: Callable[[Codec], Film], codec: Codec, way: str
) -> None:
    shown, losses, fps = films(codec), Losses(0.01, range(60, 110)), 50.0
    camera = HttpCamera(lose(shown, losses), fps) if way == "http" else RtspCamera(shown, losses, fps)
    with camera:
        settings = CameraSettings(
            source=camera.url, transport="udp" if way == "udp" else "tcp", open_timeout_s=2, read_timeout_s=2
        )
        destroyed, judged, refused = judged_and_refused(Stream(settings), shown, losses)
    assert destroyed > 0
    assert (judged, refused) == (0, 0)


def test_a_damaged_frame_is_answered_with_its_fault_and_counted(
    films: Callable[[Codec], Film], open_camera: Open, tmp_path: Path
) -> None:
    pieces = list(films("h264").pieces)
    pieces[45] = pieces[45][:188] + pieces[45][3 * 188 :]
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(pieces))
    camera = open_camera(path)
    refused = []
    while (frame := camera.next_frame(10)) is not None:
        if (fault := frame.health.fault) is not None:
            assert fault.code == "camera_torn"
            assert fault.message == (
                "something is missing of the frame, or of one that it is predicted from; copy the file anew"
            )
            refused.append(frame.name)
    assert camera.status.state == "ended"
    assert refused == [f"film.ts#{number}" for number in range(46, 51)], "up to the next key frame"
    assert camera.status.damaged == 5


def test_the_limits_of_a_recipe_do_not_let_a_damaged_frame_pass() -> None:
    limits = HealthSettings(torn=False)
    fault = frame_fault(Health(damage="something is missing"), limits, (640, 480), live=True)
    assert fault is not None
    assert fault.code == "camera_torn"
