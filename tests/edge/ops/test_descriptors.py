"""The process has as many descriptors as it may, and tells before they are short."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.ops import descriptors
from edge.ops.alarms import Alarms
from edge.ops.descriptors import MOST, is_spare, look_at_descriptors, raise_limit


@pytest.fixture(autouse=True)
def _same_limit_afterwards() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def grant(soft: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def in_use() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_limit_is_raised_to_what_may_be() -> None:
    grant(256)
    raise_limit()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


def test_there_is_an_alarm_before_they_are_short_and_it_ends() -> None:
    alarms, used = Alarms(), in_use()
    grant(2 * used)
    look_at_descriptors(alarms)
    assert alarms.every() == []
    more = [os.dup(0) for _ in range(used * 3 // 4)]
    look_at_descriptors(alarms)
    [alarm] = alarms.every()
    assert (alarm.code, alarm.line) == ("descriptors", None)
    assert f"more than 80% of {2 * used} descriptors are in use" in alarm.message
    assert "restart the service" in alarm.message
    for descriptor in more:
        os.close(descriptor)
    look_at_descriptors(alarms)
    assert alarms.every() == []


def test_without_a_single_one_left_there_is_the_alarm() -> None:
    alarms, taken = Alarms(), []
    grant(in_use() + 20)
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.dup(0))
    look_at_descriptors(alarms)
    for descriptor in taken:
        os.close(descriptor)
    assert [alarm.code for alarm in alarms.every()] == ["descriptors"]


def test_strangers_get_none_of_the_last_fifth(monkeypatch: pytest.MonkeyPatch) -> None:
    grant(100)
    assert is_spare(79)
    assert not is_spare(80)
    raise_limit()
    assert is_spare(int(0.8 * MOST) - 1) or resource.getrlimit(resource.RLIMIT_NOFILE)[0] < MOST
    assert not is_spare(int(0.8 * MOST) + 1), "paho cannot wait for higher numbers"
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert is_spare(100)
