"""A simulated world of industrial parts: good and defective pictures with exact masks, from a seed alone."""

from core.simline.world import CLASSES, DEFECTS, SIZE, Sample, UnknownName, defects_of, render

__all__ = ["CLASSES", "DEFECTS", "SIZE", "Sample", "UnknownName", "defects_of", "render"]
