import pytest

from core.alfa import Alfa, Method
from core.backbone import load_backbone
from core.training.measure import Figures, measure


@pytest.mark.parametrize("shots", [0, 2])
def test_a_model_is_measured_on_lines_of_its_own(shots: int) -> None:
    alfa = Alfa(load_backbone("untrained", None, dtype="fp32"), Method(scales=(2,)), patches=True)
    [found] = measure([alfa], "glass", ("crack", "stain"), lines=1, parts=3, shots=shots)
    assert isinstance(found, Figures)
    assert all(0.0 <= one <= 1.0 for one in (found.image, found.pixel, found.pro))
    assert [found] == measure([alfa], "glass", ("crack", "stain"), lines=1, parts=3, shots=shots)
