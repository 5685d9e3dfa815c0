"""What holds for every test of the console in the browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edge.hmi import passwords

REAL_COST = passwords._COST


@pytest.fixture(scope="session", autouse=True)
def _cheap_hashes() -> Iterator[None]:
    """Hashes that say they cost a hundredth: there are many here, and a fourth of a second each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_COST", (9, 8, 1))
        yield
