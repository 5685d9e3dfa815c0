"""The unit of systemd says what the service relies on, and systemd understands it."""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT, JETSON = DEPLOY / "alfa-edge.service", DEPLOY / "jetson.conf"


def entries(path: Path) -> dict[str, list[str]]:
    """All values of each key."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text("utf-8").splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found[key].append(value)
    return found


def verify(folder: Path, unit: str, drop_in: str | None = None) -> str:
    """What systemd has to say of the unit."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = entries(UNIT)["ExecStart"][0]
    (folder / UNIT.name).write_text(unit.replace(command, "/bin/true"))  # the service itself is not installed here
    if drop_in is not None:
        (folder / f"{UNIT.name}.d").mkdir()
        (folder / f"{UNIT.name}.d" / JETSON.name).write_text(drop_in)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(folder / UNIT.name)], capture_output=True, text=True, timeout=60
    )
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if UNIT.stem in line or "jetson" in line)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    assert verify(tmp_path, UNIT.read_text("utf-8")) == ""


def test_systemd_understands_the_addition_for_jetsons(tmp_path: Path) -> None:
    assert verify(tmp_path, UNIT.read_text("utf-8"), JETSON.read_text("utf-8")) == ""


def test_systemd_would_find_a_mistake(tmp_path: Path) -> None:
    assert "WatchdogSecs" in verify(tmp_path, UNIT.read_text("utf-8").replace("WatchdogSec=", "WatchdogSecs="))


def test_systemd_would_find_a_mistake_in_the_addition(tmp_path: Path) -> None:
    wrong = JETSON.read_text("utf-8").replace("PrivateTmp=no", "PrivateTemp=no")
    assert "PrivateTemp" in verify(tmp_path, UNIT.read_text("utf-8"), wrong)


def test_the_service_is_watched_and_always_comes_back() -> None:
    unit = entries(UNIT)
    assert unit["Type"] == ["notify"]
    assert unit["NotifyAccess"] == ["main"]
    assert int(unit["WatchdogSec"][0]) > 0
    assert unit["Restart"] == ["on-failure"]
    assert unit["StartLimitIntervalSec"] == ["0"], "else systemd gives up after some starts"


def test_what_cameras_and_gpus_need_is_not_taken_away() -> None:
    unit = entries(UNIT)
    assert not {"PrivateDevices", "MemoryDenyWriteExecute", "ProcSubset", "DynamicUser"} & set(unit)
    assert unit["DevicePolicy"] == ["closed"]
    assert {one.split()[0] for one in unit["DeviceAllow"]} == {
        "char-video4linux",
        "char-nvidia*",
        "char-usb_device",
    }
    assert unit["SupplementaryGroups"] == ["video render"]


def test_no_secret_is_in_the_environment() -> None:
    unit = entries(UNIT)
    assert unit["LoadCredential"] == ["mqtt-password:/etc/alfa-edge/mqtt-password"]
    assert not any("PASSWORD" in one.upper() for one in unit["Environment"])


def test_the_unit_is_as_closed_as_it_was() -> None:
    """The kernel, other services and people are out of its reach, as far as cameras, GPU and network allow."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=19", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "offline" in done.stderr:
        pytest.skip("this systemd cannot tell how closed a file is")
    assert done.returncode == 0, f"an exposure of 1.9 at most:\n{done.stdout[-200:]}{done.stderr}"


def test_descriptors_are_more_than_a_crowd_takes() -> None:
    assert int(entries(UNIT)["LimitNOFILE"][0]) >= 4096
