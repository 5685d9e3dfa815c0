"""The clock of the people at the line: zones by name, shifts by when they begin."""

from __future__ import annotations

import time as time_module
from datetime import datetime, time
from pathlib import Path

import pytest

from edge.settings_file import ConfigError, load_settings
from edge.zone import NO_SHIFT, Shifts, machine_zone, zone_of


def test_a_zone_is_known_by_its_name() -> None:
    zone = zone_of("Europe/Berlin")
    assert datetime(2026, 7, 1, 4, tzinfo=zone).isoformat() == "2026-07-01T04:00:00+02:00"
    assert zone_of(None) is None


@pytest.mark.parametrize(
    ("told", "name"),
    [("Asia/Tokyo", "Asia/Tokyo"), (":Asia/Tokyo", "Asia/Tokyo"), ("CET-1CEST", None), ("../etc/passwd", None)],
)
def test_the_machines_zone_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, name: str | None
) -> None:
    monkeypatch.setenv("TZ", told)
    assert machine_zone(tmp_path / "localtime") == name


def test_else_the_machines_zone_is_that_of_its_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    link = tmp_path / "localtime"
    assert machine_zone(link) == "UTC"  # where there is no file, the C library takes this
    link.symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert machine_zone(link) == "Europe/Berlin"
    link.unlink()
    link.write_bytes(b"TZif2")  # a copy has no name
    assert machine_zone(link) is None


@pytest.mark.parametrize("name", ["Europe/Berlim", "../etc/passwd", "", "/etc/localtime", "CEST-"])
def test_another_is_refused_with_the_remedy(name: str) -> None:
    with pytest.raises(ValueError, match=r"is no time zone of this machine.*timedatectl list-timezones"):
        zone_of(name)


@pytest.mark.parametrize(
    ("at", "shift"),
    [
        ("06:00", "06:00"),
        ("05:59", "22:00"),  # of the day before
        ("00:00", "22:00"),
        ("13:59", "06:00"),
        ("14:00", "14:00"),
        ("23:59", "22:00"),
    ],
)
def test_a_shift_lasts_until_the_next(at: str, shift: str) -> None:
    shifts = Shifts(("06:00", "14:00", "22:00"))
    assert shifts.of(datetime.combine(datetime(2026, 1, 31), time.fromisoformat(at))) == shift


def test_without_shifts_there_is_one() -> None:
    assert Shifts(()).of(datetime(2026, 1, 31)) == NO_SHIFT
    assert Shifts(()).names == (NO_SHIFT,)
    assert Shifts(("06:00",)).of(datetime(2026, 1, 31, 3)) == "06:00"


@pytest.mark.parametrize(
    ("now", "began"),
    [
        ("2026-01-31T05:30:00+00:00", "2026-01-31T06:00:00+01:00"),
        ("2026-01-31T04:59:59+00:00", "2026-01-30T22:00:00+01:00"),  # of the day before
        ("2026-01-31T23:30:00+00:00", "2026-01-31T22:00:00+01:00"),
        ("2026-03-29T03:00:00+00:00", "2026-03-28T22:00:00+01:00"),  # the night in which the clock goes ahead
        ("2026-03-29T04:30:00+00:00", "2026-03-29T06:00:00+02:00"),
    ],
)
def test_a_shift_began_by_the_clock_of_its_people(now: str, began: str) -> None:
    shifts, berlin = Shifts(("06:00", "14:00", "22:00")), zone_of("Europe/Berlin")
    assert shifts.began(datetime.fromisoformat(now), berlin).isoformat() == began


def test_without_shifts_the_day_began_at_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.fromisoformat("2026-03-29T20:00:00+00:00")
    assert Shifts(()).began(now, zone_of("Europe/Berlin")).isoformat() == "2026-03-29T00:00:00+01:00"
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time_module.tzset()
    try:
        assert Shifts(()).began(now, None).isoformat() == "2026-03-29T00:00:00+01:00"
    finally:
        monkeypatch.undo()
        time_module.tzset()


@pytest.mark.parametrize(
    ("starts", "why"),
    [
        (("6:00",), "write 06:00"),
        (("24:00",), "no time of day"),
        (("14:00", "06:00"), "order"),
        (("06:00",) * 2, "once"),
    ],
)
def test_what_are_no_shifts_is_refused(starts: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Shifts(starts)


@pytest.mark.parametrize(
    ("written", "says"),
    [("zone = 'Berlin'", "service.zone.*no time zone"), ("shifts = ['6']", "service.shifts.*no time of day")],
)
def test_the_configuration_is_refused_by_its_key(tmp_path: Path, written: str, says: str) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(f"[service]\n{written}\n[lines.one.camera]\nsource = 'sim:tile'\n")
    with pytest.raises(ConfigError, match=f"(?s){says}"):
        load_settings(path)
