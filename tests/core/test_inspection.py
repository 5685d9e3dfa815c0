from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core.adaptation import TextFeatures
from core.alfa import Alfa
from core.backbone import Backbone
from core.model_error import NotFiniteError


def test_what_is_no_number_is_neither_normal_nor_anomalous(backbone: Backbone) -> None:
    """`nan >= threshold` is False: a score that is no number would pass for a normal part."""
    generator = torch.Generator().manual_seed(0)
    text = TextFeatures(*(F.normalize(torch.randn(count, 128, generator=generator), dim=-1) for count in (5, 7)))
    broken = replace(text, abnormal=text.abnormal * float("nan"))
    frames = [np.zeros((60, 80, 3), np.uint8)] * 2
    with pytest.raises(NotFiniteError, match=r"frame 2 of 2: the score \(nan\) is not a finite number") as caught:
        Alfa(backbone).inspect(frames, [text, broken])
    assert [one.fault is None for one in caught.value.inspections] == [True, False]
