"""What features, texts and indexes are made by, and how two of those differ, in words."""

from __future__ import annotations

from dataclasses import dataclass


class OtherIdentityError(ValueError):
    """Texts or normal shots were embedded by another model, or in other windows, than the frames."""


@dataclass(frozen=True)
class Identity:
    """What features are made by; only those of one identity can be compared.

    Attributes:
        fingerprint: Of the model; see `core.fingerprint`.
        preprocess: Version of the preprocessing.
        scales: Window sizes, patches.
        stride: Step between windows, patches.
        windows: How windows are embedded; one of `core.windows.MODES`.
        tiles: Rows and columns that a frame is cut into.
        maps: Fingerprints of the feature maps that are compared; nothing for the paper's own way.
    """

    fingerprint: str
    preprocess: int
    scales: tuple[int, ...] = ()
    stride: int = 1
    windows: str = "exact"
    tiles: tuple[int, int] = (1, 1)
    maps: tuple[str, ...] = ()

    def difference(self, other: Identity) -> str:
        """What of `other` differs, in words; empty where nothing does."""
        words = {
            "fingerprint": ("the model", self.fingerprint[:12], other.fingerprint[:12]),
            "preprocess": ("the preprocessing", self.preprocess, other.preprocess),
            "scales": ("the window sizes", list(self.scales), list(other.scales)),
            "stride": ("the step between windows", self.stride, other.stride),
            "windows": ("the windows", self.windows, other.windows),
            "tiles": ("the tiles", list(self.tiles), list(other.tiles)),
            "maps": ("the feature maps", _short(self.maps), _short(other.maps)),
        }
        return ", ".join(
            f"{name} ({there}, not {here})"
            for field, (name, here, there) in words.items()
            if getattr(self, field) != getattr(other, field)
        )


def _short(fingerprints: tuple[str, ...]) -> str:
    return "+".join(one[:8] for one in fingerprints) or "none"
