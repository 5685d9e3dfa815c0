"""The live feed under readers of every kind: nobody is waited for, and the map lies on the part."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray

from core.bank.shot_checks import FLAGS
from core.image import Map, Rgb, decode
from core.simline import render
from edge.control import feed as feed_module
from edge.control.dispatcher import Dispatcher
from edge.control.feed import SIDE, Feed
from edge.control.feed_client import FeedClient
from edge.control.feed_messages import FeedError, FeedPicture, FeedVerdict, read_message, topic_of
from edge.control.relay import CONNECTIONS
from edge.control.relayed_socket import ConsoleError
from edge.inspection.acquisition import inspected
from edge.inspection.viewers import ShownPart
from edge.messages import CameraFrame
from edge.ops.alarms import Alarms
from edge.settings import Roi
from tests.support.at_rest import at_rest
from tests.support.crowd import Crowd
from tests.support.memory import Growth
from tests.support.mosquitto import eventually
from tests.support.verdicts import failure, verdict

RATE = 20.0
MAP = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
LAST = {"one": 100, "two": 100}
MAGENTA = (255, 0, 255)


@contextmanager
def feeding(folder: Path, alarms: Alarms | None = None, rate: float = RATE) -> Iterator[Feed]:
    feed = Feed(folder, rate, alarms)
    feed.start()
    try:
        yield feed
    finally:
        feed.stop()


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[Feed]:
    with feeding(tmp_path) as feed:
        yield feed


@pytest.fixture
def reader(feed: Feed) -> Iterator[FeedClient]:
    with FeedClient(feed.path.parent) as reader:
        yield reader


def noise(height: int = 48, width: int = 64, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def part(seq: int, line: str = "one", image: Rgb | None = None) -> ShownPart:
    return ShownPart(verdict(line, seq), noise() if image is None else image, (0, 0), MAP, 0.5)


def subscribed(feed: Feed, reader: FeedClient, line: str = "one") -> None:
    """The service has heard of it."""
    reader.subscribe(line)
    eventually(lambda: topic_of(line) in feed._topics)


def grey_of(message: FeedPicture) -> NDArray[np.uint8]:
    """Its map as it was sent: one channel of 8 bits."""
    grey = cv2.imdecode(np.frombuffer(message.map, np.uint8), cv2.IMREAD_UNCHANGED)
    assert grey is not None
    assert (grey.ndim, str(grey.dtype)) == (2, "uint8")
    return np.asarray(grey, np.uint8)


def verdicts(reader: FeedClient, last: int) -> list[int]:
    """The numbers of the verdicts that come, up to the one of a number."""
    found = list[int]()
    end = time.monotonic() + 20
    while time.monotonic() < end and last not in found:
        message = reader.next(1.0)
        if isinstance(message, FeedVerdict):
            found.append(message.verdict["seq"])
    return found


@contextmanager
def reading(reader: FeedClient, last: int) -> Iterator[list[int]]:
    """The numbers of the verdicts that come meanwhile, up to the one of a number; all of them at the end."""
    found = list[int]()
    thread = threading.Thread(target=lambda: found.extend(verdicts(reader, last)))
    thread.start()
    yield found
    thread.join(30)


def picture(reader: FeedClient, timeout_s: float = 20.0) -> FeedPicture:
    """The next one."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        message = reader.next(1.0)
        if isinstance(message, FeedPicture):
            return message
    raise AssertionError("no picture")


def test_a_reader_gets_each_verdict_and_of_the_newest_part_picture_and_map(feed: Feed, reader: FeedClient) -> None:
    subscribed(feed, reader)
    shown = verdict("one", 7, camera=CameraFrame(frame=1, dropped=0, width=2000, height=1500))
    image = noise(900, 1600)
    feed.show(ShownPart(shown, image, (100, 200), MAP, 0.25))
    first, second = reader.next(20), picture(reader)
    assert first == FeedVerdict("one", json.loads(shown.to_json()))
    assert second.head == {
        "line": "one",
        "seq": 7,
        "id": shown.id,
        "issued_at": json.loads(shown.to_json())["issued_at"],
        "verdict": "normal",
        "score": 0.25,
        "threshold": 0.5,
        "width": SIDE,
        "height": 360,
        "frame": [2000, 1500],
        "region": [100, 200, 1600, 900],
        "map": [3, 4],
        "pixel_threshold": 0.25,
    }
    assert decode(second.jpeg).shape == (360, SIDE, 3)
    grey = grey_of(second)
    assert np.abs(grey / 255 - MAP).max() <= 0.5 / 255 + 1e-6


