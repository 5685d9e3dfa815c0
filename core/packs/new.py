"""A pack for a class that has none, from its name and what can be wrong with it: `generic`, made particular."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from core.packs.pack import BEGINNINGS, PromptPack, load_pack, make_pack, with_article

SENTENCES = 24
"""Of each label, at the most: as many as `generic` has."""
DESCRIPTORS = 15
"""At the most."""


def new_pack(
    noun: str, plural: str, defects: Mapping[str, tuple[str, ...]], *, made: date, licence: str = "Apache-2.0"
) -> PromptPack:
    """The sentences of `generic` about this class, with those about its own defects before them.

    Args:
        noun: The class, in the singular.
        plural: The class, in the plural; the same as `noun` for what is not counted.
        defects: Phrases of how each kind looks, by kind; none: those of `generic`.
        made: Today.
        licence: SPDX identifier.

    Raises:
        PackError: that makes no pack, for instance because a phrase stands twice.
    """
    generic = load_pack("generic")
    thing = noun if plural == noun else with_article(noun)
    looks = [look for phrases in defects.values() for look in phrases]
    particular = [f"{BEGINNINGS['abnormal']}{thing} with {look}." for look in looks]
    usual = {
        label: [sentence.replace(with_article(generic.class_name), thing, 1) for sentence in getattr(generic, label)]
        for label in BEGINNINGS
    }
    told = "; ".join(f"{kind}: {', '.join(phrases)}" for kind, phrases in defects.items()) or "none"
    content = generic.model_dump(by_alias=True) | {
        "class": noun,
        "plural": plural,
        "version": "0.1.0",
        "normal": usual["normal"][:SENTENCES],
        "abnormal": [*particular, *usual["abnormal"]][: max(SENTENCES, len(particular))],
        "descriptors": list(dict.fromkeys([*looks, *generic.descriptors]))[: max(DESCRIPTORS, len(looks))],
        "provenance": {
            "generator": f"a person, and the pack generic {generic.version}",
            "queries": [f"class: {noun}; plural: {plural}; defects: {told}"],
            "date": made.isoformat(),
            "licence": licence,
        },
    }
    return make_pack(content | ({"defects": dict(defects)} if defects else {}), f"the pack of {noun}")
