"""Pictures on disk: where the verdict says, within their quotas, and never in the way of judging."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from core.image import Map, Rgb
from core.simline import render
from edge.messages import CameraFrame, Decision, Fault, Heatmap, Model, Recipe, Scores, Timing, Verdict, uuid7
from edge.ops.alarms import Alarms
from edge.ops.worker import Workers
from edge.settings import ArchiveSettings
from edge.storage import retention as archive_quota
from edge.storage.archive import Archive, ArchiveError
from edge.storage.retention import Quota
from tests.support.mosquitto import eventually

NOON = datetime(2026, 6, 15, 12, tzinfo=timezone.utc)
SIZE = 96
PIXEL_THRESHOLD = 0.6
RECIPE = Recipe(pack="generic", pack_version="1", pack_sha256="00", threshold_source="test")
MODEL = Model(name="untrained", fingerprint="f", device="cpu", dtype="fp32", scales=(2, 3))


@pytest.fixture(scope="module")
def picture() -> Rgb:
    return render("tile", 1, 1, 0.0, size=SIZE).image


@pytest.fixture
def alarms() -> Alarms:
    return Alarms()


@pytest.fixture
def opened(alarms: Alarms) -> Iterator[Callable[..., Archive]]:
    """Makes archives that are started, look after themselves every 50 ms, and are stopped at the end."""
    archives: list[Archive] = []

    def make(folder: Path, **more: Any) -> Archive:
        limits = {"min_free_gb": 0.0} | more
        archive = Archive(ArchiveSettings(dir=folder, **limits), alarms=alarms, retry_s=0.05)
        archive.start()
        archives.append(archive)
        return archive

    yield make
    for archive in archives:
        archive.stop()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The archive's wall clock, which the test sets."""
    hands = SimpleNamespace(now=NOON)
    monkeypatch.setattr(archive_quota, "utc_now", lambda: hands.now)
    return hands


def heatmap() -> Map:
    return np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)


def judged(path: str | None, seq: int, identity: str, kind: Decision, line: str = "one") -> Verdict:
    return Verdict(
        id=identity,
        line=line,
        seq=seq,
        mode="free",
        captured_at=NOON,
        issued_at=NOON,
        verdict=kind,
        score=0.7,
        threshold=0.5,
        scores=Scores.model_validate({"global": 0.7, "local": 0.7}),
        heatmap=Heatmap(topic="t", archive=path, x=0, y=0, width=SIZE, height=SIZE, max=1.0, peak=(0, 0)),
        recipe=RECIPE,
        model=MODEL,
        camera=CameraFrame(frame=seq, dropped=0, width=SIZE, height=SIZE),
        timing_ms=Timing(capture=0, queue=0, decode=0, score=0, total=0),
    )


def failed(seq: int) -> Verdict:
    fault = Fault(code="scorer_failed", message="device lost")
    return Verdict(
        line="one",
        seq=seq,
        mode="free",
        issued_at=NOON,
        verdict="error",
        error=fault,
        threshold=0.5,
        recipe=RECIPE,
        model=MODEL,
    )


def offer(
    archive: Archive, image: Rgb, seq: int = 1, kind: Decision = "anomaly", day: str = "2026-06-15", line: str = "one"
) -> tuple[str | None, bool]:
    """What a line does with a part: the path that its verdict names, and whether the archive took it."""
    identity = uuid7()
    path = archive.plan(line, day, seq, identity, kind)
    return path, archive.keep(judged(path, seq, identity, kind, line), image, heatmap(), PIXEL_THRESHOLD)


def store(archive: Archive, image: Rgb, seq: int = 1, kind: Decision = "anomaly", day: str = "2026-06-15") -> str:
    """The path of a part that is on disk now."""
    path, taken = offer(archive, image, seq, kind, day)
    assert path is not None
    assert taken
    eventually(lambda: archive.status.waiting == 0, 30)
    return path


