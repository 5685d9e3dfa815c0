"""The convolutions' sum as one convolution, and the bottleneck before them."""

import pytest
import torch

from core.filo.decoders import KERNELS, ConvolutionDecoder

GRID = (5, 9)


@pytest.mark.parametrize("kernels", [tuple(KERNELS), ("11",), ("15", "51"), ("33", "77")])
def test_one_convolution_gives_the_sum_of_all(kernels: tuple[str, ...]) -> None:
    decoder = ConvolutionDecoder(6, 4, 2, kernels)
    layers = [torch.randn(3, 45, 6) for _ in range(2)]
    for place, decoded in enumerate(decoder(layers, GRID)):
        picture = layers[place].transpose(1, 2).reshape(3, 6, *GRID)
        parts = [decoder.get_submodule(f"fc_{name}.{place}")(picture) for name in kernels]
        torch.testing.assert_close(decoded, sum(parts).flatten(2).transpose(1, 2))


def test_gradients_reach_every_shape_and_the_bottleneck() -> None:
    decoder = ConvolutionDecoder(6, 4, 1, bottleneck=2)
    assert decoder.get_parameter("fc_77.0.weight").shape == (4, 2, 7, 7)
    decoder([torch.randn(1, 45, 6)], GRID)[0].square().sum().backward()
    for name, weight in decoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
