from datetime import timedelta

import pytest

from edge.cli.when import parse_when
from edge.clock import utc_now


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
    ],
)
def test_so_long_ago(text: str, ago: timedelta) -> None:
    assert abs(utc_now() - ago - parse_when(text)) < timedelta(seconds=10)


def test_a_stamp_keeps_its_zone_and_has_one_if_it_names_none() -> None:
    assert parse_when("2026-01-31T06:00:00Z").isoformat().startswith("2026-01-31T")
    assert (parse_when("2026-01-31T06:00:00Z") - parse_when("2026-01-31T06:00:00+01:00")) == timedelta(hours=1)
    assert parse_when("2026-01-31T06:00").tzinfo is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2 h",
        "-3d",
        "9999999d",
        "999999d",
        "2026-13-01",
        "0001-01-01T00:00+14:00",
        "9999-12-31T23:59-14:00",
        "\ud800",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_when(text)
