"""What a terminal would act on, or nobody would see, is shown as an escape; all else stays."""

from __future__ import annotations

import unicodedata

import pytest

from core.printable import is_printable, shown, unprintable


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("Teil-Ä 中 😀 é", "Teil-Ä 中 😀 é"),
        ("", ""),
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("\x9b31m\x90q\x9c", r"\x9b31m\x90q\x9c"),
        ("a\r\nb\tc\0\x08\x7f", r"a\r\nb\tc\x00\x08\x7f"),
        ("good\u202egnp.exe", r"good\u202egnp.exe"),
        ("\u2066a\u2069", r"\u2066a\u2069"),
        ("a\u200b\u200db\ufeff", r"a\u200b\u200db\ufeff"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("a\xa0b\u3000c\xad", r"a\xa0b\u3000c\xad"),
        ("name-\udcff-\ud800", r"name-\udcff-\ud800"),
        ("\u3164\u115f\u2800\ufe0f\u034f", r"\u3164\u115f\u2800\ufe0f\u034f"),
        ("\U000e0041\ue000", r"\U000e0041\ue000"),
    ],
)
def test_what_is_shown(text: str, escaped: str) -> None:
    assert shown(text) == escaped
    assert is_printable(shown(text))


def test_no_character_of_these_kinds_passes() -> None:
    hidden = [
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    assert len(hidden) > 2000
    assert not any(map(is_printable, hidden))
    assert shown("".join(hidden)).isascii()


def test_the_first_of_them_is_named() -> None:
    assert unprintable("good\u202egnp.exe\x1b") == "U+202E RIGHT-TO-LEFT OVERRIDE"
    assert unprintable("a\n\x1b", allowed="\n") == "U+001B"
    assert unprintable("a\n", allowed="\n") is None
    assert unprintable("Teil-Ä") is None