def test_a_part_without_a_judgement_has_no_map_and_one_without_a_picture_none(feed: Feed, reader: FeedClient) -> None:
    subscribed(feed, reader)
    feed.show(ShownPart(failure("one", 1)))
    assert verdicts(reader, 1) == [1]
    feed.show(ShownPart(failure("one", 2), noise()))
    shown = picture(reader)
    assert (shown.head["verdict"], shown.head["score"], shown.head["map"], shown.map) == ("error", None, None, b"")
    assert (shown.head["region"], shown.head["frame"]) == (None, [64, 48])
    assert feed.encoded["one"] == 1


def test_nothing_is_encoded_for_a_line_that_nobody_is_subscribed_to(feed: Feed, reader: FeedClient) -> None:
    for seq in range(1, 30):
        feed.show(part(seq))
        feed.show(part(seq, "two"))
    time.sleep(0.3)
    assert not feed.encoded
    subscribed(feed, reader)
    assert picture(reader).head["seq"] == 29, "the newest part is there before the next one comes"
    reader.unsubscribe("one")
    eventually(lambda: not feed._topics)
    encoded = feed.encoded["one"]
    for seq in range(30, 60):
        feed.show(part(seq))
    time.sleep(0.3)
    assert feed.encoded == {"one": encoded}
    with FeedClient(feed.path.parent) as other:
        other.subscribe("one", "verdict")
        eventually(lambda: topic_of("one", "verdict") in feed._topics)
        feed.show(part(60))
        assert verdicts(other, 60) == [60]
    assert feed.encoded == {"one": encoded}, "nor for whoever reads verdicts alone"
    eventually(lambda: not feed._topics)


def test_whoever_comes_later_is_shown_the_newest_part_too(feed: Feed, reader: FeedClient) -> None:
    feed.show(part(1))
    reader.subscribe("one")
    assert picture(reader).head["seq"] == 1
    with FeedClient(feed.path.parent) as second:
        second.subscribe("one")
        assert picture(second).head["seq"] == 1


def test_a_line_has_no_more_pictures_a_second_than_it_may(tmp_path: Path) -> None:
    with feeding(tmp_path, rate=5.0) as feed, FeedClient(tmp_path) as reader:
        for line in ("one", "two"):
            subscribed(feed, reader, line)
        began = time.monotonic()
        with reading(reader, 101) as read:
            for seq in range(1, 101):
                feed.show(part(seq))
                feed.show(part(seq, "two"))
                time.sleep(0.01)
            lasted_s = time.monotonic() - began
            eventually(lambda: {line: shown.verdict.seq for line, shown in feed._shown.items()} == LAST)
            feed.show(part(101))
        assert all(count <= 5 * lasted_s + 2 for count in feed.encoded.values()), feed.encoded
        assert len(read) > 150, "verdicts do not wait"


def test_a_picture_that_cannot_be_made_costs_only_itself(tmp_path: Path) -> None:
    alarms = Alarms()
    with feeding(tmp_path, alarms) as feed, FeedClient(tmp_path) as reader:
        subscribed(feed, reader)
        feed.show(part(1, image=np.zeros((4, 4), np.uint8)[:, :0]))  # nothing is in it
        eventually(lambda: bool(alarms.every()))
        feed.show(part(2))
        assert picture(reader).head["seq"] == 2
        [alarm] = alarms.every()
        assert (alarm.code, alarm.line) == ("feed", "one")
        assert "a picture could not be made" in alarm.message


def test_a_feed_that_hangs_holds_up_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def hang(_part: ShownPart) -> tuple[bytes, bytes, bytes]:
        begun.set()
        go_on.wait(20)
        return b"{}", b"", b""

    monkeypatch.setattr(feed_module, "_encoded", hang)
    with feeding(tmp_path) as feed, FeedClient(tmp_path) as reader:
        subscribed(feed, reader)
        feed.show(part(1))
        assert begun.wait(20)
        for seq in range(2, 5000):
            feed.show(part(seq))
        assert len(feed._verdicts["one"]) < 100, "what waits is bounded"
        go_on.set()
        assert verdicts(reader, 4999)[-1] == 4999


