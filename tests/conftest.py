"""What holds for every test."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("busy", deadline=None)  # how long an example takes says nothing on a busy machine
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def _no_traces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Weights, compiled packs and state go to folders of the run's own; so do those of processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALFA_EDGE_MODELS", str(tmp_path_factory.mktemp("models")))
        patch.setenv("STATE_DIRECTORY", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _no_loggers() -> Iterator[None]:
    """A command that is run within a test logs to that test's stream, which ends with it; threads may log later."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:  # none of pytest's own, which are derived from it
            root.removeHandler(handler)
