"""The adapter: what the image's embedding lacks to tell good parts from defective ones."""

from __future__ import annotations

from torch import Tensor, nn

_REDUCTION = 2


class Adapter(nn.Module):
    """x + SiLU(W2 ReLU(W1 x)), a bottleneck of half of d, without biases."""

    def __init__(self, joint: int) -> None:
        super().__init__()
        hidden = joint // _REDUCTION
        self.fc = nn.Sequential(
            nn.Linear(joint, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, joint, bias=False), nn.SiLU()
        )

    def forward(self, image: Tensor) -> Tensor:
        """f(x) [B, d], of no set length, adapted."""
        adapted: Tensor = image + self.fc(image)
        return adapted
