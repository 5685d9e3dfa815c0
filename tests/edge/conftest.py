"""A broker, publishers, and a GigE Vision camera, for the tests that need them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.gige import GigECamera, Relay
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


@pytest.fixture
def gige() -> Iterator[GigECamera]:
    """A GigE Vision camera on the loopback interface."""
    with GigECamera() as camera:
        yield camera


@pytest.fixture
def relay(gige: GigECamera) -> Iterator[Relay]:
    """Another way to it, on which packets get lost."""
    with Relay() as relay:
        yield relay