def test_a_feed_that_fails_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alarms = Alarms()
    with feeding(tmp_path, alarms) as feed:
        monkeypatch.setattr(feed, "_hear", lambda: 1 / 0)
        eventually(lambda: not feed._worker.alive, 20)
        feed.show(part(1))
    [alarm] = alarms.every()
    assert (alarm.code, alarm.severity) == ("feed", "warning")
    assert "the live feed has ended: ZeroDivisionError" in alarm.message


STOPPED = """
import sys, zmq
with zmq.Context() as context, context.socket(zmq.SUB) as reader:
    reader.setsockopt(zmq.LINGER, 0)
    reader.setsockopt(zmq.SUBSCRIBE, b"")
    reader.connect("ipc://" + sys.argv[1])
    reader.poll(60_000)
    print("there", flush=True)
    sys.stdin.read()
"""


def test_readers_that_stop_reading_cost_nobody_else_anything(feed: Feed, reader: FeedClient) -> None:
    """Two of other processes read nothing: the parts go on, what waits for them is bounded, and the third has all."""
    command = [sys.executable, "-c", STOPPED, str(feed.path)]
    stopped = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    try:
        subscribed(feed, reader)
        eventually(lambda: b"" in feed._topics)
        feed.show(part(1))
        for process in stopped:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
        image = noise(480, 640)
        with Growth() as growth, reading(reader, 400) as read:
            for seq in range(2, 401):
                feed.show(part(seq, image=image))
                time.sleep(0.005)
        assert read[-1] == 400
        assert read == sorted(read)
        assert not feed._worker.stalled()
        assert growth.mib < 64
    finally:
        for process in stopped:
            process.communicate()
    feed.show(part(401))
    assert verdicts(reader, 401) == [401]


def test_silent_connections_by_the_thousand_keep_no_reader_out(tmp_path: Path) -> None:
    """libzmq ends the process where there is no descriptor for a connection."""
    alarms = Alarms()
    with feeding(tmp_path, alarms) as feed, FeedClient(tmp_path) as reader:
        subscribed(feed, reader)
        with Crowd(feed.path, 1100):
            eventually(lambda: bool(alarms.every()), 20)
            assert len(list(Path("/proc/self/fd").iterdir())) < 6 * CONNECTIONS
            feed.show(part(1))
            assert verdicts(reader, 1) == [1], "whoever has subscribed does not make way for the silent"
            with FeedClient(tmp_path) as late:
                late.subscribe("one")
                assert picture(late).head["seq"] == 1
        [alarm] = alarms.every()
        assert (alarm.code, alarm.about) == ("messages_refused", "feed")
        assert "more than 64 are connected" in alarm.message


@pytest.mark.parametrize("kind", [zmq.SUB, zmq.XSUB])
def test_a_reader_with_subscriptions_without_end_is_let_go(tmp_path: Path, kind: int) -> None:
    alarms = Alarms()
    with feeding(tmp_path, alarms) as feed, FeedClient(tmp_path) as reader, zmq.Context() as context:
        subscribed(feed, reader)
        with context.socket(kind) as greedy:
            greedy.setsockopt(zmq.LINGER, 0)
            greedy.setsockopt(zmq.RECONNECT_IVL, -1)
            greedy.connect(f"ipc://{feed.path}")
            for number in range(5000):
                if kind == zmq.SUB:
                    greedy.setsockopt(zmq.SUBSCRIBE, b"line/%d/" % number)
                else:
                    greedy.send(b"\1line/%d/" % number)
            eventually(lambda: any("subscriptions" in alarm.message for alarm in alarms.every()), 20)
        eventually(lambda: feed._topics == {topic_of("one")}, 20)
        feed.show(part(1))
        assert verdicts(reader, 1) == [1]


def test_a_reader_outlives_the_service(tmp_path: Path) -> None:
    with FeedClient(tmp_path) as reader:
        reader.subscribe("one")
        assert reader.next(0.1) is None
        for seq in (1, 2):
            with feeding(tmp_path) as feed:
                end = time.monotonic() + 20
                while time.monotonic() < end and feed._topics != {topic_of("one")}:
                    reader.next(0.05)
                feed.show(part(seq))
                assert verdicts(reader, seq) == [seq]
        assert not list(tmp_path.iterdir()), "the socket is gone with it"


