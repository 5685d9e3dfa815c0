"""What the import of the core leaves of open_clip and torchvision for the rest of the process."""

from __future__ import annotations

import subprocess
import sys

_OTHERS = """
import logging, sys
import core.clip
assert "timm" not in sys.modules and "torch._dynamo" not in sys.modules
logging.disable(logging.ERROR)
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP
vision = CLIPVisionCfg(timm_model_name="test_vit", image_size=160)
text = CLIPTextCfg(width=32, heads=2, layers=1)
try:
    models = [CustomTextCLIP(16, vision, text) for _ in range(2)]
    import open_clip.timm_model
    print(all(isinstance(model.visual, open_clip.timm_model.TimmModel) for model in models))
except RuntimeError as error:
    print(error)
import torchvision.ops
answer = sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu")
import torch._dynamo.utils
print(answer == torch._dynamo.utils.is_compile_supported("cpu"))
"""


def test_others_have_open_clip_and_torchvision_whole_after_the_core_is_imported() -> None:
    """The core keeps timm and the compiler out of their import; towers of timm and compiled operators work later on."""
    found = subprocess.run([sys.executable, "-c", _OTHERS], capture_output=True, text=True, timeout=120)
    assert found.stdout.splitlines() == ["True", "True"], found.stderr
