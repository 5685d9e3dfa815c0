"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights and compiled packs go to a folder of the run's own, also those of the processes that tests start."""
    before = os.environ.get("ALFA_EDGE_MODELS")
    os.environ["ALFA_EDGE_MODELS"] = str(tmp_path_factory.mktemp("models"))
    yield
    if before is None:
        del os.environ["ALFA_EDGE_MODELS"]
    else:
        os.environ["ALFA_EDGE_MODELS"] = before
