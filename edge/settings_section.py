"""What every table of the settings has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.printable import unprintable


def _shows_as_itself(text: str) -> str:
    if found := unprintable(text):
        raise ValueError(f"holds {found}, which nobody sees; write it in printable characters")
    return text


Label = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_shows_as_itself)]
"""Text that stands in messages and logs, and at the broker."""


class Section(BaseModel):
    """A table of the file: frozen, no key that is not known, no number that is none."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
