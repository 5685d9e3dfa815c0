"""The unit of the console in the browser: systemd understands it, and it lets the console near nothing else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.test_unit_file import DEPLOY, entries
from tests.system.test_unit_file import UNIT as SERVICE

UNIT = DEPLOY / "alfa-edge-hmi.service"
MOST_EXPOSED = "15"  # tenths


def verify(folder: Path, unit: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    (folder / UNIT.name).write_text(unit.replace(entries(UNIT)["ExecStart"][0], "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(folder / UNIT.name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return "\n".join(line for line in (done.stdout + done.stderr).splitlines() if UNIT.stem in line)


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    assert verify(tmp_path, UNIT.read_text("utf-8")) == ""


def test_systemd_would_find_a_mistake(tmp_path: Path) -> None:
    wrong = UNIT.read_text("utf-8").replace("PrivateDevices=", "PrivateDevice=")
    assert "PrivateDevice" in verify(tmp_path, wrong)


def test_it_is_closed() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if "offline" in done.stderr:
        pytest.skip("this systemd cannot tell how closed a file is")
    assert done.returncode == 0, f"an exposure of 1.5 at most:\n{done.stdout[-200:]}{done.stderr}"


def test_it_has_a_user_of_its_own_no_device_and_nothing_of_the_state() -> None:
    unit, service = entries(UNIT), entries(SERVICE)
    assert unit["User"] != service["User"]
    assert unit["SupplementaryGroups"] == service["Group"], "else it could not use the sockets"
    assert unit["PrivateDevices"] == ["yes"]
    assert "DeviceAllow" not in unit
    assert f"-/var/lib/{service['StateDirectory'][0]}" in unit["InaccessiblePaths"][0]
    assert unit["StateDirectory"] != service["StateDirectory"]


def test_it_comes_back_and_makes_way_for_the_service() -> None:
    unit = entries(UNIT)
    assert unit["Restart"] == ["on-failure"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert int(unit["Nice"][0]) > 0
    assert "MemoryMax" in unit
    assert "Requires" not in unit, "the service may come and go"
    assert "BindsTo" not in unit
