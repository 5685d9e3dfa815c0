"""ALFA: training-free zero- and few-shot visual anomaly detection on CLIP. Tensors in, value objects out."""