def lay(
    root: Path, day: str, seq: int, kind: Decision = "anomaly", size: int = 5000, written: str | None = None
) -> Path:
    """A part of an earlier run, of `size` bytes in two files, written on its day unless `written` names another."""
    path = root / archive_quota.overlay_path("one", day, seq, uuid7(), normal=kind == "normal")
    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = datetime.fromisoformat(written or day).replace(tzinfo=timezone.utc).timestamp() + seq
    for file, length in ((path, size // 5), (path.with_suffix(".picture.jpg"), size - size // 5)):
        file.write_bytes(b"x" * length)
        os.utime(file, (stamp, stamp))
    return path


def ready(archive: Archive) -> None:
    """Waits until the archive has read what is there, and has gone over its quotas once more."""
    eventually(lambda: archive.status.bytes > 0, 30)


def files(root: Path) -> list[str]:
    return sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())


def test_an_anomaly_is_kept_under_its_heatmap_and_as_it_was(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    root = tmp_path / "state" / "archive"
    archive = opened(root)
    path = store(archive, picture, 7)
    assert path.startswith("one/2026-06-15/00000007-")
    assert files(root) == sorted([path, path.replace(".jpg", ".picture.jpg")])
    with Image.open(root / path) as overlay:
        drawn = np.asarray(overlay, np.int16)
    apart = np.abs(drawn[:SIZE, :SIZE] - picture).mean((1, 2))
    assert apart[: SIZE // 4].max() < 8, "where the heatmap is low, the picture is as it was"
    assert apart[-SIZE // 5 :].min() > 20
    assert drawn[SIZE:].max() > 200, "a caption below"
    original = archive.picture(path)
    assert original.shape == picture.shape
    assert np.abs(original.astype(np.int16) - picture).mean() < 3
    with Image.open(root / path.replace(".jpg", ".picture.jpg")) as file:
        assert JpegImagePlugin.get_sampling(file) == 0  # 4:4:4
    for folder in (root, root / "one", root / "one" / "2026-06-15"):
        assert folder.stat().st_mode & 0o777 == 0o750 & ~_umask()
    status = archive.status
    assert (status.kept, status.fault, str(status.oldest)) == (1, None, "2026-06-15")
    assert status.bytes == sum((root / file).stat().st_size for file in files(root))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_of_normal_parts_one_in_so_many_of_each_line_is_kept_apart_and_without_a_heatmap(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    archive = opened(tmp_path, ok_every=3)
    offers = [offer(archive, picture, seq, "normal", line=line) for seq in range(1, 7) for line in ("one", "two")]
    assert [taken for _, taken in offers] == [path is not None for path, _ in offers]
    kept = [path for path, _ in offers if path]
    assert [path[: len("one/2026-06-15/ok/00000003")] for path in kept] == [
        "one/2026-06-15/ok/00000003",
        "two/2026-06-15/ok/00000003",
        "one/2026-06-15/ok/00000006",
        "two/2026-06-15/ok/00000006",
    ]
    eventually(lambda: archive.status.kept == 4, 30)
    with Image.open(tmp_path / kept[0]) as file:
        assert np.abs(np.asarray(file, np.int16)[:SIZE, :SIZE] - picture).mean() < 8
    assert archive.picture(kept[0]).shape == picture.shape
    assert opened(tmp_path / "none").plan("one", "2026-06-15", 1, uuid7(), "normal") is None


def test_an_error_with_a_picture_is_kept_where_its_verdict_s_own_fields_say(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    archive, verdict = opened(tmp_path), failed(8)
    path = archive.plan("one", "2026-06-15", 8, verdict.id, "error")
    assert path == f"one/2026-06-15/00000008-{verdict.id}.jpg"
    assert archive.keep(verdict, picture)
    eventually(lambda: archive.status.kept == 1, 30)
    with Image.open(tmp_path / path) as file:
        assert np.asarray(file)[SIZE:].max() > 200, "its caption"
    assert archive.picture(path).shape == picture.shape


def test_without_a_folder_nothing_is_kept_and_no_thread_runs(picture: Rgb) -> None:
    before = threading.active_count()
    archive = Archive(ArchiveSettings(ok_every=1))
    archive.start()
    assert threading.active_count() == before
    assert [offer(archive, picture, kind=kind) for kind in ("anomaly", "normal")] == [(None, False)] * 2
    assert not archive.keep(failed(1), picture)
    assert archive.status == Archive(ArchiveSettings()).status
    with pytest.raises(ArchiveError, match=r"archive\.dir"):
        archive.picture("one/2026-06-15/00000001-00000000-0000-0000-0000-000000000000.jpg")
    assert archive.stop() == 0


def test_a_slow_disk_costs_pictures_that_are_counted_and_delays_nobody(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, release = threading.Event(), threading.Event()
    write_bytes = Path.write_bytes

    def slow(self: Path, data: bytes) -> int:
        stuck.set()
        release.wait(60)
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", slow)
    archive = opened(tmp_path, queue=3)
    assert [offer(archive, picture, seq)[1] for seq in range(1, 6)] == [True, True, True, False, False]
    assert stuck.wait(30)
    assert (archive.status.waiting, archive.status.skipped, archive.status.kept) == (3, 2, 0)
    assert archive.stop(0.05) == 3
    assert archive.stop(0.05) == 0
    assert offer(archive, picture, 6) == (None, False)
    release.set()


def test_the_end_waits_for_what_is_on_its_way(opened: Callable[..., Archive], tmp_path: Path, picture: Rgb) -> None:
    archive = opened(tmp_path)
    paths = [offer(archive, picture, seq)[0] for seq in range(1, 6)]
    assert archive.stop(30) == 0
    assert all(path and (tmp_path / path).exists() for path in paths)
    assert not list(tmp_path.rglob("*.part"))


def test_a_picture_that_cannot_be_encoded_holds_up_no_other(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    archive = opened(tmp_path)
    offer(archive, picture[:, :40], 1)  # its heatmap is of another size
    store(archive, picture, 2)
    assert (archive.status.failed, archive.status.kept, archive.status.fault) == (1, 1, None)
    assert len(files(tmp_path)) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_archive_that_has_failed_within_says_so(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(Quota, "make_room", fail)
    archive = opened(tmp_path)
    eventually(lambda: archive.status.fault is not None, 30)
    assert "RuntimeError: a mistake; restart" in str(archive.status.fault)
    assert offer(archive, picture) == (None, False)


def test_beyond_the_bytes_normal_parts_go_first_and_then_the_oldest_even_after_a_restart(
    opened: Callable[..., Archive], tmp_path: Path
) -> None:
    bad = [lay(tmp_path, f"2026-06-{day:02}", day) for day in range(1, 5)]
    good = [lay(tmp_path, f"2026-06-{day:02}", day + 20, "normal") for day in (2, 5)]
    archive = opened(tmp_path, max_gb=25_000 / 1e9)
    ready(archive)
    eventually(lambda: archive.status.bytes == 25_000, 30)
    assert [path.exists() for path in (*bad, *good)] == [True, True, True, True, False, True]
    assert archive.stop() == 0
    archive = opened(tmp_path, max_gb=10_000 / 1e9)
    eventually(lambda: archive.status.deleted == 3, 30)
    assert [path.exists() for path in (*bad, *good)] == [False, False, True, True, False, False]
    assert (archive.status.bytes, str(archive.status.oldest)) == (10_000, "2026-06-03")
    assert sorted(folder.name for folder in (tmp_path / "one").iterdir()) == ["2026-06-03", "2026-06-04"]
    assert len(files(tmp_path)) == 4


def test_a_new_picture_takes_the_place_of_the_oldest(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    old = [lay(tmp_path, "2026-06-01", seq, size=50_000) for seq in (1, 2)]
    archive = opened(tmp_path, max_gb=100_000 / 1e9)
    path = store(archive, picture)
    assert [file.exists() for file in old] == [False, True]
    assert (tmp_path / path).exists()
    assert archive.status.bytes <= 100_000


def test_a_limit_below_one_picture_is_a_fault_that_names_it(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    archive = opened(tmp_path, max_gb=100 / 1e9)
    offer(archive, picture)
    eventually(lambda: archive.status.fault is not None, 30)
    assert "archive.max_gb" in str(archive.status.fault)
    assert files(tmp_path) == []


def test_the_disk_keeps_its_free_space(
    opened: Callable[..., Archive],
    tmp_path: Path,
    picture: Rgb,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = [lay(tmp_path, "2026-06-01", seq) for seq in (1, 2, 3)]
    foreign = 0  # bytes that another program has taken of the disk's 100 kB

    def usage(path: Path) -> SimpleNamespace:
        ours = sum(file.stat().st_size for file in tmp_path.rglob("*.jpg"))
        return SimpleNamespace(free=100_000 - ours - foreign)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    archive = opened(tmp_path, min_free_gb=50_000 / 1e9)
    ready(archive)
    foreign = 38_000
    eventually(lambda: archive.status.deleted == 1, 30)
    assert [file.exists() for file in old] == [False, True, True]
    foreign = 70_000
    with caplog.at_level(logging.INFO):
        eventually(lambda: archive.status.fault is not None, 30)
        assert "archive.min_free_gb" in str(archive.status.fault)
        assert files(tmp_path) == []
        assert offer(archive, picture) == (None, False)
        assert archive.status.failed == 1
        foreign = 0
        eventually(lambda: archive.status.fault is None, 30)
    store(archive, picture)
    assert [record.levelname for record in caplog.records if "pictures" in record.message] == ["WARNING", "INFO"]


def scanned(root: Path, **limits: Any) -> Quota:
    quota = Quota(root, ArchiveSettings(dir=root, **({"min_free_gb": 0.0} | limits)))
    quota.scan()
    return quota


def test_what_is_too_old_goes(tmp_path: Path, clock: SimpleNamespace) -> None:
    old = [lay(tmp_path, "2026-05-13", 1), lay(tmp_path, "2026-05-01", 2, "normal")]
    touched = lay(tmp_path, "2026-05-01", 3, written="2026-06-10")
    young = [lay(tmp_path, day, 4) for day in ("2026-05-16", "2026-06-14", "2026-06-15")]
    quota = scanned(tmp_path, days=30)
    quota.make_room(0)
    assert not any(path.exists() for path in old)
    assert touched.exists()
    assert all(path.exists() for path in young)
    assert (quota.deleted, quota.bytes, str(quota.oldest)) == (2, 20_000, "2026-05-01")


@pytest.mark.parametrize("wrong", ["2060-01-01", "1970-01-01"])
def test_a_clock_that_jumps_and_comes_back_wipes_nothing(tmp_path: Path, clock: SimpleNamespace, wrong: str) -> None:
    kept = [lay(tmp_path, day, 1) for day in ("2026-06-13", "2026-06-14", "2026-06-15")]
    quota = scanned(tmp_path, days=30)
    clock.now = datetime.fromisoformat(wrong).replace(tzinfo=timezone.utc)
    late = lay(tmp_path, wrong, 2)
    quota.add(late.relative_to(tmp_path).as_posix().removesuffix(".jpg"), 5000, late.stat().st_mtime)
    quota.make_room(0)
    scanned(tmp_path, days=30).make_room(0)
    assert all(path.exists() for path in (*kept, late))
    clock.now = NOON
    scanned(tmp_path, days=30).make_room(0)
    assert all(path.exists() for path in kept)


def test_days_to_come_make_nothing_older_than_today_does(tmp_path: Path, clock: SimpleNamespace) -> None:
    kept = [lay(tmp_path, day, 1) for day in ("2026-06-15", "2060-01-01", "2060-01-02")]
    scanned(tmp_path, days=30).make_room(0)
    assert all(path.exists() for path in kept)


def test_what_a_pause_has_aged_goes_when_the_second_day_after_it_begins(tmp_path: Path, clock: SimpleNamespace) -> None:
    old = lay(tmp_path, "2026-03-01", 1)
    lay(tmp_path, "2026-06-14", 2)
    scanned(tmp_path, days=30).make_room(0)
    assert old.exists()
    lay(tmp_path, "2026-06-15", 3)
    scanned(tmp_path, days=30).make_room(0)
    assert not old.exists()


def undeletable(path: Path) -> None:
    """Nobody can delete what is at `path`, root neither: it is a folder that holds something."""
    path.unlink()
    path.mkdir()
    (path / "lost+found").touch()


@pytest.mark.parametrize("which", [".jpg", ".picture.jpg"])
def test_a_file_that_cannot_be_deleted_is_passed_over_and_tried_again(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb, alarms: Alarms, which: str
) -> None:
    old = [lay(tmp_path, "2026-06-01", seq, size=10_000) for seq in range(1, 5)]
    stuck = old[0].with_suffix(which)
    undeletable(stuck)
    archive = opened(tmp_path, max_gb=27_000 / 1e9)
    eventually(lambda: archive.status.undeletable == 1, 30)
    eventually(lambda: archive.status.deleted >= 1, 30)
    assert stuck.exists()
    assert not old[0].with_suffix({".jpg": ".picture.jpg"}.get(which, ".jpg")).exists(), "it would have made room, too"
    assert not old[1].exists(), "the next oldest goes in its place"
    (alarm,) = alarms.every()
    assert alarm.code == "archive_files"
    assert str(stuck) in alarm.message
    store(archive, picture, 9)
    assert archive.status.fault is None
    assert archive.status.bytes == sum((tmp_path / file).stat().st_size for file in files(tmp_path)), "no file is lost"
    (stuck / "lost+found").unlink()
    stuck.rmdir()
    eventually(lambda: archive.status.undeletable == 0, 30)
    assert alarms.every() == []


@pytest.fixture
def held() -> Iterator[Callable[[Path], None]]:
    """Has the kernel refuse to delete a file, until the end: something is mounted on it."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    mounted: list[Path] = []

    def hold(path: Path) -> None:
        if subprocess.run(["mount", "--bind", path, path], capture_output=True, check=False).returncode:
            pytest.skip("nothing can be mounted here")
        mounted.append(path)

    yield hold
    for path in mounted:
        subprocess.run(["umount", "--lazy", path], check=True)


def test_what_a_crash_left_and_cannot_be_deleted_holds_up_nothing(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb, alarms: Alarms, held: Callable[[Path], None]
) -> None:
    kept = lay(tmp_path, "2026-06-01", 1)
    draft = kept.with_name(f".{kept.name}.abc_1234.part")
    draft.write_bytes(b"torn")
    held(draft)
    archive = opened(tmp_path)
    eventually(lambda: archive.status.undeletable == 1, 30)
    store(archive, picture, 2)
    (alarm,) = alarms.every()
    assert (alarm.code, str(draft) in alarm.message) == ("archive_files", True)


def test_where_only_what_cannot_be_deleted_is_left_the_fault_says_so(
    tmp_path: Path, held: Callable[[Path], None]
) -> None:
    old = [lay(tmp_path, "2026-06-01", seq) for seq in (1, 2)]
    for path in old:
        held(path)
        held(path.with_suffix(".picture.jpg"))
    quota = scanned(tmp_path, max_gb=8000 / 1e9)
    with pytest.raises(ArchiveError, match=f"^2 of its parts cannot be deleted.*{old[0]}.*busy"):
        quota.make_room(0)
    assert (quota.deleted, quota.bytes) == (0, 10_000)
    assert len(files(tmp_path)) == 4


def test_the_archive_s_thread_is_watched_and_ends_no_service(
    tmp_path: Path, picture: Rgb, monkeypatch: pytest.MonkeyPatch, alarms: Alarms
) -> None:
    workers = Workers(alarms)
    archive = Archive(ArchiveSettings(dir=tmp_path, min_free_gb=0.0), workers, alarms, retry_s=0.05)

    def fail(self: Quota, size: int) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Quota, "make_room", fail)
    archive.start()
    eventually(lambda: workers.stalled_names() == ["archive"], 30)
    assert not workers.failed.is_set()
    assert workers.stalled() is None
    assert "internal error: ZeroDivisionError" in str(archive.status.fault)
    assert [alarm.code for alarm in alarms.every()] == ["archive"]


def test_drafts_of_a_crash_are_removed_and_other_files_are_left_and_not_counted(
    opened: Callable[..., Archive], tmp_path: Path
) -> None:
    kept = lay(tmp_path, "2026-06-01", 1)
    torn = lay(tmp_path, "2026-06-02", 2)
    for file in (torn, torn.with_suffix(".picture.jpg")):
        file.rename(file.with_name(f".{file.name}.abc_1234.part"))
    empty = lay(tmp_path, "2026-06-03", 3, "normal")
    empty.write_bytes(b"")  # as a power cut leaves it
    empty.with_suffix(".picture.jpg").unlink()
    foreign = [
        tmp_path / "notes.txt",
        tmp_path / "other.part",
        tmp_path / "one" / "2026-99-99" / kept.name,
        tmp_path / "one" / "2026-06-01" / "holiday.jpg",
        tmp_path / "One" / "2026-06-01" / kept.name,
        tmp_path / "one" / "2026-06-01" / "bad" / kept.name,
    ]
    for file in foreign:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"foreign")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    lay(outside, "2026-06-01", 4)
    (tmp_path / "two").symlink_to(outside / "one")
    archive = opened(tmp_path, max_gb=1 / 1e9)
    eventually(lambda: archive.status.deleted == 1, 30)
    assert archive.status.bytes == 0
    assert files(tmp_path) == sorted(file.relative_to(tmp_path).as_posix() for file in foreign)
    assert len(files(outside)) == 2
    assert not (tmp_path / "one" / "2026-06-02").exists()
    assert not (tmp_path / "one" / "2026-06-03").exists()


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../one/2026-06-15/00000001-01890000-0000-7000-8000-000000000000.jpg",
        "one/../one/2026-06-15/00000001-01890000-0000-7000-8000-000000000000.jpg",
        "/etc/passwd",
        "/one/2026-06-15/00000001-01890000-0000-7000-8000-000000000000.jpg",
        "one/2026-06-15/00000001-01890000-0000-7000-8000-000000000000.jpg\n",
        "one/2026-06-15/00000001-01890000-0000-7000-8000-000000000000.jpg\0",
        "one/2026-06-15/00000001-01890000-0000-7000-8000-000000000000.picture.jpg",
        "one/2026-06-15/bad/00000001-01890000-0000-7000-8000-000000000000.jpg",
        "one/2026-06-15/../../../../etc/passwd",
    ],
)
def test_a_path_that_no_verdict_names_is_refused(opened: Callable[..., Archive], tmp_path: Path, path: str) -> None:
    with pytest.raises(ArchiveError, match="not the path of a picture"):
        opened(tmp_path).picture(path)


def test_a_link_is_neither_read_nor_written_through(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "archive"
    archive = opened(root)
    path = store(archive, picture)
    (root / "one").rename(outside)
    (root / "one").symlink_to(outside)
    with pytest.raises(ArchiveError, match="a link"):
        archive.picture(path)
    before = files(outside)
    offer(archive, picture, 2)
    eventually(lambda: archive.status.fault is not None, 30)
    assert "is a link" in str(archive.status.fault)
    assert files(outside) == before
    (root / "one").unlink()
    eventually(lambda: archive.status.fault is None and archive.status.kept == 2, 30)


def test_a_root_that_is_a_link_is_the_folder_that_it_names(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "archive").symlink_to(tmp_path / "disk")
    archive = opened(tmp_path / "archive")
    path = store(archive, picture)
    assert archive.picture(path).shape == picture.shape
    assert (tmp_path / "disk" / path).exists()


def test_a_picture_that_is_gone_or_damaged_says_so(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    archive = opened(tmp_path)
    path = store(archive, picture)
    file = tmp_path / path.replace(".jpg", ".picture.jpg")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(ArchiveError, match="cannot be read"):
        archive.picture(path)
    file.unlink()
    with pytest.raises(ArchiveError, match="gone"):
        archive.picture(path)


def test_a_file_in_the_folder_s_place_is_a_fault_until_it_is_moved(
    opened: Callable[..., Archive],
    tmp_path: Path,
    picture: Rgb,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[None] = []
    scan = Quota.scan

    def counted(self: Quota) -> None:
        tried.append(None)
        scan(self)

    monkeypatch.setattr(Quota, "scan", counted)
    root = tmp_path / "archive"
    root.write_text("a file")
    archive = opened(root, ok_every=1)
    eventually(lambda: archive.status.fault is not None, 30)
    assert f"{root}: File exists; a file stands where a folder should be" in str(archive.status.fault)
    assert offer(archive, picture) == (None, False)
    assert offer(archive, picture, kind="normal") == (None, False)
    assert not archive.keep(failed(2), picture)
    assert archive.status.failed == 2
    eventually(lambda: len(tried) > 3, 30)
    root.unlink()
    eventually(lambda: archive.status.fault is None, 30)
    store(archive, picture)
    assert [record.levelname for record in caplog.records if "takes no pictures" in record.message] == ["WARNING"]


def test_a_picture_that_the_disk_refused_is_written_once_it_can_be(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    (tmp_path / "one").write_text("a file")
    archive = opened(tmp_path)
    path, taken = offer(archive, picture)
    assert path
    assert taken
    eventually(lambda: archive.status.fault is not None, 30)
    assert str(tmp_path / "one") in str(archive.status.fault)
    assert archive.status.waiting == 1
    (tmp_path / "one").unlink()
    eventually(lambda: archive.status.kept == 1, 30)
    assert archive.picture(path).shape == picture.shape
    assert archive.status.waiting == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB and 64 files."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=64", "none", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path, what: str, spare: int = 0) -> Path:
    """Another program's folder, which takes all that the disk has left of bytes, or of files but `spare`."""
    other = disk / "other"
    other.mkdir()
    if what == "bytes":
        (other / "0").write_bytes(b"x" * shutil.disk_usage(disk).free)
    for name in range(os.statvfs(disk).f_ffree - spare if what == "files" else 0):
        (other / str(name)).touch()
    return other


@pytest.mark.parametrize("what", ["bytes", "files"])
def test_on_a_full_disk_the_oldest_makes_room(
    small_disk: Path, opened: Callable[..., Archive], picture: Rgb, what: str
) -> None:
    good = lay(small_disk, "2026-06-02", 1, "normal", 200_000)
    old = [lay(small_disk, "2026-06-01", seq, size=200_000) for seq in (2, 3, 4)]
    archive = opened(small_disk)
    ready(archive)
    other = fill(small_disk, what)
    foreign = files(other)
    path = store(archive, picture)
    assert archive.status.fault is None
    assert not good.exists()
    assert all(file.exists() for file in old)
    assert archive.picture(path).shape == picture.shape
    assert files(other) == foreign


@pytest.mark.parametrize(
    ("what", "reason"),
    [("bytes", r"archive: its disk is full.*make room"), ("files", r"No space left on device; make room on its disk")],
)
def test_a_full_disk_with_nothing_left_to_delete_stops_the_archive_until_there_is_room(
    small_disk: Path, opened: Callable[..., Archive], picture: Rgb, what: str, reason: str
) -> None:
    (small_disk / "archive").mkdir()
    other = fill(small_disk, what, spare=3)  # for two folders, and the first draft
    archive = opened(small_disk / "archive")
    offer(archive, picture)
    eventually(lambda: archive.status.fault is not None, 30)
    assert re.search(reason, str(archive.status.fault))
    assert offer(archive, picture, 2) == (None, False)
    eventually(lambda: not list(small_disk.rglob("*.part")), 30)
    shutil.rmtree(other)
    eventually(lambda: archive.status.fault is None, 30)
    path = store(archive, picture, 3)
    assert archive.picture(path).shape == picture.shape
    assert not list(small_disk.rglob("*.part"))


def test_a_disk_that_turns_read_only_stops_the_archive_until_it_is_mounted_anew(
    small_disk: Path, opened: Callable[..., Archive], picture: Rgb
) -> None:
    archive = opened(small_disk)
    store(archive, picture)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    path, taken = offer(archive, picture, 2)
    assert taken
    eventually(lambda: archive.status.fault is not None, 30)
    assert "mounted read-only" in str(archive.status.fault)
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    eventually(lambda: archive.status.fault is None, 30)
    assert path
    assert archive.picture(path).shape == picture.shape
    assert archive.status.bytes == sum((small_disk / file).stat().st_size for file in files(small_disk))


def test_the_map_of_a_part_is_kept_counted_and_deleted_with_it(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    patch_map = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    archive, identity = opened(tmp_path), uuid7()
    path = archive.plan("one", "2026-06-15", 1, identity, "anomaly")
    assert path is not None
    archive.keep(judged(path, 1, identity, "anomaly"), picture, heatmap(), PIXEL_THRESHOLD, patch_map)
    eventually(lambda: archive.status.kept == 1, 30)
    kept = [path, path.replace(".jpg", ".map.png"), path.replace(".jpg", ".picture.jpg")]
    assert files(tmp_path) == sorted(kept)
    assert archive.status.bytes == sum((tmp_path / file).stat().st_size for file in kept)
    with Image.open(io.BytesIO(archive.map_file(path))) as file:
        assert (file.mode, file.size) == ("L", (3, 2))
        assert np.abs(np.asarray(file) / 255 - patch_map).max() <= 0.5 / 255 + 1e-6
    assert archive.picture_file(path).startswith(b"\xff\xd8")
    quota = scanned(tmp_path)
    assert quota.bytes == archive.status.bytes
    quota.delete(1)
    assert files(tmp_path) == []
    with pytest.raises(ArchiveError, match=r"the map of .* is gone, or was never written"):
        archive.map_file(path)


def test_a_picture_of_before_there_were_maps_has_none(
    opened: Callable[..., Archive], tmp_path: Path, picture: Rgb
) -> None:
    archive = opened(tmp_path)
    path = store(archive, picture)
    with pytest.raises(ArchiveError, match=r"the map of .* is gone, or was never written"):
        archive.map_file(path)
