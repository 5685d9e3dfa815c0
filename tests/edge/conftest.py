"""A broker, and publishers, for the tests that need them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.publisher import Publishers


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    """A real broker that is up."""
    with Mosquitto() as broker:
        yield broker


@pytest.fixture
def publisher_of() -> Iterator[Publishers]:
    """Makes publishers, not started yet; stops them at the end."""
    publishers = Publishers()
    yield publishers
    publishers.stop()
