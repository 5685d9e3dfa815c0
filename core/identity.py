"""What features, texts and indexes are made by, and how two of those differ, in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from core.preprocess import VERSION as PREPROCESS_VERSION

if TYPE_CHECKING:
    from core.method import Method


class OtherIdentityError(ValueError):
    """Texts or normal shots were embedded by another model, or in other windows, than the frames."""


@dataclass(frozen=True)
class Identity:
    """What features are made by; only those of one identity can be compared.

    Tiles are no part of it: each has an index of its own, and `core.bank.tiled_index` compares how frames are cut.

    Attributes:
        fingerprint: Of the model; see `core.fingerprint`.
        scales: Window sizes, patches.
        stride: Step between windows, patches.
        windows: How windows are embedded; one of `core.windows.MODES`.
        maps: Fingerprints of the feature maps that are compared; nothing for the paper's own way.
        preprocess: Version of the preprocessing.
    """

    fingerprint: str
    scales: tuple[int, ...]
    stride: int
    windows: str
    maps: tuple[str, ...] = ()
    preprocess: int = PREPROCESS_VERSION

    def with_maps(self, maps: tuple[str, ...]) -> Identity:
        """The same with feature maps, by their fingerprints."""
        return replace(self, maps=maps)

    def refuse(self, made_by: Identity | None, called: str) -> None:
        """Raises OtherIdentityError where `called`, which `made_by` says the origin of, cannot be compared.

        What was made by hand, with no origin, is taken as it is.
        """
        if made_by is not None and (found := self._differences(made_by)):
            raise OtherIdentityError(f"{called} cannot be compared with the frames: {found}; embed them anew")

    def _differences(self, other: Identity) -> str:
        pairs = {
            "model": (other.fingerprint[:12], self.fingerprint[:12]),
            "preprocessing": (other.preprocess, self.preprocess),
            "window sizes": (list(other.scales), list(self.scales)),
            "step between windows": (other.stride, self.stride),
            "windows": (other.windows, self.windows),
            "feature maps": (_short(other.maps), _short(self.maps)),
        }
        return ", ".join(f"{name} {there}, not {here}" for name, (there, here) in pairs.items() if there != here)


class _Texts(Protocol):
    @property
    def fingerprint(self) -> str: ...


def refuse_other_texts(texts: Iterable[_Texts], fingerprint: str) -> None:
    """Raises OtherIdentityError where texts were embedded by another model than that of `fingerprint`.

    Texts that were made by hand, without a fingerprint, are taken as they are.
    """
    if others := {text.fingerprint for text in texts} - {fingerprint, ""}:
        models = f"{others.pop()[:12]}, not {fingerprint[:12]}"
        raise OtherIdentityError(f"texts cannot be compared with the frames: model {models}; embed them anew")


def identity_of(fingerprint: str, method: Method) -> Identity:
    """Of what a model makes of frames by a method, without feature maps."""
    return Identity(fingerprint, method.scales, method.stride, method.windows)


def _short(fingerprints: tuple[str, ...]) -> str:
    return "+".join(fingerprint[:12] for fingerprint in fingerprints) or "none"
