"""What all tables of settings have in common, and the texts that stand in several of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.printable import unprintable

LineName = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,64}$")]


def shows_as_itself(text: str) -> str:
    """`text`, where all of it is seen. Raises ValueError: it is not."""
    if found := unprintable(text):
        raise ValueError(f"holds {found}, which nobody sees; write it in printable characters")
    return text


Label = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(shows_as_itself)]
"""Text that stands in messages and logs, and at the broker."""


def _no_address(path: Path) -> Path:
    """A path is shown everywhere, so that an address with a password in its place must not become one."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:/", str(path)):
        raise ValueError("this is an address, not a path; name a file or folder of this machine")
    return path


LocalPath = Annotated[Path, AfterValidator(_no_address)]
"""A file or folder of this machine."""


class Section(BaseModel):
    """A table of the file: frozen, no key that is not known, no number that is none."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
