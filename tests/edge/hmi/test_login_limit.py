"""How often passwords may be tried."""

from __future__ import annotations

from edge.hmi.login_limit import OF_ADDRESS, OF_NAME, WINDOW_S, LoginLimit


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_waits_after_some_failures_and_others_do_not() -> None:
    clock = Clock()
    limit = LoginLimit(clock)
    for _ in range(OF_ADDRESS):
        assert limit.wait_s("192.0.2.1", "eva") == 0
        limit.failed("192.0.2.1", "eva")
    assert limit.wait_s("192.0.2.1", "eva") == WINDOW_S
    assert limit.wait_s("192.0.2.1", "otto") == WINDOW_S
    assert limit.wait_s("192.0.2.2", "eva") == 0
    clock.now += WINDOW_S
    assert limit.wait_s("192.0.2.1", "eva") == 0


def test_a_name_is_not_tried_from_many_addresses_for_ever() -> None:
    limit = LoginLimit(Clock())
    for number in range(OF_NAME):
        limit.failed(f"192.0.2.{number}", "eva")
    assert limit.wait_s("198.51.100.1", "EVA") > 0
    assert limit.wait_s("198.51.100.1", "otto") == 0


def test_all_addresses_of_a_machine_count_as_one() -> None:
    limit = LoginLimit(Clock())
    for number in range(OF_ADDRESS):
        limit.failed(f"2001:db8::{number:x}", f"name {number}")
    assert limit.wait_s("2001:db8::ffff", "eva") > 0
    assert limit.wait_s("2001:db8:0:1::1", "eva") == 0


def test_whoever_logs_in_has_only_mistyped() -> None:
    limit = LoginLimit(Clock())
    for _ in range(OF_ADDRESS):
        limit.failed("192.0.2.1", "eva")
    limit.succeeded("192.0.2.1")
    assert limit.wait_s("192.0.2.1", "otto") == 0


def test_a_crowd_of_addresses_takes_no_more_memory_than_some() -> None:
    limit = LoginLimit(Clock())
    for number in range(12_000):
        limit.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"name {number}")
    assert len(limit._failures) <= 10_000
