from __future__ import annotations

from edge.inspection.in_order import InOrder
from edge.inspection.request import InspectionRequest, Outcome, fault_of


def test_answers_wait_for_those_before_them() -> None:
    released: list[Outcome] = []
    order = InOrder(released.append)
    parts = [InspectionRequest("free") for _ in range(4)]
    for part in parts:
        order.expect(part)
    order.put(fault_of(parts[2], "camera_missed", "no frame"))
    order.put(fault_of(parts[1], "camera_torn", "torn"))
    assert released == []
    order.put(fault_of(parts[0], "paused", "paused"))
    assert [one.request for one in released] == parts[:3]
    order.put(fault_of(parts[3], "paused", "paused"))
    assert [one.request for one in released] == parts


def test_of_several_outcomes_that_wait_the_first_counts() -> None:
    released: list[Outcome] = []
    order = InOrder(released.append)
    parts = [InspectionRequest("free") for _ in range(2)]
    for part in parts:
        order.expect(part)
    order.put(fault_of(parts[1], "camera_missed", "no frame"))
    order.put(fault_of(parts[1], "internal", "again"))
    order.put(fault_of(parts[0], "paused", "paused"))
    assert [one.fault.code for one in released if one.fault] == ["paused", "camera_missed"]


def test_what_was_not_expected_is_not_held() -> None:
    released: list[Outcome] = []
    order = InOrder(released.append)
    order.expect(InspectionRequest("free"))
    refused = InspectionRequest("trigger")
    order.put(fault_of(refused, "free_run", "the line takes no triggers"))
    assert [one.request for one in released] == [refused]


def test_a_part_that_was_due_holds_up_none_longer() -> None:
    released: list[Outcome] = []
    order = InOrder(released.append)
    slow, quick = InspectionRequest("free"), InspectionRequest("free")
    order.expect(slow)
    order.expect(quick)
    order.put(fault_of(quick, "paused", "paused"))
    slow.decided = True
    order.answered()
    assert [one.request for one in released] == [quick]
