"""What the names of folders say of the parts in them, however they are written."""

from __future__ import annotations

import re
import unicodedata

GOOD_FOLDERS = (
    *("good", "ok", "normal", "io", "i_o", "pass", "passed", "accept", "accepted", "intact", "gut"),
    *("defect_free", "no_defect", "no_defects", "non_defective", "not_defective", "undamaged"),
)
"""Of good parts, as `words` gives them."""
BAD_FOLDERS = (
    *("bad", "ng", "nok", "ko", "nio", "n_i_o", "not_good", "not_ok", "no_good"),
    *("fail", "failed", "faulty", "reject", "rejected", "scrap", "damaged", "schlecht"),
    *("anomaly", "anomalies", "anomalous", "abnormal", "defect", "defects", "defective"),
)
"""Of defective parts of any kind."""


def folded(name: str) -> str:
    """The same for names that differ in case alone, or in how a system puts an umlaut together, as a Mac does."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def words(name: str) -> str:
    """Its words, folded, with `_` in between: `not_good` of `Not good`, and `n_i_o` of `n.i.O.`."""
    return re.sub(r"[\W_]+", "_", folded(name)).strip("_")


def is_good(name: str) -> bool:
    """Whether a folder of this name is of good parts."""
    return words(name) in GOOD_FOLDERS


def is_bad(name: str) -> bool:
    """Whether a folder of this name is of defective parts of any kind."""
    return words(name) in BAD_FOLDERS
