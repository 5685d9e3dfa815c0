"""What a person has asked of the history, as its page has it and as the service takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from edge.clock import iso_ms
from edge.hmi.formats import from_local

KINDS = ("normal", "anomaly", "error")


@dataclass(frozen=True)
class Asked:
    """The filters. What is no number or time is passed over."""

    line: str
    since: str | None = None
    until: str | None = None
    kinds: tuple[str, ...] = ()
    part_id: str | None = None
    recipe: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    before_seq: int | None = None

    @classmethod
    def of(cls, query: QueryParams, lines: list[str]) -> Asked:
        """What a page's address asks for; without a line, that of the first."""
        kinds = tuple(kind for kind in KINDS if kind in query.getlist("kinds"))
        before = query.get("before_seq", "")
        return cls(
            line=query.get("line") or (lines[0] if lines else ""),
            since=query.get("since") or None,
            until=query.get("until") or None,
            kinds=kinds,
            part_id=query.get("part_id") or None,
            recipe=query.get("recipe") or None,
            min_score=_number(query.get("min_score")),
            max_score=_number(query.get("max_score")),
            before_seq=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
        )

    def arguments(self, zone: str | None, count: int) -> dict[str, Any]:
        """As the command `history` takes them."""
        since = from_local(self.since, zone) if self.since else None
        until = from_local(self.until, zone) if self.until else None
        given = {
            "line": self.line,
            "since": iso_ms(since) if since else None,
            "until": iso_ms(until) if until else None,
            "kinds": list(self.kinds) or None,
            "part_id": self.part_id,
            "recipe": self.recipe,
            "min_score": self.min_score,
            "max_score": self.max_score,
            "before_seq": self.before_seq,
            "count": count,
        }
        return {name: value for name, value in given.items() if value is not None}

    def query(self, before_seq: int | None = None) -> str:
        """As an address has it; the older ones with `before_seq`."""
        given: list[tuple[str, Any]] = [
            (name, getattr(self, name))
            for name in ("line", "since", "until", "part_id", "recipe", "min_score", "max_score")
            if getattr(self, name) is not None
        ]
        given += [("kinds", kind) for kind in self.kinds]
        if before_seq is not None:
            given.append(("before_seq", before_seq))
        return urlencode(given)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
