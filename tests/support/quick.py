"""A method that takes a quarter of the time, for tests of what stands around it."""

from __future__ import annotations

from typing import Any

from core.alfa import Method

QUICK = Method(scales=(3,), stride=3)
TABLE: dict[str, Any] = {"scales": list(QUICK.scales), "stride": QUICK.stride}
"""The same in a configuration."""
TOML = f"[method]\nscales = {TABLE['scales']}\nstride = {TABLE['stride']}\n"
