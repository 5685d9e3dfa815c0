"""ALFA: training-free zero- and few-shot visual anomaly detection on CLIP. Tensors in, value objects out."""

import os

MOST_PIXELS = 88_000_000
"""Of a picture that is read, as of a frame; else a decoder makes gigabytes of a few bytes."""

# OpenCV reads it as it is loaded, and has no other way to be told.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
