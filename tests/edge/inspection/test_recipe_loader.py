"""The method on the model, as configured."""

from pathlib import Path
from typing import Any

import pytest

from core.weights import ModelError
from edge.inspection.recipe_loader import make_alfa
from edge.settings import MethodSettings, ModelSettings


@pytest.mark.parametrize(
    ("method", "words"), [({"memory_layers": (99,)}, r"memory layers \[99\]"), ({"scales": (16,)}, "16")]
)
def test_a_method_that_does_not_fit_the_model_is_refused_in_words(
    tmp_path: Path, method: dict[str, Any], words: str
) -> None:
    model = ModelSettings(name="untrained", weights=None, device="cpu", dtype="fp32", store=tmp_path)
    with pytest.raises(ModelError, match=rf"the method does not fit the model: .*{words}"):
        make_alfa(model, MethodSettings(**method))
