"""ALFA: training-free zero- and few-shot visual anomaly detection on CLIP. Tensors in, value objects out."""

MOST_PIXELS = 88_000_000
"""Of a picture that is read, as of a frame; else a decoder makes gigabytes of a few bytes."""
