"""All texts are in one place a language, and each language has each of them."""

import re
from pathlib import Path
from string import Formatter

import pytest

from edge.hmi.wording import ENGLISH, FOLDER, Wording, languages, texts

ROOMS = FOLDER.parent
MADE_FROM_PARTS = ("live.", "history.said_", "history.curve_", "enrol.flag_", "health.", "refused.")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def used() -> set[str]:
    sources = [*ROOMS.glob("templates/*.html"), *ROOMS.rglob("*.py")]
    return {key for path in sources for key in re.findall(r"[\"']([a-z]+\.[a-z_]+)[\"']", path.read_text("utf-8"))}


@pytest.mark.parametrize("language", [one for one in languages() if one != ENGLISH])
def test_a_language_has_all_texts_with_the_same_places_to_fill(language: str) -> None:
    english, other = texts(ENGLISH), texts(language)
    assert set(other) == set(english)
    assert [key for key in english if fields(english[key]) != fields(other[key])] == []


def test_no_text_is_unused() -> None:
    known, named = texts(ENGLISH), used()
    assert [key for key in known if key not in named and not key.startswith(MADE_FROM_PARTS)] == []


def test_no_text_is_missing() -> None:
    known = texts(ENGLISH)
    tables = {key.partition(".")[0] for key in known}
    files = {path.name for path in ROOMS.rglob("*") if path.is_file()}
    asked = {key for key in used() if key.partition(".")[0] in tables and key not in files and not key.endswith("_")}
    assert asked - set(known) == set()


def test_words_of_the_service_that_are_new_are_shown_as_they_are() -> None:
    t = Wording(ENGLISH)
    assert t.or_else("live.state_dreaming", "dreaming") == "dreaming"
    with pytest.raises(KeyError):
        t("live.state_dreaming")


def test_the_places_and_flags_of_the_core_have_words() -> None:
    from core.bank.shot_checks import FLAGS
    from core.regions import position

    known = texts(ENGLISH)
    places = {position((x, y), (3, 3)) for x in range(3) for y in range(3)}
    assert len(places) == 9
    assert [place for place in places if f"live.at_{place.replace(' ', '_')}" not in known] == []
    assert [flag for flag in FLAGS if f"enrol.flag_{flag}" not in known] == []


def test_whoever_is_refused_a_page_reads_why_in_their_language() -> None:
    from edge.hmi.app import _CODES

    for_scripts = {"api.py", "users_api.py", "live.py"}, {"wrong_token", "unknown_command"}
    rooms = [path.read_text("utf-8") for path in ROOMS.rglob("*.py") if path.name not in for_scripts[0]]
    codes = {code for room in rooms for code in re.findall(r"Refused\(\d+, \"([a-z_]+)\"", room)}
    codes |= {*_CODES.values(), "bad_arguments"}
    assert {f"refused.{code}" for code in codes - for_scripts[1]} - set(texts(ENGLISH)) == set()


def test_texts_are_read_from_the_package() -> None:
    assert {path.name for path in Path(FOLDER).iterdir()} == {"de.toml", "en.toml"}
