"""One thing that `alfa-edge doctor` has looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edge.ops.redact import redact
from edge.tools.mendable import mendable

Result = Literal["ok", "note", "fail"]


@dataclass(frozen=True)
class Check:
    """One thing looked at. Only `fail` keeps the configured service from running as it should."""

    name: str
    result: Result
    detail: str


def attempt(name: str, work: Callable[[], str]) -> Check:
    """What comes of doing `work`, which says in words that all is well; errors that a user can mend are a `fail`."""
    try:
        return Check(name, "ok", work())
    except Exception as error:
        if not isinstance(error, mendable()):
            raise
        return Check(name, "fail", redact(str(error)))
