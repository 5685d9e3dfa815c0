"""Cells of CSV files, as spreadsheets take them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from edge.clock import iso_ms

# What a spreadsheet takes for the beginning of a formula; the last four come from East Asian keyboards.
_BEGINNINGS = r"=+@\-\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(rf"^(?=[{_BEGINNINGS}\t\r\n])|(?<=[;\r\n])(?=[ \t]*[{_BEGINNINGS}])")
"""Where an apostrophe makes it a text. In many languages spreadsheets part cells at semicolons, inside texts, too."""


def cell(value: Any) -> Any:
    """A value as a cell of a CSV file: no text of it is taken for a formula."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, datetime):
        return iso_ms(value)
    if isinstance(value, str):
        return _FORMULA.sub("'", value)
    return "" if value is None else value
