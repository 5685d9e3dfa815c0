"""What a shadow would have changed: answers beside answers, part by part, and who of the two was right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from core.share import Share, share
from edge.clock import iso_ms
from edge.storage.feedback import Feedback
from edge.storage.shadow_verdicts import ANSWERS, Answer, ComparedPart


def agreement_part(counts: Mapping[tuple[Answer, Answer], int]) -> dict[str, Any]:
    """How the answers go together.

    Args:
        counts: Parts by the answers of the line's recipe and of the shadow's.

    Returns:
        `both`: how many parts; `table`: them by the line's answer and by the shadow's; `shares`, each with its
        interval: `agree` of all parts, `more_rejected` of those that the line called normal, `fewer_rejected` of the
        others. None where there are no such parts.
    """
    normal = sum(count for (live, _), count in counts.items() if live == "normal")
    both = sum(counts.values())
    more = sum(count for (live, shadow), count in counts.items() if live == "normal" != shadow)
    fewer = sum(count for (live, shadow), count in counts.items() if shadow == "normal" != live)
    agree = sum(count for (live, shadow), count in counts.items() if live == shadow)
    return {
        "both": both,
        "table": {live: {shadow: counts.get((live, shadow), 0) for shadow in ANSWERS} for live in ANSWERS},
        "shares": {
            "agree": _share_part(agree, both),
            "more_rejected": _share_part(more, normal),
            "fewer_rejected": _share_part(fewer, both - normal),
        },
    }


def feedback_part(parts: Iterable[ComparedPart], said: Mapping[int, Feedback]) -> dict[str, Any]:
    """Who was right, as far as people have said what the parts were.

    Returns:
        `parts`: of how many they did, and which share of them `live` and `shadow` had right; None where of none.
    """
    known = [(part, said[part.seq].defective) for part in parts if part.seq in said]
    return {
        "parts": len(known),
        "live": _share_part(sum(_is_right(part.live_answer, bad) for part, bad in known), len(known)),
        "shadow": _share_part(sum(_is_right(part.shadow_answer, bad) for part, bad in known), len(known)),
    }


def changed_parts(parts: Sequence[ComparedPart], said: Mapping[int, Feedback]) -> list[dict[str, Any]]:
    """Each part with both answers, what people said of it, and which of the two was right by that."""
    return [_part(part, said.get(part.seq)) for part in parts]


def _part(part: ComparedPart, said: Feedback | None) -> dict[str, Any]:
    right = []
    if said is not None:
        answers = {"live": part.live_answer, "shadow": part.shadow_answer}
        right = [name for name, answer in answers.items() if _is_right(answer, said.defective)]
    feedback = None if said is None else said.kind
    return asdict(part) | {"issued_at": iso_ms(part.issued_at), "feedback": feedback, "right": right}


def _is_right(answer: Answer, defective: bool) -> bool:
    """A part in review is not passed, and so it counts as rejected."""
    return (answer != "normal") == defective


def _share_part(count: int, of: int) -> dict[str, float] | None:
    if not of:
        return None
    found: Share = share(count, of)
    return asdict(found) | {"value": found.value}
