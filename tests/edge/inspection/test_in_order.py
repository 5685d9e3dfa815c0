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
    order.put(fault_of(parts[0], "internal", "again"))
    order.put(fault_of(parts[3], "paused", "paused"))
    assert [one.request for one in released] == parts, "of several outcomes the first counts"


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
    order.put(fault_of(slow, "deadline", "too late"))
    assert len(released) == 1
