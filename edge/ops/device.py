"""How the device is that the model runs on: its memory and its temperature, where that can be known."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

THERMAL = Path("/sys/class/thermal")


def memory_bytes(device: str) -> float | None:
    """Of the memory of `cuda` or `cuda:N` what torch holds; None for another device, or before it is used."""
    torch = _torch(device)
    return None if torch is None else float(torch.cuda.memory_reserved(device))


def temperature_celsius(device: str, thermal: Path = THERMAL) -> float | None:
    """Of `cuda` or `cuda:N`; None for another device, before it is used, or where nobody tells.

    A Jetson has it among the zones of its board, other machines have it from NVML, where its library is.
    """
    if (torch := _torch(device)) is None:
        return None
    for zone in sorted(thermal.glob("thermal_zone*")):
        if "gpu" in (zone / "type").read_text().lower():
            return int((zone / "temp").read_text()) / 1000
    try:
        return float(torch.cuda.temperature(device))
    except ModuleNotFoundError:  # pynvml is not there, and need not be
        return None


def _torch(device: str) -> Any:
    """The torch that the service has loaded and set to work on CUDA; whoever asks must not do either."""
    torch = sys.modules.get("torch") if device.partition(":")[0] == "cuda" else None
    return torch if torch is not None and torch.cuda.is_initialized() else None