def test_a_reader_that_is_late_has_the_newest_picture_and_every_verdict(feed: Feed, reader: FeedClient) -> None:
    subscribed(feed, reader)
    for seq in range(1, 11):
        feed.show(part(seq))
        time.sleep(1.5 / RATE)
    eventually(lambda: feed.encoded["one"] == 10)
    time.sleep(0.2)
    found = [reader.next(0.2) for _ in range(12)]
    assert [each.verdict["seq"] for each in found if isinstance(each, FeedVerdict)] == [*range(1, 11)]
    assert [each.head["seq"] for each in found if isinstance(each, FeedPicture)] == [10]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"line/one/verdict"],
        [b"line/one", b"{}"],
        [b"line/one/verdict", b"no JSON"],
        [b"line/one/verdict", b"[]"],
        [b"line/one/verdict", b"[" * 100_000],
        [b"line/one/verdict", b"{}", b"a picture"],
        [b"line/one/picture", b"{}", b"one alone"],
        [b"line/one/sound", b"{}"],
        [b"\xff", b"{}"],
    ],
)
def test_what_is_no_message_of_the_feed_is_said_to_be_none(parts: list[bytes]) -> None:
    with pytest.raises(FeedError, match="no message of the feed"):
        read_message(parts)


def test_a_feed_that_cannot_listen_names_its_path_and_one_that_never_began_can_end(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    feed = Feed(deep, RATE)
    with pytest.raises(ConsoleError, match=r"feed\.sock.*at most 107 bytes.*runtime_dir"):
        feed.start()
    feed.stop()
    Feed(tmp_path, RATE).stop()


SMALL = ((480, 480), Roi(x=120, y=60, width=300, height=300), (300, 240, 40))
LARGE = ((1500, 2000), Roi(x=300, y=200, width=1600, height=1200), (1250, 460, 150))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    with at_rest(tmp_path_factory.mktemp("lines")) as dispatcher:
        yield dispatcher


@pytest.mark.parametrize(
    ("line", "size", "roi", "square"), [("one", *SMALL), ("two", *LARGE)], ids=["as it is", "made smaller"]
)
def test_the_map_lies_on_the_part_at_every_width_of_the_window(
    lines: Dispatcher, tmp_path: Path, line: str, size: tuple[int, int], roi: Roi, square: tuple[int, int, int]
) -> None:
    """A square is painted into a frame with a region; over the picture in the browser the map is largest there."""
    x, y, side = square
    clean = np.asarray(cv2.resize(render("bottle", 1, 5000, 0.0, size=480).image, size[::-1]), np.uint8)
    painted = clean.copy()
    painted[y : y + side, x : x + side] = MAGENTA
    patch_map = found_in(lines, line, inspected(clean, roi), inspected(painted, roi))
    shown = verdict("one", 1, camera=CameraFrame(frame=1, dropped=0, width=size[1], height=size[0]))
    with feeding(tmp_path) as feed, FeedClient(tmp_path) as reader:
        feed.show(ShownPart(shown, inspected(painted, roi), (roi.x, roi.y), patch_map, 0.5))
        reader.subscribe("one")
        message = picture(reader)
    assert message.head["region"] == [roi.x, roi.y, roi.width, roi.height]
    jpeg, grey = decode(message.jpeg), grey_of(message)
    assert [*grey.shape] == message.head["map"]
    for width in (320, 1280):  # CSS pixels; the browser draws both as large, and what is between pixels bilinearly
        height = round(width * jpeg.shape[0] / jpeg.shape[1])
        drawn = cv2.resize(jpeg, (width, height)).astype(int)
        rows, cols = np.nonzero((drawn[..., 0] > 200) & (drawn[..., 1] < 90) & (drawn[..., 2] > 200))
        left, top, scale = (x - roi.x) * width / roi.width, (y - roi.y) * width / roi.width, width / roi.width
        assert abs(cols.mean() - (left + side * scale / 2)) < 2
        assert abs(rows.mean() - (top + side * scale / 2)) < 2
        row, col = np.unravel_index(cv2.resize(grey, (width, height)).argmax(), (height, width))
        patch = height / grey.shape[0], width / grey.shape[1]
        assert cols.min() - patch[1] <= col <= cols.max() + patch[1]
        assert rows.min() - patch[0] <= row <= rows.max() + patch[0]


def found_in(dispatcher: Dispatcher, line: str, good: Rgb, part: Rgb) -> Map:
    """The map of a part by a line that has a good part as its shot."""
    slot = dispatcher.ready(line)
    dispatcher.enrolment.enrol(slot, [("good", good)], who="eva", note="", accepted=set(FLAGS))
    return dispatcher.recipes.inspect(slot.ready, part).result(60).inspection.patch_map
