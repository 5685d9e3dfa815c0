"""Data sets on disk: what is in them, in whichever of the usual layouts, and the masks of their defects."""

from core.evaluate.datasets.find import find_classes, require_both_labels
from core.evaluate.datasets.masks import MaskSurvey, read_mask
from core.evaluate.datasets.sample import DataClass, DatasetError, Sample

__all__ = ["DataClass", "DatasetError", "MaskSurvey", "Sample", "find_classes", "read_mask", "require_both_labels"]
