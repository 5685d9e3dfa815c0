"""What all tables of settings have in common, and the texts that stand in several of them."""

from __future__ import annotations

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


class Section(BaseModel):
    """A table of the file: frozen, no key that is not known, no number that is none."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True, allow_inf_nan=False
    )
