"""With all parts of ALFA off and WinCLIP's prompts, it is WinCLIP: held against anomalib's, on the same weights."""

import numpy as np
import pytest
import torch

from core.alfa import WINCLIP, Alfa
from core.backbone import Backbone
from core.bank.memory import distances, reference_map, remember
from core.heatmap import to_frame
from core.packs.pack import winclip_prompts


def test_prompts_are_the_same() -> None:
    from anomalib.models.image.winclip.prompting import create_prompt_ensemble

    normal, abnormal = create_prompt_ensemble("commutator")
    ours = winclip_prompts("commutator")
    assert list(ours.normal) == normal
    assert list(ours.abnormal) == abnormal


def test_scores_and_maps_are_the_same(anomalib_model: torch.nn.Module, fp32: Backbone) -> None:
    alfa = Alfa(fp32, WINCLIP)
    text = alfa.embed(winclip_prompts("commutator"))
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (240, 240, 3), dtype=np.uint8) for _ in range(3)]
    theirs = anomalib_model(alfa.backbone.pixels(frames))
    ours = alfa.inspect(frames, [text] * 3)
    for row, one in enumerate(ours):
        score = abs(one.score - float(theirs.pred_score[row]))
        heatmap = np.abs(one.heatmap - theirs.anomaly_map[row].numpy()).max()
        print(f"image {row}: score {one.score:.6f}, |d score| {score:.1e}, |d map| {heatmap:.1e}")
        assert score <= 1e-4
        assert heatmap <= 1e-4
    spread = max(one.heatmap.max() for one in ours) - min(one.heatmap.min() for one in ours)
    assert spread > 1e-3, "the maps must vary for their equality to mean something"


@pytest.mark.timeout(600)  # anomalib passes each window on its own
def test_few_shot_scores_and_maps_are_the_same(anomalib_model: torch.nn.Module, fp32: Backbone) -> None:
    alfa = Alfa(fp32, WINCLIP, patches=True)
    text = alfa.embed(winclip_prompts("commutator"))
    generator = np.random.default_rng(1)
    frames = [generator.integers(0, 256, (240, 240, 3), dtype=np.uint8) for _ in range(4)]
    pixels = alfa.backbone.pixels(frames)
    anomalib_model.setup(reference_images=pixels[:2])
    try:
        theirs = anomalib_model(pixels[2:])
    finally:
        anomalib_model.k_shot = 0  # as the other benchmarks want it
    with torch.inference_mode():
        features = alfa.vision(pixels)
        memory = remember(features.take([0, 1]))
        query = features.take([2, 3])
        labels = alfa.adapt(query.image, text)
        s_global = alfa.abnormal(query.image, labels.embedding)[:, None]
        s_local = alfa.aggregate(alfa.window_scores(query, labels.embedding), s_global)
        reference = reference_map(distances(query, memory).nearest([[0, 1]]), alfa.windows)[:, 0]
        score, s_map = alfa.fuse(s_global, s_local, reference)
    for row in range(2):
        heatmap = to_frame(s_map[row].reshape(15, 15).numpy(), (240, 240))
        d_score = abs(float(score[row]) - float(theirs.pred_score[row]))
        d_map = np.abs(heatmap - theirs.anomaly_map[row].numpy()).max()
        print(f"image {row}: |d score| {d_score:.1e}, |d map| {d_map:.1e}")
        assert d_score <= 1e-4
        assert d_map <= 1e-4
