"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights, compiled packs and state go to folders of the run's own; so do those of processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALFA_EDGE_MODELS", str(tmp_path_factory.mktemp("models")))
        patch.setenv("STATE_DIRECTORY", str(tmp_path_factory.mktemp("state")))
        yield
